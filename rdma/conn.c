/* SPDX-License-Identifier: BSD-3-Clause */
/* conn.c -- connects and accepts: resolution, queue pairs, private data, extra lanes, teardown. */
#include "rdma/conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/overflow.h"
#include "common/resolve.h"

/* Send queue: 512 work requests where the device has them, as QEMU asks for. */
#define SEND_WRS_MAX 512u

/* rdma_cm parameters, from the protocol; retries as many as the field holds. */
#define RESPONDER_RESOURCES 2
#define RETRY_COUNT 7
#define RNR_RETRY_COUNT 7 /* for ever: a late receive is not an error */
#define LISTEN_BACKLOG 16

/* While lanes are awaited at the listener, those that are there are looked at this often. */
#define SLICE_MS 20

#define CONNECT_TIMEOUT_MS 3000u
#define IDLE_TIMEOUT_MS 30000u
#define STOCK_HANG_UP_MS 3000u
#define HANG_UP_MS 500u
#define DEAD_PEER_MS 2000u

static uint32_t or_default(uint32_t value, uint32_t fallback)
{
    return value ? value : fallback;
}

static void format_peer(char *text, size_t len, const char *host, const char *port)
{
    snprintf(text, len, strchr(host, ':') ? "[%.60s]:%.8s" : "%.60s:%.8s", host, port);
}

/*
 * A silent peer is found dead after a keepalive interval and all retries of the one sent then.
 * The device doubles nothing: it retries each local ACK timeout, 4.096 us * 2^exponent.
 */
static uint32_t keepalive_ms(uint32_t dead_peer_ms)
{
    return rmig_max_u64(dead_peer_ms / 4, 10);
}

static uint8_t ack_timeout_exponent(uint32_t dead_peer_ms)
{
    uint64_t each_ns = (uint64_t)(dead_peer_ms - dead_peer_ms / 4) * RMIG_NS_PER_MS /
                       (RETRY_COUNT + 1);
    uint8_t exponent = 1;

    while (exponent < 31 && (4096ull << (exponent + 1)) <= each_ns)
        exponent++;
    return exponent;
}

/* --- one lane --------------------------------------------------------------------------------- */

struct milestone {
    const struct rmig_rdma_lane *lane;
    enum rmig_rdma_cm_event_type type;
};

static bool reached(void *arg)
{
    const struct milestone *m = arg;

    return m->lane->milestone == m->type;
}

static int wait_milestone(struct rmig_rdma_conn *conn, unsigned lane,
                          enum rmig_rdma_cm_event_type type, uint64_t deadline_ns,
                          const char *what, struct rmig_err *err)
{
    struct milestone m = { &conn->pump.lanes[lane], type };

    return rmig_rdma_pump_until(&conn->pump, reached, &m, deadline_ns, what, err);
}

static int post_mark_receive(struct rmig_rdma_conn *conn, unsigned lane, struct rmig_err *err)
{
    return rmig_rdma_verbs_post_recv(conn->pump.lanes[lane].verbs,
                                     RMIG_RDMA_WR_ID(RMIG_RDMA_WR_MARK, 0), NULL, 0, 0, err);
}

/* Destination: a mark has come. Source: one was delivered. */
static int on_mark(void *opaque, unsigned lane, const struct rmig_rdma_wc *wc, struct rmig_err *err)
{
    struct rmig_rdma_conn *conn = opaque;

    if (conn->is_source)
        return 0;
    if (wc->opcode != RMIG_RDMA_WC_RECV)
        return rmig_err_set(err, -EPROTO, "peer %s sent immediate data or an invalidation on queue "
                            "pair %u, which the protocol has not", conn->pump.peer, lane);
    if (conn->marks[lane] > conn->marks_due)
        return rmig_err_set(err, -EPROTO, "peer %s ended a pass twice on queue pair %u",
                            conn->pump.peer, lane);
    conn->marks[lane]++;
    return post_mark_receive(conn, lane, err);
}

