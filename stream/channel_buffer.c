/* SPDX-License-Identifier: BSD-3-Clause */
/* channel_buffer.c -- a growable memory buffer as a channel: read from its start or written. */
#include "stream/endpoint.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <rmig/buffer.h>

struct buffer_channel {
    struct rmig_channel base;
    struct rmig_buffer *buf;
    size_t position_bytes;
};

static struct buffer_channel *channel_of(struct rmig_channel *ch)
{
    return (struct buffer_channel *)ch;
}

static ssize_t buffer_readv(struct rmig_channel *ch, const struct iovec *iov, int niov,
                            struct rmig_err *err)
{
    struct buffer_channel *c = channel_of(ch);
    ssize_t done = 0;

    if (!(ch->flags & RMIG_CHANNEL_READABLE))
        return rmig_err_set(err, -EBADF, "buffer: opened for writing, cannot be read");
    for (int i = 0; i < niov; i++) {
        size_t n = rmig_buffer_read(c->buf, c->position_bytes, iov[i].iov_len, iov[i].iov_base);

        c->position_bytes += n;
        done += (ssize_t)n;
    }
    return done;
}

static ssize_t store(struct buffer_channel *c, size_t position_bytes, const void *src,
                     size_t len_bytes, struct rmig_err *err)
{
    ssize_t n;

    if (!(c->base.flags & RMIG_CHANNEL_WRITABLE))
        return rmig_err_set(err, -EBADF, "buffer: opened for reading, cannot be written");
    n = rmig_buffer_write(c->buf, position_bytes, src, len_bytes);
    if (n < 0)
        return rmig_err_set(err, (int)n, "buffer: %zu bytes at %zu: %s", len_bytes, position_bytes,
                            strerror((int)-n));
    return n;
}

static ssize_t buffer_writev(struct rmig_channel *ch, const struct iovec *iov, int niov,
                             struct rmig_err *err)
{
    struct buffer_channel *c = channel_of(ch);
    ssize_t done = 0;

    for (int i = 0; i < niov; i++) {
        ssize_t n = store(c, c->position_bytes, iov[i].iov_base, iov[i].iov_len, err);

        if (n < 0)
            return n;
        c->position_bytes += (size_t)n;
        done += n;
    }
    return done;
}

static int buffer_close(struct rmig_channel *ch, struct rmig_err *err)
{
    (void)err;
    rmig_buffer_free(channel_of(ch)->buf);
    free(ch);
    return 0;
}

static int64_t buffer_seek(struct rmig_channel *ch, int64_t offset_bytes, int whence,
                           struct rmig_err *err)
{
    struct buffer_channel *c = channel_of(ch);
    int64_t base = 0, target;

    if (whence == SEEK_CUR)
        base = (int64_t)c->position_bytes;
    else if (whence == SEEK_END)
        base = (int64_t)rmig_buffer_length(c->buf);
    else if (whence != SEEK_SET)
        return rmig_err_set(err, -EINVAL, "buffer: seek: whence %d is unknown", whence);
    if (__builtin_add_overflow(base, offset_bytes, &target) || target < 0)
        return rmig_err_set(err, -EINVAL, "buffer: seek to %lld from %lld: before the beginning",
                            (long long)offset_bytes, (long long)base);
    c->position_bytes = (size_t)target;
    return target;
}

static ssize_t buffer_pread(struct rmig_channel *ch, void *buf, size_t len_bytes,
                            uint64_t offset_bytes, struct rmig_err *err)
{
    (void)err;
    return (ssize_t)rmig_buffer_read(channel_of(ch)->buf, offset_bytes, len_bytes, buf);
}

static ssize_t buffer_pwrite(struct rmig_channel *ch, const void *buf, size_t len_bytes,
                             uint64_t offset_bytes, struct rmig_err *err)
{
    return store(channel_of(ch), offset_bytes, buf, len_bytes, err);
}

static const struct rmig_channel_ops buffer_ops = {
    .name = "buffer",
    .readv = buffer_readv,
    .writev = buffer_writev,
    .close = buffer_close,
    .seek = buffer_seek,
    .pread = buffer_pread,
    .pwrite = buffer_pwrite,
};

int rmig_channel_from_buffer(struct rmig_buffer *buf, enum rmig_channel_mode mode,
                             struct rmig_channel **ch_p, struct rmig_err *err)
{
    struct buffer_channel *c;

    if (mode != RMIG_OPEN_READ && mode != RMIG_OPEN_WRITE)
        return rmig_err_set(err, -EINVAL, "buffer channel: mode %d is neither read nor write",
                            (int)mode);
    c = calloc(1, sizeof(*c));
    if (!c)
        return rmig_err_set(err, -ENOMEM, "buffer channel: out of memory");
    c->base.ops = &buffer_ops;
    c->base.flags = RMIG_CHANNEL_SEEKABLE |
                    (mode == RMIG_OPEN_READ ? RMIG_CHANNEL_READABLE : RMIG_CHANNEL_WRITABLE);
    c->buf = buf;
    *ch_p = &c->base;
    return 0;
}

struct rmig_buffer *rmig_endpoint_buffer(const struct rmig_channel *ch)
{
    return ch->ops == &buffer_ops ? ((const struct buffer_channel *)ch)->buf : NULL;
}
