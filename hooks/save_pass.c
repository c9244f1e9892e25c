/* SPDX-License-Identifier: BSD-3-Clause */
/* save_pass.c -- one walk over the dirty pages: sections, windows, the rate limit. */
#include "hooks/save.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "common/clock.h"
#include "common/overflow.h"
#include "common/wait.h"
#include "hooks/guard.h"
#include "stream/format.h"

/* Longest run of data: what the hook gets at once, and how often the clock is looked at. */
#define RUN_PAGES (1u << 20 >> RMIG_PAGE_SHIFT)
/* Without hooks each page of a hole is a record, so holes are taken in steps too. */
#define HOLE_STEP_PAGES 4096u
/* Of a rate window, the piece that is put between two looks at the rate: 1 ms of it. */
#define RATE_PIECES RMIG_RATE_WINDOW_MS

/* A walk, and the window of it that is open. */
struct pass {
    struct rmig_save *save;
    enum rmig_hook_flag flag;
    bool hooked;
    bool done; /* the walk has reached its end */
    struct rmig_scan scan;
    uint64_t window_end_ns;
    uint64_t flushed_bytes; /* put in the stream and credited, at the last flush for the rate */
};

/* --- rate limit ------------------------------------------------------------------------------ */

/* Bytes between two looks at the rate. */
static uint64_t piece_bytes(const struct rmig_save *save)
{
    return rmig_out_rate_limit(save->out) / RATE_PIECES;
}

/* What has not left yet: kept below a piece, so that what leaves late is no more. */
static bool flush_is_due(const struct pass *pass)
{
    return rmig_out_transferred_fast_bytes(pass->save->out) - pass->flushed_bytes >=
           piece_bytes(pass->save);
}

static int flush_stream(struct pass *pass, struct rmig_err *err)
{
    if (rmig_out_flush(pass->save->out) < 0)
        return rmig_out_error(pass->save->out, err);
    pass->flushed_bytes = rmig_out_transferred_fast_bytes(pass->save->out);
    return 0;
}

static int wait_ns(const struct rmig_save *save, uint64_t ns, struct rmig_err *err)
{
    int rc = rmig_wait_fd(-1, 0, rmig_cancel_fd(save->opts.cancel), rmig_now_ns() + ns);

    if (rc == -ETIMEDOUT)
        return 0;
    if (rc == -ECANCELED)
        return rmig_save_check_cancel(save, err);
    return rmig_err_set(err, rc, "rate limit: poll: %s", strerror(-rc));
}

/*
 * Wait until what was put is within the rate; a cancel ends it. What counts is when it leaves, so the
 * stream is flushed before a wait, unless it is to be left alone: between its two hooks a pass does.
 */
static int hold_rate(struct pass *pass, bool alone, struct rmig_err *err)
{
    struct rmig_save *save = pass->save;
    uint64_t ns;
    int rc = 0;

    if (pass->flag == RMIG_HOOK_FINISH || rmig_out_rate_limit(save->out) == 0)
        return 0;
    ns = rmig_out_rate_wait_ns(save->out);
    if (!alone && (ns > 0 || flush_is_due(pass))) {
        rc = flush_stream(pass, err);
        ns = rmig_out_rate_wait_ns(save->out);
    }
    return rc < 0 || ns == 0 ? rc : wait_ns(save, ns, err);
}

/* --- runs ------------------------------------------------------------------------------------ */

static void count_zero(struct rmig_save *save, const struct rmig_found *found)
{
    uint64_t pages = found->run.len_bytes >> RMIG_PAGE_SHIFT;

    if (!(found->run.flags & RMIG_RUN_ZERO))
        return;
    save->stats.zero_pages += pages;
    if (found->hole)
        save->stats.hole_pages += pages;
}

/*
 * Zero at the destination as it is. Only the first pass knows: later ones come to pages sent before. A
 * last pass that is the first one has no windows without hooks: there the records keep the peer awake.
 */
static bool goes_unsaid(const struct pass *pass, const struct rmig_run *run)
{
    return pass->save->ram_is_zero && pass->save->stats.rounds == 0 &&
           (run->flags & RMIG_RUN_ZERO) && (pass->hooked || pass->flag != RMIG_HOOK_FINISH);
}

static bool deferred_full(const struct rmig_save *save)
{
    return save->ndeferred == RMIG_DEFERRED_RUNS || save->deferred_bytes >= RMIG_DEFERRED_BYTES;
}

/* Keep a declined run for later. What is more than the list may hold goes back to the walk. */
static void defer(struct pass *pass, struct rmig_run *run)
{
    struct rmig_save *save = pass->save;
    uint64_t page_bytes = rmig_save_record_bytes(
        &(struct rmig_run){run->block_index, run->flags, 0, RMIG_PAGE_BYTES});
    uint64_t fit = (RMIG_DEFERRED_BYTES - save->deferred_bytes + page_bytes - 1) / page_bytes;

    if (run->len_bytes >> RMIG_PAGE_SHIFT > fit)
        rmig_scan_give_back(&pass->scan, run, fit << RMIG_PAGE_SHIFT);
    save->deferred_bytes += rmig_save_record_bytes(run);
    save->deferred[save->ndeferred++] = *run;
}

static int put_deferred(struct pass *pass, struct rmig_err *err)
{
    struct rmig_save *save = pass->save;
    int rc = 0;

    for (uint32_t i = 0; rc == 0 && i < save->ndeferred; i++) {
        rmig_save_put_run(save, &save->deferred[i]);
        rc = hold_rate(pass, false, err);
    }
    save->ndeferred = 0;
    save->deferred_bytes = 0;
    return rc < 0 ? rc : rmig_out_error(save->out, err);
}

