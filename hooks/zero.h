/* SPDX-License-Identifier: BSD-3-Clause */
/* zero.h -- is memory all zero? The widest vectors the processor has, chosen at run time. */
#ifndef HOOKS_ZERO_H
#define HOOKS_ZERO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <rmig/ram.h>

/** One way to do the test; the table of them exists so that a test can compare all with each other.
 */
struct rmig_zero_variant {
    const char *name;
    bool (*is_zero)(const void *buf, size_t len_bytes);
    bool (*supported)(void);
};

/** Widest first; ends with an entry whose name is NULL. The last real entry works everywhere. */
extern const struct rmig_zero_variant rmig_zero_variants[];

/**
 * Are all bytes zero? Any alignment and length (length 0 is zero); looks at both ends first, so
 * that a page in use costs one or two cache lines.
 * Requires: memory may change meanwhile (a running guest); the answer then holds for no instant.
 * Returns: true if every byte read was zero.
 */
bool rmig_is_zero(const void *buf, size_t len_bytes);

/**
 * How many pages of RMIG_PAGE_BYTES from ptr on are like the first one, all zero or not: at most
 * zero_pages, or data_pages. Requires: both are 1 or more; as rmig_is_zero. Returns: 1 or more.
 */
uint64_t rmig_alike_pages(const uint8_t *ptr, uint64_t zero_pages, uint64_t data_pages, bool *zero_p);

#endif
