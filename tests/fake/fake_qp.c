/* SPDX-License-Identifier: BSD-3-Clause */
/* fake_qp.c -- the fake's queue pairs: work requests executed, completions made and polled. */
#include "tests/fake/fake_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define GARBAGE_LEN 0xdeadbeefu
#define VENDOR_RETRIES 0x81u
#define VENDOR_FLUSHED 0xf9u
#define VENDOR_OTHER 0x32u
#define ACK_UNIT_NS 4096u

static struct fake_region *regions;
static uint64_t next_number = 1;
static uint32_t next_key = 0x1001;

uint64_t fake_now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void *fake_grow(void *items, size_t *room, size_t item_bytes)
{
    *room = *room ? 2 * *room : 16;
    items = realloc(items, *room * item_bytes);
    if (!items)
        abort();
    return items;
}

static uint64_t hash(const uint8_t *bytes, uint32_t len)
{
    uint64_t h = 0xcbf29ce484222325, word;

    for (; len >= 8; bytes += 8, len -= 8) {
        memcpy(&word, bytes, 8);
        h = (h ^ word) * 0x100000001b3;
    }
    for (; len; bytes++, len--)
        h = (h ^ *bytes) * 0x100000001b3;
    return h;
}

/* --- completions ------------------------------------------------------------------------------ */

/* Would this completion make an armed queue raise an event? */
static bool raises(const struct rmig_rdma_verbs *v, const struct fake_completion *c)
{
    return c->number >= v->armed_number || c->arrival_ns > v->armed_ns;
}

static void set_timer(struct rmig_rdma_verbs *v, uint64_t when_ns)
{
    struct itimerspec spec = { 0 };

    if (when_ns != FAKE_NEVER) {
        if (when_ns == 0)
            when_ns = 1; /* 0 would disarm it */
        spec.it_value.tv_sec = (time_t)(when_ns / 1000000000u);
        spec.it_value.tv_nsec = (long)(when_ns % 1000000000u);
    }
    if (timerfd_settime(v->cq_fd, TFD_TIMER_ABSTIME, &spec, NULL))
        abort();
    v->timer_ns = when_ns;
}

/* Raises the completion event that is due and sets the timer for the one that will be. */
static void settle(struct rmig_rdma_verbs *v)
{
    uint64_t now = fake_now_ns(), next = FAKE_NEVER;

    for (size_t i = v->completions.first; v->armed && i < v->completions.end; i++) {
        const struct fake_completion *c = &v->completions.items[i];

        if (!raises(v, c))
            continue;
        if (c->arrival_ns <= now) {
            v->armed = false;
            v->event_pending = true;
        } else if (c->arrival_ns < next) {
            next = c->arrival_ns;
        }
    }
    if (v->event_pending) {
        if (v->timer_ns > now)
            set_timer(v, 1);
    } else if ((v->armed ? next : FAKE_NEVER) != v->timer_ns) {
        set_timer(v, v->armed ? next : FAKE_NEVER);
    }
}

static struct fake_completion *add_completion(struct rmig_rdma_verbs *v, const struct fake_wr *wr,
                                              int status, uint32_t vendor, uint64_t arrival_ns)
{
    struct fake_completion c = { .number = next_number++ };
    uint64_t earliest = fake_now_ns() + (status ? 0 : fake_delay_ns());

    if (fake_length(&v->completions) &&
        v->completions.items[v->completions.end - 1].arrival_ns > earliest)
        earliest = v->completions.items[v->completions.end - 1].arrival_ns;
    c.arrival_ns = arrival_ns > earliest ? arrival_ns : earliest;
    c.wc.wr_id = wr->wr_id;
    c.wc.status = status;
    c.wc.flushed = status == FAKE_WC_WR_FLUSH_ERR;
    c.wc.refused = status == FAKE_WC_REM_ACCESS_ERR || status == FAKE_WC_REM_INV_REQ_ERR ||
                   status == FAKE_WC_REM_OP_ERR;
    c.wc.opcode = RMIG_RDMA_WC_OTHER;
    c.wc.len_bytes = GARBAGE_LEN;
    c.wc.vendor_error = vendor;
    fake_push(&v->completions, c);
    return &v->completions.items[v->completions.end - 1];
}

