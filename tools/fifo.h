/* SPDX-License-Identifier: BSD-3-Clause */
/* fifo.h -- opens for writing what may be a named pipe without a reader. */
#ifndef TOOLS_FIFO_H
#define TOOLS_FIFO_H

#include <stdio.h>
#include <rmig/cancel.h>
#include <rmig/error.h>

/**
 * As open(path, flags | O_WRONLY | O_CLOEXEC | O_NOCTTY), but a named pipe waits a minute at most for its reader, or
 * until cancel, which may be NULL; if that was triggered before, 5 seconds: there is something to be said of it.
 * Returns: a descriptor that blocks; -ETIMEDOUT; -ECANCELED; -errno.
 */
int fifo_open(const char *path, int flags, struct rmig_cancel *cancel, struct rmig_err *err);

/**
 * The same as fopen(path, "w"). Ownership: *file_p is the caller's, to be closed. Returns: 0; as fifo_open.
 */
int fifo_fopen(const char *path, struct rmig_cancel *cancel, FILE **file_p, struct rmig_err *err);

#endif
