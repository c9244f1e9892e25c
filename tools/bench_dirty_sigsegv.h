/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_dirty_sigsegv.h -- a dirty tracker for kernels without userfaultfd: mprotect and SIGSEGV.
 */
#ifndef TOOLS_BENCH_DIRTY_SIGSEGV_H
#define TOOLS_BENCH_DIRTY_SIGSEGV_H

#include <rmig/dirty.h>

/**
 * Open the tracker; the rest is <rmig/dirty.h>. It takes the program's SIGSEGV while it is started
 * (faults elsewhere go to the handler that was there), which is why no library offers it.
 * Requires: one tracker of this kind at a time; the blocks are mapped readable and writable; writes
 * come from user code: a system call that writes to protected memory fails with EFAULT.
 * Returns: 0; -ENOMEM.
 */
int bench_dirty_sigsegv_open(const struct rmig_block *blocks, uint32_t nblocks,
                             struct rmig_dirty **dirty_p, struct rmig_err *err);

#endif
