/* SPDX-License-Identifier: BSD-3-Clause */
/* raw_peer.c -- a peer of the protocol without any rule of its own, for tests. */
#include "tests/unit/raw_peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/bytes.h"

#define SEND_SLOTS 4u
#define RECVS_MAX 16u
#define REGIONS_MAX 640u
#define NAP_NS 20000

enum wr { WR_RECV = 1, WR_SEND, WR_WRITE };
#define WR_ID(kind, slot) ((uint64_t)(kind) << 32 | (slot))

struct raw_peer {
    struct rmig_rdma_verbs *verbs;
    struct raw_opts opts;
    uint8_t private_data[RMIG_RDMA_PRIVATE_DATA_MAX_BYTES];
    struct rmig_rdma_cm_event heard; /* request (passive) or reply (active) */
    bool active, established, refused, disconnected;
    int status;
    uint8_t *memory; /* receives, sends, one write */
    struct rmig_rdma_mr mr;
    bool sending[SEND_SLOTS];
    bool writing;
    struct {
        uint32_t slot, len_bytes;
    } inbox[RECVS_MAX];
    unsigned ninbox;
    int heard_slot; /* to be posted again, -1 = none */
    struct rmig_rdma_mr regions[REGIONS_MAX];
    unsigned nregions;
};

struct raw_listener {
    struct rmig_rdma_verbs_listener *verbs;
};

static uint64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void nap(void)
{
    nanosleep(&(struct timespec){ 0, NAP_NS }, NULL);
}

static uint8_t *recv_slot(const struct raw_peer *peer, unsigned slot)
{
    return peer->memory + (size_t)slot * peer->opts.slot_bytes;
}

static uint8_t *send_slot(const struct raw_peer *peer, unsigned slot)
{
    return recv_slot(peer, RECVS_MAX + slot);
}

static uint8_t *write_buffer(const struct raw_peer *peer)
{
    return send_slot(peer, SEND_SLOTS);
}

static size_t memory_bytes(const struct raw_peer *peer)
{
    return (size_t)(RECVS_MAX + SEND_SLOTS) * peer->opts.slot_bytes + RAW_WRITE_MAX;
}

/* --- progress --------------------------------------------------------------------------------- */

static void completed(struct raw_peer *peer, const struct rmig_rdma_wc *wc)
{
    unsigned slot = (unsigned)wc->wr_id;

    if (wc->status && !peer->status)
        peer->status = wc->status;
    switch (wc->wr_id >> 32) {
    case WR_SEND:
        peer->sending[slot] = false;
        break;
    case WR_WRITE:
        peer->writing = false;
        break;
    default:
        if (wc->status)
            break;
        peer->inbox[peer->ninbox].slot = slot;
        peer->inbox[peer->ninbox++].len_bytes = wc->len_bytes;
    }
}

void raw_poll(struct raw_peer *peer)
{
    struct rmig_rdma_cm_event event;
    struct rmig_rdma_wc wc[16];
    int n;

    while (rmig_rdma_verbs_get_cm_event(peer->verbs, &event, NULL) > 0) {
        if (event.type == RMIG_RDMA_CM_ESTABLISHED) {
            peer->established = true;
            if (peer->active)
                peer->heard = event;
        } else if (event.type == RMIG_RDMA_CM_DISCONNECTED) {
            peer->disconnected = true;
        } else if (event.type == RMIG_RDMA_CM_REJECTED) {
            peer->refused = true;
            peer->heard = event;
        }
    }
    while ((n = rmig_rdma_verbs_poll(peer->verbs, wc, 16, NULL)) > 0)
        for (int i = 0; i < n; i++)
            completed(peer, &wc[i]);
}

/* --- connecting ------------------------------------------------------------------------------- */

static int post_recv(struct raw_peer *peer, unsigned slot)
{
    return rmig_rdma_verbs_post_recv(peer->verbs, WR_ID(WR_RECV, slot), recv_slot(peer, slot),
                                     peer->opts.recv_bytes ? peer->opts.recv_bytes
                                                           : peer->opts.slot_bytes,
                                     peer->mr.lkey, NULL);
}

static struct raw_peer *new_peer(struct rmig_rdma_verbs *verbs, const struct raw_opts *opts)
{
    struct raw_peer *peer = calloc(1, sizeof(*peer));

