/* SPDX-License-Identifier: BSD-3-Clause */
/* check_stream_exec.c -- commands as channels: data, bad exits, deadlines, cancel, no leaks. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/stream_suite.h"
#include "tests/unit/suites.h"

static struct rmig_err err;
static char dir[64];

static void setup(void)
{
    err = (struct rmig_err)RMIG_ERR_INIT;
    snprintf(dir, sizeof(dir), "/tmp/rmig-check-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_int_eq(chdir(dir), 0);
}

static void teardown(void)
{
    unlink("out");
    unlink("pid");
    ck_assert_int_eq(chdir("/"), 0);
    ck_assert_int_eq(rmdir(dir), 0);
    /* No child is left, neither running nor unreaped. */
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    ck_assert_int_eq(errno, ECHILD);
}

static struct rmig_channel *run(const char *text, enum rmig_channel_mode mode,
                                const struct rmig_channel_opts *opts)
{
    struct rmig_uri uri = uri_of(text);
    struct rmig_channel *ch;

    ck_assert_done(rmig_channel_open(&uri, mode, opts, &ch, &err), &err);
    return ch;
}

static size_t read_file(const char *name, char *buf, size_t room)
{
    int fd = open(name, O_RDONLY);
    ssize_t n = fd >= 0 ? read(fd, buf, room - 1) : 0;

    if (fd >= 0)
        close(fd);
    ck_assert_int_ge(n, 0);
    buf[n] = '\0';
    return (size_t)n;
}

START_TEST(exec__writes_to_a_command)
{
    struct rmig_channel *ch = run("exec:tr a-z A-Z > out", RMIG_OPEN_WRITE, NULL);
    struct iovec iov = {(void *)"hello", 5};
    char buf[64];

    ck_assert_uint_eq(ch->flags, RMIG_CHANNEL_WRITABLE | RMIG_CHANNEL_BULK);
    ck_assert_done(rmig_channel_writev_all(ch, &iov, 1, &err), &err);
    ck_assert_done(rmig_channel_close(ch, &err), &err);
    /* It has exited by now, its output is complete. */
    ck_assert_uint_eq(read_file("out", buf, sizeof(buf)), 5);
    ck_assert_str_eq(buf, "HELLO");
}
END_TEST

START_TEST(exec__reads_from_a_command)
{
    struct rmig_channel *ch = run("exec:printf 'a b'; cat; printf c", RMIG_OPEN_READ, NULL);
    char buf[8] = "";
    struct iovec iov = {buf, sizeof(buf)};

    ck_assert_uint_eq(ch->flags, RMIG_CHANNEL_READABLE);
    ck_assert_int_ge(rmig_channel_fd(ch), 0);
    /* Its standard input is empty: cat ends at once. */
    ck_assert_done(rmig_channel_read_all(ch, buf, 4, &err), &err);
    ck_assert_str_eq(buf, "a bc");
    ck_assert_int_eq(ch->ops->readv(ch, &iov, 1, &err), 0);
    ck_assert_done(rmig_channel_close(ch, &err), &err);
}
END_TEST

START_TEST(exec__whole_stream_both_ways)
{
    struct rmig_out *out;
    struct rmig_in *in;
    uint64_t v;

    ck_assert_done(
        rmig_out_new_mode(run("exec:gzip -c > out", RMIG_OPEN_WRITE, NULL), "wb", &out, &err),
        &err);
    for (uint64_t i = 0; i < 100000; i++)
        rmig_out_put_be64(out, i * i);
    ck_assert_done(rmig_out_close(out, &err), &err);
    ck_assert_done(
        rmig_in_new_mode(run("exec:gzip -dc out", RMIG_OPEN_READ, NULL), "rb", &in, &err), &err);
    for (uint64_t i = 0; i < 100000; i++) {
        ck_assert_int_eq(rmig_in_get_be64(in, &v), 0);
        ck_assert_uint_eq(v, i * i);
    }
    ck_assert_done(rmig_in_close(in, &err), &err);
}
END_TEST

