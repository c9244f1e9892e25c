/* SPDX-License-Identifier: BSD-3-Clause */
/* check_stream_channel.c -- whole transfers over a scripted channel; null, file and fd endpoints.
 */
#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <rmig/stream.h>

#include "stream/fdio.h"
#include "tests/unit/channel_script.h"
#include "tests/unit/stream_suite.h"
#include "tests/unit/suites.h"

static struct rmig_err err;

static void setup(void)
{
    err = (struct rmig_err)RMIG_ERR_INIT;
}

static void teardown(void)
{
}

/* --- whole transfers -------------------------------------------------------------------------- */

START_TEST(writev_all__many_entries_over_short_writes)
{
    static uint8_t bytes[6000];
    static struct iovec iov[3000];
    struct script *s = script_new(NULL, 0);

    fill_pattern(bytes, sizeof(bytes), 1);
    for (int i = 0; i < 3000; i++)
        iov[i] = (struct iovec){bytes + 2 * i, 2};
    s->write_max = 777;
    s->intr_every = 3;
    s->again_every = 5;
    ck_assert_done(rmig_channel_writev_all(&s->base, iov, 3000, &err), &err);
    ck_assert_uint_eq(s->output_bytes, sizeof(bytes));
    ck_assert_mem_eq(s->output, bytes, sizeof(bytes));
    ck_assert_int_eq(s->calls[0].niov, 1024);
    ck_assert_uint_gt(s->nwait, 0);
    ck_assert_done(rmig_channel_writev_all(&s->base, iov, 0, &err), &err);
    script_free(s);
}
END_TEST

START_TEST(writev_all__failures)
{
    struct script *s = script_new(NULL, 0);
    struct iovec iov = {(void *)"0123456789", 10};

    s->write_fault = (struct script_fault){.at_bytes = 4, .code = SCRIPT_ZERO};
    ck_assert_failed(rmig_channel_writev_all(&s->base, &iov, 1, &err), -EIO, &err, "4 of 10 bytes");
    setup();
    s->write_fault.code = -ENOSPC;
    ck_assert_failed(rmig_channel_writev_all(&s->base, &iov, 1, &err), -ENOSPC, &err,
                     strerror(ENOSPC));
    setup();
    s->write_fault.code = 0;
    s->again_every = 1;
    s->wait_code = -ETIMEDOUT;
    ck_assert_failed(rmig_channel_writev_all(&s->base, &iov, 1, &err), -ETIMEDOUT, &err,
                     "scripted wait");
    setup();
    s->ops.wait = NULL;
    ck_assert_failed(rmig_channel_writev_all(&s->base, &iov, 1, &err), -EAGAIN, &err,
                     "no way to wait");
    script_free(s);
}
END_TEST

static ssize_t boast(struct rmig_channel *ch, const struct iovec *iov, int niov, struct rmig_err *e)
{
    (void)ch, (void)iov, (void)niov, (void)e;
    return 1000;
}

START_TEST(transfers__answer_beyond_what_was_asked_is_EIO)
{
    struct script *s = script_new(NULL, 0);
    char buf[10];
    struct iovec iov = {buf, sizeof(buf)};

    memset(buf, 0, sizeof(buf));
    s->ops.readv = s->ops.writev = boast;
    ck_assert_failed(rmig_channel_writev_all(&s->base, &iov, 1, &err), -EIO, &err, "write");
    setup();
    ck_assert_failed(rmig_channel_read_all(&s->base, buf, sizeof(buf), &err), -EIO, &err,
                     "0 of 10");
    script_free(s);
}
END_TEST

START_TEST(read_all__short_reads_and_failures)
{
    struct script *s = script_new("0123456789", 10);
    char buf[20];

    s->read_max = 3;
    s->intr_every = 4;
    s->again_every = 3;
    ck_assert_done(rmig_channel_read_all(&s->base, buf, 10, &err), &err);
    ck_assert_mem_eq(buf, "0123456789", 10);
    ck_assert_done(rmig_channel_read_all(&s->base, buf, 0, &err), &err);
    s->read_bytes = 0;
    ck_assert_failed(rmig_channel_read_all(&s->base, buf, 20, &err), -EIO, &err, "10 of 20 bytes");
    setup();
    s->read_bytes = 0;
    s->read_fault = (struct script_fault){.at_bytes = 5, .code = -ECONNRESET};
    ck_assert_failed(rmig_channel_read_all(&s->base, buf, 20, &err), -ECONNRESET, &err,
                     strerror(ECONNRESET));
    setup();
    s->again_every = 1;
    s->wait_code = -ECANCELED;
    ck_assert_failed(rmig_channel_read_all(&s->base, buf, 20, &err), -ECANCELED, &err, "wait");
    script_free(s);
}
END_TEST

