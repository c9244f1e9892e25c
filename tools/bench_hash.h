/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_hash.h -- XXH3-128 of each 2 MiB of guest RAM: the verification that no transfer code sees.
 */
#ifndef TOOLS_BENCH_HASH_H
#define TOOLS_BENCH_HASH_H

#include <stdint.h>
#include <xxhash.h>

#include "tools/bench_ram.h"

#define BENCH_HASH_UNIT_BYTES (2u << 20)
#define BENCH_HASH_TEXT_BYTES 33

/** How many hashes a RAM of these blocks has: units end at block ends. */
uint64_t bench_hash_count(const struct rmig_block *blocks, uint32_t nblocks);

/** Hash everything, on all CPUs. The caller frees *hashes_p. Returns: 0; -ENOMEM; -ECANCELED. */
int bench_hash_ram(const struct bench_ram *ram, struct rmig_cancel *stop, XXH128_hash_t **hashes_p,
                   struct rmig_err *err);

/** The hash in 32 hexadecimal digits. Returns text. */
char *bench_hash_text(char text[BENCH_HASH_TEXT_BYTES], XXH128_hash_t hash);

#endif
