/* SPDX-License-Identifier: BSD-3-Clause */
/* holes.h -- which parts of a block its backing file has never allocated: zero without reading. */
#ifndef HOOKS_HOLES_H
#define HOOKS_HOLES_H

#include <stdbool.h>
#include <stdint.h>
#include <rmig/ram.h>

/** What is known of [start_bytes, end_bytes) of a block; start == end knows nothing. */
struct rmig_extent {
    uint64_t start_bytes; /* offsets in the block, multiples of RMIG_PAGE_BYTES */
    uint64_t end_bytes;
    bool hole;
};

/**
 * Look up what kind of extent begins at offset_bytes. A page that a hole touches only in part is
 * data. Where the block has no fd, or that of a device, or its file system cannot tell, all the rest
 * is data. Data is told no further than it is cheap to, and look_bytes at most where it is in memory; a
 * hole is told to its end. Moves the file position of the block's fd.
 * Requires: offset_bytes is a page multiple inside the block; look_bytes is one, and not 0.
 * Returns: the extent; start_bytes is offset_bytes, end_bytes beyond it and within the block.
 */
struct rmig_extent rmig_extent_at(const struct rmig_block *block, uint64_t offset_bytes, uint64_t look_bytes);

/**
 * Make a range read as zero; what is zero already is not written, what no file holds not even read.
 * Requires: a page-aligned range inside the block. Returns: 0.
 */
int rmig_zero_range(const struct rmig_block *block, uint64_t offset_bytes, uint64_t len_bytes);

/** Is offset inside what the extent tells about? */
static inline bool rmig_extent_covers(const struct rmig_extent *e, uint64_t offset_bytes)
{
    return e->start_bytes <= offset_bytes && offset_bytes < e->end_bytes;
}

#endif
