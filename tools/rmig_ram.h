/* SPDX-License-Identifier: BSD-3-Clause */
/* rmig_ram.h -- a guest that is nobody's: memory as a stream lists it, and its devices, unopened. */
#ifndef TOOLS_RMIG_RAM_H
#define TOOLS_RMIG_RAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <rmig/rmig.h>

struct guest_ram {
    char machine[256];
    struct rmig_configuration configuration;
    struct rmig_block *blocks; /* in the source's order; one memfd behind all of them */
    uint32_t nblocks;
    uint8_t *base;
    uint64_t mapped_bytes;
    int fd; /* -1: none yet */
    void *tail;
    size_t tail_bytes;
};

/** Nothing in it yet. */
void guest_ram_init(struct guest_ram *ram);

/** The load driver's layout callback; opaque is the guest. Memory is taken page by page, as used. */
int guest_ram_make(void *opaque, const struct rmig_layout *layout,
                   const struct rmig_block **blocks_p, struct rmig_err *err);

/** The load driver's tail callback; opaque is the guest. */
int guest_ram_take_tail(void *opaque, const void *data, size_t len_bytes, struct rmig_err *err);

/** The largest block, the first of its size. Requires: make. */
const struct rmig_block *guest_ram_main_block(const struct guest_ram *ram);

/**
 * Where the hole or the data at an offset of a block ends. That of data is found by a walk over its pages: ask once
 * for each extent. A page of a hole takes memory as soon as it is read.
 */
uint64_t guest_ram_extent_end(const struct rmig_block *block, uint64_t offset_bytes, bool *hole_p);

/** Is this page of a block all zero? */
bool guest_ram_page_is_zero(const struct rmig_block *block, uint64_t offset_bytes);

/** Give everything back; fine after init alone. */
void guest_ram_release(struct guest_ram *ram);

/** Memory of this host, bytes. */
uint64_t guest_ram_host_bytes(void);

#endif
