/* SPDX-License-Identifier: BSD-3-Clause */
/* hostile_cm.c -- connections of a peer, with any private data, and what hangs on them. */
#include "tests/interop/hostile.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>

#include "common/bytes.h"

static void happened(struct peer *peer, const struct rdma_cm_event *event)
{
    struct lane *lane = NULL;

    for (unsigned i = 0; i < peer->nlanes; i++)
        if (peer->lanes[i].id == event->id)
            lane = &peer->lanes[i];
    if (event->event == RDMA_CM_EVENT_CONNECT_REQUEST && peer->nlanes < PEER_LANES_MAX)
        peer->lanes[peer->nlanes++].id = event->id;
    else if (lane && event->event == RDMA_CM_EVENT_ESTABLISHED)
        lane->established = true;
    else if (lane && event->event == RDMA_CM_EVENT_REJECTED)
        lane->rejected = true;
    else if (lane && event->event == RDMA_CM_EVENT_DISCONNECTED)
        lane->disconnected = true;
    else if (event->status)
        peer_fail(peer, "%s: %d", rdma_event_str(event->event), event->status);
}

/* The next event, if there is one within timeout_ms. Returns its type, -1 = none. */
int peer_take_event(struct peer *peer, int timeout_ms)
{
    struct pollfd pollfd = {peer->channel->fd, POLLIN, 0};
    struct rdma_cm_event *event;
    int type;

    if (poll(&pollfd, 1, timeout_ms) <= 0 || rdma_get_cm_event(peer->channel, &event))
        return -1;
    type = (int)event->event;
    happened(peer, event);
    rdma_ack_cm_event(event);
    return type;
}

/* Waits until a flag is set. */
static void wait_flag(struct peer *peer, const bool *flag, const char *what)
{
    uint64_t deadline_ns = now_ns() + STEP_MS * NS_PER_MS;

    while (peer_ok(peer) && !*flag) {
        peer_poll(peer);
        if (now_ns() > deadline_ns)
            peer_fail(peer, "waited in vain for %s", what);
        peer_nap();
    }
}

/* Given back at once when it is unmapped, so that rmig does not inherit it at its start. */
static void *map(size_t len)
{
    void *base = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return base == MAP_FAILED ? NULL : base;
}

static void unmap(void *base, size_t len)
{
    if (base)
        munmap(base, len);
}

/* What is made once, on the device of the first lane. */
static void make_memory(struct peer *peer, struct ibv_context *verbs)
{
    peer->pd = ibv_alloc_pd(verbs);
    peer->cq = ibv_create_cq(verbs, 512, NULL, NULL, 0);
    peer->memory = map(PEER_MEMORY_BYTES);
    peer->guest = map(GUEST_BYTES);
    if (peer->pd && peer->memory && peer->guest) {
        peer->mr = ibv_reg_mr(peer->pd, peer->memory, PEER_MEMORY_BYTES, IBV_ACCESS_LOCAL_WRITE);
        peer->guest_mr = ibv_reg_mr(peer->pd, peer->guest, GUEST_BYTES,
                                    IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
    }
    if (!peer->cq || !peer->mr || !peer->guest_mr)
        peer_fail(peer, "no memory of the peer's own: %s", strerror(errno));
}

static void make_qp(struct peer *peer, unsigned lane)
{
    struct ibv_qp_init_attr attr = {
        .qp_type = IBV_QPT_RC,
        .sq_sig_all = 1,
        .cap = {.max_send_wr = 128,
                .max_recv_wr = PEER_RECVS,
                .max_send_sge = 1,
                .max_recv_sge = 1},
    };

    if (lane == 0)
        make_memory(peer, peer->lanes[0].id->verbs);
    /* 67 ms: that rmig is gone is noticed in less than a second */
    rdma_set_option(peer->lanes[lane].id, RDMA_OPTION_ID, RDMA_OPTION_ID_ACK_TIMEOUT,
                    &(uint8_t){14}, sizeof(uint8_t));
    attr.send_cq = attr.recv_cq = peer->cq;
    if (peer_ok(peer) && rdma_create_qp(peer->lanes[lane].id, peer->pd, &attr))
        peer_fail(peer, "no queue pair: %s", strerror(errno));
    for (unsigned i = 0; peer_ok(peer) && lane == 0 && i < PEER_RECVS; i++)
        peer_post_recv(peer, i);
}

static struct rdma_conn_param conn_param(const void *private_data, uint8_t len)
{
    return (struct rdma_conn_param){.private_data = private_data,
                                    .private_data_len = len,
                                    .responder_resources = 2,
                                    .initiator_depth = 2,
                                    .retry_count = 5,
                                    .rnr_retry_count = 7};
}

static void open_channel(struct peer *peer)
{
    if (!peer->channel)
        peer->channel = rdma_create_event_channel();
    if (!peer->channel)
        peer_fail(peer, "no CM: %s", strerror(errno));
}

static struct sockaddr_in address_of(const struct peer *peer, uint16_t port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(port)};

    inet_pton(AF_INET, peer->address, &addr.sin_addr);
    return addr;
}

