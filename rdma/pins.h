/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pins.h -- a pin budget: which chunks have a place under it, and which of them may lose it. No I/O.
 *
 * A chunk gets a place before it is registered, and has it until another one needs it: the place that
 * was filled longest ago and whose chunk nobody uses any more. So never more chunks are registered
 * than there are places, and what is written over and over stays registered as long as it can.
 */
#ifndef RDMA_PINS_H
#define RDMA_PINS_H

#include <stdbool.h>
#include <stdint.h>
#include <rmig/error.h>

#include "common/blocks.h"

/* What is known of a chunk while there is a budget. */
struct rmig_rdma_use {
    uint32_t place;        /* 1 and up, 0 = none */
    uint32_t queued_bytes; /* of runs that wait to be written */
    uint64_t last_write;   /* writes posted on its queue pair, its own last one included */
};

struct rmig_rdma_pin {
    uint32_t block_index;
    uint64_t chunk;
};

struct rmig_rdma_pins {
    uint32_t nplaces; /* 0 = no budget: every chunk stays registered */
    uint32_t ntaken;
    uint32_t hand; /* the place that is looked at next */
    struct rmig_rdma_pin *places;
    const struct rmig_blocks *table;
    struct rmig_rdma_use **uses; /* per block, per chunk */
};

/* Places for budget_bytes, one at least. A budget that all RAM fits in, or of 0, is none.
 * Requires: pins is zeroed; table outlives it. Returns: 0, -ENOMEM. */
int rmig_rdma_pins_init(struct rmig_rdma_pins *pins, const struct rmig_blocks *table,
                        uint64_t budget_bytes, struct rmig_err *err);

/* Fine on a zeroed object. */
void rmig_rdma_pins_release(struct rmig_rdma_pins *pins);

/* Requires: there is a budget. */
static inline struct rmig_rdma_use *rmig_rdma_pins_use(const struct rmig_rdma_pins *pins,
                                                       uint32_t block_index, uint64_t chunk)
{
    return &pins->uses[block_index][chunk];
}

/*
 * Give a chunk a place. may_go: may this one lose its own? Requires: there is a budget, and the chunk
 * has no place. Returns: 1, and *gone_p is the chunk that had it; 0, nobody had it; -EAGAIN, all are
 * in use.
 */
int rmig_rdma_pins_place(struct rmig_rdma_pins *pins, const struct rmig_rdma_pin *pin,
                         bool (*may_go)(void *arg, const struct rmig_rdma_pin *pin), void *arg,
                         struct rmig_rdma_pin *gone_p);

#endif
