/* SPDX-License-Identifier: BSD-3-Clause */
/* check_rdma_ctrl.c -- the control channel: credits, order, what a peer may send when, failures. */
#include "rdma/ctrl.h"

#include <errno.h>
#include <rmig/cancel.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "tests/unit/rdma_fixture.h"
#include "tests/unit/suites.h"

static struct source_fixture s; /* our source against a raw destination */
static struct dest_fixture d;   /* our destination against a raw source */
static struct rmig_rdma_ctrl *ctrl;
static struct raw_peer *peer;
static struct rmig_err err;
static struct rmig_cancel *cancel;

static void setup(void)
{
    fabric_reset();
    err = (struct rmig_err)RMIG_ERR_INIT;
    ck_assert_int_eq(rmig_cancel_new(&cancel, NULL), 0);
}

static void teardown(void)
{
    if (s.conn.pump.nlanes || s.listener)
        source_fixture_release(&s);
    if (d.listener)
        dest_fixture_release(&d);
    rmig_cancel_free(cancel);
    for (int side = FABRIC_ACTIVE; side < FABRIC_SIDES; side++)
        assert_nothing_left((enum fabric_side)side);
    fabric_reset();
}

/* The peer takes messages of up to slot_bytes; 0: small ones. */
static void as_source_of(uint32_t slot_bytes, uint32_t idle_timeout_ms)
{
    source_fixture_init(&s);
    s.peer_opts.slot_bytes = slot_bytes;
    s.params.idle_timeout_ms = idle_timeout_ms;
    s.params.cancel_fd = rmig_cancel_fd(cancel);
    source_fixture_connect(&s, 0);
    ctrl = &s.conn.ctrl;
    peer = s.peer;
}

static void as_source(uint32_t idle_timeout_ms)
{
    as_source_of(0, idle_timeout_ms);
}

static void as_dest(uint32_t idle_timeout_ms)
{
    dest_fixture_init(&d);
    d.params.idle_timeout_ms = idle_timeout_ms;
    d.params.cancel_fd = rmig_cancel_fd(cancel);
    dest_fixture_connect(&d, 0);
    ctrl = &d.conn.ctrl;
    peer = d.peer;
}

static void ready(void)
{
    ck_assert_int_eq(raw_say(peer, RMIG_WIRE_READY, 1, NULL, 0), 0);
}

static int post_file(const char *text, struct rmig_err *e)
{
    uint8_t *payload;
    int slot = rmig_rdma_ctrl_reserve(ctrl, &payload, e);

    if (slot < 0)
        return slot;
    memcpy(payload, text, strlen(text));
    return rmig_rdma_ctrl_post(ctrl, slot, RMIG_WIRE_QEMU_FILE, 0, (uint32_t)strlen(text), e);
}

static void heard(uint32_t type, const char *payload)
{
    struct raw_msg msg;

    ck_assert_int_eq(raw_hear(peer, 1000, &msg), 0);
    ck_assert_uint_eq(msg.type, type);
    ck_assert_uint_eq(msg.len_bytes, strlen(payload));
    ck_assert_mem_eq(msg.payload, payload, strlen(payload));
}

static void heard_nothing(void)
{
    raw_poll(peer);
    ck_assert_uint_eq(raw_pending(peer), 0);
}

/* --- init ------------------------------------------------------------------------------------- */

START_TEST(init__buffers_are_not_for_the_peer_to_write)
{
    struct fabric_counts counts;
    enum fabric_side side = _i ? FABRIC_PASSIVE : FABRIC_ACTIVE;

    _i ? as_dest(100) : as_source(100);
    fabric_get_counts(side, &counts);
    ck_assert_uint_eq(counts.remote_regions, 0);
    ck_assert_uint_eq(counts.registered_bytes, RMIG_CTRL_PINNED_BYTES);
    ck_assert_uint_eq(counts.recvs, RMIG_CTRL_RECV_SLOTS);
    /* Not even with the right key. */
    ck_assert_int_eq(raw_write(peer, "x", 1, (uintptr_t)ctrl->memory, ctrl->recv_mr.rkey),
                     IBV_WC_REM_ACCESS_ERR);
}
END_TEST

/* --- credits ---------------------------------------------------------------------------------- */

