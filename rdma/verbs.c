/* SPDX-License-Identifier: BSD-3-Clause */
/* verbs.c -- calls libibverbs and librdmacm, as verbs_device.c does and nobody else; every result leaves as
 * -errno. */
#include "rdma/verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>

#include "common/overflow.h"
#include "rdma/verbs_errno.h"

struct rmig_rdma_verbs {
    struct rdma_event_channel *events;
    struct rdma_cm_id *id;
    struct ibv_comp_channel *completions;
    struct ibv_cq *cq;
    unsigned unacked_cq_events;
    /* set while there is a queue pair, under watched_lock */
    struct rmig_rdma_verbs *next_watched;
    const struct ibv_context *device;
    const struct ibv_qp *qp;
    const char *ended_by; /* an asynchronous event, NULL = none */
    bool port_is_down;
};

/* The endpoints of this process that have a queue pair: they share their devices' events. */
static pthread_mutex_t watched_lock = PTHREAD_MUTEX_INITIALIZER;
static struct rmig_rdma_verbs *watched;

struct rmig_rdma_verbs_listener {
    struct rdma_event_channel *events;
    struct rdma_cm_id *id;
};

/* Acknowledging takes a lock: do it for this many completion events at once. */
#define CQ_EVENTS_TO_ACK 64u

static int set_nonblocking(int fd, struct rmig_err *err)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return cm_error(err, "event channel: fcntl");
    return 0;
}

/* --- connection ------------------------------------------------------------------------------- */

/* An event channel that does not wait; it is there even when the rest fails. */
static int open_channel(struct rdma_event_channel **events_p, struct rmig_err *err)
{
    *events_p = rdma_create_event_channel();
    if (*events_p)
        return set_nonblocking((*events_p)->fd, err);
    return cm_error(err, errno == ENODEV || errno == ENOENT
                             ? "no RDMA on this host: rdma_create_event_channel"
                             : "rdma_create_event_channel");
}

static int open_id(struct rdma_event_channel **events_p, struct rdma_cm_id **id_p,
                   struct rmig_err *err)
{
    int rc = open_channel(events_p, err);

    if (rc == 0 && rdma_create_id(*events_p, id_p, NULL, RDMA_PS_TCP))
        rc = cm_error(err, "rdma_create_id");
    return rc;
}

int rmig_rdma_verbs_open(struct rmig_rdma_verbs **v_p, struct rmig_err *err)
{
    struct rmig_rdma_verbs *v = calloc(1, sizeof(*v));
    int rc = v ? open_id(&v->events, &v->id, err)
               : rmig_err_set(err, -ENOMEM, "RDMA endpoint: out of memory");

    if (rc < 0)
        rmig_rdma_verbs_close(v);
    else
        *v_p = v;
    return rc;
}

static void watch(struct rmig_rdma_verbs *v, bool on)
{
    struct rmig_rdma_verbs **at = &watched;

    pthread_mutex_lock(&watched_lock);
    while (*at && *at != v)
        at = &(*at)->next_watched;
    if (on) {
        v->device = v->id->verbs;
        v->qp = v->id->qp;
        *at = v;
    } else if (*at) {
        *at = v->next_watched;
    }
    pthread_mutex_unlock(&watched_lock);
}

void rmig_rdma_verbs_destroy_qp(struct rmig_rdma_verbs *v)
{
    watch(v, false);
    if (v->id && v->id->qp)
        rdma_destroy_qp(v->id);
}

void rmig_rdma_verbs_close(struct rmig_rdma_verbs *v)
{
    if (!v)
        return;
    rmig_rdma_verbs_destroy_qp(v);
    if (v->cq) {
        ibv_ack_cq_events(v->cq, v->unacked_cq_events);
        ibv_destroy_cq(v->cq);
    }
    if (v->completions)
        ibv_destroy_comp_channel(v->completions);
    if (v->id)
        rdma_destroy_id(v->id);
    if (v->events)
        rdma_destroy_event_channel(v->events);
    free(v);
}

int rmig_rdma_verbs_resolve_addr(struct rmig_rdma_verbs *v, const struct sockaddr *src,
                                 const struct sockaddr *dst, int timeout_ms, struct rmig_err *err)
{
    if (rdma_resolve_addr(v->id, (struct sockaddr *)src, (struct sockaddr *)dst, timeout_ms))
        return cm_error(err, "no RDMA device reaches the address: rdma_resolve_addr");
    return 0;
}

