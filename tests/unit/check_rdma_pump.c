/* SPDX-License-Identifier: BSD-3-Clause */
/* check_rdma_pump.c -- every wait ends: in what was waited for, an error, its deadline or cancel. */
#include "rdma/pump.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
#include <rmig/cancel.h>

#include "common/clock.h"
#include "tests/unit/rdma_fixture.h"
#include "tests/unit/suites.h"

static struct source_fixture f;
static struct rmig_rdma_pump *pump;
static struct rmig_cancel *cancel;
static struct rmig_err err;

static void setup(void)
{
    fabric_reset();
    ck_assert_int_eq(rmig_cancel_new(&cancel, NULL), 0);
    source_fixture_init(&f);
    f.params.cancel_fd = rmig_cancel_fd(cancel);
    source_fixture_connect(&f, 0);
    pump = &f.conn.pump;
    err = (struct rmig_err)RMIG_ERR_INIT;
}

static void teardown(void)
{
    source_fixture_release(&f);
    rmig_cancel_free(cancel);
    assert_nothing_left(FABRIC_ACTIVE);
    fabric_reset();
}

static bool never(void *arg)
{
    (void)arg;
    return false;
}

static bool at_once(void *arg)
{
    (void)arg;
    return true;
}

static int wait_for_ever(void *arg, struct rmig_err *e)
{
    (void)arg;
    return rmig_rdma_pump_until(pump, never, NULL, RMIG_NEVER_NS, "waiting for Godot", e);
}

static uint64_t ms_since(uint64_t start_ns)
{
    return (rmig_now_ns() - start_ns) / RMIG_NS_PER_MS;
}

static int post_empty(uint64_t wr_id, bool signalled)
{
    struct rmig_rdma_write write = { .wr_id = wr_id, .signalled = signalled };

    return rmig_rdma_verbs_post_writes(pump->lanes[0].verbs, &write, 1, NULL);
}

/* --- deadline and cancel ---------------------------------------------------------------------- */

START_TEST(until__ends_at_its_deadline)
{
    uint64_t start = rmig_now_ns();

    ck_assert_failed(rmig_rdma_pump_until(pump, never, NULL, rmig_deadline_ns(60),
                                          "waiting for Godot", &err),
                     -ETIMEDOUT, &err, "waiting for Godot");
    ck_assert_uint_ge(ms_since(start), 60);
    ck_assert_uint_lt(ms_since(start), 1000);
    ck_assert_ptr_nonnull(strstr(err.msg, f.port)); /* names the peer */
    /* It does not stick. */
    ck_assert_int_eq(rmig_rdma_pump_until(pump, at_once, NULL, 0, "nothing", NULL), 0);
}
END_TEST

START_TEST(until__cancel_from_another_thread_ends_it_within_100_ms)
{
    struct task task;
    uint64_t start;

    task_start(&task, wait_for_ever, NULL);
    ck_assert(task_runs(&task, 50));
    start = rmig_now_ns();
    rmig_cancel_trigger(cancel);
    ck_assert_failed(task_join(&task, 60000), -ECANCELED, &task.err, "waiting for Godot");
    ck_assert_uint_lt(task_took_ns(&task, start), 100 * RMIG_NS_PER_MS);
}
END_TEST

/* The peer keeps the pump busy: something has arrived each time that it looks. */
static void another_completion(void *opaque)
{
    (void)opaque;
    ck_assert_int_eq(post_empty(RMIG_RDMA_WR_ID(RMIG_RDMA_WR_WRITE, 0), true), 0);
}

START_TEST(until__cancel_is_seen_while_completions_keep_coming)
{
    struct task task;
    uint64_t start;

    fabric_set_idle_hook(FABRIC_ACTIVE, another_completion, NULL);
    task_start(&task, wait_for_ever, NULL);
    ck_assert(task_runs(&task, 50));
    start = rmig_now_ns();
    rmig_cancel_trigger(cancel);
    ck_assert_int_eq(task_join(&task, 60000), -ECANCELED);
    ck_assert_uint_lt(task_took_ns(&task, start), 100 * RMIG_NS_PER_MS);
    fabric_set_idle_hook(FABRIC_ACTIVE, NULL, NULL);
}
END_TEST