START_TEST(post__one_message_a_READY_never_two)
{
    as_source(80);
    ready();
    ck_assert_done(post_file("one", &err), &err);
    ck_assert_failed(post_file("two", &err), -ETIMEDOUT, &err, "READY");
    heard(RMIG_WIRE_QEMU_FILE, "one");
    heard_nothing();
    ready();
    memset(&err, 0, sizeof(err));
    ck_assert_done(post_file("three", &err), &err);
    heard(RMIG_WIRE_QEMU_FILE, "three");
    heard_nothing();
}
END_TEST

START_TEST(post__without_any_READY_sends_nothing)
{
    as_source(50);
    ck_assert_int_eq(post_file("early", &err), -ETIMEDOUT);
    ck_assert_failed(rmig_rdma_ctrl_send_empty(ctrl, RMIG_WIRE_REGISTER_FINISHED, NULL), -ETIMEDOUT,
                     &err, "READY");
    heard_nothing();
}
END_TEST

static int post_late(void *arg, struct rmig_err *e)
{
    return post_file(arg, e);
}

START_TEST(post__READY_that_comes_late_is_waited_for)
{
    struct task task;

    as_source(2000);
    task_start(&task, post_late, (void *)"late");
    ck_assert(task_runs(&task, 50));
    heard_nothing();
    ready();
    ck_assert_int_eq(task_join(&task, 60000), 0);
    heard(RMIG_WIRE_QEMU_FILE, "late");
}
END_TEST

/* A READY that arrives while this side is busy is remembered. */
START_TEST(post__READY_that_came_early_is_remembered)
{
    as_source(100);
    ready();
    ck_assert_int_eq(rmig_rdma_pump_once(&s.conn.pump, NULL), 0);
    ck_assert_uint_eq(ctrl->credits, 1);
    ck_assert_done(post_file("x", &err), &err);
    ck_assert_uint_eq(ctrl->credits, 0);
}
END_TEST

START_TEST(receive__two_unused_READYs_are_EPROTO)
{
    as_source(100);
    ready();
    ready();
    ck_assert_failed(post_file("x", &err), -EPROTO, &err, "READY twice");
}
END_TEST

START_TEST(receive__reply_comes_before_the_next_READY)
{
    uint8_t result[RMIG_WIRE_RESULT_BYTES] = { 0, 0, 0, 7 };
    struct rmig_rdma_msg msg;

    as_source(200);
    ready();
    ck_assert_done(post_file("x", &err), &err);
    ck_assert_int_eq(
        raw_say(peer, RMIG_WIRE_REGISTER_RESULT, 1, result, sizeof(result)), 0);
    ready();
    ck_assert_done(rmig_rdma_ctrl_receive(ctrl, RMIG_WIRE_TYPE_BIT(RMIG_WIRE_REGISTER_RESULT), 0,
                                          &msg, &err),
                   &err);
    ck_assert_mem_eq(msg.payload, result, sizeof(result));
    ck_assert_uint_eq(ctrl->credits, 1);
    ck_assert_done(rmig_rdma_ctrl_done(ctrl, &msg, &err), &err);
    ck_assert_done(post_file("y", &err), &err);
}
END_TEST

START_TEST(wait_credit__does_not_use_it_up)
{
    as_source(50);
    ready();
    ck_assert_done(rmig_rdma_ctrl_wait_credit(ctrl, &err), &err);
    ck_assert_done(rmig_rdma_ctrl_wait_credit(ctrl, &err), &err);
    ck_assert_done(post_file("x", &err), &err);
    ck_assert_int_eq(rmig_rdma_ctrl_wait_credit(ctrl, NULL), -ETIMEDOUT);
}
END_TEST

START_TEST(pull__asks_once_and_gets_one_message)
{
    struct rmig_rdma_msg msg;

    as_dest(60);
    ck_assert_failed(
        rmig_rdma_ctrl_pull(ctrl, RMIG_WIRE_TYPE_BIT(RMIG_WIRE_QEMU_FILE), 0, &msg, &err), -ETIMEDOUT,
        &err, "QEMU_FILE");
    heard(RMIG_WIRE_READY, "");
    heard_nothing();
}
END_TEST

