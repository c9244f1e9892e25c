/* SPDX-License-Identifier: BSD-3-Clause */
/* channel.c -- a byte channel over QEMU_FILE messages; its life is the connection's. */
#include "rdma/channel.h"

#include <errno.h>
#include <string.h>

#include "common/overflow.h"

/* Stream bytes in one message. A stock QEMU takes 512 KiB; this much was tried with it. */
#define MESSAGE_BYTES 262144u

static struct rmig_rdma_channel *to_channel(struct rmig_channel *ch)
{
    return (struct rmig_rdma_channel *)ch;
}

static size_t iov_bytes(const struct iovec *iov, int niov)
{
    size_t n = 0;

    for (int i = 0; i < niov; i++)
        n += iov[i].iov_len;
    return n;
}

/* The queue pairs are gone: nothing may be posted any more. */
static int not_connected(const struct rmig_rdma_channel *channel, struct rmig_err *err)
{
    return rmig_err_set(err, -ENOTCONN, "peer %s: the RDMA connection is over",
                        channel->conn->pump.peer);
}

/* Wait for a message. A QEMU that cannot have a return path never sends one: it asks for a second
 * connection in vain, or has none in mind (7.2) and gets stuck. */
static int pull(struct rmig_rdma_channel *channel, struct rmig_err *err)
{
    struct rmig_err why = RMIG_ERR_INIT;
    int rc = rmig_rdma_ctrl_pull(&channel->conn->ctrl, RMIG_WIRE_TYPE_BIT(RMIG_WIRE_QEMU_FILE), 0,
                                 &channel->msg, &why);

    if ((rc == -ECONNRESET || rc == -ETIMEDOUT) && !channel->has_begun &&
        !channel->conn->multi_register)
        return rmig_err_set(err, rc, "%s; a QEMU does that if capability return-path, postcopy-ram "
                            "or dirty-bitmaps is on there: switch these off", why.msg);
    return rc < 0 ? rmig_err_set(err, rc, "%s", why.msg) : 0;
}

static ssize_t rdma_writev(struct rmig_channel *ch, const struct iovec *iov, int niov,
                           struct rmig_err *err)
{
    struct rmig_rdma_channel *channel = to_channel(ch);
    struct rmig_rdma_ctrl *ctrl = &channel->conn->ctrl;
    size_t filled = 0;
    uint8_t *payload;
    int slot, rc;

    if (!channel->conn->is_source)
        return rmig_err_set(err, -EBADF, "the stream over RDMA goes from source to destination only");
    if (channel->conn->torn_down)
        return not_connected(channel, err);
    if (iov_bytes(iov, niov) == 0)
        return 0; /* the protocol has no empty message */
    slot = rmig_rdma_ctrl_reserve(ctrl, &payload, err);
    if (slot < 0)
        return slot;
    for (int i = 0; i < niov && filled < MESSAGE_BYTES; i++) {
        size_t n = rmig_min_u64(iov[i].iov_len, MESSAGE_BYTES - filled);

        if (n) /* where nothing is wanted there may be no memory */
            memcpy(payload + filled, iov[i].iov_base, n);
        filled += n;
    }
    rc = rmig_rdma_ctrl_post(ctrl, slot, RMIG_WIRE_QEMU_FILE, 1, (uint32_t)filled, err);
    return rc < 0 ? rc : (ssize_t)filled;
}

static ssize_t rdma_readv(struct rmig_channel *ch, const struct iovec *iov, int niov,
                          struct rmig_err *err)
{
    struct rmig_rdma_channel *channel = to_channel(ch);
    struct rmig_rdma_ctrl *ctrl = &channel->conn->ctrl;
    size_t copied = 0;
    int rc;

    if (channel->conn->is_source)
        return rmig_err_set(err, -EBADF, "the stream over RDMA goes from source to destination only");
    if (channel->conn->torn_down)
        return not_connected(channel, err);
    if (iov_bytes(iov, niov) == 0)
        return 0; /* nobody asks for a message yet */
    if (!channel->has_msg) {
        rc = pull(channel, err);
        if (rc < 0)
            return rc;
        channel->has_msg = true;
        channel->has_begun = true;
        channel->read_bytes = 0;
    }
    for (int i = 0; i < niov && rmig_rdma_channel_unread_bytes(channel); i++) {
        size_t n = rmig_min_u64(iov[i].iov_len, rmig_rdma_channel_unread_bytes(channel));

        if (n)
            memcpy(iov[i].iov_base, channel->msg.payload + channel->read_bytes, n);
        channel->read_bytes += n;
        copied += n;
    }
    if (rmig_rdma_channel_unread_bytes(channel) == 0) {
        channel->has_msg = false;
        rc = rmig_rdma_ctrl_done(ctrl, &channel->msg, err);
        if (rc < 0)
            return rc;
    }
    return (ssize_t)copied;
}

static int rdma_wait(struct rmig_channel *ch, enum rmig_shut direction, struct rmig_err *err)
{
    struct rmig_rdma_channel *channel = to_channel(ch);

    if (!channel->conn->is_source || direction != RMIG_SHUT_WRITE)
        return rmig_err_set(err, -ENOTSUP, "over RDMA only a source can wait, to write");
    if (channel->conn->torn_down)
        return not_connected(channel, err);
    return rmig_rdma_ctrl_wait_credit(&channel->conn->ctrl, err);
}

/* The connection is closed by its owner, not by the stream that runs over it. */
static int rdma_close(struct rmig_channel *ch, struct rmig_err *err)
{
    (void)ch;
    (void)err;
    return 0;
}

static const struct rmig_channel_ops ops = {
    .name = "rdma",
    .readv = rdma_readv,
    .writev = rdma_writev,
    .close = rdma_close,
    .wait = rdma_wait,
};

void rmig_rdma_channel_init(struct rmig_rdma_channel *channel, struct rmig_rdma_conn *conn)
{
    memset(channel, 0, sizeof(*channel));
    channel->base.ops = &ops;
    channel->base.flags = conn->is_source ? RMIG_CHANNEL_WRITABLE : RMIG_CHANNEL_READABLE;
    channel->conn = conn;
}

size_t rmig_rdma_channel_unread_bytes(const struct rmig_rdma_channel *channel)
{
    return channel->has_msg ? channel->msg.header.len_bytes - channel->read_bytes : 0;
}