START_TEST(until__deadline_passes_while_completions_keep_coming)
{
    struct task task;

    pump->keepalive_ms = 1; /* every keepalive completes at once */
    ck_assert_int_eq(rmig_rdma_pump_until(pump, never, NULL, rmig_deadline_ns(60), "x", &err),
                     -ETIMEDOUT);
    (void)task;
}
END_TEST

/* Short waits that are over at once, one after another, as with a peer that is always ahead. */
static int wait_again_and_again(void *arg, struct rmig_err *e)
{
    int rc;

    (void)arg;
    do
        rc = rmig_rdma_pump_until(pump, at_once, NULL, RMIG_NEVER_NS, "waiting for READY", e);
    while (rc == 0);
    return rc;
}

START_TEST(until__cancel_is_seen_although_no_wait_ever_waits)
{
    struct task task;
    uint64_t start;

    task_start(&task, wait_again_and_again, NULL);
    ck_assert(task_runs(&task, 30));
    start = rmig_now_ns();
    rmig_cancel_trigger(cancel);
    ck_assert_int_eq(task_join(&task, 60000), -ECANCELED);
    ck_assert_uint_lt(task_took_ns(&task, start), 100 * RMIG_NS_PER_MS);
}
END_TEST

START_TEST(until__hang_up_is_seen_although_no_wait_ever_waits)
{
    struct task task;

    task_start(&task, wait_again_and_again, NULL);
    ck_assert(task_runs(&task, 30));
    ck_assert(fabric_inject(FABRIC_ACTIVE, 0, RDMA_CM_EVENT_DEVICE_REMOVAL, 0));
    ck_assert_int_eq(task_join(&task, 60000), -ENODEV);
}
END_TEST

START_TEST(until__cancel_is_ignored_while_tearing_down)
{
    rmig_cancel_trigger(cancel);
    pump->ignore_cancel = true;
    ck_assert_int_eq(rmig_rdma_pump_until(pump, never, NULL, rmig_deadline_ns(30), "x", &err),
                     -ETIMEDOUT);
}
END_TEST

/* --- the peer ---------------------------------------------------------------------------------- */

START_TEST(until__peer_hangs_up_while_waiting)
{
    struct task task;
    uint64_t start;

    task_start(&task, wait_for_ever, NULL);
    ck_assert(task_runs(&task, 30));
    start = rmig_now_ns();
    ck_assert_int_eq(raw_disconnect(f.peer), 0);
    ck_assert_failed(task_join(&task, 60000), -ECONNRESET, &task.err, "hung up");
    ck_assert_uint_lt(task_took_ns(&task, start), 100 * RMIG_NS_PER_MS);
    ck_assert_ptr_nonnull(strstr(task.err.msg, "waiting for Godot"));
    /* It sticks. */
    ck_assert_int_eq(rmig_rdma_pump_until(pump, never, NULL, RMIG_NEVER_NS, "x", &err), -ECONNRESET);
}
END_TEST

START_TEST(until__message_before_the_hang_up_is_dispatched)
{
    ck_assert_int_eq(raw_say(f.peer, RMIG_WIRE_ERROR, 1, NULL, 0), 0);
    ck_assert_int_eq(raw_disconnect(f.peer), 0);
    ck_assert_failed(wait_for_ever(NULL, &err), -ECONNABORTED, &err, "ERROR");
}
END_TEST

START_TEST(until__silent_peer_is_noticed_within_2_s)
{
    uint64_t start;

    fabric_black_hole();
    start = rmig_now_ns();
    ck_assert_failed(wait_for_ever(NULL, &err), -EIO, &err, "retry");
    ck_assert_uint_lt(ms_since(start), 2000);
}
END_TEST

