/* SPDX-License-Identifier: BSD-3-Clause */
/* bytes_channel.c -- bytes in memory as a channel, with positions or as a pipe has them. */
#include "tests/fuzz/bytes_channel.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Is there something to say before a byte is given? Returns: 0; -EINTR, -EAGAIN, -ECONNRESET. */
static int interruption(struct bytes_channel *b)
{
    if (b->signals) {
        b->signals--;
        return -EINTR;
    }
    if (b->again) {
        b->again--;
        b->agained++;
        return -EAGAIN;
    }
    return b->pos >= b->fail_at ? b->failed = -ECONNRESET : 0;
}

static ssize_t bytes_readv(struct rmig_channel *ch, const struct iovec *iov, int niov,
                           struct rmig_err *err)
{
    struct bytes_channel *b = (struct bytes_channel *)ch;
    const size_t end = b->size < b->fail_at ? b->size : b->fail_at;
    size_t left = b->pos < end ? end - b->pos : 0, begin = b->pos;
    int rc = interruption(b);

    (void)err;
    if (rc < 0)
        return rc;
    if (left == 0)
        b->failed = -EIO;
    left = b->step && b->step < left ? b->step : left;
    if (b->nsteps && --b->nsteps == 0)
        b->step = 0;
    for (int i = 0; i < niov && left > 0; i++) {
        size_t n = left < iov[i].iov_len ? left : iov[i].iov_len;

        if (n > 0)
            memcpy(iov[i].iov_base, b->data + b->pos, n);
        b->pos += n;
        left -= n;
    }
    b->given += b->pos - begin;
    return (ssize_t)(b->pos - begin);
}

static ssize_t bytes_writev(struct rmig_channel *ch, const struct iovec *iov, int niov,
                            struct rmig_err *err)
{
    (void)ch, (void)iov, (void)niov;
    return rmig_err_set(err, -EBADF, "bytes: cannot be written");
}

static ssize_t bytes_pread(struct rmig_channel *ch, void *buf, size_t len_bytes,
                           uint64_t offset_bytes, struct rmig_err *err)
{
    struct bytes_channel *b = (struct bytes_channel *)ch;
    size_t n = offset_bytes < b->size ? b->size - offset_bytes : 0;

    (void)err;
    n = n < len_bytes ? n : len_bytes;
    if (n > 0)
        memcpy(buf, b->data + offset_bytes, n);
    b->given += n;
    return (ssize_t)n;
}

/* Where data, or a hole, begins at offset or behind it: as lseek(2). */
static int64_t extent(const struct bytes_channel *b, int64_t offset, bool data)
{
    size_t at = (size_t)offset;

    if (!b->is_data)
        return -EINVAL;
    if (offset < 0 || at >= b->size)
        return -ENXIO;
    while (at < b->size && (b->is_data[at / BYTES_PAGE] != 0) != data)
        at = (at / BYTES_PAGE + 1) * BYTES_PAGE;
    if (at < b->size)
        return (int64_t)at;
    return data ? -ENXIO : (int64_t)b->size;
}

static int64_t bytes_seek(struct rmig_channel *ch, int64_t offset, int whence, struct rmig_err *err)
{
    struct bytes_channel *b = (struct bytes_channel *)ch;
    int64_t to = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? (int64_t)b->pos : (int64_t)b->size;

    if (whence == SEEK_DATA || whence == SEEK_HOLE)
        to = extent(b, offset, whence == SEEK_DATA);
    else if (whence > SEEK_END || __builtin_add_overflow(to, offset, &to) || to < 0)
        return rmig_err_set(err, -EINVAL, "bytes: position %lld", (long long)to);
    if (to >= 0)
        b->pos = (size_t)to;
    return to;
}

static int bytes_set_blocking(struct rmig_channel *ch, bool blocking, struct rmig_err *err)
{
    (void)ch, (void)blocking, (void)err;
    return 0;
}

static int bytes_wait(struct rmig_channel *ch, enum rmig_shut direction, struct rmig_err *err)
{
    struct bytes_channel *b = (struct bytes_channel *)ch;

    (void)direction, (void)err;
    if (b->wait_code < 0)
        b->failed = b->wait_code;
    return b->wait_code;
}

static int bytes_close(struct rmig_channel *ch, struct rmig_err *err)
{
    struct bytes_channel *b = (struct bytes_channel *)ch;

    (void)err;
    if (b->on_heap)
        free(b);
    return 0;
}

void bytes_channel_init(struct bytes_channel *b, const uint8_t *data, size_t size, int seekable)
{
    static const struct rmig_channel_ops ops = {.name = "bytes",
                                                .readv = bytes_readv,
                                                .writev = bytes_writev,
                                                .pread = bytes_pread,
                                                .seek = bytes_seek,
                                                .set_blocking = bytes_set_blocking,
                                                .wait = bytes_wait,
                                                .close = bytes_close};

    *b = (struct bytes_channel){.base.ops = &ops,
                                .base.flags =
                                    RMIG_CHANNEL_READABLE | (seekable ? RMIG_CHANNEL_SEEKABLE : 0),
                                .data = data,
                                .size = size,
                                .fail_at = SIZE_MAX};
}

struct rmig_channel *bytes_channel(const uint8_t *data, size_t size, int seekable,
                                   size_t step_bytes)
{
    struct bytes_channel *b = malloc(sizeof(*b));

    if (!b)
        abort();
    bytes_channel_init(b, data, size, seekable);
    b->step = step_bytes;
    b->on_heap = true;
    return &b->base;
}
