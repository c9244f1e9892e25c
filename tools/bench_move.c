/* bench_move.c -- one run of the source. */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/bench_move.h"

#include <errno.h>
#include <stdio.h>
#include <rmig/rmig.h>

#include "tools/bench_data.h"
#include "tools/bench_device.h"
#include "tools/bench_live.h"
#include "tools/bench_progress.h"
#include "tools/bench_proto.h"
#include "tools/bench_units.h"
#include "tools/bench_watch.h"

/* With --transport=auto the attempt at RDMA ends in 3 s, whatever stands in its way. */
#define AUTO_REPLY_MS 1200
#define AUTO_CONNECT_MS 1400
#define REPLY_MS 10000
#define CONNECT_MS 3000
#define ABORTED_MS 10000
#define LOADED_MS 10000
/* Giving up pinned memory takes the destination its time too. */
#define LOADED_BYTES_PER_MS 500000u
#define SHOWN_WINDOW_MS 100

struct move {
    const struct bench_source *source;
    struct bench_result *result;
    struct rmig_cancel *cancel;
    struct bench_watch watch;
    struct bench_data data;
    struct rmig_save *save;
    struct bench_progress progress;
    struct bench_cpu cpu_began;
    uint64_t began_ns;
    char port[6];
};

/* --- opening ------------------------------------------------------------------------------------
 */

static int ask_for_run(struct move *m, bool rdma, int reply_ms, struct rmig_err *err)
{
    const struct bench_params *p = m->source->params;
    struct bench_run run = {.rdma = rdma, .pin_all = p->pin_all, .nqueue_pairs = p->nqueue_pairs};
    json_t *msg = NULL;
    uint64_t port = 0;
    int rc = bench_ctl_send(m->source->ctl, bench_run_encode(&run), err);

    if (rc == 0)
        rc = bench_ctl_expect(m->source->ctl, "listening", reply_ms, &msg, err);
    if (rc == 0)
        rc = bench_msg_u64(msg, "port", 1, 65535, &port, err);
    json_decref(msg);
    snprintf(m->port, sizeof(m->port), "%u", (unsigned)(port & 0xffff));
    return rc;
}

static int start_save(struct move *m, struct rmig_err *err)
{
    const struct bench_source *s = m->source;
    struct rmig_save_opts opts = {
        .machine = "rdma_migrate_bench",
        .max_bandwidth_bytes_per_s = s->params->max_bandwidth_bytes_per_s,
        .window_ms = bench_progress_wanted(&m->progress) ? SHOWN_WINDOW_MS : 0,
        .cancel = m->cancel,
        .progress = bench_progress_update,
        .progress_opaque = &m->progress,
    };
    int rc = rmig_save_new(&m->save, m->data.out, s->ram->blocks, s->ram->nblocks, &opts, err);

    return rc < 0 ? rc : rmig_save_setup(m->save, err);
}

/* Everything until the first page could go. On failure the caller gives the attempt up. */
static int open_with(struct move *m, bool rdma, bool hurry, struct rmig_err *err)
{
    const struct bench_source *s = m->source;
    struct bench_data_opts opts = {
        .rdma = rdma,
        .host = s->host,
        .port = m->port,
        .params = s->params,
        .pin_all = s->params->pin_all,
        .nqueue_pairs = s->params->nqueue_pairs,
        .total_ram_bytes = s->ram->total_bytes,
        .connect_timeout_ms = hurry ? AUTO_CONNECT_MS : CONNECT_MS,
        .cancel = m->cancel,
    };
    int rc = bench_data_init(&m->data, &opts, err);

    m->result->rdma = rdma;
    m->began_ns = bench_now_ns();
    m->cpu_began = bench_cpu_now();
    if (rc < 0)
        return rc;
    rc = ask_for_run(m, rdma, hurry ? AUTO_REPLY_MS : REPLY_MS, err);
    if (rc == 0)
        rc = bench_watch_start(&m->watch, s->ctl, m->cancel, "loaded", err);
    if (rc == 0)
        rc = bench_data_connect(&m->data, err);
    if (rc == 0)
        rc = start_save(m, err);
    m->result->setup_ns = bench_now_ns() - m->began_ns;
    return rc;
}

