/* check_hooks_dirty_map.c -- the map that a hypervisor marks, and the bitmaps under it. */
/* SPDX-License-Identifier: BSD-3-Clause */
#include <check.h>
#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <rmig/dirty.h>

#include "hooks/dirty_bits.h"

#include "tests/unit/suites.h"

#define NBLOCKS 2u
#define PAGES_A 200u /* no multiple of 64 */
#define PAGES_B 1024u
#define MOST_RUNS (PAGES_A + PAGES_B)
#define WRITERS 3u

/* No memory behind them: a map must not touch it. */
static const struct rmig_block blocks[NBLOCKS] = {
    {.name = "a", .len_bytes = PAGES_A * RMIG_PAGE_BYTES, .page_bytes = RMIG_PAGE_BYTES, .fd = -1},
    {.name = "b", .len_bytes = PAGES_B * RMIG_PAGE_BYTES, .page_bytes = RMIG_PAGE_BYTES, .fd = -1},
};

struct runs {
    struct rmig_run run[MOST_RUNS];
    uint32_t n;
    uint32_t refuse_at; /* the call, from 1, that is answered with an error; 0: none */
};

static struct rmig_dirty *map;
static struct runs runs;

static void setup(void)
{
    ck_assert_int_eq(rmig_dirty_map_open(blocks, NBLOCKS, &map, NULL), 0);
    ck_assert_int_eq(rmig_dirty_start(map, NULL), 0);
}

static void teardown(void)
{
    rmig_dirty_free(map);
}

static int note(void *opaque, const struct rmig_run *run)
{
    struct runs *r = opaque;

    if (r->refuse_at && r->n + 1 == r->refuse_at)
        return -ENOBUFS;
    ck_assert_uint_lt(r->n, MOST_RUNS);
    ck_assert_uint_lt(run->block_index, NBLOCKS);
    ck_assert_uint_gt(run->len_bytes, 0);
    ck_assert_uint_le(run->offset_bytes + run->len_bytes, blocks[run->block_index].len_bytes);
    r->run[r->n++] = *run;
    return 0;
}

static void sync_now(void)
{
    memset(&runs, 0, sizeof(runs));
    ck_assert_int_eq(rmig_dirty_sync(map, note, &runs, NULL), 0);
}

static void mark(uint32_t block, uint64_t offset_bytes, uint64_t len_bytes)
{
    ck_assert_int_eq(rmig_dirty_map_mark(map, block, offset_bytes, len_bytes), 0);
}

static void expect_run(uint32_t i, uint32_t block, uint64_t first_page, uint64_t npages)
{
    ck_assert_uint_lt(i, runs.n);
    ck_assert_uint_eq(runs.run[i].block_index, block);
    ck_assert_uint_eq(runs.run[i].flags, 0);
    ck_assert_uint_eq(runs.run[i].offset_bytes, first_page * RMIG_PAGE_BYTES);
    ck_assert_uint_eq(runs.run[i].len_bytes, npages * RMIG_PAGE_BYTES);
}

START_TEST(sync__reports_once_what_was_marked)
{
    ck_assert_str_eq(rmig_dirty_name(map), "map");
    sync_now();
    ck_assert_uint_eq(runs.n, 0);
    mark(0, 3 * RMIG_PAGE_BYTES, RMIG_PAGE_BYTES);
    mark(0, 3 * RMIG_PAGE_BYTES, RMIG_PAGE_BYTES);
    mark(0, 4 * RMIG_PAGE_BYTES, RMIG_PAGE_BYTES);
    mark(1, 1023 * RMIG_PAGE_BYTES, RMIG_PAGE_BYTES);
    sync_now();
    ck_assert_uint_eq(runs.n, 2);
    expect_run(0, 0, 3, 2);
    expect_run(1, 1, 1023, 1);
    sync_now();
    ck_assert_uint_eq(runs.n, 0);
}
END_TEST

START_TEST(mark__any_bytes_are_their_pages)
{
    mark(1, RMIG_PAGE_BYTES - 1, 2);     /* pages 0 and 1 */
    mark(1, 5 * RMIG_PAGE_BYTES + 7, 1); /* 5 */
    mark(1, 8 * RMIG_PAGE_BYTES, RMIG_PAGE_BYTES + 1);
    sync_now();
    ck_assert_uint_eq(runs.n, 3);
    expect_run(0, 1, 0, 2);
    expect_run(1, 1, 5, 1);
    expect_run(2, 1, 8, 2);
}
END_TEST

