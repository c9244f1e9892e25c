/* SPDX-License-Identifier: BSD-3-Clause */
/* check_hooks_scan.c -- the dirty pages, and the walk that cuts them into runs of one kind. */
#include "hooks/scan.h"

#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/unit/hooks_util.h"
#include "tests/unit/suites.h"

static struct guest guest;
static struct rmig_blocks blocks;
static struct rmig_pages pages;
static struct rmig_scan scan;
static struct rmig_scan_limits limits;

static void setup(void)
{
    memset(&guest, 0, sizeof(guest));
    limits = (struct rmig_scan_limits){256, UINT64_MAX};
}

/* After the test has made its guest. */
static void start(void)
{
    ck_assert_int_eq(rmig_blocks_init(&blocks, guest.blocks, guest.count, NULL), 0);
    ck_assert_int_eq(rmig_pages_init(&pages, &blocks, true, NULL), 0);
    rmig_scan_init(&scan, &pages, true);
}

static void teardown(void)
{
    rmig_pages_release(&pages);
    rmig_blocks_release(&blocks);
    guest_release(&guest);
}

/* The next run must be this one. */
static void expect(uint32_t block, uint64_t first, uint64_t count, bool zero, bool hole)
{
    struct rmig_found found;

    ck_assert(rmig_scan_next(&scan, &limits, &found));
    ck_assert_uint_eq(found.run.block_index, block);
    ck_assert_uint_eq(found.run.offset_bytes, first * RMIG_PAGE_BYTES);
    ck_assert_uint_eq(found.run.len_bytes, count * RMIG_PAGE_BYTES);
    ck_assert_uint_eq(found.run.flags, zero ? RMIG_RUN_ZERO : 0);
    ck_assert_int_eq(found.hole, hole);
}

static void expect_end(void)
{
    struct rmig_found found;

    ck_assert(!rmig_scan_next(&scan, &limits, &found));
    ck_assert(!rmig_scan_next(&scan, &limits, &found));
}

static void mark(uint32_t block, uint64_t first, uint64_t count)
{
    const struct rmig_page_range range = {block, first, count};

    rmig_pages_mark(&pages, &range);
}

static void clear_all(void)
{
    for (uint32_t i = 0; i < guest.count; i++) {
        const struct rmig_page_range range = {i, 0, guest_pages(&guest, i)};

        rmig_pages_take(&pages, &range);
    }
}

/* --- dirty pages ------------------------------------------------------------------------------ */

START_TEST(pages__all_start_dirty)
{
    guest_add(&guest, "a", 3 * RMIG_PAGE_BYTES, false);
    guest_add(&guest, "b", 130 * RMIG_PAGE_BYTES, false);
    start();
    ck_assert_uint_eq(rmig_pages_count(&pages), 133);
    ck_assert_uint_eq(rmig_pages_next_dirty(&pages, 1, 0, 130), 0);
    ck_assert_uint_eq(rmig_pages_dirty_run(&pages, 1, 0, 130), 130);
    ck_assert_uint_eq(rmig_pages_dirty_run(&pages, 1, 5, 70), 65);
}
END_TEST

START_TEST(pages__counted_once)
{
    struct rmig_page_range range = {1, 10, 20};

    guest_init(&guest, 2, 100 * RMIG_PAGE_BYTES);
    start();
    rmig_pages_take(&pages, &range);
    rmig_pages_take(&pages, &range);
    ck_assert_uint_eq(rmig_pages_count(&pages), 180);
    mark(1, 0, 15);
    ck_assert_uint_eq(rmig_pages_count(&pages), 185);
    ck_assert_uint_eq(rmig_pages_next_dirty(&pages, 1, 15, 100), 30);
    ck_assert_uint_eq(rmig_pages_next_dirty(&pages, 1, 15, 20), 20);
    ck_assert_uint_eq(rmig_pages_dirty_run(&pages, 1, 30, 100), 70);
    ck_assert_uint_eq(rmig_pages_next_dirty(&pages, 1, 100, 100), 100);
    clear_all();
    ck_assert_uint_eq(rmig_pages_count(&pages), 0);
    ck_assert_uint_eq(rmig_pages_next_dirty(&pages, 0, 0, 100), 100);
}
END_TEST

