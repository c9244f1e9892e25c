/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_scene.c -- plays scenes, fault by fault, and judges how each ended. */
#include "tests/unit/fault_scene.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "tests/unit/stream_suite.h"

#define FDS_SEEN 64

/* What a process has that a fault must not leave behind. */
struct holdings {
    bool open[FDS_SEEN];
};

/* One fault, or one and another where it led. */
struct fault_case {
    const struct fault_scene *scene;
    struct fault first, second;
    char text[320];
};

static const struct fault no_fault = {.site = -1};

unsigned fault_step(void)
{
    const char *text = getenv("RMIG_FAULT_STEP");
    char *end = NULL;
    unsigned long value = text ? strtoul(text, &end, 10) : 1;

    ck_assert_msg(value > 0 && value < 1000 && (!text || !*end),
                  "RMIG_FAULT_STEP=%s is not a number from 1 to 999", text);
    return (unsigned)value;
}

static void take_stock(struct holdings *h)
{
    struct pollfd set[FDS_SEEN];

    for (int i = 0; i < FDS_SEEN; i++)
        set[i] = (struct pollfd){.fd = i};
    ck_assert_int_ge(poll(set, FDS_SEEN, 0), 0);
    for (int i = 0; i < FDS_SEEN; i++)
        h->open[i] = !(set[i].revents & POLLNVAL);
}

static void nothing_is_left(const struct fault_case *c, const struct holdings *before)
{
    const char *what = c->text;
    struct holdings now;
    sigset_t set;

    ck_assert_msg(fault_live_blocks() == 0, "%s: %u blocks of memory leaked", what,
                  fault_live_blocks());
    ck_assert_msg(fault_live_fds() == 0, "%s: %u descriptors leaked", what, fault_live_fds());
    ck_assert_msg(fault_bad_closes() == 0, "%s: a descriptor was closed twice", what);
    take_stock(&now);
    for (int i = 0; i < FDS_SEEN && !c->scene->foreign_fds; i++)
        ck_assert_msg(now.open[i] == before->open[i], "%s: descriptor %d is %s now", what, i,
                      now.open[i] ? "open" : "closed");
    ck_assert_msg(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD, "%s: a child is left", what);
    sigpending(&set);
    ck_assert_msg(!sigismember(&set, SIGPIPE), "%s: SIGPIPE is pending", what);
    sigprocmask(SIG_BLOCK, NULL, &set);
    ck_assert_msg(!sigismember(&set, SIGPIPE), "%s: SIGPIPE is still held back", what);
}

/* Does the text have one of the words, which | keeps apart? */
static bool names_it(const char *text, const char *words)
{
    char word[64];

    while (*words) {
        size_t len = strcspn(words, "|");

        snprintf(word, sizeof(word), "%.*s", (int)len, words);
        if (strstr(text, word))
            return true;
        words += len + (words[len] == '|');
    }
    return false;
}

/* How it is to end. Behind an error a second one changes nothing. */
static int wanted_of(const struct fault_case *c)
{
    unsigned came = fault_came();
    int wanted = came >= 1
                     ? fault_outcome(c->scene, &fault_sites->site[c->first.site], c->first.code)
                     : FAULT_SURVIVED;

    if (came == 2 && wanted == FAULT_SURVIVED)
        wanted = fault_outcome(c->scene, &fault_sites->site[c->second.site], c->second.code);
    return wanted;
}

static void judge(const struct fault_case *c, int rc, const struct rmig_err *err)
{
    int wanted = wanted_of(c);

    if (wanted == FAULT_SURVIVED)
        ck_assert_msg(rc >= 0, "%s: not survived: %d (%s)", c->text, rc, err->msg);
    if (wanted < 0)
        ck_assert_msg(rc == wanted, "%s: answered %d (%s), wanted %d (%s)", c->text, rc, err->msg,
                      wanted, strerror(-wanted));
    if (rc >= 0) {
        ck_assert_msg(err->code == 0, "%s: succeeds, and tells of %d (%s)", c->text, err->code,
                      err->msg);
        return;
    }
    ck_assert_msg(err->code == rc, "%s: answered %d, and tells of %d (%s)", c->text, rc, err->code,
                  err->msg);
    ck_assert_msg(names_it(err->msg, c->scene->says), "%s: \"%s\" names none of %s", c->text,
                  err->msg, c->scene->says);
}