/* Something that takes long here, in steps of 5 ms. */
static int work_and_breathe(void *arg, struct rmig_err *e)
{
    const struct timespec step = { 0, 5 * 1000 * 1000 };
    int rc = 0;

    (void)arg;
    for (int i = 0; rc == 0 && i < 800; i++) {
        nanosleep(&step, NULL);
        rc = rmig_rdma_pump_breathe(pump, "working", e);
    }
    return rc;
}

START_TEST(breathe__peer_hangs_up_while_working)
{
    struct task task;
    uint64_t start;

    task_start(&task, work_and_breathe, NULL);
    ck_assert(task_runs(&task, 30));
    start = rmig_now_ns();
    ck_assert_int_eq(raw_disconnect(f.peer), 0);
    ck_assert_failed(task_join(&task, 60000), -ECONNRESET, &task.err, "working");
    ck_assert_uint_lt(task_took_ns(&task, start), 100 * RMIG_NS_PER_MS);
}
END_TEST

START_TEST(breathe__silent_peer_is_noticed_within_2_s)
{
    struct task task;
    uint64_t start;

    fabric_black_hole();
    start = rmig_now_ns();
    task_start(&task, work_and_breathe, NULL);
    ck_assert_failed(task_join(&task, 60000), -EIO, &task.err, "retry");
    ck_assert_uint_lt(task_took_ns(&task, start), 2000 * RMIG_NS_PER_MS);
}
END_TEST

START_TEST(until__idle_but_living_peer_is_left_alone)
{
    struct fabric_counts counts;

    pump->keepalive_ms = 20;
    ck_assert_int_eq(rmig_rdma_pump_until(pump, never, NULL, rmig_deadline_ns(210), "x", &err),
                     -ETIMEDOUT);
    fabric_get_counts(FABRIC_ACTIVE, &counts);
    ck_assert_uint_ge(counts.empty_writes, 3);
    ck_assert_uint_le(counts.empty_writes, 11);
}
END_TEST

/* --- completions ------------------------------------------------------------------------------ */

static const int statuses[] = {
    IBV_WC_LOC_LEN_ERR,     IBV_WC_LOC_QP_OP_ERR, IBV_WC_LOC_PROT_ERR,
    IBV_WC_REM_INV_REQ_ERR, IBV_WC_REM_ACCESS_ERR, IBV_WC_REM_OP_ERR,
    IBV_WC_RETRY_EXC_ERR,   IBV_WC_RNR_RETRY_EXC_ERR, IBV_WC_GENERAL_ERR,
};
#define NSTATUSES ((int)(sizeof(statuses) / sizeof(statuses[0])))

START_TEST(until__failed_work_request_tells_status_and_vendor_error)
{
    char status[32];

    fabric_fail_wr(FABRIC_ACTIVE, FABRIC_WRITE, 1, statuses[_i], 0x1234);
    ck_assert_int_eq(post_empty(RMIG_RDMA_WR_ID(RMIG_RDMA_WR_WRITE, 0), true), 0);
    ck_assert_failed(wait_for_ever(NULL, &err), -EIO, &err,
                     rmig_rdma_verbs_status_text(statuses[_i]));
    snprintf(status, sizeof(status), "status %d,", statuses[_i]);
    ck_assert_ptr_nonnull(strstr(err.msg, status));
    ck_assert_ptr_nonnull(strstr(err.msg, "0x1234"));
    ck_assert_ptr_nonnull(strstr(err.msg, "RDMA write"));
    ck_assert_ptr_nonnull(strstr(err.msg, f.port));
    /* It sticks, and a later failure does not replace it. */
    memset(&err, 0, sizeof(err));
    ck_assert_failed(rmig_rdma_pump_until(pump, at_once, NULL, RMIG_NEVER_NS, "x", &err), -EIO,
                     &err, "0x1234");
    ck_assert_int_eq(rmig_rdma_pump_once(pump, NULL), -EIO);
}
END_TEST

