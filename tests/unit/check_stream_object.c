/* SPDX-License-Identifier: BSD-3-Clause */
/* check_stream_object.c -- streams as objects: rows A1 to A9, and the figures of rows D1 to D3. */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "stream/stream_internal.h"
#include "tests/unit/channel_script.h"
#include "tests/unit/stream_suite.h"
#include "tests/unit/suites.h"

#define PAGE 4096u

static struct script *script;
static struct rmig_out *out;
static struct rmig_in *in;

static void setup(void)
{
    script = script_new("0123456789", 10);
    out = NULL;
    in = NULL;
}

static void teardown(void)
{
    rmig_out_close(out, NULL);
    rmig_in_close(in, NULL);
    script_free(script);
}

static void open_out(void)
{
    struct rmig_err err = RMIG_ERR_INIT;

    ck_assert_done(rmig_out_new(&script->base, &out, &err), &err);
}

static void open_in(void)
{
    struct rmig_err err = RMIG_ERR_INIT;

    ck_assert_done(rmig_in_new(&script->base, &in, &err), &err);
}

/* Closes out or in, whatever is open, once. */
static int close_all(struct rmig_err *err)
{
    int rc = out ? rmig_out_close(out, err) : rmig_in_close(in, err);

    out = NULL;
    in = NULL;
    return rc;
}

START_TEST(stream_new__one_direction_of_the_channel)
{
    struct rmig_err err = RMIG_ERR_INIT;

    script->base.flags = RMIG_CHANNEL_READABLE;
    ck_assert_failed(rmig_out_new(&script->base, &out, &err), -EBADF, &err, "cannot be written");
    script->base.flags = RMIG_CHANNEL_WRITABLE;
    err.code = 0;
    ck_assert_failed(rmig_in_new(&script->base, &in, &err), -EBADF, &err, "cannot be read");
    ck_assert(!script->closed);
    open_out();
    ck_assert_ptr_eq(rmig_out_channel(out), &script->base);
}
END_TEST

START_TEST(return_path__is_the_opposite_direction_of_the_same_channel)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_in *back = NULL;
    struct rmig_out *answer = NULL;
    uint8_t v;

    open_out();
    ck_assert_done(rmig_out_return_path(out, &back, &err), &err);
    ck_assert_ptr_eq(rmig_in_channel(back), &script->base);
    ck_assert_int_eq(rmig_in_get_u8(back, &v), 0);
    ck_assert_uint_eq(v, '0');
    ck_assert_int_eq(rmig_in_close(back, NULL), 0);
    ck_assert(!script->closed);
    rmig_out_put_u8(out, 1);
    ck_assert_int_eq(close_all(NULL), 0);
    ck_assert(script->closed);
    ck_assert_uint_eq(script->output_bytes, 1);

    script->closed = false;
    open_in();
    ck_assert_done(rmig_in_return_path(in, &answer, &err), &err);
    rmig_out_put_u8(answer, 2);
    ck_assert_int_eq(rmig_out_close(answer, NULL), 0);
    ck_assert(!script->closed);
    ck_assert_uint_eq(script->output_bytes, 2);
}
END_TEST

START_TEST(return_path__none_where_the_channel_is_one_way)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_in *back = (struct rmig_in *)&err;
    struct rmig_out *answer = (struct rmig_out *)&err, *private;

    script->base.flags = RMIG_CHANNEL_WRITABLE;
    open_out();
    ck_assert_int_eq(rmig_out_return_path(out, &back, &err), 0);
    ck_assert_ptr_null(back);
    close_all(NULL);
    script->base.flags = RMIG_CHANNEL_READABLE;
    open_in();
    ck_assert_int_eq(rmig_in_return_path(in, &answer, &err), 0);
    ck_assert_ptr_null(answer);
    ck_assert_done(rmig_out_new_private(&private, &err), &err);
    back = (struct rmig_in *)&err;
    ck_assert_int_eq(rmig_out_return_path(private, &back, &err), 0);
    ck_assert_ptr_null(back);
    rmig_out_close(private, NULL);
}
END_TEST

