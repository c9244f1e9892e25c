/* SPDX-License-Identifier: BSD-3-Clause */
/* fake_cm.c -- the fake's endpoints and listeners: making, connecting, hanging up, CM events. */
#include "tests/fake/fake_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define REQUEST_DATA_BYTES 56u
#define REPLY_DATA_BYTES 196u
#define REJECT_DATA_BYTES 148u
#define DEFAULT_ACK_TIMEOUT 18u /* about 1 s a try */
#define DEFAULT_RETRIES 7u
#define FIRST_PORT 20001u

static struct rmig_rdma_verbs *endpoints;
static struct rmig_rdma_verbs_listener *listeners;
static uint16_t next_port = FIRST_PORT;

struct rmig_rdma_verbs *fake_endpoints(void)
{
    return endpoints;
}

/* A descriptor is readable while a queue is not empty. */
static void mark(int fd, bool readable)
{
    uint64_t value = 1;
    ssize_t n;

    n = readable ? write(fd, &value, sizeof(value)) : read(fd, &value, sizeof(value));
    (void)n; /* EAGAIN: it is as wanted already */
}

static int new_eventfd(void)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    if (fd < 0)
        abort();
    return fd;
}

static uint16_t port_of(const struct sockaddr *addr)
{
    return addr->sa_family == AF_INET6 ? ntohs(((const struct sockaddr_in6 *)addr)->sin6_port)
                                       : ntohs(((const struct sockaddr_in *)addr)->sin_port);
}

/* --- events ----------------------------------------------------------------------------------- */

static struct rmig_rdma_cm_event make_event(enum rmig_rdma_cm_event_type type, int status,
                                            const void *data, size_t len_bytes,
                                            size_t padded_bytes)
{
    struct rmig_rdma_cm_event event = { .type = type, .status = status };

    if (data)
        memcpy(event.private_data, data, len_bytes);
    event.private_data_len_bytes = padded_bytes;
    return event;
}

void fake_queue_event(struct rmig_rdma_verbs *v, enum rmig_rdma_cm_event_type type, int status,
                      const void *data, size_t len_bytes, size_t padded_bytes)
{
    struct rmig_rdma_cm_event event = make_event(type, status, data, len_bytes, padded_bytes);

    fake_push(&v->events, event);
    mark(v->cm_fd, true);
}

static void queue_plain(struct rmig_rdma_verbs *v, enum rmig_rdma_cm_event_type type, int status)
{
    fake_queue_event(v, type, status, NULL, 0, 0);
}

int rmig_rdma_verbs_cm_fd(const struct rmig_rdma_verbs *v)
{
    return v->cm_fd;
}

/* The active side has seen the reply: both are connected. */
static void establish(struct rmig_rdma_verbs *v)
{
    v->state = FAKE_CONNECTED;
    if (fake_is_black_hole() || !v->peer || v->peer->state != FAKE_ACCEPTED)
        return;
    v->peer->state = FAKE_CONNECTED;
    queue_plain(v->peer, RMIG_RDMA_CM_ESTABLISHED, 0);
    fake_progress(v->peer);
}

int rmig_rdma_verbs_get_cm_event(struct rmig_rdma_verbs *v, struct rmig_rdma_cm_event *event_p,
                                 struct rmig_err *err)
{
    int rc;

    pthread_mutex_lock(&fake_lock);
    rc = fake_enter(v->side, FAKE_GET_CM_EVENT, err);
    if (rc == 0 && fake_length(&v->events)) {
        *event_p = *fake_front(&v->events);
        fake_pop(&v->events);
        if (fake_length(&v->events) == 0)
            mark(v->cm_fd, false);
        if (event_p->type == RMIG_RDMA_CM_ESTABLISHED && v->state == FAKE_REPLIED)
            establish(v);
        rc = 1;
    }
    pthread_mutex_unlock(&fake_lock);
    return rc;
}

/* --- endpoints -------------------------------------------------------------------------------- */

