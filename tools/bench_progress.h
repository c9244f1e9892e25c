/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_progress.h -- a bar on a terminal, a line an interval, while the RAM moves. */
#ifndef TOOLS_BENCH_PROGRESS_H
#define TOOLS_BENCH_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <rmig/migrate.h>

#include "tools/bench_params.h"
#include "tools/bench_stream.h"

struct bench_progress {
    bool bar; /* standard error is a terminal */
    bool gbits;
    uint64_t interval_ns;
    uint64_t began_ns, shown_ns, reported_ns;
    uint64_t shown_bytes, reported_bytes;
    bool dirty_line; /* the bar is on the line */
    struct bench_stream *stream;
    uint32_t run;
};

/** Begin to show a run, as params ask for; intervals are put in the stream, too. */
void bench_progress_begin(struct bench_progress *progress, const struct bench_params *params,
                          struct bench_stream *stream, uint32_t run);

/** Is anything shown, so that figures are wanted often? */
bool bench_progress_wanted(const struct bench_progress *progress);

/** A source's progress callback; opaque is the struct. */
void bench_progress_update(void *opaque, const struct rmig_move_status *status);

/** Remove the bar: call before printing anything else. */
void bench_progress_end(struct bench_progress *progress);

#endif
