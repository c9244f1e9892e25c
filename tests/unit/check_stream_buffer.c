/* SPDX-License-Identifier: BSD-3-Clause */
/* check_stream_buffer.c -- the growable buffer, and streams over it: rows F1 to F4. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/unit/stream_suite.h"
#include "tests/unit/suites.h"

/* Lets a sanitizer answer "out of memory" as the system does. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static struct rmig_buffer *new_buffer(size_t capacity)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_buffer *buf;

    ck_assert_done(rmig_buffer_new(capacity, &buf, &err), &err);
    return buf;
}

static struct rmig_buffer *new_from(const void *bytes, size_t len)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_buffer *buf;

    ck_assert_done(rmig_buffer_new_from(bytes, len, &buf, &err), &err);
    return buf;
}

START_TEST(buffer_new__empty_of_a_size_and_from_bytes)
{
    static const size_t sizes[][2] = {{0, 1024},      {1, 1024},      {1024, 1024},  {1025, 2048},
                                      {16384, 16384}, {16385, 32768}, {32769, 49152}};
    uint8_t bytes[2000], copy[2000];
    struct rmig_buffer *buf;

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        buf = new_buffer(sizes[i][0]);
        ck_assert_uint_eq(rmig_buffer_length(buf), 0);
        ck_assert_uint_eq(rmig_buffer_capacity(buf), sizes[i][1]);
        rmig_buffer_free(buf);
    }
    fill_pattern(bytes, sizeof(bytes), 1);
    buf = new_from(bytes, sizeof(bytes));
    ck_assert_uint_eq(rmig_buffer_length(buf), sizeof(bytes));
    ck_assert_uint_eq(rmig_buffer_capacity(buf), 2048);
    ck_assert_uint_eq(rmig_buffer_read(buf, 0, sizeof(copy), copy), sizeof(copy));
    ck_assert_mem_eq(copy, bytes, sizeof(bytes));
    rmig_buffer_free(buf);
    rmig_buffer_free(NULL);
}
END_TEST

START_TEST(buffer_write__grows_in_small_then_large_chunks)
{
    struct rmig_buffer *buf = new_buffer(0);
    uint8_t byte = 7;

    ck_assert_int_eq(rmig_buffer_write(buf, 16383, &byte, 1), 1);
    ck_assert_uint_eq(rmig_buffer_capacity(buf), 16384);
    ck_assert_int_eq(rmig_buffer_write(buf, 16384, &byte, 1), 1);
    ck_assert_uint_eq(rmig_buffer_capacity(buf), 32768);
    ck_assert_int_eq(rmig_buffer_write(buf, 100000, &byte, 1), 1);
    ck_assert_uint_eq(rmig_buffer_capacity(buf), 16384 * 7);
    ck_assert_uint_eq(rmig_buffer_length(buf), 100001);
    rmig_buffer_free(buf);
}
END_TEST

START_TEST(buffer_write__out_of_memory_leaves_it_as_it_was)
{
    struct rmig_buffer *buf = new_from("hello", 5), *none = NULL;
    struct rmig_err err = RMIG_ERR_INIT;
    char text[8] = "";

    /* The list of chunks cannot be had; the position cannot be. */
    ck_assert_int_eq(rmig_buffer_write(buf, (size_t)1 << 62, "x", 1), -ENOMEM);
    ck_assert_int_eq(rmig_buffer_write(buf, SSIZE_MAX, "x", 1), -EFBIG);
    ck_assert_int_eq(rmig_buffer_write(buf, 1, "x", SIZE_MAX), -EFBIG);
    ck_assert_int_eq(rmig_buffer_write(buf, 99, NULL, 0), 0);
    ck_assert_uint_eq(rmig_buffer_length(buf), 5);
    ck_assert_uint_eq(rmig_buffer_capacity(buf), 1024);
    ck_assert_uint_eq(rmig_buffer_read(buf, 0, 8, text), 5);
    ck_assert_str_eq(text, "hello");
    ck_assert_failed(rmig_buffer_new((size_t)1 << 62, &none, &err), -ENOMEM, &err, "out of memory");
    err.code = 0;
    ck_assert_failed(rmig_buffer_new(SIZE_MAX, &none, &err), -ENOMEM, &err, "out of memory");
    ck_assert_ptr_null(none);
    rmig_buffer_free(buf);
}
END_TEST