START_TEST(pull__message_that_nobody_asked_for_is_EPROTO)
{
    struct rmig_rdma_msg msg;

    as_dest(100);
    ck_assert_int_eq(raw_say(peer, RMIG_WIRE_QEMU_FILE, 0, "x", 1), 0);
    ck_assert_int_eq(rmig_rdma_pump_once(&d.conn.pump, NULL), 0);
    ck_assert_failed(
        rmig_rdma_ctrl_pull(ctrl, RMIG_WIRE_TYPE_BIT(RMIG_WIRE_QEMU_FILE), 0, &msg, &err), -EPROTO,
        &err, "without a READY");
}
END_TEST

START_TEST(pull__second_message_on_one_READY_is_EPROTO_and_spoils_nothing)
{
    struct rmig_rdma_msg msg;
    uint32_t file = RMIG_WIRE_TYPE_BIT(RMIG_WIRE_QEMU_FILE);

    as_dest(200);
    ck_assert_int_eq(raw_say(peer, RMIG_WIRE_QEMU_FILE, 0, "first", 5), 0);
    ck_assert_int_eq(raw_say(peer, RMIG_WIRE_QEMU_FILE, 0, "SECOND", 6), 0);
    ck_assert_int_eq(rmig_rdma_ctrl_receive(ctrl, file, 0, &msg, &err), 0);
    ck_assert_mem_eq(msg.payload, "first", 5); /* not overwritten by the one behind it */
    ck_assert_int_eq(rmig_rdma_ctrl_done(ctrl, &msg, &err), 0);
    ck_assert_failed(rmig_rdma_ctrl_pull(ctrl, file, 0, &msg, &err), -EPROTO, &err, "without a READY");
}
END_TEST

/* More than there are receives: the peer is stopped by its queue pair, memory does not grow. */
START_TEST(receive__flood_is_held_back)
{
    struct rmig_rdma_msg msg;

    as_dest(100);
    for (unsigned i = 0; i < RMIG_CTRL_RECV_SLOTS + 3; i++) {
        char byte = (char)i;

        ck_assert_int_eq(raw_say(peer, RMIG_WIRE_QEMU_FILE, 0, &byte, 1), 0);
        ck_assert_int_eq(rmig_rdma_pump_once(&d.conn.pump, NULL), 0);
    }
    ck_assert_uint_eq(ctrl->ninbox, RMIG_CTRL_RECV_SLOTS);
    for (unsigned i = 0; i < RMIG_CTRL_RECV_SLOTS + 3; i++) {
        ck_assert_done(rmig_rdma_ctrl_receive(ctrl, RMIG_WIRE_TYPE_BIT(RMIG_WIRE_QEMU_FILE), 0,
                                              &msg, &err),
                       &err);
        ck_assert_uint_eq(msg.payload[0], i);
        ck_assert_int_eq(rmig_rdma_ctrl_done(ctrl, &msg, &err), 0);
    }
}
END_TEST

/* --- what may come ---------------------------------------------------------------------------- */

static const struct {
    uint32_t type, repeat, len_bytes;
} messages[] = {
    { RMIG_WIRE_QEMU_FILE, 0, 8 },
    { RMIG_WIRE_RAM_BLOCKS_REQUEST, 1, 0 },
    { RMIG_WIRE_RAM_BLOCKS_RESULT, 1, RMIG_WIRE_BLOCK_BYTES },
    { RMIG_WIRE_COMPRESS, 1, RMIG_WIRE_COMPRESS_BYTES },
    { RMIG_WIRE_REGISTER_REQUEST, 1, RMIG_WIRE_REGISTER_BYTES },
    { RMIG_WIRE_REGISTER_RESULT, 1, RMIG_WIRE_RESULT_BYTES },
    { RMIG_WIRE_REGISTER_FINISHED, 1, 0 },
    { RMIG_WIRE_UNREGISTER_REQUEST, 1, RMIG_WIRE_REGISTER_BYTES },
    { RMIG_WIRE_UNREGISTER_FINISHED, 1, 0 },
};
#define NMESSAGES ((int)(sizeof(messages) / sizeof(messages[0])))

