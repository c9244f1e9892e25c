/* SPDX-License-Identifier: BSD-3-Clause */
/* check_rdma_accept.c -- listening and accepting: private data, lanes, CM events, failing calls. */
#include "rdma/conn.h"

#include <errno.h>
#include <rmig/cancel.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/log.h"
#include "tests/unit/rdma_fixture.h"
#include "tests/unit/suites.h"

static struct rmig_err err;
static struct rmig_cancel *cancel;
static struct rmig_transport_params params;
static struct rmig_rdma_conn conn;
static unsigned fds_before;
static struct rmig_rdma_listener *listener;
static uint16_t port;
static int accept_timeout_ms;

/* What was logged: the last line, and how many there were. */
static char logged[256];
static unsigned nlogged;

static void note(void *opaque, enum rmig_log_level level, const char *message)
{
    (void)opaque;
    if (level > RMIG_LOG_WARNING)
        return;
    snprintf(logged, sizeof(logged), "%s", message);
    nlogged++;
}

static void setup(void)
{
    fabric_reset();
    err = (struct rmig_err)RMIG_ERR_INIT;
    memset(&conn, 0, sizeof(conn));
    nlogged = 0;
    rmig_log_set(note, NULL, RMIG_LOG_DEBUG);
    fds_before = count_fds();
    ck_assert_int_eq(rmig_cancel_new(&cancel, NULL), 0);
    params = fixture_params();
    params.cancel_fd = rmig_cancel_fd(cancel);
}

static void teardown(void)
{
    rmig_log_set(NULL, NULL, RMIG_LOG_ERROR);
    rmig_cancel_free(cancel);
    for (int side = FABRIC_ACTIVE; side < FABRIC_SIDES; side++)
        assert_nothing_left((enum fabric_side)side);
    ck_assert_uint_eq(count_fds(), fds_before);
    fabric_reset();
}

static void listen_now(void)
{
    accept_timeout_ms = 1000;
    ck_assert_done(rmig_rdma_listener_open(&params, &listener, &port, &err), &err);
}

static int accept_one(void *arg, struct rmig_err *e)
{
    (void)arg;
    fabric_set_thread_side(FABRIC_PASSIVE);
    return rmig_rdma_conn_accept(&conn, listener, accept_timeout_ms, &params, e);
}

static struct raw_peer *ask(const uint8_t *bytes, uint8_t len)
{
    struct raw_opts opts = { .private_data = bytes, .private_data_len_bytes = len,
                             .rnr_retry_count = 7, .ack_timeout = 10 };
    struct raw_peer *peer;

    ck_assert_int_eq(raw_connect_start(port, &opts, &peer), 0);
    return peer;
}

static struct raw_peer *ask_lane(uint64_t session, uint32_t lane, uint32_t nlanes)
{
    uint8_t bytes[RMIG_WIRE_PRIVATE_MAX_BYTES];

    private_of(bytes, 1, RMIG_WIRE_FLAG_LANES, session, lane, nlanes);
    return ask(bytes, sizeof(bytes));
}

static const struct {
    const char *hex, *says;
} bad_private[] = {
    { "00", "version 0" }, /* nothing but padding */
    { "00000000 00000000", "version 0" },
    { "00000002 00000000", "version 2" },
    { "01000000 00000000", "version 16777216" },
    { "ffffffff ffffffff", "version" },
    { "00000001 00020000 0000000000000001 00000000 00000000", "lane" }, /* none of none */
    { "00000001 00020000 0000000000000001 00000000 00000009", "lane" },
    { "00000001 00020000 0000000000000001 00000004 00000004", "lane" },
    { "00000001 00020000 0000000000000001 00000001 00000004", "lane 1 instead" },
};
#define NBAD_PRIVATE ((int)(sizeof(bad_private) / sizeof(bad_private[0])))

