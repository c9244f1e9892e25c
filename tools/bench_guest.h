/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_guest.h -- a guest that writes to its RAM while it is moved: a thread with a rate of its
 * own.
 *
 * Each write fills one page with a stamp { magic, sequence number, page index, hash of the rest }
 * and content that depends on them, so that any copy of the page proves itself whole.
 */
#ifndef TOOLS_BENCH_GUEST_H
#define TOOLS_BENCH_GUEST_H

#include <stdint.h>

#include "tools/bench_ram.h"

struct bench_guest;

/** What a look at a whole RAM found. */
struct bench_stamps {
    uint64_t stamped_pages;   /* pages with a stamp */
    uint64_t torn_pages;      /* of these: the content does not fit the stamp, or a wrong page's */
    uint64_t newest_sequence; /* highest number of a whole page, 0 if none */
    uint64_t sum_sequences;   /* sum of the numbers of the whole pages, modulo 2^64 */
};

/**
 * Make a guest over blocks (its own view of the RAM). token marks its stamps: any number that
 * earlier content of the RAM does not have. Writes will go to random pages of the first set_bytes
 * (0 = all) at rate. Returns: 0; -ENOMEM.
 */
int bench_guest_new(const struct rmig_block *blocks, uint32_t nblocks, uint64_t token,
                    uint64_t rate_bytes_per_s, uint64_t set_bytes, struct bench_guest **guest_p,
                    struct rmig_err *err);

/** Begin to write, or go on where the last stop was. Returns: 0; an errno where there is no thread.
 */
int bench_guest_start(struct bench_guest *guest, struct rmig_err *err);

/** Stop writing; returns when no write is under way. Stopped already is fine. */
void bench_guest_stop(struct bench_guest *guest);

/** Pages written since the guest was made. */
uint64_t bench_guest_written_pages(const struct bench_guest *guest);

/** User and system CPU seconds of the writing thread between its last start and stop. */
void bench_guest_cpu(const struct bench_guest *guest, double *user_s_p, double *system_s_p);

/** What bench_stamps_read should find where every write is there. Requires: stopped. */
void bench_guest_expect(const struct bench_guest *guest, struct bench_stamps *stamps_p);

/** Stop and free; NULL is fine. */
void bench_guest_free(struct bench_guest *guest);

/** Check every page of a RAM that carries a stamp with token. Both ends do this after the move. */
void bench_stamps_read(const struct bench_ram *ram, uint64_t token, struct bench_stamps *stamps_p);

#endif
