/* bench_move.c -- one run of the source. */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/bench_move.h"

#include <errno.h>
#include <stdio.h>
#include <rmig/rmig.h>

#include "tools/bench_device.h"
#include "tools/bench_progress.h"
#include "tools/bench_proto.h"
#include "tools/bench_units.h"
#include "tools/bench_vm.h"
#include "tools/bench_watch.h"

#define REPLY_MS 10000
/* The destination allocates memory at this rate at least, where it is to do so first. */
#define PREALLOC_BYTES_PER_MS 100000u
#define REPLY_MAX_MS 3600000u
#define ABORTED_MS 10000
#define TIMED_OUT_MS 500
#define LOADED_MS 10000
/* Giving up pinned memory takes the destination its time too. */
#define LOADED_BYTES_PER_MS 500000u

struct move {
    const struct bench_source *source;
    struct bench_result *result;
    struct bench_vm vm;
    struct rmig_source *engine;
    struct bench_watch watch;
    struct bench_progress progress;
    char port[6];
    char their_reason[256]; /* why the destination has no RDMA; "" */
    uint64_t asked_ns;      /* how long it took to learn that */
};

/* --- opening ------------------------------------------------------------------------------------
 */

/* The destination listens, and says where. */
static int ask_for_run(struct move *m, struct rmig_err *err)
{
    const struct bench_params *p = m->source->params;
    struct bench_run run = {.transport = m->result->requested,
                            .pin_all = p->pin_all,
                            .nqueue_pairs = p->nqueue_pairs,
                            .pin_budget_bytes = p->pin_budget_bytes,
                            .odp = p->odp,
                            .dead_peer_ms = p->dead_peer_ms,
                            .idle_timeout_ms = p->idle_timeout_ms};
    uint64_t began_ns = bench_now_ns(), port = 0;
    uint64_t alloc_ms = p->prealloc ? m->source->ram->total_bytes / PREALLOC_BYTES_PER_MS : 0;
    json_t *msg = NULL;
    int rc = bench_ctl_send(m->source->ctl, bench_run_encode(&run), err);

    if (rc == 0)
        rc = bench_ctl_expect(m->source->ctl, "listening",
                              bench_patience_ms(p, REPLY_MS) +
                                  (int)(alloc_ms > REPLY_MAX_MS ? REPLY_MAX_MS : alloc_ms),
                              &msg, err);
    if (rc == 0)
        rc = bench_msg_u64(msg, "port", 1, 65535, &port, err);
    if (rc == 0)
        bench_msg_text(msg, "no_rdma", m->their_reason, sizeof(m->their_reason));
    json_decref(msg);
    m->asked_ns = bench_now_ns() - began_ns;
    snprintf(m->port, sizeof(m->port), "%u", (unsigned)(port & 0xffff));
    return rc;
}

static int new_engine(struct move *m, struct rmig_err *err)
{
    const struct bench_source *s = m->source;
    const struct bench_params *p = s->params;
    bool rdma = m->result->requested != BENCH_TCP && !m->their_reason[0];
    struct rmig_source_opts opts = {
        .struct_size = sizeof(opts),
        .downtime_limit_ms = (uint32_t)(p->downtime_limit_ns / BENCH_NS_PER_MS),
        .deadline_ms = (uint32_t)(p->time_limit_ns / BENCH_NS_PER_MS),
        .tcp_fallback = rdma && m->result->requested == BENCH_AUTO,
        .pin_all = p->pin_all,
        .nqueue_pairs = p->nqueue_pairs,
        .pin_budget_bytes = p->pin_budget_bytes,
        .on_demand = p->odp,
        .dead_peer_ms = p->dead_peer_ms,
        .idle_timeout_ms = p->idle_timeout_ms,
        .max_bandwidth_bytes_per_s = p->max_bandwidth_bytes_per_s,
        .machine = "rdma_migrate_bench",
        .device = p->device[0] ? p->device : NULL,
        .device_port = p->ib_port,
        .use_gid_index = p->gid_index >= 0,
        .gid_index = p->gid_index,
        .progress = bench_progress_wanted(&m->progress) ? bench_progress_update : NULL,
        .progress_opaque = &m->progress,
    };
    char uri[300];

    m->result->rdma = rdma;
    bench_vm_uri(uri, sizeof(uri), rdma, s->host, m->port);
    return rmig_source_new(&m->engine, uri, &bench_vm_ops, &m->vm, &opts, err);
}

static void give_up_move(void *opaque)
{
    (void)rmig_source_cancel(opaque);
}

