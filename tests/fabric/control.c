/* SPDX-License-Identifier: BSD-3-Clause */
/* control.c -- what a test program makes go wrong in the fabric, and what it watches. */
#include "tests/fabric/cm.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RULES_MAX 256u
#define DEFAULT_MAX_MR_BYTES (UINT64_C(1) << 40)

/* What is to happen at the call or work request number `at`. */
struct rule {
    int side, what; /* enum api or enum fabric_wr_kind */
    uint64_t at;
    int status; /* errno, completion status or that of a CM event */
    uint32_t vendor_error;
    int event;
    bool used;
};

struct rules {
    struct rule items[RULES_MAX];
    unsigned count;
};

struct host {
    uint32_t max_qp_wr;
    uint64_t max_mr_bytes, pin_limit, sends_at_failure;
    uint32_t pin_ms;
    bool immediate;
    uint64_t calls[API_COUNT], wrs[FABRIC_WR_KINDS];
    struct fabric_counts counts;
    void (*idle)(void *opaque);
    void *idle_opaque;
    bool idling;
};

bool in_process;
atomic_bool black_hole;

/* The lock is for all below; nothing else is taken while it is held. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    struct rules calls, wrs, answers;
    struct host hosts[FABRIC_SIDES];
    unsigned ndevices;
    bool breached;
    char breach[256];
    fabric_tap_fn tap;
    void *tap_opaque;
} control;
static _Thread_local int thread_side;

static struct host *host_of(int side)
{
    return &control.hosts[side];
}

/* --- rules ------------------------------------------------------------------------------------ */

static struct rule *add_rule(struct rules *rules, int side, int what, uint64_t at, int status)
{
    struct rule *rule;

    if (rules->count == RULES_MAX)
        abort();
    rule = &rules->items[rules->count++];
    *rule = (struct rule){ .side = side, .what = what, .at = at, .status = status };
    return rule;
}

/* The rule for what has just been counted, if there is one. */
static struct rule *take_rule(struct rules *rules, int side, int what, uint64_t count_side,
                              uint64_t count_any)
{
    for (unsigned i = 0; i < rules->count; i++) {
        struct rule *rule = &rules->items[i];

        if (rule->used || rule->what != what)
            continue;
        if (rule->side == FABRIC_ANY ? rule->at == count_any
                                     : rule->side == side && rule->at == count_side) {
            rule->used = true;
            return rule;
        }
    }
    return NULL;
}

int control_call(int side, enum api api)
{
    struct host *any = host_of(FABRIC_ANY), *host = host_of(side);
    struct rule *rule;
    int error;

    pthread_mutex_lock(&lock);
    any->calls[api]++;
    if (side != FABRIC_ANY)
        host->calls[api]++;
    rule = take_rule(&control.calls, side, (int)api, host->calls[api], any->calls[api]);
    error = rule ? rule->status : 0;
    if (rule)
        host->sends_at_failure = host->counts.sends;
    pthread_mutex_unlock(&lock);
    return error;
}

bool control_answer(int side, enum api api, int *event, int *status)
{
    struct rule *rule;

    if (!in_process)
        return false;
    pthread_mutex_lock(&lock);
    rule = take_rule(&control.answers, side, (int)api, host_of(side)->calls[api],
                     host_of(FABRIC_ANY)->calls[api]);
    if (rule) {
        *event = rule->event;
        *status = rule->status;
    }
    pthread_mutex_unlock(&lock);
    return rule;
}

static struct rule *next_of_kind(int side, enum fabric_wr_kind kind)
{
    host_of(FABRIC_ANY)->wrs[kind]++;
    host_of(side)->wrs[kind]++;
    return take_rule(&control.wrs, side, (int)kind, host_of(side)->wrs[kind],
                     host_of(FABRIC_ANY)->wrs[kind]);
}

/* Requires: lock. */
static struct rule *next_wr(int side, enum fabric_wr_kind kind, bool empty)
{
    static const enum fabric_wr_kind empties[] = { FABRIC_EMPTY_SEND, FABRIC_EMPTY_WRITE,
                                                   FABRIC_EMPTY_RECV };
    struct rule *of_empty = empty ? next_of_kind(side, empties[kind]) : NULL;
    struct rule *rule = next_of_kind(side, kind);