static int refused_write(void *arg, struct rmig_err *e)
{
    return *(int *)arg ? rmig_rdma_pump_until(pump, at_once, NULL, RMIG_NEVER_NS, "x", e)
                       : wait_for_ever(NULL, e);
}

/* A destination that is killed loses its regions before it is heard to hang up. */
START_TEST(until__refused_write_and_then_a_hang_up_tell_that_the_peer_went)
{
    struct task task;

    fabric_fail_wr(FABRIC_ACTIVE, FABRIC_WRITE, 1, IBV_WC_REM_ACCESS_ERR, 5);
    ck_assert_int_eq(post_empty(RMIG_RDMA_WR_ID(RMIG_RDMA_WR_WRITE, 0), true), 0);
    task_start(&task, refused_write, &_i);
    ck_assert(task_runs(&task, 50));
    ck_assert_int_eq(raw_disconnect(f.peer), 0);
    ck_assert_failed(task_join(&task, 60000), -ECONNRESET, &task.err, "hung up");
    ck_assert_msg(strstr(task.err.msg, "status 10"), "%s", task.err.msg);
}
END_TEST

/* Nothing goes on as if nothing had been: neither what is fulfilled already, nor a short wait. */
START_TEST(until__refused_write_alone_is_told_after_a_moment)
{
    uint64_t start = rmig_now_ns();

    fabric_fail_wr(FABRIC_ACTIVE, FABRIC_WRITE, 1, IBV_WC_REM_ACCESS_ERR, 5);
    ck_assert_int_eq(post_empty(RMIG_RDMA_WR_ID(RMIG_RDMA_WR_WRITE, 0), true), 0);
    if (_i == 0)
        ck_assert_int_eq(wait_for_ever(NULL, &err), -EIO);
    else if (_i == 1)
        ck_assert_int_eq(rmig_rdma_pump_until(pump, at_once, NULL, RMIG_NEVER_NS, "x", &err), -EIO);
    else if (_i == 2)
        ck_assert_int_eq(rmig_rdma_pump_once(pump, &err), -EIO);
    else
        ck_assert_int_eq(rmig_rdma_pump_until(pump, never, NULL, rmig_deadline_ns(30), "x", &err),
                         -EIO);
    ck_assert_failed(err.code, -EIO, &err, "status 10");
    ck_assert_uint_ge(ms_since(start), _i == 3 ? 30 : 200);
    ck_assert_uint_lt(ms_since(start), 1500);
}
END_TEST

/* An unsignalled write completes only because it failed. */
START_TEST(until__failed_unsignalled_work_request_is_noticed)
{
    fabric_fail_wr(FABRIC_ACTIVE, FABRIC_WRITE, 1, IBV_WC_REM_ACCESS_ERR, 5);
    ck_assert_int_eq(post_empty(RMIG_RDMA_WR_ID(RMIG_RDMA_WR_WRITE, 0), false), 0);
    ck_assert_int_eq(wait_for_ever(NULL, &err), -EIO);
}
END_TEST

START_TEST(until__flushed_work_requests_alone_mean_hung_up)
{
    uint64_t start = rmig_now_ns();

    ck_assert_int_eq(rmig_rdma_verbs_disconnect(pump->lanes[0].verbs, NULL), 0);
    ck_assert_failed(wait_for_ever(NULL, &err), -ECONNRESET, &err, "hung up");
    ck_assert_uint_lt(ms_since(start), 1000);
}
END_TEST

static unsigned handled, wrong_order;

static int count_one(void *opaque, unsigned lane, const struct rmig_rdma_wc *wc,
                     struct rmig_err *e)
{
    (void)opaque;
    (void)e;
    wrong_order += lane != 0 || RMIG_RDMA_WR_VALUE(wc->wr_id) != handled;
    handled++;
    return 0;
}

static bool enough(void *arg)
{
    return handled >= *(unsigned *)arg;
}