/* It is told off by name, and the wait goes on for one that is a source. */
START_TEST(accept__stranger_is_turned_away_and_the_wait_goes_on)
{
    uint8_t bytes[32];
    size_t n = suite_hex(bad_private[_i].hex, bytes, sizeof(bytes));
    struct raw_peer *bad, *good;
    struct task task;

    listen_now();
    bad = ask(bytes, (uint8_t)n);
    task_start(&task, accept_one, NULL);
    ck_assert_int_eq(raw_established(bad, 60000), -ECONNREFUSED);
    ck_assert(task_runs(&task, 20));
    ck_assert_uint_eq(nlogged, 1);
    ck_assert_msg(strstr(logged, bad_private[_i].says), "%s", logged);
    ck_assert_msg(strstr(logged, "127.0.0.1"), "%s", logged);
    raw_close(bad);
    good = ask(NULL, 0);
    ck_assert_int_eq(raw_established(good, 60000), 0);
    ck_assert_done(task_join(&task, 60000), &task.err);
    ck_assert_uint_eq(nlogged, 1);
    rmig_rdma_conn_release(&conn);
    raw_close(good);
    rmig_rdma_listener_close(listener);
}
END_TEST

/* With a budget nobody gets all of RAM pinned; one that asks is turned away, not disappointed. */
START_TEST(accept__pin_all_against_a_budget_is_turned_away)
{
    static const uint8_t pin_all[8] = {0, 0, 0, 1, 0, 0, 0, 1};
    char said[RMIG_WIRE_REASON_MAX_BYTES];
    struct raw_peer *bad, *good;
    struct task task;

    params.pin_budget_bytes = 8 << 20;
    listen_now();
    bad = ask(pin_all, sizeof(pin_all));
    task_start(&task, accept_one, NULL);
    ck_assert_int_eq(raw_established(bad, 60000), -ECONNREFUSED);
    ck_assert(task_runs(&task, 20));
    ck_assert_msg(strstr(logged, "pin budget of 8.0 MiB"), "%s", logged);
    ck_assert(rmig_wire_decode_reason(raw_private(bad)->private_data,
                                      raw_private(bad)->private_data_len_bytes, said));
    ck_assert_msg(strstr(said, "pin budget of 8.0 MiB"), "%s", said);
    raw_close(bad);
    good = ask(NULL, 0);
    ck_assert_int_eq(raw_established(good, 60000), 0);
    ck_assert_done(task_join(&task, 60000), &task.err);
    rmig_rdma_conn_release(&conn);
    raw_close(good);
    rmig_rdma_listener_close(listener);
}
END_TEST

/* Strangers do not make the wait longer than it was to be. */
START_TEST(accept__strangers_do_not_move_the_deadline)
{
    static const uint8_t nothing[1];
    uint64_t start = rmig_now_ns();
    struct raw_peer *bad;
    struct task task;

    listen_now();
    accept_timeout_ms = 300;
    task_start(&task, accept_one, NULL);
    while (rmig_now_ns() - start < 250 * RMIG_NS_PER_MS) {
        bad = ask(nothing, sizeof(nothing));
        (void)raw_established(bad, 20);
        raw_close(bad);
    }
    ck_assert_failed(task_join(&task, 60000), -ETIMEDOUT, &task.err, "source");
    ck_assert_uint_lt(task_took_ns(&task, start), 600 * RMIG_NS_PER_MS);
    ck_assert_uint_ge(nlogged, 2);
    rmig_rdma_listener_close(listener);
}
END_TEST

START_TEST(accept__answers_version_1_and_the_flags_it_knows)
{
    static const struct {
        uint32_t asked, answered;
        bool ram_is_zero;
    } cases[] = { { 0, 0, true }, { 1, 1, false }, { 0x00010001, 0x00010001, false },
                  { 0xfffdffff, 0x00010001, false }, { 0xfffdffff, 0x00050001, true },
                  { 0x80000002, 0, true } };
    uint8_t bytes[RMIG_WIRE_PRIVATE_MAX_BYTES], wanted[8];
    struct raw_peer *peer;
    struct task task;

    listen_now();
    params.flags = cases[_i].ram_is_zero ? RMIG_TRANSPORT_RAM_IS_ZERO : 0;
    private_of(bytes, 1, cases[_i].asked, 0, 0, 0);
    peer = ask(bytes, 8);
    task_start(&task, accept_one, NULL);
    ck_assert_int_eq(raw_established(peer, 60000), 0);
    ck_assert_done(task_join(&task, 60000), &task.err);
    private_of(bytes, 1, cases[_i].answered, 0, 0, 0);
    memcpy(wanted, bytes, 8);
    ck_assert_mem_eq(raw_private(peer)->private_data, wanted, 8);
    ck_assert_int_eq(conn.pin_all, cases[_i].answered & 1);
    ck_assert_int_eq(conn.multi_register, cases[_i].answered >> 16 & 1);
    ck_assert(conn.established);
    rmig_rdma_conn_release(&conn);
    raw_close(peer);
    rmig_rdma_listener_close(listener);
}
END_TEST

