/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_report.h -- the results, for people and for programs. */
#ifndef TOOLS_BENCH_REPORT_H
#define TOOLS_BENCH_REPORT_H

#include <jansson.h>
#include <stdio.h>

#include "tools/bench_result.h"

/** Raised when a member of the JSON object changes its meaning; additions do not raise it. */
#define BENCH_FORMAT_VERSION 1

/** As a JSON integer, which is signed. */
json_int_t bench_json_integer(uint64_t value);

/** The object of one run. The caller drops it. Returns: NULL where there is no memory. */
json_t *bench_report_object(const struct bench_params *params, const struct bench_result *result);

/** That object and a newline. Returns: 0; -ENOMEM; -EIO. */
int bench_report_json(FILE *to, const struct bench_params *params,
                      const struct bench_result *result, struct rmig_err *err);

/** The table: a row for each run that moved everything. */
void bench_report_table(FILE *to, const struct bench_params *params,
                        const struct bench_result *results, uint32_t count);

/** Goodput at the median time of the runs, with --compare of those by RDMA; 0 where none moved
 * everything. */
double bench_report_goodput(const struct bench_params *params, const struct bench_result *results,
                            uint32_t count);

/** The medians of --compare as a ratio; nothing where one of the transports moved nothing. */
void bench_report_ratio(FILE *to, const struct bench_result *results, uint32_t count);

#endif
