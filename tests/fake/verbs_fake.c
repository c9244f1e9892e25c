/* SPDX-License-Identifier: BSD-3-Clause */
/* verbs_fake.c -- the fake's controls: scripted failures, counts, the host it pretends to be. */
#include "tests/fake/fake_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RULES_MAX 256
#define DEFAULT_MAX_QP_WR 16351u
#define DEFAULT_MAX_MR_BYTES (UINT64_C(1) << 40)
#define DEVICE_NAME "fake0"

pthread_mutex_t fake_lock = PTHREAD_MUTEX_INITIALIZER;

/* What is to happen at the call or work request number `at`. */
struct rule {
    enum fake_side side;
    int what; /* enum fake_call or enum fake_wr_kind */
    uint64_t at;
    int status; /* errno, completion status or CM status */
    uint32_t vendor_error;
    enum rmig_rdma_cm_event_type event;
    bool used;
};

struct rules {
    struct rule items[RULES_MAX];
    unsigned count;
};

static struct {
    unsigned ndevices;
    uint32_t max_qp_wr[FAKE_SIDES];
    uint64_t max_mr_bytes[FAKE_SIDES];
    uint64_t pin_limit[FAKE_SIDES];
    uint32_t pin_ms[FAKE_SIDES];
    struct rules call_rules, wr_rules, answer_rules;
    uint64_t calls[FAKE_SIDES][FAKE_CALLS];
    uint64_t sends_at_failure[FAKE_SIDES];
    uint64_t wrs[FAKE_SIDES][FAKE_WR_KINDS];
    struct fake_counts counts[FAKE_SIDES];
    bool immediate[FAKE_SIDES];
    bool black_hole;
    uint64_t delay_ns;
    bool breached;
    char breach[256];
    fake_tap_fn tap;
    void *tap_opaque;
    struct {
        void (*fn)(void *opaque);
        void *opaque;
        bool running;
    } idle[FAKE_SIDES];
} fake = {
    .ndevices = 1,
    .max_qp_wr = { DEFAULT_MAX_QP_WR, DEFAULT_MAX_QP_WR, DEFAULT_MAX_QP_WR },
    .max_mr_bytes = { DEFAULT_MAX_MR_BYTES, DEFAULT_MAX_MR_BYTES, DEFAULT_MAX_MR_BYTES },
    .pin_limit = { UINT64_MAX, UINT64_MAX, UINT64_MAX },
};

const char *fake_call_name(enum fake_call call)
{
    static const char *const names[FAKE_CALLS] = {
        [FAKE_COUNT_DEVICES] = "count_devices",
        [FAKE_DEVICE_ADDRESS] = "device_address",
        [FAKE_OPEN] = "open",
        [FAKE_RESOLVE_ADDR] = "resolve_addr",
        [FAKE_RESOLVE_ROUTE] = "resolve_route",
        [FAKE_QUERY_DEVICE] = "query_device",
        [FAKE_SET_ACK_TIMEOUT] = "set_ack_timeout",
        [FAKE_CREATE_QP] = "create_qp",
        [FAKE_CONNECT] = "connect",
        [FAKE_ACCEPT] = "accept",
        [FAKE_REJECT] = "reject",
        [FAKE_DISCONNECT] = "disconnect",
        [FAKE_LISTEN] = "listen",
        [FAKE_GET_REQUEST] = "get_request",
        [FAKE_GET_CM_EVENT] = "get_cm_event",
        [FAKE_ARM] = "arm",
        [FAKE_TAKE_CQ_EVENTS] = "take_cq_events",
        [FAKE_POLL] = "poll",
        [FAKE_REG_MR] = "reg_mr",
        [FAKE_POST_RECV] = "post_recv",
        [FAKE_POST_SEND] = "post_send",
        [FAKE_POST_WRITES] = "post_writes",
    };

    return names[call];
}

/* --- rules ------------------------------------------------------------------------------------ */

static struct rule *add_rule(struct rules *rules, enum fake_side side, int what, uint64_t at,
                             int status)
{
    struct rule *rule;

    if (rules->count == RULES_MAX)
        abort();
    rule = &rules->items[rules->count++];
    *rule = (struct rule){ .side = side, .what = what, .at = at, .status = status };
    return rule;
}

