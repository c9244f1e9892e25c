/* SPDX-License-Identifier: BSD-3-Clause */
/* ctrl.c -- control messages with pull credits over one queue pair. */
#include "rdma/ctrl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"

#define SLOT_BYTES RMIG_WIRE_MESSAGE_MAX_BYTES
#define ERROR_GRACE_MS 100
#define LAST_READY_MS 2000

static uint8_t *recv_slot(const struct rmig_rdma_ctrl *ctrl, unsigned slot)
{
    return ctrl->memory + (size_t)slot * SLOT_BYTES;
}

static uint8_t *send_slot(const struct rmig_rdma_ctrl *ctrl, unsigned slot)
{
    return ctrl->memory + (size_t)(RMIG_CTRL_RECV_SLOTS + slot) * SLOT_BYTES;
}

static int post_receive(struct rmig_rdma_ctrl *ctrl, unsigned slot, struct rmig_err *err)
{
    int rc = rmig_rdma_verbs_post_recv(ctrl->verbs, RMIG_RDMA_WR_ID(RMIG_RDMA_WR_RECV, slot),
                                       recv_slot(ctrl, slot), SLOT_BYTES, ctrl->recv_mr.lkey, err);

    if (rc < 0)
        rmig_err_prefix(err, "receive from peer %s", ctrl->pump->peer);
    return rc;
}

/* --- completions ------------------------------------------------------------------------------ */

static int take_ready(struct rmig_rdma_ctrl *ctrl, unsigned slot, struct rmig_err *err)
{
    if (!ctrl->is_source)
        return rmig_err_set(err, -EPROTO, "peer %s, a source, sent READY", ctrl->pump->peer);
    if (ctrl->credits)
        return rmig_err_set(err, -EPROTO, "peer %s sent READY twice for one message",
                            ctrl->pump->peer);
    ctrl->credits = 1;
    return post_receive(ctrl, slot, err);
}

static int on_receive(void *opaque, unsigned lane, const struct rmig_rdma_wc *wc,
                      struct rmig_err *err)
{
    struct rmig_rdma_ctrl *ctrl = opaque;
    unsigned slot = (unsigned)RMIG_RDMA_WR_VALUE(wc->wr_id);
    struct rmig_wire_header header;
    int rc;

    if (lane != 0 || wc->opcode != RMIG_RDMA_WC_RECV)
        return rmig_err_set(err, -EPROTO, "peer %s sent a message with immediate data or "
                            "invalidation, which the protocol has not", ctrl->pump->peer);
    rc = rmig_wire_decode_header(recv_slot(ctrl, slot), wc->len_bytes, &header, err);
    if (rc < 0)
        return rc;
    if (header.type == RMIG_WIRE_ERROR)
        return rmig_err_set(err, -ECONNABORTED, "peer %s reported that it failed (ERROR message)",
                            ctrl->pump->peer);
    if (header.type == RMIG_WIRE_READY)
        return take_ready(ctrl, slot, err);
    ctrl->inbox[ctrl->ninbox].slot = slot;
    ctrl->inbox[ctrl->ninbox].header = header;
    ctrl->ninbox++;
    return 0;
}

static int on_sent(void *opaque, unsigned lane, const struct rmig_rdma_wc *wc,
                   struct rmig_err *err)
{
    struct rmig_rdma_ctrl *ctrl = opaque;

    (void)lane;
    (void)err;
    ctrl->send_busy[RMIG_RDMA_WR_VALUE(wc->wr_id)] = false;
    return 0;
}

/* --- life cycle ------------------------------------------------------------------------------- */

int rmig_rdma_ctrl_init(struct rmig_rdma_ctrl *ctrl, struct rmig_rdma_pump *pump,
                        struct rmig_rdma_verbs *verbs, bool is_source, uint32_t idle_timeout_ms,
                        struct rmig_err *err)
{
    int rc;

    *ctrl = (struct rmig_rdma_ctrl){ .pump = pump, .verbs = verbs, .is_source = is_source,
                                     .idle_timeout_ms = idle_timeout_ms };
    ctrl->memory = aligned_alloc(4096, RMIG_CTRL_PINNED_BYTES);
    if (!ctrl->memory)
        return rmig_err_set(err, -ENOMEM, "control buffers: out of memory");
    rc = rmig_rdma_verbs_reg_mr(verbs, recv_slot(ctrl, 0),
                                (uint64_t)RMIG_CTRL_RECV_SLOTS * SLOT_BYTES, RMIG_RDMA_WRITE_LOCAL,
                                &ctrl->recv_mr, err);
    if (rc == 0)
        rc = rmig_rdma_verbs_reg_mr(verbs, send_slot(ctrl, 0),
                                    (uint64_t)RMIG_CTRL_SEND_SLOTS * SLOT_BYTES,
                                    RMIG_RDMA_READ_LOCAL, &ctrl->send_mr, err);
    for (unsigned i = 0; rc == 0 && i < RMIG_CTRL_RECV_SLOTS; i++)
        rc = post_receive(ctrl, i, err);
    if (rc < 0)
        return rc;
    rmig_rdma_pump_set_handler(pump, RMIG_RDMA_WR_RECV, on_receive, ctrl);
    rmig_rdma_pump_set_handler(pump, RMIG_RDMA_WR_SEND, on_sent, ctrl);
    return 0;
}

