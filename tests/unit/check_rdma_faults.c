/* SPDX-License-Identifier: BSD-3-Clause */
/* check_rdma_faults.c -- whole moves in which one thing goes wrong: no hang, no lie, nothing left. */
#include "tests/unit/rdma_move.h"

#include <errno.h>

#include "common/clock.h"

#define MIB ((uint64_t)1 << 20)
#define PAGE ((uint64_t)RMIG_PAGE_BYTES)

static struct move move;
static uint64_t fault_ns;

static const uint64_t lengths[] = { 6 * MIB, 4096, MIB + 8192 };

static void setup(void)
{
    fabric_reset();
}

static void teardown(void)
{
    fabric_reset();
}

static void touch_pages(struct move *m, unsigned round)
{
    ram_fill(&m->from, 0, 2 * MIB, MIB, round + 5);
    ck_assert_int_eq(rmig_save_mark_dirty(m->save, 0, 2 * MIB, MIB), 0);
    for (uint64_t p = 0; p < 40; p += 2) {
        ram_fill(&m->from, 0, p * PAGE, PAGE, round + 9);
        ck_assert_int_eq(rmig_save_mark_dirty(m->save, 0, p * PAGE, PAGE), 0);
    }
}

/* A short move with everything in it. how: bit 0 pin-all, bit 1 several queue pairs. */
static void prepare(unsigned how)
{
    move_init(&move, 3, lengths);
    memset((uint8_t *)move.from.blocks[0].host + MIB, 0, 4 * MIB); /* a COMPRESS */
    move.source_params.pin_all = how & 1;
    move.source_params.nqueue_pairs = how & 2 ? 3 : 1;
    move.source_params.device = move.dest_params.device = "fab0";
    move.source_params.dead_peer_ms = move.dest_params.dead_peer_ms = 400;
    move.nrounds = 2;
    move.touch = touch_pages;
}

/* Good at both ends, or a clean failure; and no source that believes in a move that failed. */
static void outcome_is_honest(void)
{
    if (move.source_err.code == 0 && move.dest_err.code == 0) {
        move_was_good(&move);
        return;
    }
    ck_assert_msg(move.source_err.code, "the source reports success, the destination: %s",
                  move.dest_err.msg);
    move_failed_cleanly(&move);
}

/* RMIG_FAULT_STEP: every how many occurrences one is made to fail; 1, all of them, if it is not set. */
static uint64_t step(void)
{
    const char *text = getenv("RMIG_FAULT_STEP");
    char *end = NULL;
    unsigned long value = text ? strtoul(text, &end, 10) : 1;

    ck_assert_msg(value > 0 && value < 1000 && (!text || !*end),
                  "RMIG_FAULT_STEP=%s is not a number from 1 to 999", text);
    return value;
}

/* The last message of a destination that has everything is sent as well as it can be: it, and what waits for its
 * delivery, may fail without harm to the destination. A source that waited for it has failed, then. */
static bool is_last_ready(enum fabric_side side, uint64_t k, uint64_t sends)
{
    return side == FABRIC_PASSIVE && k == sends && move.dest_err.code == 0;
}

static uint64_t posted(enum fabric_side side, enum fabric_wr_kind kind)
{
    struct fabric_counts c;

    fabric_get_counts(side, &c);
    return kind == FABRIC_SEND ? c.sends
           : kind == FABRIC_RECV ? c.recvs
                                  : c.writes + c.empty_writes;
}

/* --- failing calls ---------------------------------------------------------------------------- */

/* The calls that are made over and over: a sample of their occurrences. */
static uint64_t next_k(enum api call, uint64_t k)
{
    if (call != API_poll_cq && call != API_req_notify_cq && call != API_get_cq_event)
        return k + step();
    return k < 8 ? k + step() : k + k / 4 + step() - 1;
}

static void every_call_fails_once(enum fabric_side side, enum api call, unsigned how)
{
    unsigned fds = count_fds();
    uint64_t k, next = 1, used;

    if (is_release(call))
        return;
    do {
        char what[64];

        k = next;
        fabric_reset();
        prepare(how);
        if (call == API_req_notify_cq || call == API_get_cq_event)
            fabric_set_delay_ms(1); /* so that there is something to wait for */
        fabric_fail_call(side, call, k, ENOSPC);
        move_run(&move);
        used = fabric_calls(side, call);
        snprintf(what, sizeof(what), "%s", fabric_api_name(call));
        outcome_is_honest();
        if (used >= k && move.source_err.code == 0)
            ck_assert_msg(call == API_disconnect || call == API_get_cm_event ||
                              is_last_ready(side, fabric_sends_at_failure(side),
                                            posted(side, FABRIC_SEND)),
                          "%s failed at call %llu and nobody noticed", what, (unsigned long long)k);
        move_release(&move);
        ck_assert_uint_eq(count_fds(), fds);
        next = next_k(call, k);
    } while (used >= k && next < 2000);
}

