/* SPDX-License-Identifier: BSD-3-Clause */
/* pump.c -- polls completions and CM events of a connection and waits for them, with a deadline. */
#include "rdma/pump.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "common/clock.h"
#include "common/overflow.h"

/* Completions taken per poll. */
#define BATCH 32

/* While completions keep coming, CM events and cancel are still looked at this often. */
#define CHECK_INTERVAL_NS (10 * RMIG_NS_PER_MS)

/* Flushed work requests say that the connection is gone but not why, and what the peer's device
 * refused may be all that is left of a peer that was killed: wait this long for the CM event or the
 * failed work request that tells. */
#define GRACE_NS (200 * RMIG_NS_PER_MS)

void rmig_rdma_pump_init(struct rmig_rdma_pump *pump, int cancel_fd, uint32_t keepalive_ms)
{
    memset(pump, 0, sizeof(*pump));
    pump->cancel_fd = cancel_fd;
    pump->keepalive_ms = keepalive_ms;
    pump->doing = "connecting";
}

void rmig_rdma_pump_destroy_qps(struct rmig_rdma_pump *pump)
{
    for (unsigned i = 0; i < pump->nlanes; i++) {
        rmig_rdma_verbs_destroy_qp(pump->lanes[i].verbs);
        pump->lanes[i].has_qp = false;
    }
}

void rmig_rdma_pump_release(struct rmig_rdma_pump *pump)
{
    for (unsigned i = 0; i < pump->nlanes; i++)
        rmig_rdma_verbs_close(pump->lanes[i].verbs);
    pump->nlanes = 0;
}

unsigned rmig_rdma_pump_add_lane(struct rmig_rdma_pump *pump, struct rmig_rdma_verbs *verbs)
{
    pump->lanes[pump->nlanes] = (struct rmig_rdma_lane){ .verbs = verbs };
    return pump->nlanes++;
}

void rmig_rdma_pump_set_handler(struct rmig_rdma_pump *pump, enum rmig_rdma_wr_kind kind,
                                rmig_rdma_completion_fn fn, void *opaque)
{
    pump->handlers[kind].fn = fn;
    pump->handlers[kind].opaque = opaque;
}

/* What the devices tell by asynchronous events. Returns: what ended a lane, or NULL. */
static const char *ask_devices(struct rmig_rdma_pump *pump)
{
    const char *ended_by = NULL;

    pump->port_is_down = false;
    for (unsigned i = 0; i < pump->nlanes && !ended_by; i++) {
        bool down;

        ended_by = rmig_rdma_verbs_take_async(pump->lanes[i].verbs, &down);
        pump->port_is_down |= down;
    }
    return ended_by;
}

static const char *port_text(const struct rmig_rdma_pump *pump)
{
    return pump->port_is_down ? "; the port of this host's RDMA device is down" : "";
}

/* The first failure is kept. */
static void stick(struct rmig_rdma_pump *pump, const struct rmig_err *cause)
{
    if (pump->error.code)
        return;
    ask_devices(pump);
    rmig_err_set(&pump->error, cause->code, "%s%s", cause->msg, port_text(pump));
}

/* An asynchronous event that ends the connection. */
static int check_devices(struct rmig_rdma_pump *pump)
{
    const char *ended_by = ask_devices(pump);
    struct rmig_err err = RMIG_ERR_INIT;

    if (!ended_by)
        return 0;
    rmig_err_set(&err, -EIO, "this host's RDMA device ended the connection to peer %s while %s: %s",
                 pump->peer, pump->doing, ended_by);
    stick(pump, &err);
    return pump->error.code;
}

static int tell(const struct rmig_rdma_pump *pump, struct rmig_err *err)
{
    return rmig_err_set(err, pump->error.code, "%s", pump->error.msg);
}

/* --- completions ------------------------------------------------------------------------------ */

static const char *kind_name(enum rmig_rdma_wr_kind kind)
{
    static const char *const names[RMIG_RDMA_WR_KINDS] = { "receive", "send", "RDMA write",
                                                           "keepalive", "mark" };

    return kind < RMIG_RDMA_WR_KINDS ? names[kind] : "work request";
}