/* The oldest work request not executed yet completes. */
static void finish_send(struct rmig_rdma_verbs *v, int status, uint32_t vendor, uint64_t arrival_ns)
{
    const struct fake_wr *wr = &v->sq[v->sq_executed % v->max_send_wr];
    struct fake_completion *c;

    v->sq_executed++;
    if (!status && !wr->signalled)
        return;
    c = add_completion(v, wr, status, vendor, arrival_ns);
    c->sq_retired = v->sq_executed;
    if (!status)
        c->wc.opcode = wr->kind == FAKE_WR_SEND ? RMIG_RDMA_WC_SEND : RMIG_RDMA_WC_WRITE;
    if (wr->kind == FAKE_WR_SEND) {
        c->watch = wr->local;
        c->watch_bytes = wr->len_bytes;
        c->watch_hash = wr->remote_addr; /* where post_send keeps it */
    }
    settle(v);
}

/* The oldest receive completes. */
static void finish_recv(struct rmig_rdma_verbs *v, int status, uint32_t vendor, uint32_t len_bytes,
                        uint64_t arrival_ns)
{
    struct fake_completion *c =
        add_completion(v, fake_front(&v->recvs), status, vendor, arrival_ns);

    fake_pop(&v->recvs);
    if (!status) {
        c->wc.opcode = fake_is_immediate(v->side) ? RMIG_RDMA_WC_RECV_WITH_IMM_OR_INV
                                                  : RMIG_RDMA_WC_RECV;
        c->wc.len_bytes = len_bytes;
    }
    settle(v);
}

/* --- execution -------------------------------------------------------------------------------- */

void fake_fail_qp(struct rmig_rdma_verbs *v, uint64_t arrival_ns)
{
    if (!v->has_qp)
        return;
    if (v->failed) { /* the failure may have been in the future */
        for (size_t i = v->completions.first; i < v->completions.end; i++) {
            struct fake_completion *c = &v->completions.items[i];

            if (c->arrival_ns <= fake_now_ns() || !c->wc.status)
                continue;
            c->arrival_ns = fake_now_ns();
            c->wc.status = FAKE_WC_WR_FLUSH_ERR;
            c->wc.flushed = true;
            c->wc.vendor_error = VENDOR_FLUSHED;
        }
        v->failed_from_ns = arrival_ns;
        settle(v);
        return;
    }
    v->failed = true;
    v->failed_from_ns = arrival_ns;
    while (v->sq_executed < v->sq_posted)
        finish_send(v, FAKE_WC_WR_FLUSH_ERR, VENDOR_FLUSHED, arrival_ns);
    while (fake_length(&v->recvs))
        finish_recv(v, FAKE_WC_WR_FLUSH_ERR, VENDOR_FLUSHED, 0, arrival_ns);
    if (v->peer)
        fake_progress(v->peer);
}

static void fail_send(struct rmig_rdma_verbs *v, int status, uint32_t vendor, uint64_t arrival_ns)
{
    finish_send(v, status, vendor, arrival_ns);
    fake_fail_qp(v, arrival_ns);
}

/* Nobody answers any more: what is outstanding fails once the retries are used up. */
static void unanswered(struct rmig_rdma_verbs *v)
{
    uint64_t patience_ns = ((uint64_t)ACK_UNIT_NS << v->ack_timeout) * (v->retry_count + 1u);

    fail_send(v, FAKE_WC_RETRY_EXC_ERR, VENDOR_RETRIES, fake_now_ns() + patience_ns);
}

static struct fake_region *find_region(enum fake_side side, uint32_t key, bool remote,
                                     const void *addr, uint64_t len_bytes)
{
    for (struct fake_region *r = regions; r; r = r->next)
        if (r->side == side && key == (remote ? r->rkey : r->lkey) &&
            (uintptr_t)addr >= (uintptr_t)r->addr &&
            (uintptr_t)addr - (uintptr_t)r->addr <= r->len_bytes &&
            len_bytes <= r->len_bytes - ((uintptr_t)addr - (uintptr_t)r->addr))
            return r;
    return NULL;
}

static bool local_bytes_ok(const struct rmig_rdma_verbs *v, const struct fake_wr *wr)
{
    return wr->len_bytes == 0 ||
           find_region(v->side, wr->lkey, false, wr->local, wr->len_bytes);
}

