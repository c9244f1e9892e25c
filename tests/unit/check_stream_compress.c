/* SPDX-License-Identifier: BSD-3-Clause */
/* check_stream_compress.c -- compressed blocks: row B7, and B8 with them. */
#include <errno.h>
#include <pthread.h>
#include <zlib.h>

#include "tests/unit/channel_script.h"
#include "tests/unit/stream_suite.h"
#include "tests/unit/suites.h"

#define PAGE 4096u
#define BUFFER RMIG_STREAM_BUFFER_BYTES

static struct script *script;
static struct rmig_out *out, *private;
static z_stream zs;
static uint8_t page[BUFFER], copy[BUFFER];

static void setup(void)
{
    struct rmig_err err = RMIG_ERR_INIT;

    script = script_new(NULL, 0);
    ck_assert_done(rmig_out_new(&script->base, &out, &err), &err);
    ck_assert_done(rmig_out_new_private(&private, &err), &err);
    memset(&zs, 0, sizeof(zs));
    ck_assert_int_eq(deflateInit(&zs, Z_BEST_SPEED), Z_OK);
    for (size_t i = 0; i < sizeof(page); i++)
        page[i] = (uint8_t)(i / 64);
}

static void teardown(void)
{
    deflateEnd(&zs);
    rmig_out_close(private, NULL);
    rmig_out_close(out, NULL);
    script_free(script);
}

/* A stream that reads what was written so far. */
static struct rmig_in *reader(struct script **source_p)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_in *in;

    rmig_out_flush(out);
    *source_p = script_new(script->output, script->output_bytes);
    ck_assert_done(rmig_in_new(&(*source_p)->base, &in, &err), &err);
    return in;
}

static void done_reading(struct rmig_in *in, struct script *source)
{
    rmig_in_close(in, NULL);
    script_free(source);
}

START_TEST(put_compressed__length_then_deflate_stream)
{
    ssize_t n = rmig_out_put_compressed(out, &zs, page, PAGE);
    uLongf len = sizeof(copy);

    ck_assert_int_gt(n, 4);
    ck_assert_int_lt(n, PAGE);
    ck_assert_uint_eq(rmig_out_transferred_fast_bytes(out), (uint64_t)n);
    ck_assert_int_eq(rmig_out_flush(out), 0);
    ck_assert_uint_eq(script->output_bytes, (size_t)n);
    ck_assert_uint_eq(script->output[0], 0);
    ck_assert_uint_eq(script->output[2] * 256u + script->output[3], (unsigned)n - 4);
    ck_assert_int_eq(uncompress(copy, &len, script->output + 4, (uLong)n - 4), Z_OK);
    ck_assert_uint_eq(len, PAGE);
    ck_assert_mem_eq(copy, page, PAGE);
}
END_TEST

START_TEST(put_compressed__both_forms_and_the_matching_read)
{
    struct script *source;
    struct rmig_in *in;
    z_stream inflater;
    ssize_t total = 0;

    fill_pattern(page + PAGE, PAGE, 1); /* what does not compress */
    for (int level = -1; level <= 9; level++) {
        total += rmig_out_put_compressed_level(out, level, page, PAGE);
        total += rmig_out_put_compressed_level(out, level, page + PAGE, PAGE);
        /* The z_stream is used again and again. */
        total += rmig_out_put_compressed(out, &zs, page, PAGE);
        total += rmig_out_put_compressed(out, &zs, page + PAGE, PAGE);
    }
    total += rmig_out_put_compressed(out, &zs, page, 0);
    ck_assert_uint_eq(rmig_out_transferred_bytes(out), (uint64_t)total);
    in = reader(&source);
    source->read_max = 100;
    memset(&inflater, 0, sizeof(inflater));
    ck_assert_int_eq(inflateInit(&inflater), Z_OK);
    for (int i = 0; i < 11 * 4; i++) {
        memset(copy, 0, PAGE);
        ck_assert_int_eq(rmig_in_get_compressed(in, i % 3 ? &inflater : NULL, copy, PAGE), PAGE);
        ck_assert_mem_eq(copy, page + i % 2 * PAGE, PAGE);
    }
    ck_assert_int_eq(rmig_in_get_compressed(in, NULL, copy, PAGE), 0);
    ck_assert_uint_eq(rmig_in_buffered_bytes(in), 0);
    inflateEnd(&inflater);
    done_reading(in, source);
}
END_TEST