static struct rmig_rdma_verbs *new_endpoint(enum fake_side side)
{
    struct rmig_rdma_verbs *v = calloc(1, sizeof(*v)), **last = &endpoints;

    if (!v)
        abort();
    v->side = side;
    v->cm_fd = new_eventfd();
    v->cq_fd = -1;
    v->ack_timeout = DEFAULT_ACK_TIMEOUT;
    v->retry_count = DEFAULT_RETRIES;
    while (*last)
        last = &(*last)->next;
    *last = v;
    fake_count(side)->endpoints++;
    return v;
}

int rmig_rdma_verbs_open(struct rmig_rdma_verbs **v_p, struct rmig_err *err)
{
    int rc;

    pthread_mutex_lock(&fake_lock);
    rc = fake_enter(FAKE_ACTIVE, FAKE_OPEN, err);
    if (rc == 0)
        *v_p = new_endpoint(FAKE_ACTIVE);
    pthread_mutex_unlock(&fake_lock);
    return rc;
}

/* The endpoint hangs up or goes away: what its peer hears of it. */
static void hang_up(struct rmig_rdma_verbs *v)
{
    struct rmig_rdma_verbs *peer = v->peer;

    if (!peer || fake_is_black_hole())
        return;
    switch (v->state) {
    case FAKE_HUNG_UP: /* the answer to the peer's own hanging up */
        if (peer->awaits_answer)
            queue_plain(peer, RMIG_RDMA_CM_DISCONNECTED, 0);
        peer->awaits_answer = false;
        return;
    case FAKE_CONNECTED:
        queue_plain(peer, RMIG_RDMA_CM_DISCONNECTED, 0);
        v->awaits_answer = true;
        break;
    default: /* while the connection is being made */
        if (peer->state == FAKE_HUNG_UP)
            return;
        fake_queue_event(peer,
                         peer->state == FAKE_REPLIED ? RMIG_RDMA_CM_DISCONNECTED
                                                     : RMIG_RDMA_CM_REJECTED,
                         FAKE_REJECT_BY_CONSUMER, NULL, 0, 0);
        break;
    }
    peer->state = FAKE_HUNG_UP;
}

bool fake_hang_up(enum fake_side side, unsigned index)
{
    struct rmig_rdma_verbs *v;

    pthread_mutex_lock(&fake_lock);
    for (v = endpoints; v && (v->side != side || index--); v = v->next)
        ;
    if (v && v->peer) {
        hang_up(v->peer);
        v->peer->state = FAKE_HUNG_UP;
        fake_fail_qp(v->peer, 0);
    }
    pthread_mutex_unlock(&fake_lock);
    return v != NULL;
}

static void close_endpoint(struct rmig_rdma_verbs *v)
{
    struct rmig_rdma_verbs **link = &endpoints, *peer = v->peer;

    hang_up(v);
    while (*link != v)
        link = &(*link)->next;
    *link = v->next;
    if (peer) {
        peer->peer = NULL;
        v->peer = NULL;
        fake_progress(peer);
    }
    fake_release_qp(v);
    close(v->cm_fd);
    if (--fake_count(v->side)->endpoints == 0 && fake_count(v->side)->regions)
        fake_set_breach("the last endpoint was closed with %u regions registered",
                        fake_count(v->side)->regions);
    free(v->events.items);
    free(v);
}

void rmig_rdma_verbs_destroy_qp(struct rmig_rdma_verbs *v)
{
    pthread_mutex_lock(&fake_lock);
    fake_release_qp(v);
    if (v->peer)
        fake_progress(v->peer);
    pthread_mutex_unlock(&fake_lock);
}

void rmig_rdma_verbs_close(struct rmig_rdma_verbs *v)
{
    if (!v)
        return;
    pthread_mutex_lock(&fake_lock);
    close_endpoint(v);
    pthread_mutex_unlock(&fake_lock);
}

