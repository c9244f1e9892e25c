/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * conn.h -- a connection: its queue pairs, what was agreed in the private data, its control channel.
 */
#ifndef RDMA_CONN_H
#define RDMA_CONN_H

#include <stdbool.h>
#include <stdint.h>
#include <rmig/error.h>
#include <rmig/transport.h>

#include "rdma/ctrl.h"
#include "rdma/pump.h"

struct rmig_rdma_conn {
    struct rmig_rdma_pump pump;
    struct rmig_rdma_ctrl ctrl;
    bool is_source;
    bool pin_all;        /* agreed */
    struct rmig_wire_private session; /* destination: what its first lane asked for */
    bool multi_register; /* agreed: n records asked, n answered */
    bool ram_is_zero;    /* the destination's RAM, as it says: no page was written yet */
    uint32_t max_writes; /* RDMA writes that may be outstanding on one queue pair */
    uint32_t idle_timeout_ms;
    bool on_demand;                 /* guest RAM is not pinned: the device faults it in */
    uint64_t pin_budget_bytes;      /* this side's, 0 = none */
    bool unregister;                /* agreed: the source gives back what it does not use */
    uint64_t peer_pin_budget_bytes; /* source: the destination's, 0 = none that it tells of */
    uint64_t marks[RMIG_WIRE_LANES_MAX]; /* destination: passes whose writes have come, by lane */
    uint64_t marks_due;                  /* passes that are over */
    bool established;
    bool torn_down; /* the queue pairs are gone */
};

struct rmig_rdma_listener;

/* Connect as source. Returns: 0; -ENODEV, -EHOSTUNREACH, -ECONNREFUSED, -ETIMEDOUT, -ECANCELED ...
 * On failure nothing is left open. */
int rmig_rdma_conn_connect(struct rmig_rdma_conn *conn, const struct rmig_transport_params *params,
                           struct rmig_err *err);

/* Listen. Returns: 0, *port_p is the bound port; -errno. */
int rmig_rdma_listener_open(const struct rmig_transport_params *params,
                            struct rmig_rdma_listener **l_p, uint16_t *port_p,
                            struct rmig_err *err);
void rmig_rdma_listener_close(struct rmig_rdma_listener *l);

/* Polls readable once a source asks to be let in. Returns: the descriptor; the listener's own. */
int rmig_rdma_listener_fd(const struct rmig_rdma_listener *l);

/*
 * Accept one source with all its queue pairs. timeout_ms: for the source to come, -1 = no deadline.
 * Whoever asks and is no source for us (other version, bad private data, another session's lane) is
 * turned away with a warning that names the address, and the wait goes on. Returns: 0, -errno; on
 * failure nothing is left open and the listener can be used on.
 */
int rmig_rdma_conn_accept(struct rmig_rdma_conn *conn, struct rmig_rdma_listener *l,
                          int timeout_ms, const struct rmig_transport_params *params,
                          struct rmig_err *err);

/*
 * Several queue pairs: a pass ends on the first, and nothing orders the writes of the others before
 * that end: that they are acknowledged does not say that they can be seen. So the source sends a mark,
 * a message of no bytes, behind its writes on each of the others, and the destination waits for it.
 * Returns: 0, -errno.
 */
int rmig_rdma_conn_send_marks(struct rmig_rdma_conn *conn, struct rmig_err *err);
int rmig_rdma_conn_wait_marks(struct rmig_rdma_conn *conn, struct rmig_err *err);

/* Wait until the peer has hung up, then hang up too. Returns: 0, -ETIMEDOUT, -ECANCELED, -errno. */
int rmig_rdma_conn_wait_disconnect(struct rmig_rdma_conn *conn, struct rmig_err *err);

/*
 * Destination, which has read everything, before it hangs up. A source of our kind is told so: the
 * device's acknowledgement of the last message may be lost, and nobody is there to repeat it after
 * the end. A stock QEMU hangs up first, at once; to it a hang-up that overtakes the completion of
 * its last message is a failed move, and its guest would run on beside ours. Best effort: waits 2 s
 * and 3 s at most.
 */
void rmig_rdma_conn_end_as_dest(struct rmig_rdma_conn *conn);

/*
 * Hang up and destroy the queue pairs: from its return on the peer reaches no memory of this side.
 * failed: tell the peer first, with ERROR, best effort. May be called again.
 */
void rmig_rdma_conn_tear_down(struct rmig_rdma_conn *conn, bool failed);

/* Tear down if need be, release the control buffers and close the lanes. Requires: the regions of
 * guest RAM are deregistered. Fine on a zeroed object. */
void rmig_rdma_conn_release(struct rmig_rdma_conn *conn);

#endif
