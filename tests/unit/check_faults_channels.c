/* SPDX-License-Identifier: BSD-3-Clause */
/* check_faults_channels.c -- streams over files, pipes, buffers and commands, with each call in
 * them failing. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <rmig/stream.h>

#include "tests/unit/fault_bytes.h"
#include "tests/unit/fault_scene.h"
#include "tests/unit/stream_suite.h"
#include "tests/unit/suites.h"

#define BOTH (BYTES_POSITIONS | BYTES_COMPRESSED)

/* Long enough for a machine that stalls, no longer: nothing waits for it that works. */
static const struct rmig_channel_opts opts = {.idle_timeout_ms = 20000};

static int ends[2];

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

/* A descriptor that no channel took is still the test's. */
static int adopt(int fd, struct rmig_channel **ch_p, struct rmig_err *err)
{
    int rc = rmig_channel_from_fd(fd, &opts, ch_p, err);

    if (rc < 0) {
        ck_assert(is_open(fd));
        close(fd);
    }
    return rc;
}

/* --- pipes ------------------------------------------------------------------------------------ */

static void prepare_pipe(void)
{
    ck_assert_int_eq(pipe(ends), 0);
}

static int play_pipe(struct rmig_err *err)
{
    struct rmig_channel *ch;
    int rc = adopt(ends[1], &ch, err);

    if (rc == 0)
        rc = bytes_put(ch, BYTES_COMPRESSED, err);
    ck_assert(!is_open(ends[1]));
    if (rc < 0) {
        close(ends[0]);
        return rc;
    }
    rc = adopt(ends[0], &ch, err);
    if (rc == 0)
        rc = bytes_get(ch, BYTES_COMPRESSED, err);
    ck_assert(!is_open(ends[0]));
    return rc;
}

START_TEST(pipe__each_call_fails)
{
    static const struct fault_scene scene = {
        .name = "pipe", .says = "fd:|stream", .prepare = prepare_pipe, .play = play_pipe};

    fault_scene_play(&scene);
}
END_TEST

/* A reader that is gone is EPIPE, without a signal. */
static int play_no_reader(struct rmig_err *err)
{
    struct rmig_channel *ch;
    struct rmig_err e = RMIG_ERR_INIT;
    int rc;

    close(ends[0]);
    rc = adopt(ends[1], &ch, err);
    if (rc < 0)
        return rc;
    rc = bytes_put(ch, 0, &e);
    return rc == -EPIPE ? 0 : rmig_err_set(err, rc, "%s", e.msg);
}

START_TEST(pipe__each_call_fails_while_nobody_reads)
{
    static const struct fault_scene scene = {
        .name = "no-reader", .says = "fd:|stream", .prepare = prepare_pipe, .play = play_no_reader};

    fault_scene_play(&scene);
}
END_TEST

/* Nothing comes: the wait ends at the idle deadline, by a clock that jumps there. */
static int play_idle(struct rmig_err *err)
{
    struct rmig_err e = RMIG_ERR_INIT;
    struct rmig_channel *ch;
    uint8_t byte;
    int rc = adopt(ends[0], &ch, err);

    if (rc == 0) {
        rc = rmig_channel_read_all(ch, &byte, 1, &e);
        if (rc == -ETIMEDOUT)
            rc = 0;
        else
            rmig_err_set(err, rc, "%s", e.msg);
        e = (struct rmig_err)RMIG_ERR_INIT;
        if (rmig_channel_close(ch, &e) < 0 && rc == 0)
            rc = rmig_err_set(err, e.code, "%s", e.msg);
    }
    close(ends[1]);
    return rc;
}

START_TEST(pipe__each_call_fails_while_nobody_writes)
{
    static const struct fault_scene scene = {.name = "idle",
                                             .says = "fd:",
                                             .prepare = prepare_pipe,
                                             .play = play_idle,
                                             .clock_jumps = true};

    fault_scene_play(&scene);
}
END_TEST