void rmig_rdma_ctrl_release(struct rmig_rdma_ctrl *ctrl)
{
    (void)rmig_rdma_verbs_dereg_mr(&ctrl->recv_mr, NULL);
    (void)rmig_rdma_verbs_dereg_mr(&ctrl->send_mr, NULL);
    free(ctrl->memory);
    ctrl->memory = NULL;
}

/* --- sending ---------------------------------------------------------------------------------- */

static int free_send_slot(const struct rmig_rdma_ctrl *ctrl)
{
    for (unsigned i = 0; i < RMIG_CTRL_SEND_SLOTS; i++)
        if (!ctrl->send_busy[i])
            return (int)i;
    return -1;
}

static bool has_send_slot(void *arg)
{
    return free_send_slot(arg) >= 0;
}

static bool has_credit(void *arg)
{
    const struct rmig_rdma_ctrl *ctrl = arg;

    return ctrl->credits > 0;
}

int rmig_rdma_ctrl_reserve(struct rmig_rdma_ctrl *ctrl, uint8_t **payload_p, struct rmig_err *err)
{
    int slot;
    int rc = rmig_rdma_pump_until(ctrl->pump, has_send_slot, ctrl,
                                  rmig_deadline_ns(ctrl->idle_timeout_ms),
                                  "waiting for a message to be delivered", err);

    if (rc < 0)
        return rc;
    slot = free_send_slot(ctrl);
    ctrl->send_busy[slot] = true;
    *payload_p = send_slot(ctrl, (unsigned)slot) + RMIG_WIRE_HEADER_BYTES;
    return slot;
}

int rmig_rdma_ctrl_wait_credit(struct rmig_rdma_ctrl *ctrl, struct rmig_err *err)
{
    return rmig_rdma_pump_until(ctrl->pump, has_credit, ctrl,
                                rmig_deadline_ns(ctrl->idle_timeout_ms), "waiting for READY", err);
}

int rmig_rdma_ctrl_post(struct rmig_rdma_ctrl *ctrl, int slot, enum rmig_wire_type type,
                        uint32_t repeat, uint32_t len_bytes, struct rmig_err *err)
{
    struct rmig_wire_header header = { .len_bytes = len_bytes, .type = type, .repeat = repeat };
    uint8_t *message = send_slot(ctrl, (unsigned)slot);
    bool credited = ctrl->is_source && type != RMIG_WIRE_ERROR;
    int rc = credited ? rmig_rdma_ctrl_wait_credit(ctrl, err) : 0;

    rmig_wire_encode_header(message, &header);
    if (rc == 0) {
        rc = rmig_rdma_verbs_post_send(
            ctrl->verbs, RMIG_RDMA_WR_ID(RMIG_RDMA_WR_SEND, (unsigned)slot), message,
            RMIG_WIRE_HEADER_BYTES + len_bytes, ctrl->send_mr.lkey, err);
        if (rc < 0)
            rmig_err_prefix(err, "message to peer %s", ctrl->pump->peer);
    }
    if (rc < 0) {
        ctrl->send_busy[slot] = false;
        return rc;
    }
    if (credited)
        ctrl->credits = 0;
    ctrl->messages_sent++;
    ctrl->bytes_sent += RMIG_WIRE_HEADER_BYTES + len_bytes;
    return 0;
}

int rmig_rdma_ctrl_send_empty(struct rmig_rdma_ctrl *ctrl, enum rmig_wire_type type,
                              struct rmig_err *err)
{
    uint8_t *payload;
    int slot = rmig_rdma_ctrl_reserve(ctrl, &payload, err);

    return slot < 0 ? slot : rmig_rdma_ctrl_post(ctrl, slot, type, 1, 0, err);
}

static bool all_sent(void *arg)
{
    const struct rmig_rdma_ctrl *ctrl = arg;

    for (unsigned i = 0; i < RMIG_CTRL_SEND_SLOTS; i++)
        if (ctrl->send_busy[i])
            return false;
    return true;
}

