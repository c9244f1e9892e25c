/* dirty_bits.c -- dirty bitmaps by atomic words: set by any thread, reported as runs and cleared.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "hooks/dirty_bits.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bitmap.h"

static uint64_t block_pages(const struct rmig_dirty_bits *bits, uint32_t index)
{
    return bits->blocks[index].len_bytes >> RMIG_PAGE_SHIFT;
}

int rmig_dirty_bits_init(struct rmig_dirty_bits *bits, const struct rmig_block *blocks,
                         uint32_t nblocks, struct rmig_err *err)
{
    memset(bits, 0, sizeof(*bits));
    bits->blocks = blocks;
    bits->nblocks = nblocks;
    bits->first_word = calloc((size_t)nblocks + 1, sizeof(*bits->first_word));
    for (uint32_t i = 0; bits->first_word && i < nblocks; i++)
        bits->first_word[i + 1] = bits->first_word[i] + rmig_bitmap_words(block_pages(bits, i));
    if (bits->first_word)
        bits->words = calloc(bits->first_word[nblocks], sizeof(*bits->words));
    if (!bits->words) {
        rmig_dirty_bits_release(bits);
        return rmig_err_set(err, -ENOMEM, "dirty tracking: no memory for the bitmaps of %u blocks",
                            nblocks);
    }
    return 0;
}

void rmig_dirty_bits_release(struct rmig_dirty_bits *bits)
{
    free(bits->words);
    free(bits->first_word);
    memset(bits, 0, sizeof(*bits));
}

void rmig_dirty_bits_clear(struct rmig_dirty_bits *bits)
{
    for (uint64_t i = 0; i < bits->first_word[bits->nblocks]; i++)
        __atomic_store_n(&bits->words[i], 0, __ATOMIC_RELAXED);
}

/* Release: what the setter wrote before can be read by who takes the bit. */
static void set_in_word(uint64_t *word, uint64_t mask)
{
    __atomic_fetch_or(word, mask, __ATOMIC_RELEASE);
}

void rmig_dirty_bits_set(struct rmig_dirty_bits *bits, uint32_t block_index, uint64_t first,
                         uint64_t count)
{
    uint64_t *words = bits->words + bits->first_word[block_index];
    uint64_t end = first + count;

    while (first < end) {
        uint64_t low = first % RMIG_BITS_PER_WORD, n = RMIG_BITS_PER_WORD - low;

        if (n > end - first)
            n = end - first;
        set_in_word(&words[first / RMIG_BITS_PER_WORD], UINT64_MAX >> (RMIG_BITS_PER_WORD - n)
                                                                          << low);
        first += n;
    }
}

void rmig_dirty_bits_merge(struct rmig_dirty_bits *bits, uint32_t block_index, uint64_t first,
                           const uint64_t *map, uint64_t npages)
{
    uint64_t *to = bits->words + bits->first_word[block_index] + first / RMIG_BITS_PER_WORD;
    uint64_t shift = first % RMIG_BITS_PER_WORD;

    for (uint64_t i = 0; i < rmig_bitmap_words(npages); i++) {
        uint64_t left = npages - i * RMIG_BITS_PER_WORD, word = le64toh(map[i]);

        if (left < RMIG_BITS_PER_WORD)
            word &= (UINT64_C(1) << left) - 1;
        if (word << shift)
            set_in_word(&to[i], word << shift);
        if (shift && word >> (RMIG_BITS_PER_WORD - shift))
            set_in_word(&to[i + 1], word >> (RMIG_BITS_PER_WORD - shift));
    }
}

/* What is being reported: a run that grows over word boundaries, open while len is not 0. */
struct report {
    struct rmig_dirty_bits *bits;
    rmig_dirty_fn fn;
    void *opaque;
    uint32_t block_index;
    uint64_t first;
    uint64_t len;
};

static int close_run(struct report *r)
{
    struct rmig_run run = {
        .block_index = r->block_index,
        .offset_bytes = r->first << RMIG_PAGE_SHIFT,
        .len_bytes = r->len << RMIG_PAGE_SHIFT,
    };
    int rc = r->len ? r->fn(r->opaque, &run) : 0;

    if (rc < 0)
        rmig_dirty_bits_set(r->bits, r->block_index, r->first, r->len);
    r->len = 0;
    return rc < 0 ? rc : 0;
}

/* The runs of one word that was taken, base being the page of its bit 0. */
static int report_word(struct report *r, uint64_t base, uint64_t word)
{
    while (word) {
        uint64_t low = (uint64_t)__builtin_ctzll(word), rest = ~(word >> low);
        uint64_t n = rest ? (uint64_t)__builtin_ctzll(rest) : RMIG_BITS_PER_WORD;

        if (r->len && r->first + r->len != base + low) {
            int rc = close_run(r);

            if (rc < 0) {
                set_in_word(&r->bits->words[r->bits->first_word[r->block_index] +
                                            base / RMIG_BITS_PER_WORD],
                            word);
                return rc;
            }
        }
        if (!r->len)
            r->first = base + low;
        r->len += n;
        word &= ~(UINT64_MAX >> (RMIG_BITS_PER_WORD - n) << low);
    }
    return 0;
}

static int report_block(struct report *r)
{
    uint64_t at = r->bits->first_word[r->block_index];
    uint64_t nwords = r->bits->first_word[r->block_index + 1] - at;
    int rc = 0;

    for (uint64_t i = 0; rc == 0 && i < nwords; i++) {
        uint64_t *word = &r->bits->words[at + i];

        if (__atomic_load_n(word, __ATOMIC_RELAXED))
            rc = report_word(r, i * RMIG_BITS_PER_WORD,
                             __atomic_exchange_n(word, 0, __ATOMIC_ACQUIRE));
    }
    return rc < 0 ? rc : close_run(r);
}

int rmig_dirty_bits_report(struct rmig_dirty_bits *bits, rmig_dirty_fn fn, void *opaque)
{
    struct report r = {.bits = bits, .fn = fn, .opaque = opaque};
    int rc = 0;

    for (; rc == 0 && r.block_index < bits->nblocks; r.block_index++)
        rc = report_block(&r);
    return rc;
}