static int init_marks(struct rmig_rdma_conn *conn, unsigned lane, struct rmig_err *err)
{
    rmig_rdma_pump_set_handler(&conn->pump, RMIG_RDMA_WR_MARK, on_mark, conn);
    return conn->is_source ? 0 : post_mark_receive(conn, lane, err);
}

/* Make the queue pair of a lane. Lane 0 gets the control channel as well. */
static int make_qp(struct rmig_rdma_conn *conn, unsigned lane,
                   const struct rmig_transport_params *params, struct rmig_err *err)
{
    struct rmig_rdma_verbs *verbs = conn->pump.lanes[lane].verbs;
    struct rmig_rdma_device_attr device;
    struct rmig_rdma_qp_attr attr = { .max_recv_wr = RMIG_CTRL_RECV_SLOTS };
    int rc = rmig_rdma_verbs_query_device(verbs, &device, err);

    if (rc < 0)
        return rc;
    if (params->device && strcmp(params->device, device.name) != 0)
        return rmig_err_set(err, -ENODEV, "peer %s is reached through RDMA device %.64s, not %.64s",
                            conn->pump.peer, device.name, params->device);
    attr.max_send_wr = (uint32_t)rmig_min_u64(device.max_qp_wr, SEND_WRS_MAX);
    if (attr.max_send_wr <= 2 * RMIG_CTRL_SEND_WRS)
        return rmig_err_set(err, -ENOTSUP, "RDMA device %.64s allows %u work requests a queue pair, "
                            "more than %u are needed", device.name, attr.max_send_wr,
                            2 * RMIG_CTRL_SEND_WRS);
    conn->max_writes = attr.max_send_wr - RMIG_CTRL_SEND_WRS;
    rc = rmig_rdma_verbs_create_qp(verbs, &attr, err);
    if (rc < 0)
        return rc;
    conn->pump.lanes[lane].has_qp = true;
    rc = rmig_rdma_verbs_set_ack_timeout(
        verbs, ack_timeout_exponent(or_default(params->dead_peer_ms, DEAD_PEER_MS)), err);
    if (rc < 0)
        return rc;
    if (lane != 0)
        return init_marks(conn, lane, err);
    conn->on_demand = (params->flags & RMIG_TRANSPORT_ON_DEMAND) &&
                      rmig_rdma_verbs_has_on_demand(verbs);
    if ((params->flags & RMIG_TRANSPORT_ON_DEMAND) && !conn->on_demand)
        rmig_log(RMIG_LOG_INFO, "RDMA device %.64s has no on-demand paging: guest RAM is pinned",
                 device.name);
    return rmig_rdma_ctrl_init(&conn->ctrl, &conn->pump, verbs, conn->is_source,
                               conn->idle_timeout_ms, err);
}

static void init_conn(struct rmig_rdma_conn *conn, const struct rmig_transport_params *params,
                      bool is_source)
{
    memset(conn, 0, sizeof(*conn));
    rmig_rdma_pump_init(&conn->pump, params->cancel_fd,
                        keepalive_ms(or_default(params->dead_peer_ms, DEAD_PEER_MS)));
    conn->is_source = is_source;
    conn->idle_timeout_ms = or_default(params->idle_timeout_ms, IDLE_TIMEOUT_MS);
    conn->pin_budget_bytes = params->pin_budget_bytes;
}

/* --- source ----------------------------------------------------------------------------------- */

/* The address is the device's, which may have nothing to do with the one of the peer. */
static int resolve_addr(struct rmig_rdma_verbs *verbs, const struct sockaddr *dst,
                        const struct rmig_transport_params *params, int timeout_ms,
                        struct rmig_err *err)
{
    uint32_t port = or_default(params->device_port, 1);
    struct sockaddr_storage src;
    char text[RMIG_ADDRESS_TEXT_BYTES];
    int rc;

    if (!params->device)
        return rmig_rdma_verbs_resolve_addr(verbs, NULL, dst, timeout_ms, err);
    rc = rmig_rdma_verbs_device_address(params->device, port, params->gid_index, &src, err);
    if (rc < 0)
        return rc;
    rc = rmig_rdma_verbs_resolve_addr(verbs, (struct sockaddr *)&src, dst, timeout_ms, err);
    if (rc == 0)
        return 0;
    rmig_address_text((struct sockaddr *)&src, sizeof(src), text);
    *strrchr(text, ':') = '\0'; /* no port is bound */
    rmig_err_prefix(err, "from %s of device %s, port %u (another GID index may do)", text, params->device, port);
    return rc;
}

