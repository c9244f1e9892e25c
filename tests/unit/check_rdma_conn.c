/* SPDX-License-Identifier: BSD-3-Clause */
/* check_rdma_conn.c -- connecting, every CM event in every state, failing calls, the end. */
#include "rdma/conn.h"

#include <errno.h>
#include <pthread.h>
#include <rmig/cancel.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "tests/unit/rdma_fixture.h"
#include "tests/unit/suites.h"

static struct rmig_err err;
static struct rmig_cancel *cancel;
static struct rmig_transport_params params;
static struct rmig_rdma_conn conn;
static unsigned fds_before;

static void setup(void)
{
    fabric_reset();
    err = (struct rmig_err)RMIG_ERR_INIT;
    memset(&conn, 0, sizeof(conn));
    fds_before = count_fds();
    ck_assert_int_eq(rmig_cancel_new(&cancel, NULL), 0);
    params = fixture_params();
    params.cancel_fd = rmig_cancel_fd(cancel);
}

static void teardown(void)
{
    rmig_cancel_free(cancel);
    for (int side = FABRIC_ACTIVE; side < FABRIC_SIDES; side++)
        assert_nothing_left((enum fabric_side)side);
    ck_assert_uint_eq(count_fds(), fds_before);
    fabric_reset();
}

static int pause_ms(int ms)
{
    return nanosleep(&(struct timespec){ ms / 1000, (long)(ms % 1000) * 1000000 }, NULL);
}

static struct raw_listener *there;
static char there_port[8];

static void listen_there(void)
{
    uint16_t p;

    ck_assert_int_eq(raw_listen(&there, &p), 0);
    snprintf(there_port, sizeof(there_port), "%u", p);
    params.port = there_port;
}

static int connect_one(void *arg, struct rmig_err *e)
{
    (void)arg;
    return rmig_rdma_conn_connect(&conn, &params, e);
}

/* Takes the request and answers it with this private data. */
static struct raw_peer *answer_with(const void *bytes, uint8_t len)
{
    struct raw_opts opts = { .private_data = bytes, .private_data_len_bytes = len,
                             .rnr_retry_count = 7, .ack_timeout = 10 };
    struct raw_peer *peer;

    ck_assert_int_eq(raw_take_request(there, &opts, 1000, &peer), 0);
    ck_assert_int_eq(raw_accept_request(peer), 0);
    return peer;
}

START_TEST(connect__what_is_asked_for)
{
    static const struct {
        bool pin_all;
        uint32_t nqueue_pairs, flags, nlanes;
    } cases[] = { { false, 0, 0x000d0000, 1 },
                  { true, 1, 0x000d0001, 1 },
                  { false, 4, 0x000f0000, 4 },
                  { true, 99, 0x000f0001, 8 } };
    struct raw_peer *peer;
    struct task task;
    const uint8_t *data;

    listen_there();
    params.pin_all = cases[_i].pin_all;
    params.nqueue_pairs = cases[_i].nqueue_pairs;
    task_start(&task, connect_one, NULL);
    peer = answer_with(NULL, 0); /* a stock one: no flag */
    ck_assert_int_eq(raw_established(peer, 60000), 0);
    ck_assert_done(task_join(&task, 60000), &task.err);
    data = raw_private(peer)->private_data;
    ck_assert_uint_eq(rmig_load_be32(data), 1);
    ck_assert_uint_eq(rmig_load_be32(data + 4), cases[_i].flags);
    if (cases[_i].nlanes > 1) {
        ck_assert_uint_eq(rmig_load_be32(data + 16), 0);
        ck_assert_uint_eq(rmig_load_be32(data + 20), cases[_i].nlanes);
    } else {
        ck_assert_uint_eq(rmig_load_be64(data + 8), 0); /* padding: what a stock source sends */
    }
    ck_assert(!conn.pin_all);
    ck_assert(!conn.multi_register);
    ck_assert_uint_eq(conn.pump.nlanes, 1); /* no more lanes to a stock destination */
    rmig_rdma_conn_release(&conn);
    raw_close(peer);
    raw_listener_close(there);
}
END_TEST