int rmig_rdma_verbs_resolve_addr(struct rmig_rdma_verbs *v, const struct sockaddr *src,
                                 const struct sockaddr *dst, int timeout_ms, struct rmig_err *err)
{
    int rc;

    (void)src;
    (void)timeout_ms;
    pthread_mutex_lock(&fake_lock);
    rc = fake_enter(v->side, FAKE_RESOLVE_ADDR, err);
    if (rc == 0 && v->state != FAKE_IDLE)
        rc = rmig_err_set(err, -EINVAL, "resolve_addr: resolved already");
    if (rc == 0 && !fake_answered(v, FAKE_RESOLVE_ADDR)) {
        v->port = port_of(dst);
        if (fake_devices()) {
            v->state = FAKE_ADDR_RESOLVED;
            queue_plain(v, RMIG_RDMA_CM_ADDR_RESOLVED, 0);
        } else {
            queue_plain(v, RMIG_RDMA_CM_ADDR_ERROR, -ENODEV);
        }
    }
    pthread_mutex_unlock(&fake_lock);
    return rc;
}

int rmig_rdma_verbs_resolve_route(struct rmig_rdma_verbs *v, int timeout_ms, struct rmig_err *err)
{
    int rc;

    (void)timeout_ms;
    pthread_mutex_lock(&fake_lock);
    rc = fake_enter(v->side, FAKE_RESOLVE_ROUTE, err);
    if (rc == 0 && v->state != FAKE_ADDR_RESOLVED)
        rc = rmig_err_set(err, -EINVAL, "resolve_route: the address is not resolved");
    if (rc == 0 && !fake_answered(v, FAKE_RESOLVE_ROUTE)) {
        v->state = FAKE_ROUTE_RESOLVED;
        queue_plain(v, RMIG_RDMA_CM_ROUTE_RESOLVED, 0);
    }
    pthread_mutex_unlock(&fake_lock);
    return rc;
}

int rmig_rdma_verbs_query_device(struct rmig_rdma_verbs *v, struct rmig_rdma_device_attr *attr_p,
                                 struct rmig_err *err)
{
    int rc;

    pthread_mutex_lock(&fake_lock);
    rc = fake_enter(v->side, FAKE_QUERY_DEVICE, err);
    if (rc == 0 && v->state == FAKE_IDLE)
        rc = rmig_err_set(err, -ENODEV, "the address belongs to no RDMA device");
    if (rc == 0)
        fake_limits(v->side, attr_p);
    pthread_mutex_unlock(&fake_lock);
    return rc;
}

int rmig_rdma_verbs_set_ack_timeout(struct rmig_rdma_verbs *v, uint8_t exponent,
                                    struct rmig_err *err)
{
    int rc;

    pthread_mutex_lock(&fake_lock);
    rc = fake_enter(v->side, FAKE_SET_ACK_TIMEOUT, err);
    if (rc == 0 && (exponent > 31 || v->state >= FAKE_ACCEPTED || v->state == FAKE_CONNECTING))
        rc = rmig_err_set(err, -EINVAL, "set_ack_timeout %u", exponent);
    if (rc == 0)
        v->ack_timeout = exponent;
    pthread_mutex_unlock(&fake_lock);
    return rc;
}

/* Hands the request to the listener of the port. */
static void request(struct rmig_rdma_verbs *v, const struct rmig_rdma_conn_param *param)
{
    struct rmig_rdma_verbs_listener *l = listeners;
    struct rmig_rdma_verbs *passive;
    struct rmig_rdma_cm_event event =
        make_event(RMIG_RDMA_CM_CONNECT_REQUEST, 0, param->private_data,
                   param->private_data_len_bytes, REQUEST_DATA_BYTES);

    if (fake_is_black_hole())
        return;
    while (l && l->port != v->port)
        l = l->next;
    if (!l) {
        v->state = FAKE_HUNG_UP;
        fake_queue_event(v, RMIG_RDMA_CM_REJECTED, FAKE_REJECT_NO_LISTENER, NULL, 0,
                         REJECT_DATA_BYTES);
        return;
    }
    if (l->backlog && fake_length(&l->requests) >= (size_t)l->backlog)
        return; /* dropped, as the network does it */
    passive = new_endpoint(FAKE_PASSIVE);
    passive->state = FAKE_REQUESTED;
    passive->peer = v;
    passive->retry_count = param->retry_count;
    passive->rnr_retry_count = param->rnr_retry_count;
    v->peer = passive;
    fake_push(&l->requests, passive);
    fake_push(&l->events, event);
    mark(l->fd, true);
}

