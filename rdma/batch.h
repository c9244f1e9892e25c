/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * batch.h -- runs of pages that wait to be written, neighbours merged, first in first out. No I/O.
 */
#ifndef RDMA_BATCH_H
#define RDMA_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <rmig/ram.h>

#define RMIG_BATCH_RUNS_MAX 1024u

struct rmig_rdma_batch {
    struct rmig_run runs[RMIG_BATCH_RUNS_MAX]; /* a ring */
    uint32_t head;
    uint32_t count;
    uint64_t bytes; /* of all runs */
};

/* Append a run, merging it into the last one where it follows on. Returns: false if full. */
bool rmig_rdma_batch_add(struct rmig_rdma_batch *batch, const struct rmig_run *run);

/* The oldest run, NULL if none. */
static inline const struct rmig_run *rmig_rdma_batch_head(const struct rmig_rdma_batch *batch)
{
    return batch->count ? &batch->runs[batch->head] : NULL;
}

/* Take len_bytes off the front of the oldest run. Requires: it has them. */
void rmig_rdma_batch_consume(struct rmig_rdma_batch *batch, uint64_t len_bytes);

#endif
