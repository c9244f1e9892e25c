/* SPDX-License-Identifier: BSD-3-Clause */
/* check_stream_in.c -- reading: rows A5, A6, B11 and C1 to C7. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/channel_script.h"
#include "tests/unit/stream_suite.h"
#include "tests/unit/suites.h"

#define BUFFER RMIG_STREAM_BUFFER_BYTES
#define INPUT_BYTES 300000u

static uint8_t input[INPUT_BYTES], copy[INPUT_BYTES];
static struct script *script;
static struct rmig_in *in;

static void open_over(const void *bytes, size_t len)
{
    struct rmig_err err = RMIG_ERR_INIT;

    script = script_new(bytes, len);
    ck_assert_done(rmig_in_new(&script->base, &in, &err), &err);
}

static void setup(void)
{
    fill_pattern(input, sizeof(input), 9);
    open_over(input, sizeof(input));
}

static void teardown(void)
{
    rmig_in_close(in, NULL);
    ck_assert(script->closed);
    script_free(script);
}

static void reopen_over(const void *bytes, size_t len)
{
    teardown();
    open_over(bytes, len);
}

START_TEST(get_numbers__are_big_endian)
{
    static const uint8_t wire[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    uint8_t u8;
    uint16_t be16;
    uint32_t be32;
    uint64_t be64;

    for (size_t max = 0; max < 4; max++) {
        reopen_over(wire, sizeof(wire));
        script->read_max = max;
        ck_assert_int_eq(rmig_in_get_u8(in, &u8), 0);
        ck_assert_int_eq(rmig_in_get_be16(in, &be16), 0);
        ck_assert_int_eq(rmig_in_get_be32(in, &be32), 0);
        ck_assert_int_eq(rmig_in_get_be64(in, &be64), 0);
        ck_assert_uint_eq(u8, 1);
        ck_assert_uint_eq(be16, 0x0203);
        ck_assert_uint_eq(be32, 0x04050607);
        ck_assert_uint_eq(be64, 0x08090a0b0c0d0e0full);
        ck_assert_uint_eq(rmig_in_received_bytes(in), sizeof(wire));
        ck_assert_uint_eq(rmig_in_buffered_bytes(in), 0);
    }
}
END_TEST

/* At the end of the stream no width answers with data, and the value stays as it was. */
START_TEST(get__error_is_never_data)
{
    uint8_t u8 = 77;
    uint16_t be16 = 77;
    uint32_t be32 = 77;
    uint64_t be64 = 77;
    char str[256] = "old";
    const uint8_t *p;

    for (int round = 0; round < 5; round++) {
        reopen_over(input, 0);
        if (round == 0)
            ck_assert_int_eq(rmig_in_get_u8(in, &u8), -EIO);
        if (round == 1)
            ck_assert_int_eq(rmig_in_get_be16(in, &be16), -EIO);
        if (round == 2)
            ck_assert_int_eq(rmig_in_get_be32(in, &be32), -EIO);
        if (round == 3)
            ck_assert_int_eq(rmig_in_get_be64(in, &be64), -EIO);
        if (round == 4)
            ck_assert_int_eq(rmig_in_get_counted_string(in, str), -EIO);
        ck_assert_int_eq(rmig_in_error(in, NULL), -EIO);
    }
    ck_assert_uint_eq(u8 + be16 + be32 + be64, 4 * 77);
    ck_assert_str_eq(str, "old");
    ck_assert_int_eq(rmig_in_get_buffer(in, copy, 1), -EIO);
    ck_assert_int_eq(rmig_in_get_in_place(in, copy, 1, &p), -EIO);
    ck_assert_int_eq(rmig_in_peek(in, &p, 1, 0), -EIO);
    ck_assert_int_eq(rmig_in_peek_u8(in, 0, &u8), -EIO);
    ck_assert_int_eq(rmig_in_skip(in, 1), -EIO);
    ck_assert_int_eq(rmig_in_copy_to_fd(in, 1, 1), -EIO);
    ck_assert_int_eq(rmig_in_get_compressed(in, NULL, copy, 1), -EIO);
}
END_TEST

