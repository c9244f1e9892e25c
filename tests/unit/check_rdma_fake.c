/* SPDX-License-Identifier: BSD-3-Clause */
/* check_rdma_fake.c -- the fake verbs keep their promises: what the other tests of rdma rest on. */
#include "tests/fake/verbs_fake.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/fake/raw_peer.h"
#include "tests/unit/rdma_suite.h"
#include "tests/unit/suites.h"

static struct raw_listener *listener;
static uint16_t port;
static struct raw_peer *active, *passive;

static void setup(void)
{
    fake_reset();
    ck_assert_int_eq(raw_listen(&listener, &port), 0);
}

static void teardown(void)
{
    raw_close(active);
    raw_close(passive);
    raw_listener_close(listener);
    active = passive = NULL;
    ck_assert_ptr_null(fake_breach());
    fake_reset();
}

static void connect_both(const struct raw_opts *active_opts, const struct raw_opts *passive_opts)
{
    ck_assert_int_eq(raw_connect_start(port, active_opts, &active), 0);
    ck_assert_int_eq(raw_take_request(listener, passive_opts, 0, &passive), 0);
    ck_assert_int_eq(raw_accept_request(passive), 0);
    ck_assert_int_eq(raw_established(passive, 0), -ETIMEDOUT); /* the active side has not seen it */
    ck_assert_int_eq(raw_established(active, 0), 0);
    ck_assert_int_eq(raw_established(passive, 0), 0);
}

static const struct raw_opts patient = { .rnr_retry_count = 7 };

START_TEST(connect__private_data_is_padded)
{
    static const uint8_t ask[3] = { 1, 2, 3 }, answer[2] = { 9, 8 };
    struct raw_opts a = { .private_data = ask, .private_data_len_bytes = sizeof(ask) };
    struct raw_opts p = { .private_data = answer, .private_data_len_bytes = sizeof(answer) };

    connect_both(&a, &p);
    ck_assert_uint_eq(raw_private(passive)->private_data_len_bytes, 56);
    ck_assert_mem_eq(raw_private(passive)->private_data, "\1\2\3\0", 4);
    ck_assert_uint_eq(raw_private(active)->private_data_len_bytes, 196);
    ck_assert_mem_eq(raw_private(active)->private_data, "\11\10\0", 3);
}
END_TEST

START_TEST(connect__nobody_listening_is_refused)
{
    ck_assert_int_eq(raw_connect_start((uint16_t)(port + 1), NULL, &active), 0);
    ck_assert_int_eq(raw_established(active, 0), -ECONNREFUSED);
}
END_TEST

START_TEST(connect__rejection_reaches_the_active_side)
{
    ck_assert_int_eq(raw_connect_start(port, NULL, &active), 0);
    ck_assert_int_eq(raw_take_request(listener, NULL, 0, &passive), 0);
    ck_assert_int_eq(raw_reject_request(passive), 0);
    ck_assert_int_eq(raw_established(active, 0), -ECONNREFUSED);
}
END_TEST

START_TEST(connect__request_closed_unanswered_is_refused)
{
    ck_assert_int_eq(raw_connect_start(port, NULL, &active), 0);
    raw_listener_close(listener);
    listener = NULL;
    ck_assert_int_eq(raw_established(active, 0), -ECONNREFUSED);
}
END_TEST

START_TEST(send__messages_arrive_in_order_with_their_length)
{
    struct raw_msg msg;

    connect_both(&patient, &patient);
    ck_assert_int_eq(raw_say(active, 3, 0, "abc", 3), 0);
    ck_assert_int_eq(raw_say(active, 9, 1, NULL, 0), 0);
    ck_assert_int_eq(raw_hear(passive, 0, &msg), 0);
    ck_assert_uint_eq(msg.received_bytes, 19);
    ck_assert_uint_eq(msg.type, 3);
    ck_assert_mem_eq(msg.payload, "abc", 3);
    ck_assert_int_eq(raw_expect(passive, 9, &msg), 0);
    ck_assert_int_eq(raw_flush(active), 0);
}
END_TEST

START_TEST(send__waits_for_a_receive_if_told_so)
{
    struct raw_opts one = { .nrecvs = 1, .rnr_retry_count = 7 };
    struct raw_msg msg;

    connect_both(&patient, &one);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(raw_say(active, 2, 1, NULL, 0), 0);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(raw_hear(passive, 0, &msg), 0);
        raw_poll(passive);
        ck_assert_uint_eq(raw_pending(passive), 0); /* the one receive is taken */
    }
    ck_assert_int_eq(raw_flush(active), 0);
}
END_TEST