int rmig_rdma_verbs_connect(struct rmig_rdma_verbs *v, const struct rmig_rdma_conn_param *param,
                            struct rmig_err *err)
{
    int rc;

    pthread_mutex_lock(&fake_lock);
    rc = fake_enter(v->side, FAKE_CONNECT, err);
    if (rc == 0 && (v->state != FAKE_ROUTE_RESOLVED || !v->has_qp ||
                    param->private_data_len_bytes > REQUEST_DATA_BYTES))
        rc = rmig_err_set(err, -EINVAL, "connect: no route or queue pair yet, or too much data");
    if (rc == 0) {
        v->state = FAKE_CONNECTING;
        v->retry_count = param->retry_count;
        if (!fake_answered(v, FAKE_CONNECT))
            request(v, param);
    }
    pthread_mutex_unlock(&fake_lock);
    return rc;
}

int rmig_rdma_verbs_accept(struct rmig_rdma_verbs *v, const struct rmig_rdma_conn_param *param,
                           struct rmig_err *err)
{
    int rc;

    pthread_mutex_lock(&fake_lock);
    rc = fake_enter(v->side, FAKE_ACCEPT, err);
    if (rc == 0 && (v->state != FAKE_REQUESTED || !v->has_qp ||
                    param->private_data_len_bytes > REPLY_DATA_BYTES))
        rc = rmig_err_set(err, -EINVAL, "accept: no request or queue pair, or too much data");
    if (rc == 0) {
        v->state = FAKE_ACCEPTED;
        if (!fake_answered(v, FAKE_ACCEPT) && v->peer && !fake_is_black_hole()) {
            v->peer->state = FAKE_REPLIED;
            v->peer->rnr_retry_count = param->rnr_retry_count;
            fake_queue_event(v->peer, RMIG_RDMA_CM_ESTABLISHED, 0, param->private_data,
                             param->private_data_len_bytes, REPLY_DATA_BYTES);
        }
    }
    pthread_mutex_unlock(&fake_lock);
    return rc;
}

int rmig_rdma_verbs_reject(struct rmig_rdma_verbs *v, const void *private_data, uint8_t len_bytes,
                           struct rmig_err *err)
{
    int rc;

    pthread_mutex_lock(&fake_lock);
    rc = fake_enter(v->side, FAKE_REJECT, err);
    if (rc == 0 && (v->state != FAKE_REQUESTED || len_bytes > REJECT_DATA_BYTES))
        rc = rmig_err_set(err, -EINVAL, "reject: no request, or too much data");
    if (rc == 0) {
        v->state = FAKE_HUNG_UP;
        if (v->peer && !fake_is_black_hole()) {
            v->peer->state = FAKE_HUNG_UP;
            fake_queue_event(v->peer, RMIG_RDMA_CM_REJECTED, FAKE_REJECT_BY_CONSUMER, private_data,
                             len_bytes, REJECT_DATA_BYTES);
            v->peer->peer = NULL;
            v->peer = NULL;
        }
    }
    pthread_mutex_unlock(&fake_lock);
    return rc;
}

void rmig_rdma_verbs_peer_address(const struct rmig_rdma_verbs *v, struct sockaddr_storage *addr_p)
{
    struct sockaddr_in *addr = (struct sockaddr_in *)addr_p;

    memset(addr_p, 0, sizeof(*addr_p));
    addr->sin_family = AF_INET;
    addr->sin_port = htons(v->port);
    addr->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
}