/* Everything that can be done before the clock starts. */
static int prepare_move(struct move *m, struct rmig_err *err)
{
    int rc = 0;

    m->result->rdma = m->result->requested != BENCH_TCP;
    if (m->result->rdma) /* a name that is wrong is a mistake, no reason for TCP */
        rc = bench_device_check(m->source->params, err);
    if (rc == 0)
        rc = ask_for_run(m, err);
    if (rc == 0)
        rc = new_engine(m, err);
    if (rc == 0)
        rc = bench_watch_start(&m->watch, m->source->ctl, give_up_move, m->engine, "loaded", err);
    return rc;
}

static void close_move(struct move *m)
{
    bench_watch_end(&m->watch);
    rmig_source_free(m->engine);
    m->engine = NULL;
    bench_vm_end(&m->vm);
}

/* --- moving -------------------------------------------------------------------------------------
 */

static void note_fallback(struct move *m, const char *why, uint64_t took_ns)
{
    struct bench_result *r = m->result;

    if (!why[0])
        return;
    r->rdma = false;
    r->fallback_ns = took_ns;
    rmig_err_set(&r->fallback, -ENOTSUP, "%s", why);
    fprintf(stderr, "rdma_migrate_bench: TCP instead of RDMA: %s\n", why);
}

static void take_figures(struct move *m)
{
    struct bench_result *r = m->result;
    struct rmig_move_status status;

    rmig_source_status(m->engine, &status);
    note_fallback(m, status.fallback_reason, status.fallback_ns);
    r->opened = status.setup_ns > 0;
    r->setup_ns = status.setup_ns;
    r->total_ns = status.state == RMIG_MOVE_DONE ? status.elapsed_ns : 0;
    r->downtime_ns = status.downtime_ns;
    r->converged = status.state == RMIG_MOVE_DONE;
    r->rounds = status.round + r->converged; /* and the last one, the guest stopped */
    r->bytes_on_wire = status.wire_bytes;
    r->source_pinned_bytes = status.peak_pinned_bytes;
    r->hook_pages = status.transport_bytes / RMIG_PAGE_BYTES;
    r->normal_pages = status.sent_bytes / RMIG_PAGE_BYTES - r->hook_pages;
    r->zero_pages = status.zero_bytes / RMIG_PAGE_BYTES;
    r->hole_pages = status.hole_bytes / RMIG_PAGE_BYTES;
    r->unsaid_pages = status.unsaid_bytes / RMIG_PAGE_BYTES;
}

/* The clocks of a thread and of the whole process are not read at once. */
static double above(double whole_s, double part_s)
{
    return whole_s > part_s ? whole_s - part_s : 0;
}

/* The guest's work is not the move's. */
static void take_guest_figures(struct move *m)
{
    const struct bench_vm *vm = &m->vm;
    struct bench_result *r = m->result;

    if (!vm->tracker)
        return;
    r->tracker = vm->tracker;
    r->synced_pages = vm->synced_pages;
    r->guest_written_pages = bench_guest_written_pages(vm->guest) - vm->written_before;
    r->guest_ns = vm->guest_ended_ns - vm->guest_began_ns;
    bench_guest_cpu(vm->guest, &r->guest_cpu.user_s, &r->guest_cpu.system_s);
    r->source_cpu.user_s = above(r->source_cpu.user_s, r->guest_cpu.user_s);
    r->source_cpu.system_s = above(r->source_cpu.system_s, r->guest_cpu.system_s);
}

static int loaded_ms(const struct move *m)
{
    uint64_t ms = (unsigned)bench_patience_ms(m->source->params, LOADED_MS) +
                  m->source->ram->total_bytes / LOADED_BYTES_PER_MS;

    return ms > INT32_MAX ? INT32_MAX : (int)ms;
}

static int take_loaded(struct move *m, struct rmig_err *err)
{
    struct bench_result *r = m->result;
    struct bench_loaded loaded;
    json_t *msg = NULL;
    int rc = bench_watch_wait(&m->watch, loaded_ms(m), &msg, err);

    if (rc == 0)
        rc = bench_loaded_decode(msg, &loaded, err);
    json_decref(msg);
    if (rc < 0)
        return rc;
    r->destination_cpu = (struct bench_cpu){loaded.user_cpu_s, loaded.system_cpu_s};
    r->destination_pinned_bytes = loaded.peak_pinned_bytes;
    return 0;
}

