/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pump.h -- the one place that polls and waits: completions, CM events, cancel and time.
 *
 * Every wait is rmig_rdma_pump_until(): it dispatches what arrives to the handler of its kind until
 * a predicate holds, an error has stuck, the deadline has passed or the move is cancelled.
 */
#ifndef RDMA_PUMP_H
#define RDMA_PUMP_H

#include <stdbool.h>
#include <stdint.h>
#include <rmig/error.h>

#include "common/resolve.h"
#include "rdma/verbs.h"
#include "rdma/wire.h"

/* Kind of a work request: the top byte of its wr_id; the rest is the owner's. */
enum rmig_rdma_wr_kind {
    RMIG_RDMA_WR_RECV = 0,
    RMIG_RDMA_WR_SEND,
    RMIG_RDMA_WR_WRITE,
    RMIG_RDMA_WR_KEEPALIVE,
    RMIG_RDMA_WR_MARK, /* behind the writes of a pass, on each queue pair but the first */
    RMIG_RDMA_WR_KINDS
};

#define RMIG_RDMA_WR_SHIFT 56
#define RMIG_RDMA_WR_ID(kind, value) (((uint64_t)(kind) << RMIG_RDMA_WR_SHIFT) | (value))
#define RMIG_RDMA_WR_VALUE(id) ((id) & ((UINT64_C(1) << RMIG_RDMA_WR_SHIFT) - 1))

/* A successful completion. lane: which queue pair. A negative return sticks as the pump's error. */
typedef int (*rmig_rdma_completion_fn)(void *opaque, unsigned lane, const struct rmig_rdma_wc *wc,
                                       struct rmig_err *err);

struct rmig_rdma_lane {
    struct rmig_rdma_verbs *verbs;
    enum rmig_rdma_cm_event_type milestone; /* the last good CM event of the set-up, 0 = none */
    struct rmig_rdma_cm_event established;  /* valid once milestone is ESTABLISHED */
    bool has_qp;
};

struct rmig_rdma_pump {
    struct rmig_rdma_lane lanes[RMIG_WIRE_LANES_MAX];
    unsigned nlanes;
    int cancel_fd;         /* -1 = none */
    bool ignore_cancel;    /* set while tearing down */
    uint32_t keepalive_ms; /* 0 = none; only once lane 0 is established */
    char peer[RMIG_ADDRESS_TEXT_BYTES]; /* for messages */
    const char *doing;                  /* what is waited for, for messages */
    bool port_is_down;                  /* of a device, when it was last asked */
    struct {
        rmig_rdma_completion_fn fn;
        void *opaque;
    } handlers[RMIG_RDMA_WR_KINDS];
    struct rmig_err error;    /* the first failure; sticks */
    bool disconnected;        /* the peer has hung up */
    uint64_t disconnected_ns; /* when that was heard */
    bool hears_out;           /* a hang-up is told only when what was sent has had time to complete */
    struct rmig_err refusal;  /* the peer's device refused something: told unless the peer hangs up */
    uint64_t refused_ns;      /* when that was, 0 = not */
    uint64_t flushed_ns;      /* when work requests began to be flushed, 0 = not */
    uint64_t last_alive_ns;   /* last completion */
    uint64_t next_check_ns;   /* when to look at events again although completions keep coming */
    bool keepalive_in_flight;
    uint64_t completions;     /* count, for statistics */
};

/* Requires: pump is zeroed or released. */
void rmig_rdma_pump_init(struct rmig_rdma_pump *pump, int cancel_fd, uint32_t keepalive_ms);

/* Destroys every queue pair: no peer can reach memory through them afterwards. */
void rmig_rdma_pump_destroy_qps(struct rmig_rdma_pump *pump);

/* Closes every lane. Requires: all memory regions are deregistered. */
void rmig_rdma_pump_release(struct rmig_rdma_pump *pump);

/* Adds an endpoint, which the pump then owns. Returns: its lane. Requires: room for it. */
unsigned rmig_rdma_pump_add_lane(struct rmig_rdma_pump *pump, struct rmig_rdma_verbs *verbs);

void rmig_rdma_pump_set_handler(struct rmig_rdma_pump *pump, enum rmig_rdma_wr_kind kind,
                                rmig_rdma_completion_fn fn, void *opaque);

/*
 * Dispatch until done(arg). what: what is waited for, for messages ("waiting for READY").
 * Returns: 0; -ETIMEDOUT, -ECANCELED (these two do not stick); -ECONNRESET the peer hung up;
 * -EIO a work request failed (with status text and vendor error); what a handler answered.
 * What the peer's device refused is told 200 ms later, in case it did so because the peer went away;
 * a hang-up, too, where hears_out is set: it may overtake the acknowledgement of what the peer has read.
 */
int rmig_rdma_pump_until(struct rmig_rdma_pump *pump, bool (*done)(void *arg), void *arg,
                         uint64_t deadline_ns, const char *what, struct rmig_err *err);

/* Between two steps of something that takes long here: dispatch what is there, hear cancel and a
 * hang-up, probe a peer that is silent. Returns: as rmig_rdma_pump_until, but waits for nothing. */
int rmig_rdma_pump_breathe(struct rmig_rdma_pump *pump, const char *what, struct rmig_err *err);

/* Wait until fd is readable: for a listener, which is no part of a connection yet.
 * Returns: 0; -ETIMEDOUT, -ECANCELED, -errno of poll. */
int rmig_rdma_pump_wait_fd(int fd, int cancel_fd, uint64_t deadline_ns, const char *what,
                           struct rmig_err *err);

/* Dispatch what is there, without waiting but for what was refused. Returns: 0, or the error that has stuck. */
int rmig_rdma_pump_once(struct rmig_rdma_pump *pump, struct rmig_err *err);

#endif
