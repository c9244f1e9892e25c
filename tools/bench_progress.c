/* bench_progress.c -- shows how far the move is, at most ten times a second. */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/bench_progress.h"

#include <stdio.h>
#include <unistd.h>
#include <rmig/ram.h>

#include "tools/bench_units.h"

#define SHOW_NS (100 * BENCH_NS_PER_MS)
#define BAR_CELLS 24

void bench_progress_begin(struct bench_progress *progress, uint64_t interval_ns)
{
    uint64_t now = bench_now_ns();

    *progress = (struct bench_progress){.bar = isatty(STDERR_FILENO) != 0,
                                        .interval_ns = interval_ns,
                                        .began_ns = now,
                                        .shown_ns = now,
                                        .reported_ns = now};
}

bool bench_progress_wanted(const struct bench_progress *progress)
{
    return progress->bar || progress->interval_ns;
}

static uint64_t done_pages(const struct rmig_ram_stats *stats)
{
    return stats->normal_pages + stats->hook_pages + stats->zero_pages;
}

static void show_bar(struct bench_progress *p, const struct rmig_ram_stats *stats, uint64_t now)
{
    uint64_t total = stats->total_ram_bytes / RMIG_PAGE_BYTES;
    uint64_t left = stats->remaining_pages < total ? stats->remaining_pages : total;
    unsigned percent = total ? (unsigned)((total - left) * 100 / total) : 100;
    double rate =
        bench_rate((done_pages(stats) - p->shown_pages) * RMIG_PAGE_BYTES, now - p->shown_ns);
    char bar[BAR_CELLS + 1], remaining[32];

    for (unsigned i = 0; i < BAR_CELLS; i++)
        bar[i] = i * 100 < percent * BAR_CELLS ? '#' : '.';
    bar[BAR_CELLS] = '\0';
    fprintf(stderr, "\r[%s] %3u %%  %.2f GB/s  round %llu  %s left\033[K", bar, percent, rate / 1e9,
            (unsigned long long)stats->rounds + 1,
            bench_format_size(remaining, sizeof(remaining), left * RMIG_PAGE_BYTES));
    p->shown_ns = now;
    p->shown_pages = done_pages(stats);
    p->dirty_line = true;
}

static void report_line(struct bench_progress *p, const struct rmig_ram_stats *stats, uint64_t now)
{
    uint64_t pages = done_pages(stats) - p->reported_pages;
    char moved[32], left[32];

    bench_progress_end(p);
    fprintf(stderr, "%8.2f s  round %llu  %10s  %.3f GB/s  %s left\n",
            (double)(now - p->began_ns) / 1e9, (unsigned long long)stats->rounds + 1,
            bench_format_size(moved, sizeof(moved), pages * RMIG_PAGE_BYTES),
            bench_rate(pages * RMIG_PAGE_BYTES, now - p->reported_ns) / 1e9,
            bench_format_size(left, sizeof(left), stats->remaining_pages * RMIG_PAGE_BYTES));
    p->reported_ns = now;
    p->reported_pages = done_pages(stats);
}

void bench_progress_update(void *opaque, const struct rmig_ram_stats *stats)
{
    struct bench_progress *p = opaque;
    uint64_t now = bench_now_ns();

    if (p->interval_ns && now - p->reported_ns >= p->interval_ns)
        report_line(p, stats, now);
    if (p->bar && now - p->shown_ns >= SHOW_NS)
        show_bar(p, stats, now);
}

void bench_progress_end(struct bench_progress *progress)
{
    if (progress->dirty_line)
        fputs("\r\033[K", stderr);
    progress->dirty_line = false;
}