static void play(struct fault_case *c)
{
    const struct fault_scene *scene = c->scene;
    struct rmig_err err = RMIG_ERR_INIT;
    struct holdings before;
    int rc;

    take_stock(&before);
    if (scene->prepare)
        scene->prepare();
    fault_arm(&c->first, &c->second);
    if (scene->clock_jumps)
        fault_clock_jumps();
    rc = scene->play(&err);
    fault_disarm();
    judge(c, rc, &err);
    if (scene->clean)
        scene->clean();
    nothing_is_left(c, &before);
}

static void describe(struct fault_case *c)
{
    const struct fault *faults[2] = {&c->first, &c->second};
    size_t used = (size_t)snprintf(c->text, sizeof(c->text), "%s", c->scene->name);

    for (unsigned i = 0; i < 2 && faults[i]->site >= 0 && used < sizeof(c->text); i++) {
        const struct fault_site *site = &fault_sites->site[faults[i]->site];
        char text[64];

        used +=
            (size_t)snprintf(c->text + used, sizeof(c->text) - used, "%s%s in %s, call %u: %s",
                             i ? "; then " : ": ", fault_call_name(site->call), site->function,
                             faults[i]->nth, fault_code_text(site->call, faults[i]->code, text));
    }
}

static void play_case(struct fault_case *c)
{
    describe(c);
    play(c);
    fault_sites->ncases += c->first.site >= 0;
}

static bool can_fail(const struct fault_scene *scene, const struct fault *fault)
{
    return fault_outcome(scene, &fault_sites->site[fault->site], fault->code) != FAULT_CANNOT;
}

/* Calls that the first fault led to, and that have not failed yet: clearing up, say. passed:
 * without it. */
static void play_behind(struct fault_case *c, const unsigned *passed)
{
    unsigned now[FAULT_SITES_MAX];
    unsigned count;

    for (int i = 0; i < FAULT_SITES_MAX; i++)
        now[i] = fault_passed(i);
    for (int i = 0; i < FAULT_SITES_MAX; i++) {
        const int *codes = fault_codes(fault_sites->site[i].call, &count);

        if (now[i] <= passed[i] || fault_sites->site[i].nfailed || i == c->first.site)
            continue;
        for (unsigned k = 0; k < count; k++) {
            c->second = (struct fault){i, passed[i] + 1, codes[k]};
            if (can_fail(c->scene, &c->second))
                play_case(c);
        }
    }
    c->second = no_fault;
}

/* call: CALL_COUNT for all. */
static void play_calls(const struct fault_scene *scene, enum fault_call call)
{
    struct fault_case c = {.scene = scene, .first = no_fault, .second = no_fault};
    unsigned passed[FAULT_SITES_MAX];
    unsigned nskip = 0, count;

    play_case(&c); /* what is made once only is made now */
    play_case(&c);
    for (int i = 0; i < FAULT_SITES_MAX; i++)
        passed[i] = fault_passed(i);
    for (int i = 0; i < FAULT_SITES_MAX; i++) {
        const int *codes = fault_codes(fault_sites->site[i].call, &count);

        if (call != CALL_COUNT && fault_sites->site[i].call != call)
            continue;
        for (unsigned k = 0; k < passed[i] * count; k++) {
            if (++nskip % fault_step())
                continue;
            c.first = (struct fault){i, k / count + 1, codes[k % count]};
            if (!can_fail(scene, &c.first))
                continue;
            play_case(&c);
            play_behind(&c, passed);
        }
    }
    fault_sites->nscenes++;
}

void fault_scene_play(const struct fault_scene *scene)
{
    play_calls(scene, CALL_COUNT);
}

void fault_scene_play_call(const struct fault_scene *scene, enum fault_call call)
{
    play_calls(scene, call);
}

void fault_scene_suite_add(Suite *suite, const char *name, const TTest *const *tests, SFun setup)
{
    for (const TTest *const *t = tests; *t; t++)
        fault_sites->ntests++;
    suite_add_checked(suite, name, tests, setup, NULL);
}