/* Resolve and connect one lane. Returns with it established, or -errno. */
static int connect_lane(struct rmig_rdma_conn *conn, const struct sockaddr *dst,
                        const struct rmig_transport_params *params,
                        const struct rmig_wire_private *priv, uint64_t deadline_ns,
                        struct rmig_err *err)
{
    uint8_t private_data[RMIG_WIRE_PRIVATE_MAX_BYTES];
    struct rmig_rdma_conn_param cp = {
        .private_data = private_data,
        .private_data_len_bytes = (uint8_t)rmig_wire_encode_private(private_data, priv),
        .initiator_depth = RESPONDER_RESOURCES,
        .retry_count = RETRY_COUNT,
        .rnr_retry_count = RNR_RETRY_COUNT,
    };
    struct rmig_rdma_verbs *verbs;
    int timeout_ms = rmig_poll_ms(deadline_ns);
    unsigned lane;
    int rc = rmig_rdma_verbs_open(&verbs, err);

    if (rc < 0)
        return rc;
    lane = rmig_rdma_pump_add_lane(&conn->pump, verbs);
    rc = resolve_addr(verbs, dst, params, timeout_ms, err);
    if (rc == 0)
        rc = wait_milestone(conn, lane, RMIG_RDMA_CM_ADDR_RESOLVED, deadline_ns,
                            "resolving the address", err);
    if (rc == 0)
        rc = rmig_rdma_verbs_resolve_route(verbs, timeout_ms, err);
    if (rc == 0)
        rc = wait_milestone(conn, lane, RMIG_RDMA_CM_ROUTE_RESOLVED, deadline_ns,
                            "resolving the route", err);
    if (rc == 0)
        rc = make_qp(conn, lane, params, err);
    if (rc == 0)
        rc = rmig_rdma_verbs_connect(verbs, &cp, err);
    if (rc == 0)
        rc = wait_milestone(conn, lane, RMIG_RDMA_CM_ESTABLISHED, deadline_ns, "connecting", err);
    return rc;
}

/* What the destination agreed to. */
static int take_answer(struct rmig_rdma_conn *conn, const struct rmig_wire_private *asked,
                       struct rmig_wire_private *answer_p, struct rmig_err *err)
{
    const struct rmig_rdma_cm_event *event = &conn->pump.lanes[0].established;
    int rc = rmig_wire_decode_private(event->private_data, event->private_data_len_bytes, answer_p,
                                      err);

    if (rc < 0)
        return rc;
    answer_p->flags &= asked->flags;
    conn->pin_all = answer_p->flags & RMIG_WIRE_FLAG_PIN_ALL;
    conn->multi_register = answer_p->flags & RMIG_WIRE_FLAG_MULTI_REGISTER;
    conn->ram_is_zero = answer_p->flags & RMIG_WIRE_FLAG_RAM_ZERO;
    conn->unregister = answer_p->flags & RMIG_WIRE_FLAG_PIN_BUDGET;
    if (!conn->unregister)
        return 0;
    if (answer_p->pin_budget_bytes < RMIG_WIRE_CHUNK_BYTES)
        return rmig_err_set(err, -EPROTO, "connection: a pin budget of %llu bytes, a chunk has %u",
                            (unsigned long long)answer_p->pin_budget_bytes, RMIG_WIRE_CHUNK_BYTES);
    conn->peer_pin_budget_bytes = answer_p->pin_budget_bytes;
    return 0;
}