START_TEST(connect__answer_that_is_no_answer_is_EPROTO)
{
    static const char *const answers[] = { "00", "00000002 00000000", "00000000 00000001",
                                           "00000001 00020000 0000000000000000 00000000 00000000" };
    uint8_t bytes[32];
    size_t len = suite_hex(answers[_i], bytes, sizeof(bytes));
    struct raw_peer *peer;
    struct task task;

    listen_there();
    params.nqueue_pairs = 2;
    task_start(&task, connect_one, NULL);
    peer = answer_with(bytes, (uint8_t)len);
    ck_assert_failed(task_join(&task, 60000), -EPROTO, &task.err, there_port);
    raw_close(peer);
    raw_listener_close(there);
}
END_TEST

/* A chunk is the least that a destination can have registered. */
START_TEST(connect__budget_below_a_chunk_is_EPROTO)
{
    static const uint64_t budgets[] = { 0, 1, RMIG_WIRE_CHUNK_BYTES - 1, RMIG_WIRE_CHUNK_BYTES,
                                        UINT64_MAX };
    uint8_t bytes[16];
    struct raw_peer *peer;
    struct task task;

    listen_there();
    rmig_store_be32(bytes, RMIG_WIRE_VERSION);
    rmig_store_be32(bytes + 4, RMIG_WIRE_FLAG_PIN_BUDGET);
    rmig_store_be64(bytes + 8, budgets[_i]);
    task_start(&task, connect_one, NULL);
    peer = answer_with(bytes, sizeof(bytes));
    if (budgets[_i] < RMIG_WIRE_CHUNK_BYTES) {
        ck_assert_failed(task_join(&task, 60000), -EPROTO, &task.err, "a chunk has 1048576");
    } else {
        ck_assert_int_eq(raw_established(peer, 60000), 0);
        ck_assert_done(task_join(&task, 60000), &task.err);
        ck_assert_uint_eq(conn.peer_pin_budget_bytes, budgets[_i]);
        rmig_rdma_conn_release(&conn);
    }
    raw_close(peer);
    raw_listener_close(there);
}
END_TEST

START_TEST(connect__flags_that_were_not_asked_for_are_ignored)
{
    uint8_t bytes[RMIG_WIRE_PRIVATE_MAX_BYTES];
    struct raw_peer *peer;
    struct task task;

    listen_there();
    private_of(bytes, 1, UINT32_MAX, 1, 0, 8);
    rmig_store_be64(bytes + 24, RMIG_WIRE_CHUNK_BYTES); /* PIN_BUDGET was asked for */
    task_start(&task, connect_one, NULL);
    peer = answer_with(bytes, sizeof(bytes));
    ck_assert_int_eq(raw_established(peer, 60000), 0);
    ck_assert_done(task_join(&task, 60000), &task.err);
    ck_assert(!conn.pin_all);
    ck_assert_uint_eq(conn.pump.nlanes, 1);
    rmig_rdma_conn_release(&conn);
    raw_close(peer);
    raw_listener_close(there);
}
END_TEST

START_TEST(connect__nobody_listening_or_no_device)
{
    listen_there();
    raw_listener_close(there);
    ck_assert_failed(connect_one(NULL, &err), -ECONNREFUSED, &err, there_port);
    memset(&err, 0, sizeof(err));
    fabric_set_devices(0);
    ck_assert_failed(connect_one(NULL, &err), -ENODEV, &err, "no RDMA device");
    fabric_set_devices(1);
    memset(&err, 0, sizeof(err));
    params.device = "mlx9_9";
    ck_assert_failed(connect_one(NULL, &err), -ENODEV, &err, "fab0");
}
END_TEST

START_TEST(connect__refusal_is_told)
{
    struct raw_peer *peer;
    struct task task;

    listen_there();
    task_start(&task, connect_one, NULL);
    ck_assert_int_eq(raw_take_request(there, NULL, 1000, &peer), 0);
    if (_i)
        ck_assert_int_eq(raw_reject_request(peer), 0);
    raw_close(peer);
    ck_assert_failed(task_join(&task, 60000), -ECONNREFUSED, &task.err, "refused");
    raw_listener_close(there);
}
END_TEST

/* By one of our kind: in its own words. */
START_TEST(connect__reason_of_a_refusal_is_told)
{
    static const char why[] = "rmig: it asks for too much";
    struct raw_opts opts = { .private_data = why, .private_data_len_bytes = sizeof(why) - 1,
                             .rnr_retry_count = 7, .ack_timeout = 10 };
    struct raw_peer *peer;
    struct task task;

    listen_there();
    task_start(&task, connect_one, NULL);
    ck_assert_int_eq(raw_take_request(there, &opts, 1000, &peer), 0);
    ck_assert_int_eq(raw_reject_request(peer), 0);
    raw_close(peer);
    ck_assert_failed(task_join(&task, 60000), -ECONNREFUSED, &task.err, "\"it asks for too much\"");
    raw_listener_close(there);
}
END_TEST

