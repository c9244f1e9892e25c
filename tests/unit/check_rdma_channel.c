/* SPDX-License-Identifier: BSD-3-Clause */
/* check_rdma_channel.c -- the byte channel: what it carries, what it refuses, how its waits end. */
#include "rdma/channel.h"

#include <errno.h>
#include <rmig/cancel.h>

#include "common/clock.h"
#include "tests/unit/rdma_fixture.h"
#include "tests/unit/suites.h"

#define MESSAGE_BYTES (256u << 10) /* the longest that the channel sends */

static struct source_fixture s; /* our source against a raw destination */
static struct dest_fixture d;   /* our destination against a raw source */
static struct rmig_rdma_channel channel;
static struct raw_peer *peer;
static struct rmig_err err;
static struct rmig_cancel *cancel;
static uint8_t bytes[MESSAGE_BYTES + 1000]; /* with a pattern: what is sent */

/* What the raw source answers each READY with; then nothing more. */
static struct {
    uint32_t type, len_bytes;
} script[8];
static unsigned nscript, nplayed;

static void setup(void)
{
    fabric_reset();
    nscript = nplayed = 0;
    err = (struct rmig_err)RMIG_ERR_INIT;
    ck_assert_int_eq(rmig_cancel_new(&cancel, NULL), 0);
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 7 + i / 251);
}

static void teardown(void)
{
    fabric_set_idle_hook(FABRIC_PASSIVE, NULL, NULL);
    if (s.listener)
        source_fixture_release(&s);
    if (d.listener)
        dest_fixture_release(&d);
    rmig_cancel_free(cancel);
    for (int side = FABRIC_ACTIVE; side < FABRIC_SIDES; side++)
        assert_nothing_left((enum fabric_side)side);
    fabric_reset();
}

static void as_source(uint32_t idle_timeout_ms)
{
    source_fixture_init(&s);
    s.params.idle_timeout_ms = idle_timeout_ms;
    s.params.cancel_fd = rmig_cancel_fd(cancel);
    s.peer_opts.slot_bytes = MESSAGE_BYTES + RMIG_WIRE_HEADER_BYTES;
    source_fixture_connect(&s, 0);
    rmig_rdma_channel_init(&channel, &s.conn);
    peer = s.peer;
}

static void as_dest_of(uint32_t flags, uint32_t idle_timeout_ms)
{
    dest_fixture_init(&d);
    d.params.idle_timeout_ms = idle_timeout_ms;
    d.params.cancel_fd = rmig_cancel_fd(cancel);
    d.peer_opts.slot_bytes = MESSAGE_BYTES + RMIG_WIRE_HEADER_BYTES;
    dest_fixture_connect(&d, flags);
    rmig_rdma_channel_init(&channel, &d.conn);
    peer = d.peer;
}

static void as_dest(uint32_t idle_timeout_ms)
{
    as_dest_of(0, idle_timeout_ms);
}

static ssize_t put(struct iovec *iov, int niov)
{
    return channel.base.ops->writev(&channel.base, iov, niov, &err);
}

static ssize_t put_bytes(size_t len)
{
    return put(&(struct iovec){ bytes, len }, 1);
}

static ssize_t get(void *buf, size_t len)
{
    return channel.base.ops->readv(&channel.base, &(struct iovec){ buf, len }, 1, &err);
}

static void heard_file(struct raw_msg *msg_p, uint32_t len)
{
    ck_assert_int_eq(raw_hear(peer, 1000, msg_p), 0);
    ck_assert_uint_eq(msg_p->type, RMIG_WIRE_QEMU_FILE);
    ck_assert_uint_eq(msg_p->len_bytes, len);
}

static void ready(void)
{
    ck_assert_int_eq(raw_say(peer, RMIG_WIRE_READY, 1, NULL, 0), 0);
}

/* --- one direction ---------------------------------------------------------------------------- */

START_TEST(channel__goes_one_way)
{
    char byte;

    _i ? as_dest(100) : as_source(100);
    ck_assert_uint_eq(channel.base.flags, _i ? RMIG_CHANNEL_READABLE : RMIG_CHANNEL_WRITABLE);
    ck_assert_failed((int)(_i ? put_bytes(1) : get(&byte, 1)), -EBADF, &err, "source to destination");
    ck_assert_int_eq(channel.base.ops->close(&channel.base, &err), 0); /* the owner closes */
    if (_i) {
        ck_assert(d.conn.established && !d.conn.torn_down);
    } else {
        ready();
        memset(&err, 0, sizeof(err));
        ck_assert_int_eq(put_bytes(3), 3);
    }
}
END_TEST

/* --- writing ---------------------------------------------------------------------------------- */