#if MEMORY_CAN_BE_LIMITED
/* From here on the process can have so much more memory. */
static void limit_memory(uint64_t more_bytes)
{
    FILE *statm = fopen("/proc/self/statm", "r");
    unsigned long pages;
    struct rlimit limit;

    ck_assert_ptr_nonnull(statm);
    ck_assert_int_eq(fscanf(statm, "%lu", &pages), 1);
    fclose(statm);
    limit.rlim_cur = limit.rlim_max = pages * (uint64_t)sysconf(_SC_PAGESIZE) + more_bytes;
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
}

/* The list of chunks can be had, and some of the chunks: they are given back. */
START_TEST(buffer_write__chunks_that_came_before_are_given_back)
{
    struct rmig_buffer *buf = new_from("hello", 5), *other;
    struct rmig_err err = RMIG_ERR_INIT;

    limit_memory(256u << 20);
    ck_assert_int_eq(rmig_buffer_write(buf, (size_t)1 << 30, "x", 1), -ENOMEM);
    ck_assert_uint_eq(rmig_buffer_length(buf), 5);
    ck_assert_uint_eq(rmig_buffer_capacity(buf), 1024);
    ck_assert_failed(rmig_buffer_new((size_t)1 << 30, &other, &err), -ENOMEM, &err, "1073741824");
    /* What was given back can be had again. */
    ck_assert_int_eq(rmig_buffer_write(buf, (size_t)64 << 20, "x", 1), 1);
    rmig_buffer_free(buf);
}
END_TEST
#endif

START_TEST(buffer_set_length__truncates_and_stops_at_what_is_allocated)
{
    uint8_t bytes[1500], copy[2048];
    struct rmig_buffer *buf;

    memset(bytes, 0xee, sizeof(bytes));
    buf = new_from(bytes, sizeof(bytes));
    ck_assert_uint_eq(rmig_buffer_set_length(buf, 10), 10);
    ck_assert_uint_eq(rmig_buffer_length(buf), 10);
    ck_assert_uint_eq(rmig_buffer_set_length(buf, 5000), 2048);
    ck_assert_uint_eq(rmig_buffer_length(buf), 2048);
    ck_assert_uint_eq(rmig_buffer_read(buf, 0, sizeof(copy), copy), 2048);
    for (size_t i = 0; i < sizeof(copy); i++)
        ck_assert_uint_eq(copy[i], i < 10 ? 0xee : 0);
    ck_assert_uint_eq(rmig_buffer_set_length(buf, 0), 0);
    rmig_buffer_free(buf);
}
END_TEST

START_TEST(buffer_read__any_range_is_clipped_at_the_length)
{
    static uint8_t bytes[40000], copy[40000];
    struct rmig_buffer *buf = new_buffer(0);

    fill_pattern(bytes, sizeof(bytes), 2);
    /* In pieces, so that the chunks are of both sizes. */
    for (size_t at = 0; at < sizeof(bytes); at += 1000)
        ck_assert_int_eq(rmig_buffer_write(buf, at, bytes + at, 1000), 1000);
    for (size_t start = 0; start < sizeof(bytes) + 3000; start += 977)
        for (size_t count = 0; count < 20000; count += 3571) {
            size_t left = start < sizeof(bytes) ? sizeof(bytes) - start : 0;
            size_t want = count < left ? count : left;

            ck_assert_uint_eq(rmig_buffer_read(buf, start, count, copy), want);
            ck_assert_mem_eq(copy, bytes + (want ? start : 0), want);
        }
    ck_assert_uint_eq(rmig_buffer_read(buf, SIZE_MAX, SIZE_MAX, copy), 0);
    rmig_buffer_free(buf);
}
END_TEST