START_TEST(receive__type_that_is_not_allowed_is_EPROTO)
{
    static const uint8_t zeroes[64];
    struct rmig_rdma_msg msg;

    for (int allowed = 0; allowed < NMESSAGES; allowed++) {
        struct rmig_err e = RMIG_ERR_INIT;
        int rc;

        as_source(100);
        ck_assert_int_eq(raw_say(peer, messages[_i].type, messages[_i].repeat, zeroes,
                                 messages[_i].len_bytes),
                         0);
        rc = rmig_rdma_ctrl_receive(ctrl, RMIG_WIRE_TYPE_BIT(messages[allowed].type), 0, &msg, &e);
        if (allowed == _i) {
            ck_assert_done(rc, &e);
            ck_assert_uint_eq(msg.header.type, messages[_i].type);
            ck_assert_uint_eq(msg.header.len_bytes, messages[_i].len_bytes);
        } else {
            ck_assert_failed(rc, -EPROTO, &e, rmig_wire_type_name(messages[_i].type));
            ck_assert_ptr_nonnull(strstr(e.msg, rmig_wire_type_name(messages[allowed].type)));
        }
        source_fixture_release(&s);
    }
}
END_TEST

START_TEST(receive__READY_to_a_destination_is_EPROTO)
{
    struct rmig_rdma_msg msg;

    as_dest(100);
    ready();
    ck_assert_failed(
        rmig_rdma_ctrl_pull(ctrl, RMIG_WIRE_TYPE_BIT(RMIG_WIRE_QEMU_FILE), 0, &msg, &err), -EPROTO,
        &err, "READY");
}
END_TEST

/* Whole messages that no decoder may take, as the bytes of one SEND. */
static const char *const malformed[] = {
    "",
    "00",
    "00000000 00000002 00000001 000000",
    "00000001 00000002 00000001 00000000",       /* READY: len 1, nothing there */
    "00000000 00000002 00000001 00000000 00",    /* a byte behind it */
    "00000001 00000002 00000001 00000000 00",    /* READY with a payload */
    "00000001 00000001 00000001 00000000 00",    /* ERROR with a payload */
    "00000000 00000000 00000001 00000000",       /* NONE */
    "00000000 0000000c 00000001 00000000",       /* 12 */
    "00000000 ffffffff 00000001 00000000",
    "ffffffff 00000003 00000000 00000000",       /* QEMU_FILE of 4 GiB */
    "0007fff1 00000003 00000000 00000000",       /* one byte more than a message holds */
    "00000000 00000003 00000000 00000000",       /* QEMU_FILE without a byte */
    "00000004 00000005 00000001 00000000 00000000",
    "00000008 00000008 00000001 00000000 0000000000000000",
    "00000004 00000009 00000001 00000000 00000000",
    "00000000 00000007 00000001 00000000",       /* a request of nothing */
    "00000000 00000007 00000000 00000000",
    "00000018 00000007 00000002 00000000 0000000000000000 0000000000000000 0000000000000000",
    "00000018 00000007 00001001 00000000 0000000000000000 0000000000000000 0000000000000000",
    "00000018 00000007 0aaaaaac 00000000 0000000000000000 0000000000000000 0000000000000000",
};
#define NMALFORMED ((int)(sizeof(malformed) / sizeof(malformed[0])))

START_TEST(receive__malformed_message_is_EPROTO_at_a_source)
{
    uint8_t bytes[64];
    struct rmig_rdma_msg msg;
    size_t n = suite_hex(malformed[_i], bytes, sizeof(bytes));

    as_source(200);
    ck_assert_int_eq(raw_send(peer, bytes, (uint32_t)n), 0);
    ck_assert_failed(rmig_rdma_ctrl_receive(ctrl, UINT32_MAX, 0, &msg, &err), -EPROTO, &err,
                     "control message");
    /* It sticks: nothing can be sent on a connection that has gone astray. */
    ck_assert_int_eq(post_file("x", NULL), -EPROTO);
}
END_TEST

START_TEST(receive__malformed_message_is_EPROTO_at_a_destination)
{
    uint8_t bytes[64];
    struct rmig_rdma_msg msg;
    size_t n = suite_hex(malformed[_i], bytes, sizeof(bytes));

    as_dest(200);
    ck_assert_int_eq(raw_send(peer, bytes, (uint32_t)n), 0);
    ck_assert_failed(rmig_rdma_ctrl_pull(ctrl, UINT32_MAX, 0, &msg, &err), -EPROTO, &err,
                     "control message");
}
END_TEST

START_TEST(receive__immediate_data_is_EPROTO)
{
    struct rmig_rdma_msg msg;

    as_dest(200);
    fabric_set_immediate(FABRIC_ACTIVE, true);
    ck_assert_int_eq(raw_say(peer, RMIG_WIRE_QEMU_FILE, 0, "x", 1), 0);
    ck_assert_failed(rmig_rdma_ctrl_receive(ctrl, UINT32_MAX, 0, &msg, &err), -EPROTO, &err,
                     "immediate");
}
END_TEST