    return rule ? rule : of_empty;
}

/* --- what the fabric tells -------------------------------------------------------------------- */

int control_thread_side(void)
{
    return in_process ? thread_side : FABRIC_ANY;
}

static void set_breach(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void set_breach(const char *fmt, ...)
{
    va_list args;

    if (control.breached)
        return;
    va_start(args, fmt);
    vsnprintf(control.breach, sizeof(control.breach), fmt, args);
    va_end(args);
    control.breached = true;
}

static uint64_t hash_of(const struct send_wqe *w)
{
    uint64_t h = 0xcbf29ce484222325, word;

    for (uint32_t i = 0; i < w->num_sge; i++) {
        const uint8_t *bytes = (const uint8_t *)w->sge[i].addr;
        uint32_t len = w->sge[i].length;

        for (; len >= sizeof(word); bytes += sizeof(word), len -= (uint32_t)sizeof(word)) {
            memcpy(&word, bytes, sizeof(word));
            h = (h ^ word) * 0x100000001b3;
        }
        for (; len; bytes++, len--)
            h = (h ^ *bytes) * 0x100000001b3;
    }
    return h;
}

static void count_send(struct fabric_counts *counts, const struct send_wqe *w, unsigned in_use)
{
    if (is_send(w)) {
        counts->sends++;
    } else if (w->length == 0) {
        counts->empty_writes++;
    } else {
        counts->writes++;
        counts->signalled_writes += !!(w->flags & IBV_SEND_SIGNALED);
        counts->write_bytes += w->length;
    }
    if (in_use > counts->deepest_queue)
        counts->deepest_queue = in_use;
}

/* in_use: slots of the queue, this one included. */
void control_posted(int side, struct send_wqe *w, unsigned in_use)
{
    enum fabric_wr_kind kind = is_send(w) ? FABRIC_SEND : FABRIC_WRITE;
    struct host *host = host_of(side);
    struct rule *rule;

    if (!in_process)
        return;
    if (is_send(w) && !(w->flags & IBV_SEND_INLINE))
        w->hash = hash_of(w);
    pthread_mutex_lock(&lock);
    if (host->immediate && w->opcode == IBV_WR_SEND)
        w->opcode = IBV_WR_SEND_WITH_IMM;
    rule = next_wr(side, kind, w->length == 0);
    if (rule) {
        w->scripted = (uint8_t)rule->status;
        w->vendor = rule->vendor_error;
    }
    count_send(&host->counts, w, in_use);
    if (control.tap && (is_send(w) || w->length))
        control.tap(control.tap_opaque, (enum fabric_side)side, kind,
                    w->num_sge ? (const void *)w->sge[0].addr : NULL, (uint32_t)w->length,
                    w->remote_addr);
    pthread_mutex_unlock(&lock);
}

void control_doorbell(int side, unsigned nwrites)
{
    struct fabric_counts *counts = &host_of(side)->counts;

    if (!in_process)
        return;
    pthread_mutex_lock(&lock);
    counts->doorbells++;
    if (nwrites > counts->largest_post)
        counts->largest_post = nwrites;
    pthread_mutex_unlock(&lock);
}

void control_received(int side, struct recv_wqe *w)
{
    struct rule *rule;

    if (!in_process)
        return;
    pthread_mutex_lock(&lock);
    host_of(side)->counts.recvs++;
    rule = next_wr(side, FABRIC_RECV, w->num_sge == 0);
    if (rule) {
        w->scripted = (uint8_t)rule->status;
        w->vendor = rule->vendor_error;
    }
    pthread_mutex_unlock(&lock);
}

void control_polled(int side, unsigned completions)
{
    struct fabric_counts *counts = &host_of(side)->counts;

    if (!in_process)
        return;
    pthread_mutex_lock(&lock);
    counts->completions += completions;
    if (completions > counts->largest_poll)
        counts->largest_poll = completions;
    pthread_mutex_unlock(&lock);
}

/* A completion is handed out: up to now its SEND was the device's to read. */
void control_taken(const struct cqe *c)
{
    const struct send_wqe *w;

    if (!in_process || c->wc.status || c->wc.opcode != IBV_WC_SEND || !c->qp)
        return;
    w = &c->qp->sq[(c->done - 1) % c->qp->cap.max_send_wr];
    if ((w->flags & IBV_SEND_INLINE) || hash_of(w) == w->hash)
        return;
    pthread_mutex_lock(&lock);
    set_breach("the buffer of a SEND of %lu bytes changed before its completion", w->length);
    pthread_mutex_unlock(&lock);
}

bool control_pinned(int side, uint64_t length)
{
    const struct host *host = host_of(side);
    struct timespec pause = { 0, 0 };
    bool fits;

    pthread_mutex_lock(&lock);
    pause.tv_nsec = (long)host->pin_ms * 1000000;
    fits = length <= host->pin_limit &&
           host->counts.registered_bytes <= host->pin_limit - length;
    pthread_mutex_unlock(&lock);
    if (pause.tv_nsec)
        nanosleep(&pause, NULL);
    return fits;
}

void control_region(int side, uint64_t length, bool remote, bool registered)
{
    struct fabric_counts *counts = &host_of(side)->counts;

    if (!in_process)
        return;
    pthread_mutex_lock(&lock);
    if (registered) {
        counts->regions++;
        counts->remote_regions += remote;
        counts->registrations++;
        counts->registered_bytes += length;
        if (counts->registered_bytes > counts->peak_registered_bytes)
            counts->peak_registered_bytes = counts->registered_bytes;
    } else {
        counts->regions--;
        counts->remote_regions -= remote;
        counts->registered_bytes -= length;
    }
    pthread_mutex_unlock(&lock);
}

/* An identifier of this side is gone. librdmacm frees the protection domain with the last of them. */
void control_closed(int side)
{
    struct fabric_counts open = {0};

    if (!in_process)
        return;
    cm_count(side, &open);
    pthread_mutex_lock(&lock);
    if (open.endpoints == 0 && host_of(side)->counts.regions)
        set_breach("the last identifier was destroyed with %u regions registered",
                   host_of(side)->counts.regions);
    pthread_mutex_unlock(&lock);
}

void control_limits(int side, struct ibv_device_attr *attr)
{
    if (!in_process)
        return;
    pthread_mutex_lock(&lock);
    attr->max_qp_wr = (int)host_of(side)->max_qp_wr;
    attr->max_mr_size = host_of(side)->max_mr_bytes;
    pthread_mutex_unlock(&lock);
}

unsigned control_devices(unsigned there)
{
    unsigned n = there;

    if (!in_process)
        return there;
    pthread_mutex_lock(&lock);
    if (control.ndevices < n)
        n = control.ndevices;
    pthread_mutex_unlock(&lock);
    return n;
}

bool control_idle(int side)
{
    struct host *host = host_of(side);
    void (*fn)(void *opaque) = NULL;
    void *opaque = NULL;

    if (!in_process)
        return false;
    pthread_mutex_lock(&lock);
    if (!host->idling) {
        fn = host->idle;
        opaque = host->idle_opaque;
        host->idling = fn;
    }
    pthread_mutex_unlock(&lock);
    if (!fn)
        return false;
    fn(opaque);
    pthread_mutex_lock(&lock);
    host->idling = false;
    pthread_mutex_unlock(&lock);
    return true;
}

/* --- controls --------------------------------------------------------------------------------- */

static void begin(void)
{
    in_process = true;
    control.ndevices = 1;
    cm_start();
    cm_grace_ns = 0; /* who asks in one process asks somebody who is there, or nobody */
    for (int side = FABRIC_ANY; side < FABRIC_SIDES; side++)
        if (!device_shared(device_at(0), side))
            abort();
}

void fabric_reset(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, begin);
    for (int side = FABRIC_ANY; side < FABRIC_SIDES; side++) {
        struct fabric_counts c;

        fabric_get_counts((enum fabric_side)side, &c);
        if (c.endpoints || c.listeners || c.regions) {
            fprintf(stderr, "fabric_reset: %u endpoints, %u listeners, %u regions are left\n",
                    c.endpoints, c.listeners, c.regions);
            abort();
        }
    }
    for (int side = FABRIC_ANY; side < FABRIC_SIDES; side++)
        async_forget(&device_shared(device_at(0), side)->v.context);
    atomic_store(&black_hole, false);
    atomic_store(&link_latency_ns, 0);
    pthread_mutex_lock(&lock);
    memset(&control, 0, sizeof(control));
    control.ndevices = 1;
    for (int side = FABRIC_ANY; side < FABRIC_SIDES; side++) {
        host_of(side)->max_qp_wr = MAX_WR;
        host_of(side)->max_mr_bytes = DEFAULT_MAX_MR_BYTES;
        host_of(side)->pin_limit = UINT64_MAX;
    }
    pthread_mutex_unlock(&lock);
}

