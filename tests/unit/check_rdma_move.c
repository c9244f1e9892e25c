/* SPDX-License-Identifier: BSD-3-Clause */
/* check_rdma_move.c -- whole moves, source to destination, over the fabric. */
#include "tests/unit/rdma_move.h"
#include "tests/unit/suites.h"

#include <errno.h>

#include "common/clock.h"

#define MIB ((uint64_t)1 << 20)
#define PAGE ((uint64_t)RMIG_PAGE_BYTES)

/* What a stock source is seen to send; see the protocol's page. */
#define STOCK_GRAMMAR "HQEF(F?H(R|w|C)*EF)+F*"
/* With several queue pairs: all but the first end each pass of writes by a mark. */
#define LANES_GRAMMAR "HQEF(F?H(R|w|C)*m{%u}EF)+F*"

static struct move move;
static struct message_log wire;

static const uint64_t lengths[] = { 12 * MIB, 4096, 3 * MIB + 8192, MIB, 65536 };

static void setup(void)
{
    fabric_reset();
}

static void teardown(void)
{
    move_release(&move);
    fabric_reset();
}

/* Dirties scattered pages and a range, other ones each round. */
static void touch_pages(struct move *m, unsigned round)
{
    uint64_t seed = round + 2;

    for (uint32_t b = 0; b < m->from.nblocks; b++) {
        uint64_t npages = m->from.blocks[b].len_bytes / PAGE;

        for (uint64_t p = round % 3; p < npages; p += 5) {
            ram_fill(&m->from, b, p * PAGE, PAGE, seed);
            ck_assert_int_eq(rmig_save_mark_dirty(m->save, b, p * PAGE, PAGE), 0);
        }
    }
    ram_fill(&m->from, 0, 2 * MIB, 3 * MIB, seed + 100);
    ck_assert_int_eq(rmig_save_mark_dirty(m->save, 0, 2 * MIB, 3 * MIB), 0);
}

static void be_pinned(bool pinned, uint32_t nqueue_pairs)
{
    move.source_params.pin_all = pinned;
    move.source_params.nqueue_pairs = nqueue_pairs;
}

static bool is_as_it_should_be(unsigned nqueue_pairs)
{
    char pattern[64];

    snprintf(pattern, sizeof(pattern), LANES_GRAMMAR, nqueue_pairs - 1);
    return message_log_matches(&wire, nqueue_pairs == 1 ? STOCK_GRAMMAR : pattern);
}

START_TEST(move__stopped_guest)
{
    move_init(&move, 5, lengths);
    be_pinned(_i & 1, _i & 2 ? 4 : 1);
    message_log_start(&wire);
    move_run(&move);
    move_was_good(&move);
    ck_assert_msg(is_as_it_should_be(_i & 2 ? 4 : 1), "%s", wire.text);
    ck_assert_uint_eq(move.saved.hook_pages, move.saved.total_ram_bytes / PAGE);
    ck_assert_uint_eq(message_log_count(&wire, 'R') == 0, _i & 1);
}
END_TEST

START_TEST(move__running_guest)
{
    move_init(&move, 5, lengths);
    be_pinned(_i & 1, _i & 2 ? 3 : 1);
    move.nrounds = 4;
    move.touch = touch_pages;
    message_log_start(&wire);
    move_run(&move);
    move_was_good(&move);
    ck_assert_msg(is_as_it_should_be(_i & 2 ? 3 : 1), "%s", wire.text);
    ck_assert_uint_ge(message_log_count(&wire, 'E'), 6);
}
END_TEST

START_TEST(move__one_small_block)
{
    static const uint64_t one[] = { 4096 };

    move_init(&move, 1, one);
    be_pinned(_i & 1, _i & 2 ? 8 : 1);
    move_run(&move);
    move_was_good(&move);
}
END_TEST

