/* SPDX-License-Identifier: BSD-3-Clause */
/* check_rdma_budget.c -- moves within a pin budget of either end, and the destination's side of it. */
#include <errno.h>

#include "tests/unit/dest_side.h"
#include "tests/unit/rdma_move.h"
#include "tests/unit/suites.h"

#define PAGE ((uint64_t)RMIG_PAGE_BYTES)

/* --- whole moves ------------------------------------------------------------------------------ */

static struct move move;

static const uint64_t move_lengths[] = { 24 * MIB, 4096, 3 * MIB + 8192, MIB };

static void teardown_move(void)
{
    move_release(&move);
    fabric_reset();
}

/* Pages all over RAM, and a long range: what has lost its place is needed again. */
static void touch_pages(struct move *m, unsigned round)
{
    for (uint32_t b = 0; b < m->from.nblocks; b++) {
        uint64_t npages = m->from.blocks[b].len_bytes / PAGE;

        for (uint64_t p = round; p < npages; p += 171) {
            ram_fill(&m->from, b, p * PAGE, PAGE, round + 2);
            ck_assert_int_eq(rmig_save_mark_dirty(m->save, b, p * PAGE, PAGE), 0);
        }
    }
    ram_fill(&m->from, 0, 5 * MIB - PAGE, 4 * MIB, round + 100);
    ck_assert_int_eq(rmig_save_mark_dirty(m->save, 0, 5 * MIB - PAGE, 4 * MIB), 0);
}

static const struct {
    uint64_t source_bytes, dest_bytes;
    unsigned nqueue_pairs;
} budgets[] = {
    { MIB, 0, 1 },       { 0, MIB, 1 },           { 4096, 4096, 1 },   { 3 * MIB, 3 * MIB, 1 },
    { 0, 8 * MIB, 1 },   { 8 * MIB, 0, 1 },       { 2 * MIB, 8 * MIB, 1 }, { 8 * MIB, 2 * MIB + 1, 1 },
    { 5 * MIB, 0, 3 },   { 0, 5 * MIB, 3 },       { MIB, MIB, 3 },     { 20 * MIB, 27 * MIB, 4 },
    { 64 * MIB, 0, 1 },  { 0, 64 * MIB, 1 },
};
#define NBUDGETS ((int)(sizeof(budgets) / sizeof(budgets[0])))

static void within(uint64_t peak_pinned_bytes, uint64_t budget_bytes)
{
    if (budget_bytes)
        ck_assert_uint_le(peak_pinned_bytes,
                          RMIG_CTRL_PINNED_BYTES + (budget_bytes > MIB ? budget_bytes : MIB));
}

START_TEST(move__budget_is_kept_at_each_end)
{
    move_init(&move, 4, move_lengths);
    move.source_params.pin_budget_bytes = budgets[_i].source_bytes;
    move.dest_params.pin_budget_bytes = budgets[_i].dest_bytes;
    move.source_params.nqueue_pairs = budgets[_i].nqueue_pairs;
    move.nrounds = 3;
    move.touch = touch_pages;
    move.limit_ms = 60000;
    move_run(&move);
    move_was_good(&move);
    within(move.source_stats.peak_pinned_bytes, budgets[_i].source_bytes);
    within(move.dest_stats.peak_pinned_bytes, budgets[_i].dest_bytes);
    /* what the destination has no limit for it keeps: each chunk is asked for once */
    if (!budgets[_i].dest_bytes)
        ck_assert_uint_le(move.dest_stats.registrations, 24 + 1 + 4 + 1);
}
END_TEST

START_TEST(move__pin_all_needs_a_budget_for_all)
{
    move_init(&move, 4, move_lengths);
    move.source_params.pin_all = true;
    move.source_params.pin_budget_bytes = _i ? 29 * MIB : 28 * MIB;
    move_run(&move);
    if (_i) {
        move_was_good(&move);
        return;
    }
    move_failed_cleanly(&move);
    ck_assert_failed(move.source_err.code, -EDQUOT, &move.source_err, "budget is 28.0 MiB");
}
END_TEST

