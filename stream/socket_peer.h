/* SPDX-License-Identifier: BSD-3-Clause */
/* socket_peer.h -- tcp: a peer that died is noticed, one that is only slow is not given up. */
#ifndef STREAM_SOCKET_PEER_H
#define STREAM_SOCKET_PEER_H

#include "stream/fdio.h"

/** A socket with what the check of its peer needs. */
struct rmig_socket_io {
    struct rmig_fdio io; /* first */
    uint32_t dead_peer_ms;
    int keepalive_s; /* of silence until the first keepalive probe */
};

/**
 * Set a connected tcp socket up: no delay, keepalive, and the check in its waits. Fine on other
 * sockets (nothing to do). Requires: io initialised. Returns: 0; -errno of setsockopt.
 */
int rmig_socket_peer_init(struct rmig_socket_io *s, uint32_t dead_peer_ms, struct rmig_err *err);

#endif