START_TEST(receive__failed_receive_ends_the_wait)
{
    struct rmig_rdma_msg msg;
    uint32_t file = RMIG_WIRE_TYPE_BIT(RMIG_WIRE_QEMU_FILE);

    fabric_fail_wr(FABRIC_PASSIVE, FABRIC_RECV, 1, IBV_WC_LOC_PROT_ERR, 0x99);
    as_dest(500);
    ck_assert_int_eq(raw_say(peer, RMIG_WIRE_QEMU_FILE, 0, "x", 1), 0);
    ck_assert_failed(rmig_rdma_ctrl_receive(ctrl, file, 0, &msg, &err), -EIO, &err, "receive");
    ck_assert_ptr_nonnull(strstr(err.msg, "0x99"));
}
END_TEST

START_TEST(receive__deadline_names_what_was_waited_for)
{
    struct rmig_rdma_msg msg;
    uint64_t start = rmig_now_ns();
    uint32_t types = RMIG_WIRE_TYPE_BIT(RMIG_WIRE_COMPRESS) |
                     RMIG_WIRE_TYPE_BIT(RMIG_WIRE_REGISTER_FINISHED);

    as_dest(40);
    ck_assert_failed(rmig_rdma_ctrl_receive(ctrl, types, 60, &msg, &err), -ETIMEDOUT, &err,
                     "COMPRESS or REGISTER_FINISHED");
    ck_assert_uint_ge(rmig_now_ns() - start, 100 * RMIG_NS_PER_MS); /* both times together */
}
END_TEST

/* --- ERROR ------------------------------------------------------------------------------------ */

static int wait_for_reply(void *arg, struct rmig_err *e)
{
    struct rmig_rdma_msg msg;

    (void)arg;
    return rmig_rdma_ctrl_receive(ctrl, RMIG_WIRE_TYPE_BIT(RMIG_WIRE_REGISTER_RESULT), 0, &msg, e);
}

static int wait_for_ready(void *arg, struct rmig_err *e)
{
    (void)arg;
    return rmig_rdma_ctrl_wait_credit(ctrl, e);
}

START_TEST(receive__ERROR_ends_any_wait)
{
    int (*waits[])(void *, struct rmig_err *) = { wait_for_reply, wait_for_ready };
    struct task task;

    as_source(2000);
    task_start(&task, waits[_i], NULL);
    ck_assert(task_runs(&task, 20));
    ck_assert_int_eq(raw_say(peer, RMIG_WIRE_ERROR, 1, NULL, 0), 0);
    ck_assert_failed(task_join(&task, 60000), -ECONNABORTED, &task.err, "ERROR");
}
END_TEST

START_TEST(receive__ERROR_in_place_of_what_a_destination_waits_for)
{
    struct rmig_rdma_msg msg;

    as_dest(200);
    ck_assert_int_eq(raw_say(peer, RMIG_WIRE_ERROR, 1, NULL, 0), 0);
    ck_assert_failed(
        rmig_rdma_ctrl_pull(ctrl, RMIG_WIRE_TYPE_BIT(RMIG_WIRE_QEMU_FILE), 0, &msg, &err),
        -ECONNABORTED, &err, "ERROR");
}
END_TEST

/* Seen also while nothing is waited for but writes. */
START_TEST(receive__ERROR_is_seen_by_a_source_that_only_polls)
{
    as_source(200);
    ck_assert_int_eq(raw_say(peer, RMIG_WIRE_ERROR, 1, NULL, 0), 0);
    ck_assert_int_eq(rmig_rdma_pump_once(&s.conn.pump, &err), -ECONNABORTED);
}
END_TEST

START_TEST(send_error__needs_no_READY)
{
    as_source(200);
    rmig_rdma_ctrl_send_error(ctrl);
    heard(RMIG_WIRE_ERROR, "");
}
END_TEST

