/* SPDX-License-Identifier: BSD-3-Clause */
/* rmig_store.h -- a guest as a migration stream in a file, written and read. */
#ifndef TOOLS_RMIG_STORE_H
#define TOOLS_RMIG_STORE_H

#include <stdbool.h>
#include <stdint.h>
#include <rmig/rmig.h>

#include "tools/rmig_output.h"
#include "tools/rmig_ram.h"

/** A file that is being written; zeroed memory is one that is not. */
struct store {
    struct output output;
    struct rmig_out *out;
    struct rmig_save *save;
};

/** Make sure that the file can be written, as output_open does. path: NULL is standard output. Returns: 0; -errno. */
int store_open(struct store *store, const char *path, struct rmig_cancel *cancel, struct rmig_err *err);

/** Write the stream up to the end of RAM; sync: to disk. Requires: open. Returns: 0; -errno. */
int store_put_ram(struct store *store, const struct guest_ram *ram, bool sync,
                  struct rmig_cancel *cancel, struct rmig_err *err);

/** Write the devices; the stream is whole. Requires: put_ram. Returns: 0; -errno. */
int store_put_tail(struct store *store, const struct guest_ram *ram, struct rmig_err *err);

/** The figures of what was put. Requires: put_ram. */
struct rmig_ram_stats store_stats(const struct store *store);

/** Let the file appear. Requires: put_tail. Returns: 0; -errno. */
int store_publish(struct store *store, bool sync, struct rmig_err *err);

/** Close, in any state; what was not published is gone. */
void store_close(struct store *store);

/**
 * One block's memory into an open file, holes where it is zero. What the block has never had is not read, which would
 * take memory for it. cancel: looked at every 16 MiB; may be NULL. Returns: 0; -ECANCELED; -errno.
 */
int store_image(int fd, const struct rmig_block *block, struct rmig_cancel *cancel, struct rmig_err *err);

/**
 * Open a stored stream: a file, a pipe that somebody writes to within a minute, or "-", standard input.
 * Returns: 0; -ETIMEDOUT; -ECANCELED; -errno.
 */
int store_open_channel(const char *path, struct rmig_cancel *cancel, struct rmig_channel **ch_p,
                       struct rmig_err *err);

/** The same, as a stream. */
int store_open_stream(const char *path, struct rmig_cancel *cancel, struct rmig_in **in_p, struct rmig_err *err);

/** Read a stored stream whole into a guest after init; closes it. path: for messages. Returns: 0; -errno. */
int store_load(struct rmig_in *in, const char *path, struct guest_ram *ram, uint64_t max_ram_bytes,
               struct rmig_cancel *cancel, struct rmig_err *err);

#endif