START_TEST(move__every_call_of_the_source_fails_once)
{
    every_call_fails_once(FABRIC_ACTIVE, (enum api)(_i % API_COUNT),
                          2 * ((unsigned)_i / API_COUNT));
}
END_TEST

START_TEST(move__every_call_of_the_destination_fails_once)
{
    every_call_fails_once(FABRIC_PASSIVE, (enum api)(_i % API_COUNT),
                          2 * ((unsigned)_i / API_COUNT));
}
END_TEST

/* --- failing work requests -------------------------------------------------------------------- */

static const int statuses[] = {
    IBV_WC_LOC_LEN_ERR,     IBV_WC_LOC_QP_OP_ERR, IBV_WC_LOC_PROT_ERR, IBV_WC_WR_FLUSH_ERR,
    IBV_WC_REM_INV_REQ_ERR, IBV_WC_REM_ACCESS_ERR, IBV_WC_REM_OP_ERR,
    IBV_WC_RETRY_EXC_ERR,   IBV_WC_RNR_RETRY_EXC_ERR, IBV_WC_GENERAL_ERR,
};
#define NSTATUSES ((int)(sizeof(statuses) / sizeof(statuses[0])))

static void failing_wr(enum fabric_side side, enum fabric_wr_kind kind, int status, uint64_t k,
                       unsigned how, uint64_t *posted_p)
{
    struct rmig_err *told = side == FABRIC_ACTIVE ? &move.source_err : &move.dest_err;

    fabric_reset();
    prepare(how);
    fabric_fail_wr(side, kind, k, status, 0xbad);
    move_run(&move);
    *posted_p = posted(side, kind);
    outcome_is_honest();
    /* Its side saw the cause; a receive that no message came for has done no harm. */
    if (*posted_p >= k && kind != FABRIC_RECV && status != IBV_WC_WR_FLUSH_ERR &&
        !(kind == FABRIC_SEND && is_last_ready(side, k, *posted_p))) {
        ck_assert_int_eq(told->code, -EIO);
        ck_assert_msg(strstr(told->msg, "0xbad") &&
                          strstr(told->msg, rmig_rdma_verbs_status_text(status)),
                      "%s", told->msg);
    }
    move_release(&move);
}

START_TEST(move__every_status_of_a_work_request)
{
    enum fabric_side side = _i / NSTATUSES % 2 ? FABRIC_PASSIVE : FABRIC_ACTIVE;
    enum fabric_wr_kind kind = (enum fabric_wr_kind)(_i / NSTATUSES / 2);
    uint64_t n;

    if (kind == FABRIC_WRITE && side == FABRIC_PASSIVE)
        return; /* the destination writes nothing but keepalives */
    for (uint64_t k = 1; k <= 3; k += step())
        failing_wr(side, kind, statuses[_i % NSTATUSES], k, (unsigned)k, &n);
}
END_TEST

START_TEST(move__every_work_request_fails_once)
{
    enum fabric_side side = _i % 2 ? FABRIC_PASSIVE : FABRIC_ACTIVE;
    enum fabric_wr_kind kind = (enum fabric_wr_kind)(_i / 2);
    uint64_t k = 1, n = 0;

    if (kind == FABRIC_WRITE && side == FABRIC_PASSIVE)
        return;
    for (; n + step() >= k; k += step())
        failing_wr(side, kind, IBV_WC_REM_OP_ERR, k, (unsigned)k % 4, &n);
}
END_TEST

/* --- CM events -------------------------------------------------------------------------------- */

static enum fabric_side struck_side;
static const struct cm_case *strike;

static void inject_now(struct move *m)
{
    (void)m;
    fault_ns = rmig_now_ns();
    if (strike->type == RDMA_CM_EVENT_DISCONNECTED) /* the event alone would be a contradiction */
        ck_assert(fabric_hang_up(struck_side, 0));
    else if (strike->type != FABRIC_NO_EVENT)
        ck_assert(fabric_inject(struck_side, 0, strike->type, strike->status));
}

static void inject_in_round(struct move *m, unsigned round)
{
    touch_pages(m, round);
    if (round == 1)
        inject_now(m);
}

START_TEST(move__every_cm_event_while_moving)
{
    const struct rmig_err *told;

    struck_side = _i & 1 ? FABRIC_PASSIVE : FABRIC_ACTIVE;
    strike = &cm_cases[_i / 4];
    prepare(0);
    fabric_set_delay_ms(1); /* a side that never has to wait may be done before it looks */
    if (_i & 2)
        move.before_end = inject_now;
    else
        move.touch = inject_in_round;
    move_run(&move);
    told = struck_side == FABRIC_ACTIVE ? &move.source_err : &move.dest_err;
    if (strike->rc == -ETIMEDOUT && strike->status == 0)
        move_was_good(&move); /* an event that means nothing here */
    else if (_i & 2 && move.source_err.code == 0 && move.dest_err.code == 0)
        move_was_good(&move); /* everything had arrived before it was looked at */
    else if (strike->type == RDMA_CM_EVENT_DISCONNECTED)
        ck_assert(told->code == -ECONNRESET || told->code == -EIO); /* what is seen first */
    else
        ck_assert_int_eq(told->code, strike->rc);
    if (told->code)
        move_failed_cleanly(&move);
    move_release(&move);
}
END_TEST

