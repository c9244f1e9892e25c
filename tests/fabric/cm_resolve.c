/* SPDX-License-Identifier: BSD-3-Clause */
/* cm_resolve.c -- what an id needs first: a local address, the way to the other end. */
#include "tests/fabric/cm.h"

#include <stdlib.h>
#include <string.h>

static uint16_t ephemeral(void)
{
    return (uint16_t)(32768 + wire_counter(1) % 28000);
}

int cm_use_device(struct fab_id *id, struct fab_context *c)
{
    if (!c)
        return ENODEV;
    id->v.verbs = &c->v.context;
    id->v.port_num = 1;
    return 0;
}

int cm_bind(struct fab_id *id, const struct sockaddr *addr)
{
    uint16_t port = port_of(addr);
    int err = 0;

    if (id->state != ST_IDLE || (addr->sa_family != AF_INET && addr->sa_family != AF_INET6))
        return EINVAL;
    if (!is_any(addr) && (err = cm_use_device(id, device_context_for(addr, id->side))))
        return err == ENODEV ? EADDRNOTAVAIL : err;
    for (int attempt = 0; attempt < 100; attempt++) {
        wire_name(addr, port ? port : ephemeral(), id->name, sizeof(id->name));
        err = wire_listen(id->name, &id->sock);
        if (err != EADDRINUSE || port)
            break;
    }
    if (err) {
        id->name[0] = 0;
        return err;
    }
    memcpy(&id->v.route.addr.src_storage, addr, addr_size(addr));
    set_port(&id->v.route.addr.src_storage,
             (uint16_t)strtoul(strrchr(id->name, ':') + 1, NULL, 10));
    id->state = ST_BOUND;
    cm_watch_sock(id);
    return 0;
}

EXPORT int rdma_bind_addr(struct rdma_cm_id *v, struct sockaddr *addr)
{
    int err = fault_api(API_bind_addr, id_of(v)->side);

    pthread_mutex_lock(&cm_lock);
    if (!err)
        err = cm_bind(id_of(v), addr);
    pthread_mutex_unlock(&cm_lock);
    return err ? fail(err) : 0;
}

EXPORT int rdma_resolve_addr(struct rdma_cm_id *v, struct sockaddr *src, struct sockaddr *dst,
                             int timeout_ms)
{
    struct fab_id *id = id_of(v);
    struct rdma_addr *a = &v->route.addr;
    struct sockaddr_storage to, from = {0};
    bool reached = false;
    int err;

    (void)timeout_ms;
    if (id->side == FABRIC_ANY)
        cm_set_side(id, FABRIC_ACTIVE);
    err = fault_api(API_resolve_addr, id->side);
    if (!err && (!dst || (dst->sa_family != AF_INET && dst->sa_family != AF_INET6)))
        err = EINVAL;
    if (err)
        return fail(err);
    pthread_mutex_lock(&cm_lock);
    if (id->state == ST_IDLE && src && (!is_any(src) || port_of(src)))
        err = cm_bind(id, src);
    if (!err && id->state != ST_IDLE && id->state != ST_BOUND)
        err = EINVAL;
    if (!err) {
        memset(&to, 0, sizeof(to));
        memcpy(&to, dst, addr_size(dst));
        if (is_any(dst) && dst->sa_family == AF_INET) /* any address means this host */
            ((struct sockaddr_in *)&to)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        else if (is_any(dst))
            ((struct sockaddr_in6 *)&to)->sin6_addr = in6addr_loopback;
        for (unsigned i = 0; i < device_count() && !reached; i++)
            if (!v->verbs || ctx_of(v->verbs)->device == device_at(i))
                if ((reached = device_reaches(device_at(i), (struct sockaddr *)&to, &from)))
                    err = cm_use_device(id, device_shared(device_at(i), id->side));
    }
    if (!err) {
        a->dst_storage = to;
        if (id->state == ST_IDLE || is_any(&a->src_addr)) {
            uint16_t port = id->state == ST_IDLE ? ephemeral() : port_of(&a->src_storage);
            a->src_storage = from;
            if (!from.ss_family)
                a->src_storage.ss_family = to.ss_family;
            set_port(&a->src_storage, port);
        }
        if (reached)
            id->state = ST_ADDR;
        if (!cm_answered(id, API_resolve_addr))
            cm_queue_event(id, reached ? RDMA_CM_EVENT_ADDR_RESOLVED : RDMA_CM_EVENT_ADDR_ERROR,
                       reached ? 0 : -EHOSTUNREACH, NULL, 0);
    }
    pthread_mutex_unlock(&cm_lock);
    return cm_outcome(id, err ? fail(err) : 0);
}

EXPORT int rdma_resolve_route(struct rdma_cm_id *v, int timeout_ms)
{
    struct fab_id *id = id_of(v);
    int err = fault_api(API_resolve_route, id->side);

    (void)timeout_ms;
    pthread_mutex_lock(&cm_lock);
    if (!err && id->state != ST_ADDR)
        err = EINVAL;
    if (!err) {
        v->route.path_rec = calloc(1, sizeof(*v->route.path_rec));
        v->route.num_paths = !!v->route.path_rec;
        id->state = ST_ROUTE;
        if (!cm_answered(id, API_resolve_route))
            cm_queue_event(id, RDMA_CM_EVENT_ROUTE_RESOLVED, 0, NULL, 0);
    }
    pthread_mutex_unlock(&cm_lock);
    return cm_outcome(id, err ? fail(err) : 0);
}
