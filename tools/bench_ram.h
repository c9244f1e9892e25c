/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_ram.h -- the guest RAM of a bench: memory in blocks, its content, the guest's view of it.
 */
#ifndef TOOLS_BENCH_RAM_H
#define TOOLS_BENCH_RAM_H

#include <stdint.h>
#include <rmig/cancel.h>
#include <rmig/error.h>
#include <rmig/ram.h>

#include "tools/bench_params.h"

struct bench_ram {
    struct rmig_block *blocks; /* what the drivers and transports use */
    struct rmig_block *guest;  /* the same memory as the guest maps it; NULL = no guest view */
    uint32_t nblocks;
    uint64_t total_bytes;
    int fd; /* memfd, or -1 */
    char (*names)[20];
    void *area, *guest_area;
    uint64_t area_bytes, guest_area_bytes;
};

/**
 * The source's RAM, a memfd, as large as params->ram_file or params->size_bytes; nothing is in it.
 * Returns: 0; -EINVAL the file is empty or no multiple of a page, or cannot be read; -ENOMEM; an
 * errno.
 */
int bench_ram_source(struct bench_ram *ram, const struct bench_params *params,
                     struct rmig_err *err);

/**
 * Put params->ram_file, or made-up content, into it: some tenths of a second a GiB. Returns: 0; -EINVAL
 * the file cannot be read, or has another size now; -ECANCELED by stop.
 */
int bench_ram_fill(struct bench_ram *ram, const struct bench_params *params,
                   struct rmig_cancel *stop, struct rmig_err *err);

/**
 * Have the memory of all blocks in place, zero as it is. Blocks: until stop at the latest. Returns: 0;
 * -ENOMEM; -ECANCELED; -ENOTSUP the kernel cannot (Linux 5.14 and later can).
 */
int bench_ram_populate(struct bench_ram *ram, struct rmig_cancel *stop, struct rmig_err *err);

/** The destination's RAM, zeroed and untouched; shared: a memfd. Returns: 0; -ENOMEM; an errno. */
int bench_ram_destination(struct bench_ram *ram, const uint64_t *lens_bytes, uint32_t nblocks,
                          bool shared, struct rmig_err *err);

/**
 * Map the source's RAM a second time, as the guest does: what tracks the guest's writes then does
 * not stand in the way of a transport that pins the first mapping. Returns: 0; an errno.
 */
int bench_ram_map_guest(struct bench_ram *ram, struct rmig_err *err);

/** Unmap, close, free; fine on zeroed memory. */
void bench_ram_release(struct bench_ram *ram);

/** Memory that can be had now without swapping (MemAvailable), 0 if unknown. */
uint64_t bench_ram_available_bytes(void);

/** Fill a page with content that depends on seed and page only; none is all zero. */
void bench_ram_fill_page(void *page, uint64_t seed, uint64_t page_index);

#endif