static int connect_address(struct rmig_rdma_conn *conn, const struct sockaddr *dst,
                           const struct rmig_transport_params *params, uint64_t deadline_ns,
                           struct rmig_err *err)
{
    uint32_t nlanes = rmig_min_u64(or_default(params->nqueue_pairs, 1), RMIG_WIRE_LANES_MAX);
    struct rmig_wire_private priv = {
        .version = RMIG_WIRE_VERSION,
        .flags = RMIG_WIRE_FLAG_MULTI_REGISTER | RMIG_WIRE_FLAG_RAM_ZERO |
                 RMIG_WIRE_FLAG_PIN_BUDGET |
                 (params->pin_all ? RMIG_WIRE_FLAG_PIN_ALL : 0) |
                 (nlanes > 1 ? RMIG_WIRE_FLAG_LANES : 0),
        .nlanes = nlanes,
    };
    struct rmig_wire_private answer;
    int rc;

    if (getrandom(&priv.session, sizeof(priv.session), 0) != sizeof(priv.session))
        return rmig_err_set(err, -EIO, "no random number for the session");
    rc = connect_lane(conn, dst, params, &priv, deadline_ns, err);
    if (rc == 0)
        rc = take_answer(conn, &priv, &answer, err);
    if (rc < 0 || !(answer.flags & RMIG_WIRE_FLAG_LANES))
        return rc;
    for (priv.lane = 1; rc == 0 && priv.lane < nlanes; priv.lane++)
        rc = connect_lane(conn, dst, params, &priv, deadline_ns, err);
    return rc;
}

int rmig_rdma_conn_connect(struct rmig_rdma_conn *conn, const struct rmig_transport_params *params,
                           struct rmig_err *err)
{
    uint64_t deadline_ns =
        rmig_deadline_ns(or_default(params->connect_timeout_ms, CONNECT_TIMEOUT_MS));
    struct rmig_err local = RMIG_ERR_INIT;
    struct addrinfo *list;
    int rc;

    if (!params->host || !params->host[0])
        return rmig_err_set(err, -EINVAL, "RDMA connection: no host given");
    rc = rmig_rdma_verbs_count_devices(err);
    if (rc < 0) {
        rmig_err_prefix(err, "RDMA connection to %s:%s", params->host, params->port);
        return rc;
    }
    rc = rmig_resolve(params->host, params->port, false, deadline_ns, params->cancel_fd, &list, err);
    if (rc < 0)
        return rc;
    rc = -EHOSTUNREACH;
    for (struct addrinfo *ai = list; ai; ai = ai->ai_next) {
        local = (struct rmig_err)RMIG_ERR_INIT;
        init_conn(conn, params, true);
        format_peer(conn->pump.peer, sizeof(conn->pump.peer), params->host, params->port);
        rc = connect_address(conn, ai->ai_addr, params, deadline_ns, &local);
        if (rc == 0)
            break;
        rmig_rdma_conn_release(conn);
        if (rc == -ECANCELED || rc == -ETIMEDOUT)
            break;
    }
    freeaddrinfo(list);
    if (rc < 0)
        return rmig_err_set(err, rc, "RDMA connection to %s:%s: %s", params->host, params->port,
                            local.msg);
    conn->established = true;
    return 0;
}

/* --- destination ------------------------------------------------------------------------------ */

struct rmig_rdma_listener {
    struct rmig_rdma_verbs_listener *verbs;
};

/* The address to listen on: the device's, the host's, or any. */
static int listen_address(const struct rmig_transport_params *params,
                          struct sockaddr_storage *addr_p, struct rmig_err *err)
{
    const char *host = params->host && params->host[0] ? params->host : NULL;
    struct addrinfo *list;
    in_port_t port_be;
    int rc = rmig_resolve(host, params->port, true, rmig_deadline_ns(CONNECT_TIMEOUT_MS),
                          params->cancel_fd, &list, err);

    if (rc < 0)
        return rc;
    memcpy(addr_p, list->ai_addr, list->ai_addrlen);
    port_be = ((struct sockaddr_in *)addr_p)->sin_port; /* sin6_port lies at the same place */
    freeaddrinfo(list);
    if (host || !params->device)
        return 0;
    rc = rmig_rdma_verbs_device_address(params->device, or_default(params->device_port, 1),
                                        params->gid_index, addr_p, err);
    ((struct sockaddr_in *)addr_p)->sin_port = port_be;
    return rc;
}