bool rmig_rdma_ctrl_all_delivered(struct rmig_rdma_ctrl *ctrl)
{
    return all_sent(ctrl) || ctrl->credits;
}

void rmig_rdma_ctrl_send_last_ready(struct rmig_rdma_ctrl *ctrl)
{
    if (rmig_rdma_ctrl_send_empty(ctrl, RMIG_WIRE_READY, NULL) == 0)
        (void)rmig_rdma_pump_until(ctrl->pump, all_sent, ctrl, rmig_deadline_ns(LAST_READY_MS),
                                   "delivering the last READY", NULL);
}

void rmig_rdma_ctrl_send_error(struct rmig_rdma_ctrl *ctrl)
{
    struct rmig_rdma_pump *pump = ctrl->pump;
    struct rmig_err cause = pump->error;
    int slot = free_send_slot(ctrl);

    if (slot < 0 || pump->disconnected || pump->flushed_ns || pump->refused_ns)
        return;
    /* What failed here must not keep the message from being delivered. */
    pump->error = (struct rmig_err)RMIG_ERR_INIT;
    pump->ignore_cancel = true;
    ctrl->send_busy[slot] = true;
    if (rmig_rdma_ctrl_post(ctrl, slot, RMIG_WIRE_ERROR, 1, 0, NULL) == 0)
        (void)rmig_rdma_pump_until(pump, all_sent, ctrl, rmig_deadline_ns(ERROR_GRACE_MS),
                                   "delivering ERROR", NULL);
    pump->error = cause;
}

/* --- receiving -------------------------------------------------------------------------------- */

static bool has_message(void *arg)
{
    return rmig_rdma_ctrl_has_message(arg);
}

/* Names of the allowed types, for messages: "QEMU_FILE", "COMPRESS or REGISTER_REQUEST". */
static void list_types(uint32_t allowed, char *text, size_t len)
{
    size_t used = 0;

    text[0] = 0;
    for (uint32_t type = 0; type < RMIG_WIRE_TYPE_END && used < len; type++)
        if (allowed & RMIG_WIRE_TYPE_BIT(type))
            used += (size_t)snprintf(text + used, len - used, "%s%s", used ? " or " : "",
                                     rmig_wire_type_name(type));
}

int rmig_rdma_ctrl_receive(struct rmig_rdma_ctrl *ctrl, uint32_t allowed, uint32_t extra_ms,
                           struct rmig_rdma_msg *msg_p, struct rmig_err *err)
{
    char expected[128], what[160];
    const struct rmig_wire_header *header = &ctrl->inbox[0].header;
    int rc;

    list_types(allowed, expected, sizeof(expected));
    snprintf(what, sizeof(what), "waiting for %s", expected);
    rc = rmig_rdma_pump_until(ctrl->pump, has_message, ctrl,
                              rmig_deadline_ns((int64_t)ctrl->idle_timeout_ms + extra_ms), what,
                              err);
    if (rc < 0)
        return rc;
    if (!(allowed & RMIG_WIRE_TYPE_BIT(header->type)))
        return rmig_err_set(err, -EPROTO, "peer %s sent %s where only %s is allowed",
                            ctrl->pump->peer, rmig_wire_type_name(header->type), expected);
    msg_p->header = *header;
    msg_p->slot = ctrl->inbox[0].slot;
    msg_p->payload = recv_slot(ctrl, msg_p->slot) + RMIG_WIRE_HEADER_BYTES;
    ctrl->ninbox--;
    memmove(&ctrl->inbox[0], &ctrl->inbox[1], ctrl->ninbox * sizeof(ctrl->inbox[0]));
    return 0;
}

int rmig_rdma_ctrl_pull(struct rmig_rdma_ctrl *ctrl, uint32_t allowed, uint32_t extra_ms,
                        struct rmig_rdma_msg *msg_p, struct rmig_err *err)
{
    int rc;

    if (rmig_rdma_ctrl_has_message(ctrl))
        return rmig_err_set(err, -EPROTO, "peer %s sent %s without a READY for it",
                            ctrl->pump->peer, rmig_wire_type_name(ctrl->inbox[0].header.type));
    rc = rmig_rdma_ctrl_send_empty(ctrl, RMIG_WIRE_READY, err);
    return rc < 0 ? rc : rmig_rdma_ctrl_receive(ctrl, allowed, extra_ms, msg_p, err);
}

int rmig_rdma_ctrl_done(struct rmig_rdma_ctrl *ctrl, const struct rmig_rdma_msg *msg,
                        struct rmig_err *err)
{
    return post_receive(ctrl, msg->slot, err);
}