    if (!peer)
        abort();
    peer->verbs = verbs;
    peer->heard_slot = -1;
    if (opts)
        peer->opts = *opts;
    if (!peer->opts.private_data) {
        rmig_store_be32(peer->private_data, RMIG_WIRE_VERSION);
        peer->opts.private_data_len_bytes = RMIG_WIRE_PRIVATE_DATA_BYTES;
    } else {
        memcpy(peer->private_data, peer->opts.private_data, peer->opts.private_data_len_bytes);
    }
    peer->opts.private_data = peer->private_data;
    if (!peer->opts.slot_bytes)
        peer->opts.slot_bytes = RAW_SLOT_BYTES;
    if (peer->opts.nrecvs == 0)
        peer->opts.nrecvs = 4;
    else if (peer->opts.nrecvs == RAW_NO_RECVS)
        peer->opts.nrecvs = 0;
    return peer;
}

static int make_qp(struct raw_peer *peer)
{
    struct rmig_rdma_qp_attr attr = { .max_send_wr = 64, .max_recv_wr = RECVS_MAX };
    int rc = rmig_rdma_verbs_create_qp(peer->verbs, &attr, NULL);

    if (rc == 0 && peer->opts.ack_timeout)
        rc = rmig_rdma_verbs_set_ack_timeout(peer->verbs, peer->opts.ack_timeout, NULL);
    peer->memory = malloc(memory_bytes(peer));
    if (!peer->memory)
        abort();
    if (rc == 0)
        rc = rmig_rdma_verbs_reg_mr(peer->verbs, peer->memory, memory_bytes(peer),
                                    RMIG_RDMA_WRITE_LOCAL, &peer->mr, NULL);
    for (unsigned i = 0; rc == 0 && i < peer->opts.nrecvs; i++)
        rc = post_recv(peer, i);
    return rc;
}

static struct rmig_rdma_conn_param conn_param(const struct raw_peer *peer)
{
    return (struct rmig_rdma_conn_param){
        .private_data = peer->opts.private_data,
        .private_data_len_bytes = peer->opts.private_data_len_bytes,
        .initiator_depth = 2,
        .retry_count = 5,
        .rnr_retry_count = peer->opts.rnr_retry_count,
    };
}

/* Takes the event that resolving has queued at once. */
static int take_event(struct raw_peer *peer, enum rmig_rdma_cm_event_type type)
{
    struct rmig_rdma_cm_event event;

    if (rmig_rdma_verbs_get_cm_event(peer->verbs, &event, NULL) != 1 || event.type != type)
        return -EHOSTUNREACH;
    return 0;
}

int raw_connect_start(uint16_t port, const struct raw_opts *opts, struct raw_peer **peer_p)
{
    struct sockaddr_in dst = { .sin_family = AF_INET, .sin_port = htons(port) };
    struct rmig_rdma_conn_param param;
    struct rmig_rdma_verbs *verbs;
    struct raw_peer *peer;
    int rc = rmig_rdma_verbs_open(&verbs, NULL);

    if (rc < 0)
        return rc;
    peer = new_peer(verbs, opts);
    peer->active = true;
    param = conn_param(peer);
    rc = rmig_rdma_verbs_resolve_addr(verbs, NULL, (struct sockaddr *)&dst, RAW_TIMEOUT_MS, NULL);
    if (rc == 0)
        rc = take_event(peer, RMIG_RDMA_CM_ADDR_RESOLVED);
    if (rc == 0)
        rc = rmig_rdma_verbs_resolve_route(verbs, RAW_TIMEOUT_MS, NULL);
    if (rc == 0)
        rc = take_event(peer, RMIG_RDMA_CM_ROUTE_RESOLVED);
    if (rc == 0)
        rc = make_qp(peer);
    if (rc == 0)
        rc = rmig_rdma_verbs_connect(verbs, &param, NULL);
    if (rc < 0) {
        raw_close(peer);
        return rc;
    }
    *peer_p = peer;
    return 0;
}

int raw_listen(struct raw_listener **l_p, uint16_t *port_p)
{
    struct sockaddr_in any = { .sin_family = AF_INET };
    struct raw_listener *l = calloc(1, sizeof(*l));
    int rc;

    if (!l)
        abort();
    rc = rmig_rdma_verbs_listen((struct sockaddr *)&any, 8, &l->verbs, port_p, NULL);
    if (rc < 0) {
        free(l);
        return rc;
    }
    *l_p = l;
    return 0;
}

void raw_listener_close(struct raw_listener *l)
{
    if (!l)
        return;
    rmig_rdma_verbs_listener_close(l->verbs);
    free(l);
}

int raw_take_request(struct raw_listener *l, const struct raw_opts *opts, int timeout_ms,
                     struct raw_peer **peer_p)
{
    uint64_t deadline = now_ms() + (uint64_t)timeout_ms;
    struct rmig_rdma_cm_event event;
    struct rmig_rdma_verbs *verbs;
    int rc;