START_TEST(until__completions_are_taken_in_batches_and_order)
{
    unsigned n = 200;
    struct fabric_counts counts;
    uint64_t polls;

    rmig_rdma_pump_set_handler(pump, RMIG_RDMA_WR_WRITE, count_one, NULL);
    for (unsigned i = 0; i < n; i++)
        ck_assert_int_eq(post_empty(RMIG_RDMA_WR_ID(RMIG_RDMA_WR_WRITE, i), true), 0);
    polls = fabric_calls(FABRIC_ACTIVE, API_poll_cq);
    ck_assert_done(rmig_rdma_pump_until(pump, enough, &n, RMIG_NEVER_NS, "x", &err), &err);
    polls = fabric_calls(FABRIC_ACTIVE, API_poll_cq) - polls;
    ck_assert_uint_eq(handled, n);
    ck_assert_uint_eq(wrong_order, 0);
    fabric_get_counts(FABRIC_ACTIVE, &counts);
    ck_assert_uint_ge(counts.largest_poll, 16);
    ck_assert_uint_le(polls, n / 16 + 2);
}
END_TEST

START_TEST(until__completion_that_comes_late_wakes_it)
{
    unsigned n = 1;

    rmig_rdma_pump_set_handler(pump, RMIG_RDMA_WR_WRITE, count_one, NULL);
    fabric_set_delay_ms(40);
    ck_assert_int_eq(post_empty(RMIG_RDMA_WR_ID(RMIG_RDMA_WR_WRITE, 0), true), 0);
    ck_assert_done(rmig_rdma_pump_until(pump, enough, &n, rmig_deadline_ns(3000), "x", &err), &err);
    ck_assert_uint_eq(handled, 1);
}
END_TEST

static int refuse(void *opaque, unsigned lane, const struct rmig_rdma_wc *wc, struct rmig_err *e)
{
    (void)opaque;
    (void)lane;
    (void)wc;
    return rmig_err_set(e, -EPROTO, "not liked");
}

START_TEST(until__what_a_handler_answers_sticks)
{
    rmig_rdma_pump_set_handler(pump, RMIG_RDMA_WR_WRITE, refuse, NULL);
    ck_assert_int_eq(post_empty(RMIG_RDMA_WR_ID(RMIG_RDMA_WR_WRITE, 0), true), 0);
    ck_assert_failed(wait_for_ever(NULL, &err), -EPROTO, &err, "not liked");
    ck_assert_int_eq(rmig_rdma_pump_once(pump, NULL), -EPROTO);
}
END_TEST

/* --- CM events -------------------------------------------------------------------------------- */

static const struct {
    enum rdma_cm_event_type type;
    int status, rc;
    const char *says;
} events[] = {
    { RDMA_CM_EVENT_ADDR_ERROR, -ENODEV, -ENODEV, "address" },
    { RDMA_CM_EVENT_ROUTE_ERROR, -ENETUNREACH, -ENETUNREACH, "route" },
    { RDMA_CM_EVENT_CONNECT_ERROR, -ECONNABORTED, -ECONNABORTED, "cannot be reached" },
    { RDMA_CM_EVENT_UNREACHABLE, -ETIMEDOUT, -ETIMEDOUT, "cannot be reached" },
    { RDMA_CM_EVENT_REJECTED, 28, -ECONNREFUSED, "28" },
    { RDMA_CM_EVENT_DISCONNECTED, 0, -ECONNRESET, "hung up" },
    { RDMA_CM_EVENT_DEVICE_REMOVAL, 0, -ENODEV, "removed" },
    { RDMA_CM_EVENT_ADDR_CHANGE, 0, -ETIMEDOUT, "" },
    { RDMA_CM_EVENT_TIMEWAIT_EXIT, 0, -ETIMEDOUT, "" },
    { RDMA_CM_EVENT_MULTICAST_JOIN, 0, -ETIMEDOUT, "" },
    { RDMA_CM_EVENT_ESTABLISHED, 0, -ETIMEDOUT, "" },
    { RDMA_CM_EVENT_CONNECT_REQUEST, 0, -ETIMEDOUT, "" },
};

