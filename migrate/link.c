/* SPDX-License-Identifier: BSD-3-Clause */
/* link.c -- connects, listens, accepts, hangs up. */
#include "migrate/link.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"

/* One that asks to be let in has this long to go through with it. */
#define HANDSHAKE_MS 5000

static const char *kind_name(enum rmig_uri_kind kind)
{
    static const char *const names[] = {
        [RMIG_URI_TCP] = "tcp",   [RMIG_URI_UNIX] = "unix", [RMIG_URI_FD] = "fd",
        [RMIG_URI_FILE] = "file", [RMIG_URI_EXEC] = "exec", [RMIG_URI_RDMA] = "rdma",
    };

    return names[kind];
}

/* The address of an rdma: URI, by tcp. */
static struct rmig_uri tcp_uri(const struct rmig_link *link)
{
    struct rmig_uri uri = *link->uri;

    if (uri.kind == RMIG_URI_RDMA)
        uri.kind = RMIG_URI_TCP;
    return uri;
}

static int load_plugin(struct rmig_link *link, struct rmig_err *err)
{
    int rc = link->plugin ? 0 : rmig_transport_load("rdma", &link->plugin, err);

    if (rc < 0)
        return rc;
    link->transport = rmig_transport_ops(link->plugin);
    return rmig_transport_probe(link->plugin, &link->params, link->total_ram_bytes, err);
}

/* --- source ----------------------------------------------------------------------------------- */

static int connect_transport(struct rmig_link *link, struct rmig_err *err)
{
    int rc = load_plugin(link, err);

    if (rc == 0)
        rc = rmig_transport_connect(link->plugin, &link->params, &link->conn, err);
    if (rc == 0)
        rc = rmig_out_new(link->transport->channel(link->conn), &link->out, err);
    if (rc == 0)
        rc = rmig_out_attach_hooks(link->out, link->transport->hooks(link->conn), link->conn, err);
    link->name = kind_name(link->uri->kind); /* not the plugin's: that is unloaded in the end */
    return rc;
}

static int connect_channel(struct rmig_link *link, struct rmig_err *err)
{
    const struct rmig_uri uri = tcp_uri(link);
    struct rmig_channel *ch = NULL;
    int rc = rmig_channel_open(&uri, RMIG_OPEN_WRITE, &link->channel_opts, &ch, err);

    if (rc < 0)
        return rc;
    link->name = kind_name(uri.kind);
    rc = rmig_out_new(ch, &link->out, err);
    if (rc < 0) {
        (void)rmig_channel_close(ch, NULL);
        return rc;
    }
    return rmig_out_return_path(link->out, &link->answers, err);
}

int rmig_link_connect(struct rmig_link *link, bool by_transport, struct rmig_err *err)
{
    return by_transport ? connect_transport(link, err) : connect_channel(link, err);
}

/* --- destination ------------------------------------------------------------------------------ */

static int listen_transport(struct rmig_link *link, struct rmig_err *err)
{
    int rc = load_plugin(link, err);

    return rc < 0 ? rc : rmig_transport_listen(link->plugin, &link->params,
                                               &link->transport_listener, &link->port, err);
}

static int listen_channel(struct rmig_link *link, struct rmig_err *err)
{
    struct rmig_uri uri = tcp_uri(link);
    int rc;

    if (uri.kind != RMIG_URI_TCP && uri.kind != RMIG_URI_UNIX)
        return 0; /* opened when it is wanted */
    if (link->port) /* the transport's: one address for both */
        snprintf(uri.port, sizeof(uri.port), "%u", link->port);
    rc = rmig_listener_open(&uri, &link->listener, err);
    if (rc == 0)
        link->port = rmig_listener_port(link->listener);
    return rc;
}

int rmig_link_listen(struct rmig_link *link, bool tcp_fallback, struct rmig_err *why_p,
                     struct rmig_err *err)
{
    int rc;

    if (link->uri->kind != RMIG_URI_RDMA)
        return listen_channel(link, err);
    rc = listen_transport(link, tcp_fallback ? why_p : err);
    if (!tcp_fallback)
        return rc;
    return listen_channel(link, err);
}

bool rmig_link_listens(const struct rmig_link *link)
{
    return link->listener || link->transport_listener;
}

bool rmig_link_leave_transport(struct rmig_link *link)
{
    if (!link->transport_listener || !link->listener)
        return false;
    link->transport->listener_close(link->transport_listener);
    link->transport_listener = NULL;
    return true;
}