/* A device that can fault pages in pins no guest RAM, under any limit; in mixed company each side has its way. */
START_TEST(move__on_demand_pins_nothing)
{
    uint64_t most[2];

    move_init(&move, 4, move_lengths);
    move.source_params.flags = _i & 1 ? RMIG_TRANSPORT_ON_DEMAND : 0;
    move.dest_params.flags = _i & 2 ? RMIG_TRANSPORT_ON_DEMAND : 0;
    move.source_params.pin_all = _i & 4;
    move.source_params.pin_budget_bytes = _i & 1 ? MIB : 0;
    move_run(&move);
    move_was_good(&move);
    most[0] = move.source_stats.peak_pinned_bytes - RMIG_CTRL_PINNED_BYTES;
    most[1] = move.dest_stats.peak_pinned_bytes - RMIG_CTRL_PINNED_BYTES;
    ck_assert_uint_eq(most[0], _i & 1 ? 0 : move.saved.total_ram_bytes);
    ck_assert_uint_eq(most[1], _i & 2 ? 0 : move.saved.total_ram_bytes);
    ck_assert_uint_gt(move.dest_stats.registrations, 0);
}
END_TEST

/* --- the destination -------------------------------------------------------------------------- */

static void with_budget(uint64_t budget_bytes)
{
    f.params.pin_budget_bytes = budget_bytes;
    ready_to_serve(RMIG_WIRE_FLAG_MULTI_REGISTER | RMIG_WIRE_FLAG_PIN_BUDGET);
}

static void say_unregister(uint32_t index, uint64_t ram_addr, uint64_t extra_chunks)
{
    struct rmig_wire_register reg = { ram_addr, index, extra_chunks };
    uint8_t record[RMIG_WIRE_REGISTER_BYTES];

    rmig_wire_encode_register(record, &reg);
    say(RMIG_WIRE_UNREGISTER_REQUEST, 1, record, sizeof(record));
}

static void hear_unregistered(void)
{
    struct raw_msg msg;

    ck_assert_int_eq(raw_expect(f.peer, RMIG_WIRE_UNREGISTER_FINISHED, &msg), 0);
    ck_assert_uint_eq(msg.len_bytes, 0);
    ck_assert_uint_eq(msg.repeat, 1);
}

START_TEST(accept__tells_its_budget_to_who_asks)
{
    struct rmig_wire_private told_private;
    bool asks = _i & 1, has = _i & 2;

    f.params.pin_budget_bytes = has ? 5 * MIB : 0;
    connect_with(asks ? RMIG_WIRE_FLAG_PIN_BUDGET : 0);
    ck_assert_done(rmig_wire_decode_private(raw_private(f.peer)->private_data,
                                            raw_private(f.peer)->private_data_len_bytes,
                                            &told_private, &err),
                   &err);
    ck_assert_uint_eq(told_private.flags, asks && has ? RMIG_WIRE_FLAG_PIN_BUDGET : 0);
    ck_assert_uint_eq(told_private.pin_budget_bytes, asks && has ? 5 * MIB : 0);
}
END_TEST

START_TEST(accept__tells_a_budget_of_a_chunk_at_least)
{
    struct rmig_wire_private told_private;

    f.params.pin_budget_bytes = 4096;
    connect_with(RMIG_WIRE_FLAG_PIN_BUDGET);
    ck_assert_done(rmig_wire_decode_private(raw_private(f.peer)->private_data,
                                            raw_private(f.peer)->private_data_len_bytes,
                                            &told_private, &err),
                   &err);
    ck_assert_uint_eq(told_private.pin_budget_bytes, MIB);
}
END_TEST

/* One that was not agreed on is no mistake of the source: register__beyond_the_pin_budget_is_refused. */
START_TEST(register__beyond_an_agreed_budget_is_EPROTO)
{
    with_budget(2 * MIB);
    if (_i) {
        say_register(1, told[1].ram_addr, 2);
    } else {
        for (uint64_t c = 0; c < 2; c++) {
            say_register(1, told[1].ram_addr + c * MIB, 0);
            hear_result();
        }
        say_register(1, told[1].ram_addr + 2 * MIB, 0);
    }
    ended_with(-EPROTO, "pin budget of 2 MiB");
}
END_TEST

