/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_result.h -- what one run gave: filled by the move, written out as a table and as JSON. */
#ifndef TOOLS_BENCH_RESULT_H
#define TOOLS_BENCH_RESULT_H

#include <stdbool.h>
#include <stdint.h>
#include <rmig/error.h>

#include "tools/bench_cpu.h"
#include "tools/bench_guest.h"
#include "tools/bench_params.h"

struct bench_result {
    uint32_t run; /* 1, 2, ... */
    enum bench_transport requested;
    bool rdma;                /* the transport that was used, or tried last */
    struct rmig_err fallback; /* why TCP took the place of RDMA; code 0 = it did not */
    uint64_t fallback_ns;     /* time that the attempts at RDMA took */
    uint64_t ram_bytes;
    uint32_t nblocks;
    bool opened;          /* it came as far as the first page */
    uint64_t setup_ns;    /* connecting, block exchange, registrations made in advance */
    uint64_t total_ns;    /* from the beginning of setup until it is over; 0 = it failed */
    uint64_t downtime_ns; /* guest stopped until it could run at the destination */
    bool converged;       /* the expected downtime came under the limit */
    uint64_t rounds; /* passes over RAM, the one with the guest stopped included */
    uint64_t normal_pages, hook_pages, zero_pages, hole_pages, unsaid_pages;
    uint64_t bytes_on_wire;
    struct bench_cpu source_cpu, destination_cpu, guest_cpu;
    uint64_t source_pinned_bytes, destination_pinned_bytes; /* peaks */
    /* the writing guest */
    const char *tracker; /* NULL: none */
    uint64_t guest_written_pages, guest_ns, synced_pages;
    /* verification */
    bool verified;
    uint64_t hash_units, different_units;
    struct bench_stamps source_stamps, destination_stamps;
    bool given_up;     /* it did not converge: the guest went on at the source, and its memory was looked at */
    bool source_whole; /* where it was given up: all that the guest wrote is there, and whole */
    /* outcome */
    enum bench_exit status;
    struct rmig_err err; /* code 0: none */
    bool session_over;   /* nothing more can be asked of the destination */
};

#endif
