/* SPDX-License-Identifier: BSD-3-Clause */
/* dirty_bits.h -- bitmaps of written pages that any thread sets and a sync takes, without a lock.
 */
#ifndef HOOKS_DIRTY_BITS_H
#define HOOKS_DIRTY_BITS_H

#include <stdint.h>
#include <rmig/dirty.h>

/** Pages are counted from the block's first byte, in units of RMIG_PAGE_BYTES. */
struct rmig_dirty_bits {
    const struct rmig_block *blocks;
    uint32_t nblocks;
    uint64_t *words;      /* the bitmaps of all blocks, one after the other */
    uint64_t *first_word; /* per block: where its bitmap begins; one more for the end */
};

/** All clear. Requires: blocks outlives it. Returns: 0; -ENOMEM. */
int rmig_dirty_bits_init(struct rmig_dirty_bits *bits, const struct rmig_block *blocks,
                         uint32_t nblocks, struct rmig_err *err);

/** Fine on a zeroed object. */
void rmig_dirty_bits_release(struct rmig_dirty_bits *bits);

/** Clear all. A set at the same time comes before or after. */
void rmig_dirty_bits_clear(struct rmig_dirty_bits *bits);

/** Set [first, first + count). Requires: inside the block. Any thread. */
void rmig_dirty_bits_set(struct rmig_dirty_bits *bits, uint32_t block_index, uint64_t first,
                         uint64_t count);

/**
 * Set what is set in the first npages bits of map, bit 0 being page first of the block; what map
 * has behind them is not looked at. The words of map are little-endian, as KVM writes them.
 * Requires: [first, first + npages) is inside the block. Any thread.
 */
void rmig_dirty_bits_merge(struct rmig_dirty_bits *bits, uint32_t block_index, uint64_t first,
                           const uint64_t *map, uint64_t npages);

/**
 * Report each run of set bits, clearing it before. What was written before a bit was set can be
 * read once it is reported. One thread at a time.
 * Returns: 0, or what fn gave: its run and those after it are still set.
 */
int rmig_dirty_bits_report(struct rmig_dirty_bits *bits, rmig_dirty_fn fn, void *opaque);

#endif