/* The rule for what has just been counted, if there is one. */
static struct rule *take_rule(struct rules *rules, enum fake_side side, int what,
                              uint64_t count_side, uint64_t count_any)
{
    for (unsigned i = 0; i < rules->count; i++) {
        struct rule *rule = &rules->items[i];

        if (rule->used || rule->what != what)
            continue;
        if ((rule->side == FAKE_ANY && rule->at == count_any) ||
            (rule->side == side && side != FAKE_ANY && rule->at == count_side)) {
            rule->used = true;
            return rule;
        }
    }
    return NULL;
}

int fake_enter(enum fake_side side, enum fake_call call, struct rmig_err *err)
{
    struct rule *rule;

    fake.calls[FAKE_ANY][call]++;
    if (side != FAKE_ANY)
        fake.calls[side][call]++;
    rule = take_rule(&fake.call_rules, side, (int)call, fake.calls[side][call],
                     fake.calls[FAKE_ANY][call]);
    if (!rule)
        return 0;
    fake.sends_at_failure[side] = fake.calls[side][FAKE_POST_SEND];
    return rmig_err_set(err, -rule->status, "%s: scripted to fail: %s", fake_call_name(call),
                        strerror(rule->status));
}

void fake_script_wr(enum fake_side side, struct fake_wr *wr)
{
    struct rule *rule;

    fake.wrs[FAKE_ANY][wr->kind]++;
    fake.wrs[side][wr->kind]++;
    rule = take_rule(&fake.wr_rules, side, (int)wr->kind, fake.wrs[side][wr->kind],
                     fake.wrs[FAKE_ANY][wr->kind]);
    if (!rule)
        return;
    wr->scripted_status = rule->status;
    wr->scripted_vendor = rule->vendor_error;
}

bool fake_answered(struct rmig_rdma_verbs *v, enum fake_call call)
{
    struct rule *rule = take_rule(&fake.answer_rules, v->side, (int)call,
                                  fake.calls[v->side][call], fake.calls[FAKE_ANY][call]);

    if (rule && rule->event)
        fake_queue_event(v, rule->event, rule->status, NULL, 0, 0);
    return rule != NULL;
}

/* --- controls --------------------------------------------------------------------------------- */

void fake_reset(void)
{
    pthread_mutex_lock(&fake_lock);
    for (int side = FAKE_ACTIVE; side < FAKE_SIDES; side++) {
        const struct fake_counts *c = &fake.counts[side];

        if (c->endpoints || c->listeners || c->regions) {
            fprintf(stderr, "fake_reset: %u endpoints, %u listeners, %u regions are left\n",
                    c->endpoints, c->listeners, c->regions);
            abort();
        }
    }
    memset(&fake, 0, sizeof(fake));
    fake.ndevices = 1;
    for (int side = 0; side < FAKE_SIDES; side++) {
        fake.max_qp_wr[side] = DEFAULT_MAX_QP_WR;
        fake.max_mr_bytes[side] = DEFAULT_MAX_MR_BYTES;
        fake.pin_limit[side] = UINT64_MAX;
    }
    pthread_mutex_unlock(&fake_lock);
}

void fake_set_devices(unsigned ndevices)
{
    pthread_mutex_lock(&fake_lock);
    fake.ndevices = ndevices;
    pthread_mutex_unlock(&fake_lock);
}

void fake_set_limits(enum fake_side side, uint32_t max_qp_wr, uint64_t max_mr_bytes)
{
    pthread_mutex_lock(&fake_lock);
    fake.max_qp_wr[side] = max_qp_wr;
    fake.max_mr_bytes[side] = max_mr_bytes;
    pthread_mutex_unlock(&fake_lock);
}

void fake_set_pin_limit(enum fake_side side, uint64_t limit_bytes)
{
    pthread_mutex_lock(&fake_lock);
    fake.pin_limit[side] = limit_bytes;
    pthread_mutex_unlock(&fake_lock);
}

void fake_set_pin_ms(enum fake_side side, uint32_t each_ms)
{
    pthread_mutex_lock(&fake_lock);
    fake.pin_ms[side] = each_ms;
    pthread_mutex_unlock(&fake_lock);
}

