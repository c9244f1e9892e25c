/* SPDX-License-Identifier: BSD-3-Clause */
/* tail.h -- what follows the ram section's end in another hypervisor's stream, taken as a whole. */
#ifndef HOOKS_TAIL_H
#define HOOKS_TAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <rmig/error.h>

/** The end of sections, the description's type, its length. */
#define RMIG_TAIL_FRAME_BYTES 6u

/** How far a tail has been looked through; zeroed memory is the start. */
struct rmig_tail_scan {
    size_t next_byte;   /* where the search goes on */
    size_t frame;       /* offset of the frame of the description found last */
    uint64_t end_bytes; /* where that description ends; 0: none found */
};

/**
 * Look through what has arrived since the last call for the frame of a description: a byte 0, the
 * type byte, a length, and JSON that begins as descriptions do. Linear in the bytes over all calls.
 * Requires: len_bytes bytes at data, the first ones those of the call before.
 * Returns: true where the last such description ends with the last byte: the tail is complete.
 */
bool rmig_tail_complete(struct rmig_tail_scan *scan, const uint8_t *data, size_t len_bytes);

/** A tail begins with a device section, or with the end of sections. Returns: 0; -EPROTO. */
int rmig_tail_check_first(uint8_t first, struct rmig_err *err);

#endif