/* Somebody who shares the pipe makes it blocking: it is made to wait for nobody again. */
static int play_shared(struct rmig_err *err)
{
    struct rmig_channel *ch;
    struct iovec iov = {(void *)"shared", 6};
    char text[6];
    int rc = adopt(ends[0], &ch, err), close_rc;

    if (rc < 0) {
        close(ends[1]);
        return rc;
    }
    ck_assert_int_eq(fcntl(ends[0], F_SETFL, 0), 0);
    ck_assert_int_eq(writev(ends[1], &iov, 1), 6);
    rc = rmig_channel_read_all(ch, text, sizeof(text), err);
    close_rc = rmig_channel_close(ch, rc < 0 ? NULL : err);
    close(ends[1]);
    return rc < 0 ? rc : close_rc;
}

START_TEST(pipe__each_call_fails_while_it_is_shared)
{
    static const struct fault_scene scene = {
        .name = "shared", .says = "fd:", .prepare = prepare_pipe, .play = play_shared};

    fault_scene_play(&scene);
}
END_TEST

/* --- files ------------------------------------------------------------------------------------ */

static char path[64];

static void prepare_file(void)
{
    int fd;

    snprintf(path, sizeof(path), "/tmp/rmig-faults-XXXXXX");
    fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
}

static void clean_file(void)
{
    unlink(path);
}

static int play_file(struct rmig_err *err)
{
    struct rmig_uri uri = {.kind = RMIG_URI_FILE, .fd = -1};
    struct rmig_channel *ch;
    int rc;

    snprintf(uri.path, sizeof(uri.path), "%s", path);
    rc = rmig_channel_open(&uri, RMIG_OPEN_WRITE, &opts, &ch, err);
    if (rc == 0)
        rc = bytes_put(ch, BOTH, err);
    if (rc == 0)
        rc = rmig_channel_open(&uri, RMIG_OPEN_READ, &opts, &ch, err);
    if (rc == 0)
        rc = bytes_get(ch, BOTH, err);
    return rc;
}

START_TEST(file__each_call_fails)
{
    static const struct fault_scene scene = {.name = "file",
                                             .says = "file:|file: |stream",
                                             .prepare = prepare_file,
                                             .play = play_file,
                                             .clean = clean_file};

    fault_scene_play(&scene);
}
END_TEST

/* --- memory ----------------------------------------------------------------------------------- */

static int play_buffer(struct rmig_err *err)
{
    struct rmig_buffer *buf, *copy;
    struct rmig_channel *ch;
    struct rmig_out *out;
    int rc = rmig_buffer_new(0, &buf, err);

    if (rc < 0)
        return rc;
    rc = rmig_channel_from_buffer(buf, RMIG_OPEN_WRITE, &ch, err);
    if (rc < 0) {
        rmig_buffer_free(buf);
        return rc;
    }
    rc = rmig_out_new_mode(ch, "w", &out, err);
    if (rc < 0) {
        rmig_channel_close(ch, NULL);
        return rc;
    }
    rc = bytes_put_to(out, BOTH, err);
    if (rc == 0)
        rc = rmig_buffer_clone(rmig_out_buffer(out), &copy, err);
    ck_assert(rmig_out_close(out, NULL) == 0 || rc < 0);
    if (rc < 0)
        return rc;
    rc = rmig_channel_from_buffer(copy, RMIG_OPEN_READ, &ch, err);
    if (rc < 0) {
        rmig_buffer_free(copy);
        return rc;
    }
    return bytes_get(ch, BOTH, err);
}

START_TEST(buffer__each_allocation_fails)
{
    static const struct fault_scene scene = {
        .name = "buffer", .says = "buffer|stream", .play = play_buffer};

    fault_scene_play(&scene);
}
END_TEST