static void dispatch_failure(struct rmig_rdma_pump *pump, unsigned lane,
                             const struct rmig_rdma_wc *wc)
{
    struct rmig_err err = RMIG_ERR_INIT;

    if (wc->flushed) {
        if (!pump->flushed_ns)
            pump->flushed_ns = rmig_now_ns();
        return;
    }
    rmig_err_set(&err, -EIO,
                 "%s to peer %s failed on queue pair %u while %s: %s (status %d, vendor error 0x%x)",
                 kind_name(wc->wr_id >> RMIG_RDMA_WR_SHIFT), pump->peer, lane, pump->doing,
                 rmig_rdma_verbs_status_text(wc->status), wc->status, wc->vendor_error);
    if (!wc->refused) {
        stick(pump, &err);
    } else if (!pump->refused_ns) {
        pump->refusal = err;
        pump->refused_ns = rmig_now_ns();
    }
}

static void dispatch(struct rmig_rdma_pump *pump, unsigned lane, const struct rmig_rdma_wc *wc)
{
    uint64_t kind = wc->wr_id >> RMIG_RDMA_WR_SHIFT;
    struct rmig_err err = RMIG_ERR_INIT;

    if (wc->status) {
        dispatch_failure(pump, lane, wc);
    } else if (kind == RMIG_RDMA_WR_KEEPALIVE) {
        pump->keepalive_in_flight = false;
    } else if (kind < RMIG_RDMA_WR_KINDS && pump->handlers[kind].fn) {
        if (pump->handlers[kind].fn(pump->handlers[kind].opaque, lane, wc, &err) < 0)
            stick(pump, &err);
    }
}

/* Returns: how many completions were dispatched. A failure sticks. */
static int poll_completions(struct rmig_rdma_pump *pump)
{
    struct rmig_rdma_wc wc[BATCH];
    int total = 0;

    for (unsigned lane = 0; lane < pump->nlanes; lane++) {
        struct rmig_err err = RMIG_ERR_INIT;
        int n;

        if (!pump->lanes[lane].has_qp)
            continue;
        n = rmig_rdma_verbs_poll(pump->lanes[lane].verbs, wc, BATCH, &err);
        if (n < 0) {
            stick(pump, &err);
            continue;
        }
        for (int i = 0; i < n; i++)
            dispatch(pump, lane, &wc[i]);
        total += n;
    }
    if (total) {
        pump->completions += (unsigned)total;
        pump->last_alive_ns = rmig_now_ns();
    }
    return total;
}

/* --- CM events -------------------------------------------------------------------------------- */

/* IB_CM_REJ_INVALID_SERVICE_ID (InfiniBand Architecture Specification, vol. 1, 12.6.7.2). */
#define CM_REJECT_NO_LISTENER 8

static void rejected(const struct rmig_rdma_pump *pump, const struct rmig_rdma_cm_event *event,
                     struct rmig_err *err)
{
    char why[RMIG_WIRE_REASON_MAX_BYTES];

    if (rmig_wire_decode_reason(event->private_data, event->private_data_len_bytes, why))
        rmig_err_set(err, -ECONNREFUSED, "peer %s refused the RDMA connection: \"%s\" while %s",
                     pump->peer, why, pump->doing);
    else
        rmig_err_set(err, -ECONNREFUSED,
                     "peer %s refused the RDMA connection (CM reject reason %d%s) while %s",
                     pump->peer, event->status,
                     event->status == CM_REJECT_NO_LISTENER ? ": nobody listens there" : "",
                     pump->doing);
}