START_TEST(connect__every_cm_event_in_every_state)
{
    static const enum api states[] = { API_resolve_addr, API_resolve_route, API_connect };
    int e = _i % CM_CASES;
    uint64_t start = rmig_now_ns();

    listen_there();
    params.connect_timeout_ms = 60;
    fabric_answer(FABRIC_ACTIVE, states[_i / CM_CASES], 1, cm_cases[e].type, cm_cases[e].status);
    ck_assert_failed(connect_one(NULL, &err), cm_cases[e].rc, &err, there_port);
    ck_assert_uint_lt(rmig_now_ns() - start, (1000 + slack_ms()) * RMIG_NS_PER_MS);
    raw_listener_close(there);
}
END_TEST

START_TEST(connect__silent_network_ends_at_the_deadline)
{
    uint64_t start = rmig_now_ns();

    listen_there();
    params.connect_timeout_ms = 60;
    fabric_black_hole();
    ck_assert_failed(connect_one(NULL, &err), -ETIMEDOUT, &err, "connecting");
    ck_assert_uint_lt(rmig_now_ns() - start, (1000 + slack_ms()) * RMIG_NS_PER_MS);
    raw_listener_close(there);
}
END_TEST

START_TEST(connect__cancel_ends_it_within_100_ms)
{
    struct task task;
    uint64_t start;

    listen_there(); /* and never answers */
    task_start(&task, connect_one, NULL);
    ck_assert(task_runs(&task, 30));
    start = rmig_now_ns();
    rmig_cancel_trigger(cancel);
    ck_assert_int_eq(task_join(&task, 60000), -ECANCELED);
    ck_assert_uint_lt(task_took_ns(&task, start), 100 * RMIG_NS_PER_MS);
    raw_listener_close(there);
}
END_TEST

static void accept_whatever_comes(void *opaque)
{
    struct raw_peer **peers = opaque;
    uint8_t bytes[RMIG_WIRE_PRIVATE_MAX_BYTES];
    struct raw_opts opts = { .rnr_retry_count = 7, .ack_timeout = 10 };
    int n = 0;

    fabric_set_thread_side(FABRIC_PASSIVE);
    while (peers[n])
        raw_poll(peers[n++]);
    while (raw_take_request(there, &opts, 0, &peers[n]) == 0) {
        memcpy(bytes, raw_private(peers[n])->private_data, sizeof(bytes));
        raw_set_private(peers[n], bytes, sizeof(bytes));
        ck_assert_int_eq(raw_accept_request(peers[n++]), 0);
    }
    fabric_set_thread_side(FABRIC_ACTIVE);
}

/* Every call that a connect makes fails once, at each of its occurrences; one lane and three. */
START_TEST(connect__every_call_fails_once)
{
    enum api call = (enum api)(_i % API_COUNT);
    struct call_failure failure = failure_of(call);

    if (is_release(call))
        return;
    params.connect_timeout_ms = 500;
    params.nqueue_pairs = _i < (int)API_COUNT ? 1 : 3;
    params.device = "fab0";
    for (uint64_t k = 1;; k++) {
        struct raw_peer *peers[9] = { NULL };
        struct rmig_err e = RMIG_ERR_INIT;
        uint64_t used;
        int rc;

        ck_assert_uint_lt(k, 64);
        listen_there();
        fabric_set_idle_hook(FABRIC_ACTIVE, accept_whatever_comes, peers);
        fabric_fail_call(FABRIC_ACTIVE, call, k, ENOSPC);
        fabric_set_thread_side(FABRIC_ACTIVE);
        rc = connect_one(NULL, &e);
        fabric_set_thread_side(FABRIC_ANY);
        used = fabric_calls(FABRIC_ACTIVE, call);
        fabric_set_idle_hook(FABRIC_ACTIVE, NULL, NULL);
        if (rc == 0)
            rmig_rdma_conn_release(&conn);
        for (int i = 0; peers[i]; i++)
            raw_close(peers[i]);
        raw_listener_close(there);
        for (int s = FABRIC_ACTIVE; s < FABRIC_SIDES; s++)
            assert_nothing_left((enum fabric_side)s);
        fabric_reset();
        if (used < k)
            break;
        ck_assert_failed(rc, failure.rc, &e, failure.says);
    }
}
END_TEST