START_TEST(until__cm_event_while_connected)
{
    ck_assert(fabric_inject(FABRIC_ACTIVE, 0, events[_i].type, events[_i].status));
    ck_assert_failed(
        rmig_rdma_pump_until(pump, never, NULL, rmig_deadline_ns(60), "waiting", &err),
        events[_i].rc, &err, events[_i].says);
}
END_TEST

START_TEST(until__cm_event_arrives_while_waiting)
{
    struct task task;

    task_start(&task, wait_for_ever, NULL);
    ck_assert(task_runs(&task, 20));
    ck_assert(fabric_inject(FABRIC_ACTIVE, 0, RDMA_CM_EVENT_DEVICE_REMOVAL, 0));
    ck_assert_int_eq(task_join(&task, 60000), -ENODEV);
}
END_TEST

/* --- asynchronous events ---------------------------------------------------------------------- */

static const struct {
    enum ibv_event_type type;
    int rc;
    const char *says;
} asyncs[] = {
    { IBV_EVENT_DEVICE_FATAL, -EIO, "while waiting: local catastrophic error" },
    { IBV_EVENT_QP_FATAL, -EIO, "while waiting: local work queue catastrophic error" },
    { IBV_EVENT_CQ_ERR, -EIO, "while waiting: CQ error" },
    { IBV_EVENT_PORT_ERR, -ETIMEDOUT, "the port of this host's RDMA device is down" },
    { IBV_EVENT_PORT_ACTIVE, -ETIMEDOUT, "timed out while waiting" },
    { IBV_EVENT_LID_CHANGE, -ETIMEDOUT, "timed out while waiting" },
    { IBV_EVENT_PKEY_CHANGE, -ETIMEDOUT, "timed out while waiting" },
    { IBV_EVENT_SM_CHANGE, -ETIMEDOUT, "timed out while waiting" },
    { IBV_EVENT_GID_CHANGE, -ETIMEDOUT, "timed out while waiting" },
    { IBV_EVENT_CLIENT_REREGISTER, -ETIMEDOUT, "timed out while waiting" },
    { IBV_EVENT_SRQ_ERR, -ETIMEDOUT, "timed out while waiting" },
    { IBV_EVENT_SRQ_LIMIT_REACHED, -ETIMEDOUT, "timed out while waiting" },
};
#define NASYNCS ((int)(sizeof(asyncs) / sizeof(asyncs[0])))

START_TEST(until__asynchronous_event)
{
    ck_assert(fabric_raise(FABRIC_ACTIVE, 0, asyncs[_i].type));
    ck_assert_failed(
        rmig_rdma_pump_until(pump, never, NULL, rmig_deadline_ns(60), "waiting", &err),
        asyncs[_i].rc, &err, asyncs[_i].says);
}
END_TEST

START_TEST(until__fatal_event_arrives_while_waiting)
{
    struct task task;

    task_start(&task, wait_for_ever, NULL);
    ck_assert(task_runs(&task, 20));
    ck_assert(fabric_raise(FABRIC_ACTIVE, 0, IBV_EVENT_CQ_ERR)); /* nothing else tells of it */
    ck_assert_failed(task_join(&task, 60000), -EIO, &task.err, "Godot: CQ error");
}
END_TEST

START_TEST(until__port_that_came_back_is_not_told)
{
    ck_assert(fabric_raise(FABRIC_ACTIVE, 0, IBV_EVENT_PORT_ERR));
    ck_assert(fabric_raise(FABRIC_ACTIVE, 0, IBV_EVENT_PORT_ACTIVE));
    ck_assert_int_eq(rmig_rdma_pump_until(pump, never, NULL, rmig_deadline_ns(60), "waiting", &err),
                     -ETIMEDOUT);
    ck_assert_msg(!strstr(err.msg, "port"), "%s", err.msg);
}
END_TEST

