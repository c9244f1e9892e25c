/* SPDX-License-Identifier: BSD-3-Clause */
/* iov.c -- walks an I/O vector over short transfers; copies entries only after a cut. */
#include "common/iov.h"

#include <assert.h>

void rmig_iov_cursor_init(struct rmig_iov_cursor *cursor, const struct iovec *iov, int niov)
{
    cursor->iov = iov;
    cursor->niov = niov;
    cursor->cut_bytes = 0;
    cursor->total_bytes = 0;
    for (int i = 0; i < niov; i++)
        cursor->total_bytes += iov[i].iov_len;
    cursor->left_bytes = cursor->total_bytes;
}

bool rmig_iov_cursor_next(struct rmig_iov_cursor *cursor)
{
    if (cursor->left_bytes == 0)
        return false;
    if (cursor->cut_bytes == 0) {
        cursor->window = cursor->iov;
        cursor->nwindow = cursor->niov < RMIG_IOV_CALL_MAX ? cursor->niov : RMIG_IOV_CALL_MAX;
        return true;
    }
    cursor->nwindow = cursor->niov < RMIG_IOV_WINDOW ? cursor->niov : RMIG_IOV_WINDOW;
    for (int i = 0; i < cursor->nwindow; i++)
        cursor->copy[i] = cursor->iov[i];
    cursor->copy[0].iov_base = (char *)cursor->copy[0].iov_base + cursor->cut_bytes;
    cursor->copy[0].iov_len -= cursor->cut_bytes;
    cursor->window = cursor->copy;
    return true;
}

void rmig_iov_cursor_advance(struct rmig_iov_cursor *cursor, size_t done_bytes)
{
    assert(done_bytes <= cursor->left_bytes);
    cursor->left_bytes -= done_bytes;
    while (cursor->niov > 0) {
        size_t rest = cursor->iov->iov_len - cursor->cut_bytes;

        if (done_bytes < rest) {
            cursor->cut_bytes += done_bytes;
            return;
        }
        done_bytes -= rest;
        cursor->cut_bytes = 0;
        cursor->iov++;
        cursor->niov--;
    }
}
