/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * raw_peer.h -- one side of the protocol played by hand over rdma/verbs.c, honest or hostile.
 *
 * Nothing is checked that the test did not ask for: any bytes can be sent at any time, any address
 * written to. No function waits longer than its timeout; those without one wait RAW_TIMEOUT_MS.
 * Returns are 0 or more, or a negative errno. One thread at a time per peer.
 */
#ifndef TESTS_UNIT_RAW_PEER_H
#define TESTS_UNIT_RAW_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rdma/verbs.h"
#include "rdma/wire.h"
#include "tests/fabric/control.h"

#define RAW_TIMEOUT_MS 5000
/* What most tests need; a sanitizer takes its time for the protocol's maximum, 16 times as much. */
#define RAW_SLOT_BYTES 32768u

struct raw_peer;
struct raw_listener;

struct raw_opts {
    const void *private_data; /* NULL = version 1, no flags */
    uint8_t private_data_len_bytes;
    unsigned nrecvs;        /* posted ahead; 0 = 4, RAW_NO_RECVS = none */
    uint32_t recv_bytes;    /* of each receive; 0 = slot_bytes */
    uint32_t slot_bytes;     /* longest message either way; 0 = RAW_SLOT_BYTES */
    uint8_t rnr_retry_count; /* governs the other side's queue pair */
    uint8_t ack_timeout;    /* 0 = the device's default */
};

#define RAW_NO_RECVS 99u

/* A received message; the payload is valid until the next receive. */
struct raw_msg {
    uint32_t len_bytes; /* of the header's len field */
    uint32_t type;
    uint32_t repeat;
    uint32_t received_bytes;
    const uint8_t *payload;
};

/* --- connecting ------------------------------------------------------------------------------- */

/* Active side: ask for a connection. It is there once raw_established() says so. */
int raw_connect_start(uint16_t port, const struct raw_opts *opts, struct raw_peer **peer_p);
/* Passive side. */
int raw_listen(struct raw_listener **l_p, uint16_t *port_p);
void raw_listener_close(struct raw_listener *l);
/* Takes a request; the peer then waits to be accepted or rejected. -ETIMEDOUT: none came. */
int raw_take_request(struct raw_listener *l, const struct raw_opts *opts, int timeout_ms,
                     struct raw_peer **peer_p);
/* What accepting or rejecting will answer, in place of what the options say. */
void raw_set_private(struct raw_peer *peer, const void *bytes, uint8_t len_bytes);
int raw_accept_request(struct raw_peer *peer);
int raw_reject_request(struct raw_peer *peer);
/* Waits until connected. -ECONNREFUSED, -ECONNRESET, -ETIMEDOUT. */
int raw_established(struct raw_peer *peer, int timeout_ms);
/* Private data of the other side's request or reply. */
const struct rmig_rdma_cm_event *raw_private(const struct raw_peer *peer);
/* Waits until the other side has hung up. */
int raw_wait_disconnected(struct raw_peer *peer, int timeout_ms);
int raw_disconnect(struct raw_peer *peer);
/* Closes without a word if need be; NULL is fine. */
void raw_close(struct raw_peer *peer);

/* --- messages --------------------------------------------------------------------------------- */

/* One SEND of these bytes. Does not wait for delivery. */
int raw_send(struct raw_peer *peer, const void *bytes, uint32_t len_bytes);
/* One SEND of a header and a payload that fits it. */
int raw_say(struct raw_peer *peer, uint32_t type, uint32_t repeat, const void *payload,
            uint32_t len_bytes);
/* The next message, in order. -ETIMEDOUT, -ECONNRESET hung up, -EIO a work request failed. */
int raw_hear(struct raw_peer *peer, int timeout_ms, struct raw_msg *msg_p);
/* The next message must be of this type: else -EPROTO. */
int raw_expect(struct raw_peer *peer, uint32_t type, struct raw_msg *msg_p);
/* Source: expects READY, then says. */
int raw_say_on_ready(struct raw_peer *peer, uint32_t type, uint32_t repeat, const void *payload,
                     uint32_t len_bytes);
/* Destination: says READY, then expects. */
int raw_pull(struct raw_peer *peer, uint32_t type, struct raw_msg *msg_p);
/* Waits until every SEND has completed. Returns: 0, a completion status > 0, -ETIMEDOUT. */
int raw_flush(struct raw_peer *peer);
/* Takes what has arrived without waiting; for single-threaded tests. */
void raw_poll(struct raw_peer *peer);
/* Status of the first work request that failed, 0 = none. */
int raw_status(const struct raw_peer *peer);
bool raw_is_disconnected(const struct raw_peer *peer);
/* Messages received and not heard yet. */
unsigned raw_pending(const struct raw_peer *peer);

/* --- memory ----------------------------------------------------------------------------------- */

/* Writes bytes (RAW_WRITE_MAX at most) there. Returns: 0, a completion status > 0, -errno. */
#define RAW_WRITE_MAX (1u << 20)
int raw_write(struct raw_peer *peer, const void *bytes, uint32_t len_bytes, uint64_t remote_addr,
              uint32_t rkey);
/* Registers memory of this side until the peer is closed; mr_p has the keys. */
int raw_register(struct raw_peer *peer, void *addr, uint64_t len_bytes,
                 enum rmig_rdma_access access, struct rmig_rdma_mr *mr_p);

#endif