START_TEST(until__failure_while_the_port_is_down_says_so)
{
    ck_assert(fabric_raise(FABRIC_ACTIVE, 0, IBV_EVENT_PORT_ERR));
    fabric_fail_wr(FABRIC_ACTIVE, FABRIC_WRITE, 1, IBV_WC_RETRY_EXC_ERR, 0);
    ck_assert_int_eq(post_empty(0, true), 0);
    ck_assert_failed(wait_for_ever(NULL, &err), -EIO, &err, "RDMA device is down");
    ck_assert_msg(strstr(err.msg, "retry counter exceeded"), "%s", err.msg);
}
END_TEST

/* The descriptor is of the process: whoever reads it tells those whom the event is for, no others. */
START_TEST(until__event_that_another_connection_took)
{
    struct source_fixture other;

    source_fixture_init(&other);
    source_fixture_connect(&other, 0);
    ck_assert(fabric_raise(FABRIC_ACTIVE, _i ? 1 : 0, IBV_EVENT_QP_FATAL));
    ck_assert_int_eq(rmig_rdma_pump_until(_i ? pump : &other.conn.pump, never, NULL,
                                          rmig_deadline_ns(60), "waiting", &err),
                     -ETIMEDOUT);
    err = (struct rmig_err)RMIG_ERR_INIT;
    ck_assert_failed(rmig_rdma_pump_until(_i ? &other.conn.pump : pump, never, NULL,
                                          rmig_deadline_ns(1000), "waiting", &err),
                     -EIO, &err, "local work queue catastrophic error");
    source_fixture_release(&other);
}
END_TEST

/* --- failing calls ---------------------------------------------------------------------------- */

START_TEST(until__failing_verbs_call_ends_it)
{
    static const enum api calls[] = { API_poll_cq, API_req_notify_cq, API_get_cm_event,
                                            API_get_cq_event, API_post_send };
    struct call_failure failure = failure_of(calls[_i]);

    fabric_fail_call(FABRIC_ACTIVE, calls[_i], 1, ENOSPC);
    if (calls[_i] == API_get_cm_event)
        ck_assert(fabric_inject(FABRIC_ACTIVE, 0, RDMA_CM_EVENT_MULTICAST_JOIN, 0));
    pump->keepalive_ms = 10; /* a post, and a completion event */
    fabric_set_delay_ms(5);
    ck_assert_failed(
        rmig_rdma_pump_until(pump, never, NULL, rmig_deadline_ns(2000), "waiting", &err),
        failure.rc, &err, failure.says);
}
END_TEST

START_TEST(wait_fd__readable_deadline_and_cancel)
{
    int fd = eventfd(0, EFD_NONBLOCK);
    uint64_t one = 1;

    ck_assert_int_ge(fd, 0);
    ck_assert_failed(rmig_rdma_pump_wait_fd(fd, rmig_cancel_fd(cancel), rmig_deadline_ns(20),
                                            "listening", &err),
                     -ETIMEDOUT, &err, "listening");
    ck_assert_int_eq(write(fd, &one, sizeof(one)), sizeof(one));
    ck_assert_int_eq(
        rmig_rdma_pump_wait_fd(fd, rmig_cancel_fd(cancel), RMIG_NEVER_NS, "listening", NULL), 0);
    rmig_cancel_trigger(cancel);
    memset(&err, 0, sizeof(err));
    ck_assert_failed(
        rmig_rdma_pump_wait_fd(fd, rmig_cancel_fd(cancel), RMIG_NEVER_NS, "listening", &err),
        -ECANCELED, &err, "listening");
    close(fd);
}
END_TEST