START_TEST(sizes__copy_buffer_and_scatter_list)
{
    static uint8_t bytes[RMIG_STREAM_BUFFER_BYTES];

    ck_assert_uint_eq(RMIG_STREAM_BUFFER_BYTES, 32 * 1024);
    ck_assert_int_eq(RMIG_STREAM_IOV_MAX, 64);
    ck_assert_int_ge(sysconf(_SC_IOV_MAX), RMIG_STREAM_IOV_MAX);
    open_out();
    rmig_out_put_buffer(out, bytes, sizeof(bytes));
    rmig_out_put_buffer(out, bytes, sizeof(bytes));
    ck_assert_uint_eq(script->nwritev, 2);
    ck_assert_uint_eq(script->calls[0].len_bytes, 32 * 1024);
}
END_TEST

START_TEST(error__first_one_sticks_and_later_ones_are_logged)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct caught_log log;

    log_catch(&log);
    open_out();
    ck_assert_int_eq(rmig_out_error(out, &err), 0);
    ck_assert_int_eq(err.code, 0);
    rmig_out_set_error(out, -EPERM, "first %d", 1);
    ck_assert_uint_eq(log.nlines, 0);
    rmig_out_set_error(out, -ENOMEM, "second");
    ck_assert_uint_eq(log.nlines, 1);
    ck_assert_msg(strstr(log.last, "second") != NULL, "%s", log.last);
    ck_assert_failed(rmig_out_error(out, &err), -EPERM, &err, "first 1");
    close_all(NULL);
    open_in();
    rmig_in_set_error(in, 17, "no errno");
    err.code = 0;
    ck_assert_failed(rmig_in_error(in, &err), -EIO, &err, "no errno");
    rmig_in_set_error(in, -ENOMEM, "later");
    ck_assert_uint_eq(log.nlines, 2);
    ck_assert_int_eq(rmig_in_error(in, NULL), -EIO);
    rmig_log_set(NULL, NULL, RMIG_LOG_ERROR);
}
END_TEST

START_TEST(error__default_message_names_the_errno)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct caught_log log;

    open_out();
    rmig_out_set_error(out, -ENOSPC, "%s", "");
    ck_assert_failed(rmig_out_error(out, &err), -ENOSPC, &err, strerror(ENOSPC));
    ck_assert_msg(strstr(err.msg, "28") != NULL, "%s", err.msg);
    log_catch(&log);
    rmig_out_shutdown(out, NULL);
    ck_assert_uint_eq(log.nlines, 1);
    /* no message at all */
    rmig_out_set_error(out, -EPERM, NULL);
    ck_assert_uint_eq(log.nlines, 2);
    ck_assert_msg(strstr(log.last, strerror(EPERM)) != NULL, "%s", log.last);
    open_in();
    rmig_in_set_error(in, -EPERM, NULL);
    err = (struct rmig_err)RMIG_ERR_INIT;
    ck_assert_failed(rmig_in_error(in, &err), -EPERM, &err, strerror(EPERM));
    rmig_log_set(NULL, NULL, RMIG_LOG_ERROR);
}
END_TEST

START_TEST(any_error__first_stream_then_second_and_either_may_be_absent)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_in *back;

    open_out();
    ck_assert_done(rmig_out_return_path(out, &back, &err), &err);
    ck_assert_int_eq(rmig_any_error(NULL, NULL, &err), 0);
    ck_assert_int_eq(rmig_any_error_in_first(NULL, NULL, &err), 0);
    ck_assert_int_eq(rmig_any_error(out, back, &err), 0);
    ck_assert_int_eq(err.code, 0);
    rmig_in_set_error(back, -ENOMEM, "return path");
    ck_assert_int_eq(rmig_any_error(out, NULL, &err), 0);
    ck_assert_int_eq(rmig_any_error_in_first(NULL, out, &err), 0);
    ck_assert_failed(rmig_any_error(out, back, &err), -ENOMEM, &err, "return path");
    err.code = 0;
    ck_assert_failed(rmig_any_error(NULL, back, &err), -ENOMEM, &err, "return path");
    rmig_out_set_error(out, -EPERM, "forward");
    err.code = 0;
    ck_assert_failed(rmig_any_error(out, back, &err), -EPERM, &err, "forward");
    err.code = 0;
    ck_assert_failed(rmig_any_error_in_first(back, out, &err), -ENOMEM, &err, "return path");
    err.code = 0;
    ck_assert_failed(rmig_any_error_in_first(NULL, out, &err), -EPERM, &err, "forward");
    rmig_in_close(back, NULL);
}
END_TEST

