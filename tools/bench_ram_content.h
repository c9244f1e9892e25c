/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_ram_content.h -- what stands in the source's RAM: a file's content or made-up pages. */
#ifndef TOOLS_BENCH_RAM_CONTENT_H
#define TOOLS_BENCH_RAM_CONTENT_H

#include "tools/bench_ram.h"

/**
 * Copy a file into the memfd, its holes left holes, and set the memfd's size. Returns: 0; -EINVAL
 * it cannot be read, is empty, no regular file, no multiple of a page or has fewer pages than there
 * are blocks; -ENOMEM; -ECANCELED.
 */
int bench_content_load(int memfd, const struct bench_params *params, struct rmig_cancel *stop,
                       uint64_t *total_bytes_p, struct rmig_err *err);

/** Random pages, and params->zero_fraction of zero ones, by params->seed. Returns: 0; -ENOMEM;
 * -ECANCELED.
 */
int bench_content_make(struct bench_ram *ram, const struct bench_params *params,
                       struct rmig_cancel *stop, struct rmig_err *err);

/** Touch what was loaded, as a guest that has run: it is mapped when a move begins. Holes stay. Returns: 0;
 * -ECANCELED. */
int bench_content_touch(struct bench_ram *ram, struct rmig_cancel *stop, struct rmig_err *err);

#endif
