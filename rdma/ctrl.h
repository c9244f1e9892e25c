/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ctrl.h -- the control channel: whole messages over SEND, with the protocol's pull credits.
 *
 * The destination grants one message with each READY; the source sends nothing but ERROR without a
 * READY that it has not used yet. Receives are always posted ahead, so that a reply and the READY
 * behind it never meet an empty receive queue.
 */
#ifndef RDMA_CTRL_H
#define RDMA_CTRL_H

#include <stdbool.h>
#include <stdint.h>
#include <rmig/error.h>

#include "rdma/pump.h"
#include "rdma/wire.h"

#define RMIG_CTRL_RECV_SLOTS 4u
#define RMIG_CTRL_SEND_SLOTS 2u

/* Send work requests that the control channel and the keepalive may have outstanding. */
#define RMIG_CTRL_SEND_WRS (RMIG_CTRL_SEND_SLOTS + 2u)

struct rmig_rdma_ctrl {
    struct rmig_rdma_pump *pump;
    struct rmig_rdma_verbs *verbs; /* of lane 0 */
    bool is_source;
    uint32_t idle_timeout_ms; /* longest wait for the peer's next message */
    uint8_t *memory;          /* all slots: receive first, then send */
    struct rmig_rdma_mr recv_mr;
    struct rmig_rdma_mr send_mr;
    bool send_busy[RMIG_CTRL_SEND_SLOTS];
    unsigned credits; /* source: READYs not used yet, 0 or 1 */
    struct {
        unsigned slot;
        struct rmig_wire_header header;
    } inbox[RMIG_CTRL_RECV_SLOTS]; /* received, in order; READY and ERROR never get here */
    unsigned ninbox;
    uint64_t messages_sent;
    uint64_t bytes_sent;
};

/* A received message; its payload lies in the receive slot until rmig_rdma_ctrl_done(). */
struct rmig_rdma_msg {
    struct rmig_wire_header header;
    const uint8_t *payload;
    unsigned slot;
};

/*
 * Make buffers, register them (never for remote access) and post all receives.
 * Requires: verbs has its queue pair. Returns: 0, -ENOMEM, -errno of verbs.
 */
int rmig_rdma_ctrl_init(struct rmig_rdma_ctrl *ctrl, struct rmig_rdma_pump *pump,
                        struct rmig_rdma_verbs *verbs, bool is_source, uint32_t idle_timeout_ms,
                        struct rmig_err *err);

/* Requires: the queue pair is gone, or nothing is outstanding on it. Fine on a zeroed object. */
void rmig_rdma_ctrl_release(struct rmig_rdma_ctrl *ctrl);

/* Bytes that init pins. */
#define RMIG_CTRL_PINNED_BYTES                                                                     \
    ((uint64_t)(RMIG_CTRL_RECV_SLOTS + RMIG_CTRL_SEND_SLOTS) * RMIG_WIRE_MESSAGE_MAX_BYTES)

/*
 * Take a send slot. Waits for one. Returns: the slot; *payload_p points to
 * RMIG_WIRE_PAYLOAD_MAX_BYTES to be filled; -errno.
 */
int rmig_rdma_ctrl_reserve(struct rmig_rdma_ctrl *ctrl, uint8_t **payload_p, struct rmig_err *err);

/*
 * Send what a slot holds. Source: uses up a READY, waiting for it first (not for ERROR).
 * Returns: 0; the slot is given back in any case.
 */
int rmig_rdma_ctrl_post(struct rmig_rdma_ctrl *ctrl, int slot, enum rmig_wire_type type,
                        uint32_t repeat, uint32_t len_bytes, struct rmig_err *err);

/* reserve and post of a message without payload. */
int rmig_rdma_ctrl_send_empty(struct rmig_rdma_ctrl *ctrl, enum rmig_wire_type type,
                              struct rmig_err *err);

/* Source: wait until the destination asks for the next message: it has read all that came before. */
int rmig_rdma_ctrl_wait_credit(struct rmig_rdma_ctrl *ctrl, struct rmig_err *err);

/*
 * Wait for a message whose type is in allowed (RMIG_WIRE_TYPE_BIT); another is -EPROTO.
 * extra_ms: time granted beyond the idle timeout. Returns: 0, *msg_p filled; -errno.
 */
int rmig_rdma_ctrl_receive(struct rmig_rdma_ctrl *ctrl, uint32_t allowed, uint32_t extra_ms,
                           struct rmig_rdma_msg *msg_p, struct rmig_err *err);

/* Is a message waiting? Never blocks. */
static inline bool rmig_rdma_ctrl_has_message(const struct rmig_rdma_ctrl *ctrl)
{
    return ctrl->ninbox > 0;
}

/* Destination: READY, then receive; extra_ms as there. */
int rmig_rdma_ctrl_pull(struct rmig_rdma_ctrl *ctrl, uint32_t allowed, uint32_t extra_ms,
                        struct rmig_rdma_msg *msg_p, struct rmig_err *err);

/* Give the receive slot of a message back: posts it again. */
int rmig_rdma_ctrl_done(struct rmig_rdma_ctrl *ctrl, const struct rmig_rdma_msg *msg,
                        struct rmig_err *err);

/*
 * Has every message been delivered? The device says so, or, at a source, a READY that is not used up:
 * the destination asks for more, so it has all that came before, whatever became of the device's
 * acknowledgement.
 */
bool rmig_rdma_ctrl_all_delivered(struct rmig_rdma_ctrl *ctrl);

/*
 * Destination: one READY more than it needs, for that reason, when it has read everything. The device
 * repeats it until the source has it. Best effort, waits 2 s at most.
 */
void rmig_rdma_ctrl_send_last_ready(struct rmig_rdma_ctrl *ctrl);

/* Tell the peer that this side has failed: best effort, waits 100 ms at most. */
void rmig_rdma_ctrl_send_error(struct rmig_rdma_ctrl *ctrl);

#endif
