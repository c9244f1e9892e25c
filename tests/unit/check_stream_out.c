/* SPDX-License-Identifier: BSD-3-Clause */
/* check_stream_out.c -- writing: rows A2 and B1 to B11. */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/channel_script.h"
#include "tests/unit/stream_suite.h"
#include "tests/unit/suites.h"

#define PAGE 4096u
#define BUFFER RMIG_STREAM_BUFFER_BYTES

static struct script *script;
static struct rmig_out *out;

static void setup(void)
{
    struct rmig_err err = RMIG_ERR_INIT;

    script = script_new(NULL, 0);
    ck_assert_done(rmig_out_new(&script->base, &out, &err), &err);
}

static void teardown(void)
{
    rmig_out_close(out, NULL);
    ck_assert(script->closed);
    script_free(script);
}

static void assert_written(const void *bytes, size_t len)
{
    ck_assert_uint_eq(script->output_bytes, len);
    ck_assert_mem_eq(script->output, bytes, len);
}

START_TEST(put_numbers__are_big_endian)
{
    static const uint8_t wire[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

    rmig_out_put_u8(out, 1);
    rmig_out_put_be16(out, 0x0203);
    rmig_out_put_be32(out, 0x04050607);
    rmig_out_put_be64(out, 0x08090a0b0c0d0e0full);
    ck_assert_uint_eq(script->nwritev, 0);
    ck_assert_int_eq(rmig_out_flush(out), 0);
    ck_assert_uint_eq(script->nwritev, 1);
    ck_assert_int_eq(script->calls[0].niov, 1);
    assert_written(wire, sizeof(wire));
}
END_TEST

/* Each width meets the end of the copy buffer at each distance. */
START_TEST(put_numbers__across_the_end_of_the_buffer)
{
    static uint8_t want[BUFFER + 64], fill[BUFFER];

    for (unsigned width = 1; width <= 8; width *= 2)
        for (size_t gap = 0; gap <= 9; gap++) {
            size_t n = 0, len = BUFFER - gap;

            teardown();
            setup();
            memset(fill, 0xaa, sizeof(fill));
            rmig_out_put_buffer(out, fill, len);
            memset(want, 0xaa, len);
            for (; n < 20; n++) {
                if (width == 1)
                    rmig_out_put_u8(out, (uint8_t)n);
                else if (width == 2)
                    rmig_out_put_be16(out, (uint16_t)n);
                else if (width == 4)
                    rmig_out_put_be32(out, (uint32_t)n);
                else
                    rmig_out_put_be64(out, n);
                if (len + width <= sizeof(want)) {
                    memset(want + len, 0, width - 1);
                    want[len + width - 1] = (uint8_t)n;
                    len += width;
                }
            }
            ck_assert_uint_eq(rmig_out_transferred_fast_bytes(out), BUFFER - gap + n * width);
            ck_assert_int_eq(rmig_out_flush(out), 0);
            ck_assert_uint_eq(script->output_bytes, BUFFER - gap + n * width);
            ck_assert_mem_eq(script->output, want, len);
        }
}
END_TEST

START_TEST(put_buffer__any_size_is_copied_over_the_buffer)
{
    static uint8_t bytes[100000], want[100000];

    fill_pattern(bytes, sizeof(bytes), 1);
    memcpy(want, bytes, sizeof(bytes));
    rmig_out_put_u8(out, bytes[0]);
    rmig_out_put_buffer(out, bytes + 1, sizeof(bytes) - 1);
    memset(bytes, 0, sizeof(bytes));
    ck_assert_uint_eq(script->nwritev, 3);
    for (int i = 0; i < 3; i++)
        ck_assert_uint_eq(script->calls[i].len_bytes, BUFFER);
    rmig_out_put_buffer(out, NULL, 0);
    ck_assert_int_eq(rmig_out_flush(out), 0);
    assert_written(want, sizeof(want));
}
END_TEST

START_TEST(put_ref__is_borrowed_until_the_flush)
{
    static uint8_t page[PAGE];

    memset(page, 'a', PAGE);
    rmig_out_put_ref(out, page, PAGE, false);
    ck_assert_uint_eq(script->nwritev, 0);
    /* Not copied: what is there at the flush is what goes out. */
    memset(page, 'b', PAGE);
    ck_assert_int_eq(rmig_out_flush(out), 0);
    assert_written(page, PAGE);
    memset(page, 'c', PAGE);
    ck_assert_int_eq(rmig_out_flush(out), 0);
    ck_assert_uint_eq(script->output_bytes, PAGE);
    rmig_out_put_ref(out, page, 0, false);
    ck_assert(rmig_out_buffer_empty(out));
}
END_TEST

START_TEST(put_ref__order_with_copied_bytes_is_kept)
{
    static uint8_t pages[4 * PAGE], want[4 * (PAGE + 8)];

    fill_pattern(pages, sizeof(pages), 2);
    for (uint64_t i = 0; i < 4; i++) {
        memset(want + i * (PAGE + 8), 0, 8);
        want[i * (PAGE + 8) + 7] = (uint8_t)i;
        memcpy(want + i * (PAGE + 8) + 8, pages + i * PAGE, PAGE);
        rmig_out_put_be64(out, i);
        rmig_out_put_ref(out, pages + i * PAGE, PAGE, false);
    }
    ck_assert_int_eq(rmig_out_flush(out), 0);
    ck_assert_uint_eq(script->nwritev, 1);
    ck_assert_int_eq(script->calls[0].niov, 8);
    assert_written(want, sizeof(want));
}
END_TEST

/* The copied bytes before it take the last entry, and writing the list fails: nothing is listed more. */
START_TEST(put_ref__list_that_fills_in_a_failing_write)
{
    static uint8_t bytes[2 * RMIG_STREAM_IOV_MAX];

    script->base.flags &= ~RMIG_CHANNEL_BULK;
    script->write_fault = (struct script_fault){.at_bytes = 0, .code = -EPIPE};
    for (int i = 0; i < RMIG_STREAM_IOV_MAX - 1; i++)
        rmig_out_put_ref(out, bytes + 2 * i, 1, false);
    rmig_out_put_u8(out, 1);
    ck_assert_uint_eq(script->nwritev, 0);
    rmig_out_put_ref(out, bytes, 1, false);
    ck_assert_int_eq(rmig_out_error(out, NULL), -EPIPE);
    ck_assert(rmig_out_buffer_empty(out));
    ck_assert_uint_eq(script->nwritev, 1);
    ck_assert_int_eq(script->calls[0].niov, RMIG_STREAM_IOV_MAX);
}
END_TEST

START_TEST(put_ref__neighbours_become_one_entry)
{
    static uint8_t pages[6 * PAGE];

    rmig_out_put_ref(out, pages, PAGE, false);
    rmig_out_put_ref(out, pages + PAGE, PAGE, false);
    rmig_out_put_ref(out, pages + 2 * PAGE, PAGE, false);
    /* A gap, and going backwards: entries of their own. */
    rmig_out_put_ref(out, pages + 4 * PAGE, PAGE, false);
    rmig_out_put_ref(out, pages + 3 * PAGE, PAGE, false);
    ck_assert_int_eq(rmig_out_flush(out), 0);
    ck_assert_int_eq(script->calls[0].niov, 3);
    ck_assert_uint_eq(script->calls[0].len_bytes, 5 * PAGE);
}
END_TEST

START_TEST(put_ref__another_may_free_mark_is_another_entry)
{
    uint8_t *pages =
        mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    rmig_out_put_ref(out, pages, PAGE, true);
    rmig_out_put_ref(out, pages + PAGE, PAGE, true);
    rmig_out_put_ref(out, pages + 2 * PAGE, PAGE, false);
    ck_assert_int_eq(rmig_out_flush(out), 0);
    ck_assert_int_eq(script->calls[0].niov, 2);
    munmap(pages, 3 * PAGE);
}
END_TEST

START_TEST(put_ref__full_list_is_written)
{
    static uint8_t pages[2 * 64 * PAGE];

    ck_assert_int_eq(RMIG_STREAM_IOV_MAX, 64);
    for (size_t i = 0; i < 63; i++)
        rmig_out_put_ref(out, pages + 2 * i * PAGE, PAGE, false);
    ck_assert_uint_eq(script->nwritev, 0);
    rmig_out_put_ref(out, pages + 2 * 63 * PAGE, PAGE, false);
    ck_assert_uint_eq(script->nwritev, 1);
    ck_assert_int_eq(script->calls[0].niov, 64);
    ck_assert(rmig_out_buffer_empty(out));
    /* Copied bytes take the last entry: they go with it, the page opens the next list. */
    for (size_t i = 0; i < 63; i++)
        rmig_out_put_ref(out, pages + 2 * i * PAGE, PAGE, false);
    rmig_out_put_u8(out, 1);
    rmig_out_put_ref(out, pages + 2 * 63 * PAGE, PAGE, false);
    ck_assert_uint_eq(script->nwritev, 2);
    ck_assert_int_eq(script->calls[1].niov, 64);
    ck_assert_uint_eq(script->calls[1].len_bytes, 63 * PAGE + 1);
    ck_assert(!rmig_out_buffer_empty(out));
}
END_TEST

/* A channel that gains from large writes gets several full lists by one, in order, copies too. */
START_TEST(put_ref__bulk_channel_gets_full_lists_together)
{
    static uint8_t pages[2 * 512 * PAGE], want[512 * (PAGE + 8)];
    size_t len = 0;

    script->base.flags |= RMIG_CHANNEL_BULK;
    for (size_t i = 0; i < 512; i++)
        memset(pages + 2 * i * PAGE, (int)(i + 1), PAGE);
    for (size_t i = 0; i < 256; i++) { /* 512 entries: a number and a page in turn */
        uint64_t be = htobe64(i);

        ck_assert_uint_eq(script->nwritev, 0);
        rmig_out_put_be64(out, i);
        rmig_out_put_ref(out, pages + 2 * i * PAGE, PAGE, false);
        memcpy(want + len, &be, sizeof(be));
        memcpy(want + len + sizeof(be), pages + 2 * i * PAGE, PAGE);
        len += sizeof(be) + PAGE;
        ck_assert_uint_eq(rmig_out_transferred_fast_bytes(out), len);
    }
    ck_assert_uint_eq(script->nwritev, 1);
    ck_assert_int_eq(script->calls[0].niov, 512);
    assert_written(want, len);
    ck_assert(rmig_out_buffer_empty(out));
    /* A flush does not wait for more. */
    for (size_t i = 0; i < 100; i++)
        rmig_out_put_ref(out, pages + 2 * i * PAGE, PAGE, false);
    ck_assert_uint_eq(script->nwritev, 1);
    ck_assert(!rmig_out_buffer_empty(out));
    ck_assert_int_eq(rmig_out_flush(out), 0);
    ck_assert_uint_eq(script->nwritev, 2);
    ck_assert_int_eq(script->calls[1].niov, 100);
    ck_assert_uint_eq(rmig_out_transferred_bytes(out), len + 100 * PAGE);
}
END_TEST

/* What is to be released after its flush does not wait with others. */
START_TEST(put_ref__bulk_channel_and_may_free)
{
    uint8_t *pages =
        mmap(NULL, 2 * 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    script->base.flags |= RMIG_CHANNEL_BULK;
    for (size_t i = 0; i < 64; i++)
        rmig_out_put_ref(out, pages + 2 * i * PAGE, PAGE, i == 3);
    ck_assert_uint_eq(script->nwritev, 1);
    ck_assert_int_eq(script->calls[0].niov, 64);
    munmap(pages, 2 * 64 * PAGE);
}
END_TEST

START_TEST(put_buffer__full_buffer_is_written)
{
    static uint8_t bytes[BUFFER];

    rmig_out_put_buffer(out, bytes, BUFFER - 1);
    ck_assert_uint_eq(script->nwritev, 0);
    rmig_out_put_u8(out, 1);
    ck_assert_uint_eq(script->nwritev, 1);
    ck_assert_uint_eq(script->calls[0].len_bytes, BUFFER);
    ck_assert(rmig_out_buffer_empty(out));
}
END_TEST

START_TEST(flush__short_writes_and_interruptions_lose_nothing)
{
    static uint8_t bytes[30 * PAGE], want[30 * (PAGE + 2)];
    size_t len = 0;

    fill_pattern(bytes, sizeof(bytes), 3);
    script->write_max = 1009;
    script->intr_every = 5;
    script->again_every = 7;
    for (uint16_t i = 0; i < 30; i++) {
        rmig_out_put_be16(out, i);
        rmig_out_put_ref(out, bytes + i * PAGE, PAGE, false);
        want[len++] = 0;
        want[len++] = (uint8_t)i;
        memcpy(want + len, bytes + i * PAGE, PAGE);
        len += PAGE;
    }
    ck_assert_int_eq(rmig_out_flush(out), 0);
    assert_written(want, len);
    ck_assert_uint_gt(script->nwait, 0);
    ck_assert_uint_eq(rmig_out_transferred_bytes(out), len);
}
END_TEST

START_TEST(flush__short_write_is_EIO)
{
    struct rmig_err err = RMIG_ERR_INIT;
    static uint8_t bytes[1000];

    script->write_fault = (struct script_fault){.at_bytes = 100, .code = SCRIPT_ZERO};
    rmig_out_put_buffer(out, bytes, sizeof(bytes));
    ck_assert_int_eq(rmig_out_flush(out), -EIO);
    ck_assert_failed(rmig_out_error(out, &err), -EIO, &err, "short write: 100 of 1000 bytes");
    ck_assert_uint_eq(rmig_out_transferred_bytes(out), 100); /* what was written before it */
    ck_assert(rmig_out_buffer_empty(out));
}
END_TEST

START_TEST(flush__channel_error_keeps_its_errno_and_message)
{
    struct rmig_err err = RMIG_ERR_INIT;

    script->write_fault =
        (struct script_fault){.at_bytes = 0, .code = -EPIPE, .msg = "peer 1.2.3.4 is gone"};
    rmig_out_put_u8(out, 1);
    ck_assert_int_eq(rmig_out_flush(out), -EPIPE);
    ck_assert_failed(rmig_out_error(out, &err), -EPIPE, &err, "peer 1.2.3.4 is gone");
}
END_TEST

START_TEST(flush__nothing_queued_writes_nothing)
{
    ck_assert_int_eq(rmig_out_flush(out), 0);
    ck_assert_uint_eq(script->nwritev, 0);
    rmig_out_set_error(out, -EPERM, "mine");
    rmig_out_put_u8(out, 1);
    ck_assert_int_eq(rmig_out_flush(out), -EPERM);
    ck_assert_uint_eq(script->nwritev, 0);
}
END_TEST

static size_t resident_pages(uint8_t *map, size_t npages)
{
    unsigned char present[64];
    size_t n = 0;

    ck_assert_int_eq(mincore(map, npages * PAGE, present), 0);
    for (size_t i = 0; i < npages; i++)
        n += present[i] & 1;
    return n;
}

START_TEST(flush__may_free_ranges_are_released)
{
    uint8_t *map = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    memset(map, 'x', 8 * PAGE);
    ck_assert_uint_eq(resident_pages(map, 8), 8);
    /* Pages 0 and 1 touch though a word is between them in the list; 2 stays; 4 stands alone. */
    for (size_t i = 0; i < 5; i++) {
        rmig_out_put_be64(out, i);
        rmig_out_put_ref(out, map + i * PAGE, PAGE, i != 2 && i != 3);
    }
    ck_assert_uint_eq(resident_pages(map, 8), 8);
    ck_assert_int_eq(rmig_out_flush(out), 0);
    ck_assert_uint_eq(script->output_bytes, 5 * (PAGE + 8));
    ck_assert_uint_eq(resident_pages(map, 8), 5);
    ck_assert_int_eq(map[0], 0);
    ck_assert_int_eq(map[PAGE], 0);
    ck_assert_int_eq(map[2 * PAGE], 'x');
    ck_assert_int_eq(map[4 * PAGE], 0);
    munmap(map, 8 * PAGE);
}
END_TEST

/* The page that a range ends in holds more than the range. */
START_TEST(flush__page_that_is_part_of_a_range_is_kept)
{
    uint8_t *map = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    memset(map, 'x', 2 * PAGE);
    rmig_out_put_ref(out, map, PAGE + 100, true);
    ck_assert_int_eq(rmig_out_flush(out), 0);
    ck_assert_int_eq(map[PAGE + 100], 'x');
    ck_assert_int_eq(map[0], 0);
    rmig_out_put_ref(out, map + PAGE, 100, true);
    ck_assert_int_eq(rmig_out_flush(out), 0);
    ck_assert_int_eq(map[PAGE + 100], 'x');
    munmap(map, 2 * PAGE);
}
END_TEST

START_TEST(flush__failed_release_is_logged_and_survived)
{
    uint8_t *map = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct caught_log log;

    log_catch(&log);
    /* Neighbours with a word between: one call, one complaint, of both lengths together. */
    rmig_out_put_ref(out, map + 1, PAGE, true);
    rmig_out_put_be64(out, 1);
    rmig_out_put_ref(out, map + 1 + PAGE, PAGE, true);
    ck_assert_int_eq(rmig_out_flush(out), 0);
    ck_assert_uint_eq(log.nlines, 1);
    ck_assert_msg(strstr(log.last, "cannot release 8192 bytes") != NULL, "%s", log.last);
    ck_assert_uint_eq(script->output_bytes, 2 * PAGE + 8);
    rmig_out_put_ref(out, map, PAGE, true);
    ck_assert_int_eq(rmig_out_flush(out), 0);
    ck_assert_uint_eq(log.nlines, 1);
    rmig_log_set(NULL, NULL, RMIG_LOG_ERROR);
    munmap(map, 4 * PAGE);
}
END_TEST

START_TEST(flush__nothing_is_released_that_was_not_written)
{
    uint8_t *map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    map[0] = 'x';
    script->write_fault = (struct script_fault){.at_bytes = 10, .code = -EPIPE};
    rmig_out_put_ref(out, map, PAGE, true);
    ck_assert_int_eq(rmig_out_flush(out), -EPIPE);
    ck_assert_int_eq(map[0], 'x');
    munmap(map, PAGE);
}
END_TEST

START_TEST(counted_string__0_to_255_bytes)
{
    char s[257];

    memset(s, 's', sizeof(s));
    s[255] = '\0';
    rmig_out_put_counted_string(out, "");
    rmig_out_put_counted_string(out, "ram");
    rmig_out_put_counted_string(out, s);
    ck_assert_int_eq(rmig_out_flush(out), 0);
    ck_assert_uint_eq(script->output_bytes, 1 + 4 + 256);
    ck_assert_mem_eq(script->output, "\0\3ram\377sss", 9);
}
END_TEST

START_TEST(counted_string__longer_is_refused)
{
    struct rmig_err err = RMIG_ERR_INIT;
    char s[257];

    memset(s, 's', sizeof(s));
    s[256] = '\0';
    rmig_out_put_counted_string(out, s);
    ck_assert_failed(rmig_out_error(out, &err), -EINVAL, &err, "longer than 255");
    ck_assert_int_eq(rmig_out_flush(out), -EINVAL);
    ck_assert_uint_eq(script->output_bytes, 0);
}
END_TEST

static struct rmig_out *new_private(void)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_out *p;

    ck_assert_done(rmig_out_new_private(&p, &err), &err);
    return p;
}

START_TEST(put_stream__moves_all_and_empties)
{
    struct rmig_out *private = new_private();
    static uint8_t page[PAGE];

    fill_pattern(page, PAGE, 5);
    rmig_out_put_u8(out, 'a');
    rmig_out_put_be16(private, 0x6263);
    rmig_out_put_ref(private, page, PAGE, false);
    rmig_out_put_u8(private, 'd');
    ck_assert_int_eq(rmig_out_flush(private), 0);
    ck_assert(!rmig_out_buffer_empty(private));
    ck_assert_int_eq(rmig_out_put_stream(out, private), 3 + PAGE);
    ck_assert(rmig_out_buffer_empty(private));
    ck_assert_int_eq(rmig_out_put_stream(out, private), 0);
    /* It can be filled again at once. */
    rmig_out_put_u8(private, 'e');
    ck_assert_int_eq(rmig_out_put_stream(out, private), 1);
    ck_assert_int_eq(rmig_out_flush(out), 0);
    ck_assert_uint_eq(script->output_bytes, 5 + PAGE);
    ck_assert_mem_eq(script->output, "abc", 3);
    ck_assert_mem_eq(script->output + 3, page, PAGE);
    ck_assert_mem_eq(script->output + 3 + PAGE, "de", 2);
    ck_assert_int_eq(rmig_out_close(private, NULL), 0);
}
END_TEST

START_TEST(put_stream__only_from_a_private_stream_without_error)
{
    struct rmig_out *private = new_private(), *other;
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_channel *null;

    ck_assert_int_eq(rmig_out_put_stream(private, private), -EINVAL);
    ck_assert_done(rmig_channel_null(&null, &err), &err);
    ck_assert_done(rmig_out_new(null, &other, &err), &err);
    ck_assert_int_eq(rmig_out_put_stream(private, other), -EINVAL);
    rmig_out_put_u8(private, 1);
    rmig_out_set_error(other, -EDOM, "target");
    ck_assert_int_eq(rmig_out_put_stream(other, private), -EDOM);
    ck_assert(rmig_out_buffer_empty(private));
    rmig_out_set_error(private, -EPERM, "source");
    ck_assert_int_eq(rmig_out_put_stream(out, private), -EPERM);
    rmig_out_close(private, NULL);
    rmig_out_close(other, NULL);
}
END_TEST

START_TEST(private__holds_one_buffer_and_one_list)
{
    static uint8_t bytes[2 * 65 * PAGE];
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_out *private = new_private();

    rmig_out_put_buffer(private, bytes, BUFFER);
    ck_assert_int_eq(rmig_out_error(private, NULL), 0);
    rmig_out_put_u8(private, 1);
    ck_assert_failed(rmig_out_error(private, &err), -ENOSPC, &err, "no room for 1 bytes");
    rmig_out_put_u8(private, 1);
    ck_assert_int_eq(rmig_out_close(private, NULL), -ENOSPC);

    private = new_private();
    for (size_t i = 0; i < 64; i++)
        rmig_out_put_ref(private, bytes + 2 * i * PAGE, PAGE, true);
    rmig_out_put_u8(private, 1); /* behind the list, with no entry of its own */
    ck_assert_int_eq(rmig_out_put_stream(out, private), 64 * PAGE + 1);
    for (size_t i = 0; i < 64; i++)
        rmig_out_put_ref(private, bytes + 2 * i * PAGE, PAGE, false);
    ck_assert_int_eq(rmig_out_error(private, NULL), 0);
    rmig_out_put_ref(private, bytes + 2 * 64 * PAGE, PAGE, false);
    err.code = 0;
    ck_assert_failed(rmig_out_error(private, &err), -ENOSPC, &err, "0 of 64 entries are left");
    rmig_out_close(private, NULL);
}
END_TEST

START_TEST(buffer_empty__is_about_what_is_queued)
{
    static uint8_t page[PAGE];

    ck_assert(rmig_out_buffer_empty(out));
    rmig_out_put_u8(out, 1);
    ck_assert(!rmig_out_buffer_empty(out));
    rmig_out_flush(out);
    ck_assert(rmig_out_buffer_empty(out));
    rmig_out_put_ref(out, page, PAGE, false);
    ck_assert(!rmig_out_buffer_empty(out));
    rmig_out_flush(out);
    ck_assert(rmig_out_buffer_empty(out));
}
END_TEST

START_TEST(put_buffer_at__flushes_then_writes_there)
{
    char name[] = "/tmp/rmig-check-XXXXXX", read_back[16];
    struct rmig_err err = RMIG_ERR_INIT;
    int fd = mkstemp(name);
    struct rmig_channel *ch;
    struct rmig_out *file;

    ck_assert_int_ge(fd, 0);
    unlink(name);
    ck_assert_done(rmig_channel_from_fd(dup(fd), NULL, &ch, &err), &err);
    ck_assert_done(rmig_out_new(ch, &file, &err), &err);
    ck_assert(rmig_out_is_seekable(file));
    rmig_out_put_buffer(file, "abc", 3);
    ck_assert_int_eq(rmig_out_put_buffer_at(file, "XY", 2, 10), 0);
    ck_assert_int_eq(pread(fd, read_back, sizeof(read_back), 0), 12);
    ck_assert_mem_eq(read_back, "abc\0\0\0\0\0\0\0XY", 12);
    /* The stream's own position stayed. */
    rmig_out_put_buffer(file, "d", 1);
    ck_assert_uint_eq(rmig_out_transferred_bytes(file), 6);
    ck_assert_int_eq(pread(fd, read_back, 5, 0), 5);
    ck_assert_mem_eq(read_back, "abcd\0", 5);
    ck_assert_int_eq(rmig_out_put_buffer_at(file, NULL, 0, 99), 0);
    ck_assert_int_eq(rmig_out_close(file, NULL), 0);
    close(fd);
}
END_TEST

START_TEST(put_buffer_at__partial_write_names_both_figures)
{
    struct rmig_err err = RMIG_ERR_INIT;
    char buf[50];

    memset(buf, 0, sizeof(buf));
    script->positional_max = 20;
    ck_assert_int_eq(rmig_out_put_buffer_at(out, buf, sizeof(buf), 4096), -EIO);
    ck_assert_failed(rmig_out_error(out, &err), -EIO, &err, "offset 4096: 20 of 50 bytes");
}
END_TEST

START_TEST(put_buffer_at__would_block_is_EAGAIN)
{
    char buf[50];

    memset(buf, 0, sizeof(buf));
    script->positional_code = -EAGAIN;
    ck_assert_int_eq(rmig_out_put_buffer_at(out, buf, sizeof(buf), 0), -EAGAIN);
    ck_assert_int_eq(rmig_out_error(out, NULL), -EAGAIN);
}
END_TEST

START_TEST(positions__need_a_channel_that_has_them)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_out *private = new_private();

    script->base.flags &= ~RMIG_CHANNEL_SEEKABLE;
    ck_assert(!rmig_out_is_seekable(out));
    ck_assert_int_eq(rmig_out_put_buffer_at(out, "x", 1, 0), -ENOTSUP);
    ck_assert_failed(rmig_out_error(out, &err), -ENOTSUP, &err, "has no positions");
    ck_assert(!rmig_out_is_seekable(private));
    ck_assert_int_eq(rmig_out_seek(private, 0, SEEK_SET), -ENOTSUP);
    ck_assert_int_eq(rmig_out_close(private, NULL), -ENOTSUP);
}
END_TEST

