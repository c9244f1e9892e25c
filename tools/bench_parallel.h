/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_parallel.h -- runs a function over many independent units on all CPUs. */
#ifndef TOOLS_BENCH_PARALLEL_H
#define TOOLS_BENCH_PARALLEL_H

#include <stdbool.h>
#include <stdint.h>
#include <rmig/cancel.h>

typedef void (*bench_unit_fn)(void *opaque, uint64_t unit);

/**
 * Call fn for each unit in [0, nunits), on as many threads as there are CPUs; where no thread is to
 * be had the caller's does the work. Returns: true when all are done; false if stop (NULL = never)
 * was triggered before.
 */
bool bench_parallel(uint64_t nunits, bench_unit_fn fn, void *opaque, struct rmig_cancel *stop);

#endif
