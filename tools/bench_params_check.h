/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_params_check.h -- a command line as a whole. */
#ifndef TOOLS_BENCH_PARAMS_CHECK_H
#define TOOLS_BENCH_PARAMS_CHECK_H

#include <argp.h>

#include "tools/bench_params.h"

/**
 * Once all options are parsed: what contradicts itself or would have no effect ends the program by
 * one line and BENCH_USAGE; what hangs on other options is filled in.
 */
void bench_params_check(struct argp_state *state, struct bench_params *params);

#endif