static void cm_failure(struct rmig_rdma_pump *pump, const struct rmig_rdma_cm_event *event)
{
    struct rmig_err err = RMIG_ERR_INIT;
    int code = event->status < 0 ? event->status : -EHOSTUNREACH;

    switch (event->type) {
    case RMIG_RDMA_CM_REJECTED:
        rejected(pump, event, &err);
        break;
    case RMIG_RDMA_CM_ADDR_ERROR:
        rmig_err_set(&err, code, "no RDMA path to %s: address resolution: %s while %s", pump->peer,
                     strerror(-code), pump->doing);
        break;
    case RMIG_RDMA_CM_ROUTE_ERROR:
        rmig_err_set(&err, code, "no RDMA path to %s: route resolution: %s while %s", pump->peer,
                     strerror(-code), pump->doing);
        break;
    case RMIG_RDMA_CM_DEVICE_REMOVAL:
        rmig_err_set(&err, -ENODEV, "the RDMA device of the connection to %s was removed while %s",
                     pump->peer, pump->doing);
        break;
    default:
        rmig_err_set(&err, code, "peer %s cannot be reached over RDMA (CM event %s): %s while %s",
                     pump->peer,
                     event->type == RMIG_RDMA_CM_CONNECT_ERROR ? "CONNECT_ERROR" : "UNREACHABLE",
                     strerror(-code), pump->doing);
        break;
    }
    stick(pump, &err);
}

static void cm_event(struct rmig_rdma_pump *pump, unsigned lane,
                     const struct rmig_rdma_cm_event *event)
{
    switch (event->type) {
    case RMIG_RDMA_CM_ADDR_RESOLVED:
    case RMIG_RDMA_CM_ROUTE_RESOLVED:
        if (!pump->lanes[lane].has_qp)
            pump->lanes[lane].milestone = event->type;
        break;
    case RMIG_RDMA_CM_ESTABLISHED:
        if (!pump->lanes[lane].has_qp) /* nothing was asked that this could answer */
            break;
        pump->lanes[lane].milestone = event->type;
        pump->lanes[lane].established = *event;
        pump->last_alive_ns = rmig_now_ns();
        break;
    case RMIG_RDMA_CM_DISCONNECTED:
        pump->disconnected = true;
        pump->disconnected_ns = rmig_now_ns();
        break;
    case RMIG_RDMA_CM_ADDR_ERROR:
    case RMIG_RDMA_CM_ROUTE_ERROR:
    case RMIG_RDMA_CM_CONNECT_ERROR:
    case RMIG_RDMA_CM_UNREACHABLE:
    case RMIG_RDMA_CM_REJECTED:
    case RMIG_RDMA_CM_DEVICE_REMOVAL:
        cm_failure(pump, event);
        break;
    default: /* nothing of the rest concerns a connection */
        break;
    }
}

static void take_cm_events(struct rmig_rdma_pump *pump, unsigned lane)
{
    for (;;) {
        struct rmig_rdma_cm_event event;
        struct rmig_err err = RMIG_ERR_INIT;
        int rc = rmig_rdma_verbs_get_cm_event(pump->lanes[lane].verbs, &event, &err);

        if (rc < 0)
            stick(pump, &err);
        if (rc <= 0)
            return;
        cm_event(pump, lane, &event);
    }
}

/* --- waiting ---------------------------------------------------------------------------------- */

static void keep_alive(struct rmig_rdma_pump *pump)
{
    static const struct rmig_rdma_write nothing = {
        .wr_id = RMIG_RDMA_WR_ID(RMIG_RDMA_WR_KEEPALIVE, 0), .signalled = true
    };
    struct rmig_err err = RMIG_ERR_INIT;

    if (rmig_rdma_verbs_post_writes(pump->lanes[0].verbs, &nothing, 1, &err) < 0) {
        rmig_err_prefix(&err, "keepalive to peer %s", pump->peer);
        stick(pump, &err);
    } else {
        pump->keepalive_in_flight = true;
    }
}

/* When the next keepalive is due. */
static uint64_t keepalive_due_ns(const struct rmig_rdma_pump *pump)
{
    if (!pump->keepalive_ms || pump->keepalive_in_flight || pump->flushed_ns ||
        pump->refused_ns || pump->disconnected || pump->nlanes == 0 ||
        pump->lanes[0].milestone != RMIG_RDMA_CM_ESTABLISHED)
        return RMIG_NEVER_NS;
    return pump->last_alive_ns + pump->keepalive_ms * RMIG_NS_PER_MS;
}

static int arm(struct rmig_rdma_pump *pump, struct rmig_err *err)
{
    for (unsigned i = 0; i < pump->nlanes; i++) {
        int rc = pump->lanes[i].has_qp ? rmig_rdma_verbs_arm(pump->lanes[i].verbs, err) : 0;

        if (rc < 0)
            return rc;
    }
    return 0;
}

