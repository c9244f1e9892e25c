/* SPDX-License-Identifier: BSD-3-Clause */
/* dirty_userfault.h -- what both kernel trackers need of userfaultfd, and newer ABI by name. */
#ifndef HOOKS_DIRTY_USERFAULT_H
#define HOOKS_DIRTY_USERFAULT_H

#include <stdbool.h>
#include <stdint.h>
#include <linux/userfaultfd.h>
#include <rmig/error.h>
#include <rmig/ram.h>

/* Linux 6.4 and 6.7; the headers may be older than the kernel that runs. */
#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13)
#endif
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (1 << 15)
#endif

/** A userfaultfd with write-protect enabled. */
struct rmig_userfault {
    int fd;            /* -1: not open */
    uint64_t features; /* what the kernel has and we asked for */
};

/**
 * Open, with all of required and what the kernel has of optional (UFFD_FEATURE_*).
 * Returns: 0; -EPERM; -ENOTSUP naming what the kernel lacks; an errno.
 */
int rmig_userfault_open(struct rmig_userfault *uf, uint64_t required, uint64_t optional,
                        struct rmig_err *err);

/** Register the blocks for write-protect. Returns: 0; -ENOTSUP naming the block; an errno. */
int rmig_userfault_register(struct rmig_userfault *uf, const struct rmig_block *blocks,
                            uint32_t nblocks, struct rmig_err *err);

/** Set or lift the protection of a range. Returns: 0 or -errno. */
int rmig_userfault_protect(const struct rmig_userfault *uf, void *start, uint64_t len_bytes,
                           bool on);

/** Protect all blocks, untouched pages included. Requires: registered. Returns: 0 or -errno. */
int rmig_userfault_protect_all(const struct rmig_userfault *uf, const struct rmig_block *blocks,
                               uint32_t nblocks, struct rmig_err *err);

/** Lift the protection of all blocks. */
void rmig_userfault_unprotect_all(const struct rmig_userfault *uf, const struct rmig_block *blocks,
                                  uint32_t nblocks);

/** Close, which also unregisters. Fine if not open. */
void rmig_userfault_close(struct rmig_userfault *uf);

#endif