START_TEST(connect__refused_lane_ends_it)
{
    struct raw_peer *first, *second;
    uint8_t bytes[RMIG_WIRE_PRIVATE_MAX_BYTES];
    struct task task;

    listen_there();
    params.nqueue_pairs = 2;
    private_of(bytes, 1, RMIG_WIRE_FLAG_LANES, 1, 0, 2);
    task_start(&task, connect_one, NULL);
    first = answer_with(bytes, sizeof(bytes));
    ck_assert_int_eq(raw_take_request(there, NULL, 1000, &second), 0);
    ck_assert_uint_eq(rmig_load_be32(raw_private(second)->private_data + 16), 1);
    ck_assert_mem_eq(raw_private(second)->private_data + 8, raw_private(first)->private_data + 8, 8);
    ck_assert_int_eq(raw_reject_request(second), 0);
    ck_assert_failed(task_join(&task, 60000), -ECONNREFUSED, &task.err, "refused");
    ck_assert_int_eq(raw_wait_disconnected(first, 1000), 0);
    raw_close(first);
    raw_close(second);
    raw_listener_close(there);
}
END_TEST

/* What rmig-transport(7) says of the two clocks where nobody sets them. */
START_TEST(connect__clocks_by_default)
{
    struct source_fixture f;

    source_fixture_init(&f);
    f.params.idle_timeout_ms = f.params.dead_peer_ms = 0;
    source_fixture_connect(&f, 0);
    ck_assert_uint_eq(f.conn.idle_timeout_ms, 30000);
    ck_assert_uint_eq(f.conn.ctrl.idle_timeout_ms, 30000);
    ck_assert_uint_eq(f.conn.pump.keepalive_ms, 2000 / 4);
    source_fixture_release(&f);
}
END_TEST

/* ================================ the end ====================================================== */

static void connect_pair(struct source_fixture *f)
{
    source_fixture_init(f);
    f->params.idle_timeout_ms = 100;
    source_fixture_connect(f, 0);
}

START_TEST(wait_disconnect__peer_hangs_up)
{
    struct source_fixture f;

    connect_pair(&f);
    f.conn.multi_register = true; /* one of our kind */
    ck_assert_failed(rmig_rdma_conn_wait_disconnect(&f.conn, &err), -ETIMEDOUT, &err,
                     "say that it has everything");
    ck_assert_int_eq(raw_say(f.peer, RMIG_WIRE_READY, 1, NULL, 0), 0);
    ck_assert_int_eq(raw_disconnect(f.peer), 0);
    memset(&err, 0, sizeof(err));
    ck_assert_done(rmig_rdma_conn_wait_disconnect(&f.conn, &err), &err);
    source_fixture_release(&f);
}
END_TEST

/* All was delivered to its device; it was killed before it had read it. */
START_TEST(wait_disconnect__one_of_our_kind_that_does_not_say_so_has_not_everything)
{
    struct source_fixture f;

    connect_pair(&f);
    f.conn.multi_register = true;
    ck_assert_int_eq(raw_disconnect(f.peer), 0);
    ck_assert_failed(rmig_rdma_conn_wait_disconnect(&f.conn, &err), -ECONNRESET, &err,
                     "hung up while waiting for the destination to say that it has everything");
    source_fixture_release(&f);
}
END_TEST

/* A stock QEMU that is long in hanging up has everything all the same. */
START_TEST(wait_disconnect__stock_peer_is_not_waited_for_long)
{
    struct source_fixture f;

    connect_pair(&f);
    ck_assert_done(rmig_rdma_conn_wait_disconnect(&f.conn, &err), &err);
    source_fixture_release(&f);
}
END_TEST

/* How a failure at the destination looks: ERROR, then the same DISCONNECTED. */
START_TEST(wait_disconnect__ERROR_before_it_is_failure)
{
    struct source_fixture f;

    for (int i = 0; i < 50; i++) {
        struct rmig_err e = RMIG_ERR_INIT;

        connect_pair(&f);
        pause_ms(i % 3 * 6);
        ck_assert_int_eq(raw_say(f.peer, RMIG_WIRE_ERROR, 1, NULL, 0), 0);
        ck_assert_int_eq(raw_disconnect(f.peer), 0);
        ck_assert_failed(rmig_rdma_conn_wait_disconnect(&f.conn, &e), -ECONNABORTED, &e, "ERROR");
        source_fixture_release(&f);
    }
}
END_TEST

