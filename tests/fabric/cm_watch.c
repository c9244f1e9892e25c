/* SPDX-License-Identifier: BSD-3-Clause */
/* cm_watch.c -- the thread that watches sockets and timers; pairing without rdma_cm. */
#include "tests/fabric/cm.h"

#include <stdio.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

static void disconnected(struct fab_id *id, bool answered)
{
    cm_queue_event(id, RDMA_CM_EVENT_DISCONNECTED, 0, NULL, 0);
    id->state = answered ? ST_CLOSED : ST_PEER_LEFT;
    cm_set_timer(id, answered ? cm_timewait_ns : 0);
}

static void peer_gone(struct fab_id *id)
{
    enum state was = id->state;

    cm_drop_sock(id);
    if (id->link) {
        atomic_store(&id->link->gone, true);
        engine_kick();
    }
    if (was == ST_NEW) {
        cm_id_free(id);
    } else if (was == ST_CONNECT || was == ST_REQUESTED || was == ST_ACCEPTED) {
        cm_set_timer(id, 0);
        cm_refused(id, was == ST_REQUESTED ? 4 : 28); /* IB_CM_REJ_TIMEOUT, consumer defined */
    } else if (was == ST_REPLIED || was == ST_UP || was == ST_LEAVING) {
        disconnected(id, true);
    } else if (was == ST_PEER_LEFT) {
        id->state = ST_CLOSED;
        cm_set_timer(id, cm_timewait_ns);
    }
}

static void got_request(struct fab_id *id, int fds[2])
{
    struct fab_id *listener = id->listener;
    struct rdma_addr *a = &id->v.route.addr;

    id->peer_segment = fds[0];
    id->link = fds[1] >= 0 ? link_open(fds[1], 1) : NULL;
    if (fds[1] >= 0)
        close(fds[1]);
    a->src_storage = id->peer.dst;
    a->dst_storage = id->peer.src;
    struct fab_context *c = device_context_for(&a->src_addr, id->side);
    if (id->peer.type != CM_REQ || !id->link || !listener || listener->state != ST_LISTEN ||
        cm_use_device(id, c ? c : device_shared(device_at(0), id->side))) {
        struct cm_msg rej = {.type = CM_REJ, .status = 8};
        wire_send(id->sock, &rej, NULL, 0);
        cm_id_free(id);
        return;
    }
    id->v.channel = listener->v.channel;
    id->v.context = listener->v.context;
    id->v.ps = listener->v.ps;
    id->v.qp_type = IBV_QPT_RC;
    id->state = ST_REQUESTED;
    cm_set_params(cm_queue_event(id, RDMA_CM_EVENT_CONNECT_REQUEST, 0, id->peer.data, REQ_PRIVATE),
                  &id->peer);
}