START_TEST(send_error__works_after_cancel_and_after_a_protocol_error)
{
    struct rmig_rdma_msg msg;

    as_dest(200);
    if (_i) {
        rmig_cancel_trigger(cancel);
    } else {
        ck_assert_int_eq(raw_send(peer, "x", 1), 0);
        ck_assert_int_eq(rmig_rdma_ctrl_receive(ctrl, UINT32_MAX, 0, &msg, &err), -EPROTO);
    }
    rmig_rdma_ctrl_send_error(ctrl);
    heard(RMIG_WIRE_ERROR, "");
    if (!_i)
        ck_assert_int_eq(d.conn.pump.error.code, -EPROTO); /* the cause is still known */
}
END_TEST

START_TEST(send_error__peer_that_does_not_listen_costs_100_ms)
{
    uint64_t start;

    source_fixture_init(&s);
    s.peer_opts.nrecvs = RAW_NO_RECVS;
    source_fixture_connect(&s, 0);
    ctrl = &s.conn.ctrl;
    start = rmig_now_ns();
    rmig_rdma_ctrl_send_error(ctrl);
    ck_assert_uint_ge(rmig_now_ns() - start, 90 * RMIG_NS_PER_MS);
    ck_assert_uint_lt(rmig_now_ns() - start, (500 + slack_ms()) * RMIG_NS_PER_MS);
}
END_TEST

START_TEST(send_error__is_not_tried_once_the_peer_has_hung_up)
{
    struct rmig_rdma_msg msg;
    struct fabric_counts counts;

    as_dest(500);
    ck_assert_int_eq(raw_disconnect(peer), 0);
    ck_assert_int_eq(rmig_rdma_ctrl_receive(ctrl, UINT32_MAX, 0, &msg, &err), -ECONNRESET);
    rmig_rdma_ctrl_send_error(ctrl);
    fabric_get_counts(FABRIC_PASSIVE, &counts);
    ck_assert_uint_eq(counts.sends, 0);
}
END_TEST

/* --- the last READY --------------------------------------------------------------------------- */

START_TEST(last_ready__is_delivered)
{
    as_dest(500);
    rmig_rdma_ctrl_send_last_ready(ctrl);
    ck_assert(rmig_rdma_ctrl_all_delivered(ctrl));
    heard(RMIG_WIRE_READY, "");
    heard_nothing();
}
END_TEST

/* A source that does not take it, or that has gone, holds nobody up for long. */
START_TEST(last_ready__waits_2_s_at_most)
{
    uint64_t start;

    dest_fixture_init(&d);
    d.peer_opts.nrecvs = RAW_NO_RECVS;
    dest_fixture_connect(&d, 0);
    ctrl = &d.conn.ctrl;
    peer = d.peer;
    if (_i)
        ck_assert_int_eq(raw_disconnect(peer), 0);
    start = rmig_now_ns();
    rmig_rdma_ctrl_send_last_ready(ctrl);
    ck_assert_uint_le(rmig_now_ns() - start,
                      ((_i ? 500 : 2500) + slack_ms()) * RMIG_NS_PER_MS);
    ck_assert(!rmig_rdma_ctrl_all_delivered(ctrl));
}
END_TEST

/* --- sending ---------------------------------------------------------------------------------- */

START_TEST(post__bytes_on_the_wire)
{
    uint8_t wanted[RMIG_WIRE_HEADER_BYTES];
    struct raw_msg msg;

    as_dest(100);
    ck_assert_done(rmig_rdma_ctrl_send_empty(ctrl, RMIG_WIRE_READY, &err), &err);
    ck_assert_int_eq(raw_hear(peer, 0, &msg), 0);
    suite_hex("00000000 00000002 00000001 00000000", wanted, sizeof(wanted));
    ck_assert_mem_eq(msg.payload - RMIG_WIRE_HEADER_BYTES, wanted, sizeof(wanted));
    ck_assert_uint_eq(msg.received_bytes, sizeof(wanted));
}
END_TEST

START_TEST(post__largest_message_goes_through)
{
    struct raw_msg msg;
    uint8_t *payload;
    int slot;

    as_source_of(RMIG_WIRE_MESSAGE_MAX_BYTES, 200);
    ready();
    slot = rmig_rdma_ctrl_reserve(ctrl, &payload, &err);
    ck_assert_int_ge(slot, 0);
    memset(payload, 0x5a, RMIG_WIRE_PAYLOAD_MAX_BYTES);
    ck_assert_done(rmig_rdma_ctrl_post(ctrl, slot, RMIG_WIRE_QEMU_FILE, 0,
                                       RMIG_WIRE_PAYLOAD_MAX_BYTES, &err),
                   &err);
    ck_assert_int_eq(raw_hear(peer, 0, &msg), 0);
    ck_assert_uint_eq(msg.received_bytes, RMIG_WIRE_MESSAGE_MAX_BYTES);
    ck_assert_uint_eq(msg.payload[RMIG_WIRE_PAYLOAD_MAX_BYTES - 1], 0x5a);
}
END_TEST