/*
 * Look at cancel, CM events and completion events, waiting for one until wake_ns (0 = only look).
 * Returns: 0; -ECANCELED; -errno of poll.
 */
static int wait_events(struct rmig_rdma_pump *pump, uint64_t wake_ns, struct rmig_err *err)
{
    struct pollfd fds[1 + 3 * RMIG_WIRE_LANES_MAX];
    nfds_t n = 0;
    int rc;

    fds[n++] = (struct pollfd){ pump->ignore_cancel ? -1 : pump->cancel_fd, POLLIN, 0 };
    for (unsigned i = 0; i < pump->nlanes; i++) {
        fds[n++] = (struct pollfd){ rmig_rdma_verbs_cm_fd(pump->lanes[i].verbs), POLLIN, 0 };
        fds[n++] = (struct pollfd){ rmig_rdma_verbs_cq_fd(pump->lanes[i].verbs), POLLIN, 0 };
        fds[n++] = (struct pollfd){ rmig_rdma_verbs_async_fd(pump->lanes[i].verbs), POLLIN, 0 };
    }
    rc = poll(fds, n, wake_ns ? rmig_poll_ms(wake_ns) : 0);
    pump->next_check_ns = rmig_now_ns() + CHECK_INTERVAL_NS;
    if (rc < 0)
        return errno == EINTR ? 0 : rmig_err_set(err, -errno, "poll: %s", strerror(errno));
    if (fds[0].revents)
        return rmig_err_set(err, -ECANCELED, "cancelled");
    for (unsigned i = 0; i < pump->nlanes; i++) {
        const struct pollfd *of_lane = &fds[1 + 3 * i];

        if (of_lane[0].revents)
            take_cm_events(pump, i);
        if (of_lane[1].revents &&
            rmig_rdma_verbs_take_cq_events(pump->lanes[i].verbs, err) < 0)
            return err ? err->code : -EIO;
        if (of_lane[2].revents)
            check_devices(pump);
    }
    return 0;
}

static bool grace_is_over(uint64_t since_ns)
{
    return since_ns && rmig_now_ns() - since_ns >= GRACE_NS;
}

/* The connection is over and nothing more can arrive: say so. */
static int check_hung_up(struct rmig_rdma_pump *pump, const char *what)
{
    struct rmig_err err = RMIG_ERR_INIT;

    /* Also what another connection of this process has taken. */
    if (pump->flushed_ns && check_devices(pump) < 0)
        return pump->error.code;
    if (pump->disconnected && pump->refused_ns)
        rmig_err_set(&err, -ECONNRESET, "peer %s hung up; before that, %s", pump->peer,
                     pump->refusal.msg); /* which says amid what */
    else if (pump->disconnected && pump->hears_out && !grace_is_over(pump->disconnected_ns))
        return 0;
    else if (pump->disconnected || (!pump->refused_ns && grace_is_over(pump->flushed_ns)))
        rmig_err_set(&err, -ECONNRESET, "peer %s hung up while %s", pump->peer, what);
    else if (grace_is_over(pump->refused_ns))
        err = pump->refusal;
    else
        return 0;
    stick(pump, &err);
    return pump->error.code;
}

static uint64_t wake_time_ns(const struct rmig_rdma_pump *pump, uint64_t deadline_ns)
{
    uint64_t wake = rmig_min_u64(deadline_ns, keepalive_due_ns(pump));

    if (pump->flushed_ns)
        wake = rmig_min_u64(wake, pump->flushed_ns + GRACE_NS);
    if (pump->disconnected)
        wake = rmig_min_u64(wake, pump->disconnected_ns + GRACE_NS);
    if (pump->refused_ns)
        wake = rmig_min_u64(wake, pump->refused_ns + GRACE_NS);
    return wake;
}

/* Nothing is there: arm, look once more (a completion may have come in between), then wait. */
static int wait_quietly(struct rmig_rdma_pump *pump, uint64_t deadline_ns, const char *what,
                        struct rmig_err *err)
{
    int rc = arm(pump, err);