int rmig_rdma_verbs_resolve_route(struct rmig_rdma_verbs *v, int timeout_ms, struct rmig_err *err)
{
    if (rdma_resolve_route(v->id, timeout_ms) == 0)
        return 0;
    if (errno == ENODEV) /* 127.0.0.1 gets as far as this */
        return rmig_err_set(err, -ENODEV,
                            "rdma_resolve_route: the address belongs to no RDMA device; use that of "
                            "one, see `rdma link`");
    return cm_error(err, "rdma_resolve_route");
}

int rmig_rdma_verbs_query_device(struct rmig_rdma_verbs *v, struct rmig_rdma_device_attr *attr_p,
                                 struct rmig_err *err)
{
    struct ibv_device_attr attr;
    int rc;

    if (!v->id->verbs)
        return rmig_err_set(err, -ENODEV, "the address belongs to no RDMA device");
    rc = ibv_query_device(v->id->verbs, &attr);
    if (rc)
        return verbs_error(err, rc, "ibv_query_device");
    snprintf(attr_p->name, sizeof(attr_p->name), "%s", ibv_get_device_name(v->id->verbs->device));
    attr_p->max_qp_wr = (uint32_t)attr.max_qp_wr;
    attr_p->max_cqe = (uint32_t)attr.max_cqe;
    attr_p->max_mr_bytes = attr.max_mr_size;
    return 0;
}

bool rmig_rdma_verbs_has_on_demand(const struct rmig_rdma_verbs *v)
{
    struct ibv_device_attr_ex attr = { .comp_mask = 0 };

    return ibv_query_device_ex(v->id->verbs, NULL, &attr) == 0 &&
           (attr.odp_caps.general_caps & IBV_ODP_SUPPORT) &&
           (attr.odp_caps.per_transport_caps.rc_odp_caps & IBV_ODP_SUPPORT_WRITE);
}

int rmig_rdma_verbs_set_ack_timeout(struct rmig_rdma_verbs *v, uint8_t exponent,
                                    struct rmig_err *err)
{
    if (rdma_set_option(v->id, RDMA_OPTION_ID, RDMA_OPTION_ID_ACK_TIMEOUT, &exponent,
                        sizeof(exponent)))
        return cm_error(err, "rdma_set_option: ACK timeout");
    return 0;
}

int rmig_rdma_verbs_create_qp(struct rmig_rdma_verbs *v, const struct rmig_rdma_qp_attr *attr,
                              struct rmig_err *err)
{
    struct ibv_qp_init_attr init = {
        .qp_type = IBV_QPT_RC,
        .cap = {
            .max_send_wr = attr->max_send_wr,
            .max_recv_wr = attr->max_recv_wr,
            .max_send_sge = 1, .max_recv_sge = 1,
        },
    };
    int rc;

    v->completions = ibv_create_comp_channel(v->id->verbs);
    if (!v->completions)
        return verbs_error(err, errno, "ibv_create_comp_channel");
    rc = set_nonblocking(v->completions->fd, err);
    if (rc < 0)
        return rc;
    v->cq = ibv_create_cq(v->id->verbs, (int)(attr->max_send_wr + attr->max_recv_wr), NULL,
                          v->completions, 0);
    if (!v->cq)
        return verbs_error(err, errno, "ibv_create_cq");
    init.send_cq = v->cq;
    init.recv_cq = v->cq;
    if (rdma_create_qp(v->id, NULL, &init))
        return cm_error(err, "rdma_create_qp");
    watch(v, true);
    return set_nonblocking(v->id->verbs->async_fd, err); /* somebody else may have taken the event */
}

static struct rdma_conn_param conn_param(const struct rmig_rdma_conn_param *param)
{
    return (struct rdma_conn_param){
        .private_data = param->private_data,
        .private_data_len = param->private_data_len_bytes,
        .responder_resources = param->responder_resources,
        .initiator_depth = param->initiator_depth,
        .retry_count = param->retry_count,
        .rnr_retry_count = param->rnr_retry_count,
    };
}

int rmig_rdma_verbs_connect(struct rmig_rdma_verbs *v, const struct rmig_rdma_conn_param *param,
                            struct rmig_err *err)
{
    struct rdma_conn_param cp = conn_param(param);

    if (rdma_connect(v->id, &cp))
        return cm_error(err, "rdma_connect");
    return 0;
}

int rmig_rdma_verbs_accept(struct rmig_rdma_verbs *v, const struct rmig_rdma_conn_param *param,
                           struct rmig_err *err)
{
    struct rdma_conn_param cp = conn_param(param);