    while ((rc = rmig_rdma_verbs_get_request(l->verbs, &verbs, &event, NULL)) == 0) {
        if (now_ms() >= deadline)
            return -ETIMEDOUT;
        nap();
    }
    if (rc < 0)
        return rc;
    *peer_p = new_peer(verbs, opts);
    (*peer_p)->heard = event;
    return 0;
}

void raw_set_private(struct raw_peer *peer, const void *bytes, uint8_t len_bytes)
{
    memcpy(peer->private_data, bytes, len_bytes);
    peer->opts.private_data_len_bytes = len_bytes;
}

int raw_accept_request(struct raw_peer *peer)
{
    struct rmig_rdma_conn_param param = conn_param(peer);
    int rc = make_qp(peer);

    return rc < 0 ? rc : rmig_rdma_verbs_accept(peer->verbs, &param, NULL);
}

int raw_reject_request(struct raw_peer *peer)
{
    return rmig_rdma_verbs_reject(peer->verbs, peer->opts.private_data,
                                  peer->opts.private_data_len_bytes, NULL);
}

int raw_established(struct raw_peer *peer, int timeout_ms)
{
    uint64_t deadline = now_ms() + (uint64_t)timeout_ms;

    for (;;) {
        raw_poll(peer);
        if (peer->established)
            return 0;
        if (peer->refused)
            return -ECONNREFUSED;
        if (peer->disconnected)
            return -ECONNRESET;
        if (now_ms() >= deadline)
            return -ETIMEDOUT;
        nap();
    }
}

const struct rmig_rdma_cm_event *raw_private(const struct raw_peer *peer)
{
    return &peer->heard;
}

int raw_wait_disconnected(struct raw_peer *peer, int timeout_ms)
{
    uint64_t deadline = now_ms() + (uint64_t)timeout_ms;

    for (;;) {
        raw_poll(peer);
        if (peer->disconnected)
            return 0;
        if (now_ms() >= deadline)
            return -ETIMEDOUT;
        nap();
    }
}

int raw_disconnect(struct raw_peer *peer)
{
    return rmig_rdma_verbs_disconnect(peer->verbs, NULL);
}

void raw_close(struct raw_peer *peer)
{
    if (!peer)
        return;
    rmig_rdma_verbs_destroy_qp(peer->verbs);
    (void)rmig_rdma_verbs_dereg_mr(&peer->mr, NULL);
    for (unsigned i = 0; i < peer->nregions; i++)
        (void)rmig_rdma_verbs_dereg_mr(&peer->regions[i], NULL);
    rmig_rdma_verbs_close(peer->verbs);
    free(peer->memory);
    free(peer);
}

/* --- messages --------------------------------------------------------------------------------- */

static int free_send_slot(struct raw_peer *peer, unsigned *slot_p)
{
    uint64_t deadline = now_ms() + RAW_TIMEOUT_MS;

    for (;;) {
        for (unsigned i = 0; i < SEND_SLOTS; i++)
            if (!peer->sending[i]) {
                *slot_p = i;
                return 0;
            }
        raw_poll(peer);
        if (now_ms() >= deadline)
            return -ETIMEDOUT;
    }
}

static int post_slot(struct raw_peer *peer, unsigned slot, uint32_t len_bytes)
{
    int rc = rmig_rdma_verbs_post_send(peer->verbs, WR_ID(WR_SEND, slot), send_slot(peer, slot),
                                       len_bytes, peer->mr.lkey, NULL);

    peer->sending[slot] = rc == 0;
    return rc;
}

int raw_send(struct raw_peer *peer, const void *bytes, uint32_t len_bytes)
{
    unsigned slot;
    int rc = free_send_slot(peer, &slot);

    if (rc < 0)
        return rc;
    if (len_bytes > peer->opts.slot_bytes)
        return -EMSGSIZE;
    if (len_bytes)
        memcpy(send_slot(peer, slot), bytes, len_bytes);
    return post_slot(peer, slot, len_bytes);
}

int raw_say(struct raw_peer *peer, uint32_t type, uint32_t repeat, const void *payload,
            uint32_t len_bytes)
{
    struct rmig_wire_header header = { len_bytes, type, repeat };
    unsigned slot;
    int rc = free_send_slot(peer, &slot);

    if (rc < 0)
        return rc;
    if (len_bytes > peer->opts.slot_bytes - RMIG_WIRE_HEADER_BYTES)
        return -EMSGSIZE;
    rmig_wire_encode_header(send_slot(peer, slot), &header);
    if (len_bytes)
        memcpy(send_slot(peer, slot) + RMIG_WIRE_HEADER_BYTES, payload, len_bytes);
    return post_slot(peer, slot, RMIG_WIRE_HEADER_BYTES + len_bytes);
}