/* A write that finds no memory leaves the buffer as it was. */
static int play_buffer_write(struct rmig_err *err)
{
    static uint8_t bytes[40000], was[3000], is[3000];
    struct rmig_buffer *buf;
    int rc;
    ssize_t n;

    fill_pattern(bytes, sizeof(bytes), 3);
    rc = rmig_buffer_new_from(bytes, sizeof(was), &buf, err);
    if (rc < 0)
        return rc;
    rmig_buffer_read(buf, 0, sizeof(was), was);
    n = rmig_buffer_write(buf, 1000, bytes, sizeof(bytes));
    if (n < 0) {
        ck_assert_uint_eq(rmig_buffer_length(buf), sizeof(was));
        ck_assert_uint_lt(rmig_buffer_capacity(buf), sizeof(bytes));
        ck_assert_uint_eq(rmig_buffer_read(buf, 0, sizeof(is), is), sizeof(is));
        ck_assert_mem_eq(was, is, sizeof(is));
        rmig_err_set(err, (int)n, "buffer: the caller is told");
    }
    rmig_buffer_free(buf);
    return n < 0 ? (int)n : 0;
}

START_TEST(buffer__each_allocation_of_a_write_fails)
{
    static const struct fault_scene scene = {
        .name = "buffer-write", .says = "buffer", .play = play_buffer_write};

    fault_scene_play(&scene);
}
END_TEST

static int play_null(struct rmig_err *err)
{
    struct rmig_channel *ch;
    int rc = rmig_channel_null(&ch, err);

    return rc < 0 ? rc : bytes_put(ch, BYTES_COMPRESSED, err);
}

START_TEST(null__each_call_fails)
{
    static const struct fault_scene scene = {
        .name = "null", .says = "null|stream", .play = play_null};

    fault_scene_play(&scene);
}
END_TEST

/* --- cancel ----------------------------------------------------------------------------------- */

/* A token that is triggered ends a wait, by the flag where its descriptor could not be written to.
 */
static int play_cancel(struct rmig_err *err)
{
    struct rmig_err e = RMIG_ERR_INIT;
    struct rmig_channel_opts cancelled = opts;
    struct rmig_channel *ch;
    uint8_t byte;
    int rc = rmig_cancel_new(&cancelled.cancel, err);

    if (rc < 0) {
        close(ends[0]);
        close(ends[1]);
        return rc;
    }
    rmig_cancel_trigger(cancelled.cancel);
    ck_assert(rmig_cancel_triggered(cancelled.cancel));
    rc = rmig_channel_from_fd(ends[0], &cancelled, &ch, err);
    if (rc == 0) {
        ck_assert_int_eq(rmig_channel_read_all(ch, &byte, 1, &e), -ECANCELED);
        rc = rmig_channel_close(ch, err);
    } else {
        close(ends[0]);
    }
    rmig_cancel_free(cancelled.cancel);
    close(ends[1]);
    return rc;
}

START_TEST(cancel__each_call_fails)
{
    static const struct fault_scene scene = {
        .name = "cancel", .says = "cancel token|fd:", .prepare = prepare_pipe, .play = play_cancel};

    fault_scene_play(&scene);
}
END_TEST

Suite *faults_channels_suite(void)
{
    const TTest *const fd[] = {pipe__each_call_fails,
                               pipe__each_call_fails_while_nobody_reads,
                               pipe__each_call_fails_while_nobody_writes,
                               pipe__each_call_fails_while_it_is_shared,
                               cancel__each_call_fails,
                               NULL};
    const TTest *const file[] = {file__each_call_fails, NULL};
    const TTest *const memory[] = {buffer__each_allocation_fails,
                                   buffer__each_allocation_of_a_write_fails, null__each_call_fails,
                                   NULL};
    Suite *suite = suite_create("faults/channels");

    fault_scene_suite_add(suite, "fd", fd, bytes_init);
    fault_scene_suite_add(suite, "file", file, bytes_init);
    fault_scene_suite_add(suite, "memory", memory, bytes_init);
    return suite;
}