START_TEST(error__puts_do_nothing_after_it)
{
    static uint8_t page[2 * PAGE];

    open_out();
    rmig_out_set_error(out, -EPERM, "mine");
    rmig_out_put_u8(out, 1);
    ck_assert(rmig_out_buffer_empty(out));
    rmig_out_put_be16(out, 1);
    ck_assert(rmig_out_buffer_empty(out));
    rmig_out_put_be32(out, 1);
    ck_assert(rmig_out_buffer_empty(out));
    rmig_out_put_be64(out, 1);
    ck_assert(rmig_out_buffer_empty(out));
    rmig_out_put_buffer(out, page, sizeof(page));
    ck_assert(rmig_out_buffer_empty(out));
    rmig_out_put_ref(out, page, PAGE, false);
    ck_assert(rmig_out_buffer_empty(out));
    rmig_out_put_counted_string(out, "s");
    ck_assert(rmig_out_buffer_empty(out));
    ck_assert_int_eq(rmig_out_put_compressed_level(out, 1, page, PAGE), -EPERM);
    ck_assert_int_eq(rmig_out_put_buffer_at(out, page, PAGE, 0), -EPERM);
    ck_assert_int_eq(rmig_out_seek(out, 0, SEEK_SET), -EPERM);
    ck_assert_int_eq(rmig_out_flush(out), -EPERM);
    ck_assert(rmig_out_buffer_empty(out));
    ck_assert_uint_eq(rmig_out_transferred_fast_bytes(out), 0);
    ck_assert_int_eq(close_all(NULL), -EPERM);
    ck_assert_uint_eq(script->nwritev, 0);
    /* What was queued before it is dropped. */
    open_out();
    rmig_out_put_u8(out, 1);
    rmig_out_set_error(out, -EPERM, "mine");
    ck_assert_int_eq(close_all(NULL), -EPERM);
    ck_assert_uint_eq(script->output_bytes, 0);
}
END_TEST

/* By the time the channel is shut down its stream has failed. */
static void assert_failed_by_now(struct script *s, void *opaque)
{
    (void)s, (void)opaque;
    ck_assert_int_eq(out ? rmig_out_error(out, NULL) : rmig_in_error(in, NULL), -EIO);
}

START_TEST(shutdown__fails_the_stream_and_shuts_the_channel_down)
{
    struct rmig_err err = RMIG_ERR_INIT;

    script->on_shutdown = assert_failed_by_now;
    open_out();
    ck_assert_done(rmig_out_shutdown(out, &err), &err);
    ck_assert_uint_eq(script->nshutdown, 1);
    ck_assert_failed(rmig_out_error(out, &err), -EIO, &err, "shut down");
    close_all(NULL);
    open_in();
    ck_assert_int_eq(rmig_in_shutdown(in, NULL), 0);
    ck_assert_uint_eq(script->nshutdown, 2);
    ck_assert_int_eq(rmig_in_error(in, NULL), -EIO);
}
END_TEST

START_TEST(shutdown__channel_that_cannot_is_ENOSYS)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_out *private;

    script->ops.shutdown = NULL;
    open_out();
    ck_assert_failed(rmig_out_shutdown(out, &err), -ENOSYS, &err, "cannot be shut down");
    ck_assert_int_eq(rmig_out_error(out, NULL), -EIO);
    ck_assert_done(rmig_out_new_private(&private, &err), &err);
    err.code = 0;
    ck_assert_failed(rmig_out_shutdown(private, &err), -ENOSYS, &err, "no channel");
    ck_assert_int_eq(rmig_out_close(private, NULL), -EIO);
}
END_TEST

