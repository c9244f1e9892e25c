/* SPDX-License-Identifier: BSD-3-Clause */
/* channel_fd.c -- pipes, terminals and other descriptors that are neither socket nor file. */
#include "stream/endpoint.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "stream/fdio.h"

struct fd_channel {
    struct rmig_channel base;
    struct rmig_fdio io;
};

static struct rmig_fdio *io_of(struct rmig_channel *ch)
{
    return &((struct fd_channel *)ch)->io;
}

static ssize_t fd_readv(struct rmig_channel *ch, const struct iovec *iov, int niov,
                        struct rmig_err *err)
{
    return rmig_fdio_readv(io_of(ch), iov, niov, err);
}

static ssize_t fd_writev(struct rmig_channel *ch, const struct iovec *iov, int niov,
                         struct rmig_err *err)
{
    return rmig_fdio_writev(io_of(ch), iov, niov, err);
}

static int fd_close(struct rmig_channel *ch, struct rmig_err *err)
{
    int rc = rmig_fdio_close(io_of(ch), err);

    free(ch);
    return rc;
}

static int fd_set_blocking(struct rmig_channel *ch, bool blocking, struct rmig_err *err)
{
    (void)err;
    atomic_store(&io_of(ch)->blocking, blocking);
    return 0;
}

static int fd_get_fd(struct rmig_channel *ch)
{
    return io_of(ch)->fd;
}

static int fd_wait(struct rmig_channel *ch, enum rmig_shut direction, struct rmig_err *err)
{
    return rmig_fdio_wait(io_of(ch), direction, err);
}

static const struct rmig_channel_ops fd_ops = {
    .name = "fd",
    .readv = fd_readv,
    .writev = fd_writev,
    .close = fd_close,
    .set_blocking = fd_set_blocking,
    .get_fd = fd_get_fd,
    .wait = fd_wait,
};

int rmig_endpoint_fd(int fd, mode_t type, uint32_t flags, const char *label, const struct rmig_channel_opts *opts,
                     struct rmig_channel **ch_p, struct rmig_err *err)
{
    struct fd_channel *c = calloc(1, sizeof(*c));
    int rc;

    if (!c)
        return rmig_err_set(err, -ENOMEM, "%s: out of memory", label);
    snprintf(c->io.label, sizeof(c->io.label), "%s", label);
    rc = rmig_fdio_init(&c->io, fd, type, opts, err);
    if (rc < 0) {
        free(c);
        return rc;
    }
    c->base.ops = &fd_ops;
    c->base.label = c->io.label;
    c->base.flags = flags | (flags & RMIG_CHANNEL_WRITABLE ? RMIG_CHANNEL_BULK : 0);
    *ch_p = &c->base;
    return 0;
}
