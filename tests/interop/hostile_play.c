/* SPDX-License-Identifier: BSD-3-Clause */
/* hostile_play.c -- plays a case against rmig, and judges how it ends. */
#include "tests/interop/hostile.h"

#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/interop/hostile_run.h"

#define MOST_KIB (64 * 1024) /* with sanitizers it is 24 to 42 MiB */
#define ARGS_MAX 8

/* --- judging ---------------------------------------------------------------------------------- */

static bool matches(const char *text, const char *pattern)
{
    regex_t regex;
    bool found;

    if (regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB)) {
        fprintf(stderr, "hostile_peers: bad pattern %s\n", pattern);
        return false;
    }
    found = regexec(&regex, text, 0, NULL, 0) == 0;
    regfree(&regex);
    return found;
}

static void judge_words(struct peer *peer, const struct rmig *rmig)
{
    const struct hostile_case *c = peer->hostile;
    char code[64];

    if (!matches(rmig->text, c->says))
        peer_fail(peer, "it does not say: %s", c->says);
    if (c->also && !matches(rmig->text, c->also))
        peer_fail(peer, "it does not say: %s", c->also);
    snprintf(code, sizeof(code), "\"errno\": \"%s\"", c->code ? c->code : "EPROTO");
    if (c->end == END_REFUSED && !strstr(rmig->text, code))
        peer_fail(peer, "it does not say: %s", code);
}

static void judge_end(struct peer *peer, const struct rmig *rmig, const char *output)
{
    static const int statuses[] = {[END_REFUSED] = 5, [END_UNCONNECTED] = 4, [END_GOOD] = 0};
    const struct hostile_case *c = peer->hostile;

    if (!WIFEXITED(rmig->status))
        peer_fail(peer, "rmig ended by signal %d", WTERMSIG(rmig->status));
    else if (WEXITSTATUS(rmig->status) != statuses[c->end])
        peer_fail(peer, "rmig ended with status %d, not %d", WEXITSTATUS(rmig->status),
                  statuses[c->end]);
    if (rmig->peak_kib > MOST_KIB)
        peer_fail(peer, "rmig took %ld KiB, %d are plenty", rmig->peak_kib, MOST_KIB);
    if (c->end != END_GOOD && access(output, F_OK) == 0)
        peer_fail(peer, "a file is left that looks whole");
}

/* Does the peer know that it is over? Where it was never connected, or hung up itself, it does. */
static bool knows(const struct peer *peer)
{
    return peer->nlanes == 0 || !peer->lanes[0].established || peer->hung_up ||
           peer->lanes[0].disconnected;
}

/* Where silence is what is wrong it has to last for so long. */
static uint64_t silence_ms(const struct hostile_case *c)
{
    static const char option[] = "--progress-deadline=";

    if (!c->option || strncmp(c->option, option, sizeof(option) - 1) != 0)
        return 0;
    return strtoul(c->option + sizeof(option) - 1, NULL, 10) * 1000;
}

static void await_end(struct peer *peer, struct rmig *rmig)
{
    uint64_t limit_ns = (peer->acted_ns ? peer->acted_ns : now_ns()) +
                        (silence_ms(peer->hostile) + LIMIT_MS) * NS_PER_MS;

    while (rmig->pid || !knows(peer)) {
        peer_poll(peer);
        rmig_poll(rmig);
        if (now_ns() > limit_ns) {
            peer_fail(peer, rmig->pid ? "rmig goes on after %d ms" : "no DISCONNECTED after %d ms",
                      LIMIT_MS);
            return;
        }
        peer_nap();
    }
}

/* --- a case ----------------------------------------------------------------------------------- */

static uint16_t await_port(struct peer *peer, struct rmig *rmig)
{
    uint64_t limit_ns = now_ns() + STEP_MS * NS_PER_MS;
    const char *port;

    while (!(port = strstr(rmig->text, ", port ")) || !strchr(port, '\n')) {
        rmig_poll(rmig);
        if (!rmig->pid || now_ns() > limit_ns) {
            peer_fail(peer, "rmig does not listen");
            return 0;
        }
        peer_nap();
    }
    return (uint16_t)strtoul(port + 7, NULL, 10);
}

static bool is_listening(enum hostile_role role)
{
    return role == HOSTILE_RECEIVE || role == HOSTILE_RELAY_IN;
}

static void start(struct peer *peer, struct rmig *rmig, enum hostile_role role,
                  const struct hostile_place *place)
{
    const char *option = peer->hostile->option;
    char uri[64], from[80];
    const char *const args[][ARGS_MAX] = {
        [HOSTILE_RECEIVE] = {"rmig", "receive", uri, "--output", place->output, "--json", option},
        [HOSTILE_SEND] = {"rmig", "send", place->stored, uri, "--json", option},
        [HOSTILE_RELAY_IN] = {"rmig", "relay", uri, "file:/dev/null", "--json", option},
        [HOSTILE_RELAY_OUT] = {"rmig", "relay", from, uri, "--json", option},
    };

    if (!is_listening(role))
        peer_listen(peer);
    snprintf(uri, sizeof(uri), "rdma:%s:%u", peer->address, peer->port);
    snprintf(from, sizeof(from), "file:%s", place->stored);
    if (!rmig_start(rmig, args[role]))
        peer_fail(peer, "rmig cannot be started");
    else if (is_listening(role))
        peer->port = await_port(peer, rmig);
    peer->rmig_pid = rmig->pid;
}

static void show(const struct peer *peer, const char *name, const struct rmig *rmig)
{
    printf("FAIL: %s: %s\n", name, peer->why);
    for (const char *line = rmig->text; *line;) {
        int n = (int)strcspn(line, "\n");

        printf("    %.*s\n", n, line);
        line += line[n] ? n + 1 : n;
    }
}

bool hostile_play(const struct hostile_task *task, const struct hostile_place *place)
{
    struct peer peer = {.hostile = task->hostile, .address = place->address, .heard_slot = -1};
    struct rmig rmig;
    double took_ms;

    start(&peer, &rmig, task->role, place);
    task->hostile->play(&peer);
    await_end(&peer, &rmig);
    rmig_end(&rmig);
    took_ms = (double)(int64_t)(rmig.ended_ns - peer.acted_ns) / 1e6;
    judge_end(&peer, &rmig, place->output);
    judge_words(&peer, &rmig);
    peer_close(&peer);
    unlink(place->output);
    if (peer_ok(&peer))
        printf("PASS: %s (it ended after %.0f ms, and took %ld MiB)\n", task->name, took_ms,
               rmig.peak_kib >> 10);
    else
        show(&peer, task->name, &rmig);
    fflush(stdout);
    return peer_ok(&peer);
}