START_TEST(put_compressed__writable_stream_flushes_for_room)
{
    rmig_out_put_buffer(out, page, BUFFER - 100);
    ck_assert_uint_eq(script->nwritev, 0);
    ck_assert_int_gt(rmig_out_put_compressed(out, &zs, page, PAGE), 0);
    ck_assert_uint_eq(script->nwritev, 1);
    ck_assert_uint_eq(script->calls[0].len_bytes, BUFFER - 100);
    rmig_out_put_buffer(out, page, BUFFER - 3000);
    ck_assert_int_gt(rmig_out_put_compressed_level(out, 1, page, PAGE), 0);
    ck_assert_uint_eq(script->nwritev, 2);
    /* No flush makes room for a block that is larger than the buffer. */
    ck_assert_int_eq(rmig_out_put_compressed(out, &zs, page, BUFFER), RMIG_OUT_NO_ROOM);
    ck_assert_int_eq(rmig_out_error(out, NULL), 0);
}
END_TEST

START_TEST(put_compressed__private_stream_without_room_stays_as_it_was)
{
    size_t before = BUFFER - compressBound(PAGE) - 4 + 1;

    ck_assert_int_eq(RMIG_OUT_NO_ROOM, -1);
    rmig_out_put_buffer(private, page, before);
    ck_assert_int_eq(rmig_out_put_compressed(private, &zs, page, PAGE), RMIG_OUT_NO_ROOM);
    ck_assert_int_eq(rmig_out_put_compressed_level(private, 1, page, PAGE), RMIG_OUT_NO_ROOM);
    ck_assert_int_eq(rmig_out_error(private, NULL), 0);
    ck_assert_int_eq(rmig_out_put_stream(out, private), (ssize_t)before);
    /* One byte less, and the worst case fits to the last one. */
    rmig_out_put_buffer(private, page, before - 1);
    ck_assert_int_gt(rmig_out_put_compressed(private, &zs, page, PAGE), 0);
    ck_assert_int_eq(rmig_out_error(private, NULL), 0);
}
END_TEST

START_TEST(put_compressed__bad_arguments_do_not_stick)
{
    z_stream odd, inflater;

    memset(&odd, 0, sizeof(odd));
    ck_assert_int_eq(rmig_out_put_compressed(out, &odd, page, PAGE), -EINVAL);
    memset(&inflater, 0, sizeof(inflater));
    ck_assert_int_eq(inflateInit(&inflater), Z_OK);
    ck_assert_int_eq(rmig_out_put_compressed(out, &inflater, page, PAGE), -EINVAL);
    inflateEnd(&inflater);
    ck_assert_int_eq(rmig_out_put_compressed(out, &zs, page, (size_t)1 << 32), -EINVAL);
    ck_assert_int_eq(rmig_out_put_compressed_level(out, 10, page, PAGE), -EINVAL);
    ck_assert_int_eq(rmig_out_put_compressed_level(out, -2, page, PAGE), -EINVAL);
    ck_assert_int_eq(rmig_out_put_compressed_level(out, 1, page, (size_t)1 << 32), -EINVAL);
    /* Settings under which a block outgrows what a reader accepts. */
    ck_assert_int_eq(deflateInit2(&odd, 1, Z_DEFLATED, 15, 1, Z_HUFFMAN_ONLY), Z_OK);
    fill_pattern(page, PAGE, 1);
    ck_assert_int_eq(rmig_out_put_compressed(out, &odd, page, PAGE), -EINVAL);
    deflateEnd(&odd);
    ck_assert_int_eq(rmig_out_error(out, NULL), 0);
    ck_assert(rmig_out_buffer_empty(out));
}
END_TEST

