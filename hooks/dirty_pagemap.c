/* dirty_pagemap.c -- dirty tracking by PAGEMAP_SCAN: one call collects and protects, no handler. */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "hooks/dirty_kinds.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "hooks/dirty_userfault.h"

/* The kernel's structures by our own names: Linux 6.7, and headers of the day may lack them. */
struct scan_region {
    uint64_t start;
    uint64_t end;
    uint64_t categories;
};

struct scan_arg {
    uint64_t size;
    uint64_t flags;
    uint64_t start;
    uint64_t end;
    uint64_t walk_end;
    uint64_t vec;
    uint64_t vec_len;
    uint64_t max_pages;
    uint64_t category_inverted;
    uint64_t category_mask;
    uint64_t category_anyof_mask;
    uint64_t return_mask;
};

#define SCAN_IOCTL _IOWR('f', 16, struct scan_arg)
#define SCAN_WP_MATCHING (1ull << 0)
#define SCAN_CHECK_WPASYNC (1ull << 1)
#define PAGE_WRITTEN (1ull << 1)
#define SCAN_REGIONS 512u

struct pagemap {
    struct rmig_dirty base;
    struct rmig_userfault uf;
    int pagemap_fd;
    struct scan_region regions[SCAN_REGIONS];
};

static int start(struct rmig_dirty *dirty, struct rmig_err *err)
{
    struct pagemap *pm = (struct pagemap *)dirty;

    return rmig_userfault_protect_all(&pm->uf, dirty->blocks, dirty->nblocks, err);
}

static int report(struct pagemap *pm, uint32_t block_index, uint32_t nregions, rmig_dirty_fn fn,
                  void *opaque)
{
    uint64_t base = (uintptr_t)pm->base.blocks[block_index].host;

    for (uint32_t i = 0; i < nregions; i++) {
        struct rmig_run run = {
            .block_index = block_index,
            .offset_bytes = pm->regions[i].start - base,
            .len_bytes = pm->regions[i].end - pm->regions[i].start,
        };
        int rc = fn(opaque, &run);

        if (rc < 0)
            return rc;
    }
    return 0;
}

static int sync_block(struct pagemap *pm, uint32_t block_index, rmig_dirty_fn fn, void *opaque,
                      struct rmig_err *err)
{
    const struct rmig_block *block = &pm->base.blocks[block_index];
    uint64_t at = (uintptr_t)block->host, end = at + block->len_bytes;

    while (at < end) {
        struct scan_arg arg = {
            .size = sizeof(arg),
            .flags = SCAN_WP_MATCHING | SCAN_CHECK_WPASYNC,
            .start = at,
            .end = end,
            .vec = (uintptr_t)pm->regions,
            .vec_len = SCAN_REGIONS,
            .category_mask = PAGE_WRITTEN,
            .return_mask = PAGE_WRITTEN,
        };
        int n = ioctl(pm->pagemap_fd, SCAN_IOCTL, &arg);
        int rc;

        /* EINTR too: pages were protected again, and which ones is lost. */
        if (n < 0)
            return rmig_err_set(err, -errno, "dirty tracking: PAGEMAP_SCAN of RAM block %.64s: %s",
                                block->name, strerror(errno));
        rc = report(pm, block_index, (uint32_t)n, fn, opaque);
        if (rc < 0)
            return rc;
        if (arg.walk_end > at)
            at = arg.walk_end;
    }
    return 0;
}

static int sync_all(struct rmig_dirty *dirty, rmig_dirty_fn fn, void *opaque, struct rmig_err *err)
{
    struct pagemap *pm = (struct pagemap *)dirty;

    for (uint32_t i = 0; i < dirty->nblocks; i++) {
        int rc = sync_block(pm, i, fn, opaque, err);

        if (rc < 0)
            return rc;
    }
    return 0;
}

static void stop(struct rmig_dirty *dirty)
{
    struct pagemap *pm = (struct pagemap *)dirty;

    rmig_userfault_unprotect_all(&pm->uf, dirty->blocks, dirty->nblocks);
}

static void free_tracker(struct rmig_dirty *dirty)
{
    struct pagemap *pm = (struct pagemap *)dirty;

    if (pm->pagemap_fd >= 0)
        close(pm->pagemap_fd);
    rmig_userfault_close(&pm->uf);
    free(pm);
}

static const struct rmig_dirty_ops pagemap_ops = {
    .name = "pagemap",
    .start = start,
    .sync = sync_all,
    .stop = stop,
    .free = free_tracker,
};

/* Does the kernel take the call at all? An empty range asks without touching anything. */
static int probe_scan(const struct pagemap *pm, const struct rmig_block *block,
                      struct rmig_err *err)
{
    struct scan_arg arg = {
        .size = sizeof(arg),
        .start = (uintptr_t)block->host,
        .end = (uintptr_t)block->host,
        .category_mask = PAGE_WRITTEN,
        .return_mask = PAGE_WRITTEN,
    };

    if (ioctl(pm->pagemap_fd, SCAN_IOCTL, &arg) < 0)
        return rmig_err_set(err, -ENOTSUP, "this kernel has no PAGEMAP_SCAN (Linux 6.7): %s",
                            strerror(errno));
    return 0;
}

int rmig_dirty_pagemap_open(const struct rmig_block *blocks, uint32_t nblocks,
                            struct rmig_dirty **dirty_p, struct rmig_err *err)
{
    struct pagemap *pm = calloc(1, sizeof(*pm));
    int rc;

    if (!pm)
        return rmig_err_set(err, -ENOMEM, "dirty tracking: out of memory");
    pm->base = (struct rmig_dirty){.ops = &pagemap_ops, .blocks = blocks, .nblocks = nblocks};
    pm->uf.fd = -1;
    pm->pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (pm->pagemap_fd < 0)
        rc = rmig_err_set(err, errno == EMFILE || errno == ENFILE || errno == ENOMEM ? -errno : -ENOTSUP,
                          "/proc/self/pagemap: %s", strerror(errno));
    else
        rc = probe_scan(pm, &blocks[0], err);
    if (rc == 0)
        rc = rmig_userfault_open(&pm->uf,
                                 UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED |
                                     UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
                                 0, err);
    if (rc == 0)
        rc = rmig_userfault_register(&pm->uf, blocks, nblocks, err);
    if (rc < 0) {
        free_tracker(&pm->base);
        return rc;
    }
    *dirty_p = &pm->base;
    return 0;
}
