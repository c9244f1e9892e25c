/* SPDX-License-Identifier: BSD-3-Clause */
/* rmig_output.h -- a file that appears under its name only when it is whole. */
#ifndef TOOLS_RMIG_OUTPUT_H
#define TOOLS_RMIG_OUTPUT_H

#include <limits.h>
#include <stdbool.h>
#include <rmig/cancel.h>
#include <rmig/error.h>

struct output {
    const char *path; /* at the end of the links that it was given by */
    char real[PATH_MAX];
    int fd;          /* -1: not open */
    bool in_place;   /* a device, a pipe or standard output: there is nothing to hide */
    char temp[4096]; /* name of what is not whole yet, or of the file that it has replaced; empty: none */
    bool published, replaced;
};

/**
 * Open for writing, in the folder of path. Where the file system can, what is written has no name
 * before output_publish(), so that nothing is left even if the program is killed. A link stays one: the
 * file that it is about is replaced. What standard output is goes on there.
 * A named pipe waits for its reader, a minute at most. cancel: ends this.
 * Requires: path outlives it. Returns: 0; -EISDIR, -EACCES and others of open(2).
 */
int output_open(struct output *output, const char *path, struct rmig_cancel *cancel, struct rmig_err *err);

/** Standard output as it is. Returns: 0; -errno. */
int output_open_standard(struct output *output, struct rmig_err *err);

/** Could its name be on disk, too, and not only what was written? Requires: open. Returns: 0; -errno. */
int output_can_sync(const struct output *output, struct rmig_err *err);

/**
 * Give it its name, in place of any file of that name, which is kept out of sight as long as it can be asked back;
 * sync: on disk first. Returns: 0; -errno, nothing has changed.
 */
int output_publish(struct output *output, bool sync, struct rmig_err *err);

/** Let go of the file that it has replaced. */
void output_settle(struct output *output);

/** Have what was written on disk, where that can be. Returns: 0; -errno. */
int output_sync(const struct output *output, struct rmig_err *err);

/** Have it taken as far as a close(2) takes it: NFS says only then what found no room. Returns: 0; -errno. */
int output_flush(const struct output *output, struct rmig_err *err);

/** Take back what was published: what it has replaced is there again. Requires: not settled. */
void output_withdraw(struct output *output);

/** Close; what was not published is gone. Fine on one that is not open. */
void output_close(struct output *output);

#endif
