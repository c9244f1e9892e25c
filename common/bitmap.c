/* SPDX-License-Identifier: BSD-3-Clause */
/* bitmap.c -- bitmaps of 64-bit words. */
#include "common/bitmap.h"

#include <stdlib.h>

uint64_t *rmig_bitmap_new(uint64_t nbits)
{
    uint64_t words = rmig_bitmap_words(nbits);

    return calloc(words ? words : 1, sizeof(uint64_t));
}

/* The bits of one word that belong to [bit, end), bit being in that word. */
static uint64_t word_mask(uint64_t bit, uint64_t end)
{
    uint64_t low = bit % RMIG_BITS_PER_WORD;
    uint64_t n = end - bit;

    if (n >= RMIG_BITS_PER_WORD - low)
        return UINT64_MAX << low;
    return ((UINT64_C(1) << n) - 1) << low;
}

static uint64_t next_word_start(uint64_t bit)
{
    return (bit / RMIG_BITS_PER_WORD + 1) * RMIG_BITS_PER_WORD;
}

uint64_t rmig_bitmap_set(uint64_t *map, uint64_t first, uint64_t count)
{
    uint64_t end = first + count, changed = 0;

    for (uint64_t bit = first; bit < end; bit = next_word_start(bit)) {
        uint64_t mask = word_mask(bit, end);
        uint64_t *word = &map[bit / RMIG_BITS_PER_WORD];

        changed += (uint64_t)__builtin_popcountll(mask & ~*word);
        *word |= mask;
    }
    return changed;
}

uint64_t rmig_bitmap_clear(uint64_t *map, uint64_t first, uint64_t count)
{
    uint64_t end = first + count, changed = 0;

    for (uint64_t bit = first; bit < end; bit = next_word_start(bit)) {
        uint64_t mask = word_mask(bit, end);
        uint64_t *word = &map[bit / RMIG_BITS_PER_WORD];

        changed += (uint64_t)__builtin_popcountll(mask & *word);
        *word &= ~mask;
    }
    return changed;
}

/* First bit at or after first whose value differs from the one that invert maps to 0. */
static uint64_t next_bit(const uint64_t *map, uint64_t nbits, uint64_t first, uint64_t invert)
{
    while (first < nbits) {
        uint64_t word = (map[first / RMIG_BITS_PER_WORD] ^ invert) & word_mask(first, nbits);

        if (word)
            return first / RMIG_BITS_PER_WORD * RMIG_BITS_PER_WORD +
                   (uint64_t)__builtin_ctzll(word);
        first = next_word_start(first);
    }
    return nbits;
}

uint64_t rmig_bitmap_next_set(const uint64_t *map, uint64_t nbits, uint64_t first)
{
    return next_bit(map, nbits, first, 0);
}

uint64_t rmig_bitmap_next_clear(const uint64_t *map, uint64_t nbits, uint64_t first)
{
    return next_bit(map, nbits, first, UINT64_MAX);
}

uint64_t rmig_bitmap_count(const uint64_t *map, uint64_t nbits)
{
    uint64_t n = 0;

    for (uint64_t bit = 0; bit < nbits; bit = next_word_start(bit))
        n += (uint64_t)__builtin_popcountll(map[bit / RMIG_BITS_PER_WORD] & word_mask(bit, nbits));
    return n;
}
