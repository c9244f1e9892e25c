/* SPDX-License-Identifier: BSD-3-Clause */
/* hostile_peer.c -- messages of a peer over real verbs, without any rule of its own. */
#include "tests/interop/hostile.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/bytes.h"

enum { WR_RECV = 1, WR_SEND };
#define WR_ID(kind, slot) ((uint64_t)(kind) << 32 | (slot))

uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 * NS_PER_MS + (uint64_t)ts.tv_nsec;
}

void peer_nap(void)
{
    nanosleep(&(struct timespec){0, 200000}, NULL);
}

bool peer_ok(const struct peer *peer)
{
    return peer->why[0] == '\0';
}

void peer_fail(struct peer *peer, const char *format, ...)
{
    va_list args;

    if (!peer_ok(peer))
        return;
    va_start(args, format);
    vsnprintf(peer->why, sizeof(peer->why), format, args);
    va_end(args);
}

static uint8_t *recv_slot(const struct peer *peer, unsigned slot)
{
    return peer->memory + (size_t)slot * PEER_RECV_BYTES;
}

static uint8_t *send_slot(const struct peer *peer, unsigned slot)
{
    return recv_slot(peer, PEER_RECVS) + (size_t)slot * PEER_SEND_BYTES;
}

static void completed(struct peer *peer, const struct ibv_wc *wc)
{
    unsigned slot = (unsigned)wc->wr_id;

    if (wc->status && !peer->failed_status)
        peer->failed_status = (int)wc->status;
    if (wc->wr_id >> 32 != WR_RECV) {
        peer->sending[slot] = false;
    } else if (!wc->status) {
        peer->inbox[peer->ninbox++] = slot;
    }
}

void peer_poll(struct peer *peer)
{
    struct ibv_wc wc[8];
    int n;

    while (peer->channel && peer_take_event(peer, 0) >= 0)
        ;
    while (peer->cq && (n = ibv_poll_cq(peer->cq, 8, wc)) > 0)
        for (int i = 0; i < n; i++)
            completed(peer, &wc[i]);
}

void peer_post_recv(struct peer *peer, unsigned slot)
{
    struct ibv_sge sge = {(uintptr_t)recv_slot(peer, slot), PEER_RECV_BYTES, peer->mr->lkey};
    struct ibv_recv_wr wr = {.wr_id = WR_ID(WR_RECV, slot), .sg_list = &sge, .num_sge = 1}, *bad;

    if (ibv_post_recv(peer->lanes[0].id->qp, &wr, &bad))
        peer_fail(peer, "no receive can be posted");
}

static int free_send_slot(struct peer *peer)
{
    uint64_t deadline_ns = now_ns() + STEP_MS * NS_PER_MS;

    while (peer_ok(peer)) {
        for (unsigned i = 0; i < PEER_SENDS; i++)
            if (!peer->sending[i])
                return (int)i;
        peer_poll(peer);
        if (now_ns() > deadline_ns)
            peer_fail(peer, "a message is not taken");
        peer_nap();
    }
    return -1;
}

static bool is_sending(const struct peer *peer)
{
    for (unsigned i = 0; i < PEER_SENDS; i++)
        if (peer->sending[i])
            return true;
    return false;
}

void peer_await_sent(struct peer *peer)
{
    uint64_t deadline_ns = now_ns() + STEP_MS * NS_PER_MS;

    while (peer_ok(peer) && is_sending(peer)) {
        peer_poll(peer);
        if (now_ns() > deadline_ns)
            peer_fail(peer, "a message is not taken");
        peer_nap();
    }
}

static void post(struct peer *peer, unsigned lane, struct ibv_send_wr *wr, const void *bytes,
                 uint32_t len)
{
    int slot = free_send_slot(peer);
    struct ibv_sge sge = {.length = len};
    struct ibv_send_wr *bad;

    if (slot < 0)
        return;
    sge.addr = (uintptr_t)send_slot(peer, (unsigned)slot);
    sge.lkey = peer->mr->lkey;
    if (len)
        memcpy(send_slot(peer, (unsigned)slot), bytes, len);
    wr->wr_id = WR_ID(WR_SEND, (unsigned)slot);
    wr->sg_list = &sge;
    wr->num_sge = len ? 1 : 0;
    peer->sending[slot] = true;
    peer->acted_ns = now_ns();
    if (ibv_post_send(peer->lanes[lane].id->qp, wr, &bad))
        peer_fail(peer, "a message cannot be posted");
}

void peer_send(struct peer *peer, unsigned lane, const void *bytes, uint32_t len)
{
    post(peer, lane, &(struct ibv_send_wr){.opcode = IBV_WR_SEND}, bytes, len);
}

