/* SPDX-License-Identifier: BSD-3-Clause */
/* source.c -- the source of a move: connect, rounds, switchover, and the guest that must not be lost. */
#include <rmig/migrate.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/overflow.h"
#include "migrate/link.h"
#include "migrate/move.h"
#include "migrate/pace.h"
#include "migrate/switchover.h"

#define DOWNTIME_LIMIT_MS 300u
#define CONNECT_MS 3000u
/* With a fallback the attempt at RDMA must leave time for the other. */
#define HURRY_MS 1400u
/* How often a long round tells how far it is. */
#define WINDOW_MS 250u

struct rmig_source {
    struct rmig_move move; /* first */
    struct rmig_source_opts opts;
    struct rmig_uri uri;
    struct rmig_link link;
    struct rmig_save *save;
    struct rmig_pace pace;
    uint64_t deadline_ns; /* of the rounds */
    bool expired;
    bool tracking;
    bool paused;
    uint64_t remaining_bytes;
    uint64_t looked_ns; /* when the dirty log was last looked at */
    uint64_t paused_ns;
};

/* --- the guest's side: these run on the hypervisor's thread ------------------------------------- */

static int call_dirty_start(void *arg, struct rmig_err *err)
{
    struct rmig_source *s = arg;

    return s->move.ops.dirty_start(s->move.vm, err);
}

static int call_dirty_stop(void *arg, struct rmig_err *err)
{
    struct rmig_source *s = arg;

    (void)err;
    s->move.ops.dirty_stop(s->move.vm);
    return 0;
}

static int mark(void *opaque, const struct rmig_run *run)
{
    struct rmig_source *s = opaque;
    int rc = rmig_save_mark_dirty(s->save, run->block_index, run->offset_bytes, run->len_bytes);

    if (rc == 0)
        s->remaining_bytes += run->len_bytes;
    return rc;
}

static int call_dirty_sync(void *arg, struct rmig_err *err)
{
    struct rmig_source *s = arg;

    return s->move.ops.dirty_sync(s->move.vm, mark, s, err);
}

static int call_pause(void *arg, struct rmig_err *err)
{
    struct rmig_source *s = arg;

    return s->move.ops.pause(s->move.vm, err);
}

static int call_save_devices(void *arg, struct rmig_err *err)
{
    struct rmig_source *s = arg;

    return s->move.ops.save_devices(s->move.vm, s->save, err);
}

static int call_throttle(void *arg, struct rmig_err *err)
{
    struct rmig_source *s = arg;

    return s->move.ops.throttle(s->move.vm, s->pace.throttle_percent, err);
}

/* An op by its name: what it says has it in front. */
static int ask(struct rmig_source *s, rmig_move_fn fn, const char *name, struct rmig_err *err)
{
    struct rmig_err why = RMIG_ERR_INIT;
    int rc = rmig_move_call(&s->move, fn, s, &why);

    if (rc < 0)
        return rmig_err_set(err, rc, "%s: %s", name, why.msg[0] ? why.msg : strerror(-rc));
    return 0;
}

/* --- connecting ------------------------------------------------------------------------------- */

static void show_ram(struct rmig_move_status *status, const struct rmig_ram_stats *stats)
{
    status->sent_bytes = (stats->normal_pages + stats->hook_pages) * RMIG_PAGE_BYTES;
    status->transport_bytes = stats->hook_pages * RMIG_PAGE_BYTES;
    status->zero_bytes = stats->zero_pages * RMIG_PAGE_BYTES;
    status->hole_bytes = stats->hole_pages * RMIG_PAGE_BYTES;
    status->unsaid_bytes = stats->unsaid_pages * RMIG_PAGE_BYTES;
}

static void on_window(void *opaque, const struct rmig_ram_stats *stats)
{
    struct rmig_source *s = opaque;
    struct rmig_move_status *status = rmig_move_lock_status(&s->move);

    show_ram(status, stats);
    /* At the end of a pass nobody has looked yet for what was written meanwhile: that nothing is left
     * is true of a paused guest only. */
    if (stats->remaining_pages || s->paused)
        status->remaining_bytes = stats->remaining_pages * RMIG_PAGE_BYTES;
    rmig_move_unlock_status(&s->move);
    if (!s->paused && rmig_now_ns() >= s->deadline_ns && rmig_move_cancel(&s->move) == 0)
        s->expired = true;
}