static void execute_write(struct rmig_rdma_verbs *v, const struct fake_wr *wr)
{
    void *target = (void *)(uintptr_t)wr->remote_addr;
    const struct fake_region *r;

    if (wr->len_bytes) {
        r = find_region(v->peer->side, wr->rkey, true, target, wr->len_bytes);
        if (!r || r->access != RMIG_RDMA_WRITE_REMOTE) {
            struct rmig_rdma_verbs *peer = v->peer;

            fail_send(v, FAKE_WC_REM_ACCESS_ERR, VENDOR_OTHER, 0);
            fake_fail_qp(peer, 0);
            return;
        }
        fake_tap(v->side, wr);
        memcpy(target, wr->local, wr->len_bytes);
    }
    finish_send(v, FAKE_WC_SUCCESS, 0, 0);
}

/* The receiver refuses the message: both queue pairs fail. */
static void refuse(struct rmig_rdma_verbs *v, int peer_status, uint32_t peer_vendor, int status)
{
    struct rmig_rdma_verbs *peer = v->peer;

    finish_recv(peer, peer_status, peer_vendor, 0, 0);
    fail_send(v, status, VENDOR_OTHER, 0);
    fake_fail_qp(peer, 0);
}

/* Returns: false if it has to wait for a receive. */
static bool execute_send(struct rmig_rdma_verbs *v, const struct fake_wr *wr)
{
    const struct fake_wr *recv;
    const struct fake_region *r;

    if (fake_length(&v->peer->recvs) == 0) {
        if (v->rnr_retry_count == 7)
            return false;
        fail_send(v, FAKE_WC_RNR_RETRY_EXC_ERR, VENDOR_OTHER, 0);
        return true;
    }
    recv = fake_front(&v->peer->recvs);
    r = find_region(v->peer->side, recv->lkey, false, recv->local, recv->len_bytes);
    if (recv->scripted_status) {
        refuse(v, recv->scripted_status, recv->scripted_vendor, FAKE_WC_REM_OP_ERR);
    } else if (wr->len_bytes > recv->len_bytes) {
        refuse(v, FAKE_WC_LOC_LEN_ERR, VENDOR_OTHER, FAKE_WC_REM_INV_REQ_ERR);
    } else if (recv->len_bytes && (!r || r->access == RMIG_RDMA_READ_LOCAL)) {
        refuse(v, FAKE_WC_LOC_PROT_ERR, VENDOR_OTHER, FAKE_WC_REM_OP_ERR);
    } else {
        fake_tap(v->side, wr);
        if (wr->len_bytes)
            memcpy(recv->local, wr->local, wr->len_bytes);
        finish_recv(v->peer, FAKE_WC_SUCCESS, 0, wr->len_bytes, 0);
        finish_send(v, FAKE_WC_SUCCESS, 0, 0);
    }
    return true;
}

void fake_progress(struct rmig_rdma_verbs *v)
{
    while (!v->failed && v->sq_executed < v->sq_posted) {
        const struct fake_wr *wr = &v->sq[v->sq_executed % v->max_send_wr];

        if (v->state == FAKE_ACCEPTED) /* the reply is on its way */
            return;
        if (wr->scripted_status)
            fail_send(v, wr->scripted_status, wr->scripted_vendor, 0);
        else if (!local_bytes_ok(v, wr))
            fail_send(v, FAKE_WC_LOC_PROT_ERR, VENDOR_OTHER, 0);
        else if (fake_is_black_hole() || !v->peer || v->peer->failed)
            unanswered(v);
        else if (wr->kind == FAKE_WR_WRITE)
            execute_write(v, wr);
        else if (!execute_send(v, wr))
            return;
    }
}

/* --- queue pair ------------------------------------------------------------------------------- */

int rmig_rdma_verbs_create_qp(struct rmig_rdma_verbs *v, const struct rmig_rdma_qp_attr *attr,
                              struct rmig_err *err)
{
    struct rmig_rdma_device_attr limits;
    int rc;

