/* SPDX-License-Identifier: BSD-3-Clause */
/* iov.h -- a cursor over an I/O vector that short transfers advance. */
#ifndef COMMON_IOV_H
#define COMMON_IOV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/** Entries that are copied, so that the first can be cut, where a transfer ended inside one. */
#define RMIG_IOV_WINDOW 64
/** Entries that are handed out at once: what the system takes in one call. */
#define RMIG_IOV_CALL_MAX 1024

struct rmig_iov_cursor {
    const struct iovec *iov; /* the caller's, from the first entry that has bytes left */
    int niov;
    size_t cut_bytes;           /* bytes of iov[0] that are done */
    uint64_t total_bytes;       /* of the whole vector */
    uint64_t left_bytes;        /* not done yet */
    const struct iovec *window; /* what to transfer next */
    int nwindow;
    struct iovec copy[RMIG_IOV_WINDOW];
};

/** Start. Requires: iov outlives the cursor; its lengths add up to less than 2^64. */
void rmig_iov_cursor_init(struct rmig_iov_cursor *cursor, const struct iovec *iov, int niov);

/** Fill window and nwindow with what comes next. Returns: false when nothing is left. */
bool rmig_iov_cursor_next(struct rmig_iov_cursor *cursor);

/** Bytes of the window are done. Requires: no more than are left. */
void rmig_iov_cursor_advance(struct rmig_iov_cursor *cursor, size_t done_bytes);

#endif