START_TEST(accept__nobody_comes)
{
    uint64_t start = rmig_now_ns();

    listen_now();
    accept_timeout_ms = 50;
    ck_assert_failed(accept_one(NULL, &err), -ETIMEDOUT, &err, "source");
    ck_assert_uint_ge(rmig_now_ns() - start, 50 * RMIG_NS_PER_MS);
    rmig_rdma_listener_close(listener);
}
END_TEST

START_TEST(accept__cancel_ends_it_within_100_ms)
{
    struct raw_peer *peer = NULL;
    struct task task;
    uint64_t start;

    listen_now();
    accept_timeout_ms = -1;
    if (_i) /* between accept and ESTABLISHED */
        peer = ask(NULL, 0);
    task_start(&task, accept_one, NULL);
    ck_assert(task_runs(&task, 30));
    start = rmig_now_ns();
    rmig_cancel_trigger(cancel);
    ck_assert_int_eq(task_join(&task, 60000), -ECANCELED);
    ck_assert_uint_lt(task_took_ns(&task, start), 100 * RMIG_NS_PER_MS);
    raw_close(peer);
    rmig_rdma_listener_close(listener);
}
END_TEST

START_TEST(accept__source_that_never_completes_ends_at_the_deadline)
{
    struct raw_peer *peer;

    params.connect_timeout_ms = 80;
    listen_now();
    peer = ask(NULL, 0); /* and never looks at the reply */
    ck_assert_failed(accept_one(NULL, &err), -ETIMEDOUT, &err, "accepting");
    raw_close(peer);
    rmig_rdma_listener_close(listener);
}
END_TEST

START_TEST(accept__source_that_went_away_is_told)
{
    struct raw_peer *peer;
    struct task task;

    listen_now();
    peer = ask(NULL, 0);
    if (_i == 0) { /* before it is looked at */
        raw_close(peer);
        ck_assert_int_lt(accept_one(NULL, &err), 0);
    } else { /* after the reply */
        task_start(&task, accept_one, NULL);
        ck_assert(task_runs(&task, 30));
        raw_close(peer);
        ck_assert_int_lt(task_join(&task, 60000), 0);
    }
    rmig_rdma_listener_close(listener);
}
END_TEST

START_TEST(accept__every_cm_event_in_place_of_ESTABLISHED)
{
    struct raw_peer *peer;

    params.connect_timeout_ms = 60;
    listen_now();
    peer = ask(NULL, 0);
    fabric_answer(FABRIC_PASSIVE, API_accept, 1, cm_cases[_i].type, cm_cases[_i].status);
    ck_assert_failed(accept_one(NULL, &err), cm_cases[_i].rc, &err, "");
    raw_close(peer);
    rmig_rdma_listener_close(listener);
}
END_TEST

/* Every call that an accept makes fails once, at each of its occurrences. */
START_TEST(accept__every_call_fails_once)
{
    enum api call = (enum api)_i;
    struct call_failure failure = failure_of(call);

    if (is_release(call))
        return;
    params.connect_timeout_ms = 500;
    for (uint64_t k = 1;; k++) {
        uint64_t before = fabric_calls(FABRIC_ANY, call), used;
        struct rmig_err e = RMIG_ERR_INIT;
        struct raw_peer *peer;
        struct task task;
        int rc;

        ck_assert_uint_lt(k, 64);
        listen_now();
        peer = ask(NULL, 0);
        before = fabric_calls(FABRIC_PASSIVE, call);
        fabric_fail_call(FABRIC_PASSIVE, call, k, ENOSPC);
        fabric_set_delay_ms(1);
        task_start(&task, accept_one, NULL);
        (void)raw_established(peer, 200);
        rc = task_join(&task, 60000);
        used = fabric_calls(FABRIC_PASSIVE, call) - before;
        if (rc == 0)
            rmig_rdma_conn_release(&conn);
        raw_close(peer);
        rmig_rdma_listener_close(listener);
        for (int side = FABRIC_ACTIVE; side < FABRIC_SIDES; side++)
            assert_nothing_left((enum fabric_side)side);
        fabric_reset();
        if (used < k)
            break; /* it is not called that often */
        e = task.err;
        ck_assert_failed(rc, failure.rc, &e, failure.says);
    }
}
END_TEST

