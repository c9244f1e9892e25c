/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_guest.h -- a small guest between pages that fault, and loading any bytes into it. */
#ifndef TESTS_FUZZ_GUEST_H
#define TESTS_FUZZ_GUEST_H

#include <stddef.h>
#include <stdint.h>
#include <rmig/rmig.h>

#define FUZZ_BLOCKS 3
/* Bound that the load driver is told for one device section, and for a tail, in bytes. */
#define FUZZ_SECTION_BYTES 65536u

/* Three blocks of 2 pages, "mem" and "rom" of files and "anonymous" of none. Made once. */
const struct rmig_block *fuzz_guest(void);

/* How to load: bits. */
#define FUZZ_HOOKS 1u /* with hooks attached */
#define FUZZ_TAIL 2u  /* what follows the ram section as a whole */
#define FUZZ_MODES 4u

/* Load bytes as a stream, in messages that end at each hook mark. Returns: what the driver does. */
int fuzz_load_bytes(const uint8_t *data, size_t size, unsigned mode, struct rmig_err *err);

/* Streams that our own save driver writes: 0 .. FUZZ_SEEDS-1. Ownership: the caller frees *bytes_p.
 */
#define FUZZ_SEEDS 8
size_t fuzz_seed(unsigned n, uint8_t **bytes_p);

#endif