void fabric_set_thread_side(enum fabric_side side)
{
    thread_side = (int)side;
}

#define SET(what)                   \
    do {                            \
        pthread_mutex_lock(&lock);  \
        what;                       \
        pthread_mutex_unlock(&lock); \
    } while (0)

void fabric_set_devices(unsigned ndevices)
{
    SET(control.ndevices = ndevices);
}

void fabric_set_limits(enum fabric_side side, uint32_t max_qp_wr, uint64_t max_mr_bytes)
{
    SET(host_of(side)->max_qp_wr = max_qp_wr; host_of(side)->max_mr_bytes = max_mr_bytes);
}

void fabric_set_pin_limit(enum fabric_side side, uint64_t limit_bytes)
{
    SET(host_of(side)->pin_limit = limit_bytes);
}

void fabric_set_pin_ms(enum fabric_side side, uint32_t each_ms)
{
    SET(host_of(side)->pin_ms = each_ms);
}

void fabric_fail_call(enum fabric_side side, enum api api, uint64_t kth, int error)
{
    SET(add_rule(&control.calls, side, (int)api, host_of(side)->calls[api] + kth, error));
}

void fabric_fail_wr(enum fabric_side side, enum fabric_wr_kind kind, uint64_t kth,
                    enum ibv_wc_status status, uint32_t vendor_error)
{
    SET(add_rule(&control.wrs, side, (int)kind, host_of(side)->wrs[kind] + kth, (int)status)
            ->vendor_error = vendor_error);
}

