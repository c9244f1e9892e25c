/* SPDX-License-Identifier: BSD-3-Clause */
/* rmig_link.c -- opens, ends and closes a stream to or from a peer. */
#include "tools/rmig_link.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define WINDOW_MS 1000u

static struct rmig_channel_opts channel_opts(const struct link *link)
{
    return (struct rmig_channel_opts){.cancel = link->opts.cancel,
                                      .connect_timeout_ms = link->opts.connect_timeout_ms,
                                      .idle_timeout_ms = link->opts.idle_timeout_ms,
                                      .dead_peer_ms = link->opts.dead_peer_ms};
}

static void set_params(struct link *link)
{
    link->params = (struct rmig_transport_params){
        .struct_size = sizeof(link->params),
        .pin_all = link->opts.pin_all,
        .host = link->uri.host,
        .port = link->uri.port,
        .device = link->opts.device[0] ? link->opts.device : NULL,
        .device_port = link->opts.ib_port,
        .gid_index = link->opts.gid_index,
        .connect_timeout_ms = link->opts.connect_timeout_ms,
        .idle_timeout_ms = link->opts.idle_timeout_ms,
        .dead_peer_ms = link->opts.dead_peer_ms,
        .pin_budget_bytes = link->opts.pin_budget_bytes,
        .cancel = link->opts.cancel,
    };
}

/* Standard output is the stream: what is printed must go elsewhere. */
static int take_stdout(struct link *link, struct rmig_err *err)
{
    int fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);

    if (fd < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
        return rmig_err_set(err, -errno, "fd:%d: %s", STDOUT_FILENO, strerror(errno));
    link->uri.fd = fd;
    return 0;
}

int link_init(struct link *link, const char *uri, const struct link_opts *opts,
              struct rmig_err *err)
{
    int rc;

    *link = (struct link){.opts = *opts};
    rc = rmig_uri_parse(uri, &link->uri, err);
    if (rc == 0 && link->uri.kind == RMIG_URI_FD && link->uri.fd == STDOUT_FILENO)
        rc = take_stdout(link, err);
    if (rc < 0 || link->uri.kind != RMIG_URI_RDMA)
        return rc;
    set_params(link);
    rc = rmig_transport_load("rdma", &link->plugin, err);
    if (rc < 0)
        return rc;
    link->ops = rmig_transport_ops(link->plugin);
    return rmig_transport_probe(link->plugin, &link->params, 0, err);
}

/* --- streams ---------------------------------------------------------------------------------- */

static int make_in(struct link *link, struct rmig_channel *ch, struct rmig_err *err)
{
    int rc = rmig_in_new(ch, &link->in, err);

    if (rc < 0)
        (void)rmig_channel_close(ch, NULL);
    if (rc == 0 && link->conn)
        rc = rmig_in_attach_hooks(link->in, link->ops->hooks(link->conn), link->conn, err);
    return rc;
}

static int make_out(struct link *link, struct rmig_channel *ch, struct rmig_err *err)
{
    int rc = rmig_out_new(ch, &link->out, err);

    if (rc < 0)
        (void)rmig_channel_close(ch, NULL);
    if (rc == 0 && link->conn)
        rc = rmig_out_attach_hooks(link->out, link->ops->hooks(link->conn), link->conn, err);
    return rc;
}

static int open_channel(struct link *link, enum rmig_channel_mode mode, struct rmig_channel **ch_p,
                        struct rmig_err *err)
{
    const struct rmig_channel_opts opts = channel_opts(link);

    return rmig_channel_open(&link->uri, mode, &opts, ch_p, err);
}

/* --- destination ------------------------------------------------------------------------------ */

int link_listen(struct link *link, uint16_t *port_p, struct rmig_err *err)
{
    struct rmig_channel *ch = NULL;
    int rc;

    *port_p = 0;
    if (link->plugin)
        return rmig_transport_listen(link->plugin, &link->params, &link->plugin_listener, port_p,
                                     err);
    if (link->uri.kind == RMIG_URI_TCP || link->uri.kind == RMIG_URI_UNIX) {
        rc = rmig_listener_open(&link->uri, &link->listener, err);
        if (rc == 0)
            *port_p = rmig_listener_port(link->listener);
        return rc;
    }
    rc = open_channel(link, RMIG_OPEN_READ, &ch, err);
    return rc < 0 ? rc : make_in(link, ch, err);
}

static int accept_transport(struct link *link, struct rmig_err *err)
{
    int rc = rmig_transport_accept(link->plugin, link->plugin_listener, -1, &link->params,
                                   &link->conn, err);

    if (rc < 0)
        return rc;
    link->ops->listener_close(link->plugin_listener);
    link->plugin_listener = NULL;
    return make_in(link, link->ops->channel(link->conn), err);
}

int link_accept(struct link *link, struct rmig_err *err)
{
    const struct rmig_channel_opts opts = channel_opts(link);
    struct rmig_channel *ch = NULL;
    int rc;

    if (link->plugin)
        return accept_transport(link, err);
    if (!link->listener)
        return 0; /* open already */
    rc = rmig_listener_accept(link->listener, -1, &opts, &ch, err);
    return rc < 0 ? rc : make_in(link, ch, err);
}