void peer_dial(struct peer *peer, const void *private_data, uint8_t len)
{
    struct rdma_conn_param param = conn_param(private_data, len);
    struct sockaddr_in addr = address_of(peer, peer->port);
    unsigned lane = peer->nlanes;
    struct rdma_cm_id *id;

    open_channel(peer);
    if (!peer_ok(peer))
        return;
    if (rdma_create_id(peer->channel, &id, NULL, RDMA_PS_TCP)) {
        peer_fail(peer, "no CM identifier: %s", strerror(errno));
        return;
    }
    peer->lanes[peer->nlanes++] = (struct lane){.id = id};
    if (rdma_resolve_addr(id, NULL, (struct sockaddr *)&addr, STEP_MS) ||
        peer_take_event(peer, STEP_MS) != RDMA_CM_EVENT_ADDR_RESOLVED ||
        rdma_resolve_route(id, STEP_MS) ||
        peer_take_event(peer, STEP_MS) != RDMA_CM_EVENT_ROUTE_RESOLVED)
        peer_fail(peer, "no path to rmig");
    if (peer_ok(peer))
        make_qp(peer, lane);
    if (peer_ok(peer) && rdma_connect(id, &param))
        peer_fail(peer, "connecting: %s", strerror(errno));
    peer->acted_ns = now_ns();
}

void peer_connect(struct peer *peer, uint32_t flags)
{
    uint8_t bytes[8];

    rmig_store_be32(bytes, RMIG_WIRE_VERSION);
    rmig_store_be32(bytes + 4, flags);
    peer_dial(peer, bytes, sizeof(bytes));
    peer_expect_established(peer);
}

void peer_connect_lane(struct peer *peer, uint64_t session, uint32_t lane, uint32_t nlanes)
{
    uint8_t bytes[24];

    rmig_store_be32(bytes, RMIG_WIRE_VERSION);
    rmig_store_be32(bytes + 4, RMIG_WIRE_FLAG_LANES);
    rmig_store_be64(bytes + 8, session);
    rmig_store_be32(bytes + 16, lane);
    rmig_store_be32(bytes + 20, nlanes);
    peer_dial(peer, bytes, sizeof(bytes));
}

void peer_expect_established(struct peer *peer)
{
    if (peer_ok(peer))
        wait_flag(peer, &peer->lanes[peer->nlanes - 1].established, "the connection");
}

static void close_lane(struct peer *peer, unsigned lane)
{
    if (peer->lanes[lane].id->qp)
        rdma_destroy_qp(peer->lanes[lane].id);
    rdma_destroy_id(peer->lanes[lane].id);
}

static void release_memory(struct peer *peer)
{
    if (peer->mr)
        ibv_dereg_mr(peer->mr);
    if (peer->guest_mr)
        ibv_dereg_mr(peer->guest_mr);
    if (peer->cq)
        ibv_destroy_cq(peer->cq);
    if (peer->pd)
        ibv_dealloc_pd(peer->pd);
    unmap(peer->memory, PEER_MEMORY_BYTES);
    unmap(peer->guest, GUEST_BYTES);
    peer->mr = peer->guest_mr = NULL;
    peer->cq = NULL;
    peer->pd = NULL;
    peer->memory = peer->guest = NULL;
}

void peer_expect_rejected(struct peer *peer)
{
    if (!peer_ok(peer))
        return;
    wait_flag(peer, &peer->lanes[peer->nlanes - 1].rejected, "being turned away");
    if (now_ns() - peer->acted_ns > LIMIT_MS * NS_PER_MS)
        peer_fail(peer, "turned away only after %d ms", LIMIT_MS);
    close_lane(peer, --peer->nlanes);
    if (peer->nlanes == 0)
        release_memory(peer);
    peer->failed_status = 0;
}

void peer_listen(struct peer *peer)
{
    struct sockaddr_in addr = address_of(peer, 0);

    open_channel(peer);
    if (peer_ok(peer) && (rdma_create_id(peer->channel, &peer->listener, NULL, RDMA_PS_TCP) ||
                          rdma_bind_addr(peer->listener, (struct sockaddr *)&addr) ||
                          rdma_listen(peer->listener, 4)))
        peer_fail(peer, "cannot listen: %s", strerror(errno));
    if (peer_ok(peer))
        peer->port = ntohs(rdma_get_src_port(peer->listener));
}

void peer_await(struct peer *peer)
{
    uint64_t deadline_ns = now_ns() + STEP_MS * NS_PER_MS;

    while (peer_ok(peer) && peer->nlanes == 0) {
        if (now_ns() > deadline_ns)
            peer_fail(peer, "rmig does not connect");
        peer_take_event(peer, 100);
    }
    if (peer_ok(peer))
        make_qp(peer, 0);
}

void peer_answer(struct peer *peer, const void *private_data, uint8_t len)
{
    struct rdma_conn_param param = conn_param(private_data, len);

    peer_await(peer);
    if (peer_ok(peer) && rdma_accept(peer->lanes[0].id, &param))
        peer_fail(peer, "accepting: %s", strerror(errno));
    peer->acted_ns = now_ns();
}

void peer_accept(struct peer *peer, uint32_t flags)
{
    uint8_t bytes[8];

    rmig_store_be32(bytes, RMIG_WIRE_VERSION);
    rmig_store_be32(bytes + 4, flags);
    peer_answer(peer, bytes, sizeof(bytes));
    peer_expect_established(peer);
}

void peer_hang_up(struct peer *peer)
{
    if (peer_ok(peer) && rdma_disconnect(peer->lanes[0].id))
        peer_fail(peer, "hanging up: %s", strerror(errno));
    peer->hung_up = true;
    peer->acted_ns = now_ns();
}

void peer_close(struct peer *peer)
{
    while (peer->nlanes > 0)
        close_lane(peer, --peer->nlanes);
    if (peer->listener)
        rdma_destroy_id(peer->listener);
    release_memory(peer);
    if (peer->channel)
        rdma_destroy_event_channel(peer->channel);
    bytes_release(&peer->out);
}
