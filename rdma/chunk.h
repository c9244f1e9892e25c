/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * chunk.h -- guest RAM as 1 MiB chunks and the memory regions that cover them.
 *
 * A region covers whole neighbouring chunks of one block (the last chunk of a block may be short).
 * A chunk belongs to one region at most.
 */
#ifndef RDMA_CHUNK_H
#define RDMA_CHUNK_H

#include <stdint.h>
#include <rmig/error.h>

#include "common/blocks.h"
#include "common/overflow.h"
#include "rdma/verbs.h"
#include "rdma/wire.h"

struct rmig_rdma_region {
    struct rmig_rdma_mr mr;
    uint32_t block_index;
    uint64_t first_chunk;
    uint64_t nchunks;
    uint64_t len_bytes;
};

struct rmig_rdma_chunks {
    struct rmig_rdma_verbs *verbs;
    const struct rmig_blocks *table;
    unsigned access; /* as rmig_rdma_verbs_reg_mr() takes it */
    uint32_t **region_of; /* per block, per chunk: index + 1 in regions, 0 = none */
    struct rmig_rdma_region *regions;
    uint32_t nregions;
    uint64_t registrations; /* ever made */
    uint32_t capacity;
    uint64_t budget_bytes; /* most to have pinned, 0 = no limit */
    uint64_t pinned_bytes; /* of regions that are not on demand */
    uint64_t peak_pinned_bytes;
};

/* Chunks of a block of len_bytes. */
static inline uint64_t rmig_chunk_count(uint64_t len_bytes)
{
    return (len_bytes >> RMIG_WIRE_CHUNK_SHIFT) + ((len_bytes & (RMIG_WIRE_CHUNK_BYTES - 1)) != 0);
}

/*
 * Time that a peer is granted to pin all RAM, beyond the idle timeout. 20 s per GiB: a host pins that
 * in a tenth of a second to 2, a starved guest in 20. Only a peer that lives and is stuck is waited
 * for so long: one that is dead the keepalive notices, which needs no key.
 */
static inline uint32_t rmig_rdma_pin_time_ms(uint64_t ram_bytes)
{
    return (uint32_t)rmig_min_u64((ram_bytes >> 20) * 20000 / 1024, 3600000);
}

/* Requires: table outlives the object. Returns: 0, -ENOMEM. */
int rmig_rdma_chunks_init(struct rmig_rdma_chunks *chunks, struct rmig_rdma_verbs *verbs,
                          const struct rmig_blocks *table, unsigned access,
                          uint64_t budget_bytes, struct rmig_err *err);

/* Deregister every region. Fine on a zeroed object. Returns: 0; the first -errno of verbs, and the regions
 * that could not be deregistered are there still, and counted as pinned. */
int rmig_rdma_chunks_deregister_all(struct rmig_rdma_chunks *chunks, struct rmig_err *err);

/* The same, and frees the object, whatever comes of it: it is logged. Requires: no queue pair is left. */
void rmig_rdma_chunks_release(struct rmig_rdma_chunks *chunks);

/*
 * Register [first, first + count) of a block as one region. Requires: index and range are inside.
 * Returns: 0; -EEXIST a chunk of the range belongs to another region already; -EDQUOT over the
 * budget; -ENOMEM; -errno of verbs. Where the range is one region already that is the answer.
 */
int rmig_rdma_chunks_register(struct rmig_rdma_chunks *chunks, uint32_t block_index,
                              uint64_t first, uint64_t count,
                              const struct rmig_rdma_region **region_p, struct rmig_err *err);

/* Deregister the region that covers exactly [first, first + count) of a block. Requires: index and
 * range are inside. Returns: 0; -ENOENT there is no such region; -errno of verbs, it is there still. */
int rmig_rdma_chunks_deregister(struct rmig_rdma_chunks *chunks, uint32_t block_index,
                                uint64_t first, uint64_t count, struct rmig_err *err);

/* Region of a chunk, NULL if none. Requires: index and chunk are inside. Valid until the next
 * register or deregister. */
static inline const struct rmig_rdma_region *
rmig_rdma_chunks_find(const struct rmig_rdma_chunks *chunks, uint32_t block_index, uint64_t chunk)
{
    uint32_t i = chunks->region_of[block_index][chunk];

    return i ? &chunks->regions[i - 1] : NULL;
}

#endif
