/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * source.h -- the source's page path: keys for chunks, asked for ahead of use, and RDMA writes.
 *
 * Runs wait in a queue (batch.h) until their chunks have keys. While one group of chunks is being
 * written the next one is being registered at both ends: the link never waits for a round trip
 * unless pages come slower than they go.
 */
#ifndef RDMA_SOURCE_H
#define RDMA_SOURCE_H

#include <stdbool.h>
#include <stdint.h>
#include <rmig/error.h>
#include <rmig/hooks.h>
#include <rmig/ram.h>

#include "common/blocks.h"
#include "rdma/batch.h"
#include "rdma/chunk.h"
#include "rdma/conn.h"
#include "rdma/pins.h"

/* Records of one registration request. */
#define RMIG_SOURCE_ASK_MAX 64u

/* A range of chunks that wants a key. */
struct rmig_rdma_want {
    uint32_t block_index;
    uint64_t first_chunk;
    uint64_t nchunks;
};

struct rmig_rdma_source_lane {
    uint64_t posted;    /* writes posted */
    uint64_t completed; /* writes known to be complete: all before this one */
    uint64_t signalled; /* writes up to the last signalled one */
    uint64_t bytes_posted;
    uint64_t bytes_signalled;
    uint64_t bytes_completed;
    uint64_t ring_bytes[512]; /* bytes_posted after each outstanding write, by number */
    struct rmig_rdma_write chain[RMIG_RDMA_POST_MAX];
    unsigned nchain;
};

struct rmig_rdma_source {
    struct rmig_rdma_conn *conn;
    struct rmig_blocks table;
    struct rmig_rdma_chunks local; /* this side's regions: read by the device only */
    struct rmig_rdma_peer_block {
        uint64_t remote_addr;
        uint64_t ram_addr;
        uint32_t *rkeys;  /* per chunk, 0 = none */
        uint64_t *wanted; /* bitmap: key asked for, or about to be */
    } *peers;
    struct rmig_rdma_batch batch;
    struct rmig_rdma_want wants[RMIG_SOURCE_ASK_MAX]; /* not asked for yet */
    unsigned nwants;
    uint64_t wanted_bytes; /* sum of wants */
    struct rmig_rdma_want asked[RMIG_SOURCE_ASK_MAX]; /* request on its way */
    unsigned nasked;
    unsigned nregistered; /* of asked, by this side */
    unsigned nrequests; /* for keys, so far; no more than RMIG_SOURCE_ASK_CHUNKS are counted */
    struct rmig_rdma_pins pins;                           /* places under the smaller pin budget */
    struct rmig_rdma_pin gone[RMIG_SOURCE_ASK_MAX]; /* have lost theirs; the destination is to hear of it */
    unsigned ngone;
    unsigned nreleased; /* records of the request to unregister that is on its way */
    struct rmig_rdma_source_lane lanes[RMIG_WIRE_LANES_MAX];
    uint64_t completions_seen; /* to notice progress */
    uint64_t measured_from_ns; /* the rate is of what was completed since */
    uint64_t measured_bytes;
    uint64_t bytes_per_s; /* at which the link takes writes, 0 = not known yet */
    uint64_t write_wrs;
    uint64_t write_bytes;
    uint64_t doorbells;
    uint64_t zero_bytes;
};

/* The queue pair that writes a chunk: always the same. */
static inline unsigned rmig_rdma_source_lane_of(const struct rmig_rdma_source *source,
                                                uint64_t chunk)
{
    return chunk % source->conn->pump.nlanes;
}

/* Requires: conn is an established source. */
void rmig_rdma_source_init(struct rmig_rdma_source *source, struct rmig_rdma_conn *conn);
/* Requires: the queue pairs are gone. */
void rmig_rdma_source_release(struct rmig_rdma_source *source);

/* The hooks of <rmig/hooks.h>, source side; returns as there. */
int rmig_rdma_source_set_blocks(struct rmig_rdma_source *source, const struct rmig_block *blocks,
                                uint32_t nblocks, struct rmig_err *err);
int rmig_rdma_source_before(struct rmig_rdma_source *source, enum rmig_hook_flag flag,
                            struct rmig_err *err);
int rmig_rdma_source_save(struct rmig_rdma_source *source, const struct rmig_run *run,
                          struct rmig_err *err);
int rmig_rdma_source_after(struct rmig_rdma_source *source, enum rmig_hook_flag flag,
                           struct rmig_err *err);

#endif
