/* SPDX-License-Identifier: BSD-3-Clause */
/* cm_ep.c -- the rest of rdma_cm: end points, lists of devices, address look-up, and what is not
 * there. */
#include "tests/fabric/cm.h"

#include <netdb.h>
#include <rdma/rdma_verbs.h>
#include <stdlib.h>
#include <string.h>

EXPORT int rdma_create_ep(struct rdma_cm_id **out, struct rdma_addrinfo *res, struct ibv_pd *pd,
                          struct ibv_qp_init_attr *attr)
{
    struct rdma_cm_id *v;
    int err;

    if (attr)
        attr->qp_type = (enum ibv_qp_type)res->ai_qp_type;
    if (rdma_create_id(NULL, &v, NULL, (enum rdma_port_space)res->ai_port_space))
        return -1;
    if (res->ai_flags & RAI_PASSIVE) {
        err = rdma_bind_addr(v, res->ai_src_addr);
        if (!err && attr) {
            id_of(v)->child_qp = true;
            id_of(v)->child_pd = pd;
            id_of(v)->child_attr = *attr;
        }
    } else {
        err = rdma_resolve_addr(v, res->ai_src_addr, res->ai_dst_addr, 2000) ||
              rdma_resolve_route(v, 2000) || (attr && rdma_create_qp(v, pd, attr));
    }
    if (err) {
        err = errno;
        rdma_destroy_id(v);
        return fail(err);
    }
    *out = v;
    return 0;
}

EXPORT void rdma_destroy_ep(struct rdma_cm_id *v)
{
    if (v->qp)
        rdma_destroy_qp(v);
    rdma_destroy_id(v);
}

EXPORT int rdma_get_request(struct rdma_cm_id *listen, struct rdma_cm_id **out)
{
    struct fab_id *l = id_of(listen);
    struct rdma_cm_event *e;

    if (!l->sync)
        return fail(EINVAL);
    if (rdma_get_cm_event(listen->channel, &e))
        return -1;
    if (e->status || e->event != RDMA_CM_EVENT_CONNECT_REQUEST) {
        rdma_ack_cm_event(e);
        return fail(EINVAL);
    }
    struct rdma_cm_id *v = e->id;
    struct ibv_qp_init_attr attr = l->child_attr;
    struct rdma_event_channel *ch = rdma_create_event_channel();
    if (!ch || (l->child_qp && rdma_create_qp(v, l->child_pd, &attr))) {
        int err = errno;
        rdma_reject(v, NULL, 0);
        rdma_ack_cm_event(e);
        rdma_destroy_id(v);
        if (ch)
            rdma_destroy_event_channel(ch);
        return fail(err);
    }
    pthread_mutex_lock(&cm_lock);
    v->channel = ch;
    id_of(v)->sync = true;
    v->event = e;
    pthread_mutex_unlock(&cm_lock);
    *out = v;
    return 0;
}

EXPORT struct ibv_context **rdma_get_devices(int *num)
{
    struct ibv_context **list = calloc(device_count() + 1, sizeof(*list));

    for (unsigned i = 0; list && i < device_count(); i++) {
        struct fab_context *c = device_shared(device_at(i), FABRIC_ANY);
        list[i] = c ? &c->v.context : NULL;
    }
    if (num)
        *num = list ? (int)device_count() : 0;
    return list;
}

EXPORT void rdma_free_devices(struct ibv_context **list)
{
    free(list);
}
EXPORT __be16 rdma_get_src_port(struct rdma_cm_id *v)
{
    return v->route.addr.src_sin.sin_port;
}
EXPORT __be16 rdma_get_dst_port(struct rdma_cm_id *v)
{
    return v->route.addr.dst_sin.sin_port;
}
EXPORT int rdma_notify(struct rdma_cm_id *v, enum ibv_event_type event)
{
    (void)v, (void)event;
    return 0;
}
EXPORT int rdma_create_srq(struct rdma_cm_id *v, struct ibv_pd *pd, struct ibv_srq_init_attr *a)
{
    (void)v, (void)pd, (void)a;
    return fail(EOPNOTSUPP);
}
EXPORT int rdma_join_multicast(struct rdma_cm_id *v, struct sockaddr *a, void *c)
{
    (void)v, (void)a, (void)c;
    return fail(EOPNOTSUPP);
}
EXPORT int rdma_leave_multicast(struct rdma_cm_id *v, struct sockaddr *a)
{
    (void)v, (void)a;
    return fail(EOPNOTSUPP);
}

static struct sockaddr *copy_address(const struct sockaddr *a, socklen_t length)
{
    struct sockaddr *out = a && length ? malloc(length) : NULL;
    return out ? memcpy(out, a, length) : NULL;
}

EXPORT int rdma_getaddrinfo(const char *node, const char *service,
                            const struct rdma_addrinfo *hints, struct rdma_addrinfo **res)
{
    struct addrinfo want = {.ai_socktype = SOCK_STREAM}, *found, *ai;
    struct rdma_addrinfo **last = res;
    int ret = fault_api(API_getaddrinfo, control_thread_side()) ? EAI_AGAIN : 0;

    if (hints) {
        want.ai_flags = (hints->ai_flags & RAI_PASSIVE ? AI_PASSIVE : 0) |
                        (hints->ai_flags & RAI_NUMERICHOST ? AI_NUMERICHOST : 0);
        want.ai_family =
            hints->ai_flags & RAI_FAMILY || hints->ai_family ? hints->ai_family : AF_UNSPEC;
    }
    *res = NULL;
    if (!ret)
        ret = getaddrinfo(node, service, &want, &found);
    if (ret)
        return ret;
    for (ai = found; ai; ai = ai->ai_next) {
        struct rdma_addrinfo *r = calloc(1, sizeof(*r));
        if (!r)
            break;
        r->ai_flags = hints ? hints->ai_flags : 0;
        r->ai_family = ai->ai_family;
        r->ai_port_space = hints && hints->ai_port_space ? hints->ai_port_space : RDMA_PS_TCP;
        r->ai_qp_type = hints && hints->ai_qp_type ? hints->ai_qp_type : IBV_QPT_RC;
        if (r->ai_flags & RAI_PASSIVE) {
            r->ai_src_addr = copy_address(ai->ai_addr, ai->ai_addrlen);
            r->ai_src_len = ai->ai_addrlen;
        } else {
            r->ai_dst_addr = copy_address(ai->ai_addr, ai->ai_addrlen);
            r->ai_dst_len = ai->ai_addrlen;
            if (hints && hints->ai_src_len) {
                r->ai_src_addr = copy_address(hints->ai_src_addr, hints->ai_src_len);
                r->ai_src_len = hints->ai_src_len;
            }
        }
        *last = r;
        last = &r->ai_next;
    }
    freeaddrinfo(found);
    return *res ? 0 : EAI_MEMORY;
}

EXPORT void rdma_freeaddrinfo(struct rdma_addrinfo *res)
{
    while (res) {
        struct rdma_addrinfo *next = res->ai_next;
        free(res->ai_src_addr);
        free(res->ai_dst_addr);
        free(res);
        res = next;
    }
}
