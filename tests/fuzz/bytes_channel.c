/* SPDX-License-Identifier: BSD-3-Clause */
/* bytes_channel.c -- bytes in memory as a channel, with positions or as a pipe has them. */
#include "tests/fuzz/bytes_channel.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct bytes {
    struct rmig_channel base;
    const uint8_t *data;
    size_t size, pos, step;
};

static ssize_t bytes_readv(struct rmig_channel *ch, const struct iovec *iov, int niov,
                           struct rmig_err *err)
{
    struct bytes *b = (struct bytes *)ch;
    size_t n = b->pos < b->size ? b->size - b->pos : 0;

    (void)err;
    if (niov < 1)
        return 0;
    n = n < iov[0].iov_len ? n : iov[0].iov_len;
    n = b->step && b->step < n ? b->step : n;
    if (n > 0)
        memcpy(iov[0].iov_base, b->data + b->pos, n);
    b->pos += n;
    return (ssize_t)n;
}

static ssize_t bytes_writev(struct rmig_channel *ch, const struct iovec *iov, int niov,
                            struct rmig_err *err)
{
    (void)ch, (void)iov, (void)niov;
    return rmig_err_set(err, -EBADF, "bytes: cannot be written");
}

static int64_t bytes_seek(struct rmig_channel *ch, int64_t offset, int whence, struct rmig_err *err)
{
    struct bytes *b = (struct bytes *)ch;
    int64_t from = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? (int64_t)b->pos : (int64_t)b->size;

    if (from + offset < 0)
        return rmig_err_set(err, -EINVAL, "bytes: position %lld", (long long)(from + offset));
    b->pos = (size_t)(from + offset);
    return from + offset;
}

static int bytes_close(struct rmig_channel *ch, struct rmig_err *err)
{
    (void)err;
    free(ch);
    return 0;
}

struct rmig_channel *bytes_channel(const uint8_t *data, size_t size, int seekable,
                                   size_t step_bytes)
{
    static const struct rmig_channel_ops ops = {.name = "bytes",
                                                .readv = bytes_readv,
                                                .writev = bytes_writev,
                                                .seek = bytes_seek,
                                                .close = bytes_close};
    struct bytes *b = calloc(1, sizeof(*b));

    if (!b)
        abort();
    b->base.ops = &ops;
    b->base.flags = RMIG_CHANNEL_READABLE | (seekable ? RMIG_CHANNEL_SEEKABLE : 0);
    b->data = data;
    b->size = size;
    b->step = step_bytes;
    return &b->base;
}