/* A slot is not filled again before its message has been delivered: the fabric checks the bytes. */
START_TEST(reserve__waits_until_a_slot_is_delivered)
{
    as_source(2000);
    fabric_set_delay_ms(20);
    for (int i = 0; i < 6; i++) {
        char text[] = "message 0";

        text[8] = (char)('0' + i);
        ready();
        ck_assert_done(post_file(text, &err), &err);
        heard(RMIG_WIRE_QEMU_FILE, text);
    }
    ck_assert_ptr_null(fabric_breach());
}
END_TEST

START_TEST(reserve__message_that_is_never_delivered_ends_at_the_deadline)
{
    uint8_t *payload;

    source_fixture_init(&s);
    s.params.idle_timeout_ms = 80;
    s.peer_opts.nrecvs = RAW_NO_RECVS;
    source_fixture_connect(&s, 0);
    ctrl = &s.conn.ctrl;
    peer = s.peer;
    for (unsigned i = 0; i < RMIG_CTRL_SEND_SLOTS; i++) {
        ready();
        ck_assert_done(post_file("x", &err), &err);
    }
    ck_assert_failed(rmig_rdma_ctrl_reserve(ctrl, &payload, &err), -ETIMEDOUT, &err, "delivered");
}
END_TEST

START_TEST(post__failed_post_gives_the_slot_back_and_keeps_the_credit)
{
    as_source(100);
    ready();
    for (unsigned i = 0; i <= RMIG_CTRL_SEND_SLOTS; i++) {
        struct rmig_err e = RMIG_ERR_INIT;

        fabric_fail_call(FABRIC_ACTIVE, API_post_send, 1, ENOBUFS);
        ck_assert_failed(post_file("x", &e), -ENOBUFS, &e, "post_send");
    }
    ck_assert_done(post_file("x", &err), &err);
    heard(RMIG_WIRE_QEMU_FILE, "x");
}
END_TEST

START_TEST(post__failed_send_is_told_at_the_next_wait)
{
    as_source(200);
    fabric_fail_wr(FABRIC_ACTIVE, FABRIC_SEND, 1, IBV_WC_RETRY_EXC_ERR, 0x42);
    ready();
    ck_assert_done(post_file("x", &err), &err);
    ck_assert_failed(rmig_rdma_ctrl_wait_credit(ctrl, &err), -EIO, &err, "send");
    ck_assert_ptr_nonnull(strstr(err.msg, "0x42"));
}
END_TEST

START_TEST(done__failed_repost_is_told)
{
    struct rmig_rdma_msg msg;

    as_dest(200);
    ck_assert_int_eq(raw_say(peer, RMIG_WIRE_QEMU_FILE, 0, "x", 1), 0);
    ck_assert_int_eq(rmig_rdma_ctrl_receive(ctrl, UINT32_MAX, 0, &msg, &err), 0);
    fabric_fail_call(FABRIC_PASSIVE, API_post_recv, 1, EIO);
    ck_assert_failed(rmig_rdma_ctrl_done(ctrl, &msg, &err), -EIO, &err, "post_recv");
}
END_TEST

START_TEST(receive__failed_repost_of_a_READY_is_told)
{
    as_source(200);
    fabric_fail_call(FABRIC_ACTIVE, API_post_recv, 1, EIO);
    ready();
    ck_assert_failed(rmig_rdma_ctrl_wait_credit(ctrl, &err), -EIO, &err, "post_recv");
}
END_TEST