static int accept_transport(struct rmig_link *link, int timeout_ms, struct rmig_err *err)
{
    int rc = rmig_transport_accept(link->plugin, link->transport_listener, timeout_ms,
                                   &link->params, &link->conn, err);

    if (rc < 0)
        return rc;
    link->name = kind_name(link->uri->kind);
    rc = rmig_in_new(link->transport->channel(link->conn), &link->in, err);
    if (rc == 0)
        rc = rmig_in_attach_hooks(link->in, link->transport->hooks(link->conn), link->conn, err);
    return rc;
}

static int take_channel(struct rmig_link *link, struct rmig_channel *ch, struct rmig_err *err)
{
    int rc = rmig_in_new(ch, &link->in, err);

    if (rc < 0) {
        (void)rmig_channel_close(ch, NULL);
        return rc;
    }
    return rmig_in_return_path(link->in, &link->answer, err);
}

static int accept_channel(struct rmig_link *link, int timeout_ms, struct rmig_err *err)
{
    const struct rmig_uri uri = tcp_uri(link);
    struct rmig_channel *ch = NULL;
    int rc = link->listener ? rmig_listener_accept(link->listener, timeout_ms, &link->channel_opts,
                                                   &ch, err)
                            : rmig_channel_open(&uri, RMIG_OPEN_READ, &link->channel_opts, &ch, err);

    if (rc < 0)
        return rc;
    link->name = kind_name(uri.kind);
    return take_channel(link, ch, err);
}

/* Returns: 1 the transport, 0 the listener has somebody; -errno. */
static int wait_for_either(struct rmig_link *link, uint64_t deadline_ns, struct rmig_err *err)
{
    struct pollfd fds[] = {
        {link->transport->listener_fd(link->transport_listener), POLLIN, 0},
        {rmig_listener_fd(link->listener), POLLIN, 0},
        {rmig_cancel_fd(link->channel_opts.cancel), POLLIN, 0},
    };
    int n;

    do
        n = poll(fds, sizeof(fds) / sizeof(fds[0]), rmig_poll_ms(deadline_ns));
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return rmig_err_set(err, -errno, "waiting for a source: %s", strerror(errno));
    if (fds[2].revents)
        return rmig_err_set(err, -ECANCELED, "waiting for a source: cancelled");
    if (n == 0)
        return rmig_err_set(err, -ETIMEDOUT, "waiting for a source: nobody came in time");
    return fds[0].revents != 0;
}

int rmig_link_accept(struct rmig_link *link, uint64_t deadline_ns, struct rmig_err *err)
{
    bool both = link->transport_listener && link->listener;
    int timeout_ms = rmig_poll_ms(deadline_ns), rc;

    if (both) {
        rc = wait_for_either(link, deadline_ns, err);
        if (rc < 0)
            return rc;
        timeout_ms = HANDSHAKE_MS;
    } else {
        rc = link->transport_listener != NULL;
    }
    return rc ? accept_transport(link, timeout_ms, err) : accept_channel(link, timeout_ms, err);
}

/* --- the end ---------------------------------------------------------------------------------- */

int rmig_link_revoke(struct rmig_link *link, struct rmig_err *err)
{
    return link->conn ? link->transport->revoke(link->conn, err) : 0;
}

int rmig_link_finish(struct rmig_link *link, struct rmig_err *err)
{
    return link->conn ? link->transport->finish(link->conn, err) : 0;
}

/* A transport without figures leaves zeroes. */
static struct rmig_transport_stats transport_stats(const struct rmig_link *link)
{
    struct rmig_transport_stats stats = {.struct_size = sizeof(stats)};

    if (link->conn)
        (void)link->transport->stats(link->conn, &stats);
    return stats;
}

uint64_t rmig_link_peak_pinned_bytes(const struct rmig_link *link)
{
    return transport_stats(link).peak_pinned_bytes;
}

uint64_t rmig_link_wire_bytes(const struct rmig_link *link)
{
    if (link->conn)
        return transport_stats(link).wire_bytes;
    return link->out ? rmig_out_transferred_fast_bytes(link->out) : 0;
}

int rmig_link_drop(struct rmig_link *link, struct rmig_err *err)
{
    int rc, out_rc;

    (void)rmig_in_close(link->answers, NULL);
    (void)rmig_out_close(link->answer, NULL);
    rc = rmig_in_close(link->in, err);
    out_rc = rmig_out_close(link->out, err);
    if (link->conn)
        link->transport->close(link->conn);
    link->answers = NULL;
    link->answer = NULL;
    link->in = NULL;
    link->out = NULL;
    link->conn = NULL;
    return rc < 0 ? rc : out_rc;
}

void rmig_link_close(struct rmig_link *link)
{
    (void)rmig_link_drop(link, NULL);
    if (link->transport_listener)
        link->transport->listener_close(link->transport_listener);
    rmig_listener_close(link->listener);
    rmig_transport_unload(link->plugin);
    *link = (struct rmig_link){0};
}
