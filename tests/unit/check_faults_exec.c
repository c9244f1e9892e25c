/* SPDX-License-Identifier: BSD-3-Clause */
/* check_faults_exec.c -- streams to and from commands, with each call in them failing. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <rmig/stream.h>

#include "tests/unit/fault_bytes.h"
#include "tests/unit/fault_scene.h"
#include "tests/unit/stream_suite.h"
#include "tests/unit/suites.h"

static const struct rmig_channel_opts opts = {.idle_timeout_ms = 10000};

static int open_command(const char *command, enum rmig_channel_mode mode,
                        const struct rmig_channel_opts *with, struct rmig_channel **ch_p,
                        struct rmig_err *err)
{
    char text[128];
    struct rmig_uri uri;
    int rc;

    snprintf(text, sizeof(text), "exec:%s", command);
    rc = rmig_uri_parse(text, &uri, err);
    return rc < 0 ? rc : rmig_channel_open(&uri, mode, with, ch_p, err);
}

/* The command's exit status says whether it got the right bytes. */
static int play_write(struct rmig_err *err)
{
    struct rmig_err close_err = RMIG_ERR_INIT;
    struct rmig_channel *ch;
    struct rmig_out *out;
    int rc = open_command("read -r line && [ \"$line\" = 'put, flushed' ]", RMIG_OPEN_WRITE, &opts,
                          &ch, err);
    int close_rc;

    if (rc < 0)
        return rc;
    rc = rmig_out_new(ch, &out, err);
    if (rc < 0) {
        rmig_channel_close(ch, NULL);
        return rc;
    }
    rmig_out_put_buffer(out, "put, ", 5);
    rmig_out_put_ref(out, "flushed\n", 8, false);
    rmig_out_flush(out);
    if (rmig_out_error(out, NULL) < 0)
        rc = bytes_stays_failed_out(out, err);
    close_rc = rmig_out_close(out, &close_err);
    return rc == 0 && close_rc < 0 ? rmig_err_set(err, close_rc, "%s", close_err.msg) : rc;
}

static int play_read(struct rmig_err *err)
{
    struct rmig_err close_err = RMIG_ERR_INIT;
    char text[13];
    struct rmig_channel *ch;
    struct rmig_in *in;
    int rc = open_command("echo 'got, in whole'", RMIG_OPEN_READ, &opts, &ch, err), close_rc;

    if (rc < 0)
        return rc;
    rc = rmig_in_new(ch, &in, err);
    if (rc < 0) {
        rmig_channel_close(ch, NULL);
        return rc;
    }
    rc = rmig_in_get_buffer(in, text, sizeof(text));
    if (rc == 0)
        ck_assert_mem_eq(text, "got, in whole", sizeof(text));
    else
        rc = bytes_stays_failed_in(in, err);
    close_rc = rmig_in_close(in, &close_err);
    return rc == 0 && close_rc < 0 ? rmig_err_set(err, close_rc, "%s", close_err.msg) : rc;
}

START_TEST(write__each_call_fails)
{
    static const struct fault_scene scene = {
        .name = "exec-write", .says = "exec|stream", .play = play_write};

    fault_scene_play(&scene);
}
END_TEST

START_TEST(read__each_call_fails)
{
    static const struct fault_scene scene = {
        .name = "exec-read", .says = "exec|stream", .play = play_read};

    fault_scene_play(&scene);
}
END_TEST

/* What a signal that failed has left alive. */
static void clean_killed(void)
{
    if (fault_child() <= 0 || waitpid(fault_child(), NULL, WNOHANG) != 0)
        return;
    kill(-fault_child(), SIGKILL);
    waitpid(fault_child(), NULL, 0);
}

/* A command that does not end is killed, and the wait for it takes no time: the clock jumps. */
static int play_killed(struct rmig_err *err)
{
    const struct rmig_channel_opts brief = {.idle_timeout_ms = 20};
    struct rmig_err e = RMIG_ERR_INIT;
    struct rmig_channel *ch;
    int rc = open_command("exec sleep 60", RMIG_OPEN_READ, &brief, &ch, err);

    if (rc < 0)
        return rc;
    rc = rmig_channel_close(ch, &e);
    ck_assert_int_eq(e.code, rc);
    return rc == -ETIMEDOUT ? 0 : rmig_err_set(err, rc, "%s", e.msg);
}

START_TEST(killed__each_call_fails)
{
    static const struct fault_scene scene = {.name = "exec-killed",
                                             .says = "exec",
                                             .play = play_killed,
                                             .clean = clean_killed,
                                             .clock_jumps = true};

    fault_scene_play(&scene);
}
END_TEST

/* One that cannot be killed is given up: closing ends, and says so. Here it cannot where the second
 * signal fails, as one to another user's process does. */
static int play_stubborn(struct rmig_err *err)
{
    struct rmig_err e = RMIG_ERR_INIT;
    struct rmig_channel *ch;
    int rc =
        open_command("trap '' TERM; echo ready; exec sleep 60", RMIG_OPEN_READ, &opts, &ch, err);
    char ready[6];

    if (rc < 0)
        return rc;
    rc = rmig_channel_read_all(ch, ready, sizeof(ready), err);
    fault_clock_jumps();
    rmig_channel_close(ch, &e);
    if (rc == 0 && e.code == -ETIMEDOUT && strstr(e.msg, "could not be killed"))
        return rmig_err_set(err, -EPERM, "%s", e.msg);
    if (rc == 0 && e.code != -ETIMEDOUT)
        return rmig_err_set(err, e.code, "%s", e.msg);
    return rc;
}

START_TEST(stubborn__one_that_cannot_be_killed_is_given_up)
{
    static const struct fault_scene scene = {.name = "exec-stubborn",
                                             .says = "exec|stream",
                                             .play = play_stubborn,
                                             .clean = clean_killed};

    fault_scene_play_call(&scene, CALL_kill);
}
END_TEST

static int input, errors;

/* The pipe's ends must not be among the standard descriptors. */
static void prepare_low(void)
{
    input = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 40);
    errors = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 40);
    ck_assert(input >= 0 && errors >= 0);
    close(STDIN_FILENO);
    close(STDERR_FILENO);
}

static void clean_low(void)
{
    ck_assert_int_eq(dup2(input, STDIN_FILENO), STDIN_FILENO);
    ck_assert_int_eq(dup2(errors, STDERR_FILENO), STDERR_FILENO);
    close(input);
    close(errors);
}

START_TEST(low__each_call_fails_where_standard_descriptors_are_closed)
{
    static const struct fault_scene scene = {.name = "exec-low",
                                             .says = "exec|stream",
                                             .prepare = prepare_low,
                                             .play = play_read,
                                             .clean = clean_low};

    fault_scene_play(&scene);
}
END_TEST

Suite *faults_exec_suite(void)
{
    const TTest *const exec[] = {write__each_call_fails,
                                 read__each_call_fails,
                                 killed__each_call_fails,
                                 stubborn__one_that_cannot_be_killed_is_given_up,
                                 low__each_call_fails_where_standard_descriptors_are_closed,
                                 NULL};
    Suite *suite = suite_create("faults/exec");

    fault_scene_suite_add(suite, "exec", exec, bytes_init);
    return suite;
}