int rmig_rdma_verbs_disconnect(struct rmig_rdma_verbs *v, struct rmig_err *err)
{
    int rc;

    pthread_mutex_lock(&fake_lock);
    rc = fake_enter(v->side, FAKE_DISCONNECT, err);
    if (rc == 0 && v->state != FAKE_CONNECTED && v->state != FAKE_HUNG_UP &&
        v->state != FAKE_ACCEPTED)
        rc = rmig_err_set(err, -EINVAL, "disconnect: not connected");
    if (rc == 0) {
        hang_up(v);
        v->state = FAKE_HUNG_UP;
        fake_fail_qp(v, 0);
    }
    pthread_mutex_unlock(&fake_lock);
    return rc;
}

/* --- listeners -------------------------------------------------------------------------------- */

static bool port_taken(uint16_t port)
{
    for (struct rmig_rdma_verbs_listener *l = listeners; l; l = l->next)
        if (l->port == port)
            return true;
    return false;
}

int rmig_rdma_verbs_listen(const struct sockaddr *addr, int backlog,
                           struct rmig_rdma_verbs_listener **l_p, uint16_t *port_p,
                           struct rmig_err *err)
{
    struct rmig_rdma_verbs_listener *l;
    uint16_t port = port_of(addr);
    int rc;

    pthread_mutex_lock(&fake_lock);
    rc = fake_enter(FAKE_PASSIVE, FAKE_LISTEN, err);
    if (rc == 0 && !fake_devices())
        rc = rmig_err_set(err, -ENODEV, "listen: no RDMA device has the address");
    while (rc == 0 && port == 0)
        port = port_taken(next_port) ? 0 : next_port, next_port++;
    if (rc == 0 && port_taken(port))
        rc = rmig_err_set(err, -EADDRINUSE, "listen: port %u is in use", port);
    if (rc == 0) {
        l = calloc(1, sizeof(*l));
        if (!l)
            abort();
        l->port = port;
        l->backlog = backlog;
        l->fd = new_eventfd();
        l->next = listeners;
        listeners = l;
        fake_count(FAKE_PASSIVE)->listeners++;
        *port_p = port;
        *l_p = l;
    }
    pthread_mutex_unlock(&fake_lock);
    return rc;
}

int rmig_rdma_verbs_listener_fd(const struct rmig_rdma_verbs_listener *l)
{
    return l->fd;
}

int rmig_rdma_verbs_get_request(struct rmig_rdma_verbs_listener *l, struct rmig_rdma_verbs **v_p,
                                struct rmig_rdma_cm_event *event_p, struct rmig_err *err)
{
    int rc;

    pthread_mutex_lock(&fake_lock);
    rc = fake_enter(FAKE_PASSIVE, FAKE_GET_REQUEST, err);
    if (rc == 0 && fake_length(&l->requests)) {
        *v_p = *fake_front(&l->requests);
        *event_p = *fake_front(&l->events);
        fake_pop(&l->requests);
        fake_pop(&l->events);
        if (fake_length(&l->requests) == 0)
            mark(l->fd, false);
        rc = 1;
    }
    pthread_mutex_unlock(&fake_lock);
    return rc;
}

void rmig_rdma_verbs_listener_close(struct rmig_rdma_verbs_listener *l)
{
    struct rmig_rdma_verbs_listener **link = &listeners;

    if (!l)
        return;
    pthread_mutex_lock(&fake_lock);
    while (*link != l)
        link = &(*link)->next;
    *link = l->next;
    while (fake_length(&l->requests)) {
        close_endpoint(*fake_front(&l->requests));
        fake_pop(&l->requests);
    }
    fake_count(FAKE_PASSIVE)->listeners--;
    close(l->fd);
    free(l->requests.items);
    free(l->events.items);
    free(l);
    pthread_mutex_unlock(&fake_lock);
}