/* A destination hears of a pass when it is over: long before it takes the silence for a failure. */
static uint32_t window_ms(const struct rmig_source *s)
{
    uint32_t most_ms = s->opts.progress ? WINDOW_MS : 1000;

    if (s->opts.idle_timeout_ms == 0)
        return most_ms;
    return (uint32_t)rmig_max_u64(rmig_min_u64(most_ms, s->opts.idle_timeout_ms / 4), 1);
}

static int start_save(struct rmig_source *s, struct rmig_err *err)
{
    const struct rmig_save_opts opts = {
        .machine = s->opts.machine,
        .max_bandwidth_bytes_per_s = s->opts.max_bandwidth_bytes_per_s,
        .window_ms = window_ms(s),
        .cancel = s->move.cancel,
        .progress = on_window,
        .progress_opaque = s,
    };
    bool ram_is_zero = false;
    int rc = rmig_save_new(&s->save, s->link.out, s->move.blocks, s->move.nblocks, &opts, err);

    if (rc == 0)
        rc = rmig_save_setup(s->save, err);
    if (rc == 0)
        rc = rmig_switchover_await_listed(&s->link, &ram_is_zero, err);
    return rc == 0 && ram_is_zero ? rmig_save_ram_is_zero(s->save, err) : rc;
}

static void drop_attempt(struct rmig_source *s)
{
    rmig_save_free(s->save);
    s->save = NULL;
    (void)rmig_link_drop(&s->link, NULL);
}

static int attempt(struct rmig_source *s, bool by_transport, uint32_t most_ms, struct rmig_err *err)
{
    int rc;

    s->link.params.connect_timeout_ms = most_ms;
    s->link.channel_opts.connect_timeout_ms = most_ms;
    rc = rmig_link_connect(&s->link, by_transport, err);
    return rc < 0 ? rc : start_save(s, err);
}

static void set_link(struct rmig_source *s)
{
    s->link = (struct rmig_link){
        .uri = &s->uri,
        .total_ram_bytes = s->move.status.total_ram_bytes,
        .channel_opts = {.cancel = s->move.cancel,
                         .idle_timeout_ms = s->opts.idle_timeout_ms,
                         .dead_peer_ms = s->opts.dead_peer_ms},
        .params = {.struct_size = sizeof(s->link.params),
                   .pin_all = s->opts.pin_all,
                   .host = s->uri.host,
                   .port = s->uri.port,
                   .device = s->opts.device,
                   .device_port = s->opts.device_port,
                   .gid_index = s->opts.use_gid_index ? s->opts.gid_index : -1,
                   .nqueue_pairs = s->opts.nqueue_pairs,
                   .idle_timeout_ms = s->opts.idle_timeout_ms,
                   .dead_peer_ms = s->opts.dead_peer_ms,
                   .pin_budget_bytes = s->opts.pin_budget_bytes,
                   .flags = s->opts.on_demand ? RMIG_TRANSPORT_ON_DEMAND : 0,
                   .cancel = s->move.cancel},
    };
}

/* Everything until the first page could go. */
static int open_move(struct rmig_source *s, struct rmig_err *err)
{
    struct rmig_err why = RMIG_ERR_INIT;
    struct rmig_move_status *status;
    bool rdma = s->uri.kind == RMIG_URI_RDMA, hurry = rdma && s->opts.tcp_fallback;
    uint32_t most_ms = s->opts.connect_timeout_ms ? s->opts.connect_timeout_ms : CONNECT_MS;
    int rc;

    set_link(s);
    rc = attempt(s, rdma, hurry ? (uint32_t)rmig_min_u64(most_ms, HURRY_MS) : most_ms, &why);
    if (rc < 0 && hurry && !rmig_cancel_triggered(s->move.cancel)) {
        status = rmig_move_lock_status(&s->move);
        snprintf(status->fallback_reason, sizeof(status->fallback_reason), "%s", why.msg);
        status->fallback_ns = rmig_now_ns() - s->move.began_ns;
        rmig_move_unlock_status(&s->move);
        rmig_log(RMIG_LOG_INFO, "TCP instead of RDMA: %s", why.msg);
        drop_attempt(s);
        why = (struct rmig_err)RMIG_ERR_INIT;
        rc = attempt(s, false, most_ms, &why);
    }
    if (rc < 0)
        return rmig_err_set(err, rc, "%s", why.msg);
    status = rmig_move_lock_status(&s->move);
    status->transport = s->link.name;
    status->remaining_bytes = status->total_ram_bytes;
    status->setup_ns = rmig_now_ns() - s->move.began_ns;
    rmig_move_unlock_status(&s->move);
    return 0;
}