static int listen_at(const struct rmig_transport_params *params, struct rmig_rdma_listener *l,
                     uint16_t *port_p, struct rmig_err *err)
{
    struct sockaddr_storage addr;
    int rc = rmig_rdma_verbs_count_devices(err);

    if (rc >= 0)
        rc = listen_address(params, &addr, err);
    if (rc == 0)
        rc = rmig_rdma_verbs_listen((struct sockaddr *)&addr, LISTEN_BACKLOG, &l->verbs, port_p, err);
    return rc;
}

int rmig_rdma_listener_open(const struct rmig_transport_params *params,
                            struct rmig_rdma_listener **l_p, uint16_t *port_p,
                            struct rmig_err *err)
{
    struct rmig_rdma_listener *l = calloc(1, sizeof(*l));
    int rc = l ? listen_at(params, l, port_p, err) : rmig_err_set(err, -ENOMEM, "out of memory");

    if (rc < 0) {
        free(l);
        rmig_err_prefix(err, "RDMA listener on %s port %s",
                        params->host && params->host[0] ? params->host : "any address",
                        params->port);
        return rc;
    }
    *l_p = l;
    return 0;
}

int rmig_rdma_listener_fd(const struct rmig_rdma_listener *l)
{
    return rmig_rdma_verbs_listener_fd(l->verbs);
}

void rmig_rdma_listener_close(struct rmig_rdma_listener *l)
{
    if (!l)
        return;
    rmig_rdma_verbs_listener_close(l->verbs);
    free(l);
}

/* What a source that has asked for a connection must be to get it. Returns: 0, -EPROTO. */
typedef int (*admit_fn)(const struct rmig_rdma_conn *conn, const struct rmig_wire_private *priv,
                        struct rmig_err *err);

/* Somebody who is no source of ours must not cost us the one that is on its way. */
static void turn_away(struct rmig_rdma_verbs *verbs, const struct rmig_err *why)
{
    uint8_t reason[RMIG_WIRE_REASON_MAX_BYTES];
    char text[RMIG_ADDRESS_TEXT_BYTES];
    struct sockaddr_storage addr;

    rmig_rdma_verbs_peer_address(verbs, &addr);
    rmig_address_text((struct sockaddr *)&addr, sizeof(addr), text);
    rmig_log(RMIG_LOG_WARNING, "RDMA connection from %s turned away: %s", text, why->msg);
    (void)rmig_rdma_verbs_reject(verbs, reason,
                                 (uint8_t)rmig_wire_encode_reason(reason, why->msg), NULL);
    rmig_rdma_verbs_close(verbs);
}

/* Wait until somebody asks for a connection, with an ear for the lanes that are there already. */
static int wait_asked(struct rmig_rdma_conn *conn, struct rmig_rdma_listener *l, int cancel_fd,
                      uint64_t deadline_ns, struct rmig_err *err)
{
    for (;;) {
        struct rmig_err e = RMIG_ERR_INIT;
        uint64_t until_ns = conn->pump.nlanes ? rmig_min_u64(deadline_ns, rmig_deadline_ns(SLICE_MS))
                                              : deadline_ns;
        int rc = rmig_rdma_pump_wait_fd(rmig_rdma_verbs_listener_fd(l->verbs), cancel_fd, until_ns,
                                        "waiting for a source to connect", &e);

        if (rc != -ETIMEDOUT || until_ns == deadline_ns)
            return rc < 0 ? rmig_err_set(err, rc, "%s", e.msg) : 0;
        rc = rmig_rdma_pump_breathe(&conn->pump, "connecting its other queue pairs", err);
        if (rc < 0)
            return rc;
    }
}

/* The next connection request, if one is there. Returns: 1, 0 none, -errno. */
static int take_request(struct rmig_rdma_conn *conn, struct rmig_rdma_listener *l, int cancel_fd,
                        uint64_t deadline_ns, struct rmig_rdma_verbs **verbs_p,
                        struct rmig_rdma_cm_event *event_p, struct rmig_err *err)
{
    int rc = wait_asked(conn, l, cancel_fd, deadline_ns, err);