    pthread_mutex_lock(&fake_lock);
    fake_limits(v->side, &limits);
    rc = fake_enter(v->side, FAKE_CREATE_QP, err);
    if (rc == 0 && v->state == FAKE_IDLE)
        rc = rmig_err_set(err, -ENODEV, "the address belongs to no RDMA device");
    else if (rc == 0 && (v->has_qp || !attr->max_send_wr || !attr->max_recv_wr ||
                         attr->max_send_wr > limits.max_qp_wr ||
                         attr->max_recv_wr > limits.max_qp_wr))
        rc = rmig_err_set(err, -EINVAL, "create_qp: %u send and %u receive work requests",
                          attr->max_send_wr, attr->max_recv_wr);
    if (rc == 0) {
        v->cq_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
        v->sq = calloc(attr->max_send_wr, sizeof(*v->sq));
        if (v->cq_fd < 0 || !v->sq)
            abort();
        v->timer_ns = FAKE_NEVER;
        v->max_send_wr = attr->max_send_wr;
        v->max_recv_wr = attr->max_recv_wr;
        v->has_qp = true;
    }
    pthread_mutex_unlock(&fake_lock);
    return rc;
}

void fake_release_qp(struct rmig_rdma_verbs *v)
{
    if (!v->has_qp)
        return;
    close(v->cq_fd);
    free(v->sq);
    free(v->recvs.items);
    free(v->completions.items);
    v->sq = NULL;
    memset(&v->recvs, 0, sizeof(v->recvs));
    memset(&v->completions, 0, sizeof(v->completions));
    v->has_qp = false;
    v->failed = true; /* what the peer still sends is not answered */
}

int rmig_rdma_verbs_cq_fd(const struct rmig_rdma_verbs *v)
{
    return v->has_qp ? v->cq_fd : -1;
}

int rmig_rdma_verbs_arm(struct rmig_rdma_verbs *v, struct rmig_err *err)
{
    int rc;

    pthread_mutex_lock(&fake_lock);
    rc = fake_enter(v->side, FAKE_ARM, err);
    if (rc == 0) {
        settle(v);
        v->armed = true;
        v->armed_ns = fake_now_ns();
        v->armed_number = next_number;
        settle(v);
    }
    pthread_mutex_unlock(&fake_lock);
    return rc;
}

int rmig_rdma_verbs_take_cq_events(struct rmig_rdma_verbs *v, struct rmig_err *err)
{
    int rc;

    pthread_mutex_lock(&fake_lock);
    rc = fake_enter(v->side, FAKE_TAKE_CQ_EVENTS, err);
    if (rc == 0) {
        settle(v);
        if (v->event_pending) {
            v->event_pending = false;
            set_timer(v, FAKE_NEVER);
            settle(v);
        }
    }
    pthread_mutex_unlock(&fake_lock);
    return rc;
}

/* Hands out what has arrived. */
static int take_completions(struct rmig_rdma_verbs *v, struct rmig_rdma_wc *wc, int nwc)
{
    struct fake_counts *counts = fake_count(v->side);
    uint64_t now;
    int n = 0;

    settle(v);
    now = fake_now_ns();
    while (n < nwc && fake_length(&v->completions)) {
        const struct fake_completion *c = fake_front(&v->completions);

        if (c->arrival_ns > now)
            break;
        if (c->sq_retired)
            v->sq_retired = c->sq_retired;
        else
            v->recvs_unpolled--;
        if (c->watch && hash(c->watch, c->watch_bytes) != c->watch_hash)
            fake_set_breach("the buffer of a SEND of %u bytes changed before its completion",
                            c->watch_bytes);
        wc[n++] = c->wc;
        fake_pop(&v->completions);
    }
    counts->completions += (unsigned)n;
    if ((unsigned)n > counts->largest_poll)
        counts->largest_poll = (unsigned)n;
    return n;
}

int rmig_rdma_verbs_poll(struct rmig_rdma_verbs *v, struct rmig_rdma_wc *wc, int nwc,
                         struct rmig_err *err)
{
    int rc;

    pthread_mutex_lock(&fake_lock);
    rc = fake_enter(v->side, FAKE_POLL, err);
    if (rc == 0 && !v->has_qp)
        rc = rmig_err_set(err, -EINVAL, "poll: no queue pair");
    if (rc == 0)
        rc = take_completions(v, wc, nwc);
    if (rc == 0 && fake_idle(v->side))
        rc = take_completions(v, wc, nwc);
    pthread_mutex_unlock(&fake_lock);
    return rc;
}

/* --- memory regions --------------------------------------------------------------------------- */

static int check_region(const struct rmig_rdma_verbs *v, const void *addr, uint64_t len_bytes,
                        struct rmig_err *err)
{
    struct rmig_rdma_device_attr limits;

