/* dirty.c -- picks the best dirty tracker that works here and calls it. */
/* SPDX-License-Identifier: BSD-3-Clause */
#include <rmig/dirty.h>

#include <errno.h>

#include "hooks/dirty_kinds.h"

static int open_auto(const struct rmig_block *blocks, uint32_t nblocks, struct rmig_dirty **dirty_p,
                     struct rmig_err *err)
{
    struct rmig_err first = RMIG_ERR_INIT, second = RMIG_ERR_INIT;
    int rc;

    if (rmig_dirty_pagemap_open(blocks, nblocks, dirty_p, &first) == 0)
        return 0;
    rc = rmig_dirty_uffd_open(blocks, nblocks, dirty_p, &second);
    if (rc == 0)
        return 0;
    return rmig_err_set(err, rc, "no dirty tracking by the kernel: pagemap: %.100s; %.100s",
                        first.msg, second.msg);
}

int rmig_dirty_open(enum rmig_dirty_kind kind, const struct rmig_block *blocks, uint32_t nblocks,
                    struct rmig_dirty **dirty_p, struct rmig_err *err)
{
    if (!blocks || nblocks == 0)
        return rmig_err_set(err, -EINVAL, "dirty tracking: no RAM block given");
    switch (kind) {
    case RMIG_DIRTY_AUTO:
        return open_auto(blocks, nblocks, dirty_p, err);
    case RMIG_DIRTY_PAGEMAP:
        return rmig_dirty_pagemap_open(blocks, nblocks, dirty_p, err);
    case RMIG_DIRTY_USERFAULTFD:
        return rmig_dirty_uffd_open(blocks, nblocks, dirty_p, err);
    }
    return rmig_err_set(err, -EINVAL, "dirty tracking: unknown kind %d", (int)kind);
}

int rmig_dirty_start(struct rmig_dirty *dirty, struct rmig_err *err)
{
    return dirty->ops->start(dirty, err);
}

int rmig_dirty_sync(struct rmig_dirty *dirty, rmig_dirty_fn fn, void *opaque, struct rmig_err *err)
{
    return dirty->ops->sync(dirty, fn, opaque, err);
}

void rmig_dirty_stop(struct rmig_dirty *dirty)
{
    dirty->ops->stop(dirty);
}

void rmig_dirty_free(struct rmig_dirty *dirty)
{
    if (!dirty)
        return;
    dirty->ops->stop(dirty);
    dirty->ops->free(dirty);
}

const char *rmig_dirty_name(const struct rmig_dirty *dirty)
{
    return dirty->ops->name;
}