    if (rc < 0)
        return rc;
    event_p->type = RMIG_RDMA_CM_OTHER;
    rc = rmig_rdma_verbs_get_request(l->verbs, verbs_p, event_p, err);
    if (rc < 0)
        rmig_err_prefix(err, "RDMA connection from a source");
    else if (rc == 0 && event_p->type == RMIG_RDMA_CM_DEVICE_REMOVAL)
        rc = rmig_err_set(err, -ENODEV,
                          "the RDMA device was removed while waiting for a source to connect");
    return rc;
}

/* Wait for the request of a source that admit lets in; others are turned away meanwhile. Returns
 * with an endpoint and its decoded private data. */
static int wait_request(struct rmig_rdma_conn *conn, struct rmig_rdma_listener *l,
                        int cancel_fd, uint64_t deadline_ns, admit_fn admit,
                        struct rmig_rdma_verbs **verbs_p, struct rmig_wire_private *priv_p,
                        struct rmig_err *err)
{
    for (bool again = false;; again = true) {
        struct rmig_err why = RMIG_ERR_INIT;
        struct rmig_rdma_cm_event event;
        struct rmig_rdma_verbs *verbs;
        int rc;

        /* One stranger after another: their requests end no wait, and lanes want to be heard. */
        if (again && rmig_now_ns() >= deadline_ns)
            return rmig_err_set(err, -ETIMEDOUT, "timed out while waiting for a source to connect");
        if (again && conn->pump.nlanes &&
            (rc = rmig_rdma_pump_breathe(&conn->pump, "connecting its other queue pairs", err)) < 0)
            return rc;
        rc = take_request(conn, l, cancel_fd, deadline_ns, &verbs, &event, err);
        if (rc < 0)
            return rc;
        if (rc == 0)
            continue;
        rc = rmig_wire_decode_private(event.private_data, event.private_data_len_bytes, priv_p,
                                      &why);
        if (rc == 0)
            rc = admit(conn, priv_p, &why);
        if (rc == 0) {
            *verbs_p = verbs;
            return 0;
        }
        turn_away(verbs, &why);
    }
}

/* Take a request as the next lane: queue pair, accept, established. */
static int accept_lane(struct rmig_rdma_conn *conn, struct rmig_rdma_verbs *verbs,
                       const struct rmig_wire_private *priv,
                       const struct rmig_transport_params *params, uint64_t deadline_ns,
                       struct rmig_err *err)
{
    uint8_t private_data[RMIG_WIRE_PRIVATE_MAX_BYTES];
    struct rmig_rdma_conn_param cp = {
        .private_data = private_data,
        .private_data_len_bytes = (uint8_t)rmig_wire_encode_private(private_data, priv),
        .responder_resources = RESPONDER_RESOURCES,
        .rnr_retry_count = RNR_RETRY_COUNT,
    };
    unsigned lane = rmig_rdma_pump_add_lane(&conn->pump, verbs);
    int rc = make_qp(conn, lane, params, err);

    if (rc < 0) {
        (void)rmig_rdma_verbs_reject(verbs, NULL, 0, NULL);
        return rc;
    }
    rc = rmig_rdma_verbs_accept(verbs, &cp, err);
    if (rc < 0)
        return rc;
    return wait_milestone(conn, lane, RMIG_RDMA_CM_ESTABLISHED, deadline_ns, "accepting", err);
}

static int admit_first(const struct rmig_rdma_conn *conn, const struct rmig_wire_private *priv,
                       struct rmig_err *err)
{
    if (priv->lane != 0)
        return rmig_err_set(err, -EPROTO, "it began with lane %u instead of 0", priv->lane);
    /* An answer without pin-all would do, were there not sources that crash at it. */
    if ((priv->flags & RMIG_WIRE_FLAG_PIN_ALL) && conn->pin_budget_bytes)
        return rmig_err_set(err, -ENOTSUP,
                            "it asks to have all RAM pinned, but a pin budget of %.1f MiB is set; "
                            "switch capability rdma-pin-all off there, or do without the budget",
                            (double)conn->pin_budget_bytes / (1 << 20));
    return 0;
}