/* --- runs ------------------------------------------------------------------------------------- */

START_TEST(scan__kinds)
{
    guest_init(&guest, 1, 16 * RMIG_PAGE_BYTES);
    guest_fill(&guest, 0, 2, 3, 1);
    memset(guest_page(&guest, 0, 5), 0, 2 * RMIG_PAGE_BYTES);
    guest_fill(&guest, 0, 7, 1, 1);
    start();
    expect(0, 0, 2, true, true);
    expect(0, 2, 3, false, false);
    expect(0, 5, 2, true, false);
    expect(0, 7, 1, false, false);
    expect(0, 8, 8, true, true);
    expect_end();
    ck_assert_uint_eq(rmig_pages_count(&pages), 0);
}
END_TEST

START_TEST(scan__clean_pages_end_a_run)
{
    guest_init(&guest, 2, 16 * RMIG_PAGE_BYTES);
    guest_fill(&guest, 0, 0, 16, 1);
    guest_fill(&guest, 1, 0, 16, 1);
    start();
    clear_all();
    mark(0, 3, 2);
    mark(0, 6, 1);
    mark(1, 15, 1);
    expect(0, 3, 2, false, false);
    expect(0, 6, 1, false, false);
    expect(1, 15, 1, false, false);
    expect_end();
}
END_TEST

START_TEST(scan__data_is_capped_and_zeroes_by_what_is_looked_at)
{
    guest_add(&guest, "m", 12000 * RMIG_PAGE_BYTES, true);
    guest_fill(&guest, 0, 0, 600, 1);
    start();
    expect(0, 0, 256, false, false);
    expect(0, 256, 256, false, false);
    expect(0, 512, 88, false, false);
    expect(0, 600, RMIG_SCAN_AHEAD_PAGES, true, false);
    expect(0, 600 + RMIG_SCAN_AHEAD_PAGES, RMIG_SCAN_AHEAD_PAGES, true, false);
    expect(0, 600 + 2 * RMIG_SCAN_AHEAD_PAGES, 12000 - 600 - 2 * RMIG_SCAN_AHEAD_PAGES, true,
           false);
    expect_end();
}
END_TEST

START_TEST(scan__what_is_known_of_a_file_is_not_used_for_another)
{
    guest_init(&guest, 3, 16 * RMIG_PAGE_BYTES);
    guest_fill(&guest, 0, 0, 16, 1);
    guest_fill(&guest, 2, 0, 16, 1);
    start();
    expect(0, 0, 16, false, false);
    expect(1, 0, 16, true, true);
    expect(2, 0, 16, false, false);
    expect_end();
    ck_assert_uint_eq(guest_allocated_pages(&guest, 1), 0);
}
END_TEST

/* What is dirty later was written, unless it is so much that nobody may have looked. */
START_TEST(scan__a_later_pass_asks_of_long_runs_alone)
{
    guest_init(&guest, 1, 3 * RMIG_SCAN_MARKED_PAGES * RMIG_PAGE_BYTES);
    start();
    clear_all();
    rmig_scan_init(&scan, &pages, false);
    limits = (struct rmig_scan_limits){256, UINT64_MAX};
    mark(0, 0, 1);
    mark(0, 2, RMIG_SCAN_MARKED_PAGES);
    guest_fill(&guest, 0, 1030, 4, 1);
    mark(0, 1030, 4);
    expect(0, 0, 1, true, false);
    expect(0, 2, RMIG_SCAN_MARKED_PAGES, true, true);
    expect(0, 1030, 4, false, false);
    expect_end();
    ck_assert_uint_eq(guest_allocated_pages(&guest, 0), 1 + 4);
    /* whatever is taken at once */
    rmig_scan_init(&scan, &pages, false);
    limits = (struct rmig_scan_limits){1, 300};
    mark(0, 2, RMIG_SCAN_MARKED_PAGES);
    expect(0, 2, 300, true, true);
    expect(0, 302, RMIG_SCAN_MARKED_PAGES - 300, true, true);
    ck_assert_uint_eq(guest_allocated_pages(&guest, 0), 1 + 4);
}
END_TEST