    if (rdma_accept(v->id, &cp))
        return cm_error(err, "rdma_accept");
    return 0;
}

int rmig_rdma_verbs_reject(struct rmig_rdma_verbs *v, const void *private_data, uint8_t len_bytes,
                           struct rmig_err *err)
{
    if (rdma_reject(v->id, private_data, len_bytes))
        return cm_error(err, "rdma_reject");
    return 0;
}

int rmig_rdma_verbs_disconnect(struct rmig_rdma_verbs *v, struct rmig_err *err)
{
    if (rdma_disconnect(v->id))
        return cm_error(err, "rdma_disconnect");
    return 0;
}

void rmig_rdma_verbs_peer_address(const struct rmig_rdma_verbs *v, struct sockaddr_storage *addr_p)
{
    *addr_p = v->id->route.addr.dst_storage;
}

int rmig_rdma_verbs_listen(const struct sockaddr *addr, int backlog,
                           struct rmig_rdma_verbs_listener **l_p, uint16_t *port_p,
                           struct rmig_err *err)
{
    struct rmig_rdma_verbs_listener *l = calloc(1, sizeof(*l));
    int reuse = 1;
    int rc;

    if (!l)
        return rmig_err_set(err, -ENOMEM, "RDMA listener: out of memory");
    rc = open_id(&l->events, &l->id, err);
    if (rc == 0 && rdma_set_option(l->id, RDMA_OPTION_ID, RDMA_OPTION_ID_REUSEADDR, &reuse,
                                   sizeof(reuse)))
        rc = cm_error(err, "rdma_set_option: address reuse");
    if (rc == 0 && rdma_bind_addr(l->id, (struct sockaddr *)addr))
        rc = cm_error(err, errno == EADDRINUSE ? "rdma_bind_addr"
                                               : "no RDMA device has the address: rdma_bind_addr");
    if (rc == 0 && rdma_listen(l->id, backlog))
        rc = cm_error(err, "rdma_listen");
    if (rc < 0) {
        rmig_rdma_verbs_listener_close(l);
        return rc;
    }
    *port_p = ntohs(rdma_get_src_port(l->id));
    *l_p = l;
    return 0;
}

int rmig_rdma_verbs_listener_fd(const struct rmig_rdma_verbs_listener *l)
{
    return l->events->fd;
}

void rmig_rdma_verbs_listener_close(struct rmig_rdma_verbs_listener *l)
{
    if (!l)
        return;
    if (l->id)
        rdma_destroy_id(l->id);
    if (l->events)
        rdma_destroy_event_channel(l->events);
    free(l);
}

/* --- events ----------------------------------------------------------------------------------- */

static enum rmig_rdma_cm_event_type event_type(enum rdma_cm_event_type type)
{
    static const enum rmig_rdma_cm_event_type map[] = {
        [RDMA_CM_EVENT_ADDR_RESOLVED] = RMIG_RDMA_CM_ADDR_RESOLVED,
        [RDMA_CM_EVENT_ADDR_ERROR] = RMIG_RDMA_CM_ADDR_ERROR,
        [RDMA_CM_EVENT_ROUTE_RESOLVED] = RMIG_RDMA_CM_ROUTE_RESOLVED,
        [RDMA_CM_EVENT_ROUTE_ERROR] = RMIG_RDMA_CM_ROUTE_ERROR,
        [RDMA_CM_EVENT_CONNECT_REQUEST] = RMIG_RDMA_CM_CONNECT_REQUEST,
        [RDMA_CM_EVENT_CONNECT_ERROR] = RMIG_RDMA_CM_CONNECT_ERROR,
        [RDMA_CM_EVENT_UNREACHABLE] = RMIG_RDMA_CM_UNREACHABLE,
        [RDMA_CM_EVENT_REJECTED] = RMIG_RDMA_CM_REJECTED,
        [RDMA_CM_EVENT_ESTABLISHED] = RMIG_RDMA_CM_ESTABLISHED,
        [RDMA_CM_EVENT_DISCONNECTED] = RMIG_RDMA_CM_DISCONNECTED,
        [RDMA_CM_EVENT_DEVICE_REMOVAL] = RMIG_RDMA_CM_DEVICE_REMOVAL,
        [RDMA_CM_EVENT_ADDR_CHANGE] = RMIG_RDMA_CM_ADDR_CHANGE,
        [RDMA_CM_EVENT_TIMEWAIT_EXIT] = RMIG_RDMA_CM_TIMEWAIT_EXIT,
    };