/* What the reader answers to these bytes, with room for a page; they stick. */
static void assert_refused(const void *bytes, size_t len, size_t room, int code, const char *what)
{
    struct script *source = script_new(bytes, len);
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_in *in;

    ck_assert_done(rmig_in_new(&source->base, &in, &err), &err);
    ck_assert_int_eq(rmig_in_get_compressed(in, NULL, copy, room), code);
    ck_assert_failed(rmig_in_error(in, &err), code, &err, what);
    done_reading(in, source);
}

START_TEST(get_compressed__length_beyond_the_bound_is_refused)
{
    uint8_t wire[8];
    uint32_t bound = (uint32_t)compressBound(PAGE), one_more = bound + 1;

    memset(wire, 0, sizeof(wire));
    for (int i = 0; i < 4; i++)
        wire[i] = (uint8_t)(one_more >> (24 - 8 * i));
    assert_refused(wire, sizeof(wire), PAGE, -EPROTO, "at most");
    memset(wire, 0xff, sizeof(wire));
    assert_refused(wire, sizeof(wire), PAGE, -EPROTO, "4294967295");
}
END_TEST

START_TEST(get_compressed__block_longer_than_the_room_is_refused)
{
    ssize_t n = rmig_out_put_compressed(out, &zs, page, PAGE);

    rmig_out_flush(out);
    memset(copy, 0x5a, sizeof(copy));
    assert_refused(script->output, (size_t)n, PAGE - 1, -EPROTO, "longer than the room");
    for (size_t i = PAGE - 1; i < sizeof(copy); i++)
        ck_assert_uint_eq(copy[i], 0x5a);
}
END_TEST

START_TEST(get_compressed__cut_at_every_byte_is_refused)
{
    ssize_t n = rmig_out_put_compressed(out, &zs, page, PAGE);
    uint8_t wire[PAGE];

    rmig_out_flush(out);
    for (size_t len = 0; len < (size_t)n; len++)
        assert_refused(script->output, len, PAGE, -EIO, "ended after");
    /* Cut, with a length word that agrees. */
    for (size_t len = 4; len < (size_t)n; len++) {
        memcpy(wire, script->output, len);
        wire[2] = (uint8_t)((len - 4) >> 8);
        wire[3] = (uint8_t)(len - 4);
        assert_refused(wire, len, PAGE, -EPROTO, "compressed block");
    }
    /* A byte too many. */
    memcpy(wire, script->output, (size_t)n);
    wire[n] = 0;
    wire[2] = (uint8_t)((n - 4 + 1) >> 8);
    wire[3] = (uint8_t)(n - 4 + 1);
    assert_refused(wire, (size_t)n + 1, PAGE, -EPROTO, "behind its end");
}
END_TEST

START_TEST(get_compressed__flipped_bytes_never_pass)
{
    ssize_t n = rmig_out_put_compressed(out, &zs, page, PAGE);

    rmig_out_flush(out);
    for (ssize_t i = 4; i < n; i++) {
        struct script *source;
        struct rmig_in *in;

        script->output[i] ^= 0x11;
        in = reader(&source);
        memset(copy, 0, PAGE);
        /* Where it passes the content must be right: the stream has a checksum. */
        if (rmig_in_get_compressed(in, NULL, copy, PAGE) == PAGE)
            ck_assert_mem_eq(copy, page, PAGE);
        else
            ck_assert_int_lt(rmig_in_error(in, NULL), 0);
        done_reading(in, source);
        script->output[i] ^= 0x11;
    }
}
END_TEST

START_TEST(get_compressed__empty_block_needs_no_memory)
{
    struct script *source;
    struct rmig_in *in;

    ck_assert_int_gt(rmig_out_put_compressed_level(out, -1, NULL, 0), 4);
    rmig_out_flush(out);
    in = reader(&source);
    ck_assert_int_eq(rmig_in_get_compressed(in, NULL, NULL, 0), 0);
    ck_assert_int_eq(rmig_in_error(in, NULL), 0);
    done_reading(in, source);
}
END_TEST

