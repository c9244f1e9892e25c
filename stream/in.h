/* SPDX-License-Identifier: BSD-3-Clause */
/* in.h -- inside an input stream: buffer, error, figures. For the files of stream/ alone. */
#ifndef STREAM_IN_H
#define STREAM_IN_H

#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>
#include <rmig/stream.h>

#include "stream/sticky.h"
#include "stream/stream_internal.h"

struct rmig_in {
    uint8_t *pos; /* next unread byte */
    uint8_t *end; /* end of what is buffered */
    struct rmig_sticky error;

    struct rmig_channel *ch;
    bool owns_channel; /* false for a return path */
    bool blocking;     /* wait where the channel answers that it would block */

    bool ended; /* the error is the plain end of the stream: what is buffered is good */

    uint64_t received_bytes;

    struct rmig_guard *guard;
    rmig_guard_release_fn guard_release;

    alignas(64) uint8_t buf[RMIG_STREAM_BUFFER_BYTES];
};

/** Make sticky what a channel operation answered. Returns: the stream's error. */
int rmig_stream_in_fail(struct rmig_in *in, int code, const struct rmig_err *err);

/**
 * Buffer len_bytes behind pos. Requires: no more than the buffer holds. Returns: 0; the stream's
 * error; -EAGAIN.
 */
int rmig_stream_in_gather(struct rmig_in *in, size_t len_bytes);

#endif
