/* SPDX-License-Identifier: BSD-3-Clause */
/* channel_socket.c -- connected sockets as channels: tcp, unix and adopted ones. */
#include "stream/endpoint.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/overflow.h"
#include "common/resolve.h"
#include "common/wait.h"
#include "stream/socket_peer.h"

/* A unix listener whose queue is full is asked again after this time. */
#define UNIX_RETRY_MS 10

struct socket_channel {
    struct rmig_channel base;
    struct rmig_socket_io socket;
};

static struct rmig_fdio *io_of(struct rmig_channel *ch)
{
    return &((struct socket_channel *)ch)->socket.io;
}

static ssize_t socket_readv(struct rmig_channel *ch, const struct iovec *iov, int niov,
                            struct rmig_err *err)
{
    return rmig_fdio_readv(io_of(ch), iov, niov, err);
}

static ssize_t socket_writev(struct rmig_channel *ch, const struct iovec *iov, int niov,
                             struct rmig_err *err)
{
    return rmig_fdio_writev(io_of(ch), iov, niov, err);
}

static int socket_close(struct rmig_channel *ch, struct rmig_err *err)
{
    int rc = rmig_fdio_close(io_of(ch), err);

    free(ch);
    return rc;
}

static int socket_shutdown(struct rmig_channel *ch, enum rmig_shut how, struct rmig_err *err)
{
    static const int system_how[] = {
        [RMIG_SHUT_READ] = SHUT_RD, [RMIG_SHUT_WRITE] = SHUT_WR, [RMIG_SHUT_BOTH] = SHUT_RDWR};

    /* Not connected any more is as good as shut down. */
    if (shutdown(io_of(ch)->fd, system_how[how]) < 0 && errno != ENOTCONN)
        return rmig_err_set(err, -errno, "%s: shutdown: %s", io_of(ch)->label, strerror(errno));
    return 0;
}

static int socket_set_blocking(struct rmig_channel *ch, bool blocking, struct rmig_err *err)
{
    (void)err;
    atomic_store(&io_of(ch)->blocking, blocking);
    return 0;
}

static int socket_get_fd(struct rmig_channel *ch)
{
    return io_of(ch)->fd;
}

static int socket_wait(struct rmig_channel *ch, enum rmig_shut direction, struct rmig_err *err)
{
    return rmig_fdio_wait(io_of(ch), direction, err);
}

static const struct rmig_channel_ops socket_ops = {
    .name = "socket",
    .readv = socket_readv,
    .writev = socket_writev,
    .close = socket_close,
    .shutdown = socket_shutdown,
    .set_blocking = socket_set_blocking,
    .get_fd = socket_get_fd,
    .wait = socket_wait,
};

int rmig_endpoint_socket(int fd, const char *label, const struct rmig_channel_opts *opts,
                         struct rmig_channel **ch_p, struct rmig_err *err)
{
    struct socket_channel *c;
    int value = 0, rc;
    socklen_t len = sizeof(value);

    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &len) == 0 && value)
        return rmig_err_set(err, -EINVAL, "%s: is a listening socket; accept on it first", label);
    c = calloc(1, sizeof(*c));
    if (!c)
        return rmig_err_set(err, -ENOMEM, "%s: out of memory", label);
    snprintf(c->socket.io.label, sizeof(c->socket.io.label), "%s", label);
    rc = rmig_fdio_init(&c->socket.io, fd, S_IFSOCK, opts, err);
    if (rc == 0)
        rc = rmig_socket_peer_init(
            &c->socket, rmig_opt_ms(opts ? opts->dead_peer_ms : 0, RMIG_DEAD_PEER_DEFAULT_MS), err);
    if (rc < 0) {
        free(c);
        return rc;
    }
    c->base.ops = &socket_ops;
    c->base.label = c->socket.io.label;
    c->base.flags = RMIG_CHANNEL_READABLE | RMIG_CHANNEL_WRITABLE;
    *ch_p = &c->base;
    return 0;
}

/* connect(2) with a deadline. The socket is non-blocking. Returns 0 or -errno. */
static int connect_until(int fd, const struct sockaddr *addr, socklen_t addr_len, int cancel_fd,
                         uint64_t deadline_ns)
{
    int rc, status = 0;
    socklen_t len = sizeof(status);

    while (connect(fd, addr, addr_len) < 0) {
        if (errno == EINPROGRESS || errno == EINTR || errno == EALREADY)
            break;
        if (errno != EAGAIN)
            return -errno;
        rc = rmig_wait_fd(-1, 0, cancel_fd, rmig_deadline_ns(UNIX_RETRY_MS));
        if (rc == -ETIMEDOUT && rmig_poll_ms(deadline_ns) > 0)
            continue;
        return rc;
    }
    rc = rmig_wait_fd(fd, POLLOUT, cancel_fd, deadline_ns);
    if (rc < 0)
        return rc;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &status, &len) < 0)
        return -errno;
    return -status;
}

