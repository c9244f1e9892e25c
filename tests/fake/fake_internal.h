/* SPDX-License-Identifier: BSD-3-Clause */
/* fake_internal.h -- the fake's own objects; fake_lock guards all of them. */
#ifndef TESTS_FAKE_FAKE_INTERNAL_H
#define TESTS_FAKE_FAKE_INTERNAL_H

#include <pthread.h>

#include "tests/fake/verbs_fake.h"

#define FAKE_NEVER UINT64_MAX

/* A work request in a send or receive queue. */
struct fake_wr {
    enum fake_wr_kind kind;
    uint64_t wr_id;
    uint8_t *local;
    uint64_t remote_addr;
    uint32_t len_bytes;
    uint32_t lkey;
    uint32_t rkey;
    bool signalled;
    int scripted_status;
    uint32_t scripted_vendor;
};

/* A completion, not yet polled. */
struct fake_completion {
    struct rmig_rdma_wc wc;
    uint64_t arrival_ns;
    uint64_t number;      /* order of making over all endpoints */
    uint64_t sq_retired;  /* send queue: slots free once this is polled; 0 for receives */
    const uint8_t *watch; /* SEND: its bytes must be as they were */
    uint32_t watch_bytes;
    uint64_t watch_hash;
};

/* A queue that grows; items are taken from the front. */
#define FAKE_QUEUE(type)                                                                           \
    struct {                                                                                       \
        type *items;                                                                               \
        size_t first, end, room;                                                                   \
    }

enum fake_state {
    FAKE_IDLE,
    FAKE_ADDR_RESOLVED,
    FAKE_ROUTE_RESOLVED,
    FAKE_CONNECTING, /* active: request sent */
    FAKE_REQUESTED,  /* passive: request received */
    FAKE_ACCEPTED,   /* passive: reply sent */
    FAKE_REPLIED,    /* active: reply received, ESTABLISHED not taken yet */
    FAKE_CONNECTED,
    FAKE_HUNG_UP /* disconnected, rejected or the peer is gone */
};

struct rmig_rdma_verbs {
    struct rmig_rdma_verbs *next;
    enum fake_side side;
    enum fake_state state;
    struct rmig_rdma_verbs *peer; /* NULL once it is closed */
    bool awaits_answer; /* hung up first: told so once the peer has, too */
    uint16_t port;
    uint8_t ack_timeout;
    uint8_t retry_count;
    uint8_t rnr_retry_count;
    int cm_fd;
    FAKE_QUEUE(struct rmig_rdma_cm_event) events;
    bool has_qp;
    bool failed; /* queue pair in the error state */
    uint64_t failed_from_ns;
    uint32_t max_send_wr, max_recv_wr;
    struct fake_wr *sq; /* ring of max_send_wr */
    uint64_t sq_posted, sq_executed, sq_retired;
    FAKE_QUEUE(struct fake_wr) recvs;
    unsigned recvs_unpolled; /* receives posted whose completion is not polled yet */
    int cq_fd; /* a timer: readable = there is a completion event */
    FAKE_QUEUE(struct fake_completion) completions;
    bool armed;
    uint64_t armed_ns, armed_number;
    bool event_pending;
    uint64_t timer_ns; /* when cq_fd becomes readable */
};

struct rmig_rdma_verbs_listener {
    struct rmig_rdma_verbs_listener *next;
    uint16_t port;
    int backlog;
    int fd;
    FAKE_QUEUE(struct rmig_rdma_verbs *) requests;
    FAKE_QUEUE(struct rmig_rdma_cm_event) events; /* one a request */
};

struct fake_region {
    struct fake_region *next;
    enum fake_side side;
    uint8_t *addr;
    uint64_t len_bytes;
    uint32_t lkey, rkey;
    enum rmig_rdma_access access;
};

extern pthread_mutex_t fake_lock;

/* Requires: fake_lock is held, for everything below. */

struct rmig_rdma_verbs *fake_endpoints(void);

/* --- verbs_fake.c: controls ------------------------------------------------------------------- */

/* Counts a call. Returns: 0, or -errno if it was to fail (err then says so). */
int fake_enter(enum fake_side side, enum fake_call call, struct rmig_err *err);
/* Fills the scripted outcome of a work request being posted. */
void fake_script_wr(enum fake_side side, struct fake_wr *wr);
/* Was this request to be answered otherwise? The answer is then queued. */
bool fake_answered(struct rmig_rdma_verbs *v, enum fake_call call);
struct fake_counts *fake_count(enum fake_side side);
void fake_tap(enum fake_side from, const struct fake_wr *wr);
void fake_set_breach(const char *fmt, ...) RMIG_PRINTF(1, 2);
bool fake_is_black_hole(void);
bool fake_is_immediate(enum fake_side side);
uint64_t fake_delay_ns(void);
uint64_t fake_pin_limit(enum fake_side side);
uint32_t fake_pin_ms(enum fake_side side);
void fake_limits(enum fake_side side, struct rmig_rdma_device_attr *attr_p);
unsigned fake_devices(void);
/* Lets the other side do a step. Releases the lock meanwhile. Returns: was there a hook? */
bool fake_idle(enum fake_side side);

/* --- fake_cm.c -------------------------------------------------------------------------------- */

void fake_queue_event(struct rmig_rdma_verbs *v, enum rmig_rdma_cm_event_type type, int status,
                      const void *data, size_t len_bytes, size_t padded_bytes);

/* --- fake_qp.c -------------------------------------------------------------------------------- */

/* Executes what can be executed. */
void fake_progress(struct rmig_rdma_verbs *v);
/* The queue pair fails: everything outstanding is flushed at arrival_ns (0 = now). */
void fake_fail_qp(struct rmig_rdma_verbs *v, uint64_t arrival_ns);
void fake_release_qp(struct rmig_rdma_verbs *v);
uint64_t fake_now_ns(void);
void *fake_grow(void *items, size_t *room, size_t item_bytes);

#define fake_push(queue, item)                                                                     \
    do {                                                                                           \
        if ((queue)->end == (queue)->room)                                                         \
            (queue)->items =                                                                       \
                fake_grow((queue)->items, &(queue)->room, sizeof((queue)->items[0]));              \
        (queue)->items[(queue)->end++] = (item);                                                   \
    } while (0)

/* Requires: not empty. */
#define fake_pop(queue)                                                                            \
    do {                                                                                           \
        if (++(queue)->first == (queue)->end)                                                      \
            (queue)->first = (queue)->end = 0;                                                     \
    } while (0)

#define fake_front(queue) (&(queue)->items[(queue)->first])
#define fake_length(queue) ((queue)->end - (queue)->first)

#endif