START_TEST(wrappers__what_a_channel_lacks)
{
    struct script *s = script_new(NULL, 0);

    s->ops.shutdown = NULL;
    s->ops.get_fd = NULL;
    ck_assert_failed(rmig_channel_shutdown(&s->base, RMIG_SHUT_READ, &err), -ENOSYS, &err,
                     "cannot be shut down");
    ck_assert_int_eq(rmig_channel_fd(&s->base), -1);
    ck_assert_int_eq(rmig_channel_close(NULL, &err), 0);
    ck_assert_int_eq(rmig_channel_close(&s->base, &err), 0);
    script_free(s);
}
END_TEST

START_TEST(null__counts_and_reads_the_end)
{
    struct rmig_channel *null;
    struct script *s = script_new(NULL, 0);
    struct iovec iov[2];
    char buf[10];

    iov[0] = (struct iovec){buf, 10};
    iov[1] = (struct iovec){buf, 5};
    memset(buf, 0, sizeof(buf));
    ck_assert_done(rmig_channel_null(&null, &err), &err);
    ck_assert_done(rmig_channel_writev_all(null, iov, 2, &err), &err);
    ck_assert_uint_eq(rmig_channel_null_bytes(null), 15);
    ck_assert_uint_eq(rmig_channel_null_bytes(&s->base), 0);
    ck_assert_int_eq(rmig_channel_read_all(null, buf, 1, &err), -EIO);
    rmig_channel_close(null, NULL);
    script_free(s);
}
END_TEST

/* --- files ------------------------------------------------------------------------------------ */

static struct rmig_channel *open_uri(const char *text, enum rmig_channel_mode mode,
                                     const struct rmig_channel_opts *opts)
{
    struct rmig_uri uri = uri_of(text);
    struct rmig_channel *ch;

    ck_assert_done(rmig_channel_open(&uri, mode, opts, &ch, &err), &err);
    return ch;
}

static int open_fails(const char *text, enum rmig_channel_mode mode)
{
    struct rmig_uri uri = uri_of(text);
    struct rmig_channel *ch = NULL;
    int rc;

    setup();
    rc = rmig_channel_open(&uri, mode, NULL, &ch, &err);
    ck_assert_ptr_null(ch);
    return rc;
}