/* --- rounds ----------------------------------------------------------------------------------- */

/* Returns how long the look took in *took_ns_p. */
static int look(struct rmig_source *s, uint64_t *took_ns_p, struct rmig_err *err)
{
    uint64_t began_ns = rmig_now_ns();
    int rc;

    s->remaining_bytes = 0; /* a whole pass is behind us */
    rc = ask(s, call_dirty_sync, "dirty_sync", err);
    s->looked_ns = rmig_now_ns();
    *took_ns_p = s->looked_ns - began_ns;
    return rc;
}

static uint64_t sent_bytes(const struct rmig_source *s)
{
    const struct rmig_ram_stats *stats = rmig_save_stats(s->save);

    return (stats->normal_pages + stats->hook_pages) * RMIG_PAGE_BYTES;
}

static void show_round(struct rmig_source *s)
{
    struct rmig_move_status *status = rmig_move_lock_status(&s->move);

    status->remaining_bytes = s->remaining_bytes;
    status->dirty_rate_bytes_per_s = (uint64_t)s->pace.dirty_rate_bytes_per_s;
    status->throughput_bytes_per_s = (uint64_t)s->pace.rate_bytes_per_s;
    status->throttle_percent = s->pace.throttle_percent;
    status->expected_downtime_ns = rmig_pace_downtime_ns(&s->pace, s->remaining_bytes);
    rmig_move_unlock_status(&s->move);
}

static int one_round(struct rmig_source *s, struct rmig_err *err)
{
    uint64_t before = sent_bytes(s), began_ns = rmig_now_ns(), looked_ns = s->looked_ns;
    uint64_t took_ns, sync_ns = 0;
    int rc;

    rmig_move_lock_status(&s->move)->round++;
    rmig_move_unlock_status(&s->move);
    rc = rmig_save_round(s->save, err);
    took_ns = rmig_now_ns() - began_ns;
    if (rc == 0)
        rc = look(s, &sync_ns, err);
    if (rc < 0)
        return rc;
    rmig_pace_round(&s->pace, sent_bytes(s) - before, took_ns, s->remaining_bytes,
                    s->looked_ns - looked_ns, sync_ns);
    if (s->opts.auto_converge && rmig_pace_throttle(&s->pace))
        rc = ask(s, call_throttle, "throttle", err);
    show_round(s);
    return rc;
}

static uint64_t limit_ns(const struct rmig_source *s)
{
    return s->opts.downtime_limit_ms * RMIG_NS_PER_MS;
}

static bool short_enough(const struct rmig_source *s)
{
    return rmig_pace_downtime_ns(&s->pace, s->remaining_bytes) <= limit_ns(s);
}

static int resume_here(struct rmig_source *s, struct rmig_err *err)
{
    int rc = s->paused ? rmig_move_resume(&s->move, err) : 0;

    if (rc == 0)
        s->paused = false;
    return rc;
}

/* Pause the guest. Returns: 1 it is paused; 0 what it had dirtied by then is too much: it runs on. */
static int pause_guest(struct rmig_source *s, struct rmig_err *err)
{
    uint64_t left = s->remaining_bytes, sync_ns;
    int rc;

    s->paused_ns = rmig_now_ns();
    rmig_move_enter(&s->move, RMIG_MOVE_SWITCHOVER);
    s->paused = true; /* also where it fails half way: then it is resumed */
    rc = ask(s, call_pause, "pause", err);
    if (rc == 0)
        rc = look(s, &sync_ns, err);
    if (rc < 0)
        return rc;
    s->remaining_bytes += left; /* the two may overlap: at most so much */
    if (short_enough(s))
        return 1;
    rmig_move_enter(&s->move, RMIG_MOVE_ROUNDS);
    return resume_here(s, err);
}