static int move_ram(struct move *m, struct rmig_err *err)
{
    struct bench_cpu began = bench_cpu_now();
    int rc;

    note_fallback(m, m->their_reason, m->asked_ns);
    rc = rmig_source_run(m->engine, err);
    m->result->source_cpu = bench_cpu_since(began);
    bench_progress_end(&m->progress);
    take_figures(m);
    take_guest_figures(m);
    return rc < 0 ? rc : take_loaded(m, err);
}

static void check_limits(struct move *m)
{
    const struct bench_params *p = m->source->params;
    struct bench_result *r = m->result;
    char took[24], limit[24];

    if (r->status != BENCH_OK || !m->source->guest || r->downtime_ns <= p->downtime_limit_ns)
        return;
    bench_format_ns(took, sizeof(took), r->downtime_ns);
    bench_format_ns(limit, sizeof(limit), p->downtime_limit_ns);
    rmig_err_set(&r->err, -ETIME, "downtime %s is over the limit of %s", took, limit);
    r->status = BENCH_LIMIT;
}

/* --- what failed --------------------------------------------------------------------------------
 */

/* RDMA is not to be had here or there, as opposed to: it is, and there was no way through. */
static bool no_device(int code)
{
    return code == -ENODEV || code == -ENOENT || code == -ENOEXEC || code == -ENOMEM ||
           code == -ENOTSUP || code == -EPERM || code == -ENOSYS || code == -EADDRNOTAVAIL;
}

static enum bench_exit status_of(const struct move *m, int code)
{
    const struct bench_result *r = m->result;

    if (code == -ETIME)
        return BENCH_LIMIT;
    if (r->opened || rmig_cancel_triggered(m->source->ctl->stop))
        return BENCH_TRANSFER;
    if (!no_device(code) || (r->requested != BENCH_RDMA && !m->source->params->device[0]))
        return BENCH_CONNECT;
    return BENCH_NO_DEVICE;
}

/* A destination that has just let a deadline pass is not given another one. */
static int aborted_ms(const struct move *m, int rc)
{
    return rc == -ETIMEDOUT ? TIMED_OUT_MS : bench_patience_ms(m->source->params, ABORTED_MS);
}

/* The destination was told: wait until nothing of the run is left there. Then another may come. */
static int await_aborted(struct move *m, int most_ms)
{
    struct bench_ctl *ctl = m->source->ctl;
    uint64_t deadline_ns = bench_now_ns() + (uint64_t)(unsigned)most_ms * BENCH_NS_PER_MS;
    bool aborted;
    int rc = 0;

    bench_watch_end(&m->watch);
    aborted = m->watch.aborted;
    while (rc == 0 && !aborted && bench_now_ns() < deadline_ns) {
        json_t *msg = NULL;

        rc = bench_ctl_recv(ctl, most_ms, &msg, NULL);
        aborted = rc == 0 && bench_ctl_is(msg, "aborted");
        json_decref(msg);
    }
    return aborted ? 0 : rc < 0 ? rc : -ETIMEDOUT;
}

static void fail(struct move *m, int rc, struct rmig_err *err)
{
    bool stopped = rmig_cancel_triggered(m->source->ctl->stop);
    struct bench_result *r = m->result;

    if (stopped) {
        *err = (struct rmig_err)RMIG_ERR_INIT;
        rc = rmig_err_set(err, -ECANCELED, "cancelled");
    } else if (bench_watch_knows(&m->watch, err)) {
        rc = bench_watch_reason(&m->watch, err);
    }
    bench_ctl_send_error(m->source->ctl, err);
    if (!stopped)
        rc = bench_watch_reason(&m->watch, err);
    r->status = status_of(m, rc);
    r->err = *err;
    r->session_over = await_aborted(m, aborted_ms(m, rc)) < 0 || r->status == BENCH_TRANSFER;
}

void bench_move(const struct bench_source *source, struct bench_result *result)
{
    struct move m = {.source = source,
                     .result = result,
                     .vm = {.params = source->params, .ram = source->ram, .guest = source->guest}};
    struct rmig_err err = RMIG_ERR_INIT;
    int rc;

    result->ram_bytes = source->ram->total_bytes;
    result->nblocks = source->ram->nblocks;
    bench_progress_begin(&m.progress, source->params, source->stream, result->run);
    rc = prepare_move(&m, &err);
    if (rc == 0)
        rc = move_ram(&m, &err);
    if (rc < 0)
        fail(&m, rc, &err);
    close_move(&m);
    if (result->status == BENCH_LIMIT && source->guest)
        bench_verify_source(source, result);
    if (rc < 0)
        return;
    rc = bench_verify(source, result, &err);
    if (rc < 0)
        fail(&m, rc, &err);
    check_limits(&m);
}
