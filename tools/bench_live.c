/* bench_live.c -- decides when the guest is stopped. */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/bench_live.h"

#include "tools/bench_dirty_sigsegv.h"
#include "tools/bench_units.h"

/* A pass that sent less says more about latency than about the link's rate. */
#define SAMPLE_BYTES (8u << 20)

static int open_tracker(struct bench_live *live, struct rmig_err *err)
{
    const struct bench_ram *ram = live->ram;
    int rc;

    switch (live->params->tracker) {
    case BENCH_TRACK_PAGEMAP:
        return rmig_dirty_open(RMIG_DIRTY_PAGEMAP, ram->guest, ram->nblocks, &live->dirty, err);
    case BENCH_TRACK_UFFD:
        return rmig_dirty_open(RMIG_DIRTY_USERFAULTFD, ram->guest, ram->nblocks, &live->dirty, err);
    case BENCH_TRACK_AUTO:
        rc = rmig_dirty_open(RMIG_DIRTY_AUTO, ram->guest, ram->nblocks, &live->dirty, NULL);
        if (rc == 0)
            return 0;
        break;
    case BENCH_TRACK_MPROTECT:
        break;
    }
    return bench_dirty_sigsegv_open(ram->guest, ram->nblocks, &live->dirty, err);
}

int bench_live_check(const struct bench_params *params, const struct bench_ram *ram,
                     struct rmig_err *err)
{
    struct bench_live live = {.params = params, .ram = ram};
    int rc = open_tracker(&live, err);

    rmig_dirty_free(live.dirty);
    return rc;
}

static int start_guest(struct bench_live *live, struct rmig_err *err)
{
    int rc = open_tracker(live, err);

    if (rc == 0)
        rc = rmig_dirty_start(live->dirty, err);
    if (rc < 0)
        return rc;
    live->tracker = rmig_dirty_name(live->dirty);
    live->written_pages = bench_guest_written_pages(live->guest);
    live->guest_began_ns = bench_now_ns();
    return bench_guest_start(live->guest, err);
}

static int mark(void *opaque, const struct rmig_run *run)
{
    struct bench_live *live = opaque;

    live->left_pages += run->len_bytes / RMIG_PAGE_BYTES;
    return rmig_save_mark_dirty(live->save, run->block_index, run->offset_bytes, run->len_bytes);
}

static int sync_dirty(struct bench_live *live, struct rmig_err *err)
{
    uint64_t began_ns = bench_now_ns();
    int rc;

    live->left_pages = 0; /* a whole pass is behind us */
    rc = rmig_dirty_sync(live->dirty, mark, live, err);
    live->synced_pages += live->left_pages;
    live->sync_ns = bench_now_ns() - began_ns;
    if (rc < 0)
        return rmig_err_set(err, rc, "dirty tracking by %s failed", live->tracker);
    return 0;
}

/* One pass while the guest runs, and what rate it went at. */
static int pass(struct bench_live *live, struct rmig_err *err)
{
    const struct rmig_ram_stats *stats = rmig_save_stats(live->save);
    uint64_t before = stats->normal_pages + stats->hook_pages, began_ns = bench_now_ns(), sent;
    int rc = rmig_save_round(live->save, err);

    if (rc < 0)
        return rc;
    stats = rmig_save_stats(live->save);
    sent = (stats->normal_pages + stats->hook_pages - before) * RMIG_PAGE_BYTES;
    if (sent >= SAMPLE_BYTES || live->rate_bytes_per_s == 0)
        live->rate_bytes_per_s = bench_rate(sent, bench_now_ns() - began_ns);
    return 0;
}

/* Would stopping the guest now keep within the limit? */
static bool short_enough(const struct bench_live *live)
{
    uint64_t remaining = live->left_pages * RMIG_PAGE_BYTES;
    double expected_ns = (double)live->sync_ns;

    if (remaining > 0)
        expected_ns += live->rate_bytes_per_s > 0 ? (double)remaining / live->rate_bytes_per_s * 1e9
                                                  : (double)UINT64_MAX;
    return expected_ns <= (double)live->params->downtime_limit_ns;
}

static int passes(struct bench_live *live, struct rmig_err *err)
{
    uint64_t began_ns = bench_now_ns();
    uint32_t count = 0;
    int rc;

    do {
        rc = pass(live, err);
        if (rc == 0 && live->guest)
            rc = sync_dirty(live, err);
        if (rc < 0)
            return rc;
        count++;
        live->converged = short_enough(live);
    } while (!live->converged && count < live->params->max_rounds &&
             bench_now_ns() - began_ns < live->params->deadline_ns);
    return 0;
}

static int last_pass(struct bench_live *live, struct rmig_err *err)
{
    int rc = 0;

    if (live->guest)
        bench_guest_stop(live->guest);
    live->stopped_ns = bench_now_ns();
    if (live->guest) {
        live->written_pages = bench_guest_written_pages(live->guest) - live->written_pages;
        rc = sync_dirty(live, err);
    }
    return rc < 0 ? rc : rmig_save_complete(live->save, err);
}

int bench_live_passes(struct bench_live *live, struct rmig_err *err)
{
    int rc = 0;

    if (live->guest)
        rc = start_guest(live, err);
    if (rc == 0)
        rc = passes(live, err);
    if (rc == 0)
        rc = last_pass(live, err);
    if (live->guest)
        bench_guest_stop(live->guest);
    return rc;
}
