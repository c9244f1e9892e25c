/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_ram_content.h -- what stands in the source's RAM: a file's content or made-up pages. */
#ifndef TOOLS_BENCH_RAM_CONTENT_H
#define TOOLS_BENCH_RAM_CONTENT_H

#include "tools/bench_ram.h"

/**
 * How much RAM there will be, before any is made: the size of params->ram_file, or params->size_bytes.
 * Returns: 0; -EINVAL the file cannot be read, is empty, no regular file, no multiple of a page or has
 * fewer pages than there are blocks; -ENOMEM there is not as much memory.
 */
int bench_content_size(const struct bench_params *params, uint64_t *total_bytes_p,
                       struct rmig_err *err);

/**
 * Copy params->ram_file into the memfd, its holes left holes, and touch what was copied as a guest
 * does that has run. Returns: 0; -EINVAL as above, or the file has another size now; -ECANCELED.
 */
int bench_content_load(struct bench_ram *ram, const struct bench_params *params,
                       struct rmig_cancel *stop, struct rmig_err *err);

/** Random pages, and params->zero_fraction of zero ones, by params->seed. Returns: 0; -ECANCELED. */
int bench_content_make(struct bench_ram *ram, const struct bench_params *params,
                       struct rmig_cancel *stop, struct rmig_err *err);

#endif