START_TEST(send__fails_at_once_without_receive_if_told_so)
{
    struct raw_opts strict = { .nrecvs = RAW_NO_RECVS, .rnr_retry_count = 0 };

    connect_both(&patient, &strict); /* the passive side's count governs the active one */
    ck_assert_int_eq(raw_say(active, 2, 1, NULL, 0), 0);
    ck_assert_int_eq(raw_flush(active), FAKE_WC_RNR_RETRY_EXC_ERR);
    ck_assert_int_eq(raw_say(active, 2, 1, NULL, 0), 0); /* flushed */
    ck_assert_int_eq(raw_flush(active), FAKE_WC_RNR_RETRY_EXC_ERR);
}
END_TEST

START_TEST(send__longer_than_the_receive_fails_both_sides)
{
    struct raw_opts small = { .recv_bytes = 16, .rnr_retry_count = 7 };

    connect_both(&patient, &small);
    ck_assert_int_eq(raw_say(active, 3, 0, "x", 1), 0);
    ck_assert_int_eq(raw_flush(active), FAKE_WC_REM_INV_REQ_ERR);
    raw_poll(passive);
    ck_assert_int_eq(raw_status(passive), FAKE_WC_LOC_LEN_ERR);
}
END_TEST

START_TEST(send__buffer_changed_before_completion_is_a_breach)
{
    static uint8_t buf[16];
    struct rmig_rdma_verbs *v;
    struct rmig_rdma_cm_event event;
    struct sockaddr_storage dst = { .ss_family = AF_INET };
    struct rmig_rdma_qp_attr attr = { 4, 4 };
    struct rmig_rdma_conn_param param = { .rnr_retry_count = 7 };
    struct rmig_rdma_mr mr;
    struct rmig_rdma_wc wc;

    ((uint8_t *)&dst)[2] = (uint8_t)(port >> 8);
    ((uint8_t *)&dst)[3] = (uint8_t)port;
    ck_assert_int_eq(rmig_rdma_verbs_open(&v, NULL), 0);
    ck_assert_int_eq(rmig_rdma_verbs_resolve_addr(v, NULL, (struct sockaddr *)&dst, 1, NULL), 0);
    ck_assert_int_eq(rmig_rdma_verbs_resolve_route(v, 1, NULL), 0);
    ck_assert_int_eq(rmig_rdma_verbs_create_qp(v, &attr, NULL), 0);
    ck_assert_int_eq(rmig_rdma_verbs_connect(v, &param, NULL), 0);
    ck_assert_int_eq(raw_take_request(listener, &patient, 0, &passive), 0);
    ck_assert_int_eq(raw_accept_request(passive), 0);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(rmig_rdma_verbs_get_cm_event(v, &event, NULL), 1);
    ck_assert_int_eq(event.type, RMIG_RDMA_CM_ESTABLISHED);
    ck_assert_int_eq(
        rmig_rdma_verbs_reg_mr(v, buf, sizeof(buf), RMIG_RDMA_READ_LOCAL, &mr, NULL), 0);
    ck_assert_int_eq(rmig_rdma_verbs_post_send(v, 7, buf, sizeof(buf), mr.lkey, NULL), 0);
    buf[3] = 1;
    ck_assert_int_eq(rmig_rdma_verbs_poll(v, &wc, 1, NULL), 1);
    ck_assert_uint_eq(wc.wr_id, 7);
    ck_assert_ptr_nonnull(strstr(fake_breach(), "SEND"));
    rmig_rdma_verbs_dereg_mr(&mr);
    rmig_rdma_verbs_close(v);
    raw_close(passive);
    passive = NULL;
    raw_listener_close(listener);
    listener = NULL;
    fake_reset();
}
END_TEST