START_TEST(seek__flushes_first)
{
    rmig_out_put_buffer(out, "0123456789", 10);
    ck_assert_int_eq(rmig_out_seek(out, 100, SEEK_SET), 100);
    ck_assert_uint_eq(script->output_bytes, 10);
    rmig_out_put_u8(out, 1);
    ck_assert_int_eq(rmig_out_tell(out), 100);
    ck_assert_uint_eq(script->output_bytes, 11);
    script->positional_code = -ESPIPE;
    ck_assert_int_eq(rmig_out_seek(out, 0, SEEK_SET), -ESPIPE);
    ck_assert_int_eq(rmig_out_error(out, NULL), -ESPIPE);
    ck_assert_int_eq(rmig_out_tell(out), -ESPIPE);
}
END_TEST

Suite *stream_out_suite(void)
{
    const TTest *const put[] = {put_numbers__are_big_endian,
                                put_numbers__across_the_end_of_the_buffer,
                                put_buffer__any_size_is_copied_over_the_buffer,
                                put_buffer__full_buffer_is_written,
                                put_ref__is_borrowed_until_the_flush,
                                put_ref__order_with_copied_bytes_is_kept,
                                put_ref__neighbours_become_one_entry,
                                put_ref__list_that_fills_in_a_failing_write,
                                put_ref__another_may_free_mark_is_another_entry,
                                put_ref__full_list_is_written,
                                put_ref__bulk_channel_gets_full_lists_together,
                                put_ref__bulk_channel_and_may_free,
                                counted_string__0_to_255_bytes,
                                counted_string__longer_is_refused,
                                buffer_empty__is_about_what_is_queued,
                                NULL};
    const TTest *const flush[] = {flush__short_writes_and_interruptions_lose_nothing,
                                  flush__short_write_is_EIO,
                                  flush__channel_error_keeps_its_errno_and_message,
                                  flush__nothing_queued_writes_nothing,
                                  flush__may_free_ranges_are_released,
                                  flush__page_that_is_part_of_a_range_is_kept,
                                  flush__failed_release_is_logged_and_survived,
                                  flush__nothing_is_released_that_was_not_written,
                                  NULL};
    const TTest *const rest[] = {put_stream__moves_all_and_empties,
                                 put_stream__only_from_a_private_stream_without_error,
                                 private__holds_one_buffer_and_one_list,
                                 put_buffer_at__flushes_then_writes_there,
                                 put_buffer_at__partial_write_names_both_figures,
                                 put_buffer_at__would_block_is_EAGAIN,
                                 positions__need_a_channel_that_has_them,
                                 seek__flushes_first,
                                 NULL};
    const TTest *const *const groups[] = {put, flush, rest};
    static const char *const names[] = {"put", "flush", "private and positions"};
    Suite *suite = suite_create("stream/out");

    for (int i = 0; i < 3; i++)
        suite_add_checked(suite, names[i], groups[i], setup, teardown);
    return suite;
}