static int admit_lane(const struct rmig_rdma_conn *conn, const struct rmig_wire_private *priv,
                      struct rmig_err *err)
{
    const struct rmig_wire_private *first = &conn->session;

    if ((priv->flags & RMIG_WIRE_FLAG_LANES) && priv->session == first->session &&
        priv->lane == conn->pump.nlanes && priv->nlanes == first->nlanes)
        return 0;
    return rmig_err_set(err, -EPROTO, "lane %u of %u of the session under way is awaited",
                        conn->pump.nlanes, first->nlanes);
}

/* The other lanes of a session. */
static int accept_more_lanes(struct rmig_rdma_conn *conn, struct rmig_rdma_listener *l,
                             const struct rmig_transport_params *params, uint64_t deadline_ns,
                             struct rmig_err *err)
{
    int rc = 0;

    while (rc == 0 && conn->pump.nlanes < conn->session.nlanes) {
        struct rmig_wire_private priv;
        struct rmig_rdma_verbs *verbs;

        rc = wait_request(conn, l, params->cancel_fd, deadline_ns, admit_lane, &verbs, &priv, err);
        if (rc == 0)
            rc = accept_lane(conn, verbs, &priv, params, deadline_ns, err);
    }
    return rc;
}

int rmig_rdma_conn_accept(struct rmig_rdma_conn *conn, struct rmig_rdma_listener *l,
                          int timeout_ms, const struct rmig_transport_params *params,
                          struct rmig_err *err)
{
    struct rmig_wire_private priv;
    struct rmig_rdma_verbs *verbs;
    struct sockaddr_storage peer;
    uint64_t deadline_ns;
    int rc;

    init_conn(conn, params, false);
    rc = wait_request(conn, l, params->cancel_fd, rmig_deadline_ns(timeout_ms), admit_first,
                      &verbs, &priv, err);
    if (rc < 0)
        return rc;
    deadline_ns = rmig_deadline_ns(or_default(params->connect_timeout_ms, CONNECT_TIMEOUT_MS));
    if (!(params->flags & RMIG_TRANSPORT_RAM_IS_ZERO))
        priv.flags &= ~RMIG_WIRE_FLAG_RAM_ZERO;
    if (!conn->pin_budget_bytes)
        priv.flags &= ~RMIG_WIRE_FLAG_PIN_BUDGET;
    /* A chunk is the least that can be registered, and so the least that is told. */
    priv.pin_budget_bytes = rmig_max_u64(conn->pin_budget_bytes, RMIG_WIRE_CHUNK_BYTES);
    conn->session = priv;
    rmig_rdma_verbs_peer_address(verbs, &peer);
    rmig_address_text((struct sockaddr *)&peer, sizeof(peer), conn->pump.peer);
    conn->pin_all = priv.flags & RMIG_WIRE_FLAG_PIN_ALL;
    conn->multi_register = priv.flags & RMIG_WIRE_FLAG_MULTI_REGISTER;
    conn->unregister = priv.flags & RMIG_WIRE_FLAG_PIN_BUDGET;
    rc = accept_lane(conn, verbs, &priv, params, deadline_ns, err);
    if (rc == 0)
        rc = accept_more_lanes(conn, l, params, deadline_ns, err);
    if (rc < 0) {
        rmig_err_prefix(err, "RDMA connection from %s", conn->pump.peer);
        rmig_rdma_conn_release(conn);
        return rc;
    }
    conn->established = true;
    return 0;
}

/* --- the end of a pass ------------------------------------------------------------------------ */

int rmig_rdma_conn_send_marks(struct rmig_rdma_conn *conn, struct rmig_err *err)
{
    int rc = 0;

    for (unsigned i = 1; rc == 0 && i < conn->pump.nlanes; i++)
        rc = rmig_rdma_verbs_post_send(conn->pump.lanes[i].verbs,
                                       RMIG_RDMA_WR_ID(RMIG_RDMA_WR_MARK, 0), NULL, 0, 0, err);
    if (rc < 0)
        rmig_err_prefix(err, "mark to peer %s", conn->pump.peer);
    return rc;
}

