/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_serve.h -- the destination's side of one client: its session and its runs. */
#ifndef TOOLS_BENCH_SERVE_H
#define TOOLS_BENCH_SERVE_H

#include "tools/bench_ctl.h"
#include "tools/bench_params.h"

/**
 * Serve a client until it says bye, hangs up or fails. quiet: print failures only. Returns: the
 * exit status that the last run gives.
 */
enum bench_exit bench_serve(const struct bench_params *params, struct bench_ctl *ctl, bool quiet);

#endif
