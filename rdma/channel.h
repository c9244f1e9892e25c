/* SPDX-License-Identifier: BSD-3-Clause */
/* channel.h -- the connection's byte channel: stream bytes in QEMU_FILE messages, source to destination. */
#ifndef RDMA_CHANNEL_H
#define RDMA_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <rmig/channel.h>

#include "rdma/conn.h"

struct rmig_rdma_channel {
    struct rmig_channel base; /* first */
    struct rmig_rdma_conn *conn;
    struct rmig_rdma_msg msg; /* destination: being read */
    bool has_msg;
    bool has_begun; /* destination: a message has come */
    size_t read_bytes; /* of msg */
};

/* Requires: conn is established and outlives the channel. */
void rmig_rdma_channel_init(struct rmig_rdma_channel *channel, struct rmig_rdma_conn *conn);

/* Destination: bytes of the current message that nobody has read. */
size_t rmig_rdma_channel_unread_bytes(const struct rmig_rdma_channel *channel);

#endif