START_TEST(fill__end_of_stream_is_EIO)
{
    struct rmig_err err = RMIG_ERR_INIT;

    reopen_over(input, 10);
    ck_assert_int_eq(rmig_in_get_buffer(in, copy, 11), -EIO);
    ck_assert_failed(rmig_in_error(in, &err), -EIO, &err, "ended after 10 bytes");
}
END_TEST

START_TEST(fill__pending_bytes_move_to_the_front)
{
    const uint8_t *p;
    unsigned reads;

    script->read_max = BUFFER;
    ck_assert_int_eq(rmig_in_skip(in, BUFFER - 10), 0);
    ck_assert_uint_eq(rmig_in_buffered_bytes(in), 10);
    reads = script->nreadv;
    /* 10 pending ones and the buffer's whole rest: one read appends. */
    ck_assert_int_eq(rmig_in_peek(in, &p, BUFFER, 0), BUFFER);
    ck_assert_uint_eq(script->nreadv, reads + 1);
    ck_assert_mem_eq(p, input + BUFFER - 10, BUFFER);
}
END_TEST

START_TEST(fill__short_reads_and_interruptions_are_normal)
{
    script->read_max = 701;
    script->intr_every = 3;
    script->again_every = 4;
    ck_assert_int_eq(rmig_in_get_buffer(in, copy, sizeof(copy)), 0);
    ck_assert_mem_eq(copy, input, sizeof(copy));
    ck_assert_uint_gt(script->nwait, 0);
}
END_TEST

START_TEST(fill__wait_that_fails_is_the_streams_error)
{
    struct rmig_err err = RMIG_ERR_INIT;
    uint8_t v;

    script->again_every = 1;
    script->wait_code = -ECANCELED;
    ck_assert_int_eq(rmig_in_get_u8(in, &v), -ECANCELED);
    ck_assert_failed(rmig_in_error(in, &err), -ECANCELED, &err, "scripted wait");
}
END_TEST

START_TEST(fill__would_block_does_not_stick_if_non_blocking)
{
    struct rmig_err err = RMIG_ERR_INIT;
    uint64_t v;
    const uint8_t *p;
    char str[256];

    ck_assert_done(rmig_in_set_blocking(in, false, &err), &err);
    ck_assert_int_eq(script->blocking, 0);
    script->read_max = 5;
    script->again_every = 2;
    /* 5 bytes come, then nothing: none is lost. */
    ck_assert_int_eq(rmig_in_get_be64(in, &v), -EAGAIN);
    ck_assert_int_eq(rmig_in_error(in, NULL), 0);
    ck_assert_uint_eq(rmig_in_buffered_bytes(in), 5);
    ck_assert_int_eq(rmig_in_get_be64(in, &v), 0);
    ck_assert_uint_eq(script->nwait, 0);
    ck_assert_uint_eq(v >> 56, input[0]);
    ck_assert_int_eq(rmig_in_skip(in, 1000), -EAGAIN);
    ck_assert_int_eq(rmig_in_get_buffer(in, copy, 1000), -EAGAIN);
    ck_assert_int_eq(rmig_in_get_in_place(in, copy, 1000, &p), -EAGAIN);
    ck_assert_int_ge(rmig_in_peek(in, &p, 1000, 0), 5);
    ck_assert_mem_eq(p, input + 8, 5);
    ck_assert_int_eq(rmig_in_peek(in, &p, 1, 1000), -EAGAIN);
    ck_assert_int_eq(rmig_in_get_counted_string(in, str), -EAGAIN);
    /* What could not be given back is not begun. */
    ck_assert_int_eq(rmig_in_get_buffer(in, copy, BUFFER + 1), -EINVAL);
    ck_assert_int_eq(rmig_in_skip(in, BUFFER + 1), -EINVAL);
    ck_assert_int_eq(rmig_in_get_compressed(in, NULL, copy, 1), -ENOTSUP);
    ck_assert_int_eq(rmig_in_error(in, NULL), 0);
    script->again_every = 0;
    ck_assert_int_eq(rmig_in_get_buffer(in, copy, BUFFER), 0);
    ck_assert_mem_eq(copy, input + 8, BUFFER);
    ck_assert_int_eq(rmig_in_skip(in, 3), 0);
    ck_assert_done(rmig_in_set_blocking(in, true, &err), &err);
    script->again_every = 2;
    ck_assert_int_eq(rmig_in_get_be64(in, &v), 0);
    ck_assert_uint_gt(script->nwait, 0);
}
END_TEST