START_TEST(write__parts_become_one_message)
{
    struct iovec iov[] = { { bytes, 10 }, { bytes + 10, 0 }, { bytes + 10, 5000 }, { NULL, 0 } };
    struct raw_msg msg;

    as_source(1000);
    ready();
    ck_assert_int_eq(put(iov, 4), 5010);
    heard_file(&msg, 5010);
    ck_assert_mem_eq(msg.payload, bytes, 5010);
}
END_TEST

START_TEST(write__longer_than_a_message_is_taken_in_part)
{
    struct iovec iov[] = { { bytes, MESSAGE_BYTES - 1 }, { bytes + MESSAGE_BYTES - 1, 1001 } };
    struct raw_msg msg;

    as_source(1000);
    ready();
    ck_assert_int_eq(put(iov, 2), MESSAGE_BYTES);
    heard_file(&msg, MESSAGE_BYTES);
    ck_assert_mem_eq(msg.payload, bytes, MESSAGE_BYTES);
}
END_TEST

/* A stock destination would wait for ever behind a message without bytes. */
START_TEST(write__of_nothing_sends_nothing)
{
    struct iovec iov[] = { { bytes, 0 }, { NULL, 0 } };

    as_source(100);
    ready();
    ck_assert_int_eq(put(iov, 2), 0);
    ck_assert_int_eq(put(iov, 0), 0);
    raw_poll(peer);
    ck_assert_uint_eq(raw_pending(peer), 0);
    ck_assert_int_eq(put_bytes(1), 1); /* and uses no READY up */
}
END_TEST

START_TEST(write__without_READY_ends_at_the_deadline)
{
    as_source(60);
    ck_assert_failed((int)put_bytes(1), -ETIMEDOUT, &err, "READY");
    ready(); /* it can be asked for again */
    memset(&err, 0, sizeof(err));
    ck_assert_int_eq(put_bytes(1), 1);
}
END_TEST

/* --- reading ---------------------------------------------------------------------------------- */

/* One step of the raw source, whenever our destination has nothing to do. */
static void play(void *opaque)
{
    struct raw_msg msg;

    (void)opaque;
    while (raw_hear(peer, 0, &msg) == 0) {
        if (msg.type != RMIG_WIRE_READY || nplayed == nscript)
            continue;
        ck_assert_int_eq(raw_say(peer, script[nplayed].type, 1, bytes, script[nplayed].len_bytes), 0);
        nplayed++;
    }
}

static void plays(uint32_t type, uint32_t len_bytes)
{
    script[nscript].type = type;
    script[nscript++].len_bytes = len_bytes;
    fabric_set_idle_hook(FABRIC_PASSIVE, play, NULL);
}

START_TEST(read__in_pieces_asks_for_one_message_at_a_time)
{
    uint8_t got[100] = { 0 };

    as_dest(1000);
    plays(RMIG_WIRE_QEMU_FILE, 100);
    plays(RMIG_WIRE_QEMU_FILE, 50);
    ck_assert_uint_eq(rmig_rdma_channel_unread_bytes(&channel), 0);
    ck_assert_int_eq(get(got, 1), 1);
    ck_assert_uint_eq(rmig_rdma_channel_unread_bytes(&channel), 99);
    ck_assert_int_eq(get(got + 1, 60), 60);
    ck_assert_int_eq(get(got + 61, 39), 39); /* exactly its end */
    ck_assert_mem_eq(got, bytes, 100);
    ck_assert_uint_eq(rmig_rdma_channel_unread_bytes(&channel), 0);
    ck_assert_uint_eq(nplayed, 1); /* what has not been asked for was not granted */
    ck_assert_int_eq(get(got, 100), 50); /* what there is, no more */
    ck_assert_mem_eq(got, bytes, 50);
    ck_assert_uint_eq(nplayed, 2);
}
END_TEST

START_TEST(read__into_parts)
{
    uint8_t a[3], b[200];
    struct iovec iov[] = { { a, 3 }, { NULL, 0 }, { b, sizeof(b) } };

    as_dest(1000);
    plays(RMIG_WIRE_QEMU_FILE, 100);
    ck_assert_int_eq(channel.base.ops->readv(&channel.base, iov, 3, &err), 100);
    ck_assert_mem_eq(a, bytes, 3);
    ck_assert_mem_eq(b, bytes + 3, 97);
}
END_TEST

/* The buffers are used over and over: what was read must not change, what comes is whole. */
START_TEST(read__many_messages)
{
    static uint8_t got[MESSAGE_BYTES];

    as_dest(1000);
    for (uint32_t i = 0; i < 8; i++)
        plays(RMIG_WIRE_QEMU_FILE, MESSAGE_BYTES - i);
    for (uint32_t i = 0; i < 8; i++) {
        ck_assert_int_eq(get(got, sizeof(got)), MESSAGE_BYTES - i);
        ck_assert_mem_eq(got, bytes, MESSAGE_BYTES - i);
    }
}
END_TEST