    if ((size_t)type < sizeof(map) / sizeof(map[0]) && map[type])
        return map[type];
    return RMIG_RDMA_CM_OTHER;
}

static void copy_event(const struct rdma_cm_event *event, struct rmig_rdma_cm_event *copy_p)
{
    size_t len = event->param.conn.private_data_len;

    memset(copy_p, 0, sizeof(*copy_p));
    copy_p->type = event_type(event->event);
    copy_p->status = event->status;
    if (copy_p->type != RMIG_RDMA_CM_CONNECT_REQUEST && copy_p->type != RMIG_RDMA_CM_ESTABLISHED &&
        copy_p->type != RMIG_RDMA_CM_REJECTED)
        return;
    if (!event->param.conn.private_data)
        return;
    if (len > sizeof(copy_p->private_data))
        len = sizeof(copy_p->private_data);
    memcpy(copy_p->private_data, event->param.conn.private_data, len);
    copy_p->private_data_len_bytes = len;
}

/* 1 with the event, 0 none there now. */
static int get_event(struct rdma_event_channel *channel, struct rdma_cm_event **event_p,
                     struct rmig_err *err)
{
    if (!rdma_get_cm_event(channel, event_p))
        return 1;
    return errno == EAGAIN || errno == EINTR ? 0 : cm_error(err, "rdma_get_cm_event");
}

/* Gives a new connection an event channel of its own. Takes the identifier over. */
static int adopt_request(struct rdma_cm_id *id, struct rmig_rdma_verbs **v_p, struct rmig_err *err)
{
    struct rmig_rdma_verbs *v = calloc(1, sizeof(*v));
    int rc;

    if (!v) {
        rdma_destroy_id(id);
        return rmig_err_set(err, -ENOMEM, "RDMA endpoint: out of memory");
    }
    v->id = id;
    rc = open_channel(&v->events, err);
    if (rc == 0 && rdma_migrate_id(id, v->events))
        rc = cm_error(err, "rdma_migrate_id");
    if (rc < 0)
        rmig_rdma_verbs_close(v);
    else
        *v_p = v;
    return rc;
}

int rmig_rdma_verbs_get_request(struct rmig_rdma_verbs_listener *l, struct rmig_rdma_verbs **v_p,
                                struct rmig_rdma_cm_event *event_p, struct rmig_err *err)
{
    struct rdma_cm_event *event;
    struct rdma_cm_id *id;
    int rc = get_event(l->events, &event, err);

    if (rc <= 0)
        return rc;
    copy_event(event, event_p);
    id = event->id;
    rdma_ack_cm_event(event);
    if (event_p->type != RMIG_RDMA_CM_CONNECT_REQUEST)
        return 0;
    rc = adopt_request(id, v_p, err);
    return rc < 0 ? rc : 1;
}

int rmig_rdma_verbs_cm_fd(const struct rmig_rdma_verbs *v)
{
    return v->events->fd;
}

int rmig_rdma_verbs_cq_fd(const struct rmig_rdma_verbs *v)
{
    return v->completions ? v->completions->fd : -1;
}

int rmig_rdma_verbs_get_cm_event(struct rmig_rdma_verbs *v, struct rmig_rdma_cm_event *event_p,
                                 struct rmig_err *err)
{
    struct rdma_cm_event *event;
    int rc = get_event(v->events, &event, err);

    if (rc <= 0)
        return rc;
    copy_event(event, event_p);
    rdma_ack_cm_event(event);
    return 1;
}

int rmig_rdma_verbs_arm(struct rmig_rdma_verbs *v, struct rmig_err *err)
{
    int rc = ibv_req_notify_cq(v->cq, 0);

    return rc ? verbs_error(err, rc, "ibv_req_notify_cq") : 0;
}

int rmig_rdma_verbs_take_cq_events(struct rmig_rdma_verbs *v, struct rmig_err *err)
{
    struct ibv_cq *cq;
    void *context;

    while (!ibv_get_cq_event(v->completions, &cq, &context))
        if (++v->unacked_cq_events == CQ_EVENTS_TO_ACK) {
            ibv_ack_cq_events(v->cq, v->unacked_cq_events);
            v->unacked_cq_events = 0;
        }
    if (errno != EAGAIN && errno != EINTR)
        return cm_error(err, "ibv_get_cq_event");
    return 0;
}

