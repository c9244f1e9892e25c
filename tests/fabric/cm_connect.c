/* SPDX-License-Identifier: BSD-3-Clause */
/* cm_connect.c -- connecting, accepting, refusing and leaving. */
#include "tests/fabric/cm.h"

#include <string.h>
#include <unistd.h>

static bool set_message(struct fab_id *id, enum cm_type type, const struct rdma_conn_param *p,
                        size_t limit)
{
    struct cm_msg *m = &id->own;

    memset(m, 0, sizeof(*m));
    m->type = type;
    m->src = id->v.route.addr.src_storage;
    m->dst = id->v.route.addr.dst_storage;
    if (p) {
        if (p->private_data_len > limit ||
            (p->initiator_depth != RDMA_MAX_INIT_DEPTH && p->initiator_depth > MAX_RD_ATOM) ||
            (p->responder_resources != RDMA_MAX_RESP_RES && p->responder_resources > MAX_RD_ATOM))
            return false;
        m->initiator_depth = p->initiator_depth > MAX_RD_ATOM ? MAX_RD_ATOM : p->initiator_depth;
        m->responder_resources =
            p->responder_resources > MAX_RD_ATOM ? MAX_RD_ATOM : p->responder_resources;
        m->flow_control = p->flow_control;
        m->retry_count = p->retry_count & 7;
        m->rnr_retry_count = p->rnr_retry_count & 7;
        m->srq = p->srq;
        m->length = p->private_data ? p->private_data_len : 0;
        if (m->length)
            memcpy(m->data, p->private_data, m->length);
    } else if (type == CM_REP) { /* as the request asked */
        m->initiator_depth = id->peer.responder_resources;
        m->responder_resources = id->peer.initiator_depth;
        m->rnr_retry_count = id->peer.rnr_retry_count;
    }
    m->qpn = id->v.qp ? id->v.qp->qp_num : p ? p->qp_num : 0;
    return true;
}

static int connect_listener(const struct sockaddr *dst)
{
    struct sockaddr_in any4 = {.sin_family = AF_INET};
    struct sockaddr_in6 any6 = {.sin6_family = AF_INET6};
    uint16_t port = port_of(dst);
    char name[80];
    int s;

    wire_name(dst, port, name, sizeof(name));
    if ((s = wire_connect(name)) >= 0)
        return s;
    wire_name((struct sockaddr *)&any4, port, name, sizeof(name));
    if (dst->sa_family == AF_INET && (s = wire_connect(name)) >= 0)
        return s;
    wire_name((struct sockaddr *)&any6, port, name, sizeof(name));
    return wire_connect(name);
}

/* Sends the request if anybody listens; an errno, ECONNREFUSED if nobody does. */
int cm_send_request(struct fab_id *id)
{
    int s = connect_listener(&id->v.route.addr.dst_addr), fds[2] = {own_segment_fd, -1}, err;

    if (s < 0)
        return ECONNREFUSED;
    if (!id->link)
        id->link = link_create(&fds[1]);
    err = !id->link ? ENOMEM : wire_send(s, &id->own, fds, 2) ? ECONNREFUSED : 0;
    if (fds[1] >= 0)
        close(fds[1]);
    if (err) {
        close(s);
        return err;
    }
    id->sock = s;
    cm_watch_sock(id);
    cm_set_timer(id, cm_timeout_ns);
    return 0;
}

void cm_refused(struct fab_id *id, int status)
{
    static const uint8_t none[REJ_PRIVATE];

    id->state = ST_CLOSED;
    cm_queue_event(id, RDMA_CM_EVENT_REJECTED, status, none, sizeof(none));
}

EXPORT int rdma_connect(struct rdma_cm_id *v, struct rdma_conn_param *p)
{
    struct fab_id *id = id_of(v);
    int err = fault_api(API_connect, id->side);
    enum cm_fault fault = err ? CM_OK : fault_connect();

    pthread_mutex_lock(&cm_lock);
    if (!err && (id->state != ST_ROUTE || !set_message(id, CM_REQ, p, REQ_PRIVATE) ||
                 (!v->qp && (!p || !p->qp_num))))
        err = EINVAL;
    if (!err) {
        cm_drop_sock(id); /* of an explicit bind: it reserved the name only */
        id->state = ST_CONNECT;
        id->give_up_ns = fault == CM_SILENT ? 0 : now_ns() + cm_grace_ns;
        bool answered = cm_answered(id, API_connect);
        int refusal = fault == CM_OK && !answered ? cm_send_request(id) : 0;
        if (answered)
            id->give_up_ns = 0;
        else if (fault == CM_REJECT)
            cm_refused(id, 28); /* consumer defined */
        else if (fault == CM_SILENT)
            cm_set_timer(id, cm_timeout_ns);
        else if (refusal == ECONNREFUSED)
            cm_set_timer(
                id, 1000000); /* a listener may be about to come, as during a real request's way */
        else
            err = refusal;
    }
    pthread_mutex_unlock(&cm_lock);
    cm_settle();
    return cm_outcome(id, err ? fail(err) : 0);
}