START_TEST(sync__run_goes_over_words_but_not_over_blocks)
{
    mark(0, 0, blocks[0].len_bytes);
    mark(1, 0, 65 * RMIG_PAGE_BYTES);
    mark(1, 127 * RMIG_PAGE_BYTES, 130 * RMIG_PAGE_BYTES);
    sync_now();
    ck_assert_uint_eq(runs.n, 3);
    expect_run(0, 0, 0, PAGES_A);
    expect_run(1, 1, 0, 65);
    expect_run(2, 1, 127, 130);
}
END_TEST

START_TEST(mark__outside_is_refused)
{
    ck_assert_int_eq(rmig_dirty_map_mark(map, NBLOCKS, 0, 1), -ERANGE);
    ck_assert_int_eq(rmig_dirty_map_mark(map, 0, blocks[0].len_bytes, 1), -ERANGE);
    ck_assert_int_eq(rmig_dirty_map_mark(map, 0, blocks[0].len_bytes - 1, 2), -ERANGE);
    ck_assert_int_eq(rmig_dirty_map_mark(map, 0, 1, UINT64_MAX), -ERANGE);
    ck_assert_int_eq(rmig_dirty_map_mark(map, 0, UINT64_MAX, 2), -ERANGE);
    ck_assert_int_eq(rmig_dirty_map_mark(map, 0, 0, 0), -EINVAL);
    sync_now();
    ck_assert_uint_eq(runs.n, 0);
}
END_TEST

START_TEST(start__drops_what_was_marked_before)
{
    mark(0, 0, 1);
    rmig_dirty_stop(map);
    mark(1, 0, 1);
    ck_assert_int_eq(rmig_dirty_start(map, NULL), 0);
    sync_now();
    ck_assert_uint_eq(runs.n, 0);
    mark(1, 0, 1);
    sync_now();
    ck_assert_uint_eq(runs.n, 1);
}
END_TEST

/* What the callback refused, and what it was not asked about, comes with the next sync. */
START_TEST(sync__refused_run_is_kept)
{
    for (uint32_t refuse_at = 1; refuse_at <= 4; refuse_at++) {
        uint32_t told;

        mark(0, 1 * RMIG_PAGE_BYTES, RMIG_PAGE_BYTES);
        mark(0, 3 * RMIG_PAGE_BYTES, RMIG_PAGE_BYTES);
        mark(0, 62 * RMIG_PAGE_BYTES, 5 * RMIG_PAGE_BYTES);
        mark(1, 70 * RMIG_PAGE_BYTES, RMIG_PAGE_BYTES);
        memset(&runs, 0, sizeof(runs));
        runs.refuse_at = refuse_at;
        ck_assert_int_eq(rmig_dirty_sync(map, note, &runs, NULL), -ENOBUFS);
        told = runs.n;
        ck_assert_uint_eq(told, refuse_at - 1);
        sync_now();
        ck_assert_uint_eq(told + runs.n, 4);
        expect_run(runs.n - 1, 1, 70, 1);
        if (refuse_at == 3)
            expect_run(0, 0, 62, 5);
    }
}
END_TEST

START_TEST(open__no_block_is_EINVAL)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_dirty *none = NULL;

    ck_assert_int_eq(rmig_dirty_map_open(blocks, 0, &none, &err), -EINVAL);
    ck_assert_int_eq(rmig_dirty_map_open(NULL, 1, &none, NULL), -EINVAL);
    ck_assert_ptr_null(none);
    ck_assert_str_ne(err.msg, "");
}
END_TEST

/* --- threads: what was written before a mark is read by who is told of it ------------------------
 */

#define MEETINGS 20000u
#define PAGES_RACE 66u /* so few that the threads meet in one word all the time */

/* A word for each page. It is written again only after the last write was copied: so each mark that
 * is lost shows at the end. */
static uint64_t memory[PAGES_RACE], copy[PAGES_RACE];
static atomic_bool ending;

struct writer {
    uint32_t index;
    pthread_t thread;
};

static void *write_and_mark(void *opaque)
{
    const struct writer *w = opaque;

    while (!atomic_load(&ending))
        for (uint32_t page = w->index; page < PAGES_RACE; page += WRITERS) {
            uint64_t now = __atomic_load_n(&memory[page], __ATOMIC_RELAXED);

            if (__atomic_load_n(&copy[page], __ATOMIC_RELAXED) != now)
                continue;
            __atomic_store_n(&memory[page], now + 1, __ATOMIC_RELAXED);
            if (rmig_dirty_map_mark(map, 1, (uint64_t)page * RMIG_PAGE_BYTES, 1) != 0)
                abort();
        }
    return NULL;
}