int rmig_rdma_verbs_async_fd(const struct rmig_rdma_verbs *v)
{
    return v->device ? v->device->async_fd : -1;
}

/* Requires: watched_lock. */
static void note_async(struct rmig_rdma_verbs *v, const struct ibv_async_event *event)
{
    enum ibv_event_type type = event->event_type;

    if (type == IBV_EVENT_PORT_ERR || type == IBV_EVENT_PORT_ACTIVE)
        v->port_is_down = type == IBV_EVENT_PORT_ERR;
    if (type == IBV_EVENT_DEVICE_FATAL ||
        (type == IBV_EVENT_QP_FATAL && event->element.qp == v->qp) ||
        (type == IBV_EVENT_CQ_ERR && event->element.cq == v->cq))
        v->ended_by = ibv_event_type_str(type);
}

const char *rmig_rdma_verbs_take_async(struct rmig_rdma_verbs *v, bool *port_is_down_p)
{
    struct ibv_async_event event;
    const char *ended_by;

    pthread_mutex_lock(&watched_lock);
    while (v->device && !ibv_get_async_event(v->id->verbs, &event)) {
        for (struct rmig_rdma_verbs *each = watched; each; each = each->next_watched)
            if (each->device == v->device)
                note_async(each, &event);
        ibv_ack_async_event(&event);
    }
    ended_by = v->ended_by;
    *port_is_down_p = v->port_is_down;
    pthread_mutex_unlock(&watched_lock);
    return ended_by;
}

static enum rmig_rdma_wc_opcode wc_opcode(const struct ibv_wc *wc)
{
    if (wc->opcode & IBV_WC_RECV)
        return wc->opcode == IBV_WC_RECV && !(wc->wc_flags & (IBV_WC_WITH_IMM | IBV_WC_WITH_INV))
                   ? RMIG_RDMA_WC_RECV
                   : RMIG_RDMA_WC_RECV_WITH_IMM_OR_INV;
    if (wc->opcode == IBV_WC_SEND)
        return RMIG_RDMA_WC_SEND;
    if (wc->opcode == IBV_WC_RDMA_WRITE)
        return RMIG_RDMA_WC_WRITE;
    return RMIG_RDMA_WC_OTHER;
}

static bool is_refusal(enum ibv_wc_status status)
{
    return status == IBV_WC_REM_ACCESS_ERR || status == IBV_WC_REM_INV_REQ_ERR ||
           status == IBV_WC_REM_OP_ERR;
}

int rmig_rdma_verbs_poll(struct rmig_rdma_verbs *v, struct rmig_rdma_wc *wc, int nwc,
                         struct rmig_err *err)
{
    struct ibv_wc raw[32];
    int n;

    if (nwc > (int)(sizeof(raw) / sizeof(raw[0])))
        nwc = sizeof(raw) / sizeof(raw[0]);
    n = ibv_poll_cq(v->cq, nwc, raw);
    if (n < 0)
        return rmig_err_set(err, -EIO, "ibv_poll_cq failed: %d", n);
    for (int i = 0; i < n; i++)
        wc[i] = (struct rmig_rdma_wc){
            .wr_id = raw[i].wr_id,
            .status = (int)raw[i].status,
            .flushed = raw[i].status == IBV_WC_WR_FLUSH_ERR,
            .refused = is_refusal(raw[i].status),
            .opcode = raw[i].status == IBV_WC_SUCCESS ? wc_opcode(&raw[i]) : RMIG_RDMA_WC_OTHER,
            .len_bytes = raw[i].byte_len,
            .vendor_error = raw[i].vendor_err,
        };
    return n;
}

const char *rmig_rdma_verbs_status_text(int status)
{
    return ibv_wc_status_str((enum ibv_wc_status)status);
}

/* --- memory and work requests ----------------------------------------------------------------- */

static int reg_error(int e, uint64_t len_bytes, struct rmig_err *err)
{
    double mib = (double)len_bytes / (1 << 20);
    struct rlimit limit;

    if ((e == ENOMEM || e == EAGAIN || e == EPERM) && !getrlimit(RLIMIT_MEMLOCK, &limit) &&
        limit.rlim_cur != RLIM_INFINITY)
        return rmig_err_set(err, -e,
                            "cannot pin %.1f MiB more: %s; RLIMIT_MEMLOCK is %.1f MiB, raise it with "
                            "`ulimit -l unlimited`",
                            mib, strerror(e), (double)limit.rlim_cur / (1 << 20));
    return rmig_err_set(err, -e, "cannot pin %.1f MiB: ibv_reg_mr: %s", mib, strerror(e));
}

