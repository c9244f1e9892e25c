/* SPDX-License-Identifier: BSD-3-Clause */
/* dirty_kinds.h -- the constructors of dirty trackers that are not public. */
#ifndef HOOKS_DIRTY_KINDS_H
#define HOOKS_DIRTY_KINDS_H

#include <rmig/dirty.h>

/** PAGEMAP_SCAN over memory that the kernel protects by itself. As rmig_dirty_open(). */
int rmig_dirty_pagemap_open(const struct rmig_block *blocks, uint32_t nblocks,
                            struct rmig_dirty **dirty_p, struct rmig_err *err);

/** userfaultfd write-protect with a handler thread. As rmig_dirty_open(). */
int rmig_dirty_uffd_open(const struct rmig_block *blocks, uint32_t nblocks,
                         struct rmig_dirty **dirty_p, struct rmig_err *err);

/**
 * As rmig_dirty_kvm_log_open(), with those of modes (KVM_DIRTY_LOG_*) that the kernel has: what an
 * older kernel has can be tried on a newer one.
 */
int rmig_dirty_kvm_log_open_modes(const struct rmig_dirty_kvm_params *params, uint64_t modes,
                                  const struct rmig_block *blocks, uint32_t nblocks,
                                  struct rmig_dirty **dirty_p, struct rmig_err *err);

#endif