START_TEST(peek__gathers_over_short_reads)
{
    const uint8_t *p, *again;
    uint8_t v;

    script->read_max = 7;
    ck_assert_int_eq(rmig_in_peek(in, &p, 100, 50), 100);
    ck_assert_mem_eq(p, input + 50, 100);
    /* Looking gets nothing. */
    ck_assert_int_eq(rmig_in_peek(in, &again, 100, 50), 100);
    ck_assert_ptr_eq(again, p);
    ck_assert_int_eq(rmig_in_peek_u8(in, 3, &v), 0);
    ck_assert_uint_eq(v, input[3]);
    ck_assert_int_eq(rmig_in_skip(in, 3), 0);
    ck_assert_int_eq(rmig_in_get_u8(in, &v), 0);
    ck_assert_uint_eq(v, input[3]);
    ck_assert_int_eq(rmig_in_peek(in, &p, BUFFER, 0), BUFFER);
    ck_assert_int_eq(rmig_in_peek(in, &p, BUFFER, 1), -EINVAL);
    ck_assert_int_eq(rmig_in_peek(in, &p, SIZE_MAX, 2), -EINVAL);
    ck_assert_int_eq(rmig_in_peek(in, &p, 2, SIZE_MAX), -EINVAL);
    ck_assert_int_eq(rmig_in_error(in, NULL), 0);
}
END_TEST

START_TEST(peek__fewer_bytes_only_at_the_end)
{
    const uint8_t *p;

    reopen_over(input, 10);
    ck_assert_int_eq(rmig_in_peek(in, &p, 8, 4), 6);
    ck_assert_mem_eq(p, input + 4, 6);
    ck_assert_int_eq(rmig_in_error(in, NULL), -EIO);
    ck_assert_int_eq(rmig_in_peek(in, &p, 1, 0), -EIO);
    reopen_over(input, 10);
    ck_assert_int_eq(rmig_in_peek(in, &p, 8, 10), -EIO);
}
END_TEST

START_TEST(peek__failure_gives_no_data)
{
    const uint8_t *p;

    script->read_max = 10;
    script->read_fault = (struct script_fault){.at_bytes = 20, .code = -ECONNRESET};
    ck_assert_int_eq(rmig_in_peek(in, &p, 20, 0), 20);
    ck_assert_int_eq(rmig_in_peek(in, &p, 21, 0), -ECONNRESET);
}
END_TEST

START_TEST(skip__any_number)
{
    uint8_t v;

    script->read_max = 999;
    ck_assert_int_eq(rmig_in_skip(in, 0), 0);
    ck_assert_int_eq(rmig_in_skip(in, 200001), 0);
    ck_assert_int_eq(rmig_in_get_u8(in, &v), 0);
    ck_assert_uint_eq(v, input[200001]);
    ck_assert_int_eq(rmig_in_skip(in, SIZE_MAX), -EIO);
}
END_TEST

