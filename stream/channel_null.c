/* SPDX-License-Identifier: BSD-3-Clause */
/* channel_null.c -- a sink that counts what it is given. */
#include <rmig/channel.h>

#include <errno.h>
#include <stdlib.h>

struct null_channel {
    struct rmig_channel base;
    uint64_t written_bytes;
};

static ssize_t null_readv(struct rmig_channel *ch, const struct iovec *iov, int niov,
                          struct rmig_err *err)
{
    (void)ch, (void)iov, (void)niov, (void)err;
    return 0;
}

static ssize_t null_writev(struct rmig_channel *ch, const struct iovec *iov, int niov,
                           struct rmig_err *err)
{
    struct null_channel *null = (struct null_channel *)ch;
    ssize_t n = 0;

    (void)err;
    for (int i = 0; i < niov; i++)
        n += (ssize_t)iov[i].iov_len;
    null->written_bytes += (uint64_t)n;
    return n;
}

static int null_close(struct rmig_channel *ch, struct rmig_err *err)
{
    (void)err;
    free(ch);
    return 0;
}

static const struct rmig_channel_ops null_ops = {
    .name = "null",
    .readv = null_readv,
    .writev = null_writev,
    .close = null_close,
};

int rmig_channel_null(struct rmig_channel **ch_p, struct rmig_err *err)
{
    struct null_channel *null = calloc(1, sizeof(*null));

    if (!null)
        return rmig_err_set(err, -ENOMEM, "null channel: out of memory");
    null->base.ops = &null_ops;
    null->base.flags = RMIG_CHANNEL_READABLE | RMIG_CHANNEL_WRITABLE;
    *ch_p = &null->base;
    return 0;
}

uint64_t rmig_channel_null_bytes(const struct rmig_channel *ch)
{
    return ch->ops == &null_ops ? ((const struct null_channel *)ch)->written_bytes : 0;
}
