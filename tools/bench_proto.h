/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_proto.h -- the bodies of the control messages, encoded and decoded with bounds. */
#ifndef TOOLS_BENCH_PROTO_H
#define TOOLS_BENCH_PROTO_H

#include <stdbool.h>
#include <stdint.h>
#include <jansson.h>
#include <xxhash.h>
#include <rmig/error.h>
#include <rmig/ram.h>

#include "tools/bench_guest.h"
#include "tools/bench_params.h"

/** Most hashes in one message. */
#define BENCH_HASHES_PER_MSG 8192u

/** "prepare": the memory that the client will move. */
struct bench_prepare {
    uint64_t *lens_bytes; /* of the blocks; the owner frees it */
    uint32_t nblocks;
    uint64_t total_bytes;
    uint64_t token; /* of the guest's stamps */
    bool shared;    /* a memfd is to back it */
    bool prealloc;  /* its memory is to be there before the move */
};

/** "run": how it will move it this time. */
struct bench_run {
    enum bench_transport transport;
    bool pin_all;
    uint32_t nqueue_pairs;
    uint64_t pin_budget_bytes; /* 0 = no limit */
    bool odp;
    uint32_t dead_peer_ms;     /* 0 = as the server likes, as the next */
    uint32_t idle_timeout_ms;
};

/** "loaded": the destination's figures. */
struct bench_loaded {
    double user_cpu_s;
    double system_cpu_s;
    uint64_t peak_pinned_bytes;
};

/* Encoders return NULL where there is no memory, which bench_ctl_send takes; decoders return 0 or
 * -EPROTO. */
json_t *bench_prepare_encode(const struct rmig_block *blocks, uint32_t nblocks, uint64_t token,
                             bool shared, bool prealloc);
int bench_prepare_decode(const json_t *msg, struct bench_prepare *prepare_p, struct rmig_err *err);

json_t *bench_run_encode(const struct bench_run *run);
int bench_run_decode(const json_t *msg, struct bench_run *run_p, struct rmig_err *err);

json_t *bench_loaded_encode(const struct bench_loaded *loaded);
int bench_loaded_decode(const json_t *msg, struct bench_loaded *loaded_p, struct rmig_err *err);

/** One message with count hashes from the first-th on; count is at most BENCH_HASHES_PER_MSG. */
json_t *bench_hashes_encode(const XXH128_hash_t *hashes, uint64_t first, uint64_t count);
/** How many of the message's hashes differ from the expected ones; it must begin at first. */
int bench_hashes_compare(const json_t *msg, const XXH128_hash_t *expected, uint64_t first,
                         uint64_t total, uint64_t *count_p, uint64_t *different_p,
                         struct rmig_err *err);

json_t *bench_stamps_encode(const struct bench_stamps *stamps);
int bench_stamps_decode(const json_t *msg, struct bench_stamps *stamps_p, struct rmig_err *err);

#endif