START_TEST(get_buffer__any_size_at_any_place)
{
    static const size_t sizes[] = {1, 8, 1000, 1023, 1024, 4096, 32767, 32768, 32769, 70000, 3};

    for (size_t max = 0; max < 50000; max = max * 3 + 331) {
        size_t at = 0;

        reopen_over(input, sizeof(input));
        script->read_max = max;
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            memset(copy, 0, sizes[i]);
            ck_assert_int_eq(rmig_in_get_buffer(in, copy, sizes[i]), 0);
            ck_assert_mem_eq(copy, input + at, sizes[i]);
            at += sizes[i];
        }
        ck_assert_int_eq(rmig_in_get_buffer(in, NULL, 0), 0);
    }
}
END_TEST

START_TEST(get_buffer__large_is_read_straight_into_place)
{
    /* One read for all of it, and for a bufferful behind it. */
    ck_assert_int_eq(rmig_in_get_buffer(in, copy, 200000), 0);
    ck_assert_uint_eq(script->nreadv, 1);
    ck_assert_uint_eq(rmig_in_buffered_bytes(in), BUFFER);
    ck_assert_mem_eq(copy, input, 200000);
    ck_assert_int_eq(rmig_in_get_buffer(in, copy, BUFFER), 0);
    ck_assert_uint_eq(script->nreadv, 1);
    ck_assert_mem_eq(copy, input + 200000, BUFFER);
}
END_TEST

START_TEST(get_counted_string__length_and_text)
{
    static uint8_t wire[300];
    char str[256];

    wire[0] = 0;
    wire[1] = 3;
    memcpy(wire + 2, "ram", 3);
    wire[5] = 255;
    memset(wire + 6, 'y', 255);
    reopen_over(wire, 6 + 255);
    script->read_max = 2;
    ck_assert_int_eq(rmig_in_get_counted_string(in, str), 0);
    ck_assert_str_eq(str, "");
    ck_assert_int_eq(rmig_in_get_counted_string(in, str), 3);
    ck_assert_str_eq(str, "ram");
    ck_assert_int_eq(rmig_in_get_counted_string(in, str), 255);
    ck_assert_uint_eq(strlen(str), 255);
    ck_assert_int_eq(rmig_in_error(in, NULL), 0);
}
END_TEST

START_TEST(get_counted_string__short_read_is_0)
{
    char str[256] = "old";

    reopen_over("\5abc", 4);
    ck_assert_int_eq(rmig_in_get_counted_string(in, str), 0);
    ck_assert_str_eq(str, "");
    ck_assert_int_eq(rmig_in_error(in, NULL), -EIO);
    ck_assert_int_eq(rmig_in_get_counted_string(in, str), -EIO);
}
END_TEST

START_TEST(get_in_place__no_copy_where_it_fits)
{
    const uint8_t *p;

    ck_assert_int_eq(rmig_in_get_in_place(in, copy, 4096, &p), 0);
    ck_assert_ptr_ne(p, copy);
    ck_assert_mem_eq(p, input, 4096);
    ck_assert_int_eq(rmig_in_get_in_place(in, copy, BUFFER, &p), 0);
    ck_assert_ptr_ne(p, copy);
    ck_assert_mem_eq(p, input + 4096, BUFFER);
    ck_assert_int_eq(rmig_in_get_in_place(in, copy, BUFFER + 1, &p), 0);
    ck_assert_ptr_eq(p, copy);
    ck_assert_mem_eq(p, input + 4096 + BUFFER, BUFFER + 1);
    p = NULL;
    ck_assert_int_eq(rmig_in_get_in_place(in, copy, sizeof(input), &p), -EIO);
    ck_assert_ptr_null(p);
}
END_TEST