START_TEST(buffer_write__at_any_position_with_zero_in_the_gap)
{
    struct rmig_buffer *buf = new_from("abcdef", 6);
    uint8_t copy[3000];

    ck_assert_int_eq(rmig_buffer_write(buf, 2, "XY", 2), 2);
    ck_assert_uint_eq(rmig_buffer_length(buf), 6);
    rmig_buffer_set_length(buf, 5);
    ck_assert_int_eq(rmig_buffer_write(buf, 2500, "end", 3), 3);
    ck_assert_uint_eq(rmig_buffer_read(buf, 0, sizeof(copy), copy), 2503);
    ck_assert_mem_eq(copy, "abXYe", 5);
    for (int i = 5; i < 2500; i++)
        ck_assert_uint_eq(copy[i], 0);
    ck_assert_mem_eq(copy + 2500, "end", 3);
    rmig_buffer_free(buf);
}
END_TEST

START_TEST(buffer_clone__is_deep)
{
    static uint8_t bytes[50000], copy[50000];
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_buffer *buf, *clone, *nothing;

    fill_pattern(bytes, sizeof(bytes), 3);
    buf = new_from(bytes, sizeof(bytes));
    ck_assert_done(rmig_buffer_clone(buf, &clone, &err), &err);
    ck_assert_int_eq(rmig_buffer_write(buf, 0, "changed", 7), 7);
    rmig_buffer_free(buf);
    ck_assert_uint_eq(rmig_buffer_length(clone), sizeof(bytes));
    ck_assert_uint_eq(rmig_buffer_read(clone, 0, sizeof(copy), copy), sizeof(copy));
    ck_assert_mem_eq(copy, bytes, sizeof(bytes));
    rmig_buffer_set_length(clone, 0);
    ck_assert_done(rmig_buffer_clone(clone, &nothing, &err), &err);
    ck_assert_uint_eq(rmig_buffer_length(nothing), 0);
    rmig_buffer_free(clone);
    rmig_buffer_free(nothing);
}
END_TEST

static struct rmig_channel *channel_over(struct rmig_buffer *buf, enum rmig_channel_mode mode)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_channel *ch;

    ck_assert_done(rmig_channel_from_buffer(buf, mode, &ch, &err), &err);
    return ch;
}

START_TEST(buffer_stream__written_handed_out_and_read)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_out *out;
    struct rmig_in *in;
    struct rmig_buffer *kept;
    static uint8_t bytes[70000], copy[70000];
    uint64_t number;

    fill_pattern(bytes, sizeof(bytes), 4);
    ck_assert_done(rmig_out_new_mode(channel_over(new_buffer(0), RMIG_OPEN_WRITE), "w", &out, &err),
                   &err);
    rmig_out_put_be64(out, 42);
    rmig_out_put_ref(out, bytes, sizeof(bytes), false);
    /* Handing it out flushes. */
    ck_assert_uint_eq(rmig_buffer_length(rmig_out_buffer(out)), 8 + sizeof(bytes));
    ck_assert_done(rmig_buffer_clone(rmig_out_buffer(out), &kept, &err), &err);
    ck_assert_done(rmig_out_close(out, &err), &err);

    ck_assert_done(rmig_in_new_mode(channel_over(kept, RMIG_OPEN_READ), "r", &in, &err), &err);
    ck_assert_done(rmig_in_get_be64(in, &number), &err);
    ck_assert_uint_eq(number, 42);
    ck_assert_done(rmig_in_get_buffer(in, copy, sizeof(copy)), &err);
    ck_assert_mem_eq(copy, bytes, sizeof(bytes));
    ck_assert_int_eq(rmig_in_get_be64(in, &number), -EIO);
    ck_assert_int_eq(rmig_in_close(in, &err), -EIO);
}
END_TEST

START_TEST(buffer_stream__no_buffer_behind_other_channels_or_errors)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_channel *null;
    struct rmig_out *out;

    ck_assert_done(rmig_channel_null(&null, &err), &err);
    ck_assert_done(rmig_out_new(null, &out, &err), &err);
    ck_assert_ptr_null(rmig_out_buffer(out));
    ck_assert_done(rmig_out_close(out, &err), &err);
    ck_assert_done(rmig_out_new_private(&out, &err), &err);
    ck_assert_ptr_null(rmig_out_buffer(out));
    ck_assert_done(rmig_out_close(out, &err), &err);
    ck_assert_done(rmig_out_new(channel_over(new_buffer(0), RMIG_OPEN_WRITE), &out, &err), &err);
    rmig_out_set_error(out, -EPERM, "mine");
    ck_assert_ptr_null(rmig_out_buffer(out));
    ck_assert_int_eq(rmig_out_close(out, &err), -EPERM);
}
END_TEST

