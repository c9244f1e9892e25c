/* SPDX-License-Identifier: BSD-3-Clause */
/* check_rdma_writes.c -- the source's writes: order, flow and failures; a destination that goes away. */
#include <errno.h>

#include "tests/unit/source_side.h"

/* --- writes ----------------------------------------------------------------------------------- */

START_TEST(drain__finished_is_said_after_every_write_is_complete)
{
    begin(agreements[_i]);
    fabric_set_delay_ms(30);
    must_save(0, 0, 8 * MIB);
    end();
    ck_assert_uint_ge(wire.last_finished_ns - wire.last_write_ns, 30 * RMIG_NS_PER_MS);
    ck_assert_int_eq(wire.text[wire.length - 1], 'E');
}
END_TEST

START_TEST(save__few_writes_are_signalled)
{
    begin(agreements[_i]);
    for (uint64_t p = 0; p < lengths[0] / PAGE; p += 2) /* nothing merges */
        must_save(0, p * PAGE, PAGE);
    end();
    ck_assert_uint_eq(counts().writes, lengths[0] / PAGE / 2);
    ck_assert_uint_gt(counts().signalled_writes, 0);
    ck_assert_uint_le(counts().signalled_writes, counts().writes / 15 + 1);
    ck_assert_uint_eq(source.write_wrs, counts().writes + counts().empty_writes);
    ck_assert_uint_le(counts().empty_writes, 1);
}
END_TEST

START_TEST(save__writes_are_posted_in_chains)
{
    begin(RMIG_WIRE_FLAG_PIN_ALL);
    for (uint64_t p = 0; p < lengths[0] / PAGE; p += 2)
        must_save(0, p * PAGE, PAGE);
    end();
    ck_assert_uint_gt(counts().largest_post, 8);
    ck_assert_uint_le(counts().doorbells, counts().writes / 8);
    ck_assert_uint_eq(source.doorbells, counts().doorbells - counts().sends);
}
END_TEST

/* With all pinned nothing but writes is posted; else requests for keys go in between. */
START_TEST(save__the_send_queue_never_overflows)
{
    static const uint32_t sizes[] = { 9, 10, 17, 20, 40, 512 };
    const uint32_t size = sizes[_i / 2];
    const uint64_t step = _i % 2 ? 2 * PAGE : MIB / 8;

    fabric_set_limits(FABRIC_ACTIVE, size, UINT64_MAX);
    begin(_i % 2 ? RMIG_WIRE_FLAG_PIN_ALL : 0);
    fabric_set_delay_ms(1);
    for (uint64_t at = 0; at < 190 * step; at += step)
        must_save(0, at, PAGE);
    end();
    ck_assert_uint_le(counts().deepest_queue, size);
    for (uint64_t at = 0; at < 190 * step; at += step)
        ck_assert_mem_eq((uint8_t *)copy.blocks[0].host + at, (uint8_t *)ram.blocks[0].host + at,
                         PAGE);
}
END_TEST

static const int statuses[] = {
    IBV_WC_LOC_LEN_ERR,     IBV_WC_LOC_QP_OP_ERR, IBV_WC_LOC_PROT_ERR,
    IBV_WC_REM_INV_REQ_ERR, IBV_WC_REM_ACCESS_ERR, IBV_WC_REM_OP_ERR,
    IBV_WC_RETRY_EXC_ERR,   IBV_WC_RNR_RETRY_EXC_ERR, IBV_WC_GENERAL_ERR,
};
#define NSTATUSES ((int)(sizeof(statuses) / sizeof(statuses[0])))

START_TEST(save__failed_write_is_told_with_its_status)
{
    int rc;

    begin(RMIG_WIRE_FLAG_MULTI_REGISTER);
    fabric_fail_wr(FABRIC_ACTIVE, FABRIC_WRITE, 3, statuses[_i], 0x4242);
    rc = save(0, 0, lengths[0]);
    if (rc >= 0)
        rc = rmig_rdma_source_after(&source, RMIG_HOOK_ROUND, &err);
    ck_assert_failed(rc, -EIO, &err, rmig_rdma_verbs_status_text(statuses[_i]));
    ck_assert_ptr_nonnull(strstr(err.msg, "0x4242"));
    ck_assert_uint_eq(message_log_count(&wire, 'E'), 1); /* that of the exchange alone */
    ck_assert_int_eq(save(0, 0, PAGE) < 0 ? -1
                     : rmig_rdma_source_after(&source, RMIG_HOOK_ROUND, NULL) < 0 ? -1
                                                                                 : 0,
                     -1); /* and for good */
}
END_TEST

#define FAILING_EACH 6