START_TEST(get_buffer_at__reads_there_and_stays_here)
{
    char name[] = "/tmp/rmig-check-XXXXXX";
    struct rmig_err err = RMIG_ERR_INIT;
    int fd = mkstemp(name);
    struct rmig_channel *ch;
    struct rmig_in *file;
    uint8_t v;

    ck_assert_int_ge(fd, 0);
    unlink(name);
    ck_assert_int_eq(pwrite(fd, input, 100000, 0), 100000);
    ck_assert_done(rmig_channel_from_fd(fd, NULL, &ch, &err), &err);
    ck_assert_done(rmig_in_new(ch, &file, &err), &err);
    ck_assert(rmig_in_is_seekable(file));
    ck_assert_int_eq(rmig_in_get_u8(file, &v), 0);
    ck_assert_int_eq(rmig_in_get_buffer_at(file, copy, 1000, 90000), 0);
    ck_assert_mem_eq(copy, input + 90000, 1000);
    ck_assert_int_eq(rmig_in_get_u8(file, &v), 0);
    ck_assert_uint_eq(v, input[1]);
    ck_assert_int_eq(rmig_in_get_buffer_at(file, NULL, 0, 0), 0);
    ck_assert_int_eq(rmig_in_get_buffer_at(file, copy, 1000, 99990), -EIO);
    ck_assert_failed(rmig_in_error(file, &err), -EIO, &err, "offset 99990: 10 of 1000 bytes");
    rmig_in_close(file, NULL);
}
END_TEST

START_TEST(get_buffer_at__error_and_no_positions)
{
    script->positional_code = -ENXIO;
    ck_assert_int_eq(rmig_in_get_buffer_at(in, copy, 10, 0), -ENXIO);
    reopen_over(input, 10);
    script->base.flags &= ~RMIG_CHANNEL_SEEKABLE;
    ck_assert(!rmig_in_is_seekable(in));
    ck_assert_int_eq(rmig_in_get_buffer_at(in, copy, 10, 0), -ENOTSUP);
    ck_assert_int_eq(rmig_in_error(in, NULL), -ENOTSUP);
    ck_assert_int_eq(rmig_in_tell(in), -ENOTSUP);
}
END_TEST

static struct rmig_in *in_over_bytes(const void *bytes, size_t len)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_buffer *buf;
    struct rmig_channel *ch;
    struct rmig_in *stream;

    ck_assert_done(rmig_buffer_new_from(bytes, len, &buf, &err), &err);
    ck_assert_done(rmig_channel_from_buffer(buf, RMIG_OPEN_READ, &ch, &err), &err);
    ck_assert_done(rmig_in_new(ch, &stream, &err), &err);
    return stream;
}

START_TEST(seek__drops_what_was_buffered)
{
    struct rmig_in *s = in_over_bytes(input, 100000);
    uint8_t v;

    ck_assert_int_eq(rmig_in_get_u8(s, &v), 0);
    ck_assert_uint_gt(rmig_in_buffered_bytes(s), 0);
    ck_assert_int_eq(rmig_in_tell(s), 1);
    ck_assert_int_eq(rmig_in_seek(s, 50000, SEEK_SET), 50000);
    ck_assert_uint_eq(rmig_in_buffered_bytes(s), 0);
    ck_assert_int_eq(rmig_in_get_u8(s, &v), 0);
    ck_assert_uint_eq(v, input[50000]);
    /* From where the reader is, not from where the channel is. */
    ck_assert_int_eq(rmig_in_seek(s, 9, SEEK_CUR), 50010);
    ck_assert_int_eq(rmig_in_get_u8(s, &v), 0);
    ck_assert_uint_eq(v, input[50010]);
    ck_assert_int_eq(rmig_in_seek(s, -1, SEEK_END), 99999);
    ck_assert_int_eq(rmig_in_get_u8(s, &v), 0);
    ck_assert_uint_eq(v, input[99999]);
    ck_assert_int_eq(rmig_in_seek(s, 0, SEEK_SET), 0);
    ck_assert_int_eq(rmig_in_get_u8(s, &v), 0);
    ck_assert_int_eq(rmig_in_seek(s, INT64_MIN, SEEK_CUR), -EINVAL);
    ck_assert_int_eq(rmig_in_seek(s, 0, SEEK_SET), -EINVAL);
    ck_assert_int_eq(rmig_in_close(s, NULL), -EINVAL);
    script->positional_code = -ESPIPE;
    ck_assert_int_eq(rmig_in_tell(in), -ESPIPE);
    reopen_over(input, 10);
    script->positional_code = -ESPIPE;
    ck_assert_int_eq(rmig_in_seek(in, 0, SEEK_SET), -ESPIPE);
}
END_TEST

