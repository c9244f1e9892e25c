/* SPDX-License-Identifier: BSD-3-Clause */
/* cm_qp.c -- the queue pair of an id, and how a connection makes it ready. */
#include "tests/fabric/cm.h"

#include <rdma/rdma_verbs.h>
#include <string.h>
#include <unistd.h>

#undef ibv_reg_mr

/* Attributes of a connected queue pair that follow from both sides' parameters. */
static void connection_attr(struct fab_id *id, struct ibv_qp_attr *a)
{
    bool passive = id->own.type == CM_REP;
    uint8_t answers = passive ? id->own.responder_resources : id->peer.initiator_depth;

    a->path_mtu = IBV_MTU_4096;
    a->dest_qp_num = id->peer.qpn;
    a->port_num = 1;
    a->max_dest_rd_atomic = answers;
    a->max_rd_atomic = passive ? id->own.initiator_depth : id->peer.responder_resources;
    a->qp_access_flags = IBV_ACCESS_REMOTE_WRITE | (answers ? IBV_ACCESS_REMOTE_READ : 0);
    a->timeout = id->ack_timeout ? id->ack_timeout : 18;
    a->retry_cnt = passive ? id->peer.retry_count : id->own.retry_count;
    a->rnr_retry = id->peer.rnr_retry_count & 7; /* the peer says how patient we are with it */
    a->min_rnr_timer = 0;
}

int cm_make_link(struct fab_id *id)
{
    id->link->sock = dup(id->sock);
    link_bind_peer(id->link, id->peer_segment, id->peer.pid, id->peer.qpn);
    close(id->peer_segment);
    id->peer_segment = -1;
    return id->link->peer ? 0 : ENOMEM;
}

int cm_connect_qp(struct fab_id *id)
{
    int err = id->link && !id->link->peer ? cm_make_link(id) : 0;

    if (err || !id->v.qp)
        return err;
    struct fab_qp *qp = qp_of(id->v.qp);
    connection_attr(id, &qp->attr);
    if (id->ack_timeout && !setting("RDMA_FABRIC_RETRY_MS", 0))
        qp->retry_ns = (4096ull << id->ack_timeout) * (qp->attr.retry_cnt + 1u);
    qp_attach(qp, id->link);
    qp_ready(qp, true, true);
    return 0;
}

static struct ibv_cq *default_cq(struct rdma_cm_id *v, uint32_t entries,
                                 struct ibv_comp_channel **ch)
{
    *ch = ibv_create_comp_channel(v->verbs);
    return *ch ? ibv_create_cq(v->verbs, (int)(entries ? entries : 1), v, *ch, 0) : NULL;
}

static void drop_default_cqs(struct rdma_cm_id *v)
{
    if (v->send_cq)
        ibv_destroy_cq(v->send_cq);
    if (v->recv_cq)
        ibv_destroy_cq(v->recv_cq);
    if (v->send_cq_channel)
        ibv_destroy_comp_channel(v->send_cq_channel);
    if (v->recv_cq_channel)
        ibv_destroy_comp_channel(v->recv_cq_channel);
    v->send_cq = v->recv_cq = NULL;
    v->send_cq_channel = v->recv_cq_channel = NULL;
}

EXPORT int rdma_create_qp(struct rdma_cm_id *v, struct ibv_pd *pd, struct ibv_qp_init_attr *attr)
{
    static struct ibv_pd *default_pd[8][FABRIC_SIDES];
    int err = fault_api(API_rdma_create_qp, id_of(v)->side);
    struct ibv_qp_attr init = {.qp_state = IBV_QPS_INIT, .port_num = 1};

    if (err)
        return fail(err);
    if (!v->verbs || v->qp || (pd && pd->context != v->verbs))
        return fail(EINVAL);
    if (!pd) {
        struct fab_context *c = ctx_of(v->verbs);
        struct ibv_pd **slot = &default_pd[c->device->index][c->side];
        pthread_mutex_lock(&cm_lock);
        if (!*slot)
            *slot = ibv_alloc_pd(v->verbs);
        pd = *slot;
        pthread_mutex_unlock(&cm_lock);
        if (!pd)
            return -1;
    }
    if (!attr->send_cq)
        attr->send_cq = v->send_cq = default_cq(v, attr->cap.max_send_wr, &v->send_cq_channel);
    if (!attr->recv_cq)
        attr->recv_cq = v->recv_cq = default_cq(v, attr->cap.max_recv_wr, &v->recv_cq_channel);
    struct ibv_qp *qp = attr->send_cq && attr->recv_cq ? ibv_create_qp(pd, attr) : NULL;
    if (qp &&
        (err = ibv_modify_qp(
             qp, &init, IBV_QP_STATE | IBV_QP_PORT | IBV_QP_PKEY_INDEX | IBV_QP_ACCESS_FLAGS))) {
        ibv_destroy_qp(qp);
        qp = NULL;
        errno = err;
    }
    if (!qp) {
        err = errno;
        drop_default_cqs(v);
        return fail(err);
    }
    v->pd = pd;
    v->qp = qp;
    return 0;
}

EXPORT int rdma_create_qp_ex(struct rdma_cm_id *v, struct ibv_qp_init_attr_ex *attr)
{
    struct ibv_qp_attr init = {.qp_state = IBV_QPS_INIT, .port_num = 1};

    if (!(attr->comp_mask & ~(uint32_t)IBV_QP_INIT_ATTR_PD))
        return rdma_create_qp(v, attr->comp_mask ? attr->pd : NULL,
                              (struct ibv_qp_init_attr *)attr);
    if (!v->verbs || v->qp)
        return fail(EINVAL);
    struct ibv_qp *qp = qp_create_ex(v->verbs, attr);
    if (!qp)
        return -1;
    ibv_modify_qp(qp, &init, IBV_QP_STATE | IBV_QP_PORT | IBV_QP_PKEY_INDEX | IBV_QP_ACCESS_FLAGS);
    v->pd = attr->pd;
    v->qp = qp;
    return 0;
}

EXPORT void rdma_destroy_qp(struct rdma_cm_id *v)
{
    pthread_mutex_lock(&cm_lock);
    struct ibv_qp *qp = v->qp;
    v->qp = NULL;
    pthread_mutex_unlock(&cm_lock);
    if (qp)
        ibv_destroy_qp(qp);
    drop_default_cqs(v);
}

EXPORT int rdma_init_qp_attr(struct rdma_cm_id *v, struct ibv_qp_attr *a, int *mask)
{
    enum ibv_qp_state to = a->qp_state;

    memset(a, 0, sizeof(*a));
    if (to != IBV_QPS_INIT)
        connection_attr(id_of(v), a);
    a->qp_state = to;
    a->port_num = 1;
    *mask = IBV_QP_STATE;
    if (to == IBV_QPS_INIT)
        *mask |= IBV_QP_PORT | IBV_QP_PKEY_INDEX | IBV_QP_ACCESS_FLAGS;
    else if (to == IBV_QPS_RTR)
        *mask |= IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
                 IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER | IBV_QP_ACCESS_FLAGS;
    else if (to == IBV_QPS_RTS)
        *mask |= IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN |
                 IBV_QP_MAX_QP_RD_ATOMIC;
    return 0;
}
