/* SPDX-License-Identifier: BSD-3-Clause */
/* mode.h -- what both directions of stream ask of a channel. */
#ifndef STREAM_MODE_H
#define STREAM_MODE_H

#include <stdbool.h>
#include <rmig/channel.h>

/** Is mode the string for direction ('r' or 'w') over ch? Returns: 0; -EINVAL with both strings. */
int rmig_stream_mode_check(const struct rmig_channel *ch, const char *mode, char direction,
                           struct rmig_err *err);

/** Shut both directions down; ch may be NULL. Returns: 0; -ENOSYS; -EIO with the cause. */
int rmig_stream_shut(struct rmig_channel *ch, struct rmig_err *err);

/** Set the channel's mode; ch may be NULL. Returns: 0; -ENOTSUP; what the channel answers. */
int rmig_stream_set_blocking(struct rmig_channel *ch, bool blocking, struct rmig_err *err);

#endif