START_TEST(unregister__closes_the_chunk_and_makes_room)
{
    struct rmig_wire_result first, second;

    with_budget(MIB);
    say_register(1, told[1].ram_addr, 0);
    first = hear_result();
    say_unregister(1, told[1].ram_addr + 4096, 0); /* anywhere in the chunk */
    hear_unregistered();
    say_register(1, told[1].ram_addr + 3 * MIB, 0);
    second = hear_result();
    ck_assert_int_eq(raw_write(f.peer, "x", 1, host_of(1) + 3 * MIB, second.rkey), IBV_WC_SUCCESS);
    ck_assert_int_eq(raw_write(f.peer, "x", 1, host_of(1), first.rkey), IBV_WC_REM_ACCESS_ERR);
    ended_with(-ECONNRESET, "hung up");
}
END_TEST

START_TEST(unregister__what_is_no_region_is_EPROTO)
{
    with_budget(6 * MIB);
    say_register(1, told[1].ram_addr + MIB, 1);
    hear_result();
    switch (_i) {
    case 0: /* nothing there */
        say_unregister(1, told[1].ram_addr, 0);
        break;
    case 1: /* a part of a region, from its begin or not */
        say_unregister(1, told[1].ram_addr + MIB, 0);
        break;
    case 2:
        say_unregister(1, told[1].ram_addr + 2 * MIB, 0);
        break;
    case 3: /* more than the region */
        say_unregister(1, told[1].ram_addr + MIB, 2);
        break;
    case 4: /* twice */
        say_unregister(1, told[1].ram_addr + MIB, 1);
        hear_unregistered();
        say_unregister(1, told[1].ram_addr + MIB, 1);
        break;
    }
    ended_with(-EPROTO, "UNREGISTER_REQUEST: RAM block block0: chunks");
}
END_TEST

START_TEST(unregister__outside_the_block_is_EPROTO)
{
    static const struct {
        uint32_t index;
        uint64_t offset, extra_chunks;
    } bad[] = { { 3, 0, 0 }, { 1, 6 * MIB, 0 }, { 1, 0, 6 }, { 1, MIB, UINT64_MAX },
                { 1, UINT64_MAX, 0 } };

    with_budget(6 * MIB);
    say_unregister(bad[_i].index, told[1].ram_addr + bad[_i].offset, bad[_i].extra_chunks);
    ended_with(-EPROTO, "UNREGISTER_REQUEST: ");
}
END_TEST

START_TEST(unregister__that_was_not_agreed_is_EPROTO)
{
    f.params.pin_budget_bytes = _i ? 0 : MIB;
    ready_to_serve(_i ? RMIG_WIRE_FLAG_PIN_BUDGET : 0);
    say_register(1, told[1].ram_addr, 0);
    hear_result();
    say_unregister(1, told[1].ram_addr, 0);
    ended_with(-EPROTO, "sent UNREGISTER_REQUEST where only");
}
END_TEST

Suite *rdma_budget_suite(void)
{
    Suite *suite = suite_create("rdma/budget");
    TCase *moves = tcase_create("moves"), *dest_case = tcase_create("destination");

    suite_add_tcase(suite, moves);
    tcase_add_checked_fixture(moves, fabric_reset, teardown_move);
    tcase_set_timeout(moves, 120);
    tcase_add_loop_test(moves, move__budget_is_kept_at_each_end, 0, NBUDGETS);
    tcase_add_loop_test(moves, move__pin_all_needs_a_budget_for_all, 0, 2);
    tcase_add_loop_test(moves, move__on_demand_pins_nothing, 0, 8);
    suite_add_tcase(suite, dest_case);
    tcase_add_checked_fixture(dest_case, setup, teardown);
    tcase_add_loop_test(dest_case, accept__tells_its_budget_to_who_asks, 0, 4);
    tcase_add_test(dest_case, accept__tells_a_budget_of_a_chunk_at_least);
    tcase_add_loop_test(dest_case, register__beyond_an_agreed_budget_is_EPROTO, 0, 2);
    tcase_add_test(dest_case, unregister__closes_the_chunk_and_makes_room);
    tcase_add_loop_test(dest_case, unregister__what_is_no_region_is_EPROTO, 0, 5);
    tcase_add_loop_test(dest_case, unregister__outside_the_block_is_EPROTO, 0, 5);
    tcase_add_loop_test(dest_case, unregister__that_was_not_agreed_is_EPROTO, 0, 2);
    return suite;
}