static int check_deadline(struct rmig_source *s, struct rmig_err *err)
{
    /* of the pass under way, or of what was written during the last one */
    uint64_t left_bytes = rmig_max_u64(rmig_save_stats(s->save)->remaining_pages * RMIG_PAGE_BYTES,
                                       s->remaining_bytes);
    double left_mib = (double)left_bytes / (1 << 20);
    char rates[160];

    if (!s->expired && rmig_now_ns() < s->deadline_ns)
        return 0;
    if (s->pace.dirty_rate_bytes_per_s <= 0) /* nothing is written, or the first pass has not ended */
        return rmig_err_set(err, -ETIME, "the RAM was not through in %u ms: %.1f MiB are left; give it "
                            "more time or more bandwidth", s->opts.deadline_ms, left_mib);
    rates[0] = '\0';
    if (s->pace.rate_bytes_per_s > 0)
        snprintf(rates, sizeof(rates), ", %llu ms of downtime where %llu are allowed, the guest dirties %.1f MB/s, "
                 "the link takes %.1f MB/s",
                 (unsigned long long)(rmig_pace_downtime_ns(&s->pace, left_bytes) / RMIG_NS_PER_MS),
                 (unsigned long long)s->opts.downtime_limit_ms, s->pace.dirty_rate_bytes_per_s / 1e6,
                 s->pace.rate_bytes_per_s / 1e6);
    return rmig_err_set(err, -ETIME, "did not converge in %u ms: %.1f MiB are left%s; give it more "
                        "time, more bandwidth or a longer downtime, or slow the guest",
                        s->opts.deadline_ms, left_mib, rates);
}

/* Until the guest is paused. */
static int rounds(struct rmig_source *s, struct rmig_err *err)
{
    int rc = ask(s, call_dirty_start, "dirty_start", err);

    if (rc < 0)
        return rc;
    s->tracking = true;
    s->looked_ns = rmig_now_ns();
    s->deadline_ns = s->opts.deadline_ms ? rmig_deadline_ns(s->opts.deadline_ms) : RMIG_NEVER_NS;
    rmig_move_enter(&s->move, RMIG_MOVE_ROUNDS);
    for (;;) {
        rc = one_round(s, err);
        if (rc == 0 && short_enough(s))
            rc = pause_guest(s, err);
        if (rc != 0)
            return rc < 0 ? rc : 0;
        rc = check_deadline(s, err);
        if (rc < 0)
            return rc;
    }
}

/* A stored guest does not run while it is stored: there is nobody to take it over in time. */
static int pause_to_store(struct rmig_source *s, struct rmig_err *err)
{
    s->deadline_ns = RMIG_NEVER_NS;
    s->paused_ns = rmig_now_ns();
    rmig_move_enter(&s->move, RMIG_MOVE_SWITCHOVER);
    s->paused = true;
    return ask(s, call_pause, "pause", err);
}

/* --- switchover ------------------------------------------------------------------------------- */

/* The guest stands still. Until this returns 0 it can go back. */
static int hand_over(struct rmig_source *s, struct rmig_err *err)
{
    uint64_t before;
    int rc = rmig_save_complete(s->save, err);

    if (rc == 0)
        rc = rmig_switchover_put(&s->link, s->save, err);
    before = rmig_out_transferred_fast_bytes(s->link.out);
    if (rc == 0)
        rc = ask(s, call_save_devices, "save_devices", err);
    if (rc == 0) {
        rmig_move_lock_status(&s->move)->device_state_bytes =
            rmig_out_transferred_fast_bytes(s->link.out) - before;
        rmig_move_unlock_status(&s->move);
        rc = rmig_save_end(s->save, err);
    }
    if (rc == 0)
        rc = rmig_switchover_await_prepared(&s->link, err);
    return rc < 0 ? rc : rmig_move_commit(&s->move, err);
}