void peer_send_as(struct peer *peer, enum ibv_wr_opcode opcode, const void *bytes, uint32_t len,
                  uint32_t extra)
{
    struct ibv_send_wr wr = {.opcode = opcode};

    if (opcode == IBV_WR_SEND_WITH_INV)
        wr.invalidate_rkey = extra;
    else
        wr.imm_data = extra;
    post(peer, peer->nlanes - 1, &wr, bytes, len);
}

void peer_say_len(struct peer *peer, uint32_t type, uint32_t repeat, const void *payload,
                  uint32_t len, uint32_t len_sent)
{
    struct rmig_wire_header header = {len, type, repeat};
    struct bytes message = {0};
    uint8_t head[RMIG_WIRE_HEADER_BYTES];

    rmig_wire_encode_header(head, &header);
    bytes_add(&message, head, sizeof(head));
    if (len_sent)
        bytes_add(&message, payload, len_sent);
    peer_send(peer, 0, message.data, (uint32_t)message.len);
    bytes_release(&message);
}

void peer_say(struct peer *peer, uint32_t type, uint32_t repeat, const void *payload, uint32_t len)
{
    peer_say_len(peer, type, repeat, payload, len, len);
}

/* Hand the oldest message over. */
static void hear(struct peer *peer)
{
    const uint8_t *bytes = recv_slot(peer, peer->inbox[0]);

    peer->heard_slot = (int)peer->inbox[0];
    peer->len = rmig_load_be32(bytes);
    peer->type = rmig_load_be32(bytes + 4);
    peer->repeat = rmig_load_be32(bytes + 8);
    peer->payload = bytes + RMIG_WIRE_HEADER_BYTES;
    peer->ninbox--;
    memmove(&peer->inbox[0], &peer->inbox[1], peer->ninbox * sizeof(peer->inbox[0]));
}

void peer_expect(struct peer *peer, uint32_t type)
{
    uint64_t deadline_ns = now_ns() + STEP_MS * NS_PER_MS;

    if (peer_ok(peer) && peer->heard_slot >= 0)
        peer_post_recv(peer, (unsigned)peer->heard_slot);
    peer->heard_slot = -1;
    while (peer_ok(peer)) {
        peer_poll(peer);
        if (peer->ninbox)
            break;
        if (peer->lanes[0].disconnected || peer->failed_status || now_ns() > deadline_ns)
            peer_fail(peer, "%s while waiting for %s",
                      peer->lanes[0].disconnected ? "rmig hung up"
                      : peer->failed_status       ? "the connection failed"
                                                  : "nothing came",
                      rmig_wire_type_name(type));
        peer_nap();
    }
    if (!peer_ok(peer))
        return;
    hear(peer);
    if (type && peer->type != type)
        peer_fail(peer, "%s came, not %s", rmig_wire_type_name(peer->type),
                  rmig_wire_type_name(type));
}

void peer_say_on_ready(struct peer *peer, uint32_t type, uint32_t repeat, const void *payload,
                       uint32_t len)
{
    peer_expect(peer, RMIG_WIRE_READY);
    if (peer_ok(peer))
        peer_say(peer, type, repeat, payload, len);
}

void peer_file(struct peer *peer, const char *text)
{
    peer->out.len = 0;
    bytes_put(&peer->out, text);
    peer_say_on_ready(peer, RMIG_WIRE_QEMU_FILE, 1, peer->out.data, (uint32_t)peer->out.len);
}

int peer_access(struct peer *peer, enum ibv_wr_opcode opcode, uint64_t remote_addr, uint32_t rkey,
                uint32_t len)
{
    uint64_t deadline_ns = now_ns() + STEP_MS * NS_PER_MS;
    struct ibv_sge sge = {.addr = (uintptr_t)peer->guest, .length = len};
    struct ibv_send_wr wr = {.opcode = opcode, .sg_list = &sge, .num_sge = 1}, *bad;
    int slot = free_send_slot(peer);

    if (slot < 0)
        return -1;
    wr.wr_id = WR_ID(WR_SEND, (unsigned)slot);
    sge.lkey = peer->guest_mr->lkey;
    if (opcode == IBV_WR_ATOMIC_FETCH_AND_ADD) {
        wr.wr.atomic.remote_addr = remote_addr;
        wr.wr.atomic.compare_add = 1;
        wr.wr.atomic.rkey = rkey;
    } else {
        wr.wr.rdma.remote_addr = remote_addr;
        wr.wr.rdma.rkey = rkey;
    }
    peer->sending[slot] = true;
    peer->acted_ns = now_ns();
    if (ibv_post_send(peer->lanes[0].id->qp, &wr, &bad))
        peer_fail(peer, "an access cannot be posted");
    while (peer_ok(peer) && peer->sending[slot]) {
        peer_poll(peer);
        if (now_ns() > deadline_ns)
            peer_fail(peer, "an access has no end");
        peer_nap();
    }
    return peer->failed_status;
}