START_TEST(exec__bad_exit_names_command_and_status)
{
    ck_assert_failed(rmig_channel_close(run("exec:exit 3", RMIG_OPEN_READ, NULL), &err), -ECHILD,
                     &err, "exec \"exit 3\": exit status 3");
    err.code = 0;
    ck_assert_failed(
        rmig_channel_close(run("exec:/no/such/command 2>/dev/null", RMIG_OPEN_WRITE, NULL), &err),
        -ECHILD, &err, "exit status 127");
    err.code = 0;
    ck_assert_failed(rmig_channel_close(run("exec:kill -ABRT $$", RMIG_OPEN_READ, NULL), &err),
                     -ECHILD, &err, "signal 6");
}
END_TEST

START_TEST(exec__bad_exit_is_the_streams_close_error)
{
    struct rmig_out *out;

    ck_assert_done(rmig_out_new(run("exec:cat > out; exit 9", RMIG_OPEN_WRITE, NULL), &out, &err),
                   &err);
    rmig_out_put_u8(out, 1);
    ck_assert_failed(rmig_out_close(out, &err), -ECHILD, &err, "exit status 9");
}
END_TEST

START_TEST(exec__reader_that_stops_early_is_no_fault)
{
    struct rmig_channel *ch = run("exec:yes", RMIG_OPEN_READ, NULL);
    char buf[2];

    ck_assert_done(rmig_channel_read_all(ch, buf, 2, &err), &err);
    ck_assert_done(rmig_channel_close(ch, &err), &err);
    ch = run("exec:yes; exit $?", RMIG_OPEN_READ, NULL); /* through a shell that stays */
    ck_assert_done(rmig_channel_read_all(ch, buf, 2, &err), &err);
    ck_assert_done(rmig_channel_close(ch, &err), &err);
    /* A writer's command that dies of a pipe of its own has failed. */
    ch = run("exec:kill -PIPE $$", RMIG_OPEN_WRITE, NULL);
    ck_assert_failed(rmig_channel_close(ch, &err), -ECHILD, &err, "signal 13");
}
END_TEST

START_TEST(exec__command_that_left_is_EPIPE_and_no_signal)
{
    struct rmig_channel *ch = run("exec:exec <&-; sleep 0.1", RMIG_OPEN_WRITE, NULL);
    static uint8_t bytes[1 << 20];
    struct iovec iov = {bytes, sizeof(bytes)};

    ck_assert_int_eq(rmig_channel_writev_all(ch, &iov, 1, &err), -EPIPE);
    err.code = 0;
    ck_assert_done(rmig_channel_close(ch, &err), &err);
}
END_TEST

/* The write's error alone would not say why. */
START_TEST(exec__a_failed_command_is_named_behind_the_error_of_its_stream)
{
    struct rmig_channel *ch = run("exec:exec <&-; exit 7", RMIG_OPEN_WRITE, NULL);
    static uint8_t bytes[1 << 20];
    struct rmig_out *out;

    ck_assert_done(rmig_out_new(ch, &out, &err), &err);
    rmig_out_put_ref(out, bytes, sizeof(bytes), false);
    ck_assert_int_eq(rmig_out_flush(out), -EPIPE);
    ck_assert_failed(rmig_out_close(out, &err), -EPIPE, &err, "Broken pipe; exec");
    ck_assert_ptr_nonnull(strstr(err.msg, "exit status 7"));
}
END_TEST

/* Does a process of that number run? One that nobody has reaped does not. */
static bool runs(const char *pid)
{
    char name[64], buf[256];
    const char *state;

    snprintf(name, sizeof(name), "/proc/%d/stat", (int)strtol(pid, NULL, 10));
    read_file(name, buf, sizeof(buf));
    state = strrchr(buf, ')');
    return state && state[2] != 'Z' && state[2] != 'X';
}