START_TEST(shutdown__that_fails_is_EIO_with_the_cause)
{
    struct rmig_err err = RMIG_ERR_INIT;

    script->shutdown_code = -EBADF;
    open_in();
    ck_assert_failed(rmig_in_shutdown(in, &err), -EIO, &err, "scripted shutdown");
    ck_assert_int_eq(rmig_in_error(in, NULL), -EIO);
}
END_TEST

START_TEST(close__flushes_and_gives_what_the_channel_gave)
{
    struct rmig_err err = RMIG_ERR_INIT;

    open_out();
    rmig_out_put_u8(out, 1);
    script->close_code = 7;
    ck_assert_int_eq(close_all(&err), 7);
    ck_assert_int_eq(err.code, 0);
    ck_assert(script->closed);
    ck_assert_uint_eq(script->output_bytes, 1);
    open_in();
    ck_assert_int_eq(close_all(&err), 7);
    ck_assert_int_eq(rmig_out_close(NULL, &err), 0);
    ck_assert_int_eq(rmig_in_close(NULL, &err), 0);
}
END_TEST

START_TEST(close__first_error_comes_before_the_close_error)
{
    struct rmig_err err = RMIG_ERR_INIT;

    script->close_code = -EDQUOT;
    open_out();
    ck_assert_failed(close_all(&err), -EDQUOT, &err, "scripted close");
    open_in();
    err.code = 0;
    ck_assert_failed(close_all(&err), -EDQUOT, &err, "scripted close");
    open_out();
    rmig_out_set_error(out, -EPERM, "first");
    err.code = 0;
    ck_assert_failed(close_all(&err), -EPERM, &err, "first");
    open_in();
    rmig_in_set_error(in, -EPERM, "first");
    err.code = 0;
    ck_assert_failed(close_all(&err), -EPERM, &err, "first");
    /* The last flush counts, too. */
    open_out();
    script->write_fault = (struct script_fault){.code = -EPIPE};
    rmig_out_put_u8(out, 1);
    ck_assert_int_eq(close_all(NULL), -EPIPE);
    ck_assert(script->closed);
}
END_TEST

START_TEST(queries__writable_seekable_channel_and_fd)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_out *private;

    open_out();
    ck_assert(rmig_out_is_writable(out));
    ck_assert(rmig_out_is_seekable(out));
    ck_assert_int_eq(rmig_out_fd(out), 12345);
    script->ops.get_fd = NULL;
    ck_assert_int_eq(rmig_out_fd(out), -1);
    close_all(NULL);
    script->base.flags &= ~RMIG_CHANNEL_SEEKABLE;
    open_in();
    ck_assert(!rmig_in_is_writable(in));
    ck_assert(!rmig_in_is_seekable(in));
    ck_assert_int_eq(rmig_in_fd(in), -1);
    ck_assert_ptr_eq(rmig_in_channel(in), &script->base);
    ck_assert_done(rmig_out_new_private(&private, &err), &err);
    ck_assert(!rmig_out_is_writable(private));
    ck_assert_int_eq(rmig_out_fd(private), -1);
    ck_assert_ptr_null(rmig_out_channel(private));
    ck_assert_int_eq(rmig_out_close(private, NULL), 0);
}
END_TEST

START_TEST(set_blocking__reaches_the_channel)
{
    struct rmig_err err = RMIG_ERR_INIT;

    open_out();
    ck_assert_done(rmig_out_set_blocking(out, false, &err), &err);
    ck_assert_int_eq(script->blocking, 0);
    /* Writing waits all the same. */
    script->again_every = 2;
    for (int i = 0; i < 4; i++) {
        rmig_out_put_u8(out, 1);
        ck_assert_int_eq(rmig_out_flush(out), 0);
    }
    ck_assert_uint_gt(script->nwait, 0);
    ck_assert_done(rmig_out_set_blocking(out, true, &err), &err);
    ck_assert_int_eq(script->blocking, 1);
    script->ops.set_blocking = NULL;
    ck_assert_failed(rmig_out_set_blocking(out, true, &err), -ENOTSUP, &err, "one blocking mode");
    close_all(NULL);
    open_in();
    err.code = 0;
    ck_assert_failed(rmig_in_set_blocking(in, false, &err), -ENOTSUP, &err, "one blocking mode");
}
END_TEST