/* A directory of the test's own, and the URI of a file in it that is not there yet. */
static const char *scratch(char dir[64], char text[128])
{
    snprintf(dir, 64, "/tmp/rmig-check-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(text, 128, "file:%s/f", dir);
    return text;
}

START_TEST(file__written_then_read)
{
    char dir[64], text[128];
    const char *uri = scratch(dir, text);
    struct rmig_channel *ch = open_uri(uri, RMIG_OPEN_WRITE, NULL);
    struct iovec iov = {(void *)"0123456789", 10};
    struct stat st;
    char buf[20] = "";

    ck_assert_uint_eq(ch->flags, RMIG_CHANNEL_WRITABLE | RMIG_CHANNEL_SEEKABLE);
    ck_assert_int_ge(rmig_channel_fd(ch), 0);
    ck_assert_int_eq(fcntl(rmig_channel_fd(ch), F_GETFD), FD_CLOEXEC);
    ck_assert_done(rmig_channel_writev_all(ch, &iov, 1, &err), &err);
    ck_assert_int_eq(ch->ops->readv(ch, &iov, 1, &err), -EBADF);
    setup();
    ck_assert_done(rmig_channel_close(ch, &err), &err);
    ck_assert_int_eq(stat(uri + 5, &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0600);

    ch = open_uri(uri, RMIG_OPEN_READ, NULL);
    ck_assert_uint_eq(ch->flags, RMIG_CHANNEL_READABLE | RMIG_CHANNEL_SEEKABLE);
    ck_assert_done(rmig_channel_read_all(ch, buf, 10, &err), &err);
    ck_assert_mem_eq(buf, "0123456789", 10);
    ck_assert_int_eq(ch->ops->seek(ch, 4, SEEK_SET, &err), 4);
    ck_assert_int_eq(ch->ops->seek(ch, -99, SEEK_SET, &err), -EINVAL);
    setup();
    ck_assert_int_eq(ch->ops->pread(ch, buf, 20, 7, &err), 3);
    ck_assert_int_eq(ch->ops->pwrite(ch, buf, 20, 7, &err), -EBADF);
    ck_assert_int_eq(rmig_channel_shutdown(ch, RMIG_SHUT_BOTH, NULL), -ENOSYS);
    rmig_channel_close(ch, NULL);
    /* Writing again empties it. */
    rmig_channel_close(open_uri(uri, RMIG_OPEN_WRITE, NULL), NULL);
    ck_assert_int_eq(stat(uri + 5, &st), 0);
    ck_assert_int_eq(st.st_size, 0);
    unlink(uri + 5);
    rmdir(dir);
}
END_TEST

/* What was in the file before the offset belongs to somebody else. */
START_TEST(file__begins_at_its_offset)
{
    char dir[64], text[128], at_5[160], buf[8] = "";
    const char *path = scratch(dir, text) + 5;
    struct rmig_channel *ch = open_uri(text, RMIG_OPEN_WRITE, NULL);
    struct iovec iov = {(void *)"0123456789", 10};

    ck_assert_done(rmig_channel_writev_all(ch, &iov, 1, &err), &err);
    rmig_channel_close(ch, NULL);
    snprintf(at_5, sizeof(at_5), "%s,offset=5", text);
    ch = open_uri(at_5, RMIG_OPEN_WRITE, NULL);
    ck_assert_int_eq(ch->ops->seek(ch, 0, SEEK_END, &err), 0); /* the rest is gone */
    iov = (struct iovec){(void *)"abcd", 4};
    ck_assert_done(rmig_channel_writev_all(ch, &iov, 1, &err), &err);
    ck_assert_int_eq(ch->ops->seek(ch, 0, SEEK_CUR, &err), 4);
    ck_assert_int_eq(ch->ops->pwrite(ch, "C", 1, 2, &err), 1);
    ck_assert_failed((int)ch->ops->pwrite(ch, "C", 1, INT64_MAX - 4, &err), -EINVAL, &err, "position");
    setup();
    ck_assert_failed((int)ch->ops->seek(ch, INT64_MAX, SEEK_SET, &err), -EINVAL, &err, "seek");
    setup();
    ck_assert_failed((int)ch->ops->seek(ch, -5, SEEK_CUR, &err), -EINVAL, &err, "seek");
    setup();
    ck_assert_int_eq(ch->ops->seek(ch, 0, SEEK_CUR, &err), 4);
    ck_assert_done(rmig_channel_close(ch, &err), &err);

    ch = open_uri(text, RMIG_OPEN_READ, NULL);
    ck_assert_done(rmig_channel_read_all(ch, buf, 8, &err), &err);
    ck_assert_mem_eq(buf, "01234abC", 8);
    rmig_channel_close(ch, NULL);
    ch = open_uri(at_5, RMIG_OPEN_READ, NULL);
    ck_assert_int_eq(ch->ops->pread(ch, buf, 8, 1, &err), 3);
    ck_assert_mem_eq(buf, "bCd", 3);
    ck_assert_int_eq(ch->ops->seek(ch, 1, SEEK_SET, &err), 1);
    ck_assert_done(rmig_channel_read_all(ch, buf, 3, &err), &err);
    ck_assert_mem_eq(buf, "bCd", 3);
    ck_assert_int_eq(ch->ops->seek(ch, 0, SEEK_END, &err), 4);
    rmig_channel_close(ch, NULL);

    snprintf(at_5, sizeof(at_5), "%s,offset=10", text);
    ck_assert_failed(open_fails(at_5, RMIG_OPEN_READ), -EINVAL, &err, "offset 10 is beyond its 9");
    ck_assert_failed(open_fails("file:/dev/null,offset=1", RMIG_OPEN_READ), -ESPIPE, &err, "no file");
    unlink(path);
    rmdir(dir);
}
END_TEST

/* The system would put what goes to a position at the end instead, and call it done. */
START_TEST(file__open_for_appending_has_no_positions)
{
    char dir[64], text[128];
    const char *path = scratch(dir, text) + 5;
    struct rmig_channel *ch;
    struct rmig_out *out;
    char buf[8] = "";
    int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    ck_assert_done(rmig_channel_from_fd(dup(fd), NULL, &ch, &err), &err);
    ck_assert_uint_eq(ch->flags, RMIG_CHANNEL_READABLE | RMIG_CHANNEL_WRITABLE);
    ck_assert_done(rmig_out_new(ch, &out, &err), &err);
    rmig_out_put_buffer(out, "abc", 3);
    ck_assert_int_eq(rmig_out_flush(out), 0);
    ck_assert_int_eq(rmig_out_put_buffer_at(out, "XY", 2, 0), -ENOTSUP);
    rmig_out_close(out, NULL);
    ck_assert_int_eq(pread(fd, buf, sizeof(buf), 0), 3);
    ck_assert_str_eq(buf, "abc");
    close(fd);
    unlink(path);
    rmdir(dir);
}
END_TEST

START_TEST(file__what_cannot_be_opened_is_named)
{
    char dir[64], text[128];
    const char *uri = scratch(dir, text);

    ck_assert_failed(open_fails(uri, RMIG_OPEN_READ), -ENOENT, &err, "open for reading");
    ck_assert_int_eq(mkfifo(uri + 5, 0600), 0);
    ck_assert_failed(open_fails(uri, RMIG_OPEN_READ), -EINVAL, &err, "named pipe");
    unlink(uri + 5);
    ck_assert_int_eq(mkdir(uri + 5, 0700), 0);
    ck_assert_failed(open_fails(uri, RMIG_OPEN_WRITE), -EISDIR, &err, "open for writing");
    ck_assert_failed(open_fails(uri, RMIG_OPEN_READ), -EISDIR, &err, "is a directory");
    rmdir(uri + 5);
    rmdir(dir);
}
END_TEST

START_TEST(file__device_that_is_no_file)
{
    struct rmig_channel *ch = open_uri("file:/dev/null", RMIG_OPEN_WRITE, NULL);
    struct iovec iov = {(void *)"x", 1};

    ck_assert_uint_eq(ch->flags, RMIG_CHANNEL_WRITABLE | RMIG_CHANNEL_BULK);
    ck_assert_done(rmig_channel_writev_all(ch, &iov, 1, &err), &err);
    ck_assert_done(rmig_channel_close(ch, &err), &err);
}
END_TEST

START_TEST(file__cancel_ends_it_between_calls)
{
    struct rmig_channel_opts opts = {.cancel = NULL};
    char dir[64], text[128], buf[4];
    const char *uri = scratch(dir, text);
    struct iovec iov = {buf, sizeof(buf)};
    struct rmig_channel *ch;

    memset(buf, 0, sizeof(buf));
    ck_assert_done(rmig_cancel_new(&opts.cancel, &err), &err);
    ch = open_uri(uri, RMIG_OPEN_WRITE, &opts);
    ck_assert_int_eq(ch->ops->writev(ch, &iov, 1, &err), 4);
    rmig_cancel_trigger(opts.cancel);
    ck_assert_failed(ch->ops->writev(ch, &iov, 1, &err), -ECANCELED, &err, "cancelled");
    ck_assert_int_eq(ch->ops->readv(ch, &iov, 1, &err), -ECANCELED);
    ck_assert_int_eq(ch->ops->pread(ch, buf, 1, 0, &err), -ECANCELED);
    ck_assert_int_eq(ch->ops->pwrite(ch, buf, 1, 0, &err), -ECANCELED);
    rmig_channel_close(ch, NULL);
    rmig_cancel_free(opts.cancel);
    unlink(uri + 5);
    rmdir(dir);
}
END_TEST

START_TEST(open__what_is_no_channel)
{
    struct rmig_uri odd = {.kind = (enum rmig_uri_kind)99};
    struct rmig_channel *ch;

    ck_assert_failed(open_fails("rdma:h:1", RMIG_OPEN_READ), -ENOTSUP, &err, "rdma transport");
    ck_assert_failed(open_fails("file:/x", (enum rmig_channel_mode)0), -EINVAL, &err, "mode 0");
    ck_assert_failed(open_fails("fd:987654", RMIG_OPEN_READ), -EBADF, &err, "fd:987654");
    setup();
    ck_assert_failed(rmig_channel_open(&odd, RMIG_OPEN_READ, NULL, &ch, &err), -EINVAL, &err,
                     "kind 99");
}
END_TEST

/* --- descriptors ------------------------------------------------------------------------------ */

static struct rmig_channel *adopt(int fd, const struct rmig_channel_opts *opts)
{
    struct rmig_channel *ch;

    ck_assert_done(rmig_channel_from_fd(fd, opts, &ch, &err), &err);
    return ch;
}

static void check_called(int fd, int to_close)
{
    struct rmig_channel *ch = adopt(fd, &(struct rmig_channel_opts){.label = "the guest"});
    struct iovec iov = {(char[]){"x"}, 1};

    ck_assert_str_eq(ch->label, "the guest");
    if (to_close >= 0)
        close(to_close);
    ck_assert_int_lt(rmig_channel_writev_all(ch, &iov, 1, &err), 0);
    ck_assert_msg(strncmp(err.msg, "the guest: ", 11) == 0, "%s", err.msg);
    rmig_channel_close(ch, NULL);
    setup();
}

START_TEST(from_fd__is_called_as_the_options_say)
{
    int ends[2];

    check_called(open("/proc/self/exe", O_RDONLY), -1);
    check_called(open("/dev/full", O_WRONLY), -1);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    check_called(ends[0], ends[1]);
    ck_assert_int_eq(pipe(ends), 0);
    check_called(ends[1], ends[0]);
}
END_TEST

START_TEST(from_fd__direction_and_kind_come_from_the_descriptor)
{
    struct rmig_channel *ch;
    int ends[2], fd, listener;

    ck_assert_int_eq(pipe(ends), 0);
    ch = adopt(ends[0], NULL);
    ck_assert_uint_eq(ch->flags, RMIG_CHANNEL_READABLE);
    ck_assert_int_eq(rmig_channel_fd(ch), ends[0]);
    rmig_channel_close(ch, NULL);
    ch = adopt(ends[1], NULL);
    ck_assert_uint_eq(ch->flags, RMIG_CHANNEL_WRITABLE | RMIG_CHANNEL_BULK);
    rmig_channel_close(ch, NULL);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    ch = adopt(ends[0], NULL);
    ck_assert_uint_eq(ch->flags, RMIG_CHANNEL_READABLE | RMIG_CHANNEL_WRITABLE);
    rmig_channel_close(ch, NULL);
    close(ends[1]);

    fd = open("/tmp", O_PATH);
    ck_assert_failed(rmig_channel_from_fd(fd, NULL, &ch, &err), -EBADF, &err, "neither");
    ck_assert_int_eq(close(fd), 0); /* still ours */
    fd = open("/tmp", O_RDONLY | O_DIRECTORY);
    setup();
    ck_assert_failed(rmig_channel_from_fd(fd, NULL, &ch, &err), -EISDIR, &err, "directory");
    close(fd);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(listen(listener, 1), 0);
    setup();
    ck_assert_failed(rmig_channel_from_fd(listener, NULL, &ch, &err), -EINVAL, &err, "listening");
    close(listener);
}
END_TEST

START_TEST(fd__status_flags_come_back_at_close)
{
    int ends[2], other;
    struct rmig_channel *ch;

    ck_assert_int_eq(pipe(ends), 0);
    other = dup(ends[0]); /* the same open file description, as a parent would have it */
    ck_assert_int_eq(fcntl(other, F_GETFL) & O_NONBLOCK, 0);
    ch = adopt(ends[0], NULL);
    ck_assert_int_ne(fcntl(other, F_GETFL) & O_NONBLOCK, 0);
    ck_assert_int_eq(fcntl(ends[0], F_GETFD), FD_CLOEXEC);
    ck_assert_done(rmig_channel_close(ch, &err), &err);
    ck_assert_int_eq(fcntl(other, F_GETFL) & O_NONBLOCK, 0);
    ck_assert_int_eq(fcntl(ends[0], F_GETFL), -1);
    close(other);
    close(ends[1]);
}
END_TEST

/* Two channels over one open file description: the first to close makes it blocking again. */
START_TEST(fd__another_channel_that_closes_leaves_it_non_blocking)
{
    const struct rmig_channel_opts opts = {.idle_timeout_ms = 80};
    static uint8_t bytes[1 << 20];
    struct iovec iov = {bytes, sizeof(bytes)};

    for (int socket = 0; socket < 2; socket++) {
        struct rmig_channel *first, *from, *to;
        int ends[2];

        setup();
        ck_assert_int_eq(socket ? socketpair(AF_UNIX, SOCK_STREAM, 0, ends) : pipe(ends), 0);
        first = adopt(dup(ends[0]), &opts);
        from = adopt(ends[0], &opts);
        rmig_channel_close(first, NULL);
        ck_assert_failed(rmig_channel_read_all(from, bytes, 1, &err), -ETIMEDOUT, &err, "80 ms");
        setup();
        first = adopt(dup(ends[1]), &opts);
        to = adopt(ends[1], &opts);
        rmig_channel_close(first, NULL);
        ck_assert_failed(rmig_channel_writev_all(to, &iov, 1, &err), -ETIMEDOUT, &err, "80 ms");
        rmig_channel_close(from, NULL);
        rmig_channel_close(to, NULL);
    }
}
END_TEST

START_TEST(fd__idle_deadline_is_30_s_by_default)
{
    struct rmig_fdio io = {.label = "fd"};
    int fd = open("/dev/null", O_RDWR);

    ck_assert_done(rmig_fdio_init(&io, fd, false, NULL, &err), &err);
    ck_assert_uint_eq(io.idle_timeout_ms, 30000);
    ck_assert_done(rmig_fdio_close(&io, &err), &err);
}
END_TEST

START_TEST(fd__idle_deadline_ends_reading_and_writing)
{
    const struct rmig_channel_opts opts = {.idle_timeout_ms = 80};
    static uint8_t bytes[1 << 20];
    struct iovec iov = {bytes, sizeof(bytes)};
    struct rmig_channel *from, *to;
    uint64_t start = now_ms();
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    from = adopt(ends[0], &opts);
    to = adopt(ends[1], &opts);
    ck_assert_failed(rmig_channel_read_all(from, bytes, 1, &err), -ETIMEDOUT, &err,
                     "nothing received for 80 ms");
    ck_assert_uint_ge(now_ms() - start, 79);
    setup();
    ck_assert_failed(rmig_channel_writev_all(to, &iov, 1, &err), -ETIMEDOUT, &err,
                     "nothing taken for 80 ms");
    ck_assert_uint_lt(now_ms() - start, 2000 + slack_ms());
    rmig_channel_close(from, NULL);
    rmig_channel_close(to, NULL);
}
END_TEST

START_TEST(fd__non_blocking_answers_EAGAIN_and_wait_waits)
{
    struct rmig_channel *ch;
    int ends[2];
    char byte = 0;
    struct iovec iov = {&byte, 1};

    ck_assert_int_eq(pipe(ends), 0);
    ch = adopt(ends[0], NULL);
    ck_assert_int_eq(ch->ops->set_blocking(ch, false, &err), 0);
    ck_assert_int_eq(ch->ops->readv(ch, &iov, 1, &err), -EAGAIN);
    ck_assert_int_eq(err.code, 0);
    ck_assert_int_eq(write(ends[1], "x", 1), 1);
    ck_assert_int_eq(rmig_channel_wait(ch, RMIG_SHUT_READ, &err), 0);
    ck_assert_int_eq(ch->ops->readv(ch, &iov, 1, &err), 1);
    close(ends[1]);
    ck_assert_int_eq(ch->ops->readv(ch, &iov, 1, &err), 0);
    rmig_channel_close(ch, NULL);
}
END_TEST

START_TEST(fd__writing_to_nobody_is_EPIPE_and_no_signal)
{
    struct iovec iov = {(void *)"x", 1};
    sigset_t pending, set;
    struct rmig_channel *ch;
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    ch = adopt(ends[1], NULL);
    close(ends[0]);
    ck_assert_failed(rmig_channel_writev_all(ch, &iov, 1, &err), -EPIPE, &err, strerror(EPIPE));
    sigpending(&pending);
    ck_assert_int_eq(sigismember(&pending, SIGPIPE), 0);
    /* One that was pending before is not ours to eat. */
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGPIPE);
    setup();
    ck_assert_int_eq(rmig_channel_writev_all(ch, &iov, 1, &err), -EPIPE);
    sigpending(&pending);
    ck_assert_int_eq(sigismember(&pending, SIGPIPE), 1);
    rmig_channel_close(ch, NULL);
}
END_TEST

START_TEST(fd__terminal_works_as_well)
{
    struct iovec iov = {(void *)"hello\n", 6};
    struct rmig_channel *ch;
    int master, slave;
    char buf[6];

    ck_assert_int_eq(openpty(&master, &slave, NULL, NULL, NULL), 0);
    ch = adopt(master, NULL);
    ck_assert_uint_eq(ch->flags, RMIG_CHANNEL_READABLE | RMIG_CHANNEL_WRITABLE | RMIG_CHANNEL_BULK);
    ck_assert_done(rmig_channel_writev_all(ch, &iov, 1, &err), &err);
    ck_assert_int_eq(read(slave, buf, sizeof(buf)), 6);
    ck_assert_mem_eq(buf, "hello\n", 6);
    rmig_channel_close(ch, NULL);
    close(slave);
}
END_TEST

START_TEST(fdio_close__again_is_fine)
{
    struct rmig_fdio io = {.label = "again"};
    int pipe_ends[2];

    ck_assert_int_eq(pipe(pipe_ends), 0);
    ck_assert_int_eq(rmig_fdio_init(&io, pipe_ends[0], S_IFIFO, NULL, &err), 0);
    ck_assert_int_eq(rmig_fdio_close(&io, &err), 0);
    /* somebody else may have the number by now */
    ck_assert_int_eq(dup(pipe_ends[1]), pipe_ends[0]);
    ck_assert_int_eq(rmig_fdio_close(&io, &err), 0);
    ck_assert_int_ge(fcntl(pipe_ends[0], F_GETFD), 0);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
}
END_TEST

START_TEST(fd__close_error_is_told)
{
    struct rmig_channel *ch;
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    ch = adopt(ends[0], NULL);
    close(ends[0]); /* behind its back */
    ck_assert_failed(rmig_channel_wait(ch, RMIG_SHUT_READ, &err), -EBADF, &err, "poll");
    setup();
    ck_assert_failed(rmig_channel_close(ch, &err), -EBADF, &err, "close");
    close(ends[1]);
}
END_TEST

Suite *stream_channel_suite(void)
{
    const TTest *const whole[] = {writev_all__many_entries_over_short_writes,
                                  writev_all__failures,
                                  transfers__answer_beyond_what_was_asked_is_EIO,
                                  read_all__short_reads_and_failures,
                                  wrappers__what_a_channel_lacks,
                                  null__counts_and_reads_the_end,
                                  NULL};
    const TTest *const file[] = {file__open_for_appending_has_no_positions,
                                 file__begins_at_its_offset,
                                 file__written_then_read,      file__what_cannot_be_opened_is_named,
                                 file__device_that_is_no_file, file__cancel_ends_it_between_calls,
                                 open__what_is_no_channel,     NULL};
    const TTest *const fd[] = {from_fd__direction_and_kind_come_from_the_descriptor,
                               from_fd__is_called_as_the_options_say,
                               fd__status_flags_come_back_at_close,
                               fd__another_channel_that_closes_leaves_it_non_blocking,
                               fd__idle_deadline_is_30_s_by_default,
                               fd__idle_deadline_ends_reading_and_writing,
                               fd__non_blocking_answers_EAGAIN_and_wait_waits,
                               fd__writing_to_nobody_is_EPIPE_and_no_signal,
                               fd__terminal_works_as_well,
                               fdio_close__again_is_fine,
                               fd__close_error_is_told,
                               NULL};
    Suite *suite = suite_create("stream/channel");

    suite_add_checked(suite, "whole transfers", whole, setup, teardown);
    suite_add_checked(suite, "file", file, setup, teardown);
    suite_add_checked(suite, "fd", fd, setup, teardown);
    return suite;
}