static void hand_over(struct raw_peer *peer, struct raw_msg *msg_p)
{
    const uint8_t *bytes = recv_slot(peer, peer->inbox[0].slot);

    peer->heard_slot = (int)peer->inbox[0].slot;
    *msg_p = (struct raw_msg){
        .len_bytes = rmig_load_be32(bytes),
        .type = rmig_load_be32(bytes + 4),
        .repeat = rmig_load_be32(bytes + 8),
        .received_bytes = peer->inbox[0].len_bytes,
        .payload = bytes + RMIG_WIRE_HEADER_BYTES,
    };
    peer->ninbox--;
    memmove(&peer->inbox[0], &peer->inbox[1], peer->ninbox * sizeof(peer->inbox[0]));
}

int raw_hear(struct raw_peer *peer, int timeout_ms, struct raw_msg *msg_p)
{
    uint64_t deadline = now_ms() + (uint64_t)timeout_ms;

    if (peer->heard_slot >= 0) {
        (void)post_recv(peer, (unsigned)peer->heard_slot);
        peer->heard_slot = -1;
    }
    for (;;) {
        raw_poll(peer);
        if (peer->ninbox) {
            hand_over(peer, msg_p);
            return 0;
        }
        if (peer->disconnected)
            return -ECONNRESET;
        if (peer->status)
            return -EIO;
        if (now_ms() >= deadline)
            return -ETIMEDOUT;
        nap();
    }
}

int raw_expect(struct raw_peer *peer, uint32_t type, struct raw_msg *msg_p)
{
    struct raw_msg msg;
    int rc = raw_hear(peer, RAW_TIMEOUT_MS, &msg);

    if (rc < 0)
        return rc;
    if (msg_p)
        *msg_p = msg;
    return msg.type == type ? 0 : -EPROTO;
}

int raw_say_on_ready(struct raw_peer *peer, uint32_t type, uint32_t repeat, const void *payload,
                     uint32_t len_bytes)
{
    int rc = raw_expect(peer, RMIG_WIRE_READY, NULL);

    return rc < 0 ? rc : raw_say(peer, type, repeat, payload, len_bytes);
}

int raw_pull(struct raw_peer *peer, uint32_t type, struct raw_msg *msg_p)
{
    int rc = raw_say(peer, RMIG_WIRE_READY, 1, NULL, 0);

    return rc < 0 ? rc : raw_expect(peer, type, msg_p);
}

int raw_flush(struct raw_peer *peer)
{
    uint64_t deadline = now_ms() + RAW_TIMEOUT_MS;

    for (;;) {
        bool busy = false;

        raw_poll(peer);
        for (unsigned i = 0; i < SEND_SLOTS; i++)
            busy = busy || peer->sending[i];
        if (!busy)
            return peer->status;
        if (now_ms() >= deadline)
            return -ETIMEDOUT;
        nap();
    }
}

int raw_status(const struct raw_peer *peer)
{
    return peer->status;
}

bool raw_is_disconnected(const struct raw_peer *peer)
{
    return peer->disconnected;
}

unsigned raw_pending(const struct raw_peer *peer)
{
    return peer->ninbox;
}

/* --- memory ----------------------------------------------------------------------------------- */

int raw_write(struct raw_peer *peer, const void *bytes, uint32_t len_bytes, uint64_t remote_addr,
              uint32_t rkey)
{
    uint64_t deadline = now_ms() + RAW_TIMEOUT_MS;
    struct rmig_rdma_write write = { .wr_id = WR_ID(WR_WRITE, 0), .local = write_buffer(peer),
                                     .remote_addr = remote_addr, .len_bytes = len_bytes,
                                     .lkey = peer->mr.lkey, .rkey = rkey, .signalled = true };
    int rc;

    if (len_bytes > RAW_WRITE_MAX)
        return -EMSGSIZE;
    if (len_bytes)
        memcpy(write_buffer(peer), bytes, len_bytes);
    rc = rmig_rdma_verbs_post_writes(peer->verbs, &write, 1, NULL);
    if (rc < 0)
        return rc;
    for (peer->writing = true; peer->writing; raw_poll(peer))
        if (now_ms() >= deadline)
            return -ETIMEDOUT;
    return peer->status;
}

int raw_register(struct raw_peer *peer, void *addr, uint64_t len_bytes,
                 enum rmig_rdma_access access, struct rmig_rdma_mr *mr_p)
{
    int rc;

    if (peer->nregions == REGIONS_MAX)
        return -ENOSPC;
    rc = rmig_rdma_verbs_reg_mr(peer->verbs, addr, len_bytes, access,
                                &peer->regions[peer->nregions], NULL);
    if (rc < 0)
        return rc;
    *mr_p = peer->regions[peer->nregions++];
    return 0;
}