/* One address, within its share of the time. */
static int connect_one(const struct sockaddr *addr, socklen_t addr_len, const char *label,
                       const struct rmig_channel_opts *opts, uint64_t deadline_ns,
                       struct rmig_channel **ch_p, struct rmig_err *err)
{
    int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int rc;

    if (fd < 0)
        return rmig_err_set(err, -errno, "%s: socket: %s", label, strerror(errno));
    rc = connect_until(fd, addr, addr_len, rmig_cancel_fd(opts ? opts->cancel : NULL), deadline_ns);
    if (rc < 0)
        rmig_err_set(err, rc, "%s: connect: %s", label,
                     rc == -ECANCELED ? "cancelled" : strerror(-rc));
    else
        rc = rmig_endpoint_socket(fd, label, opts, ch_p, err);
    if (rc < 0)
        close(fd);
    return rc;
}

static int connect_tcp(const struct rmig_uri *uri, const struct rmig_channel_opts *opts,
                       uint64_t deadline_ns, struct rmig_channel **ch_p, struct rmig_err *err)
{
    struct addrinfo *list;
    struct rmig_err last = RMIG_ERR_INIT;
    uint64_t left = 0;
    int rc;

    if (!uri->host[0] || !strcmp(uri->port, "0"))
        return rmig_err_set(err, -EINVAL,
                            "tcp:%.64s:%s: a host and a port from 1 on are needed to connect",
                            uri->host, uri->port);
    rc = rmig_resolve(uri->host, uri->port, false, deadline_ns,
                      rmig_cancel_fd(opts ? opts->cancel : NULL), &list, err);
    if (rc < 0)
        return rc;
    for (struct addrinfo *a = list; a; a = a->ai_next)
        left++;
    for (struct addrinfo *a = list; a; a = a->ai_next, left--) {
        char text[RMIG_ADDRESS_TEXT_BYTES], label[RMIG_LABEL_BYTES];
        uint64_t now = rmig_now_ns();
        uint64_t share = now + (deadline_ns > now ? (deadline_ns - now) / left : 0);

        snprintf(label, sizeof(label), "tcp %s",
                 rmig_address_text(a->ai_addr, a->ai_addrlen, text));
        last = (struct rmig_err)RMIG_ERR_INIT;
        rc = connect_one(a->ai_addr, a->ai_addrlen, label, opts, share, ch_p, &last);
        if (rc == 0)
            (*ch_p)->flags |= RMIG_CHANNEL_BULK;
        if (rc == 0 || rc == -ECANCELED)
            break;
    }
    freeaddrinfo(list);
    return rc < 0 ? rmig_err_set(err, rc, "%s", last.msg) : 0;
}

int rmig_endpoint_unix_address(const char *path, struct sockaddr_un *addr_p, struct rmig_err *err)
{
    size_t len = strlen(path);

    if (len >= sizeof(addr_p->sun_path))
        return rmig_err_set(err, -ENAMETOOLONG, "unix:%.60s...: path of %zu bytes, at most %zu",
                            path, len, sizeof(addr_p->sun_path) - 1);
    memset(addr_p, 0, sizeof(*addr_p));
    addr_p->sun_family = AF_UNIX;
    memcpy(addr_p->sun_path, path, len);
    return 0;
}

int rmig_endpoint_connect(const struct rmig_uri *uri, const struct rmig_channel_opts *opts,
                          struct rmig_channel **ch_p, struct rmig_err *err)
{
    uint64_t deadline = rmig_deadline_ns(
        rmig_opt_ms(opts ? opts->connect_timeout_ms : 0, RMIG_CONNECT_TIMEOUT_DEFAULT_MS));
    char label[RMIG_LABEL_BYTES];
    struct sockaddr_un addr;
    int rc;

    if (uri->kind == RMIG_URI_TCP)
        return connect_tcp(uri, opts, deadline, ch_p, err);
    rc = rmig_endpoint_unix_address(uri->path, &addr, err);
    if (rc < 0)
        return rc;
    snprintf(label, sizeof(label), "unix %.100s", uri->path);
    return connect_one((struct sockaddr *)&addr, sizeof(addr), label, opts, deadline, ch_p, err);
}
