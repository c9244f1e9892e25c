/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_move.h -- one run of the source: pick the transport, move, verify. */
#ifndef TOOLS_BENCH_MOVE_H
#define TOOLS_BENCH_MOVE_H

#include "tools/bench_ctl.h"
#include "tools/bench_guest.h"
#include "tools/bench_result.h"
#include "tools/bench_stream.h"

/** What stays the same over the runs of a session. */
struct bench_source {
    const struct bench_params *params;
    const char *host; /* where the destination is */
    struct bench_ctl *ctl;
    struct bench_ram *ram;
    struct bench_guest *guest; /* NULL: none */
    struct bench_stream *stream;
    uint64_t token;
};

/**
 * Move once with the transport that result->requested says, and fill the rest of *result. What goes
 * wrong is in result->status and result->err.
 */
void bench_move(const struct bench_source *source, struct bench_result *result);

/**
 * After a move that was given up: has the guest write once more at the source, and looks whether all that
 * it ever wrote is in the source's memory. Else result->status says so. Blocks: 5 s at most, and reads RAM.
 */
void bench_verify_source(const struct bench_source *source, struct bench_result *result);

/** Compare the memories: receives the destination's hashes, sends the verdict. 0 or an errno. */
int bench_verify(const struct bench_source *source, struct bench_result *result,
                 struct rmig_err *err);

#endif