START_TEST(accept__device_that_is_too_small_is_told_and_refused)
{
    struct raw_peer *peer;

    fabric_set_limits(FABRIC_PASSIVE, 8, UINT64_MAX);
    listen_now();
    peer = ask(NULL, 0);
    ck_assert_failed(accept_one(NULL, &err), -ENOTSUP, &err, "fab0");
    ck_assert_int_eq(raw_established(peer, 0), -ECONNREFUSED);
    raw_close(peer);
    rmig_rdma_listener_close(listener);
}
END_TEST

START_TEST(listen__without_device_or_on_a_taken_port)
{
    struct rmig_rdma_listener *second;
    char text[8];
    uint16_t other;

    fabric_set_devices(0);
    ck_assert_failed(rmig_rdma_listener_open(&params, &listener, &port, &err), -ENODEV, &err,
                     "no RDMA device");
    fabric_set_devices(1);
    memset(&err, 0, sizeof(err));
    params.host = NULL;
    params.device = "mlx9_9";
    ck_assert_failed(rmig_rdma_listener_open(&params, &listener, &port, &err), -ENODEV, &err,
                     "fab0");
    params.device = "fab0";
    memset(&err, 0, sizeof(err));
    listen_now();
    snprintf(text, sizeof(text), "%u", port);
    params.port = text;
    ck_assert_failed(rmig_rdma_listener_open(&params, &second, &other, &err), -EADDRINUSE, &err,
                     text);
    ck_assert_msg(!strstr(err.msg, "no RDMA device"), "%s", err.msg);
    memset(&err, 0, sizeof(err));
    params.port = "0";
    fabric_fail_call(FABRIC_PASSIVE, API_listen, 1, EPERM);
    ck_assert_failed(rmig_rdma_listener_open(&params, &second, &other, &err), -EPERM, &err,
                     "listen");
    rmig_rdma_listener_close(listener);
    rmig_rdma_listener_close(NULL);
}
END_TEST

/* --- lanes ------------------------------------------------------------------------------------ */

static void lanes_come(uint32_t nlanes, struct raw_peer **peers, struct task *task)
{
    listen_now();
    peers[0] = ask_lane(42, 0, nlanes);
    task_start(task, accept_one, NULL);
    ck_assert_int_eq(raw_established(peers[0], 60000), 0);
}

START_TEST(accept__all_lanes_of_a_session)
{
    struct raw_peer *peers[RMIG_WIRE_LANES_MAX];
    struct task task;
    uint32_t n = (uint32_t)_i;

    lanes_come(n, peers, &task);
    for (uint32_t i = 1; i < n; i++) {
        peers[i] = ask_lane(42, i, n);
        ck_assert_int_eq(raw_established(peers[i], 60000), 0);
    }
    ck_assert_done(task_join(&task, 60000), &task.err);
    ck_assert_uint_eq(conn.pump.nlanes, n);
    rmig_rdma_conn_release(&conn);
    for (uint32_t i = 0; i < n; i++)
        raw_close(peers[i]);
    rmig_rdma_listener_close(listener);
}
END_TEST

/* Somebody else knocks while lanes are awaited: turned away, and the session goes on. */
START_TEST(accept__strangers_between_lanes_are_turned_away)
{
    static const char *const strangers[] = {
        "00000001 00020000 000000000000002b 00000001 00000002", /* another session */
        "00000001 00020000 000000000000002a 00000000 00000002", /* lane 0 again */
        "00000001 00020000 000000000000002a 00000001 00000003", /* another number of lanes */
        "00000001 00000000",                                    /* a stock source */
        "00000002 00000000",                                    /* another version */
        "00000001 00020000 000000000000002a 00000009 00000002", /* no such lane */
        "00",                                                   /* nothing */
    };
    struct raw_peer *peers[2], *stranger;
    uint8_t bytes[32];
    size_t len = suite_hex(strangers[_i], bytes, sizeof(bytes));
    struct task task;

    lanes_come(2, peers, &task);
    stranger = ask(bytes, (uint8_t)len);
    ck_assert_int_eq(raw_established(stranger, 60000), -ECONNREFUSED);
    peers[1] = ask_lane(42, 1, 2);
    ck_assert_int_eq(raw_established(peers[1], 60000), 0);
    ck_assert_done(task_join(&task, 60000), &task.err);
    rmig_rdma_conn_release(&conn);
    raw_close(stranger);
    raw_close(peers[0]);
    raw_close(peers[1]);
    rmig_rdma_listener_close(listener);
}
END_TEST

