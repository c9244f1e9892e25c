/* SPDX-License-Identifier: BSD-3-Clause */
/* source_write.h -- the source's engine: queue of runs, keys asked for ahead, writes in flight. */
#ifndef RDMA_SOURCE_WRITE_H
#define RDMA_SOURCE_WRITE_H

#include "rdma/source.h"

/* Installs the handler of write completions. */
void rmig_rdma_source_write_init(struct rmig_rdma_source *source);

/* Take a run of non-zero pages; waits where too much is queued. Requires: inside its block.
 * Returns: 0, -errno. */
int rmig_rdma_source_put(struct rmig_rdma_source *source, const struct rmig_run *run,
                         struct rmig_err *err);

/* Wait until no registration request is on its way. Returns: 0, -errno. */
int rmig_rdma_source_wait_keys(struct rmig_rdma_source *source, struct rmig_err *err);

/* Write everything queued and wait until all of it is placed. Returns: 0, -errno. */
int rmig_rdma_source_drain(struct rmig_rdma_source *source, struct rmig_err *err);

#endif
