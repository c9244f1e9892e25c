/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * raw_dest.h -- a destination played by hand that answers as the protocol says, and not where it is
 * told to: each answer goes through `tamper` before it is sent. Driven step by step by raw_dest_step(),
 * so that source and destination can share one thread (fabric_set_idle_hook).
 */
#ifndef TESTS_UNIT_RAW_DEST_H
#define TESTS_UNIT_RAW_DEST_H

#include <stdbool.h>
#include <rmig/ram.h>

#include "tests/unit/raw_peer.h"

#define RAW_DEST_BLOCKS_MAX 8
#define RAW_DEST_CHUNKS_MAX 512

struct raw_dest;

/* What is about to be sent; change it, or answer false to send nothing at all. */
struct raw_answer {
    uint32_t type, repeat, len_bytes;
    uint8_t *payload; /* room for RMIG_WIRE_PAYLOAD_MAX_BYTES */
};

struct raw_dest {
    struct raw_peer *peer;
    const struct rmig_block *blocks; /* in the source's order */
    uint32_t nblocks;
    bool pin_all;
    bool multi;                 /* answers n records with n; a stock one answers one */
    bool unregisters;           /* a budget was agreed */
    bool silent;                /* says nothing any more, not even READY */
    bool (*tamper)(struct raw_dest *dest, struct raw_answer *answer);
    void *opaque;
    int failed; /* first -errno of a step: the source broke the protocol */
    bool started;
    bool got_error; /* the source said ERROR */
    unsigned nanswers; /* sent, of any type */
    unsigned nready, nregister, ncompress, nfinished, nfile;
    uint64_t file_bytes;
    unsigned nunregister;       /* requests */
    unsigned nchunks, most_chunks; /* registered now, and at any time */
    uint32_t keys[RAW_DEST_BLOCKS_MAX][RAW_DEST_CHUNKS_MAX]; /* 0 = not registered */
    uint8_t scratch[RMIG_WIRE_PAYLOAD_MAX_BYTES];
};

/* ram_addr that this destination gives block i. */
#define RAW_DEST_RAM_ADDR(i) (((uint64_t)(i) + 3) << 32)

/* Answers everything that has arrived. */
void raw_dest_step(struct raw_dest *dest);

#endif