static void close_attempt(struct move *m)
{
    rmig_cancel_trigger(m->cancel); /* closing is not to wait for a peer */
    rmig_save_free(m->save);
    m->save = NULL;
    bench_data_close(&m->data);
    bench_watch_end(&m->watch);
    rmig_cancel_free(m->cancel);
    m->cancel = NULL;
}

/* Tell the destination, and wait until nothing of the attempt is left there. */
static int give_up(struct move *m, const struct rmig_err *why, struct rmig_err *err)
{
    struct bench_ctl *ctl = m->source->ctl;
    uint64_t deadline_ns = bench_now_ns() + ABORTED_MS * BENCH_NS_PER_MS;
    int rc;

    close_attempt(m);
    rc = rmig_cancel_new(&m->cancel, err);
    if (rc == 0) {
        bench_ctl_send_error(ctl, why);
        while (rc == 0 && bench_now_ns() < deadline_ns) {
            json_t *msg = NULL;
            bool aborted;

            rc = bench_ctl_recv(ctl, ABORTED_MS, &msg, err);
            aborted = rc == 0 && bench_ctl_is(msg, "aborted");
            json_decref(msg);
            if (aborted)
                return 0;
        }
    }
    return rc < 0 ? rc
                  : rmig_err_set(err, -ETIMEDOUT, "%s: did not give up the attempt", ctl->peer);
}

/* RDMA is not to be had here or there, as opposed to: it is, and there was no way through. */
static bool no_device(int code)
{
    return code == -ENODEV || code == -ENOENT || code == -ENOEXEC || code == -ENOMEM ||
           code == -ENOTSUP || code == -EPERM || code == -ENOSYS || code == -EADDRNOTAVAIL;
}

static enum bench_exit open_status(bool rdma, int code)
{
    return rdma && no_device(code) ? BENCH_NO_DEVICE : BENCH_CONNECT;
}

static int open_rdma(struct move *m, struct rmig_err *err)
{
    bool automatic = m->result->requested == BENCH_AUTO;
    uint64_t began_ns = bench_now_ns();
    struct rmig_err why = RMIG_ERR_INIT;
    int rc = bench_device_check(m->source->params, err);

    if (rc < 0) /* a name that is wrong is a mistake, and no reason to go on without it */
        return rc;
    rc = open_with(m, true, automatic, &why);
    if (rc == 0)
        return 0;
    rc = bench_watch_reason(&m->watch, &why);
    if (!automatic || rmig_cancel_triggered(m->source->ctl->stop)) {
        *err = why;
        return rc;
    }
    rc = give_up(m, &why, err);
    if (rc < 0)
        return rc;
    m->result->fallback = why;
    m->result->fallback_ns = bench_now_ns() - began_ns;
    fprintf(stderr, "rdma_migrate_bench: TCP instead of RDMA: %s\n", why.msg);
    return open_with(m, false, false, err);
}

static int open_move(struct move *m, struct rmig_err *err)
{
    int rc = rmig_cancel_new(&m->cancel, err);

    if (rc < 0)
        return rc;
    rc = m->result->requested == BENCH_TCP ? open_with(m, false, false, err) : open_rdma(m, err);
    if (rc < 0 && m->watch.running)
        rc = bench_watch_reason(&m->watch, err);
    return rc;
}

/* --- moving -------------------------------------------------------------------------------------
 */

static int loaded_ms(const struct move *m)
{
    uint64_t ms = LOADED_MS + m->source->ram->total_bytes / LOADED_BYTES_PER_MS;

    return ms > INT32_MAX ? INT32_MAX : (int)ms;
}

static int wait_loaded(struct move *m, const struct bench_live *live, struct rmig_err *err)
{
    struct bench_result *r = m->result;
    struct bench_loaded loaded;
    json_t *msg = NULL;
    int rc = bench_watch_wait(&m->watch, loaded_ms(m), &msg, err);
    uint64_t now = bench_now_ns();

    if (rc == 0)
        rc = bench_loaded_decode(msg, &loaded, err);
    json_decref(msg);
    if (rc < 0)
        return rc;
    r->total_ns = now - m->began_ns;
    r->downtime_ns = now - live->stopped_ns;
    r->destination_cpu = (struct bench_cpu){loaded.user_cpu_s, loaded.system_cpu_s};
    r->destination_pinned_bytes = loaded.peak_pinned_bytes;
    return 0;
}