START_TEST(write__reaches_only_what_is_registered_for_it)
{
    static uint8_t ram[8192];
    static const struct {
        enum rmig_rdma_access access;
        int64_t offset;
        uint32_t len_bytes, key_delta;
        int status;
    } cases[] = {
        { RMIG_RDMA_WRITE_REMOTE, 0, 8192, 0, 0 },
        { RMIG_RDMA_WRITE_REMOTE, 8191, 1, 0, 0 },
        { RMIG_RDMA_WRITE_REMOTE, 8192, 1, 0, FAKE_WC_REM_ACCESS_ERR },
        { RMIG_RDMA_WRITE_REMOTE, -1, 2, 0, FAKE_WC_REM_ACCESS_ERR },
        { RMIG_RDMA_WRITE_REMOTE, 0, 8193, 0, FAKE_WC_REM_ACCESS_ERR },
        { RMIG_RDMA_WRITE_REMOTE, 0, 1, 1, FAKE_WC_REM_ACCESS_ERR },
        { RMIG_RDMA_WRITE_LOCAL, 0, 1, 0, FAKE_WC_REM_ACCESS_ERR },
        { RMIG_RDMA_READ_LOCAL, 0, 1, 0, FAKE_WC_REM_ACCESS_ERR },
        { RMIG_RDMA_READ_LOCAL, 0, 0, 1, 0 }, /* no bytes: no key is looked at */
    };
    uint8_t bytes[8193];
    struct rmig_rdma_mr mr;

    memset(bytes, 0x5a, sizeof(bytes));
    connect_both(&patient, &patient);
    ck_assert_int_eq(raw_register(passive, ram, sizeof(ram), cases[_i].access, &mr), 0);
    ck_assert_int_eq(raw_write(active, bytes, cases[_i].len_bytes,
                               (uintptr_t)ram + (uint64_t)cases[_i].offset,
                               mr.rkey + cases[_i].key_delta),
                     cases[_i].status);
    raw_poll(passive);
    ck_assert_int_eq(raw_status(passive), cases[_i].status ? FAKE_WC_WR_FLUSH_ERR : 0);
    for (int64_t i = 0; i < 8192; i++)
        ck_assert_uint_eq(ram[i], cases[_i].status == 0 && i >= cases[_i].offset &&
                                          i < cases[_i].offset + cases[_i].len_bytes
                                      ? 0x5a
                                      : 0);
}
END_TEST

START_TEST(write__own_key_is_not_the_peers)
{
    static uint8_t ram[4096];
    struct rmig_rdma_mr mr;

    connect_both(&patient, &patient);
    ck_assert_int_eq(raw_register(active, ram, sizeof(ram), RMIG_RDMA_WRITE_REMOTE, &mr), 0);
    ck_assert_int_eq(raw_write(active, "x", 1, (uintptr_t)ram, mr.rkey), FAKE_WC_REM_ACCESS_ERR);
}
END_TEST

START_TEST(hang_up__is_heard_and_flushes)
{
    struct raw_opts quick = { .rnr_retry_count = 7, .ack_timeout = 8 }; /* 1 ms a try */
    struct raw_peer **first = _i ? &passive : &active, **other = _i ? &active : &passive;

    connect_both(&quick, &quick);
    ck_assert_int_eq(raw_disconnect(*first), 0);
    ck_assert_int_eq(raw_wait_disconnected(*other, 0), 0);
    raw_poll(*first);
    ck_assert_int_eq(raw_status(*first), FAKE_WC_WR_FLUSH_ERR);
    ck_assert(!raw_is_disconnected(*first));
    ck_assert_int_eq(raw_status(*other), 0); /* its own queue pair knows nothing yet */
    ck_assert_int_eq(raw_say(*other, 2, 1, NULL, 0), 0);
    ck_assert_int_eq(raw_flush(*other), FAKE_WC_RETRY_EXC_ERR);
    ck_assert_int_eq(raw_disconnect(*other), 0);
    ck_assert_int_eq(raw_wait_disconnected(*first, 0), 0);
}
END_TEST

START_TEST(hang_up__closing_is_heard)
{
    connect_both(&patient, &patient);
    raw_close(passive);
    passive = NULL;
    ck_assert_int_eq(raw_wait_disconnected(active, 0), 0);
}
END_TEST

START_TEST(black_hole__what_is_outstanding_fails_after_the_retries)
{
    struct raw_opts quick = { .rnr_retry_count = 7, .ack_timeout = 12 }; /* 17 ms a try, 6 tries */
    uint64_t start;

    connect_both(&quick, &quick);
    fake_black_hole();
    start = rmig_now_ns();
    ck_assert_int_eq(raw_say(active, 2, 1, NULL, 0), 0);
    ck_assert_int_eq(raw_flush(active), FAKE_WC_RETRY_EXC_ERR);
    ck_assert_uint_ge(rmig_now_ns() - start, 6 * 4096ull << 12);
    raw_poll(passive);
    ck_assert_uint_eq(raw_pending(passive), 0);
    ck_assert_int_eq(raw_disconnect(active), 0);
    raw_poll(passive);
    ck_assert(!raw_is_disconnected(passive));
}
END_TEST