START_TEST(get_compressed__larger_than_the_buffer_comes_in_pieces)
{
    static uint8_t block[100000], back[100000], wire[110000];
    uLongf len = sizeof(wire) - 4;
    struct script *source;
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_in *in;

    fill_pattern(block, sizeof(block), 3);
    ck_assert_int_eq(compress(wire + 4, &len, block, sizeof(block)), Z_OK);
    ck_assert_uint_gt(len, BUFFER);
    for (int i = 0; i < 4; i++)
        wire[i] = (uint8_t)(len >> (24 - 8 * i));
    source = script_new(wire, len + 4);
    ck_assert_done(rmig_in_new(&source->base, &in, &err), &err);
    ck_assert_int_eq(rmig_in_get_compressed(in, NULL, back, sizeof(back)), sizeof(back));
    ck_assert_mem_eq(back, block, sizeof(block));
    ck_assert_int_eq(rmig_in_get_compressed(in, &zs, back, (size_t)1 << 32), -EINVAL);
    ck_assert_int_eq(rmig_in_get_compressed(in, &zs, back, 1), -EINVAL); /* one that deflates */
    ck_assert_int_eq(rmig_in_error(in, NULL), 0);
    done_reading(in, source);
}
END_TEST

/* --- worker threads compress, the main one collects ------------------------------------------- */

#define WORKERS 3

struct worker {
    pthread_t thread;
    struct rmig_out *stream;
    uint8_t page[PAGE];
};

static void *compress_page(void *arg)
{
    struct worker *w = arg;

    return rmig_out_put_compressed_level(w->stream, 1, w->page, PAGE) > 4 ? w : NULL;
}

START_TEST(put_stream__collects_what_workers_compressed)
{
    struct rmig_err err = RMIG_ERR_INIT;
    static struct worker workers[WORKERS];
    struct script *source;
    struct rmig_in *in;

    for (uint32_t i = 0; i < WORKERS; i++) {
        ck_assert_done(rmig_out_new_private(&workers[i].stream, &err), &err);
        memset(workers[i].page, (int)i + 1, PAGE);
        pthread_create(&workers[i].thread, NULL, compress_page, &workers[i]);
    }
    for (uint32_t i = 0; i < WORKERS; i++) {
        void *done;

        pthread_join(workers[i].thread, &done);
        ck_assert_ptr_nonnull(done);
        rmig_out_put_u8(out, (uint8_t)i);
        ck_assert_int_gt(rmig_out_put_stream(out, workers[i].stream), 4);
        ck_assert(rmig_out_buffer_empty(workers[i].stream));
        ck_assert_int_eq(rmig_out_close(workers[i].stream, NULL), 0);
    }
    in = reader(&source);
    for (uint32_t i = 0; i < WORKERS; i++) {
        uint8_t mark;

        ck_assert_int_eq(rmig_in_get_u8(in, &mark), 0);
        ck_assert_uint_eq(mark, i);
        ck_assert_int_eq(rmig_in_get_compressed(in, NULL, copy, PAGE), PAGE);
        ck_assert_mem_eq(copy, workers[i].page, PAGE);
    }
    done_reading(in, source);
}
END_TEST

Suite *stream_compress_suite(void)
{
    const TTest *const put[] = {put_compressed__length_then_deflate_stream,
                                put_compressed__both_forms_and_the_matching_read,
                                put_compressed__writable_stream_flushes_for_room,
                                put_compressed__private_stream_without_room_stays_as_it_was,
                                put_compressed__bad_arguments_do_not_stick,
                                put_stream__collects_what_workers_compressed,
                                NULL};
    const TTest *const get[] = {get_compressed__length_beyond_the_bound_is_refused,
                                get_compressed__block_longer_than_the_room_is_refused,
                                get_compressed__cut_at_every_byte_is_refused,
                                get_compressed__flipped_bytes_never_pass,
                                get_compressed__larger_than_the_buffer_comes_in_pieces,
                                get_compressed__empty_block_needs_no_memory,
                                NULL};
    Suite *suite = suite_create("stream/compress");

    suite_add_checked(suite, "put", put, setup, teardown);
    suite_add_checked(suite, "get", get, setup, teardown);
    return suite;
}