    fake_limits(v->side, &limits);
    if (v->state == FAKE_IDLE)
        return rmig_err_set(err, -EINVAL, "reg_mr: no device yet");
    if (!addr || !len_bytes || UINTPTR_MAX - (uintptr_t)addr < len_bytes)
        return rmig_err_set(err, -EINVAL, "reg_mr: range %p + %llu", addr,
                            (unsigned long long)len_bytes);
    if (len_bytes > limits.max_mr_bytes)
        return rmig_err_set(err, -EINVAL, "reg_mr: %llu bytes, the device takes %llu",
                            (unsigned long long)len_bytes,
                            (unsigned long long)limits.max_mr_bytes);
    if (len_bytes > fake_pin_limit(v->side) ||
        fake_count(v->side)->registered_bytes > fake_pin_limit(v->side) - len_bytes)
        return rmig_err_set(err, -ENOMEM, "cannot pin %llu bytes more",
                            (unsigned long long)len_bytes);
    return 0;
}

int rmig_rdma_verbs_reg_mr(struct rmig_rdma_verbs *v, void *addr, uint64_t len_bytes,
                           enum rmig_rdma_access access, struct rmig_rdma_mr *mr_p,
                           struct rmig_err *err)
{
    struct fake_counts *counts;
    struct fake_region *r = NULL;
    struct timespec pause = { 0, 0 };
    int rc;

    pthread_mutex_lock(&fake_lock);
    pause.tv_nsec = (long)fake_pin_ms(v->side) * 1000000;
    pthread_mutex_unlock(&fake_lock);
    if (access != RMIG_RDMA_WRITE_LOCAL && pause.tv_nsec)
        nanosleep(&pause, NULL);
    pthread_mutex_lock(&fake_lock);
    rc = fake_enter(v->side, FAKE_REG_MR, err);
    if (rc == 0)
        rc = check_region(v, addr, len_bytes, err);
    if (rc == 0) {
        r = malloc(sizeof(*r));
        if (!r)
            abort();
        *r = (struct fake_region){ regions, v->side, addr, len_bytes, next_key, next_key + 1,
                                   access };
        next_key += 2 + next_key % 5;
        regions = r;
        counts = fake_count(v->side);
        counts->regions++;
        counts->remote_regions += access == RMIG_RDMA_WRITE_REMOTE;
        counts->registrations++;
        counts->registered_bytes += len_bytes;
        if (counts->registered_bytes > counts->peak_registered_bytes)
            counts->peak_registered_bytes = counts->registered_bytes;
        *mr_p = (struct rmig_rdma_mr){ r, r->lkey, r->rkey };
    }
    pthread_mutex_unlock(&fake_lock);
    return rc;
}

void rmig_rdma_verbs_dereg_mr(struct rmig_rdma_mr *mr)
{
    struct fake_region **r = &regions;
    struct fake_counts *counts;

    if (!mr->handle)
        return;
    pthread_mutex_lock(&fake_lock);
    while (*r && *r != mr->handle)
        r = &(*r)->next;
    if (!*r)
        abort(); /* deregistered twice */
    *r = (*r)->next;
    r = NULL;
    counts = fake_count(((struct fake_region *)mr->handle)->side);
    counts->regions--;
    counts->remote_regions -=
        ((struct fake_region *)mr->handle)->access == RMIG_RDMA_WRITE_REMOTE;
    counts->registered_bytes -= ((struct fake_region *)mr->handle)->len_bytes;
    free(mr->handle);
    mr->handle = NULL;
    pthread_mutex_unlock(&fake_lock);
}

/* --- posting ---------------------------------------------------------------------------------- */

int rmig_rdma_verbs_post_recv(struct rmig_rdma_verbs *v, uint64_t wr_id, void *addr,
                              uint32_t len_bytes, uint32_t lkey, struct rmig_err *err)
{
    struct fake_wr wr = { .kind = FAKE_WR_RECV, .wr_id = wr_id, .local = addr,
                          .len_bytes = len_bytes, .lkey = lkey };
    int rc;

    pthread_mutex_lock(&fake_lock);
    rc = fake_enter(v->side, FAKE_POST_RECV, err);
    if (rc == 0 && !v->has_qp)
        rc = rmig_err_set(err, -EINVAL, "post_recv: no queue pair");
    if (rc == 0 && v->recvs_unpolled == v->max_recv_wr)
        rc = rmig_err_set(err, -ENOMEM, "post_recv: %u are outstanding", v->recvs_unpolled);
    if (rc == 0) {
        fake_count(v->side)->recvs++;
        v->recvs_unpolled++;
        fake_script_wr(v->side, &wr);
        fake_push(&v->recvs, wr);
        if (v->failed)
            finish_recv(v, FAKE_WC_WR_FLUSH_ERR, VENDOR_FLUSHED, 0, v->failed_from_ns);
        else if (v->peer)
            fake_progress(v->peer);
    }
    pthread_mutex_unlock(&fake_lock);
    return rc;
}