START_TEST(set_blocking__both_directions_of_a_socket_share_it)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_channel *ch;
    struct rmig_out *answer;
    struct rmig_in *s;
    struct iovec iov;
    int ends[2];
    uint8_t v;

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    ck_assert_done(rmig_channel_from_fd(ends[0], NULL, &ch, &err), &err);
    ck_assert_done(rmig_in_new(ch, &s, &err), &err);
    ck_assert_done(rmig_in_return_path(s, &answer, &err), &err);
    ck_assert_done(rmig_out_set_blocking(answer, false, &err), &err);
    iov = (struct iovec){&v, 1};
    ck_assert_int_eq(ch->ops->readv(ch, &iov, 1, &err), -EAGAIN);
    /* The stream that was not itself made non-blocking would wait; the one that was does not. */
    ck_assert_done(rmig_in_set_blocking(s, false, &err), &err);
    ck_assert_int_eq(rmig_in_get_u8(s, &v), -EAGAIN);
    ck_assert_int_eq(write(ends[1], "x", 1), 1);
    ck_assert_int_eq(rmig_in_get_u8(s, &v), 0);
    ck_assert_uint_eq(v, 'x');
    rmig_out_close(answer, NULL);
    rmig_in_close(s, NULL);
    close(ends[1]);
}
END_TEST

START_TEST(mode_string__right_one_opens)
{
    struct rmig_err err = RMIG_ERR_INIT;

    ck_assert_done(rmig_out_new_mode(&script->base, "wb", &out, &err), &err);
    close_all(NULL);
    ck_assert_done(rmig_in_new_mode(&script->base, "rb", &in, &err), &err);
}
END_TEST

START_TEST(mode_string__wrong_one_is_refused_by_name)
{
    static const char *const bad[] = {"", "w", "r", "rw", "w+b", "wbx", "WB", "rb"};
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_buffer *buf;
    struct rmig_channel *ch;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        err.code = 0;
        ck_assert_failed(rmig_out_new_mode(&script->base, bad[i], &out, &err), -EINVAL, &err,
                         "is \"wb\"");
        ck_assert_msg(strstr(err.msg, bad[i]) != NULL, "%s", err.msg);
    }
    err.code = 0;
    ck_assert_failed(rmig_in_new_mode(&script->base, "wb", &in, &err), -EINVAL, &err, "is \"rb\"");
    err.code = 0;
    ck_assert_failed(rmig_in_new_mode(&script->base, NULL, &in, &err), -EINVAL, &err, "(null)");
    ck_assert_done(rmig_buffer_new(0, &buf, &err), &err);
    err.code = 0;
    ck_assert_done(rmig_channel_from_buffer(buf, RMIG_OPEN_WRITE, &ch, &err), &err);
    ck_assert_failed(rmig_out_new_mode(ch, "wb", &out, &err), -EINVAL, &err, "is \"w\"");
    rmig_channel_close(ch, NULL);
}
END_TEST

/* --- figures ---------------------------------------------------------------------------------- */

START_TEST(transferred__exact_flushes_and_fast_does_not)
{
    static uint8_t page[PAGE];

    open_out();
    rmig_out_put_be64(out, 1);
    rmig_out_put_ref(out, page, PAGE, false);
    rmig_out_put_u8(out, 1);
    ck_assert_uint_eq(rmig_out_transferred_fast_bytes(out), PAGE + 9);
    ck_assert_uint_eq(script->nwritev, 0);
    ck_assert_uint_eq(rmig_out_transferred_bytes(out), PAGE + 9);
    ck_assert_uint_eq(script->output_bytes, PAGE + 9);
    ck_assert_uint_eq(rmig_out_transferred_fast_bytes(out), PAGE + 9);
    ck_assert_int_eq(rmig_out_put_buffer_at(out, page, 100, 0), 0);
    ck_assert_uint_eq(rmig_out_transferred_bytes(out), PAGE + 109);
    /* After a failure what was written counts, what was queued does not. */
    script->write_fault = (struct script_fault){.at_bytes = PAGE + 10, .code = -EPIPE};
    rmig_out_put_ref(out, page, PAGE, false);
    ck_assert_uint_eq(rmig_out_transferred_fast_bytes(out), 2 * PAGE + 109);
    ck_assert_uint_eq(rmig_out_transferred_bytes(out), PAGE + 110);
    ck_assert_uint_eq(rmig_out_transferred_fast_bytes(out), PAGE + 110);
}
END_TEST