void fabric_stall_wr(enum fabric_side side, enum fabric_wr_kind kind, uint64_t kth)
{
    SET(add_rule(&control.wrs, side, (int)kind, host_of(side)->wrs[kind] + kth, SCRIPT_STALL));
}

void fabric_cut_wr(enum fabric_side side, enum fabric_wr_kind kind, uint64_t kth)
{
    SET(add_rule(&control.wrs, side, (int)kind, host_of(side)->wrs[kind] + kth, SCRIPT_CUT));
}

void fabric_answer(enum fabric_side side, enum api api, uint64_t kth, int event, int status)
{
    SET(add_rule(&control.answers, side, (int)api, host_of(side)->calls[api] + kth, status)->event =
            event);
}

void fabric_set_immediate(enum fabric_side side, bool on)
{
    SET(host_of(side)->immediate = on);
}

void fabric_black_hole(void)
{
    cm_settle();
    engine_settle();
    atomic_store(&black_hole, true);
    engine_settle();
}

void fabric_set_delay_ms(uint32_t delay_ms)
{
    atomic_store(&link_latency_ns, (uint64_t)delay_ms * 500000);
}

/* --- watching --------------------------------------------------------------------------------- */

void fabric_get_counts(enum fabric_side side, struct fabric_counts *counts_p)
{
    SET(*counts_p = host_of(side)->counts);
    cm_count((int)side, counts_p);
}

uint64_t fabric_calls(enum fabric_side side, enum api api)
{
    uint64_t calls;

    SET(calls = host_of(side)->calls[api]);
    return calls;
}

uint64_t fabric_sends_at_failure(enum fabric_side side)
{
    uint64_t sends;

    SET(sends = host_of(side)->sends_at_failure);
    return sends;
}

const char *fabric_breach(void)
{
    bool breached;

    SET(breached = control.breached);
    return breached ? control.breach : NULL;
}

void fabric_set_tap(fabric_tap_fn fn, void *opaque)
{
    SET(control.tap = fn; control.tap_opaque = opaque);
}

void fabric_set_idle_hook(enum fabric_side side, void (*fn)(void *opaque), void *opaque)
{
    SET(host_of(side)->idle = fn; host_of(side)->idle_opaque = opaque);
}