/* One run: to the hook, else to the stream, which has to wait until the hook's pass is over. */
static int dispose(struct pass *pass, struct rmig_found *found, struct rmig_err *err)
{
    struct rmig_save *save = pass->save;
    int rc;

    if (goes_unsaid(pass, &found->run)) {
        count_zero(save, found);
        save->stats.unsaid_pages += found->run.len_bytes >> RMIG_PAGE_SHIFT;
        return 0;
    }
    rc = pass->hooked ? rmig_hook_save_page(save->out, &found->run, err) : RMIG_PUT_NOT_SUPPORTED;
    if (rc < 0)
        return rc;
    if (rc != RMIG_PUT_NOT_SUPPORTED) {
        if (!(found->run.flags & RMIG_RUN_ZERO))
            save->stats.hook_pages += found->run.len_bytes >> RMIG_PAGE_SHIFT;
    } else if (pass->hooked) {
        defer(pass, &found->run);
    } else {
        rmig_save_put_run(save, &found->run);
    }
    count_zero(save, found);
    return rmig_out_error(save->out, err);
}

/* --- windows and sections -------------------------------------------------------------------- */

/*
 * Must the window end before the walk does? In the last pass only with hooks: their peer hears
 * nothing of what they move until a window ends, and must not take that for a dead source.
 */
static bool window_over(struct pass *pass)
{
    if (pass->hooked && deferred_full(pass->save))
        return true;
    if (pass->flag == RMIG_HOOK_FINISH && !pass->hooked)
        return false;
    return rmig_now_ns() >= pass->window_end_ns;
}

/* Runs are cut so that none of them is much more than a piece of the rate. */
static struct rmig_scan_limits scan_limits(const struct rmig_save *save, bool hooked)
{
    struct rmig_scan_limits limits = {RUN_PAGES, hooked ? UINT64_MAX : HOLE_STEP_PAGES};
    uint64_t piece = piece_bytes(save);
    struct rmig_run zero_page = {0, RMIG_RUN_ZERO, 0, RMIG_PAGE_BYTES};

    if (rmig_out_rate_limit(save->out) == 0)
        return limits;
    limits.data_pages = rmig_min_u64(RUN_PAGES, rmig_max_u64(1, piece >> RMIG_PAGE_SHIFT));
    if (!hooked)
        limits.zero_pages = rmig_min_u64(
            HOLE_STEP_PAGES, rmig_max_u64(1, piece / rmig_save_record_bytes(&zero_page)));
    return limits;
}

/* From the hook mark to the records of what the hook declined. */
static int window(struct pass *pass, struct rmig_err *err)
{
    struct rmig_save *save = pass->save;
    int rc = rmig_hook_before_iterate(save->out, pass->flag, err);

    pass->window_end_ns = rmig_deadline_ns(save->opts.window_ms ? save->opts.window_ms : 1000);
    while (rc == 0) {
        struct rmig_scan_limits limits;
        struct rmig_found found;

        rc = rmig_save_check_cancel(save, err);
        if (rc < 0)
            break;
        limits = scan_limits(save, pass->hooked);
        pass->done = !rmig_scan_next(&pass->scan, &limits, &found);
        if (pass->done)
            break;
        rc = dispose(pass, &found, err);
        if (rc == 0)
            rc = hold_rate(pass, pass->hooked, err);
        if (rc == 0 && window_over(pass))
            break;
    }
    if (rc == 0)
        rc = rmig_hook_after_iterate(save->out, pass->flag, err);
    return rc < 0 ? rc : put_deferred(pass, err);
}

static void report(struct rmig_save *save)
{
    save->stats.remaining_pages = rmig_pages_count(&save->pages);
    if (save->opts.progress)
        save->opts.progress(save->opts.progress_opaque, &save->stats);
}

/* One PART; or the END, which has as many windows as it takes. */
static int section(struct pass *pass, struct rmig_err *err)
{
    struct rmig_save *save = pass->save;
    bool finish = pass->flag == RMIG_HOOK_FINISH;
    int rc;

    rmig_save_put_section_id(save, finish ? RMIG_SECTION_END : RMIG_SECTION_PART,
                             RMIG_RAM_SECTION_ID);
    do
        rc = window(pass, err);
    while (rc == 0 && finish && !pass->done);
    if (rc < 0)
        return rc;
    rmig_out_put_be64(save->out, RMIG_RAM_EOS);
    rmig_save_put_section_id(save, RMIG_SECTION_FOOTER, RMIG_RAM_SECTION_ID);
    save->stats.windows++;
    report(save);
    return rmig_out_error(save->out, err);
}

int rmig_save_pass(struct rmig_save *save, enum rmig_hook_flag flag, struct rmig_err *err)
{
    struct pass pass = {.save = save, .flag = flag, .hooked = rmig_hook_attached(save->out)};
    int rc;

    pass.flushed_bytes = rmig_out_transferred_fast_bytes(save->out);
    rmig_scan_init(&pass.scan, &save->pages, save->stats.rounds == 0);
    for (;;) {
        rc = section(&pass, err);
        if (rc < 0)
            return rc;
        if (pass.done)
            break;
        /* little may be in it where pages go by a hook or unsaid: the peer is to see that we live */
        if (rmig_out_flush(save->out) < 0)
            break;
    }
    save->stats.rounds++;
    rmig_out_flush(save->out);
    return rmig_out_error(save->out, err);
}
