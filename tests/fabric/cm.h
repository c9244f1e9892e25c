/* SPDX-License-Identifier: BSD-3-Clause */
/* cm.h -- what the parts of the connection manager share. */
#ifndef TESTS_FABRIC_CM_H
#define TESTS_FABRIC_CM_H

#include <arpa/inet.h>
#include <sys/socket.h>

#include "tests/fabric/wire.h"

enum state {
    ST_IDLE,
    ST_BOUND,
    ST_LISTEN,
    ST_ADDR,
    ST_ROUTE,
    ST_CONNECT,
    ST_REPLIED,
    ST_NEW,
    ST_REQUESTED,
    ST_ACCEPTED,
    ST_UP,
    ST_LEAVING,
    ST_PEER_LEFT,
    ST_CLOSED,
    ST_PAIR_LISTEN, /* from here on: pairing by queue pair number */
    ST_PAIR_CONNECT,
    ST_PAIR_WAIT,
    ST_PAIR_UP,
};

struct channel {
    struct rdma_event_channel v;
    struct event *first, **last;
    int waiters, side;
    bool closed;
};

struct event {
    struct rdma_cm_event v;
    struct event *next;
    struct fab_id *owner; /* whose destruction waits for the acknowledgement */
    bool finish;          /* the active side completes its queue pair when it takes this event */
    uint8_t data[256];
};

struct fab_id {
    struct rdma_cm_id v;
    struct fab_id *next, *listener;
    uint64_t serial, timer_ns, give_up_ns;
    enum state state;
    int side; /* FABRIC_ANY but in a test program */
    int sock, peer_segment;
    uint8_t ack_timeout; /* as rdma_set_option was told, 0: it was not */
    char name[80];
    struct link *link;
    struct cm_msg own, peer; /* REQ and REP, one of each */
    unsigned unacked;
    bool sync, child_qp;
    struct ibv_pd *child_pd;
    struct ibv_qp_init_attr child_attr;
    struct fab_qp *pair;
};

/* cm.c: the lock is for all below, and is held where nothing else is said */
extern pthread_mutex_t cm_lock;
extern struct fab_id *cm_ids;
extern int cm_epoll_fd, cm_wake_fd;
extern atomic_bool cm_stopping;
extern uint64_t cm_planned_ns; /* when the thread looks at the timers next */
extern uint64_t cm_timeout_ns, cm_timewait_ns, cm_grace_ns;
void cm_start(void); /* not held */
void cm_set_timer(struct fab_id *, uint64_t after_ns);
void cm_watch_sock(struct fab_id *);
struct fab_id *cm_id_new(enum state);
void cm_id_free(struct fab_id *);
void cm_drop_sock(struct fab_id *);
struct event *cm_queue_event(struct fab_id *, enum rdma_cm_event_type, int status, const void *data,
                             size_t length);
struct event *cm_queue_at(struct fab_id *owner, struct fab_id *, enum rdma_cm_event_type, int status,
                          const void *data, size_t length);
void cm_set_params(struct event *, const struct cm_msg *);
int cm_outcome(struct fab_id *, int ret); /* not held */
void cm_set_side(struct fab_id *, int side); /* not held */
bool cm_answered(struct fab_id *, enum api); /* as a test program has said */

/* cm_resolve.c */
int cm_use_device(struct fab_id *, struct fab_context *);
int cm_bind(struct fab_id *, const struct sockaddr *);

/* cm_qp.c */
int cm_make_link(struct fab_id *);
int cm_connect_qp(struct fab_id *);

/* cm_connect.c */
int cm_send_request(struct fab_id *);
void cm_refused(struct fab_id *, int status);

/* cm_watch.c */
void *cm_watch(void *);

static inline struct fab_id *id_of(struct rdma_cm_id *v)
{
    return container_of(v, struct fab_id, v);
}

static inline struct channel *channel_of(struct rdma_event_channel *v)
{
    return container_of(v, struct channel, v);
}

static inline struct fab_qp *qp_of(struct ibv_qp *v)
{
    return container_of(v, struct fab_qp, v);
}

static inline int fail(int err)
{
    errno = err;
    return -1;
}

static inline bool is_any(const struct sockaddr *a)
{
    return a->sa_family == AF_INET
               ? ((const struct sockaddr_in *)a)->sin_addr.s_addr == 0
               : IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)a)->sin6_addr);
}

static inline size_t addr_size(const struct sockaddr *a)
{
    return a->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

static inline uint16_t port_of(const void *a)
{
    return ntohs(((const struct sockaddr_in *)a)->sin_port);
}

static inline void set_port(void *a, uint16_t port)
{
    ((struct sockaddr_in *)a)->sin_port = htons(port);
}

#endif