START_TEST(read__of_nothing_asks_for_nothing)
{
    as_dest(1000);
    plays(RMIG_WIRE_QEMU_FILE, 100);
    ck_assert_int_eq(get(NULL, 0), 0);
    ck_assert_uint_eq(nplayed, 0);
}
END_TEST

/* Outside a window the source sends stream bytes or ERROR, nothing else. */
START_TEST(read__anything_but_stream_bytes_is_EPROTO)
{
    static const uint32_t sizes[RMIG_WIRE_TYPE_END] = {
        [RMIG_WIRE_RAM_BLOCKS_RESULT] = RMIG_WIRE_BLOCK_BYTES,
        [RMIG_WIRE_COMPRESS] = RMIG_WIRE_COMPRESS_BYTES,
        [RMIG_WIRE_REGISTER_REQUEST] = RMIG_WIRE_REGISTER_BYTES,
        [RMIG_WIRE_REGISTER_RESULT] = RMIG_WIRE_RESULT_BYTES,
        [RMIG_WIRE_UNREGISTER_REQUEST] = RMIG_WIRE_REGISTER_BYTES,
    };
    uint32_t type = (uint32_t)_i;
    char byte;

    as_dest(1000);
    if (type == RMIG_WIRE_QEMU_FILE)
        return;
    plays(type, sizes[type]);
    ck_assert_failed((int)get(&byte, 1), type == RMIG_WIRE_ERROR ? -ECONNABORTED : -EPROTO, &err,
                     type ? rmig_wire_type_name(type) : "type 0");
    ck_assert_uint_eq(nplayed, 1);
}
END_TEST

START_TEST(read__silent_source_ends_at_the_idle_deadline)
{
    char byte;

    as_dest(60);
    ck_assert_failed((int)get(&byte, 1), -ETIMEDOUT, &err, "QEMU_FILE");
}
END_TEST

/* How a source that died looks: no end of the stream, an error. */
START_TEST(read__source_that_hangs_up_is_no_end_of_stream)
{
    char got[100];

    as_dest(1000);
    if (_i) { /* in the middle of a message: what came is read, then it is told */
        plays(RMIG_WIRE_QEMU_FILE, 100);
        ck_assert_int_eq(get(got, 40), 40);
        ck_assert_int_eq(raw_disconnect(peer), 0);
        ck_assert_int_eq(get(got, 59), 59);
        ck_assert_int_eq(get(got, 1), 1);
    } else {
        ck_assert_int_eq(raw_disconnect(peer), 0);
    }
    ck_assert_failed((int)get(got, 1), -ECONNRESET, &err, "hung up");
}
END_TEST

/* It may be a QEMU with a capability that cannot be had. */
START_TEST(read__stock_source_without_a_word_is_explained)
{
    const bool hangs_up = _i != 1, is_stock = _i != 2, has_spoken = _i == 3;
    char got[8];

    as_dest_of(is_stock ? 0 : RMIG_WIRE_FLAG_MULTI_REGISTER, hangs_up ? 1000 : 60);
    if (has_spoken) {
        plays(RMIG_WIRE_QEMU_FILE, sizeof(got));
        ck_assert_int_eq(get(got, sizeof(got)), sizeof(got));
    }
    if (hangs_up)
        ck_assert_int_eq(raw_disconnect(peer), 0);
    ck_assert_failed((int)get(got, 1), hangs_up ? -ECONNRESET : -ETIMEDOUT, &err, "QEMU_FILE");
    ck_assert_int_eq(strstr(err.msg, "postcopy-ram or dirty-bitmaps") != NULL,
                     is_stock && !has_spoken);
}
END_TEST

/* --- cancel and the end ----------------------------------------------------------------------- */

static int blocked(void *arg, struct rmig_err *e)
{
    struct iovec iov = { bytes, 1 };

    return (int)(*(int *)arg ? channel.base.ops->readv(&channel.base, &iov, 1, e)
                             : channel.base.ops->writev(&channel.base, &iov, 1, e));
}

START_TEST(channel__cancel_ends_a_wait_within_100_ms)
{
    struct task task;
    uint64_t start;

    _i ? as_dest(5000) : as_source(5000);
    task_start(&task, blocked, &_i);
    ck_assert(task_runs(&task, 30));
    start = rmig_now_ns();
    rmig_cancel_trigger(cancel);
    ck_assert_failed(task_join(&task, 60000), -ECANCELED, &task.err, "cancelled");
    ck_assert_uint_lt(task_took_ns(&task, start), 100 * RMIG_NS_PER_MS);
}
END_TEST