START_TEST(exec__that_does_not_exit_is_killed_at_the_deadline)
{
    const struct rmig_channel_opts opts = {.idle_timeout_ms = 150};
    struct rmig_channel *ch = run("exec:trap '' TERM; sleep 100 & echo $! > pid; wait; sleep 100",
                                  RMIG_OPEN_WRITE, &opts);
    uint64_t start;
    char buf[64];

    while (read_file("pid", buf, sizeof(buf)) == 0)
        sleep_ms(5);
    start = now_ms();
    ck_assert_failed(rmig_channel_close(ch, &err), -ETIMEDOUT, &err,
                     "within 150 ms and was killed");
    ck_assert_uint_lt(now_ms() - start, 1000 + slack_ms());
    /* What it had started is gone as well, though it held the signal back. */
    for (int i = 0; i < 100 && runs(buf); i++)
        sleep_ms(10);
    ck_assert(!runs(buf));
}
END_TEST

START_TEST(exec__cancel_kills_it_within_100_ms)
{
    struct rmig_channel_opts opts = {.cancel = NULL};
    struct rmig_channel *ch;
    uint64_t start;
    char byte;

    ck_assert_done(rmig_cancel_new(&opts.cancel, &err), &err);
    ch = run("exec:sleep 100", RMIG_OPEN_READ, &opts);
    rmig_cancel_trigger(opts.cancel);
    prompt_begin();
    start = now_ms();
    ck_assert_int_eq(rmig_channel_read_all(ch, &byte, 1, &err), -ECANCELED);
    err.code = 0;
    ck_assert_failed(rmig_channel_close(ch, &err), -ECANCELED, &err, "cancelled and killed");
    assert_prompt(now_ms() - start, 0);
    rmig_cancel_free(opts.cancel);
}
END_TEST

START_TEST(exec__no_descriptor_leaks_into_the_child)
{
    int inheritable[3];
    struct rmig_channel *ch;
    char buf[256];

    for (int i = 0; i < 3; i++) {
        inheritable[i] = dup(1); /* not close-on-exec, as an application may have them */
        ck_assert_int_ge(inheritable[i], 3);
    }
    ch = run("exec:ls /proc/self/fd > out", RMIG_OPEN_WRITE, NULL);
    ck_assert_done(rmig_channel_close(ch, &err), &err);
    read_file("out", buf, sizeof(buf));
    ck_assert_str_eq(buf, "0\n1\n2\n3\n"); /* 3 is the folder that ls lists */
    for (int i = 0; i < 3; i++)
        close(inheritable[i]);
}
END_TEST

START_TEST(exec__works_with_the_standard_descriptors_closed)
{
    struct rmig_channel *ch;
    struct iovec iov = {(void *)"hello", 5};
    int kept[3], rc;
    char buf[64];

    for (int i = 0; i < 3; i++) {
        kept[i] = fcntl(i, F_DUPFD_CLOEXEC, 10);
        close(i);
    }
    ch = run("exec:cat > out", RMIG_OPEN_WRITE, NULL);
    rc = rmig_channel_writev_all(ch, &iov, 1, &err);
    if (rc == 0)
        rc = rmig_channel_close(ch, &err);
    for (int i = 0; i < 3; i++) {
        if (kept[i] >= 0)
            dup2(kept[i], i);
        close(kept[i]);
    }
    ck_assert_done(rc, &err);
    ck_assert_uint_eq(read_file("out", buf, sizeof(buf)), 5);
}
END_TEST

START_TEST(exec__child_has_default_signals_and_a_group_of_its_own)
{
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    unsigned long long blocked, ignored;
    struct rmig_channel *ch;
    sigset_t all;
    char buf[256];

    sigaction(SIGPIPE, &ignore, NULL);
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    ch = run("exec:grep -E 'Sig(Blk|Ign)' /proc/self/status > out; "
             "test \"$(cut -d' ' -f5 /proc/$$/stat)\" = $$",
             RMIG_OPEN_WRITE, NULL);
    ck_assert_done(rmig_channel_close(ch, &err), &err);
    read_file("out", buf, sizeof(buf));
    /* The two that the C library keeps for itself, 32 and 33, it leaves ignored. */
    ck_assert_int_eq(sscanf(buf, "SigBlk: %llx SigIgn: %llx", &blocked, &ignored), 2);
    ck_assert_uint_eq(blocked, 0);
    ck_assert_uint_eq(ignored & ~(3ull << 31), 0);
}
END_TEST