static void accept_new(struct fab_id *listener)
{
    int s = accept4(listener->sock, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct fab_id *id = s < 0 ? NULL : cm_id_new(ST_NEW);

    if (!id) {
        if (s >= 0)
            close(s);
        return;
    }
    id->sock = s;
    id->side = in_process ? FABRIC_PASSIVE : FABRIC_ANY;
    id->listener = listener;
    if (listener->state ==
        ST_PAIR_LISTEN) { /* one partner only: this socket replaces the listening one */
        wire_unlink(listener->name);
        listener->name[0] = 0;
        cm_drop_sock(listener);
        listener->sock = s;
        listener->state = ST_PAIR_WAIT;
        cm_watch_sock(listener);
        id->sock = -1;
        cm_id_free(id);
        return;
    }
    cm_watch_sock(id);
}

static void pair_message(struct fab_id *id, int fds[2])
{
    struct cm_msg rep = {.type = CM_REP, .qpn = id->pair->v.qp_num};
    bool passive = id->peer.type == CM_REQ;

    id->peer_segment = fds[0];
    if (passive) {
        id->link = fds[1] >= 0 ? link_open(fds[1], 1) : NULL;
        wire_send(id->sock, &rep, &own_segment_fd, 1);
    }
    if (fds[1] >= 0)
        close(fds[1]);
    if (!id->link || cm_make_link(id))
        return;
    id->state = ST_PAIR_UP;
    qp_attach(id->pair, id->link);
    int state = atomic_load(&id->pair->state);
    if (state == IBV_QPS_RTR || state == IBV_QPS_RTS)
        qp_ready(id->pair, true, state == IBV_QPS_RTS);
}

static void got_message(struct fab_id *id, struct cm_msg *m, int fds[2])
{
    struct cm_msg drep = {.type = CM_DREP};
    struct event *e;

    if (id->state == ST_NEW) {
        id->peer = *m;
        got_request(id, fds);
        return;
    }
    if (id->state == ST_PAIR_WAIT) {
        id->peer = *m;
        pair_message(id, fds);
        return;
    }
    if (m->type == CM_REP && id->state == ST_CONNECT) {
        id->peer = *m;
        id->peer_segment = fds[0];
        id->state = ST_REPLIED;
        cm_set_timer(id, 0);
        e = cm_queue_event(id,
                           id->v.qp ? RDMA_CM_EVENT_ESTABLISHED : RDMA_CM_EVENT_CONNECT_RESPONSE, 0,
                           m->data, REP_PRIVATE);
        cm_set_params(e, m);
        if (e && id->v.qp)
            e->finish = true;
        return;
    }
    for (int i = 0; i < 2; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    if (m->type == CM_RTU && id->state == ST_ACCEPTED) {
        id->state = ST_UP;
        cm_queue_event(id, RDMA_CM_EVENT_ESTABLISHED, 0, NULL, 0);
    } else if (m->type == CM_REJ && (id->state == ST_CONNECT || id->state == ST_ACCEPTED)) {
        id->state = ST_CLOSED;
        cm_set_timer(id, 0);
        cm_queue_event(id, RDMA_CM_EVENT_REJECTED, (int)m->status, m->data, REJ_PRIVATE);
    } else if (m->type == CM_DREQ &&
               (id->state == ST_UP || id->state == ST_ACCEPTED || id->state == ST_REPLIED)) {
        disconnected(id, false);
    } else if (m->type == CM_DREQ && id->state == ST_LEAVING) { /* both at once */
        wire_send(id->sock, &drep, NULL, 0);
        disconnected(id, true);
    } else if (m->type == CM_DREP && id->state == ST_LEAVING) {
        disconnected(id, true);
    }
}

static void pair_connect(struct fab_id *id)
{
    int link_fd, s = wire_connect(id->own.data[0] ? (char *)id->own.data : "");
    struct cm_msg req = {.type = CM_REQ, .qpn = id->pair->v.qp_num};

    if (s < 0) {
        cm_set_timer(id, 2000000); /* not there yet */
        return;
    }
    id->sock = s;
    id->link = link_create(&link_fd);
    if (id->link) {
        int fds[2] = {own_segment_fd, link_fd};
        wire_send(s, &req, fds, 2);
        close(link_fd);
    }
    id->state = ST_PAIR_WAIT;
    cm_set_timer(id, 0);
    cm_watch_sock(id);
}

static void timer(struct fab_id *id)
{
    id->timer_ns = 0;
    if (id->state == ST_CONNECT && id->sock < 0 && id->give_up_ns) {
        if (now_ns() >= id->give_up_ns)
            cm_refused(id, 8); /* IB_CM_REJ_INVALID_SERVICE_ID */
        else if (cm_send_request(id))
            cm_set_timer(id, 1000000);
    } else if (id->state == ST_CONNECT) {
        id->state = ST_CLOSED;
        cm_drop_sock(id);
        cm_queue_event(id, RDMA_CM_EVENT_UNREACHABLE, -ETIMEDOUT, NULL, 0);
    } else if (id->state == ST_LEAVING) {
        disconnected(id, true);
    } else if (id->state == ST_CLOSED) {
        cm_queue_event(id, RDMA_CM_EVENT_TIMEWAIT_EXIT, 0, NULL, 0);
    } else if (id->state == ST_PAIR_CONNECT) {
        pair_connect(id);
    }
}

static void ready(uint64_t serial)
{
    struct fab_id *id = cm_ids;
    struct cm_msg m;
    int fds[2], got;

    while (id && id->serial != serial)
        id = id->next;
    if (!id || id->sock < 0)
        return;
    if (id->state == ST_LISTEN || id->state == ST_BOUND || id->state == ST_ADDR ||
        id->state == ST_ROUTE || id->state == ST_PAIR_LISTEN) {
        accept_new(id);
        return;
    }
    got = wire_recv(id->sock, &m, fds);
    if (got && atomic_load(&black_hole))
        cm_drop_sock(id);
    else if (got > 0)
        got_message(id, &m, fds);
    else if (got < 0)
        peer_gone(id);
}

/* Waits so long for messages and new connections; false if there was nothing. The token that a timer
 * was set is for the thread that keeps the time. */
static bool look(int ms, bool keeps_time)
{
    struct epoll_event events[32];
    int n = epoll_wait(cm_epoll_fd, events, 32, ms), found = 0;

    pthread_mutex_lock(&cm_lock);
    for (int i = 0; i < n; i++)
        if (events[i].data.u64) {
            ready(events[i].data.u64);
            found++;
        } else if (keeps_time) {
            token_take(cm_wake_fd);
        }
    pthread_mutex_unlock(&cm_lock);
    engine_settle();
    return found;
}

void *cm_watch(void *arg)
{
    (void)arg;
    prctl(PR_SET_NAME, "rdma-fabric-cm");
    while (!atomic_load(&cm_stopping)) {
        uint64_t now = now_ns(), first = UINT64_MAX;
        pthread_mutex_lock(&cm_lock);
        for (struct fab_id *id = cm_ids, *next; id; id = next) {
            next = id->next;
            if (id->timer_ns && id->timer_ns <= now)
                timer(id);
            if (id->timer_ns && id->timer_ns < first)
                first = id->timer_ns;
        }
        cm_planned_ns = first;
        pthread_mutex_unlock(&cm_lock);
        int ms = first == UINT64_MAX ? -1
                 : first <= now      ? 0
                                     : (int)((first - now + 999999) / 1000000);
        look(ms, true);
    }
    return NULL;
}

/* Deals with all that has come, in the caller's thread. */
void cm_settle(void)
{
    while (in_process && look(0, false))
        ;
}

/* --- pairing without rdma_cm: the lower number listens, the higher connects --- */

void cm_rendezvous(struct fab_qp *qp, uint32_t dest)
{
    uint32_t own = qp->v.qp_num;
    struct fab_id *id;
    char name[80];

    if (qp->rendezvous || own == dest)
        return;
    cm_start();
    snprintf(name, sizeof(name), "qp-%06x-%06x", own < dest ? own : dest, own < dest ? dest : own);
    pthread_mutex_lock(&cm_lock);
    if ((id = cm_id_new(own < dest ? ST_PAIR_LISTEN : ST_PAIR_CONNECT))) {
        id->pair = qp;
        qp->rendezvous = id;
        if (own < dest) {
            if (wire_listen(name, &id->sock) == 0) {
                snprintf(id->name, sizeof(id->name), "%s", name);
                cm_watch_sock(id);
            }
        } else {
            snprintf((char *)id->own.data, sizeof(id->own.data), "%s", name);
            pair_connect(id);
        }
    }
    pthread_mutex_unlock(&cm_lock);
}

void cm_rendezvous_cancel(struct fab_qp *qp)
{
    if (!qp->rendezvous)
        return;
    pthread_mutex_lock(&cm_lock);
    cm_id_free(qp->rendezvous);
    qp->rendezvous = NULL;
    pthread_mutex_unlock(&cm_lock);
}
