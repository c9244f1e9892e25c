/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_stream.h -- --json-stream: an object for each thing that happens, a line each, as it
 * happens. */
#ifndef TOOLS_BENCH_STREAM_H
#define TOOLS_BENCH_STREAM_H

#include <stdint.h>
#include <stdio.h>
#include <rmig/migrate.h>

#include "tools/bench_result.h"

/** Raised when a member of one of the objects changes its meaning; additions do not raise it. */
#define BENCH_STREAM_FORMAT_VERSION 1

/** All of it does nothing where to is NULL, and after a first failure. */
struct bench_stream {
    FILE *to;
    struct rmig_err err; /* code 0: all was written */
};

/** What an interval brought. */
struct bench_interval {
    uint32_t run;
    uint64_t elapsed_ns;  /* since the run began */
    uint64_t interval_ns; /* as long as it was */
    uint64_t moved_bytes; /* in the interval */
};

/** The destination is ready for RAM of ram_bytes; as many runs will follow. */
void bench_stream_start(struct bench_stream *stream, const struct bench_params *params,
                        const char *host, const char *port, uint64_t ram_bytes, uint32_t nblocks,
                        uint32_t nruns);

void bench_stream_interval(struct bench_stream *stream, const struct bench_interval *interval,
                           const struct rmig_move_status *status);

/** A run is over, whatever came of it: the object that --json writes is in it. */
void bench_stream_run(struct bench_stream *stream, const struct bench_params *params,
                      const struct bench_result *result);

/** The last object, whatever came of it. why: what was complained of first, code 0 = nothing. */
void bench_stream_final(struct bench_stream *stream, const struct bench_params *params,
                        const struct bench_result *results, uint32_t count, enum bench_exit status,
                        const struct rmig_err *why);

#endif