EXPORT int rdma_listen(struct rdma_cm_id *v, int backlog)
{
    struct fab_id *id = id_of(v);
    struct sockaddr_in any = {.sin_family = AF_INET};
    int err;

    (void)backlog;
    cm_set_side(id, FABRIC_PASSIVE);
    err = fault_api(API_listen, id->side);
    pthread_mutex_lock(&cm_lock);
    if (!err && id->state == ST_IDLE)
        err = cm_bind(id, (struct sockaddr *)&any);
    if (!err && id->state != ST_BOUND)
        err = EINVAL;
    if (!err) {
        id->state = ST_LISTEN;
        TRACE("cm id %lu listens", id->serial);
    }
    pthread_mutex_unlock(&cm_lock);
    return err ? fail(err) : 0;
}

EXPORT int rdma_accept(struct rdma_cm_id *v, struct rdma_conn_param *p)
{
    struct fab_id *id = id_of(v);
    int err = fault_api(API_accept, id->side);

    pthread_mutex_lock(&cm_lock);
    if (!err && (id->state != ST_REQUESTED || !set_message(id, CM_REP, p, REP_PRIVATE)))
        err = EINVAL;
    if (!err)
        err = cm_connect_qp(id);
    if (!err) {
        id->state = ST_ACCEPTED;
        if (!cm_answered(id, API_accept))
            wire_send(id->sock, &id->own, &own_segment_fd,
                      1); /* a vanished peer shows as end of file */
    }
    pthread_mutex_unlock(&cm_lock);
    cm_settle();
    return cm_outcome(id, err ? fail(err) : 0);
}

EXPORT int rdma_establish(struct rdma_cm_id *v)
{
    struct fab_id *id = id_of(v);
    struct cm_msg rtu = {.type = CM_RTU};
    int err = fault_api(API_establish, id->side);

    pthread_mutex_lock(&cm_lock);
    if (!err && (v->qp || id->state != ST_REPLIED))
        err = EINVAL;
    if (!err) {
        id->state = ST_UP;
        wire_send(id->sock, &rtu, NULL, 0);
    }
    pthread_mutex_unlock(&cm_lock);
    cm_settle();
    return err ? fail(err) : 0;
}

EXPORT int rdma_reject(struct rdma_cm_id *v, const void *data, uint8_t length)
{
    struct fab_id *id = id_of(v);
    struct cm_msg rej = {.type = CM_REJ, .status = 28, .length = length};
    int err = fault_api(API_reject, id->side);

    if (!err && length > REJ_PRIVATE)
        err = EINVAL;
    if (!err && length)
        memcpy(rej.data, data, length);
    pthread_mutex_lock(&cm_lock);
    if (!err && id->state != ST_REQUESTED && id->state != ST_REPLIED)
        err = EINVAL;
    if (!err) {
        wire_send(id->sock, &rej, NULL, 0);
        id->state = ST_CLOSED;
    }
    pthread_mutex_unlock(&cm_lock);
    cm_settle();
    return err ? fail(err) : 0;
}

EXPORT int rdma_disconnect(struct rdma_cm_id *v)
{
    struct fab_id *id = id_of(v);
    struct cm_msg m = {.type = CM_DREQ};
    int err = fault_api(API_disconnect, id->side);
    bool event = false;

    pthread_mutex_lock(&cm_lock);
    if (!err && (id->state < ST_REPLIED || id->state == ST_NEW || id->state == ST_REQUESTED ||
                 id->state > ST_CLOSED))
        err = EINVAL;
    if (!err && v->qp) {
        engine_lock();
        engine_error(qp_of(v->qp), IBV_WC_WR_FLUSH_ERR);
        engine_unlock();
    }
    if (!err && id->state == ST_PEER_LEFT) {
        m.type = CM_DREP;
        wire_send(id->sock, &m, NULL, 0);
        id->state = ST_CLOSED;
        cm_set_timer(id, cm_timewait_ns);
    } else if (!err &&
               (id->state == ST_UP || id->state == ST_ACCEPTED || id->state == ST_REPLIED)) {
        wire_send(id->sock, &m, NULL, 0);
        id->state = ST_LEAVING;
        cm_set_timer(id, cm_timeout_ns);
        event = true;
    }
    pthread_mutex_unlock(&cm_lock);
    cm_settle();
    return event ? cm_outcome(id, 0) : err ? fail(err) : 0;
}
