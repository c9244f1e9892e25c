/* SPDX-License-Identifier: BSD-3-Clause */
/* bitmap.h -- bitmaps of 64-bit words: ranges set, cleared and found by whole words. */
#ifndef COMMON_BITMAP_H
#define COMMON_BITMAP_H

#include <stdbool.h>
#include <stdint.h>

#define RMIG_BITS_PER_WORD 64u

/** Words that nbits need. */
static inline uint64_t rmig_bitmap_words(uint64_t nbits)
{
    return nbits / RMIG_BITS_PER_WORD + (nbits % RMIG_BITS_PER_WORD != 0);
}

/** A zeroed bitmap of nbits, or NULL. Ownership: the caller frees it with free(). */
uint64_t *rmig_bitmap_new(uint64_t nbits);

/** Set [first, first + count). Requires: the range is inside. Returns: how many were clear. */
uint64_t rmig_bitmap_set(uint64_t *map, uint64_t first, uint64_t count);

/** Clear [first, first + count). Requires: the range is inside. Returns: how many were set. */
uint64_t rmig_bitmap_clear(uint64_t *map, uint64_t first, uint64_t count);

/** Returns: the first set bit at or after first, nbits if none. */
uint64_t rmig_bitmap_next_set(const uint64_t *map, uint64_t nbits, uint64_t first);

/** Returns: the first clear bit at or after first, nbits if none. */
uint64_t rmig_bitmap_next_clear(const uint64_t *map, uint64_t nbits, uint64_t first);

/** Returns: how many bits of [0, nbits) are set. */
uint64_t rmig_bitmap_count(const uint64_t *map, uint64_t nbits);

static inline bool rmig_bitmap_test(const uint64_t *map, uint64_t bit)
{
    return map[bit / RMIG_BITS_PER_WORD] >> (bit % RMIG_BITS_PER_WORD) & 1;
}

#endif
