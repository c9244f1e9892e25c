/* SPDX-License-Identifier: BSD-3-Clause */
/* check_rdma_lanes.c -- a destination with several queue pairs: a pass is over when all of them say so. */
#include "rdma/dest.h"

#include <errno.h>
#include <rmig/cancel.h>

#include "common/clock.h"
#include "tests/unit/rdma_fixture.h"
#include "tests/unit/suites.h"

#define MIB ((uint64_t)1 << 20)
#define LANES 3u

static struct rmig_transport_params params;
static struct rmig_rdma_listener *listener;
static struct rmig_rdma_conn conn;
static struct rmig_rdma_dest dest;
static struct raw_peer *peers[LANES];
static struct rmig_cancel *cancel;
static struct rmig_err err;
static struct ram ram;
static struct task serving;

static int accept_all(void *arg, struct rmig_err *e)
{
    (void)arg;
    return rmig_rdma_conn_accept(&conn, listener, 2000, &params, e);
}

static void setup(void)
{
    static const uint64_t length = MIB;
    struct task task;
    uint16_t port;

    fabric_reset();
    err = (struct rmig_err)RMIG_ERR_INIT;
    memset(&conn, 0, sizeof(conn));
    ck_assert_int_eq(rmig_cancel_new(&cancel, NULL), 0);
    params = fixture_params();
    params.cancel_fd = rmig_cancel_fd(cancel);
    ram_init(&ram, 1, &length);
    ck_assert_done(rmig_rdma_listener_open(&params, &listener, &port, &err), &err);
    task_start(&task, accept_all, NULL);
    for (uint32_t i = 0; i < LANES; i++) {
        uint8_t bytes[RMIG_WIRE_PRIVATE_MAX_BYTES];
        struct raw_opts opts = { .private_data = bytes, .private_data_len_bytes = sizeof(bytes),
                                 .rnr_retry_count = 7, .ack_timeout = 10 };

        private_of(bytes, RMIG_WIRE_VERSION, RMIG_WIRE_FLAG_LANES, 42, i, LANES);
        ck_assert_int_eq(raw_connect_start(port, &opts, &peers[i]), 0);
        ck_assert_int_eq(raw_established(peers[i], 60000), 0);
    }
    ck_assert_done(task_join(&task, 60000), &task.err);
    rmig_rdma_dest_init(&dest, &conn, ram_zero_range);
    ck_assert_done(rmig_rdma_dest_set_blocks(&dest, ram.blocks, 1, &err), &err);
    ck_assert_done(rmig_rdma_dest_list_block(&dest, "block0", &err), &err);
}

static void teardown(void)
{
    rmig_rdma_conn_tear_down(&conn, false);
    rmig_rdma_dest_release(&dest);
    rmig_rdma_conn_release(&conn);
    for (uint32_t i = 0; i < LANES; i++)
        raw_close(peers[i]);
    rmig_rdma_listener_close(listener);
    ram_release(&ram);
    rmig_cancel_free(cancel);
    for (int side = FABRIC_ACTIVE; side < FABRIC_SIDES; side++)
        assert_nothing_left((enum fabric_side)side);
    fabric_reset();
}

static int serve(void *arg, struct rmig_err *e)
{
    (void)arg;
    return rmig_rdma_dest_serve(&dest, e);
}

static void say(uint32_t type)
{
    ck_assert_int_eq(raw_say_on_ready(peers[0], type, 1, NULL, 0), 0);
}

static void mark(uint32_t lane)
{
    ck_assert_int_eq(raw_send(peers[lane], NULL, 0), 0);
}

static void ended_well(void)
{
    int rc = task_join(&serving, 60000);

    ck_assert_done(rc, &serving.err);
}

/* The pass of the exchange has no writes, and no marks. */
static void exchange(void)
{
    task_start(&serving, serve, NULL);
    say(RMIG_WIRE_RAM_BLOCKS_REQUEST);
    ck_assert_int_eq(raw_expect(peers[0], RMIG_WIRE_RAM_BLOCKS_RESULT, NULL), 0);
    say(RMIG_WIRE_REGISTER_FINISHED);
    ended_well();
}

START_TEST(serve__pass_is_over_when_every_queue_pair_says_so)
{
    exchange();
    for (int pass = 0; pass < 10; pass++) {
        task_start(&serving, serve, NULL);
        if (pass % 2) /* they may well come before */
            mark(2);
        say(RMIG_WIRE_REGISTER_FINISHED);
        ck_assert(task_runs(&serving, 10));
        mark(1);
        if (pass % 2 == 0) {
            ck_assert(task_runs(&serving, 10));
            mark(2);
        }
        ended_well();
    }
}
END_TEST

START_TEST(serve__pass_that_one_queue_pair_never_ends)
{
    uint64_t start;

    if (_i == 0)
        params.idle_timeout_ms = conn.idle_timeout_ms = 100;
    exchange();
    task_start(&serving, serve, NULL);
    mark(1);
    say(RMIG_WIRE_REGISTER_FINISHED);
    if (_i) {
        ck_assert(task_runs(&serving, 30));
        start = rmig_now_ns();
        rmig_cancel_trigger(cancel);
        ck_assert_failed(task_join(&serving, 60000), -ECANCELED, &serving.err, "cancelled");
        ck_assert_uint_lt(task_took_ns(&serving, start), 100 * RMIG_NS_PER_MS);
    } else {
        ck_assert_failed(task_join(&serving, 60000), -ETIMEDOUT, &serving.err, "every queue pair");
    }
}
END_TEST

/* Nobody asked for them: a source cannot keep the destination busy with marks. */
START_TEST(serve__marks_without_passes_are_EPROTO)
{
    exchange();
    task_start(&serving, serve, NULL);
    for (int i = 0; i < 2; i++)
        mark((uint32_t)_i);
    ck_assert_failed(task_join(&serving, 60000), -EPROTO, &serving.err, "twice");
}
END_TEST

START_TEST(serve__mark_that_is_none_ends_the_connection)
{
    exchange();
    task_start(&serving, serve, NULL);
    if (_i) {
        fabric_set_immediate(FABRIC_ACTIVE, true);
        mark(1);
        ck_assert_failed(task_join(&serving, 60000), -EPROTO, &serving.err, "immediate");
    } else { /* bytes, where there is no room for one */
        ck_assert_int_eq(raw_send(peers[1], "x", 1), 0);
        ck_assert_failed(task_join(&serving, 60000), -EIO, &serving.err, "mark");
    }
}
END_TEST

Suite *rdma_lanes_suite(void)
{
    Suite *suite = suite_create("rdma/lanes");
    TCase *marks = tcase_create("marks");

    suite_add_tcase(suite, marks);
    tcase_add_checked_fixture(marks, setup, teardown);
    tcase_add_test(marks, serve__pass_is_over_when_every_queue_pair_says_so);
    tcase_add_loop_test(marks, serve__pass_that_one_queue_pair_never_ends, 0, 2);
    tcase_add_loop_test(marks, serve__marks_without_passes_are_EPROTO, 1, LANES);
    tcase_add_loop_test(marks, serve__mark_that_is_none_ends_the_connection, 0, 2);
    return suite;
}