/* Puts one work request into the send queue. */
static int queue_send(struct rmig_rdma_verbs *v, struct fake_wr *wr, struct rmig_err *err)
{
    struct fake_counts *counts = fake_count(v->side);

    if (!v->has_qp || v->state < FAKE_ACCEPTED || v->state == FAKE_REPLIED)
        return rmig_err_set(err, -EINVAL, "post: the queue pair is not ready to send");
    if (v->sq_posted - v->sq_retired == v->max_send_wr)
        return rmig_err_set(err, -ENOMEM, "post: %u work requests are outstanding",
                            v->max_send_wr);
    fake_script_wr(v->side, wr);
    v->sq[v->sq_posted++ % v->max_send_wr] = *wr;
    if (v->sq_posted - v->sq_retired > counts->deepest_queue)
        counts->deepest_queue = (unsigned)(v->sq_posted - v->sq_retired);
    if (v->failed)
        finish_send(v, FAKE_WC_WR_FLUSH_ERR, VENDOR_FLUSHED, v->failed_from_ns);
    else
        fake_progress(v);
    return 0;
}

int rmig_rdma_verbs_post_send(struct rmig_rdma_verbs *v, uint64_t wr_id, const void *addr,
                              uint32_t len_bytes, uint32_t lkey, struct rmig_err *err)
{
    struct fake_wr wr = { .kind = FAKE_WR_SEND, .wr_id = wr_id, .local = (uint8_t *)addr,
                          .len_bytes = len_bytes, .lkey = lkey, .signalled = true };
    int rc;

    pthread_mutex_lock(&fake_lock);
    rc = fake_enter(v->side, FAKE_POST_SEND, err);
    if (rc == 0) {
        wr.remote_addr = hash(addr, len_bytes);
        rc = queue_send(v, &wr, err);
    }
    if (rc == 0) {
        fake_count(v->side)->doorbells++;
        fake_count(v->side)->sends++;
    }
    pthread_mutex_unlock(&fake_lock);
    return rc;
}

static void count_write(enum fake_side side, const struct rmig_rdma_write *w)
{
    struct fake_counts *counts = fake_count(side);

    if (w->len_bytes == 0) {
        counts->empty_writes++;
        return;
    }
    counts->writes++;
    counts->signalled_writes += w->signalled;
    counts->write_bytes += w->len_bytes;
}

int rmig_rdma_verbs_post_writes(struct rmig_rdma_verbs *v, const struct rmig_rdma_write *writes,
                                unsigned nwrites, struct rmig_err *err)
{
    int rc;

    pthread_mutex_lock(&fake_lock);
    rc = fake_enter(v->side, FAKE_POST_WRITES, err);
    if (nwrites == 0 || nwrites > RMIG_RDMA_POST_MAX)
        fake_set_breach("post_writes of %u writes", nwrites);
    for (unsigned i = 0; rc == 0 && i < nwrites; i++) {
        const struct rmig_rdma_write *w = &writes[i];
        struct fake_wr wr = { .kind = FAKE_WR_WRITE, .wr_id = w->wr_id,
                              .local = (uint8_t *)w->local, .remote_addr = w->remote_addr,
                              .len_bytes = w->len_bytes, .lkey = w->lkey, .rkey = w->rkey,
                              .signalled = w->signalled };

        rc = queue_send(v, &wr, err);
        if (rc == 0)
            count_write(v->side, w);
    }
    if (rc == 0) {
        fake_count(v->side)->doorbells++;
        if (nwrites > fake_count(v->side)->largest_post)
            fake_count(v->side)->largest_post = nwrites;
    }
    pthread_mutex_unlock(&fake_lock);
    return rc;
}