START_TEST(exec__status_that_somebody_else_took_is_told)
{
    struct rmig_channel *ch = run("exec:exit 0", RMIG_OPEN_READ, NULL);

    while (waitpid(-1, NULL, 0) < 0 && errno == EINTR)
        continue;
    ck_assert_failed(rmig_channel_close(ch, &err), -ECHILD, &err, "status is lost");
}
END_TEST

/* The number of such a child is no longer its own, so nothing is killed by it. */
START_TEST(exec__whose_child_somebody_else_reaped_kills_nobody)
{
    struct rmig_channel *ch = run("exec:sleep 100 & echo $! > pid", RMIG_OPEN_READ, NULL);
    char buf[64];

    while (waitpid(-1, NULL, 0) < 0 && errno == EINTR)
        continue;
    ck_assert_int_gt(read_file("pid", buf, sizeof(buf)), 0);
    ck_assert_int_eq(rmig_channel_close(ch, &err), -ECHILD);
    sleep_ms(50);
    ck_assert(runs(buf));
    kill((pid_t)strtol(buf, NULL, 10), SIGKILL);
}
END_TEST

START_TEST(exec__blocking_mode_and_wait)
{
    struct rmig_channel *ch = run("exec:sleep 0.1; echo x", RMIG_OPEN_READ, NULL);
    char byte;
    struct iovec iov = {&byte, 1};

    ck_assert_int_eq(ch->ops->set_blocking(ch, false, &err), 0);
    ck_assert_int_eq(ch->ops->readv(ch, &iov, 1, &err), -EAGAIN);
    ck_assert_done(rmig_channel_wait(ch, RMIG_SHUT_READ, &err), &err);
    ck_assert_int_eq(ch->ops->readv(ch, &iov, 1, &err), 1);
    ck_assert_int_eq(rmig_channel_shutdown(ch, RMIG_SHUT_BOTH, NULL), -ENOSYS);
    rmig_channel_close(ch, NULL);
}
END_TEST

START_TEST(exec__no_descriptor_to_be_had)
{
    struct rmig_uri uri = uri_of("exec:true");
    struct rmig_channel *ch;
    struct rlimit few;
    int fds[64], n = 0;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &few), 0);
    few.rlim_cur = 64;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    while (n < 64 && (fds[n] = dup(1)) >= 0)
        n++;
    ck_assert_int_lt(n, 64);
    ck_assert_failed(rmig_channel_open(&uri, RMIG_OPEN_READ, NULL, &ch, &err), -EMFILE, &err,
                     "pipe");
    while (n > 0)
        close(fds[--n]);
}
END_TEST

Suite *stream_exec_suite(void)
{
    const TTest *const tests[] = {exec__writes_to_a_command,
                                  exec__reads_from_a_command,
                                  exec__whole_stream_both_ways,
                                  exec__bad_exit_names_command_and_status,
                                  exec__bad_exit_is_the_streams_close_error,
                                  exec__reader_that_stops_early_is_no_fault,
                                  exec__command_that_left_is_EPIPE_and_no_signal,
                                  exec__a_failed_command_is_named_behind_the_error_of_its_stream,
                                  exec__that_does_not_exit_is_killed_at_the_deadline,
                                  exec__cancel_kills_it_within_100_ms,
                                  exec__no_descriptor_leaks_into_the_child,
                                  exec__works_with_the_standard_descriptors_closed,
                                  exec__child_has_default_signals_and_a_group_of_its_own,
                                  exec__status_that_somebody_else_took_is_told,
                                 exec__whose_child_somebody_else_reaped_kills_nobody,
                                  exec__blocking_mode_and_wait,
                                  exec__no_descriptor_to_be_had,
                                  NULL};
    Suite *suite = suite_create("stream/exec");

    suite_add_checked(suite, "exec", tests, setup, teardown);
    return suite;
}