static void done(struct rmig_source *s)
{
    struct rmig_move_status *status = rmig_move_lock_status(&s->move);

    status->downtime_ns = rmig_now_ns() - s->paused_ns;
    status->remaining_bytes = 0;
    rmig_move_unlock_status(&s->move);
    rmig_move_enter(&s->move, RMIG_MOVE_DONE);
    (void)rmig_link_finish(&s->link, NULL); /* the guest runs there, whatever becomes of the link */
}

/* The go-ahead. Returns: 0; -EREMOTEIO the destination does not run the guest; else nobody knows. */
static int let_go(struct rmig_source *s, struct rmig_err *err)
{
    int rc = rmig_switchover_put_go(&s->link, err);

    if (rc == 0)
        rc = rmig_switchover_await_started(&s->link, err);
    return rc;
}

/* A file is complete when it is closed: what that says counts. */
static int close_store(struct rmig_source *s, struct rmig_err *err)
{
    int rc = rmig_switchover_put_go(&s->link, err);

    if (rc == 0)
        rc = rmig_link_drop(&s->link, err);
    if (rc == 0)
        rmig_move_enter(&s->move, RMIG_MOVE_DONE);
    return rc;
}

/* --- the end ---------------------------------------------------------------------------------- */

static void stop_tracking(struct rmig_source *s)
{
    if (s->tracking)
        (void)rmig_move_call(&s->move, call_dirty_stop, s, NULL);
    s->tracking = false;
    if (s->pace.throttle_percent == 0)
        return;
    s->pace.throttle_percent = 0;
    (void)rmig_move_call(&s->move, call_throttle, s, NULL);
    rmig_move_lock_status(&s->move)->throttle_percent = 0;
    rmig_move_unlock_status(&s->move);
}

/* The move has failed and the destination cannot run the guest: it runs here. */
static int fall_back(struct rmig_source *s, int code, struct rmig_err *why, struct rmig_err *err)
{
    struct rmig_err resume_err = RMIG_ERR_INIT;
    int rc;

    if (code == -ECONNABORTED && s->link.conn)
        why->code = -EREMOTEIO; /* over a transport it says that it failed, and no more */
    else if (code != -ECANCELED && code != -EREMOTEIO && s->link.out)
        rmig_switchover_ask_why(&s->link, why);
    if (code == -ECANCELED && s->expired) {
        *why = (struct rmig_err)RMIG_ERR_INIT;
        (void)check_deadline(s, why);
    }
    rc = resume_here(s, &resume_err);
    stop_tracking(s);
    rmig_move_enter(&s->move, RMIG_MOVE_FAILED);
    if (rc < 0)
        return rmig_err_set(err, why->code, "%.120s; and here %.120s", why->msg, resume_err.msg);
    return rmig_err_set(err, why->code, "%s", why->msg);
}

static int in_doubt(struct rmig_source *s, const struct rmig_err *why, struct rmig_err *err)
{
    stop_tracking(s);
    rmig_move_enter(&s->move, RMIG_MOVE_IN_DOUBT);
    return rmig_err_set(err, why->code, "nobody knows whether the guest runs at the destination, so it "
                        "stays paused here until that side is known to be dead: %.140s", why->msg);
}

static int move_guest(struct rmig_source *s, struct rmig_err *err)
{
    bool stored;
    int rc;

    rmig_move_enter(&s->move, RMIG_MOVE_CONNECTING);
    rc = open_move(s, err);
    stored = rc == 0 && !rmig_switchover_answers(&s->link);
    if (rc == 0)
        rc = stored ? pause_to_store(s, err) : rounds(s, err);
    if (rc == 0)
        rc = hand_over(s, err);
    if (rc == 0 && stored)
        rc = close_store(s, err);
    return rc;
}

static void last_figures(struct rmig_source *s)
{
    struct rmig_move_status *status = rmig_move_lock_status(&s->move);

    if (s->save)
        show_ram(status, rmig_save_stats(s->save));
    status->peak_pinned_bytes = rmig_link_peak_pinned_bytes(&s->link);
    status->wire_bytes = rmig_link_wire_bytes(&s->link);
    rmig_move_unlock_status(&s->move);
}