START_TEST(save__failing_call_is_told)
{
    static const enum api calls[] = { API_post_send, API_reg_mr, API_post_recv, API_poll_cq,
                                      API_req_notify_cq };
    enum api call = calls[_i / FAILING_EACH];
    struct call_failure failure = failure_of(call);
    int rc = 0;

    begin(0);
    fabric_fail_call(FABRIC_ACTIVE, call, (uint64_t)(1 + _i % FAILING_EACH), ENOSPC);
    for (uint64_t c = 0; rc >= 0 && c < 24; c += 2)
        rc = save(0, c * MIB, MIB);
    if (rc >= 0)
        rc = rmig_rdma_source_after(&source, RMIG_HOOK_ROUND, &err);
    if (call == API_req_notify_cq && rc >= 0)
        return; /* with a destination that is always ahead it may never have to wait */
    ck_assert_failed(rc, failure.rc, &err, failure.says);
}
END_TEST

/* A stock destination keeps all that was registered: only this side gives up. */
START_TEST(budget__of_this_side_is_kept)
{
    f.params.pin_budget_bytes = 5 * MIB;
    begin(_i ? RMIG_WIRE_FLAG_MULTI_REGISTER : 0);
    for (unsigned pass = 0; pass < 3; pass++) {
        must_save(0, 0, 20 * MIB);
        must_save(2, 0, lengths[2]);
        must_save(0, 22 * MIB, PAGE);
        end();
        ck_assert_uint_le(source.local.peak_pinned_bytes, 5 * MIB);
    }
    ck_assert_mem_eq(copy.blocks[0].host, ram.blocks[0].host, 20 * MIB);
    ck_assert_mem_eq(copy.blocks[2].host, ram.blocks[2].host, lengths[2]);
    ck_assert_uint_eq(dest.most_chunks, 25); /* each asked for once */
    ck_assert_uint_ge(source.local.registrations, 3 * (25 - 5));
}
END_TEST

START_TEST(budget__of_the_destination_is_kept)
{
    f.peer_pin_budget_bytes = (uint64_t)(_i + 1) * MIB;
    begin(RMIG_WIRE_FLAG_MULTI_REGISTER | RMIG_WIRE_FLAG_PIN_BUDGET);
    for (unsigned pass = 0; pass < 3; pass++) {
        must_save(0, 0, 20 * MIB);
        must_save(2, 0, lengths[2]);
        must_save(0, 22 * MIB, PAGE);
        end();
    }
    ck_assert_uint_le(dest.most_chunks, (unsigned)_i + 1);
    ck_assert_uint_gt(dest.nunregister, 0);
    ck_assert_mem_eq(copy.blocks[0].host, ram.blocks[0].host, 20 * MIB);
    ck_assert_mem_eq(copy.blocks[2].host, ram.blocks[2].host, lengths[2]);
}
END_TEST

static bool miscount(struct raw_dest *d, struct raw_answer *answer)
{
    (void)d;
    if (answer->type == RMIG_WIRE_UNREGISTER_FINISHED)
        answer->repeat++;
    return true;
}

START_TEST(budget__answer_for_other_chunks_is_EPROTO)
{
    int rc;

    f.peer_pin_budget_bytes = 4 * MIB;
    begin(RMIG_WIRE_FLAG_MULTI_REGISTER | RMIG_WIRE_FLAG_PIN_BUDGET);
    dest.tamper = miscount;
    rc = save(0, 0, 20 * MIB);
    ck_assert_failed(rc, -EPROTO, &err, "UNREGISTER_FINISHED: for ");
}
END_TEST

/* The destination may not write here, whatever key it uses. */
START_TEST(save__destination_cannot_write_to_the_source)
{
    const struct rmig_rdma_region *region;

    begin(agreements[_i]);
    must_save(0, 0, 20 * MIB);
    end();
    region = rmig_rdma_chunks_find(&source.local, 0, 0);
    ck_assert_ptr_nonnull(region);
    ck_assert_int_eq(
        raw_write(f.peer, "x", 1, (uintptr_t)ram.blocks[0].host, region->mr.rkey),
        IBV_WC_REM_ACCESS_ERR);
}
END_TEST

/* --- lanes ------------------------------------------------------------------------------------ */

START_TEST(lanes__memory_arrives_whole)
{
    f.params.nqueue_pairs = (uint32_t)_i;
    begin(RMIG_WIRE_FLAG_LANES | RMIG_WIRE_FLAG_MULTI_REGISTER);
    ck_assert_uint_eq(f.conn.pump.nlanes, (unsigned)_i);
    fabric_set_delay_ms(1);
    for (uint32_t b = 0; b < 3; b++)
        must_save(b, 0, lengths[b]);
    end();
    ck_assert(ram_equal(&ram, &copy));
    for (int lane = 0; lane < _i; lane++) {
        ck_assert_uint_gt(source.lanes[lane].posted, 0);
        ck_assert_uint_eq(source.lanes[lane].posted, source.lanes[lane].completed);
    }
}
END_TEST

