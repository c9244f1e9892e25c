/* SPDX-License-Identifier: BSD-3-Clause */
/* pages.c -- the dirty bitmaps of all blocks in one allocation, under one lock. */
#include "hooks/pages.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bitmap.h"

static uint64_t block_pages(const struct rmig_pages *p, uint32_t index)
{
    return p->blocks->items[index].len_bytes >> RMIG_PAGE_SHIFT;
}

static uint64_t *block_map(const struct rmig_pages *p, uint32_t index)
{
    return p->words + p->first_word[index];
}

int rmig_pages_init(struct rmig_pages *pages, const struct rmig_blocks *blocks, bool dirty,
                    struct rmig_err *err)
{
    uint64_t nwords = 0;

    memset(pages, 0, sizeof(*pages));
    pages->blocks = blocks;
    pages->first_word = calloc(blocks->count, sizeof(*pages->first_word));
    for (uint32_t i = 0; pages->first_word && i < blocks->count; i++) {
        pages->first_word[i] = nwords;
        nwords += rmig_bitmap_words(block_pages(pages, i));
    }
    pages->words = calloc(nwords, sizeof(*pages->words));
    if (!pages->first_word || !pages->words) {
        free(pages->first_word);
        free(pages->words);
        memset(pages, 0, sizeof(*pages));
        return rmig_err_set(err, -ENOMEM,
                            "dirty bitmap: out of memory for %u blocks, %llu bytes of RAM",
                            blocks->count, (unsigned long long)blocks->total_bytes);
    }
    for (uint32_t i = 0; dirty && i < blocks->count; i++)
        pages->dirty += rmig_bitmap_set(block_map(pages, i), 0, block_pages(pages, i));
    pthread_mutex_init(&pages->lock, NULL);
    return 0;
}

void rmig_pages_release(struct rmig_pages *pages)
{
    if (!pages->words)
        return;
    pthread_mutex_destroy(&pages->lock);
    free(pages->words);
    free(pages->first_word);
    memset(pages, 0, sizeof(*pages));
}

void rmig_pages_mark(struct rmig_pages *pages, const struct rmig_page_range *range)
{
    pthread_mutex_lock(&pages->lock);
    pages->dirty +=
        rmig_bitmap_set(block_map(pages, range->block_index), range->first, range->count);
    pthread_mutex_unlock(&pages->lock);
}

uint64_t rmig_pages_next_dirty(struct rmig_pages *pages, uint32_t block_index, uint64_t first, uint64_t end)
{
    const uint64_t *map = block_map(pages, block_index);
    uint64_t next;

    pthread_mutex_lock(&pages->lock);
    next = rmig_bitmap_next_set(map, end, first);
    pthread_mutex_unlock(&pages->lock);
    return next;
}

uint64_t rmig_pages_dirty_run(struct rmig_pages *pages, uint32_t block_index, uint64_t first, uint64_t end)
{
    const uint64_t *map = block_map(pages, block_index);
    uint64_t next;

    pthread_mutex_lock(&pages->lock);
    next = rmig_bitmap_next_clear(map, end, first);
    pthread_mutex_unlock(&pages->lock);
    return next - first;
}

void rmig_pages_take(struct rmig_pages *pages, const struct rmig_page_range *range)
{
    pthread_mutex_lock(&pages->lock);
    pages->dirty -=
        rmig_bitmap_clear(block_map(pages, range->block_index), range->first, range->count);
    pthread_mutex_unlock(&pages->lock);
}

uint64_t rmig_pages_count(struct rmig_pages *pages)
{
    uint64_t n;

    pthread_mutex_lock(&pages->lock);
    n = pages->dirty;
    pthread_mutex_unlock(&pages->lock);
    return n;
}
