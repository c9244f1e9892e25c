/* SPDX-License-Identifier: BSD-3-Clause */
/* source_keys.h -- the source's keys: chunks that want one, the request on its way, its answer. */
#ifndef RDMA_SOURCE_KEYS_H
#define RDMA_SOURCE_KEYS_H

#include "rdma/source.h"

/* Chunks that are asked for at once: enough to write while the next request is answered. */
#define RMIG_SOURCE_ASK_CHUNKS 16u

/*
 * Give a chunk a place under the pin budget; without one every chunk has one. Who loses a place for it
 * is unregistered here at once, and at the destination before more keys are asked for. Returns: 1; 0,
 * all places are in use: the writes that hold them have to be waited for; -errno.
 */
int rmig_rdma_source_admit(struct rmig_rdma_source *source, uint32_t block_index, uint64_t chunk,
                           struct rmig_err *err);

/* Is a request on its way? */
static inline bool rmig_rdma_source_is_asking(const struct rmig_rdma_source *source)
{
    return source->nasked > 0 || source->nreleased > 0;
}

/* Put the chunks of a run that have no key on the list of wants. Returns: false if it is full; what
 * was put there stays. */
bool rmig_rdma_source_want_keys(struct rmig_rdma_source *source, const struct rmig_run *run);

/* Is a request due as soon as there is a READY for it? all: also one for less than a full group. */
bool rmig_rdma_source_is_ask_due(const struct rmig_rdma_source *source, bool all);

/* Send one request: what has lost its place is unregistered before more keys are asked for. Of these one
 * to a stock peer, as many as there are else. Requires: one is due, and there is a READY. Returns: 0,
 * -errno. */
int rmig_rdma_source_ask_keys(struct rmig_rdma_source *source, struct rmig_err *err);

/* Make this side's regions of what was asked for, while the destination makes its own. Returns: 0, -errno. */
int rmig_rdma_source_register_asked(struct rmig_rdma_source *source, struct rmig_err *err);

/* Take the answer. Requires: a message waits; this side's regions are there. Returns: 0; -EPROTO; -errno. */
int rmig_rdma_source_take_keys(struct rmig_rdma_source *source, struct rmig_err *err);

#endif