START_TEST(lanes__failed_write_on_any_is_told)
{
    int rc;

    f.params.nqueue_pairs = 4;
    begin(RMIG_WIRE_FLAG_LANES | RMIG_WIRE_FLAG_MULTI_REGISTER);
    fabric_fail_wr(FABRIC_ACTIVE, FABRIC_WRITE, (uint64_t)_i + 1, IBV_WC_REM_ACCESS_ERR, 1);
    rc = save(0, 0, lengths[0]);
    if (rc >= 0)
        rc = rmig_rdma_source_after(&source, RMIG_HOOK_ROUND, &err);
    ck_assert_failed(rc, -EIO, &err, "queue pair");
}
END_TEST

/* --- a destination that goes away ------------------------------------------------------------- */

static unsigned until_gone;

/* Answers some messages and then is gone, in one of three ways. */
static bool go_away(struct raw_dest *d, struct raw_answer *answer)
{
    (void)answer;
    if (until_gone-- > 0)
        return true;
    d->silent = true;
    switch (*(int *)d->opaque) {
    case 0:
        ck_assert_int_eq(raw_disconnect(d->peer), 0);
        break;
    case 1:
        fabric_black_hole();
        break;
    default:
        ck_assert_int_eq(raw_say(d->peer, RMIG_WIRE_ERROR, 1, NULL, 0), 0);
        break;
    }
    return false;
}

START_TEST(save__destination_that_goes_away_is_noticed)
{
    static const int wanted[] = { -ECONNRESET, -EIO, -ECONNABORTED };
    int way = _i % 3, rc;
    uint64_t began = rmig_now_ns();

    f.params.dead_peer_ms = _i == 1 ? 0 : 150; /* once as it is by default */
    connect_with(0);
    until_gone = (unsigned)_i / 3;
    dest.tamper = go_away;
    dest.opaque = &way;
    rc = exchange();
    if (rc == 0)
        rc = rmig_rdma_source_before(&source, RMIG_HOOK_ROUND, &err);
    for (uint64_t c = 0; rc >= 0 && c < 24; c += 2)
        rc = save(0, c * MIB, MIB);
    if (rc >= 0)
        rc = rmig_rdma_source_after(&source, RMIG_HOOK_ROUND, &err);
    if (rc >= 0)
        rc = rmig_rdma_source_before(&source, RMIG_HOOK_ROUND, &err);
    ck_assert_failed(rc, wanted[way], &err, "");
    ck_assert_uint_lt(rmig_now_ns() - began, (2000 + slack_ms()) * RMIG_NS_PER_MS);
}
END_TEST

START_TEST(save__cancel_ends_it)
{
    int rc;

    begin(0);
    fabric_set_delay_ms(1); /* it is looked at where something is waited for */
    rmig_cancel_trigger(cancel);
    rc = save(0, 0, lengths[0]);
    if (rc >= 0)
        rc = rmig_rdma_source_after(&source, RMIG_HOOK_ROUND, &err);
    ck_assert_failed(rc, -ECANCELED, &err, "cancelled");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rdma/writes");
    TCase *writes = tcase_create("writes"), *lanes = tcase_create("lanes");
    TCase *gone = tcase_create("gone");
    TCase *all[] = { writes, lanes, gone };

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        suite_add_tcase(suite, all[i]);
        tcase_add_checked_fixture(all[i], setup, teardown);
    }
    tcase_add_loop_test(writes, drain__finished_is_said_after_every_write_is_complete, 0, 4);
    tcase_add_loop_test(writes, save__few_writes_are_signalled, 0, 4);
    tcase_add_test(writes, save__writes_are_posted_in_chains);
    tcase_add_loop_test(writes, save__the_send_queue_never_overflows, 0, 12);
    tcase_add_loop_test(writes, save__failed_write_is_told_with_its_status, 0, NSTATUSES);
    tcase_add_loop_test(writes, save__failing_call_is_told, 0, 5 * FAILING_EACH);
    tcase_add_loop_test(writes, budget__of_this_side_is_kept, 0, 2);
    tcase_add_loop_test(writes, budget__of_the_destination_is_kept, 0, 6);
    tcase_add_test(writes, budget__answer_for_other_chunks_is_EPROTO);
    tcase_add_loop_test(writes, save__destination_cannot_write_to_the_source, 0, 4);
    tcase_add_loop_test(lanes, lanes__memory_arrives_whole, 2, RMIG_WIRE_LANES_MAX + 1);
    tcase_add_loop_test(lanes, lanes__failed_write_on_any_is_told, 0, 8);
    tcase_add_loop_test(gone, save__destination_that_goes_away_is_noticed, 0, 30);
    tcase_add_test(gone, save__cancel_ends_it);
    return suite_run(suite);
}
