/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * out.h -- inside an output stream: copy buffer, scatter list, figures. For the files of stream/
 * alone.
 *
 *   buf  |=====listed=====|---pending---|......free......|
 *        buf              mark          pos              buf + RMIG_STREAM_BUFFER_BYTES
 *
 * Copied bytes become a list entry only when something else follows them or at a flush, so that a
 * put of a number is a store and an add. A stream with a channel never rests with a full list or a
 * full buffer: it is flushed, or, where the channel gains from few large writes, a full list moves
 * to the staged ones, which all go out by one write.
 */
#ifndef STREAM_OUT_H
#define STREAM_OUT_H

#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include <rmig/stream.h>

#include "stream/bucket.h"
#include "stream/sticky.h"
#include "stream/stream_internal.h"

/** Entries that wait staged, at most: what one writev may have (IOV_MAX), with room for a list. */
#define RMIG_STREAM_STAGED_MAX 512

struct rmig_out {
    uint8_t *pos;  /* next free byte of buf */
    uint8_t *mark; /* first byte that no list entry covers */
    uint8_t *end;  /* end of buf */
    struct rmig_sticky error;

    struct rmig_channel *ch; /* NULL: a private stream */
    bool owns_channel;       /* false for a return path */

    int niov;
    uint64_t ref_mask;  /* bit i: entry i is the caller's memory */
    uint64_t free_mask; /* bit i: entry i is released after the flush */
    struct iovec iov[RMIG_STREAM_IOV_MAX];
    int nstaged; /* full lists that go out ahead of iov */
    struct iovec staged[RMIG_STREAM_STAGED_MAX];

    uint64_t listed_bytes;   /* ever entered in the list or written at a position */
    uint64_t written_bytes;  /* ever taken by the channel */
    uint64_t credited_bytes; /* moved by a transport */

    uint64_t rate_limit_bytes; /* per window, 0 = none */
    uint64_t rate_start_bytes; /* put bytes when the window began */
    uint64_t rate_credit_bytes;  /* in the window */
    uint64_t rate_credited_bytes; /* ever */
    struct rmig_bucket bucket;

    struct rmig_guard *guard;
    rmig_guard_release_fn guard_release;

    alignas(64) uint8_t buf[RMIG_STREAM_BUFFER_BYTES];
};

/** Bytes ever put, those that a failure dropped from the queue included. */
static inline uint64_t rmig_stream_out_put_bytes(const struct rmig_out *out)
{
    return out->listed_bytes + (uint64_t)(out->pos - out->mark);
}

/** Room in the copy buffer. */
static inline size_t rmig_stream_out_room(const struct rmig_out *out)
{
    return (size_t)(out->end - out->pos);
}

/** Account for n bytes stored at pos, and flush a full buffer. Requires: n <= room. */
void rmig_stream_out_advance(struct rmig_out *out, size_t n);

/** Make sticky what a channel operation answered. Returns: the stream's error. */
int rmig_stream_out_fail(struct rmig_out *out, int code, const struct rmig_err *err);

#endif