START_TEST(buffer_channel__one_direction_and_positions)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_channel *ch = channel_over(new_from("0123456789", 10), RMIG_OPEN_READ);
    struct iovec iov[2];
    char a[4], b[4];

    iov[0] = (struct iovec){a, 4};
    iov[1] = (struct iovec){b, 4};
    ck_assert_failed(ch->ops->writev(ch, iov, 1, &err), -EBADF, &err, "opened for reading");
    ck_assert_int_eq(ch->ops->readv(ch, iov, 2, NULL), 8);
    ck_assert_mem_eq(b, "4567", 4);
    ck_assert_int_eq(ch->ops->readv(ch, iov, 2, NULL), 2);
    ck_assert_int_eq(ch->ops->readv(ch, iov, 2, NULL), 0);
    ck_assert_int_eq(ch->ops->pread(ch, a, 4, 8, NULL), 2);
    ck_assert_int_eq(ch->ops->seek(ch, -3, SEEK_END, NULL), 7);
    ck_assert_int_eq(ch->ops->seek(ch, -3, SEEK_CUR, NULL), 4);
    ck_assert_int_eq(ch->ops->seek(ch, 1, SEEK_SET, NULL), 1);
    err.code = 0;
    ck_assert_failed(ch->ops->seek(ch, -1, SEEK_SET, &err), -EINVAL, &err, "before the beginning");
    err.code = 0;
    ck_assert_failed(ch->ops->seek(ch, INT64_MAX, SEEK_CUR, &err), -EINVAL, &err, "seek");
    err.code = 0;
    ck_assert_failed(ch->ops->seek(ch, 0, 77, &err), -EINVAL, &err, "whence 77");
    ck_assert_int_eq(rmig_channel_fd(ch), -1);
    rmig_channel_close(ch, NULL);

    ch = channel_over(new_from("0123456789", 10), RMIG_OPEN_WRITE);
    err.code = 0;
    ck_assert_failed(ch->ops->readv(ch, iov, 1, &err), -EBADF, &err, "opened for writing");
    err.code = 0;
    ck_assert_failed(ch->ops->pwrite(ch, a, 4, SSIZE_MAX, &err), -EFBIG, &err, "buffer");
    ck_assert_int_eq(ch->ops->pwrite(ch, "ab", 2, 4, NULL), 2);
    ck_assert_int_eq(ch->ops->seek(ch, SSIZE_MAX - 2, SEEK_SET, NULL), SSIZE_MAX - 2);
    err.code = 0;
    ck_assert_failed(ch->ops->writev(ch, iov, 1, &err), -EFBIG, &err, "4 bytes at");
    rmig_channel_close(ch, NULL);
    err.code = 0;
    ck_assert_failed(rmig_channel_from_buffer(NULL, (enum rmig_channel_mode)3, &ch, &err), -EINVAL,
                     &err, "mode 3");
}
END_TEST

Suite *stream_buffer_suite(void)
{
    const TTest *const buffer[] = {
        buffer_new__empty_of_a_size_and_from_bytes,
        buffer_write__grows_in_small_then_large_chunks,
        buffer_write__out_of_memory_leaves_it_as_it_was,
#if MEMORY_CAN_BE_LIMITED
        buffer_write__chunks_that_came_before_are_given_back,
#endif
        buffer_set_length__truncates_and_stops_at_what_is_allocated,
        buffer_read__any_range_is_clipped_at_the_length,
        buffer_write__at_any_position_with_zero_in_the_gap,
        buffer_clone__is_deep,
        NULL,
    };
    const TTest *const streams[] = {buffer_stream__written_handed_out_and_read,
                                    buffer_stream__no_buffer_behind_other_channels_or_errors,
                                    buffer_channel__one_direction_and_positions, NULL};
    Suite *suite = suite_create("stream/buffer");

    suite_add(suite, "buffer", buffer);
    suite_add(suite, "streams", streams);
    return suite;
}