static bool all_marked(void *arg)
{
    const struct rmig_rdma_conn *conn = arg;

    for (unsigned i = 1; i < conn->pump.nlanes; i++)
        if (conn->marks[i] < conn->marks_due)
            return false;
    return true;
}

int rmig_rdma_conn_wait_marks(struct rmig_rdma_conn *conn, struct rmig_err *err)
{
    conn->marks_due++;
    return rmig_rdma_pump_until(&conn->pump, all_marked, conn,
                                rmig_deadline_ns(conn->idle_timeout_ms),
                                "waiting for the end of the pass on every queue pair", err);
}

/* --- the end ---------------------------------------------------------------------------------- */

#define HANGING_UP "waiting for the peer to hang up"

/* In order, that is: a peer that hangs up with a message undelivered has failed. */
static bool has_hung_up(void *arg)
{
    struct rmig_rdma_conn *conn = arg;

    return conn->pump.disconnected && rmig_rdma_ctrl_all_delivered(&conn->ctrl);
}

/* By that READY alone: one of our kind that hangs up without it has died with what it was sent. */
static bool has_everything(void *arg)
{
    const struct rmig_rdma_conn *conn = arg;

    return conn->ctrl.credits > 0;
}

static int wait_end(struct rmig_rdma_conn *conn, bool (*is_over)(void *arg), uint32_t most_ms,
                    const char *what, struct rmig_err *err)
{
    return rmig_rdma_pump_until(&conn->pump, is_over, conn,
                                rmig_deadline_ns(rmig_min_u64(conn->idle_timeout_ms, most_ms)),
                                what, err);
}

/* A stock QEMU may be long in hanging up once its guest runs; it has the stream's last message by
 * then, and had asked for it. One of our kind has said so with its last READY, and a hang-up that is
 * lost on the way is repeated after 4 s only. So nothing is lost when we are the first to. */
int rmig_rdma_conn_wait_disconnect(struct rmig_rdma_conn *conn, struct rmig_err *err)
{
    struct rmig_err e = RMIG_ERR_INIT;
    bool stock = !conn->multi_register;
    int rc;

    conn->pump.hears_out = stock;
    rc = stock ? 0 : wait_end(conn, has_everything, UINT32_MAX,
                              "waiting for the destination to say that it has everything", &e);
    if (rc == 0) {
        rc = wait_end(conn, has_hung_up, stock ? STOCK_HANG_UP_MS : HANG_UP_MS, HANGING_UP, &e);
        if (rc == -ETIMEDOUT)
            return 0;
    }
    return rc < 0 ? rmig_err_set(err, rc, "%s", e.msg) : 0;
}

static bool has_gone(void *arg)
{
    const struct rmig_rdma_conn *conn = arg;

    return conn->pump.disconnected;
}

void rmig_rdma_conn_end_as_dest(struct rmig_rdma_conn *conn)
{
    if (conn->multi_register)
        rmig_rdma_ctrl_send_last_ready(&conn->ctrl);
    else
        (void)wait_end(conn, has_gone, STOCK_HANG_UP_MS, HANGING_UP, NULL);
}

void rmig_rdma_conn_tear_down(struct rmig_rdma_conn *conn, bool failed)
{
    if (conn->torn_down)
        return;
    conn->torn_down = true;
    if (conn->established && failed)
        rmig_rdma_ctrl_send_error(&conn->ctrl);
    for (unsigned i = 0; conn->established && i < conn->pump.nlanes; i++)
        (void)rmig_rdma_verbs_disconnect(conn->pump.lanes[i].verbs, NULL);
    rmig_rdma_pump_destroy_qps(&conn->pump);
}

void rmig_rdma_conn_release(struct rmig_rdma_conn *conn)
{
    rmig_rdma_conn_tear_down(conn, false);
    rmig_rdma_ctrl_release(&conn->ctrl);
    rmig_rdma_pump_release(&conn->pump);
}