/* The guest writes into a hole that the walk knows, before the walk comes to it. */
START_TEST(scan__a_hole_that_is_written_is_noticed)
{
    guest_init(&guest, 1, 16 * RMIG_PAGE_BYTES);
    start();
    limits.zero_pages = 4;
    expect(0, 0, 4, true, true);
    guest_fill(&guest, 0, 5, 2, 1);
    expect(0, 4, 1, true, true);
    expect(0, 5, 2, false, false);
    guest_fill(&guest, 0, 7, 1, 1);
    expect(0, 7, 1, false, false);
    expect(0, 8, 4, true, true);
    expect(0, 12, 4, true, true);
    expect_end();
    ck_assert_uint_eq(rmig_pages_count(&pages), 0);
}
END_TEST

START_TEST(scan__a_page_marked_ahead_comes_once_behind_later)
{
    guest_init(&guest, 1, 16 * RMIG_PAGE_BYTES);
    guest_fill(&guest, 0, 0, 16, 1);
    start();
    limits.data_pages = 8;
    expect(0, 0, 8, false, false);
    mark(0, 2, 1);
    mark(0, 10, 1);
    expect(0, 8, 8, false, false);
    expect_end();
    ck_assert_uint_eq(rmig_pages_count(&pages), 1);
    rmig_scan_init(&scan, &pages, true);
    expect(0, 2, 1, false, false);
    expect_end();
}
END_TEST

/* The guest writes to the page that is being read, and marks it. */
static void write_and_mark(int signal)
{
    (void)signal;
    mprotect(guest.blocks[0].host, guest.blocks[0].len_bytes, PROT_READ | PROT_WRITE);
    guest_fill(&guest, 0, 0, 1, 2);
    mark(0, 0, 1);
}

/* Pages become clean before they are read: this write came too late for the read, or did not. */
START_TEST(scan__a_page_written_while_it_is_read_comes_again)
{
    struct rmig_found found;

    guest_init(&guest, 1, 4 * RMIG_PAGE_BYTES);
    guest_fill(&guest, 0, 0, 4, 1);
    start();
    ck_assert(signal(SIGSEGV, write_and_mark) != SIG_ERR);
    ck_assert_int_eq(mprotect(guest.blocks[0].host, 4 * RMIG_PAGE_BYTES, PROT_NONE), 0);
    ck_assert(rmig_scan_next(&scan, &limits, &found));
    signal(SIGSEGV, SIG_DFL);
    expect_end();
    ck_assert_uint_eq(rmig_pages_count(&pages), 1);
    rmig_scan_init(&scan, &pages, true);
    expect(0, 0, 1, false, false);
}
END_TEST

START_TEST(scan__what_is_given_back_comes_again)
{
    struct rmig_found found;

    guest_init(&guest, 1, 16 * RMIG_PAGE_BYTES);
    guest_fill(&guest, 0, 0, 16, 1);
    start();
    ck_assert(rmig_scan_next(&scan, &limits, &found));
    rmig_scan_give_back(&scan, &found.run, 3 * RMIG_PAGE_BYTES);
    ck_assert_uint_eq(found.run.len_bytes, 3 * RMIG_PAGE_BYTES);
    ck_assert_uint_eq(rmig_pages_count(&pages), 13);
    expect(0, 3, 13, false, false);
    expect_end();
}
END_TEST

Suite *hooks_scan_suite(void)
{
    Suite *s = suite_create("hooks/scan");
    TCase *tc = tcase_create("scan");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, pages__all_start_dirty);
    tcase_add_test(tc, pages__counted_once);
    tcase_add_test(tc, scan__kinds);
    tcase_add_test(tc, scan__clean_pages_end_a_run);
    tcase_add_test(tc, scan__data_is_capped_and_zeroes_by_what_is_looked_at);
    tcase_add_test(tc, scan__what_is_known_of_a_file_is_not_used_for_another);
    tcase_add_test(tc, scan__a_hole_that_is_written_is_noticed);
    tcase_add_test(tc, scan__a_later_pass_asks_of_long_runs_alone);
    tcase_add_test(tc, scan__a_page_marked_ahead_comes_once_behind_later);
    tcase_add_test(tc, scan__a_page_written_while_it_is_read_comes_again);
    tcase_add_test(tc, scan__what_is_given_back_comes_again);
    suite_add_tcase(s, tc);
    return s;
}