void fake_fail_call(enum fake_side side, enum fake_call call, uint64_t kth, int error)
{
    pthread_mutex_lock(&fake_lock);
    add_rule(&fake.call_rules, side, (int)call, fake.calls[side][call] + kth, error);
    pthread_mutex_unlock(&fake_lock);
}

void fake_fail_wr(enum fake_side side, enum fake_wr_kind kind, uint64_t kth, int status,
                  uint32_t vendor_error)
{
    pthread_mutex_lock(&fake_lock);
    add_rule(&fake.wr_rules, side, (int)kind, fake.wrs[side][kind] + kth, status)->vendor_error =
        vendor_error;
    pthread_mutex_unlock(&fake_lock);
}

void fake_answer(enum fake_side side, enum fake_call call, uint64_t kth,
                 enum rmig_rdma_cm_event_type type, int status)
{
    pthread_mutex_lock(&fake_lock);
    add_rule(&fake.answer_rules, side, (int)call, fake.calls[side][call] + kth, status)->event =
        type;
    pthread_mutex_unlock(&fake_lock);
}

bool fake_inject(enum fake_side side, unsigned index, enum rmig_rdma_cm_event_type type, int status)
{
    bool found = false;

    pthread_mutex_lock(&fake_lock);
    for (struct rmig_rdma_verbs *v = fake_endpoints(); v && !found; v = v->next) {
        if (v->side != side || index--)
            continue;
        fake_queue_event(v, type, status, NULL, 0, 0);
        found = true;
    }
    pthread_mutex_unlock(&fake_lock);
    return found;
}

void fake_set_immediate(enum fake_side side, bool on)
{
    pthread_mutex_lock(&fake_lock);
    fake.immediate[side] = on;
    pthread_mutex_unlock(&fake_lock);
}

void fake_black_hole(void)
{
    pthread_mutex_lock(&fake_lock);
    fake.black_hole = true;
    for (struct rmig_rdma_verbs *v = fake_endpoints(); v; v = v->next)
        fake_progress(v);
    pthread_mutex_unlock(&fake_lock);
}

void fake_set_delay_ms(uint32_t delay_ms)
{
    pthread_mutex_lock(&fake_lock);
    fake.delay_ns = (uint64_t)delay_ms * 1000000;
    pthread_mutex_unlock(&fake_lock);
}

/* --- watching --------------------------------------------------------------------------------- */

void fake_get_counts(enum fake_side side, struct fake_counts *counts_p)
{
    pthread_mutex_lock(&fake_lock);
    *counts_p = fake.counts[side];
    pthread_mutex_unlock(&fake_lock);
}

uint64_t fake_calls(enum fake_side side, enum fake_call call)
{
    uint64_t calls;

    pthread_mutex_lock(&fake_lock);
    calls = fake.calls[side][call];
    pthread_mutex_unlock(&fake_lock);
    return calls;
}

uint64_t fake_sends_at_failure(enum fake_side side)
{
    uint64_t sends;

    pthread_mutex_lock(&fake_lock);
    sends = fake.sends_at_failure[side];
    pthread_mutex_unlock(&fake_lock);
    return sends;
}

const char *fake_breach(void)
{
    bool breached;

    pthread_mutex_lock(&fake_lock);
    breached = fake.breached;
    pthread_mutex_unlock(&fake_lock);
    return breached ? fake.breach : NULL;
}

void fake_set_breach(const char *fmt, ...)
{
    va_list args;

    if (fake.breached)
        return;
    va_start(args, fmt);
    vsnprintf(fake.breach, sizeof(fake.breach), fmt, args);
    va_end(args);
    fake.breached = true;
}

void fake_set_tap(fake_tap_fn fn, void *opaque)
{
    pthread_mutex_lock(&fake_lock);
    fake.tap = fn;
    fake.tap_opaque = opaque;
    pthread_mutex_unlock(&fake_lock);
}

void fake_tap(enum fake_side from, const struct fake_wr *wr)
{
    if (fake.tap)
        fake.tap(fake.tap_opaque, from, wr->kind, wr->local, wr->len_bytes, wr->remote_addr);
}

void fake_set_idle_hook(enum fake_side side, void (*fn)(void *opaque), void *opaque)
{
    pthread_mutex_lock(&fake_lock);
    fake.idle[side].fn = fn;
    fake.idle[side].opaque = opaque;
    pthread_mutex_unlock(&fake_lock);
}