/* With multifd a source makes its other connections before it sends the block list's last byte. */
int link_only_one(struct link *link, struct rmig_err *err)
{
    struct rmig_channel *second = NULL;
    int rc;

    if (!link->listener)
        return 0;
    rc = rmig_listener_accept(link->listener, 0, NULL, &second, NULL);
    rmig_listener_close(link->listener);
    link->listener = NULL;
    if (rc < 0)
        return 0;
    (void)rmig_channel_close(second, NULL);
    return rmig_err_set(err, -ENOTSUP,
                        "a second connection came: capability multifd is on at the source; switch "
                        "it off there");
}

/* --- source ----------------------------------------------------------------------------------- */

/* A file is there when it is whole. From an offset on it is part of one that is there. */
static int open_file(struct link *link, struct rmig_channel **ch_p, struct rmig_err *err)
{
    struct rmig_channel_opts opts = channel_opts(link);
    int rc = output_open(&link->file, link->uri.path, link->opts.cancel, err);
    int fd;

    if (rc < 0)
        return rc;
    link->has_file = true;
    fd = fcntl(link->file.fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return rmig_err_set(err, -errno, "%.180s: %s", link->uri.path, strerror(errno));
    opts.label = link->uri.path;
    rc = rmig_channel_from_fd(fd, &opts, ch_p, err);
    if (rc < 0)
        close(fd);
    return rc;
}

int link_connect(struct link *link, struct rmig_err *err)
{
    struct rmig_channel *ch = NULL;
    int rc;

    if (link->plugin) {
        rc = rmig_transport_connect(link->plugin, &link->params, &link->conn, err);
        return rc < 0 ? rc : make_out(link, link->ops->channel(link->conn), err);
    }
    if (link->uri.kind == RMIG_URI_FILE && link->uri.offset_bytes == 0)
        rc = open_file(link, &ch, err);
    else
        rc = open_channel(link, RMIG_OPEN_WRITE, &ch, err);
    return rc < 0 ? rc : make_out(link, ch, err);
}

/* --- end -------------------------------------------------------------------------------------- */

/* A command that failed says so when its pipe is closed. */
static int close_streams(struct link *link, struct rmig_err *err)
{
    int out_rc = rmig_out_close(link->out, err);
    int in_rc = rmig_in_close(link->in, err);

    link->out = NULL;
    link->in = NULL;
    return out_rc < 0 ? out_rc : in_rc < 0 ? in_rc : 0;
}

bool link_can_answer(const struct link *link)
{
    return link->uri.kind != RMIG_URI_EXEC && link->uri.kind != RMIG_URI_FILE;
}

int link_finish(struct link *link, struct rmig_err *err)
{
    int rc;

    if (link->out && rmig_out_flush(link->out) < 0)
        return rmig_out_error(link->out, err);
    if (link->conn)
        return link->ops->finish(link->conn, err);
    rc = close_streams(link, err);
    return rc == 0 && link->has_file ? output_publish(&link->file, false, err) : rc;
}

static struct rmig_transport_stats stats_of(struct link *link)
{
    struct rmig_transport_stats stats = {.struct_size = sizeof(stats)};

    if (link->conn)
        (void)link->ops->stats(link->conn, &stats); /* a transport without figures leaves zeros */
    return stats;
}

void link_explain(struct link *link, struct rmig_err *err)
{
    struct rmig_err why = RMIG_ERR_INIT;

    if (link->uri.kind == RMIG_URI_EXEC && link->out && close_streams(link, &why) < 0)
        *err = why;
}

bool link_peer_has_failed(const struct link *link, int rc)
{
    if (link->uri.kind == RMIG_URI_FILE) /* it has its name only when all went well */
        return true;
    return rc == -EREMOTEIO || rc == -ECONNABORTED; /* it said so, on the return path or over RDMA */
}

uint32_t link_window_ms(const struct link *link)
{
    uint32_t part_ms = link->opts.idle_timeout_ms / 4;

    if (link->opts.idle_timeout_ms == 0 || part_ms >= WINDOW_MS)
        return WINDOW_MS;
    return part_ms ? part_ms : 1;
}

uint64_t link_wire_bytes(struct link *link)
{
    if (link->conn && link->out)
        return stats_of(link).wire_bytes;
    if (link->out)
        return rmig_out_transferred_fast_bytes(link->out);
    return link->in ? rmig_in_received_bytes(link->in) : 0;
}

uint64_t link_peak_pinned_bytes(struct link *link)
{
    return stats_of(link).peak_pinned_bytes;
}

void link_close(struct link *link)
{
    (void)close_streams(link, NULL); /* what matters has been finished and checked before */
    if (link->has_file)
        output_close(&link->file);
    if (link->conn)
        link->ops->close(link->conn);
    if (link->plugin_listener)
        link->ops->listener_close(link->plugin_listener);
    rmig_listener_close(link->listener);
    rmig_transport_unload(link->plugin);
    *link = (struct link){0};
}
