/* SPDX-License-Identifier: BSD-3-Clause */
/* overflow.h -- arithmetic on figures that a peer or a user gave. */
#ifndef COMMON_OVERFLOW_H
#define COMMON_OVERFLOW_H

#include <stdbool.h>
#include <stdint.h>

/** a + b into *sum_p; false on overflow. */
static inline bool rmig_add_u64(uint64_t a, uint64_t b, uint64_t *sum_p)
{
    return !__builtin_add_overflow(a, b, sum_p);
}

/** a * b into *product_p; false on overflow. */
static inline bool rmig_mul_u64(uint64_t a, uint64_t b, uint64_t *product_p)
{
    return !__builtin_mul_overflow(a, b, product_p);
}

/** Is [offset, offset + len) inside [0, limit)? Never overflows; len 0 is inside up to limit. */
static inline bool rmig_range_within(uint64_t offset, uint64_t len, uint64_t limit)
{
    return offset <= limit && len <= limit - offset;
}

static inline uint64_t rmig_min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t rmig_max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static inline uint64_t rmig_div_round_up_u64(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0);
}

#endif