/* It may have died with the last message unread: its hanging up alone is no success. */
START_TEST(wait_disconnect__message_that_was_never_delivered_is_failure)
{
    struct source_fixture f;
    uint8_t *payload;
    int slot;

    source_fixture_init(&f);
    f.peer_opts.nrecvs = RAW_NO_RECVS;
    source_fixture_connect(&f, 0);
    ck_assert_int_eq(raw_say(f.peer, RMIG_WIRE_READY, 1, NULL, 0), 0);
    slot = rmig_rdma_ctrl_reserve(&f.conn.ctrl, &payload, &err);
    ck_assert_int_ge(slot, 0);
    payload[0] = 0;
    ck_assert_done(rmig_rdma_ctrl_post(&f.conn.ctrl, slot, RMIG_WIRE_QEMU_FILE, 0, 1, &err), &err);
    ck_assert_int_eq(raw_disconnect(f.peer), 0);
    ck_assert_failed(rmig_rdma_conn_wait_disconnect(&f.conn, &err), -ECONNRESET, &err, "hung up");
    source_fixture_release(&f);
}
END_TEST

/* The acknowledgement was lost with the queue pair that would have repeated it; the READY was not. */
START_TEST(wait_disconnect__READY_behind_the_last_message_says_that_it_was_read)
{
    struct source_fixture f;
    uint8_t *payload;
    int slot;

    source_fixture_init(&f);
    f.peer_opts.nrecvs = RAW_NO_RECVS;
    source_fixture_connect(&f, 0);
    ck_assert_int_eq(raw_say(f.peer, RMIG_WIRE_READY, 1, NULL, 0), 0);
    slot = rmig_rdma_ctrl_reserve(&f.conn.ctrl, &payload, &err);
    ck_assert_int_ge(slot, 0);
    payload[0] = 0;
    ck_assert_done(rmig_rdma_ctrl_post(&f.conn.ctrl, slot, RMIG_WIRE_QEMU_FILE, 0, 1, &err), &err);
    ck_assert_int_eq(raw_say(f.peer, RMIG_WIRE_READY, 1, NULL, 0), 0);
    ck_assert_int_eq(raw_disconnect(f.peer), 0);
    ck_assert_done(rmig_rdma_conn_wait_disconnect(&f.conn, &err), &err);
    source_fixture_release(&f);
}
END_TEST

/* The hang-up itself was lost. */
START_TEST(wait_disconnect__is_short_after_the_last_READY)
{
    struct source_fixture f;
    uint64_t start, took_ns;

    source_fixture_init(&f);
    source_fixture_connect(&f, 0);
    f.conn.multi_register = true;
    ck_assert_int_eq(raw_say(f.peer, RMIG_WIRE_READY, 1, NULL, 0), 0);
    start = rmig_now_ns();
    ck_assert_done(rmig_rdma_conn_wait_disconnect(&f.conn, &err), &err);
    took_ns = rmig_now_ns() - start;
    ck_assert_uint_ge(took_ns, 400 * RMIG_NS_PER_MS);
    ck_assert_uint_le(took_ns, 1000 * RMIG_NS_PER_MS);
    source_fixture_release(&f);
}
END_TEST

START_TEST(end_as_dest__only_a_source_that_waits_is_told)
{
    struct dest_fixture f;
    struct fabric_counts before, now;

    dest_fixture_init(&f);
    dest_fixture_connect(&f, _i ? RMIG_WIRE_FLAG_MULTI_REGISTER : 0);
    fabric_get_counts(FABRIC_PASSIVE, &before);
    rmig_rdma_conn_end_as_dest(&f.conn);
    fabric_get_counts(FABRIC_PASSIVE, &now);
    ck_assert_uint_eq(now.sends - before.sends, (unsigned)_i);
    dest_fixture_release(&f);
}
END_TEST

static void *hang_up_later(void *peer)
{
    pause_ms(200);
    ck_assert_int_eq(raw_disconnect(peer), 0);
    return NULL;
}

/* A hang-up of ours might overtake the completion of its last message, which it takes for a failure. */
START_TEST(end_as_dest__a_stock_QEMU_hangs_up_first)
{
    struct dest_fixture f;
    pthread_t thread;
    uint64_t start;

    dest_fixture_init(&f);
    dest_fixture_connect(&f, 0);
    start = rmig_now_ns();
    ck_assert_int_eq(pthread_create(&thread, NULL, hang_up_later, f.peer), 0);
    rmig_rdma_conn_end_as_dest(&f.conn);
    ck_assert(f.conn.pump.disconnected);
    ck_assert_uint_ge(rmig_now_ns() - start, 150 * RMIG_NS_PER_MS);
    pthread_join(thread, NULL);
    dest_fixture_release(&f);
}
END_TEST