    if (rc < 0)
        return rc;
    if (poll_completions(pump) > 0 || pump->error.code)
        return 0;
    if (check_hung_up(pump, what) < 0)
        return 0;
    rc = wait_events(pump, wake_time_ns(pump, deadline_ns), err);
    if (rc == 0 && keepalive_due_ns(pump) <= rmig_now_ns())
        keep_alive(pump);
    return rc;
}

static int timed_out(struct rmig_rdma_pump *pump, const char *what, uint64_t began_ns,
                     struct rmig_err *err)
{
    if (check_devices(pump) < 0)
        return tell(pump, err);
    return rmig_err_set(err, -ETIMEDOUT, "peer %s: timed out while %s (%.1f s)%s", pump->peer, what,
                        (double)(rmig_now_ns() - began_ns) / 1e9, port_text(pump));
}

int rmig_rdma_pump_until(struct rmig_rdma_pump *pump, bool (*done)(void *arg), void *arg,
                         uint64_t deadline_ns, const char *what, struct rmig_err *err)
{
    struct rmig_err local = RMIG_ERR_INIT;
    uint64_t began_ns = rmig_now_ns();
    int rc;

    pump->doing = what;
    for (;;) {
        int n;

        /* Also where no wait ever waits because the peer is always ahead. Events before
         * completions: what came before a hang-up is dispatched before it counts. */
        rc = rmig_now_ns() < pump->next_check_ns ? 0 : wait_events(pump, 0, &local);
        n = poll_completions(pump);
        if (pump->error.code)
            return tell(pump, err);
        if (rc == 0 && !pump->refused_ns && done(arg))
            return 0;
        if (rc == 0 && n == 0)
            rc = wait_quietly(pump, deadline_ns, what, &local);
        if (rc < 0)
            return rmig_err_set(err, rc, "%s while %s", local.msg, what);
        if (n == 0 && deadline_ns != RMIG_NEVER_NS && rmig_now_ns() >= deadline_ns) {
            if (poll_completions(pump) > 0 || pump->error.code ||
                (!pump->refused_ns && done(arg)))
                continue;
            if (pump->refused_ns) {
                stick(pump, &pump->refusal);
                continue;
            }
            return timed_out(pump, what, began_ns, err);
        }
    }
}

static bool always(void *arg)
{
    (void)arg;
    return true;
}

int rmig_rdma_pump_breathe(struct rmig_rdma_pump *pump, const char *what, struct rmig_err *err)
{
    int rc = rmig_rdma_pump_until(pump, always, NULL, RMIG_NEVER_NS, what, err);

    if (rc < 0)
        return rc;
    if (check_hung_up(pump, what) < 0)
        return tell(pump, err);
    if (keepalive_due_ns(pump) <= rmig_now_ns())
        keep_alive(pump);
    return 0;
}

static bool is_fine(void *arg)
{
    const struct rmig_rdma_pump *pump = arg;

    return !pump->refused_ns;
}

int rmig_rdma_pump_once(struct rmig_rdma_pump *pump, struct rmig_err *err)
{
    pump->doing = "moving memory";
    poll_completions(pump);
    if (pump->refused_ns && !pump->error.code)
        return rmig_rdma_pump_until(pump, is_fine, pump, RMIG_NEVER_NS, "moving memory", err);
    return pump->error.code ? tell(pump, err) : 0;
}

int rmig_rdma_pump_wait_fd(int fd, int cancel_fd, uint64_t deadline_ns, const char *what,
                           struct rmig_err *err)
{
    struct pollfd fds[2] = { { cancel_fd, POLLIN, 0 }, { fd, POLLIN, 0 } };

    for (;;) {
        int rc = poll(fds, 2, rmig_poll_ms(deadline_ns));

        if (rc < 0 && errno != EINTR)
            return rmig_err_set(err, -errno, "poll: %s", strerror(errno));
        if (rc > 0 && fds[0].revents)
            return rmig_err_set(err, -ECANCELED, "cancelled while %s", what);
        if (rc > 0 && fds[1].revents)
            return 0;
        if (deadline_ns != RMIG_NEVER_NS && rmig_now_ns() >= deadline_ns)
            return rmig_err_set(err, -ETIMEDOUT, "timed out while %s", what);
    }
}
