/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * return_path.h -- the way back over a stream's channel: messages of a destination to its source.
 * Each is a type (u16), a length (u16) and that many bytes, big-endian.
 */
#ifndef HOOKS_RETURN_PATH_H
#define HOOKS_RETURN_PATH_H

#include <stdint.h>
#include <rmig/stream.h>

/** What a destination says; there are more, of capabilities that we have not. */
enum rmig_return_type {
    RMIG_RETURN_SHUT = 1, /* u32: 0 = everything was loaded; the last message */
    RMIG_RETURN_PONG = 2  /* u32: that of the PING */
};

/** Longest message that is read; a longer one is refused. */
#define RMIG_RETURN_MAX_BYTES 512u

/** Destination: say something. Returns: 0; the stream's error. */
int rmig_return_put(struct rmig_out *back, enum rmig_return_type type, uint32_t value,
                    struct rmig_err *err);

/**
 * Source: wait until the destination has said that it has loaded everything. Other messages are
 * read over. Returns: 0; -EREMOTEIO it says that it failed; -EPROTO; the stream's error.
 */
int rmig_return_await_shut(struct rmig_in *back, struct rmig_err *err);

#endif