START_TEST(tear_down__tells_the_peer)
{
    struct source_fixture f;
    struct raw_msg msg;

    connect_pair(&f);
    rmig_rdma_conn_tear_down(&f.conn, _i);
    if (_i) {
        ck_assert_int_eq(raw_hear(f.peer, 0, &msg), 0);
        ck_assert_uint_eq(msg.type, RMIG_WIRE_ERROR);
    } else {
        ck_assert_int_eq(raw_hear(f.peer, 0, &msg), -ECONNRESET);
    }
    ck_assert_int_eq(raw_wait_disconnected(f.peer, 0), 0);
    rmig_rdma_conn_tear_down(&f.conn, _i); /* twice is fine */
    source_fixture_release(&f);
}
END_TEST

START_TEST(tear_down__failing_calls_do_not_stop_it)
{
    struct source_fixture f;

    connect_pair(&f);
    fabric_fail_call(FABRIC_ACTIVE, API_disconnect, 1, EINVAL);
    fabric_fail_call(FABRIC_ACTIVE, API_post_send, 1, EINVAL);
    rmig_rdma_conn_tear_down(&f.conn, true);
    rmig_rdma_conn_release(&f.conn);
    ck_assert_int_eq(raw_wait_disconnected(f.peer, 0), 0);
    source_fixture_release(&f);
}
END_TEST

START_TEST(release__of_nothing_is_fine)
{
    rmig_rdma_conn_release(&conn);
    rmig_rdma_conn_release(&conn);
}
END_TEST

Suite *rdma_conn_suite(void)
{
    Suite *suite = suite_create("rdma/conn");
    TCase *source = tcase_create("connect"), *end = tcase_create("end");

    suite_add_tcase(suite, source);
    tcase_add_checked_fixture(source, setup, teardown);
    tcase_set_timeout(source, 30);
    tcase_add_loop_test(source, connect__what_is_asked_for, 0, 4);
    tcase_add_loop_test(source, connect__answer_that_is_no_answer_is_EPROTO, 0, 4);
    tcase_add_loop_test(source, connect__budget_below_a_chunk_is_EPROTO, 0, 5);
    tcase_add_test(source, connect__flags_that_were_not_asked_for_are_ignored);
    tcase_add_test(source, connect__nobody_listening_or_no_device);
    tcase_add_loop_test(source, connect__refusal_is_told, 0, 2);
    tcase_add_test(source, connect__reason_of_a_refusal_is_told);
    tcase_add_loop_test(source, connect__every_cm_event_in_every_state, 0, 3 * CM_CASES);
    tcase_add_test(source, connect__silent_network_ends_at_the_deadline);
    tcase_add_test(source, connect__cancel_ends_it_within_100_ms);
    tcase_add_test(source, connect__clocks_by_default);
    tcase_add_loop_test(source, connect__every_call_fails_once, 0, 2 * API_COUNT);
    tcase_add_test(source, connect__refused_lane_ends_it);
    suite_add_tcase(suite, end);
    tcase_add_checked_fixture(end, setup, teardown);
    tcase_add_test(end, wait_disconnect__peer_hangs_up);
    tcase_add_test(end,
                   wait_disconnect__one_of_our_kind_that_does_not_say_so_has_not_everything);
    tcase_add_test(end, wait_disconnect__stock_peer_is_not_waited_for_long);
    tcase_add_test(end, wait_disconnect__ERROR_before_it_is_failure);
    tcase_add_test(end, wait_disconnect__message_that_was_never_delivered_is_failure);
    tcase_add_test(end, wait_disconnect__is_short_after_the_last_READY);
    tcase_add_test(end, wait_disconnect__READY_behind_the_last_message_says_that_it_was_read);
    tcase_add_loop_test(end, end_as_dest__only_a_source_that_waits_is_told, 0, 2);
    tcase_add_test(end, end_as_dest__a_stock_QEMU_hangs_up_first);
    tcase_add_loop_test(end, tear_down__tells_the_peer, 0, 2);
    tcase_add_test(end, tear_down__failing_calls_do_not_stop_it);
    tcase_add_test(end, release__of_nothing_is_fine);
    return suite;
}
