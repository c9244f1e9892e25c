/* SPDX-License-Identifier: BSD-3-Clause */
/* blocks.h -- the RAM block table: checked once, looked up by name, the only offset-to-pointer conversion. */
#ifndef COMMON_BLOCKS_H
#define COMMON_BLOCKS_H

#include <stddef.h>
#include <stdint.h>
#include <rmig/error.h>
#include <rmig/ram.h>

/** A checked view of the caller's blocks. */
struct rmig_blocks {
    const struct rmig_block *items; /* the caller's array */
    uint32_t count;
    uint64_t total_bytes;
    uint32_t *by_name; /* indexes sorted by name */
};

/**
 * Check every block and index the names. Requires: items outlives the table; the names too.
 * Returns: 0; -EINVAL naming the block and the figure; -E2BIG more than RMIG_BLOCKS_MAX; -ENOMEM.
 */
int rmig_blocks_init(struct rmig_blocks *table, const struct rmig_block *items, uint32_t count,
                     struct rmig_err *err);

/** Release what init took. Fine on a zeroed table. */
void rmig_blocks_release(struct rmig_blocks *table);

/** Find by name. Returns: the index, or -ENOENT. */
int64_t rmig_blocks_find(const struct rmig_blocks *table, const char *name);

/**
 * Turn (index, offset, length) into a pointer: the only place that does.
 * Returns: 0; -ERANGE where the index or the range is outside, or len_bytes is 0.
 */
int rmig_blocks_range(const struct rmig_blocks *table, uint32_t index, uint64_t offset_bytes,
                      uint64_t len_bytes, uint8_t **ptr_p);

#endif