/* --- the peer vanishes ------------------------------------------------------------------------ */

static void vanish_now(struct move *m)
{
    (void)m;
    fault_ns = rmig_now_ns();
    fabric_black_hole();
}

static void vanish_in_round(struct move *m, unsigned round)
{
    touch_pages(m, round);
    if (round == 0)
        vanish_now(m);
}

START_TEST(move__silence_is_noticed_by_both_within_2_s)
{
    prepare(_i & 1);
    move.source_params.dead_peer_ms = move.dest_params.dead_peer_ms = 0; /* as by default */
    if (_i & 2)
        move.before_end = vanish_now;
    else
        move.touch = vanish_in_round;
    move_run(&move);
    ck_assert_int_lt(move.source_err.code, 0);
    ck_assert_int_lt(move.dest_err.code, 0);
    ck_assert_uint_lt(move.source_ended_ns - fault_ns, 2000 * RMIG_NS_PER_MS);
    ck_assert_uint_lt(move.dest_ended_ns - fault_ns, 2000 * RMIG_NS_PER_MS);
    move_failed_cleanly(&move);
    move_release(&move);
}
END_TEST

/* --- cancel ----------------------------------------------------------------------------------- */

static void cancel_now(struct move *m)
{
    fault_ns = rmig_now_ns();
    rmig_cancel_trigger(struck_side == FABRIC_ACTIVE ? m->source_cancel : m->dest_cancel);
}

static void cancel_in_round(struct move *m, unsigned round)
{
    touch_pages(m, round);
    if (round == 0)
        cancel_now(m);
}

START_TEST(move__cancel_at_either_end)
{
    const struct rmig_err *told;

    struck_side = _i & 1 ? FABRIC_PASSIVE : FABRIC_ACTIVE;
    prepare(0);
    if (_i & 2)
        move.before_end = cancel_now;
    else
        move.touch = cancel_in_round;
    move_run(&move);
    told = struck_side == FABRIC_ACTIVE ? &move.source_err : &move.dest_err;
    ck_assert_int_eq(told->code, -ECANCELED);
    ck_assert_int_lt(move.source_err.code, 0);
    ck_assert_int_lt(move.dest_err.code, 0);
    ck_assert_uint_lt(move.source_ended_ns - fault_ns, 1000 * RMIG_NS_PER_MS);
    ck_assert_uint_lt(move.dest_ended_ns - fault_ns, 1000 * RMIG_NS_PER_MS);
    move_failed_cleanly(&move);
    move_release(&move);
}
END_TEST

static void *cancel_later(void *arg)
{
    struct move *m = arg;

    nanosleep(&(struct timespec){ 0, (long)(move.limit_ms % 1000) * 100000 }, NULL);
    rmig_cancel_trigger(struck_side == FABRIC_ACTIVE ? m->source_cancel : m->dest_cancel);
    return NULL;
}

/* At any moment, connecting included. */
START_TEST(move__cancel_at_any_time)
{
    pthread_t thread;

    for (int i = 0; i < 40; i++) {
        fabric_reset();
        struck_side = i & 1 ? FABRIC_PASSIVE : FABRIC_ACTIVE;
        prepare((unsigned)i / 2 % 4);
        fabric_set_delay_ms((uint32_t)i % 3 / 2);
        move.limit_ms = 9000 + i * 4;
        ck_assert_int_eq(pthread_create(&thread, NULL, cancel_later, &move), 0);
        move_run(&move);
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
        if (move.source_err.code == 0 && move.dest_err.code == 0)
            move_was_good(&move); /* it came too late */
        else
            move_failed_cleanly(&move);
        move_release(&move);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rdma/faults");
    TCase *calls = tcase_create("calls"), *wrs = tcase_create("work_requests");
    TCase *events = tcase_create("events");
    TCase *all[] = { calls, wrs, events };

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        suite_add_tcase(suite, all[i]);
        tcase_add_checked_fixture(all[i], setup, teardown);
        tcase_set_timeout(all[i], 120);
    }
    tcase_add_loop_test(calls, move__every_call_of_the_source_fails_once, 0, 2 * API_COUNT);
    tcase_add_loop_test(calls, move__every_call_of_the_destination_fails_once, 0, 2 * API_COUNT);
    tcase_add_loop_test(wrs, move__every_status_of_a_work_request, 0, 6 * NSTATUSES);
    tcase_add_loop_test(wrs, move__every_work_request_fails_once, 0, 6);
    tcase_add_loop_test(events, move__every_cm_event_while_moving, 0, 4 * CM_CASES);
    tcase_add_loop_test(events, move__silence_is_noticed_by_both_within_2_s, 1, 3);
    tcase_add_loop_test(events, move__cancel_at_either_end, 0, 4);
    tcase_add_test(events, move__cancel_at_any_time);
    return suite_run(suite);
}