START_TEST(copy_to_fd__buffered_bytes_first)
{
    char name[] = "/tmp/rmig-check-XXXXXX";
    int fd = mkstemp(name);
    uint8_t v;

    ck_assert_int_ge(fd, 0);
    unlink(name);
    script->read_max = 10000;
    ck_assert_int_eq(rmig_in_get_u8(in, &v), 0);
    ck_assert_int_eq(rmig_in_copy_to_fd(in, fd, 0), 0);
    ck_assert_int_eq(rmig_in_copy_to_fd(in, fd, 200000), 0);
    ck_assert_int_eq(pread(fd, copy, sizeof(copy), 0), 200000);
    ck_assert_mem_eq(copy, input + 1, 200000);
    ck_assert_int_eq(rmig_in_get_u8(in, &v), 0);
    ck_assert_uint_eq(v, input[200001]);
    ck_assert_int_eq(rmig_in_copy_to_fd(in, fd, sizeof(input)), -EIO);
    close(fd);
}
END_TEST

START_TEST(copy_to_fd__write_error_is_its_errno_and_no_signal)
{
    struct sigaction action;
    int pipe_ends[2], sockets[2];
    uint8_t v;

    sigaction(SIGPIPE, NULL, &action);
    ck_assert(action.sa_handler == SIG_DFL); /* a SIGPIPE would end this test */
    ck_assert_int_eq(pipe(pipe_ends), 0);
    ck_assert_int_eq(rmig_in_copy_to_fd(in, pipe_ends[1], 10000), 0);
    ck_assert_int_eq(read(pipe_ends[0], copy, 10000), 10000);
    ck_assert_mem_eq(copy, input, 10000);
    close(pipe_ends[0]);
    ck_assert_int_eq(rmig_in_copy_to_fd(in, pipe_ends[1], 10), -EPIPE);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
    close(sockets[0]);
    ck_assert_int_eq(rmig_in_copy_to_fd(in, sockets[1], 10), -EPIPE);
    ck_assert_int_eq(rmig_in_copy_to_fd(in, -1, 10), -EBADF);
    /* None of these lost a byte. */
    ck_assert_int_eq(rmig_in_error(in, NULL), 0);
    ck_assert_int_eq(rmig_in_get_u8(in, &v), 0);
    ck_assert_uint_eq(v, input[10000]);
    close(pipe_ends[1]);
    close(sockets[1]);
}
END_TEST

/* Shuts the stream down in the middle of a read, as another thread would. */
static void shut_down(struct script *s, void *opaque)
{
    (void)opaque;
    s->on_read = NULL;
    ck_assert_int_eq(rmig_in_shutdown(in, NULL), 0);
    ck_assert_uint_eq(s->nshutdown, 1);
}

START_TEST(shutdown__short_read_is_not_taken_for_data)
{
    struct rmig_err err = RMIG_ERR_INIT;
    const uint8_t *p;

    /* The read answers with bytes, but the stream was shut down meanwhile. */
    script->read_max = 100;
    script->on_read = shut_down;
    ck_assert_int_eq(rmig_in_peek(in, &p, 50, 0), -EIO);
    ck_assert_failed(rmig_in_error(in, &err), -EIO, &err, "shut down");
    ck_assert_int_eq(rmig_in_get_buffer(in, copy, 1), -EIO);

    reopen_over(input, 50);
    ck_assert_int_eq(rmig_in_skip(in, 1), 0);
    script->on_read = shut_down;
    ck_assert_int_eq(rmig_in_peek(in, &p, 60, 0), -EIO);
}
END_TEST