START_TEST(pull__many_messages_in_a_row)
{
    struct rmig_rdma_msg msg;

    as_dest(500);
    for (int i = 0; i < 200; i++) {
        uint8_t byte = (uint8_t)i;

        ck_assert_done(rmig_rdma_ctrl_send_empty(ctrl, RMIG_WIRE_READY, &err), &err);
        ck_assert_int_eq(raw_say_on_ready(peer, RMIG_WIRE_QEMU_FILE, 0, &byte, 1), 0);
        ck_assert_done(rmig_rdma_ctrl_receive(ctrl, RMIG_WIRE_TYPE_BIT(RMIG_WIRE_QEMU_FILE), 0,
                                              &msg, &err),
                       &err);
        ck_assert_uint_eq(msg.payload[0], byte);
        ck_assert_done(rmig_rdma_ctrl_done(ctrl, &msg, &err), &err);
    }
    ck_assert_uint_eq(ctrl->messages_sent, 200);
    ck_assert_uint_eq(ctrl->bytes_sent, 200 * RMIG_WIRE_HEADER_BYTES);
}
END_TEST

Suite *rdma_ctrl_suite(void)
{
    Suite *suite = suite_create("rdma/ctrl");
    TCase *credit = tcase_create("credit"), *types = tcase_create("types");
    TCase *error = tcase_create("error"), *sending = tcase_create("sending");
    TCase *all[] = { credit, types, error, sending };

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        suite_add_tcase(suite, all[i]);
        tcase_add_checked_fixture(all[i], setup, teardown);
    }
    tcase_add_loop_test(credit, init__buffers_are_not_for_the_peer_to_write, 0, 2);
    tcase_add_test(credit, post__one_message_a_READY_never_two);
    tcase_add_test(credit, post__without_any_READY_sends_nothing);
    tcase_add_test(credit, post__READY_that_comes_late_is_waited_for);
    tcase_add_test(credit, post__READY_that_came_early_is_remembered);
    tcase_add_test(credit, receive__two_unused_READYs_are_EPROTO);
    tcase_add_test(credit, receive__reply_comes_before_the_next_READY);
    tcase_add_test(credit, wait_credit__does_not_use_it_up);
    tcase_add_test(credit, pull__asks_once_and_gets_one_message);
    tcase_add_test(credit, pull__message_that_nobody_asked_for_is_EPROTO);
    tcase_add_test(credit, pull__second_message_on_one_READY_is_EPROTO_and_spoils_nothing);
    tcase_add_test(credit, receive__flood_is_held_back);
    tcase_add_loop_test(types, receive__type_that_is_not_allowed_is_EPROTO, 0, NMESSAGES);
    tcase_add_test(types, receive__READY_to_a_destination_is_EPROTO);
    tcase_add_loop_test(types, receive__malformed_message_is_EPROTO_at_a_source, 0, NMALFORMED);
    tcase_add_loop_test(types, receive__malformed_message_is_EPROTO_at_a_destination, 0,
                        NMALFORMED);
    tcase_add_test(types, receive__immediate_data_is_EPROTO);
    tcase_add_test(types, receive__failed_receive_ends_the_wait);
    tcase_add_test(types, receive__deadline_names_what_was_waited_for);
    tcase_add_loop_test(error, receive__ERROR_ends_any_wait, 0, 2);
    tcase_add_test(error, receive__ERROR_in_place_of_what_a_destination_waits_for);
    tcase_add_test(error, receive__ERROR_is_seen_by_a_source_that_only_polls);
    tcase_add_test(error, send_error__needs_no_READY);
    tcase_add_loop_test(error, send_error__works_after_cancel_and_after_a_protocol_error, 0, 2);
    tcase_add_test(error, send_error__peer_that_does_not_listen_costs_100_ms);
    tcase_add_test(error, send_error__is_not_tried_once_the_peer_has_hung_up);
    tcase_add_test(error, last_ready__is_delivered);
    tcase_add_loop_test(error, last_ready__waits_2_s_at_most, 0, 2);
    tcase_add_test(sending, post__bytes_on_the_wire);
    tcase_add_test(sending, post__largest_message_goes_through);
    tcase_add_test(sending, reserve__waits_until_a_slot_is_delivered);
    tcase_add_test(sending, reserve__message_that_is_never_delivered_ends_at_the_deadline);
    tcase_add_test(sending, post__failed_post_gives_the_slot_back_and_keeps_the_credit);
    tcase_add_test(sending, post__failed_send_is_told_at_the_next_wait);
    tcase_add_test(sending, done__failed_repost_is_told);
    tcase_add_test(sending, receive__failed_repost_of_a_READY_is_told);
    tcase_add_test(sending, pull__many_messages_in_a_row);
    return suite;
}