static void take_figures(struct move *m, const struct bench_live *live)
{
    const struct rmig_ram_stats *stats = rmig_save_stats(m->save);
    struct bench_result *r = m->result;

    r->source_cpu = bench_cpu_since(m->cpu_began);
    r->bytes_on_wire = bench_data_wire_bytes(&m->data);
    r->source_pinned_bytes = bench_data_peak_pinned_bytes(&m->data);
    r->rounds = stats->rounds;
    r->normal_pages = stats->normal_pages;
    r->hook_pages = stats->hook_pages;
    r->zero_pages = stats->zero_pages;
    r->hole_pages = stats->hole_pages;
    r->converged = live->converged;
    if (!live->guest)
        return;
    r->tracker = live->tracker;
    r->synced_pages = live->synced_pages;
    r->guest_written_pages = live->written_pages;
    r->guest_ns = live->stopped_ns - live->guest_began_ns;
    bench_guest_cpu(live->guest, &r->guest_cpu.user_s, &r->guest_cpu.system_s);
    r->source_cpu.user_s -= r->guest_cpu.user_s; /* the guest's work is not the move's */
    r->source_cpu.system_s -= r->guest_cpu.system_s;
}

static int transfer(struct move *m, struct rmig_err *err)
{
    const struct bench_source *s = m->source;
    struct bench_live live = {
        .params = s->params, .ram = s->ram, .guest = s->guest, .save = m->save};
    int rc = bench_live_passes(&live, err);

    if (rc == 0)
        rc = rmig_save_end(m->save, err);
    if (rc == 0)
        rc = bench_data_finish(&m->data, err);
    if (rc == 0)
        rc = wait_loaded(m, &live, err);
    if (rc == 0)
        take_figures(m, &live);
    rmig_dirty_free(live.dirty);
    bench_progress_end(&m->progress);
    return rc < 0 ? bench_watch_reason(&m->watch, err) : 0;
}

static void check_limits(struct move *m)
{
    const struct bench_params *p = m->source->params;
    struct bench_result *r = m->result;
    char took[24], limit[24];

    if (r->status != BENCH_OK || !m->source->guest)
        return;
    bench_format_ns(took, sizeof(took), r->downtime_ns);
    bench_format_ns(limit, sizeof(limit), p->downtime_limit_ns);
    if (!r->converged)
        rmig_err_set(
            &r->err, -ETIME,
            "did not converge in %llu passes: the guest was then stopped for %s, the limit is %s",
            (unsigned long long)(r->rounds - 1), took, limit);
    else if (r->downtime_ns > p->downtime_limit_ns)
        rmig_err_set(&r->err, -ETIME, "downtime %s is over the limit of %s", took, limit);
    if (r->err.code)
        r->status = BENCH_LIMIT;
}

/* What a run that did not open or move ends with. */
static void note_failure(struct move *m, enum bench_exit status, struct rmig_err *err)
{
    struct bench_result *r = m->result;

    if (rmig_cancel_triggered(m->source->ctl->stop)) {
        *err = (struct rmig_err)RMIG_ERR_INIT;
        rmig_err_set(err, -ECANCELED, "cancelled");
        status = BENCH_TRANSFER;
    }
    r->status = status;
    r->err = *err;
}

static void fail(struct move *m, struct rmig_err *err)
{
    note_failure(m, BENCH_TRANSFER, err);
    m->result->session_over = true;
    bench_ctl_send_error(m->source->ctl, err);
}

/* The destination is as it was before: another transport may be tried. */
static void fail_open(struct move *m, int code, struct rmig_err *err)
{
    note_failure(m, open_status(m->result->rdma, code), err);
    m->result->session_over = give_up(m, err, NULL) < 0;
    close_attempt(m);
}

void bench_move(const struct bench_source *source, struct bench_result *result)
{
    struct move m = {.source = source, .result = result};
    struct rmig_err err = RMIG_ERR_INIT;
    int rc;

    result->ram_bytes = source->ram->total_bytes;
    result->nblocks = source->ram->nblocks;
    bench_progress_begin(&m.progress, source->params->interval_ns);
    rc = open_move(&m, &err);
    if (rc < 0) {
        fail_open(&m, rc, &err);
        return;
    }
    rc = transfer(&m, &err);
    if (rc < 0)
        fail(&m, &err);
    close_attempt(&m);
    if (rc < 0)
        return;
    rc = bench_verify(source, result, &err);
    if (rc < 0)
        fail(&m, &err);
    check_limits(&m);
}
