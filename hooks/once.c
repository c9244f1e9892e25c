/* SPDX-License-Identifier: BSD-3-Clause */
/* once.c -- a bitmap of the pages put in the present pass, made per block when first needed. */
#include "hooks/once.h"

#include <stdlib.h>

#include "common/bitmap.h"
#include "common/overflow.h"

struct seen {
    uint64_t *map;
    uint64_t low, high; /* pages [low, high) may be set; low == high: none */
};

struct rmig_once {
    const struct rmig_blocks *blocks;
    uint32_t ntouched;
    uint32_t *touched; /* the blocks whose range is not empty */
    struct seen *seen;
};

struct rmig_once *rmig_once_new(const struct rmig_blocks *blocks)
{
    struct rmig_once *once = calloc(1, sizeof(*once));

    if (!once)
        return NULL;
    once->blocks = blocks;
    once->touched = calloc(blocks->count, sizeof(*once->touched));
    once->seen = calloc(blocks->count, sizeof(*once->seen));
    if (once->touched && once->seen)
        return once;
    rmig_once_free(once);
    return NULL;
}

void rmig_once_free(struct rmig_once *once)
{
    if (!once)
        return;
    for (uint32_t i = 0; once->seen && i < once->blocks->count; i++)
        free(once->seen[i].map);
    free(once->seen);
    free(once->touched);
    free(once);
}

void rmig_once_restart(struct rmig_once *once)
{
    if (!once)
        return;
    while (once->ntouched > 0) {
        struct seen *s = &once->seen[once->touched[--once->ntouched]];

        rmig_bitmap_clear(s->map, s->low, s->high - s->low);
        s->low = s->high = 0;
    }
}

bool rmig_once_note(struct rmig_once *once, const struct rmig_run *run)
{
    uint64_t first = run->offset_bytes >> RMIG_PAGE_SHIFT;
    uint64_t count = run->len_bytes >> RMIG_PAGE_SHIFT;
    struct seen *s;

    if (!once)
        return true;
    s = &once->seen[run->block_index];
    if (!s->map)
        s->map =
            rmig_bitmap_new(once->blocks->items[run->block_index].len_bytes >> RMIG_PAGE_SHIFT);
    if (!s->map)
        return true;
    if (s->low == s->high) {
        once->touched[once->ntouched++] = run->block_index;
        s->low = first;
        s->high = first + count;
    } else {
        s->low = rmig_min_u64(s->low, first);
        s->high = rmig_max_u64(s->high, first + count);
    }
    return rmig_bitmap_set(s->map, first, count) == count;
}
