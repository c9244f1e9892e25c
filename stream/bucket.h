/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bucket.h -- a token bucket that holds a rate: plain arithmetic on a clock that the caller reads.
 *
 * It keeps the instant at which all that was put is within the rate. After an idle time that instant
 * is RMIG_BUCKET_DEPTH_NS in the past and no more: so much may be put at once. In any time T no more
 * than rate * (T + depth) passes, and the piece that was put last.
 */
#ifndef STREAM_BUCKET_H
#define STREAM_BUCKET_H

#include <stdint.h>

/**
 * What is caught up after an idle time or a sleep that was too long. With pieces of 1 ms it keeps
 * what passes in 200 ms within 3 % of the rate.
 */
#define RMIG_BUCKET_DEPTH_NS 4000000u

struct rmig_bucket {
    uint64_t seen_bytes; /* put, as of the last look */
    uint64_t due_ns;     /* when they are within the rate */
};

/** Begin: what was put before counts no more. */
static inline void rmig_bucket_reset(struct rmig_bucket *bucket, uint64_t put_bytes)
{
    bucket->seen_bytes = put_bytes;
    bucket->due_ns = 0;
}

/**
 * Another rate, now_ns the time: what is owed is owed at the new one. Requires: both rates > 0.
 */
static inline void rmig_bucket_rerate(struct rmig_bucket *bucket, uint64_t old_bytes_per_s,
                                      uint64_t new_bytes_per_s, uint64_t now_ns)
{
    double owed_ns;

    if (bucket->due_ns <= now_ns)
        return;
    owed_ns = (double)(bucket->due_ns - now_ns) * (double)old_bytes_per_s / (double)new_bytes_per_s;
    bucket->due_ns = now_ns + (owed_ns < 1e18 ? (uint64_t)owed_ns : (uint64_t)1e18);
}

/**
 * Look: put_bytes were put in all by now_ns. Requires: bytes_per_s > 0; neither figure goes back.
 * Returns: how long to put nothing, 0: not at all.
 */
static inline uint64_t rmig_bucket_wait_ns(struct rmig_bucket *bucket, uint64_t bytes_per_s,
                                           uint64_t put_bytes, uint64_t now_ns)
{
    double took_ns = (double)(put_bytes - bucket->seen_bytes) * 1e9 / (double)bytes_per_s;

    if (bucket->due_ns + RMIG_BUCKET_DEPTH_NS < now_ns)
        bucket->due_ns = now_ns - RMIG_BUCKET_DEPTH_NS;
    bucket->due_ns += took_ns < 1e18 ? (uint64_t)took_ns : (uint64_t)1e18;
    bucket->seen_bytes = put_bytes;
    return bucket->due_ns > now_ns ? bucket->due_ns - now_ns : 0;
}

#endif