static int copy_run(void *opaque, const struct rmig_run *run)
{
    uint64_t first = run->offset_bytes / RMIG_PAGE_BYTES, n = run->len_bytes / RMIG_PAGE_BYTES;

    for (uint64_t p = first; p < first + n; p++)
        __atomic_store_n(&copy[p], __atomic_load_n(&memory[p], __ATOMIC_RELAXED), __ATOMIC_RELAXED);
    *(uint64_t *)opaque += n;
    return 0;
}

START_TEST(sync__racing_marks_lose_nothing)
{
    struct writer writers[WRITERS];
    time_t give_up = time(NULL) + 30; /* where every page was lost, no more are copied */
    uint64_t copied = 0;

    for (uint32_t i = 0; i < WRITERS; i++) {
        writers[i].index = i;
        ck_assert_int_eq(pthread_create(&writers[i].thread, NULL, write_and_mark, &writers[i]), 0);
    }
    while (copied < MEETINGS && time(NULL) < give_up)
        if (rmig_dirty_sync(map, copy_run, &copied, NULL) != 0)
            ck_abort();
    atomic_store(&ending, true);
    for (uint32_t i = 0; i < WRITERS; i++)
        pthread_join(writers[i].thread, NULL);
    ck_assert_int_eq(rmig_dirty_sync(map, copy_run, &copied, NULL), 0);
    for (uint32_t p = 0; p < PAGES_RACE; p++)
        ck_assert_uint_eq(copy[p], memory[p]);
    ck_assert_uint_ge(copied, MEETINGS);
}
END_TEST

/* --- the bitmaps --------------------------------------------------------------------------------
 */

static int flip(void *opaque, const struct rmig_run *run)
{
    uint8_t *want = opaque;

    for (uint64_t i = 0; i < run->len_bytes / RMIG_PAGE_BYTES; i++)
        want[run->offset_bytes / RMIG_PAGE_BYTES + i] ^= 1;
    return run->block_index ? -ERANGE : 0;
}

/* Merges random bits, npages of them at page first. Are they reported, and no others? */
static bool merges(struct rmig_dirty_bits *bits, uint64_t first, uint64_t npages, uint64_t *x)
{
    static const uint8_t none[PAGES_A];
    uint8_t want[PAGES_A] = {0};
    uint64_t from[4];

    for (uint32_t i = 0; i < 4; i++) {
        *x ^= *x << 13;
        *x ^= *x >> 7;
        *x ^= *x << 17;
        from[i] = htole64(*x);
    }
    for (uint64_t i = 0; i < npages; i++)
        want[first + i] = le64toh(from[i / 64]) >> (i % 64) & 1;
    rmig_dirty_bits_merge(bits, 0, first, from, npages);
    return rmig_dirty_bits_report(bits, flip, want) == 0 && !memcmp(want, none, sizeof(none));
}

/* At every shift, with every length, and with set bits behind the end that must not count. */
START_TEST(merge__equals_bit_by_bit)
{
    uint64_t x = 88172645463325252ull;
    struct rmig_dirty_bits bits;

    ck_assert_int_eq(rmig_dirty_bits_init(&bits, blocks, NBLOCKS, NULL), 0);
    for (uint64_t first = 0; first < 70; first++)
        for (uint64_t npages = 1; npages <= PAGES_A - first; npages++)
            if (!merges(&bits, first, npages, &x))
                ck_abort_msg("%llu pages at %llu", (unsigned long long)npages,
                             (unsigned long long)first);
    rmig_dirty_bits_release(&bits);
}
END_TEST

Suite *hooks_dirty_map_suite(void)
{
    Suite *s = suite_create("hooks/dirty_map");
    TCase *tc = tcase_create("map");

    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, sync__reports_once_what_was_marked);
    tcase_add_test(tc, mark__any_bytes_are_their_pages);
    tcase_add_test(tc, sync__run_goes_over_words_but_not_over_blocks);
    tcase_add_test(tc, mark__outside_is_refused);
    tcase_add_test(tc, start__drops_what_was_marked_before);
    tcase_add_test(tc, sync__refused_run_is_kept);
    tcase_add_test(tc, open__no_block_is_EINVAL);
    tcase_add_test(tc, sync__racing_marks_lose_nothing);
    suite_add_tcase(s, tc);
    tc = tcase_create("bits");
    tcase_add_test(tc, merge__equals_bit_by_bit);
    suite_add_tcase(s, tc);
    return s;
}