START_TEST(script__failures_come_where_they_were_asked_for)
{
    fake_fail_call(FAKE_ACTIVE, FAKE_REG_MR, 1, EPERM);
    ck_assert_int_eq(raw_connect_start(port, NULL, &active), -EPERM);
    active = NULL;
    connect_both(&patient, &patient);
    ck_assert_uint_eq(fake_calls(FAKE_ACTIVE, FAKE_REG_MR), 2);
    ck_assert_uint_eq(fake_calls(FAKE_PASSIVE, FAKE_REG_MR), 1);
    ck_assert_uint_eq(fake_calls(FAKE_ANY, FAKE_REG_MR), 3);
    fake_fail_wr(FAKE_ACTIVE, FAKE_WR_SEND, 2, FAKE_WC_GENERAL_ERR, 0x77);
    ck_assert_int_eq(raw_say(active, 2, 1, NULL, 0), 0);
    ck_assert_int_eq(raw_flush(active), 0);
    ck_assert_int_eq(raw_say(active, 2, 1, NULL, 0), 0);
    ck_assert_int_eq(raw_flush(active), FAKE_WC_GENERAL_ERR);
}
END_TEST

/* arm, then a completion that arrives later makes the descriptor readable; an older one does not. */
START_TEST(arm__only_later_completions_raise_an_event)
{
    static uint8_t buf[64];
    struct rmig_rdma_verbs *v;
    struct sockaddr_storage dst = { .ss_family = AF_INET };
    struct rmig_rdma_qp_attr attr = { 4, 4 };
    struct rmig_rdma_conn_param param = { .rnr_retry_count = 7 };
    struct rmig_rdma_mr mr;
    struct rmig_rdma_wc wc;
    struct rmig_rdma_cm_event event;
    struct pollfd fd = { .events = POLLIN };

    ((uint8_t *)&dst)[2] = (uint8_t)(port >> 8);
    ((uint8_t *)&dst)[3] = (uint8_t)port;
    ck_assert_int_eq(rmig_rdma_verbs_open(&v, NULL), 0);
    ck_assert_int_eq(rmig_rdma_verbs_cq_fd(v), -1);
    ck_assert_int_eq(rmig_rdma_verbs_resolve_addr(v, NULL, (struct sockaddr *)&dst, 1, NULL), 0);
    ck_assert_int_eq(rmig_rdma_verbs_resolve_route(v, 1, NULL), 0);
    ck_assert_int_eq(rmig_rdma_verbs_create_qp(v, &attr, NULL), 0);
    ck_assert_int_eq(
        rmig_rdma_verbs_reg_mr(v, buf, sizeof(buf), RMIG_RDMA_WRITE_LOCAL, &mr, NULL), 0);
    ck_assert_int_eq(rmig_rdma_verbs_post_recv(v, 1, buf, sizeof(buf), mr.lkey, NULL), 0);
    ck_assert_int_eq(rmig_rdma_verbs_post_recv(v, 2, buf, sizeof(buf), mr.lkey, NULL), 0);
    ck_assert_int_eq(rmig_rdma_verbs_connect(v, &param, NULL), 0);
    ck_assert_int_eq(raw_take_request(listener, &patient, 0, &passive), 0);
    ck_assert_int_eq(raw_accept_request(passive), 0);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(rmig_rdma_verbs_get_cm_event(v, &event, NULL), 1);
    ck_assert_int_eq(raw_established(passive, 0), 0);
    fd.fd = rmig_rdma_verbs_cq_fd(v);

    ck_assert_int_eq(raw_say(passive, 2, 1, NULL, 0), 0);
    ck_assert_int_eq(rmig_rdma_verbs_arm(v, NULL), 0);
    ck_assert_int_eq(poll(&fd, 1, 0), 0); /* it came before */
    ck_assert_int_eq(rmig_rdma_verbs_poll(v, &wc, 1, NULL), 1);
    ck_assert_uint_eq(wc.wr_id, 1);
    ck_assert_uint_eq(wc.len_bytes, 16);
    fake_set_delay_ms(30);
    ck_assert_int_eq(raw_say(passive, 2, 1, NULL, 0), 0);
    ck_assert_int_eq(poll(&fd, 1, 0), 0);
    ck_assert_int_eq(rmig_rdma_verbs_poll(v, &wc, 1, NULL), 0);
    ck_assert_int_eq(poll(&fd, 1, 2000), 1);
    ck_assert_int_eq(rmig_rdma_verbs_take_cq_events(v, NULL), 0);
    ck_assert_int_eq(poll(&fd, 1, 0), 0);
    ck_assert_int_eq(rmig_rdma_verbs_poll(v, &wc, 1, NULL), 1);
    ck_assert_uint_eq(wc.wr_id, 2);
    rmig_rdma_verbs_dereg_mr(&mr);
    rmig_rdma_verbs_close(v);
}
END_TEST

