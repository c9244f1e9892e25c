/* SPDX-License-Identifier: BSD-3-Clause */
/* stream_internal.h -- the slot in which a stream carries what is attached to it; how it uses a channel. */
#ifndef STREAM_STREAM_INTERNAL_H
#define STREAM_STREAM_INTERNAL_H

#include <rmig/stream.h>

struct rmig_guard; /* the stream does not know what it is */

/** Frees a guard that is still attached when its stream closes. */
typedef void (*rmig_guard_release_fn)(struct rmig_guard *guard);

/** Returns: the guard in the slot, or NULL. */
struct rmig_guard *rmig_stream_out_guard(const struct rmig_out *out);
struct rmig_guard *rmig_stream_in_guard(const struct rmig_in *in);

/**
 * Fill or empty (NULL, NULL) the slot; what was there is not released. Requires: release is not
 * NULL where guard is not. It is called once, by close, after the last flush.
 */
void rmig_stream_out_set_guard(struct rmig_out *out, struct rmig_guard *guard,
                               rmig_guard_release_fn release);
void rmig_stream_in_set_guard(struct rmig_in *in, struct rmig_guard *guard,
                              rmig_guard_release_fn release);

/** What one call at a position is given at most: the system takes 2 GiB less a page. */
#define RMIG_STREAM_POSITIONED_MAX (1u << 30)

/** As rmig_channel_writev_all; *written_bytes_p grows by what the channel took, on failure too. */
int rmig_stream_write_counted(struct rmig_channel *ch, const struct iovec *iov, int niov,
                              uint64_t *written_bytes_p, struct rmig_err *err);

#endif