int rmig_rdma_verbs_reg_mr(struct rmig_rdma_verbs *v, void *addr, uint64_t len_bytes,
                           unsigned access, struct rmig_rdma_mr *mr_p, struct rmig_err *err)
{
    static const int flags_of[] = {
        [RMIG_RDMA_READ_LOCAL] = 0,
        [RMIG_RDMA_WRITE_LOCAL] = IBV_ACCESS_LOCAL_WRITE,
        [RMIG_RDMA_WRITE_REMOTE] = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE,
    };
    int flags = flags_of[access & ~RMIG_RDMA_ON_DEMAND] |
                (access & RMIG_RDMA_ON_DEMAND ? IBV_ACCESS_ON_DEMAND : 0);
    struct ibv_mr *mr;


    errno = 0; /* not every provider sets it */
    mr = ibv_reg_mr(v->id->pd, addr, len_bytes, flags);
    if (!mr)
        return reg_error(errno ? errno : EIO, len_bytes, err);
    mr_p->handle = mr;
    mr_p->lkey = mr->lkey;
    mr_p->rkey = mr->rkey;
    return 0;
}

int rmig_rdma_verbs_dereg_mr(struct rmig_rdma_mr *mr, struct rmig_err *err)
{
    int rc = mr->handle ? ibv_dereg_mr(mr->handle) : 0;

    if (rc)
        return verbs_error(err, rc, "ibv_dereg_mr");
    mr->handle = NULL;
    return 0;
}

int rmig_rdma_verbs_post_recv(struct rmig_rdma_verbs *v, uint64_t wr_id, void *addr,
                              uint32_t len_bytes, uint32_t lkey, struct rmig_err *err)
{
    struct ibv_sge sge = { .addr = (uintptr_t)addr, .length = len_bytes, .lkey = lkey };
    struct ibv_recv_wr wr = { .wr_id = wr_id, .sg_list = &sge, .num_sge = len_bytes ? 1 : 0 };
    struct ibv_recv_wr *bad;
    int rc = ibv_post_recv(v->id->qp, &wr, &bad);

    return rc ? verbs_error(err, rc, "ibv_post_recv") : 0;
}

int rmig_rdma_verbs_post_send(struct rmig_rdma_verbs *v, uint64_t wr_id, const void *addr,
                              uint32_t len_bytes, uint32_t lkey, struct rmig_err *err)
{
    struct ibv_sge sge = { .addr = (uintptr_t)addr, .length = len_bytes, .lkey = lkey };
    struct ibv_send_wr wr = {
        .wr_id = wr_id,
        .sg_list = &sge,
        .num_sge = len_bytes ? 1 : 0,
        .opcode = IBV_WR_SEND,
        .send_flags = IBV_SEND_SIGNALED,
    };
    struct ibv_send_wr *bad;
    int rc = ibv_post_send(v->id->qp, &wr, &bad);

    return rc ? verbs_error(err, rc, "ibv_post_send of a message") : 0;
}

int rmig_rdma_verbs_post_writes(struct rmig_rdma_verbs *v, const struct rmig_rdma_write *writes,
                                unsigned nwrites, struct rmig_err *err)
{
    struct ibv_send_wr wr[RMIG_RDMA_POST_MAX] = { 0 };
    struct ibv_sge sge[RMIG_RDMA_POST_MAX];
    struct ibv_send_wr *bad;
    int rc;

    for (unsigned i = 0; i < nwrites; i++) {
        const struct rmig_rdma_write *w = &writes[i];

        sge[i] = (struct ibv_sge){ (uintptr_t)w->local, w->len_bytes, w->lkey };
        wr[i].wr_id = w->wr_id;
        wr[i].next = i + 1 < nwrites ? &wr[i + 1] : NULL;
        wr[i].sg_list = &sge[i];
        wr[i].num_sge = w->len_bytes ? 1 : 0;
        wr[i].opcode = IBV_WR_RDMA_WRITE;
        wr[i].send_flags = w->signalled ? IBV_SEND_SIGNALED : 0;
        wr[i].wr.rdma.remote_addr = w->remote_addr;
        wr[i].wr.rdma.rkey = w->rkey;
    }
    rc = ibv_post_send(v->id->qp, wr, &bad);
    return rc ? verbs_error(err, rc, "ibv_post_send of writes") : 0;
}
