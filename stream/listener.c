/* SPDX-License-Identifier: BSD-3-Clause */
/* listener.c -- listening tcp and unix sockets. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/resolve.h"
#include "common/wait.h"
#include "stream/endpoint.h"
#include "stream/fdio.h"

#define BACKLOG 16

struct rmig_listener {
    int fd;
    uint16_t port;           /* 0 for unix */
    struct sockaddr_un path; /* sun_path "" for tcp */
    char label[RMIG_LABEL_BYTES];
};

/* A listening socket at one address. Returns the descriptor or -errno. */
static int listen_at(const struct sockaddr *addr, socklen_t addr_len)
{
    int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1, off = 0, e;
    bool bound;

    if (fd < 0)
        return -errno;
    if (addr->sa_family != AF_UNIX)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (addr->sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    bound = bind(fd, addr, addr_len) == 0;
    if (bound && listen(fd, BACKLOG) == 0)
        return fd;
    e = errno;
    if (bound && addr->sa_family == AF_UNIX)
        unlink(((const struct sockaddr_un *)addr)->sun_path);
    close(fd);
    return -e;
}

/* Any address is best had with IPv6, whose socket takes IPv4 as well. */
static int listen_tcp(struct rmig_listener *l, const struct rmig_uri *uri, struct rmig_err *err)
{
    static const int order[] = {AF_INET6, AF_INET};
    struct sockaddr_storage bound;
    socklen_t len = sizeof(bound);
    struct addrinfo *list;
    int fd = -EADDRNOTAVAIL;
    int rc = rmig_resolve(uri->host, uri->port, true,
                          rmig_deadline_ns(RMIG_CONNECT_TIMEOUT_DEFAULT_MS), -1, &list, err);

    if (rc < 0)
        return rc;
    for (int i = 0; i < 2 && fd < 0; i++)
        for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next)
            if (a->ai_family == order[i])
                fd = listen_at(a->ai_addr, a->ai_addrlen);
    freeaddrinfo(list);
    if (fd < 0)
        return rmig_err_set(err, fd, "tcp:%.64s:%s: listen: %s", uri->host, uri->port,
                            strerror(-fd));
    l->fd = fd;
    if (getsockname(fd, (struct sockaddr *)&bound, &len) < 0)
        return rmig_err_set(err, -errno, "tcp: getsockname: %s", strerror(errno));
    rmig_address_text((struct sockaddr *)&bound, len, l->label);
    /* The port is at the same place in both address families. */
    l->port = ntohs(((struct sockaddr_in *)&bound)->sin_port);
    return 0;
}

/* Was the socket file left behind by a listener that is gone? */
static bool is_stale(const struct sockaddr_un *addr)
{
    struct stat st;
    bool stale;
    int fd;

    if (lstat(addr->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
        return false;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    stale = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 && errno == ECONNREFUSED;
    close(fd);
    return stale;
}

static int listen_unix(struct rmig_listener *l, const struct rmig_uri *uri, struct rmig_err *err)
{
    struct sockaddr_un addr;
    int fd = rmig_endpoint_unix_address(uri->path, &addr, err);

    if (fd < 0)
        return fd;
    fd = listen_at((struct sockaddr *)&addr, sizeof(addr));
    if (fd == -EADDRINUSE && is_stale(&addr)) {
        unlink(addr.sun_path);
        fd = listen_at((struct sockaddr *)&addr, sizeof(addr));
    }
    if (fd < 0)
        return rmig_err_set(err, fd, "unix:%.100s: listen: %s", uri->path, strerror(-fd));
    l->fd = fd;
    l->path = addr;
    snprintf(l->label, sizeof(l->label), "unix %.100s", addr.sun_path);
    return 0;
}

int rmig_listener_open(const struct rmig_uri *uri, struct rmig_listener **l_p, struct rmig_err *err)
{
    struct rmig_listener *l;
    int rc;

    if (uri->kind != RMIG_URI_TCP && uri->kind != RMIG_URI_UNIX)
        return rmig_err_set(err, -EINVAL, "listen: only tcp: and unix: URIs can be listened on");
    l = calloc(1, sizeof(*l));
    if (!l)
        return rmig_err_set(err, -ENOMEM, "listen: out of memory");
    l->fd = -1;
    rc = uri->kind == RMIG_URI_TCP ? listen_tcp(l, uri, err) : listen_unix(l, uri, err);
    if (rc < 0) {
        rmig_listener_close(l);
        return rc;
    }
    *l_p = l;
    return 0;
}

/* Make the accepted connection a channel that messages call by its peer. */
static int adopt(struct rmig_listener *l, int fd, const struct sockaddr *peer, socklen_t len,
                 const struct rmig_channel_opts *opts, struct rmig_channel **ch_p,
                 struct rmig_err *err)
{
    char text[RMIG_ADDRESS_TEXT_BYTES], label[RMIG_LABEL_BYTES];
    int rc;

    if (peer->sa_family == AF_UNIX)
        snprintf(label, sizeof(label), "%s", l->label);
    else
        snprintf(label, sizeof(label), "tcp %s", rmig_address_text(peer, len, text));
    rc = rmig_endpoint_socket(fd, label, opts, ch_p, err);
    if (rc < 0)
        close(fd);
    return rc;
}

int rmig_listener_accept(struct rmig_listener *l, int timeout_ms,
                         const struct rmig_channel_opts *opts, struct rmig_channel **ch_p,
                         struct rmig_err *err)
{
    uint64_t deadline = rmig_deadline_ns(timeout_ms);

    for (;;) {
        struct sockaddr_storage peer;
        socklen_t len = sizeof(peer);
        int rc = rmig_wait_fd(l->fd, POLLIN, rmig_cancel_fd(opts ? opts->cancel : NULL), deadline);
        int fd;

        if (rc == -ETIMEDOUT)
            return rmig_err_set(err, rc, "%s: accept: nobody connected within %d ms", l->label,
                                timeout_ms);
        if (rc < 0)
            return rmig_err_set(err, rc, "%s: accept: %s", l->label,
                                rc == -ECANCELED ? "cancelled" : strerror(-rc));
        fd = accept4(l->fd, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0)
            return adopt(l, fd, (struct sockaddr *)&peer, len, opts, ch_p, err);
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
            return rmig_err_set(err, -errno, "%s: accept: %s", l->label, strerror(errno));
    }
}

int rmig_listener_fd(const struct rmig_listener *l)
{
    return l->fd;
}

uint16_t rmig_listener_port(const struct rmig_listener *l)
{
    return l->port;
}

void rmig_listener_close(struct rmig_listener *l)
{
    if (!l)
        return;
    if (l->fd >= 0)
        close(l->fd);
    if (l->path.sun_path[0])
        unlink(l->path.sun_path);
    free(l);
}