static void say_ready(void *opaque)
{
    (void)opaque;
    ck_assert_int_eq(raw_say(active, 2, 1, NULL, 0), 0);
}

START_TEST(close__before_the_regions_are_deregistered_is_a_breach)
{
    struct rmig_rdma_verbs *v;
    struct sockaddr_storage dst = { .ss_family = AF_INET };
    struct rmig_rdma_mr mr;
    uint8_t buf[16];

    ck_assert_int_eq(rmig_rdma_verbs_open(&v, NULL), 0);
    ck_assert_int_eq(rmig_rdma_verbs_resolve_addr(v, NULL, (struct sockaddr *)&dst, 1, NULL), 0);
    ck_assert_int_eq(
        rmig_rdma_verbs_reg_mr(v, buf, sizeof(buf), RMIG_RDMA_READ_LOCAL, &mr, NULL), 0);
    rmig_rdma_verbs_close(v);
    ck_assert_ptr_nonnull(strstr(fake_breach(), "1 regions"));
    rmig_rdma_verbs_dereg_mr(&mr);
    raw_listener_close(listener);
    listener = NULL;
    fake_reset();
}
END_TEST

START_TEST(idle_hook__lets_the_other_side_act)
{
    struct raw_msg msg;

    connect_both(&patient, &patient);
    fake_set_idle_hook(FAKE_PASSIVE, say_ready, NULL);
    ck_assert_int_eq(raw_hear(passive, 0, &msg), 0);
    fake_set_idle_hook(FAKE_PASSIVE, NULL, NULL);
    ck_assert_uint_eq(msg.type, 2);
}
END_TEST

Suite *rdma_fake_suite(void)
{
    Suite *suite = suite_create("rdma/fake");
    TCase *cm = tcase_create("cm"), *qp = tcase_create("qp"), *control = tcase_create("control");

    suite_add_tcase(suite, cm);
    tcase_add_checked_fixture(cm, setup, teardown);
    tcase_add_test(cm, connect__private_data_is_padded);
    tcase_add_test(cm, connect__nobody_listening_is_refused);
    tcase_add_test(cm, connect__rejection_reaches_the_active_side);
    tcase_add_test(cm, connect__request_closed_unanswered_is_refused);
    tcase_add_loop_test(cm, hang_up__is_heard_and_flushes, 0, 2);
    tcase_add_test(cm, hang_up__closing_is_heard);
    suite_add_tcase(suite, qp);
    tcase_add_checked_fixture(qp, setup, teardown);
    tcase_add_test(qp, send__messages_arrive_in_order_with_their_length);
    tcase_add_test(qp, send__waits_for_a_receive_if_told_so);
    tcase_add_test(qp, send__fails_at_once_without_receive_if_told_so);
    tcase_add_test(qp, send__longer_than_the_receive_fails_both_sides);
    tcase_add_test(qp, send__buffer_changed_before_completion_is_a_breach);
    tcase_add_loop_test(qp, write__reaches_only_what_is_registered_for_it, 0, 9);
    tcase_add_test(qp, write__own_key_is_not_the_peers);
    tcase_add_test(qp, arm__only_later_completions_raise_an_event);
    suite_add_tcase(suite, control);
    tcase_add_checked_fixture(control, setup, teardown);
    tcase_add_test(control, black_hole__what_is_outstanding_fails_after_the_retries);
    tcase_add_test(control, script__failures_come_where_they_were_asked_for);
    tcase_add_test(control, close__before_the_regions_are_deregistered_is_a_breach);
    tcase_add_test(control, idle_hook__lets_the_other_side_act);
    return suite;
}
