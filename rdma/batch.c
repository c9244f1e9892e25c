/* SPDX-License-Identifier: BSD-3-Clause */
/* batch.c -- a queue of page runs that merges neighbours. */
#include "rdma/batch.h"

bool rmig_rdma_batch_add(struct rmig_rdma_batch *batch, const struct rmig_run *run)
{
    if (batch->count) {
        struct rmig_run *last =
            &batch->runs[(batch->head + batch->count - 1) % RMIG_BATCH_RUNS_MAX];

        if (last->block_index == run->block_index &&
            last->offset_bytes + last->len_bytes == run->offset_bytes) {
            last->len_bytes += run->len_bytes;
            batch->bytes += run->len_bytes;
            return true;
        }
    }
    if (batch->count == RMIG_BATCH_RUNS_MAX)
        return false;
    batch->runs[(batch->head + batch->count) % RMIG_BATCH_RUNS_MAX] = *run;
    batch->count++;
    batch->bytes += run->len_bytes;
    return true;
}

void rmig_rdma_batch_consume(struct rmig_rdma_batch *batch, uint64_t len_bytes)
{
    struct rmig_run *run = &batch->runs[batch->head];

    run->offset_bytes += len_bytes;
    run->len_bytes -= len_bytes;
    batch->bytes -= len_bytes;
    if (run->len_bytes == 0) {
        batch->head = (batch->head + 1) % RMIG_BATCH_RUNS_MAX;
        batch->count--;
    }
}