/* Zero pages of every length, and pages that become zero, and back, while the guest runs. */
static void touch_zeroes(struct move *m, unsigned round)
{
    uint8_t *ram = m->from.blocks[0].host;

    if (round % 2)
        ram_fill(&m->from, 0, 0, 8 * MIB, round);
    else
        memset(ram, 0, 8 * MIB);
    ck_assert_int_eq(rmig_save_mark_dirty(m->save, 0, 0, 8 * MIB), 0);
    for (uint64_t p = 8 * MIB / PAGE; p < 12 * MIB / PAGE; p += 2) {
        if ((p + round) % 4)
            memset(ram + p * PAGE, 0, PAGE);
        else
            ram_fill(&m->from, 0, p * PAGE, PAGE, round + 50);
        ck_assert_int_eq(rmig_save_mark_dirty(m->save, 0, p * PAGE, PAGE), 0);
    }
}

START_TEST(move__pages_that_become_zero_and_back)
{
    move_init(&move, 5, lengths);
    be_pinned(_i & 1, _i & 2 ? 4 : 1);
    memset((uint8_t *)move.from.blocks[0].host + MIB, 0, 6 * MIB);
    move.nrounds = 5;
    move.touch = touch_zeroes;
    message_log_start(&wire);
    move_run(&move);
    move_was_good(&move);
    ck_assert_uint_gt(move.saved.zero_pages, 0);
}
END_TEST

START_TEST(move__all_zero_guest_over_a_dirty_destination)
{
    move_init(&move, 5, lengths);
    for (uint32_t b = 0; b < 5; b++)
        memset(move.from.blocks[b].host, 0, lengths[b]);
    be_pinned(_i & 1, 1);
    message_log_start(&wire);
    move_run(&move);
    move_was_good(&move);
    ck_assert_uint_eq(move.saved.zero_pages, move.saved.total_ram_bytes / PAGE);
    ck_assert_uint_eq(wire.write_bytes, 0);
}
END_TEST

/* The blocks come in another order here: matched by name. */
START_TEST(move__blocks_in_another_order)
{
    struct rmig_block b;

    move_init(&move, 5, lengths);
    be_pinned(_i & 1, 1);
    b = move.to.blocks[0];
    move.to.blocks[0] = move.to.blocks[2];
    move.to.blocks[2] = move.to.blocks[4];
    move.to.blocks[4] = b;
    move_run(&move);
    b = move.to.blocks[4];
    move.to.blocks[4] = move.to.blocks[2];
    move.to.blocks[2] = move.to.blocks[0];
    move.to.blocks[0] = b;
    move_was_good(&move);
}
END_TEST

START_TEST(move__slow_completions)
{
    move_init(&move, 5, lengths);
    be_pinned(_i & 1, _i & 2 ? 3 : 1);
    move.nrounds = 2;
    move.touch = touch_pages;
    fabric_set_delay_ms(2);
    move_run(&move);
    move_was_good(&move);
}
END_TEST

START_TEST(move__small_send_queue)
{
    static const uint32_t sizes[] = { 9, 12, 24 };

    move_init(&move, 5, lengths);
    be_pinned(true, 2);
    fabric_set_limits(FABRIC_ACTIVE, sizes[_i], UINT64_MAX);
    move.nrounds = 1;
    move.touch = touch_pages;
    move_run(&move);
    move_was_good(&move);
}
END_TEST

/* Figures of both ends against those of the devices. */
START_TEST(stats__are_those_of_the_devices)
{
    struct fabric_counts source, dest;

    move_init(&move, 5, lengths);
    be_pinned(_i & 1, 1);
    move.nrounds = 2;
    move.touch = touch_pages;
    move_run(&move);
    move_was_good(&move);
    fabric_get_counts(FABRIC_ACTIVE, &source);
    fabric_get_counts(FABRIC_PASSIVE, &dest);
    ck_assert_uint_eq(move.source_stats.write_bytes, source.write_bytes);
    ck_assert_uint_eq(move.source_stats.control_messages, source.sends);
    ck_assert_uint_eq(move.dest_stats.control_messages, dest.sends);
    ck_assert_uint_ge(move.source_stats.write_wrs, source.writes);
    ck_assert_uint_eq(move.source_stats.pinned_bytes, 0);
    ck_assert_uint_eq(move.dest_stats.pinned_bytes, 0);
    ck_assert_uint_eq(move.source_stats.peak_pinned_bytes, source.peak_registered_bytes);
    ck_assert_uint_eq(move.dest_stats.peak_pinned_bytes, dest.peak_registered_bytes);
    ck_assert_uint_gt(source.signalled_writes, 0);
    ck_assert_uint_lt(source.signalled_writes, source.writes / 4);
}
END_TEST

