/* bench_hash.c -- hashes guest RAM in units of 2 MiB. */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/bench_hash.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "tools/bench_parallel.h"

static uint64_t units_of(const struct rmig_block *block)
{
    return (block->len_bytes + BENCH_HASH_UNIT_BYTES - 1) / BENCH_HASH_UNIT_BYTES;
}

uint64_t bench_hash_count(const struct rmig_block *blocks, uint32_t nblocks)
{
    uint64_t count = 0;

    for (uint32_t i = 0; i < nblocks; i++)
        count += units_of(&blocks[i]);
    return count;
}

struct hasher {
    const struct rmig_block *block;
    XXH128_hash_t *hashes;
};

static void hash_unit(void *opaque, uint64_t unit)
{
    const struct hasher *h = opaque;
    uint64_t offset = unit * BENCH_HASH_UNIT_BYTES;
    uint64_t left = h->block->len_bytes - offset;

    h->hashes[unit] = XXH3_128bits((const uint8_t *)h->block->host + offset,
                                   left < BENCH_HASH_UNIT_BYTES ? left : BENCH_HASH_UNIT_BYTES);
}

int bench_hash_ram(const struct bench_ram *ram, struct rmig_cancel *stop, XXH128_hash_t **hashes_p,
                   struct rmig_err *err)
{
    uint64_t count = bench_hash_count(ram->blocks, ram->nblocks), done = 0;
    XXH128_hash_t *hashes = calloc(count, sizeof(*hashes));

    if (!hashes)
        return rmig_err_set(err, -ENOMEM, "verification: out of memory for %llu hashes",
                            (unsigned long long)count);
    for (uint32_t i = 0; i < ram->nblocks; i++) {
        struct hasher h = {.block = &ram->blocks[i], .hashes = hashes + done};

        if (!bench_parallel(units_of(h.block), hash_unit, &h, stop)) {
            free(hashes);
            return rmig_err_set(err, -ECANCELED, "cancelled");
        }
        done += units_of(h.block);
    }
    *hashes_p = hashes;
    return 0;
}

char *bench_hash_text(char text[BENCH_HASH_TEXT_BYTES], XXH128_hash_t hash)
{
    snprintf(text, BENCH_HASH_TEXT_BYTES, "%016llx%016llx", (unsigned long long)hash.high64,
             (unsigned long long)hash.low64);
    return text;
}
