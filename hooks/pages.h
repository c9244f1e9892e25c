/* SPDX-License-Identifier: BSD-3-Clause */
/* pages.h -- the dirty pages of all blocks: marked by any thread, taken in order by the save
 * driver. */
#ifndef HOOKS_PAGES_H
#define HOOKS_PAGES_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <rmig/error.h>
#include "common/blocks.h"

/** Pages are counted from the block's first byte, in units of RMIG_PAGE_BYTES. */
struct rmig_pages {
    const struct rmig_blocks *blocks;
    pthread_mutex_t lock; /* of what follows */
    uint64_t *words;      /* the bitmaps of all blocks, one after the other */
    uint64_t *first_word; /* per block: where its bitmap begins */
    uint64_t dirty;       /* bits set */
};

/** Pages [first, first + count) of one block. */
struct rmig_page_range {
    uint32_t block_index;
    uint64_t first;
    uint64_t count;
};

/** All pages start dirty, or none. Requires: blocks outlives it. Returns: 0; -ENOMEM. */
int rmig_pages_init(struct rmig_pages *pages, const struct rmig_blocks *blocks, bool dirty,
                    struct rmig_err *err);

/** Fine on a zeroed object. */
void rmig_pages_release(struct rmig_pages *pages);

/** Make dirty. Requires: the range is inside its block. Any thread. */
void rmig_pages_mark(struct rmig_pages *pages, const struct rmig_page_range *range);

/** The first dirty page of the block at or after page first and before end; end if there is none. Any thread. */
uint64_t rmig_pages_next_dirty(struct rmig_pages *pages, uint32_t block_index, uint64_t first, uint64_t end);

/**
 * How many pages from page first on and before end are dirty. No page behind end is looked at: who walks a block
 * in steps reads each part of it once. Any thread.
 */
uint64_t rmig_pages_dirty_run(struct rmig_pages *pages, uint32_t block_index, uint64_t first, uint64_t end);

/** Make clean, before the pages are read: what is written to them later must be marked again. */
void rmig_pages_take(struct rmig_pages *pages, const struct rmig_page_range *range);

/** Returns: how many pages are dirty. Any thread. */
uint64_t rmig_pages_count(struct rmig_pages *pages);

#endif