START_TEST(error__no_read_answers_with_data_after_it)
{
    const uint8_t *p;
    unsigned reads;
    uint64_t v;

    ck_assert_int_eq(rmig_in_get_be64(in, &v), 0);
    ck_assert_uint_gt(rmig_in_buffered_bytes(in), 8);
    rmig_in_set_error(in, -EBADMSG, "found by the parser");
    reads = script->nreadv;
    ck_assert_int_eq(rmig_in_get_be64(in, &v), -EBADMSG);
    ck_assert_int_eq(rmig_in_get_buffer(in, copy, 4), -EBADMSG);
    ck_assert_int_eq(rmig_in_get_buffer(in, copy, 100000), -EBADMSG);
    ck_assert_int_eq(rmig_in_get_in_place(in, copy, 4, &p), -EBADMSG);
    ck_assert_int_eq(rmig_in_peek(in, &p, 4, 0), -EBADMSG);
    ck_assert_int_eq(rmig_in_skip(in, 4), -EBADMSG);
    ck_assert_int_eq(rmig_in_get_buffer_at(in, copy, 4, 0), -EBADMSG);
    ck_assert_int_eq(rmig_in_seek(in, 4, SEEK_SET), -EBADMSG);
    ck_assert_int_eq(rmig_in_copy_to_fd(in, 1, 4), -EBADMSG);
    ck_assert_uint_eq(script->nreadv, reads);
}
END_TEST

START_TEST(error__of_the_channel_without_message_names_the_errno)
{
    struct rmig_err err = RMIG_ERR_INIT;

    script->read_max = 10;
    script->read_fault = (struct script_fault){.at_bytes = 10, .code = -ECONNRESET};
    ck_assert_int_eq(rmig_in_get_buffer(in, copy, 20), -ECONNRESET);
    ck_assert_failed(rmig_in_error(in, &err), -ECONNRESET, &err, strerror(ECONNRESET));
}
END_TEST

Suite *stream_in_suite(void)
{
    const TTest *const get[] = {
        get_numbers__are_big_endian,         get__error_is_never_data,
        get_buffer__any_size_at_any_place,   get_buffer__large_is_read_straight_into_place,
        get_counted_string__length_and_text, get_counted_string__short_read_is_0,
        get_in_place__no_copy_where_it_fits, NULL};
    const TTest *const fill[] = {fill__end_of_stream_is_EIO,
                                 fill__pending_bytes_move_to_the_front,
                                 fill__short_reads_and_interruptions_are_normal,
                                 fill__wait_that_fails_is_the_streams_error,
                                 fill__would_block_does_not_stick_if_non_blocking,
                                 peek__gathers_over_short_reads,
                                 peek__fewer_bytes_only_at_the_end,
                                 peek__failure_gives_no_data,
                                 skip__any_number,
                                 NULL};
    const TTest *const rest[] = {get_buffer_at__reads_there_and_stays_here,
                                 get_buffer_at__error_and_no_positions,
                                 seek__drops_what_was_buffered,
                                 copy_to_fd__buffered_bytes_first,
                                 copy_to_fd__write_error_is_its_errno_and_no_signal,
                                 shutdown__short_read_is_not_taken_for_data,
                                 error__no_read_answers_with_data_after_it,
                                 error__of_the_channel_without_message_names_the_errno,
                                 NULL};
    const TTest *const *const groups[] = {get, fill, rest};
    static const char *const names[] = {"get", "fill and peek", "positions, copy, errors"};
    Suite *suite = suite_create("stream/in");

    for (int i = 0; i < 3; i++)
        suite_add_checked(suite, names[i], groups[i], setup, teardown);
    return suite;
}