/* The queue pair is gone: an answer, and no work request. */
START_TEST(write__after_the_end_is_ENOTCONN)
{
    struct fabric_counts before, after;

    as_source(100);
    ready();
    ck_assert_int_eq(put_bytes(1), 1);
    ready();
    raw_poll(peer);
    ck_assert_done(rmig_rdma_pump_once(&s.conn.pump, &err), &err);
    ck_assert_uint_eq(s.conn.ctrl.credits, 1); /* it could send, if it were not over */
    rmig_rdma_conn_tear_down(&s.conn, false);
    fabric_get_counts(FABRIC_ACTIVE, &before);
    ck_assert_failed((int)put_bytes(1), -ENOTCONN, &err, "over");
    fabric_get_counts(FABRIC_ACTIVE, &after);
    ck_assert_uint_eq(after.sends, before.sends);
}
END_TEST

START_TEST(read__after_the_end_is_ENOTCONN)
{
    char byte;

    as_dest(100);
    plays(RMIG_WIRE_QEMU_FILE, 2);
    if (_i) /* also where half a message is left */
        ck_assert_int_eq(get(&byte, 1), 1);
    rmig_rdma_conn_tear_down(&d.conn, false);
    ck_assert_failed((int)get(&byte, 1), -ENOTCONN, &err, "over");
}
END_TEST

/* That the destination asks for more says that it has taken in all that came before. */
START_TEST(wait__ends_with_the_READY_and_uses_none_up)
{
    struct raw_msg msg;

    as_source(100);
    ck_assert_failed(channel.base.ops->wait(&channel.base, RMIG_SHUT_WRITE, &err), -ETIMEDOUT, &err,
                     "READY");
    memset(&err, 0, sizeof(err));
    s.conn.pump.error = err;
    ready();
    for (int i = 0; i < 2; i++)
        ck_assert_done(channel.base.ops->wait(&channel.base, RMIG_SHUT_WRITE, &err), &err);
    ck_assert_int_eq(put_bytes(3), 3);
    heard_file(&msg, 3);
    ck_assert_int_eq(channel.base.ops->wait(&channel.base, RMIG_SHUT_READ, NULL), -ENOTSUP);
}
END_TEST

START_TEST(wait__is_for_a_source_that_is_connected)
{
    if (_i) {
        as_dest(100);
        ck_assert_failed(channel.base.ops->wait(&channel.base, RMIG_SHUT_WRITE, &err), -ENOTSUP, &err,
                         "source");
    } else {
        as_source(100);
        rmig_rdma_conn_tear_down(&s.conn, false);
        ck_assert_failed(channel.base.ops->wait(&channel.base, RMIG_SHUT_WRITE, &err), -ENOTCONN, &err,
                         "over");
    }
}
END_TEST

Suite *rdma_channel_suite(void)
{
    Suite *suite = suite_create("rdma/channel");
    TCase *writing = tcase_create("write"), *reading = tcase_create("read");
    TCase *end = tcase_create("end");
    TCase *all[] = { writing, reading, end };

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        suite_add_tcase(suite, all[i]);
        tcase_add_checked_fixture(all[i], setup, teardown);
    }
    tcase_add_loop_test(writing, channel__goes_one_way, 0, 2);
    tcase_add_test(writing, write__parts_become_one_message);
    tcase_add_test(writing, write__longer_than_a_message_is_taken_in_part);
    tcase_add_test(writing, write__of_nothing_sends_nothing);
    tcase_add_test(writing, write__without_READY_ends_at_the_deadline);
    tcase_add_test(reading, read__in_pieces_asks_for_one_message_at_a_time);
    tcase_add_test(reading, read__into_parts);
    tcase_add_test(reading, read__many_messages);
    tcase_add_test(reading, read__of_nothing_asks_for_nothing);
    tcase_add_loop_test(reading, read__anything_but_stream_bytes_is_EPROTO, 0, RMIG_WIRE_TYPE_END);
    tcase_add_test(reading, read__silent_source_ends_at_the_idle_deadline);
    tcase_add_loop_test(reading, read__source_that_hangs_up_is_no_end_of_stream, 0, 2);
    tcase_add_loop_test(reading, read__stock_source_without_a_word_is_explained, 0, 4);
    tcase_add_test(writing, wait__ends_with_the_READY_and_uses_none_up);
    tcase_add_loop_test(writing, wait__is_for_a_source_that_is_connected, 0, 2);
    tcase_add_loop_test(end, channel__cancel_ends_a_wait_within_100_ms, 0, 2);
    tcase_add_test(end, write__after_the_end_is_ENOTCONN);
    tcase_add_loop_test(end, read__after_the_end_is_ENOTCONN, 0, 2);
    return suite;
}
