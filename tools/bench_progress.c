/* bench_progress.c -- shows how far the move is, at most ten times a second. */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/bench_progress.h"

#include <stdio.h>
#include <unistd.h>

#include "tools/bench_units.h"

#define SHOW_NS (100 * BENCH_NS_PER_MS)
#define BAR_CELLS 24

void bench_progress_begin(struct bench_progress *progress, const struct bench_params *params,
                          struct bench_stream *stream, uint32_t run)
{
    uint64_t now = bench_now_ns();

    *progress = (struct bench_progress){.bar = isatty(STDERR_FILENO) != 0,
                                        .gbits = params->gbits,
                                        .interval_ns = params->interval_ns,
                                        .began_ns = now,
                                        .shown_ns = now,
                                        .reported_ns = now,
                                        .stream = stream,
                                        .run = run};
}

bool bench_progress_wanted(const struct bench_progress *progress)
{
    return progress->bar || progress->interval_ns;
}

static uint64_t done_bytes(const struct rmig_move_status *status)
{
    return status->sent_bytes + status->zero_bytes;
}

static void show_bar(struct bench_progress *p, const struct rmig_move_status *status, uint64_t now)
{
    uint64_t total = status->total_ram_bytes;
    uint64_t left = status->remaining_bytes < total ? status->remaining_bytes : total;
    double done = total ? (double)(total - left) / (double)total : 1;
    double rate = bench_rate(done_bytes(status) - p->shown_bytes, now - p->shown_ns);
    char bar[BAR_CELLS + 1], remaining[32], speed[32];

    for (unsigned i = 0; i < BAR_CELLS; i++)
        bar[i] = i < done * BAR_CELLS ? '#' : '.';
    bar[BAR_CELLS] = '\0';
    fprintf(stderr, "\r[%s] %3.0f %%  %s  round %u  %s left\033[K", bar, done * 100,
            bench_format_rate(speed, sizeof(speed), rate, p->gbits), status->round,
            bench_format_size(remaining, sizeof(remaining), left));
    p->shown_ns = now;
    p->shown_bytes = done_bytes(status);
    p->dirty_line = true;
}

static void report_line(struct bench_progress *p, const struct rmig_move_status *status,
                        uint64_t now)
{
    uint64_t bytes = done_bytes(status) - p->reported_bytes;
    const struct bench_interval interval = {.run = p->run,
                                            .elapsed_ns = now - p->began_ns,
                                            .interval_ns = now - p->reported_ns,
                                            .moved_bytes = bytes};
    char moved[32], left[32], speed[32];

    bench_progress_end(p);
    fprintf(stderr, "%8.2f s  round %u  %10s  %s  %s left\n",
            (double)(now - p->began_ns) / 1e9, status->round,
            bench_format_size(moved, sizeof(moved), bytes),
            bench_format_rate(speed, sizeof(speed), bench_rate(bytes, now - p->reported_ns), p->gbits),
            bench_format_size(left, sizeof(left), status->remaining_bytes));
    bench_stream_interval(p->stream, &interval, status);
    p->reported_ns = now;
    p->reported_bytes = done_bytes(status);
}

void bench_progress_update(void *opaque, const struct rmig_move_status *status)
{
    struct bench_progress *p = opaque;
    uint64_t now = bench_now_ns();

    if (p->interval_ns && now - p->reported_ns >= p->interval_ns)
        report_line(p, status, now);
    if (p->bar && now - p->shown_ns >= SHOW_NS)
        show_bar(p, status, now);
}

void bench_progress_end(struct bench_progress *progress)
{
    if (progress->dirty_line)
        fputs("\r\033[K", stderr);
    progress->dirty_line = false;
}