START_TEST(until__the_first_failure_is_kept)
{
    fabric_fail_wr(FABRIC_ACTIVE, FABRIC_WRITE, 1, IBV_WC_LOC_PROT_ERR, 7);
    if (_i) {
        ck_assert(fabric_inject(FABRIC_ACTIVE, 0, RDMA_CM_EVENT_DEVICE_REMOVAL, 0));
        ck_assert_failed(wait_for_ever(NULL, &err), -ENODEV, &err, "removed");
    }
    ck_assert_int_eq(post_empty(RMIG_RDMA_WR_ID(RMIG_RDMA_WR_WRITE, 0), true), 0);
    memset(&err, 0, sizeof(err));
    ck_assert_failed(wait_for_ever(NULL, &err), _i ? -ENODEV : -EIO, &err, _i ? "removed" : "status 4");
    ck_assert(fabric_inject(FABRIC_ACTIVE, 0, RDMA_CM_EVENT_DEVICE_REMOVAL, 0));
    pump->next_check_ns = 0;
    memset(&err, 0, sizeof(err));
    ck_assert_failed(wait_for_ever(NULL, &err), _i ? -ENODEV : -EIO, &err, _i ? "removed" : "status 4");
}
END_TEST

Suite *rdma_pump_suite(void)
{
    Suite *suite = suite_create("rdma/pump");
    TCase *time = tcase_create("time"), *peer = tcase_create("peer"), *wc = tcase_create("wc");
    TCase *cm = tcase_create("cm"), *calls = tcase_create("calls");
    TCase *all[] = { time, peer, wc, cm, calls };

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        suite_add_tcase(suite, all[i]);
        tcase_add_checked_fixture(all[i], setup, teardown);
    }
    tcase_add_test(time, until__ends_at_its_deadline);
    tcase_add_test(time, until__cancel_from_another_thread_ends_it_within_100_ms);
    tcase_add_test(time, until__cancel_is_seen_while_completions_keep_coming);
    tcase_add_test(time, until__deadline_passes_while_completions_keep_coming);
    tcase_add_test(time, until__cancel_is_seen_although_no_wait_ever_waits);
    tcase_add_test(time, until__hang_up_is_seen_although_no_wait_ever_waits);
    tcase_add_test(time, until__cancel_is_ignored_while_tearing_down);
    tcase_add_test(peer, until__peer_hangs_up_while_waiting);
    tcase_add_test(peer, until__message_before_the_hang_up_is_dispatched);
    tcase_add_test(peer, until__silent_peer_is_noticed_within_2_s);
    tcase_add_test(peer, breathe__peer_hangs_up_while_working);
    tcase_add_test(peer, breathe__silent_peer_is_noticed_within_2_s);
    tcase_add_test(peer, until__idle_but_living_peer_is_left_alone);
    tcase_add_loop_test(wc, until__failed_work_request_tells_status_and_vendor_error, 0, NSTATUSES);
    tcase_add_loop_test(wc, until__refused_write_and_then_a_hang_up_tell_that_the_peer_went, 0, 2);
    tcase_add_loop_test(wc, until__refused_write_alone_is_told_after_a_moment, 0, 4);
    tcase_add_test(wc, until__failed_unsignalled_work_request_is_noticed);
    tcase_add_test(wc, until__flushed_work_requests_alone_mean_hung_up);
    tcase_add_test(wc, until__completions_are_taken_in_batches_and_order);
    tcase_add_test(wc, until__completion_that_comes_late_wakes_it);
    tcase_add_test(wc, until__what_a_handler_answers_sticks);
    tcase_add_loop_test(cm, until__cm_event_while_connected, 0,
                        (int)(sizeof(events) / sizeof(events[0])));
    tcase_add_test(cm, until__cm_event_arrives_while_waiting);
    tcase_add_loop_test(cm, until__asynchronous_event, 0, NASYNCS);
    tcase_add_test(cm, until__fatal_event_arrives_while_waiting);
    tcase_add_test(cm, until__port_that_came_back_is_not_told);
    tcase_add_test(cm, until__failure_while_the_port_is_down_says_so);
    tcase_add_loop_test(cm, until__event_that_another_connection_took, 0, 2);
    tcase_add_loop_test(calls, until__failing_verbs_call_ends_it, 0, 5);
    tcase_add_test(calls, wait_fd__readable_deadline_and_cancel);
    tcase_add_loop_test(calls, until__the_first_failure_is_kept, 0, 2);
    return suite;
}