static int work(struct rmig_move *move, struct rmig_err *err)
{
    struct rmig_source *s = (struct rmig_source *)move;
    struct rmig_err why = RMIG_ERR_INIT;
    int rc = move_guest(s, &why);

    if (rc == 0 && s->link.out) {
        rc = let_go(s, &why);
        if (rc < 0 && rc != -EREMOTEIO) {
            rmig_switchover_ask_why(&s->link, &why);
            rc = why.code;
        }
        if (rc < 0 && rc != -EREMOTEIO)
            rc = in_doubt(s, &why, err);
        else if (rc == 0)
            done(s);
        else
            rc = fall_back(s, rc, &why, err);
    } else if (rc < 0) {
        rc = fall_back(s, rc, &why, err);
    }
    if (rc == 0)
        stop_tracking(s);
    last_figures(s);
    rmig_save_free(s->save);
    s->save = NULL;
    rmig_link_close(&s->link);
    return rc;
}

/* --- public ----------------------------------------------------------------------------------- */

static int check_opts(const struct rmig_source *s, struct rmig_err *err)
{
    if (s->opts.auto_converge && !s->move.ops.throttle)
        return rmig_err_set(err, -EINVAL, "auto_converge needs the op throttle");
    if (s->opts.nqueue_pairs > 8)
        return rmig_err_set(err, -EINVAL, "%u queue pairs: 8 at most", s->opts.nqueue_pairs);
    if (s->opts.machine && (!s->opts.machine[0] || strlen(s->opts.machine) > 255))
        return rmig_err_set(err, -EINVAL, "machine name: 1 to 255 bytes are allowed");
    return 0;
}

int rmig_source_new(struct rmig_source **source_p, const char *uri, const struct rmig_vm_ops *ops,
                    void *vm, const struct rmig_source_opts *opts, struct rmig_err *err)
{
    struct rmig_source *s = calloc(1, sizeof(*s));
    int rc;

    if (!s)
        return rmig_err_set(err, -ENOMEM, "source: out of memory");
    if (opts)
        memcpy(&s->opts, opts, rmig_min_u64(opts->struct_size, sizeof(s->opts)));
    if (s->opts.downtime_limit_ms == 0)
        s->opts.downtime_limit_ms = DOWNTIME_LIMIT_MS;
    s->move.work = work;
    s->move.progress = s->opts.progress;
    s->move.progress_opaque = s->opts.progress_opaque;
    rc = rmig_move_init(&s->move, ops, vm, true, err);
    if (rc == 0)
        rc = rmig_uri_parse(uri, &s->uri, err);
    if (rc == 0)
        rc = check_opts(s, err);
    if (rc < 0) {
        rmig_source_free(s);
        return rc;
    }
    *source_p = s;
    return 0;
}

int rmig_source_run(struct rmig_source *source, struct rmig_err *err)
{
    return rmig_move_run(&source->move, err);
}

int rmig_source_fd(const struct rmig_source *source)
{
    return source->move.event_fd;
}

int rmig_source_step(struct rmig_source *source, struct rmig_err *err)
{
    return rmig_move_step(&source->move, err);
}

int rmig_source_cancel(struct rmig_source *source)
{
    return rmig_move_cancel(&source->move);
}

void rmig_source_status(const struct rmig_source *source, struct rmig_move_status *status_p)
{
    rmig_move_status(&source->move, status_p);
}

int rmig_source_reclaim(struct rmig_source *source, struct rmig_err *err)
{
    struct rmig_move_status status;
    int rc;

    rmig_move_status(&source->move, &status);
    if (status.state != RMIG_MOVE_IN_DOUBT)
        return rmig_err_set(err, -EINVAL, "only a guest whose move ended in doubt can be reclaimed");
    rc = rmig_move_resume(&source->move, err);
    if (rc < 0)
        return rc;
    source->paused = false;
    rmig_move_enter(&source->move, RMIG_MOVE_FAILED);
    return 0;
}

void rmig_source_free(struct rmig_source *source)
{
    if (!source)
        return;
    rmig_move_release(&source->move);
    free(source);
}
