/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dest.h -- the destination's service: block list, registrations, zero ranges, end of a pass.
 *
 * Every index, offset and length that comes from the source is bounded by the block table before
 * use. Guest RAM alone is registered for remote writes, and only what was asked for.
 */
#ifndef RDMA_DEST_H
#define RDMA_DEST_H

#include <stdbool.h>
#include <stdint.h>
#include <rmig/error.h>
#include <rmig/ram.h>

#include "common/blocks.h"
#include "rdma/chunk.h"
#include "rdma/conn.h"

struct rmig_rdma_dest {
    struct rmig_rdma_conn *conn;
    rmig_zero_range_fn zero_range; /* the host's */
    struct rmig_blocks table;
    struct rmig_rdma_chunks chunks;
    uint32_t *local_index;  /* index of the source's list -> index in table */
    uint32_t nlisted;       /* entries of the source's list so far */
    uint64_t *listed;       /* bitmap over table */
    uint64_t *ram_addrs;    /* per block of table: base in this side's offset space */
    bool blocks_exchanged;
    uint64_t zero_bytes;
};

/* Requires: conn is an established destination. */
void rmig_rdma_dest_init(struct rmig_rdma_dest *dest, struct rmig_rdma_conn *conn,
                         rmig_zero_range_fn zero_range);
/* Takes back every key: what is written from now on is refused. Returns: 0; -errno, some of RAM is still open
 * to the peer. */
int rmig_rdma_dest_revoke(struct rmig_rdma_dest *dest, struct rmig_err *err);

/* Deregisters everything. Requires: the queue pairs are gone. */
void rmig_rdma_dest_release(struct rmig_rdma_dest *dest);

int rmig_rdma_dest_set_blocks(struct rmig_rdma_dest *dest, const struct rmig_block *blocks,
                              uint32_t nblocks, struct rmig_err *err);

/* One entry of the source's block list. Returns: 0; -EPROTO unknown, twice, or after the exchange. */
int rmig_rdma_dest_list_block(struct rmig_rdma_dest *dest, const char *name, struct rmig_err *err);

/* Serve the source from the hook mark to REGISTER_FINISHED. Returns: 0, -errno. */
int rmig_rdma_dest_serve(struct rmig_rdma_dest *dest, struct rmig_err *err);

#endif