START_TEST(credit__bytes_moved_outside_count_as_transferred)
{
    open_out();
    rmig_out_put_u8(out, 1);
    rmig_out_credit_transferred(out, 1u << 20);
    ck_assert_uint_eq(rmig_out_transferred_fast_bytes(out), (1u << 20) + 1);
    ck_assert_uint_eq(rmig_out_transferred_bytes(out), (1u << 20) + 1);
    ck_assert_uint_eq(script->output_bytes, 1);
}
END_TEST

/* --- the slot for what is attached ------------------------------------------------------------ */

static unsigned released;

static void count_release(struct rmig_guard *guard)
{
    ck_assert_ptr_eq(guard, (struct rmig_guard *)&released);
    /* After the last flush, before the channel goes. */
    ck_assert(script->output_bytes == 1 && !script->closed);
    released++;
}

START_TEST(guard__is_released_once_by_close)
{
    struct rmig_guard *guard = (struct rmig_guard *)&released;

    released = 0;
    open_out();
    ck_assert_ptr_null(rmig_stream_out_guard(out));
    rmig_stream_out_set_guard(out, guard, count_release);
    ck_assert_ptr_eq(rmig_stream_out_guard(out), guard);
    rmig_out_put_u8(out, 1);
    close_all(NULL);
    ck_assert_uint_eq(released, 1);
    script->closed = false;
    open_in();
    ck_assert_ptr_null(rmig_stream_in_guard(in));
    rmig_stream_in_set_guard(in, guard, count_release);
    ck_assert_ptr_eq(rmig_stream_in_guard(in), guard);
    close_all(NULL);
    ck_assert_uint_eq(released, 2);
    script->closed = false;
    open_in();
    rmig_stream_in_set_guard(in, guard, count_release);
    rmig_stream_in_set_guard(in, NULL, NULL);
    close_all(NULL);
    ck_assert_uint_eq(released, 2);
}
END_TEST

Suite *stream_object_suite(void)
{
    const TTest *const object[] = {stream_new__one_direction_of_the_channel,
                                   return_path__is_the_opposite_direction_of_the_same_channel,
                                   return_path__none_where_the_channel_is_one_way,
                                   sizes__copy_buffer_and_scatter_list,
                                   close__flushes_and_gives_what_the_channel_gave,
                                   close__first_error_comes_before_the_close_error,
                                   queries__writable_seekable_channel_and_fd,
                                   set_blocking__reaches_the_channel,
                                   set_blocking__both_directions_of_a_socket_share_it,
                                   mode_string__right_one_opens,
                                   mode_string__wrong_one_is_refused_by_name,
                                   guard__is_released_once_by_close,
                                   NULL};
    const TTest *const error[] = {error__first_one_sticks_and_later_ones_are_logged,
                                  error__default_message_names_the_errno,
                                  any_error__first_stream_then_second_and_either_may_be_absent,
                                  error__puts_do_nothing_after_it,
                                  shutdown__fails_the_stream_and_shuts_the_channel_down,
                                  shutdown__channel_that_cannot_is_ENOSYS,
                                  shutdown__that_fails_is_EIO_with_the_cause,
                                  NULL};
    const TTest *const accounting[] = {transferred__exact_flushes_and_fast_does_not,
                                 credit__bytes_moved_outside_count_as_transferred,
                                 NULL};
    Suite *suite = suite_create("stream/object");

    suite_add_checked(suite, "object", object, setup, teardown);
    suite_add_checked(suite, "error", error, setup, teardown);
    suite_add_checked(suite, "accounting", accounting, setup, teardown);
    return suite;
}
