/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_common.h -- guest RAM, clock and transport of the programs that tests/bench/rdma runs
 *
 * What fails ends the process with a line that names the step: there is nothing to measure then.
 */
#ifndef RMIG_TESTS_BENCH_COMMON_H
#define RMIG_TESTS_BENCH_COMMON_H

#include <stdint.h>
#include <rmig/rmig.h>

#define MIB ((uint64_t)1 << 20)
#define PAGE ((uint64_t)RMIG_PAGE_BYTES)

/* One memfd, cut into blocks of the same size; the last takes what is left. Stays as long as the process. */
struct ram {
    uint8_t *host;
    uint64_t len_bytes;
    struct rmig_block *blocks;
    uint32_t nblocks;
};

extern struct rmig_err err;
extern struct ram ram;
extern const struct rmig_transport_ops *ops; /* of rdma, from load_transport on */
extern struct rmig_transport_params params;  /* of both ends; whoever uses it adds the port */
extern struct rmig_transport *transport;

/** End the process where rc is below 0: with what err says, or else the meaning of rc. */
void check(int rc, const char *what);

/** The monotonic clock, in seconds. */
double now_s(void);

/** The next of a sequence that its first state, not 0, determines. */
uint64_t next_random(uint64_t *state);

/** Make ram, which nobody has touched, of so many MiB in so many blocks, both as decimal digits. */
void make_ram(const char *mib, const char *count);

/** Map len_bytes of fd, a new memfd, which is given its length here. */
uint8_t *map_ram(int fd, uint64_t len_bytes);

/**
 * Fill ram: full (random words), page (one in each page), chunk (one in each MiB and in each page of the first four
 * MiB, where every guest has something), zero (touched) or none.
 */
void fill_ram(const char *content);

/** Load the plugin of RDMA from where ./run says it is; RDMA_BENCH_ADDRESS is that of params, if it is set. */
void load_transport(void);

#endif