START_TEST(accept__lanes_that_do_not_come_end_at_the_deadline)
{
    struct raw_peer *peers[2];
    struct task task;

    params.connect_timeout_ms = 2000; /* time enough for the first lane, also beside other work */
    lanes_come(2, peers, &task);
    ck_assert_failed(task_join(&task, 60000), -ETIMEDOUT, &task.err, "source");
    raw_close(peers[0]);
    rmig_rdma_listener_close(listener);
}
END_TEST

/* The source goes away between two lanes: nobody waits for the rest of them. */
START_TEST(accept__source_that_goes_between_lanes_is_noticed)
{
    struct raw_peer *peers[2];
    struct task task;
    uint64_t start;

    params.connect_timeout_ms = 10000;
    lanes_come(2, peers, &task);
    start = rmig_now_ns();
    if (_i)
        fabric_black_hole();
    else
        ck_assert_int_eq(raw_disconnect(peers[0]), 0);
    ck_assert_failed(task_join(&task, 60000), _i ? -EIO : -ECONNRESET, &task.err, "");
    ck_assert_uint_lt(task_took_ns(&task, start), (_i ? 2000 : 100) * RMIG_NS_PER_MS);
    raw_close(peers[0]);
    rmig_rdma_listener_close(listener);
}
END_TEST

Suite *rdma_accept_suite(void)
{
    Suite *suite = suite_create("rdma/accept");
    TCase *tc = tcase_create("accept"), *lanes = tcase_create("lanes");
    TCase *speed = tcase_create("speed"); /* how long each of its rounds takes */

    suite_add_tcase(suite, tc);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 30);
    tcase_add_loop_test(tc, accept__stranger_is_turned_away_and_the_wait_goes_on, 0, NBAD_PRIVATE);
    tcase_add_test(tc, accept__pin_all_against_a_budget_is_turned_away);
    tcase_add_loop_test(tc, accept__answers_version_1_and_the_flags_it_knows, 0, 6);
    tcase_add_test(tc, accept__nobody_comes);
    tcase_add_loop_test(tc, accept__cancel_ends_it_within_100_ms, 0, 2);
    tcase_add_test(tc, accept__source_that_never_completes_ends_at_the_deadline);
    tcase_add_loop_test(tc, accept__source_that_went_away_is_told, 0, 2);
    tcase_add_loop_test(tc, accept__every_cm_event_in_place_of_ESTABLISHED, 0, CM_CASES);
    tcase_add_loop_test(tc, accept__every_call_fails_once, 0, API_COUNT);
    tcase_add_test(tc, accept__device_that_is_too_small_is_told_and_refused);
    tcase_add_test(tc, listen__without_device_or_on_a_taken_port);
    suite_add_tcase(suite, speed);
    tcase_add_checked_fixture(speed, setup, teardown);
    tcase_set_tags(speed, "speed");
    tcase_set_timeout(speed, 30);
    tcase_add_test(speed, accept__strangers_do_not_move_the_deadline);
    suite_add_tcase(suite, lanes);
    tcase_add_checked_fixture(lanes, setup, teardown);
    tcase_add_loop_test(lanes, accept__all_lanes_of_a_session, 1, RMIG_WIRE_LANES_MAX + 1);
    tcase_add_loop_test(lanes, accept__strangers_between_lanes_are_turned_away, 0, 7);
    tcase_add_test(lanes, accept__lanes_that_do_not_come_end_at_the_deadline);
    tcase_add_loop_test(lanes, accept__source_that_goes_between_lanes_is_noticed, 0, 2);
    tcase_set_timeout(lanes, 30);
    return suite;
}