/* --- what does not fit ------------------------------------------------------------------------ */

START_TEST(move__block_of_another_length_or_name_fails)
{
    static const uint64_t shorter[] = { 12 * MIB, 4096, 3 * MIB, MIB, 65536 };
    struct ram other;

    move_init(&move, 5, lengths);
    if (_i == 0) {
        ram_release(&move.to);
        ram_init(&other, 5, shorter);
        move.to = other;
    } else {
        move.to.blocks[1].name = "other";
    }
    move_run(&move);
    ck_assert_failed(move.dest_err.code, -EPROTO, &move.dest_err, _i ? "block1" : "RAM");
    ck_assert_int_lt(move.source_err.code, 0);
    if (_i)
        move.to.blocks[1].name = "block1";
    move_failed_cleanly(&move);
}
END_TEST

START_TEST(move__source_that_cannot_pin_all_fails_at_both_ends)
{
    move_init(&move, 5, lengths);
    be_pinned(true, 1);
    fabric_set_pin_limit(_i ? FABRIC_ACTIVE : FABRIC_PASSIVE, RMIG_CTRL_PINNED_BYTES + 2 * MIB);
    move_run(&move);
    ck_assert_int_lt(move.source_err.code, 0);
    ck_assert_int_lt(move.dest_err.code, 0);
    ck_assert_int_eq(_i ? move.source_err.code : move.dest_err.code, -ENOMEM);
    move_failed_cleanly(&move);
}
END_TEST

/* With all of RAM in place: only that no READY came behind the end of sections tells the source. */
START_TEST(move__destination_that_refuses_a_section_fails_at_both_ends)
{
    move_init(&move, 5, lengths);
    be_pinned(_i, 1);
    move.refuse_section = true;
    move_run(&move);
    ck_assert_failed(move.dest_err.code, -EBADMSG, &move.dest_err, "not wanted");
    ck_assert_int_lt(move.source_err.code, 0);
    move_failed_cleanly(&move);
}
END_TEST

static void add_good(Suite *suite)
{
    TCase *good = tcase_create("good");

    suite_add_tcase(suite, good);
    tcase_add_checked_fixture(good, setup, teardown);
    tcase_set_timeout(good, 30);
    tcase_add_loop_test(good, move__stopped_guest, 0, 4);
    tcase_add_loop_test(good, move__running_guest, 0, 4);
    tcase_add_loop_test(good, move__one_small_block, 0, 4);
    tcase_add_loop_test(good, move__pages_that_become_zero_and_back, 0, 4);
    tcase_add_loop_test(good, move__all_zero_guest_over_a_dirty_destination, 0, 2);
    tcase_add_loop_test(good, move__blocks_in_another_order, 0, 2);
    tcase_add_loop_test(good, move__slow_completions, 0, 4);
    tcase_add_loop_test(good, move__small_send_queue, 0, 3);
    tcase_add_loop_test(good, stats__are_those_of_the_devices, 0, 2);
}

Suite *rdma_move_suite(void)
{
    Suite *suite = suite_create("rdma/move");
    TCase *bad = tcase_create("bad");

    add_good(suite);
    suite_add_tcase(suite, bad);
    tcase_add_checked_fixture(bad, setup, teardown);
    tcase_set_timeout(bad, 30);
    tcase_add_loop_test(bad, move__block_of_another_length_or_name_fails, 0, 2);
    tcase_add_loop_test(bad, move__source_that_cannot_pin_all_fails_at_both_ends, 0, 2);
    tcase_add_loop_test(bad, move__destination_that_refuses_a_section_fails_at_both_ends, 0, 2);
    return suite;
}