bool fake_idle(enum fake_side side)
{
    if (!fake.idle[side].fn || fake.idle[side].running)
        return false;
    fake.idle[side].running = true;
    pthread_mutex_unlock(&fake_lock);
    fake.idle[side].fn(fake.idle[side].opaque);
    pthread_mutex_lock(&fake_lock);
    fake.idle[side].running = false;
    return true;
}

struct fake_counts *fake_count(enum fake_side side)
{
    return &fake.counts[side];
}

bool fake_is_black_hole(void)
{
    return fake.black_hole;
}

bool fake_is_immediate(enum fake_side side)
{
    return fake.immediate[side];
}

uint64_t fake_delay_ns(void)
{
    return fake.delay_ns;
}

uint64_t fake_pin_limit(enum fake_side side)
{
    return fake.pin_limit[side];
}

uint32_t fake_pin_ms(enum fake_side side)
{
    return fake.pin_ms[side];
}

unsigned fake_devices(void)
{
    return fake.ndevices;
}

void fake_limits(enum fake_side side, struct rmig_rdma_device_attr *attr_p)
{
    *attr_p = (struct rmig_rdma_device_attr){ .name = DEVICE_NAME,
                                              .max_qp_wr = fake.max_qp_wr[side],
                                              .max_cqe = 2 * fake.max_qp_wr[side],
                                              .max_mr_bytes = fake.max_mr_bytes[side] };
}

/* --- devices ---------------------------------------------------------------------------------- */

int rmig_rdma_verbs_count_devices(struct rmig_err *err)
{
    int rc;

    pthread_mutex_lock(&fake_lock);
    rc = fake_enter(FAKE_ANY, FAKE_COUNT_DEVICES, err);
    if (rc == 0)
        rc = fake.ndevices ? (int)fake.ndevices
                           : rmig_err_set(err, -ENODEV, "no RDMA device on this host");
    pthread_mutex_unlock(&fake_lock);
    return rc;
}

int rmig_rdma_verbs_device_address(const char *device, uint32_t port, int gid_index,
                                   struct sockaddr_storage *addr_p, struct rmig_err *err)
{
    int rc;

    pthread_mutex_lock(&fake_lock);
    rc = fake_enter(FAKE_ANY, FAKE_DEVICE_ADDRESS, err);
    if (rc == 0 && (!fake.ndevices || strcmp(device, DEVICE_NAME)))
        rc = rmig_err_set(err, -ENODEV, "no RDMA device %.64s; this host has: %s", device,
                          fake.ndevices ? DEVICE_NAME : "none");
    else if (rc == 0 && (port != 1 || gid_index > 0))
        rc = rmig_err_set(err, -EADDRNOTAVAIL, "RDMA device %.64s port %u has no GID index %d",
                          device, port, gid_index);
    pthread_mutex_unlock(&fake_lock);
    if (rc < 0)
        return rc;
    memset(addr_p, 0, sizeof(*addr_p));
    ((struct sockaddr_in *)addr_p)->sin_family = AF_INET;
    ((struct sockaddr_in *)addr_p)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return 0;
}

const char *rmig_rdma_verbs_status_text(int status)
{
    static const char *const texts[FAKE_WC_END] = {
        [FAKE_WC_SUCCESS] = "success",
        [FAKE_WC_LOC_LEN_ERR] = "local length error",
        [FAKE_WC_LOC_QP_OP_ERR] = "local QP operation error",
        [FAKE_WC_LOC_PROT_ERR] = "local protection error",
        [FAKE_WC_WR_FLUSH_ERR] = "Work Request Flushed Error",
        [FAKE_WC_REM_INV_REQ_ERR] = "remote invalid request error",
        [FAKE_WC_REM_ACCESS_ERR] = "remote access error",
        [FAKE_WC_REM_OP_ERR] = "remote operation error",
        [FAKE_WC_RETRY_EXC_ERR] = "transport retry counter exceeded",
        [FAKE_WC_RNR_RETRY_EXC_ERR] = "RNR retry counter exceeded",
        [FAKE_WC_GENERAL_ERR] = "general error",
    };

    return status >= 0 && status < FAKE_WC_END && texts[status] ? texts[status] : "other error";
}
