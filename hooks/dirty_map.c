/* dirty_map.c -- the dirty tracker of a hypervisor that knows what it writes: it marks, sync takes.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#include <rmig/dirty.h>

#include <errno.h>
#include <stdlib.h>

#include "common/overflow.h"
#include "hooks/dirty_bits.h"

struct map {
    struct rmig_dirty base;
    struct rmig_dirty_bits bits;
};

static int start(struct rmig_dirty *dirty, struct rmig_err *err)
{
    (void)err;
    rmig_dirty_bits_clear(&((struct map *)dirty)->bits);
    return 0;
}

static int sync_all(struct rmig_dirty *dirty, rmig_dirty_fn fn, void *opaque, struct rmig_err *err)
{
    (void)err;
    return rmig_dirty_bits_report(&((struct map *)dirty)->bits, fn, opaque);
}

static void stop(struct rmig_dirty *dirty)
{
    (void)dirty; /* marks that come now are dropped by the next start */
}

static void free_tracker(struct rmig_dirty *dirty)
{
    rmig_dirty_bits_release(&((struct map *)dirty)->bits);
    free(dirty);
}

static const struct rmig_dirty_ops map_ops = {
    .name = "map",
    .start = start,
    .sync = sync_all,
    .stop = stop,
    .free = free_tracker,
};

int rmig_dirty_map_open(const struct rmig_block *blocks, uint32_t nblocks,
                        struct rmig_dirty **dirty_p, struct rmig_err *err)
{
    struct map *map;
    int rc;

    if (!blocks || nblocks == 0)
        return rmig_err_set(err, -EINVAL, "dirty tracking: no RAM block given");
    map = calloc(1, sizeof(*map));
    if (!map)
        return rmig_err_set(err, -ENOMEM, "dirty tracking: out of memory");
    map->base = (struct rmig_dirty){.ops = &map_ops, .blocks = blocks, .nblocks = nblocks};
    rc = rmig_dirty_bits_init(&map->bits, blocks, nblocks, err);
    if (rc < 0) {
        free(map);
        return rc;
    }
    *dirty_p = &map->base;
    return 0;
}

int rmig_dirty_map_mark(struct rmig_dirty *dirty, uint32_t block_index, uint64_t offset_bytes,
                        uint64_t len_bytes)
{
    uint64_t first, end;

    if (dirty->ops != &map_ops || len_bytes == 0)
        return -EINVAL;
    if (block_index >= dirty->nblocks ||
        !rmig_range_within(offset_bytes, len_bytes, dirty->blocks[block_index].len_bytes))
        return -ERANGE;
    first = offset_bytes / RMIG_PAGE_BYTES;
    end = rmig_div_round_up_u64(offset_bytes + len_bytes, RMIG_PAGE_BYTES);
    rmig_dirty_bits_set(&((struct map *)dirty)->bits, block_index, first, end - first);
    return 0;
}
