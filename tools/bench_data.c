/* bench_data.c -- opens, ends and closes the data connection of a run. */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/bench_data.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int bench_data_init(struct bench_data *data, const struct bench_data_opts *opts,
                    struct rmig_err *err)
{
    int rc;

    *data = (struct bench_data){0};
    data->tcp_opts = (struct rmig_channel_opts){.cancel = opts->cancel,
                                                .connect_timeout_ms = opts->connect_timeout_ms};
    data->params = (struct rmig_transport_params){
        .struct_size = sizeof(data->params),
        .pin_all = opts->pin_all,
        .host = opts->host,
        .port = opts->port,
        .device = opts->params->device[0] ? opts->params->device : NULL,
        .device_port = opts->params->ib_port,
        .gid_index = opts->params->gid_index,
        .nqueue_pairs = opts->nqueue_pairs,
        .connect_timeout_ms = opts->connect_timeout_ms,
        .cancel = opts->cancel,
        .cancel_fd = rmig_cancel_fd(opts->cancel),
    };
    if (!opts->rdma)
        return 0;
    rc = rmig_transport_load("rdma", &data->plugin, err);
    if (rc < 0)
        return rc;
    data->ops = rmig_transport_ops(data->plugin);
    rc = data->ops->probe(&data->params, opts->total_ram_bytes, err);
    if (rc < 0)
        bench_data_close(data);
    return rc;
}

static int tcp_uri(const struct bench_data *data, struct rmig_uri *uri, struct rmig_err *err)
{
    *uri = (struct rmig_uri){.kind = RMIG_URI_TCP, .fd = -1};
    if (strlen(data->params.host) >= sizeof(uri->host) ||
        strlen(data->params.port) >= sizeof(uri->port))
        return rmig_err_set(err, -EINVAL, "data connection: address too long");
    snprintf(uri->host, sizeof(uri->host), "%s", data->params.host);
    snprintf(uri->port, sizeof(uri->port), "%s", data->params.port);
    return 0;
}

static int tcp_connect(struct bench_data *data, struct rmig_err *err)
{
    struct rmig_channel *ch = NULL;
    struct rmig_uri uri;
    int rc = tcp_uri(data, &uri, err);

    if (rc == 0)
        rc = rmig_channel_open(&uri, RMIG_OPEN_WRITE, &data->tcp_opts, &ch, err);
    if (rc < 0)
        return rc;
    rc = rmig_out_new(ch, &data->out, err);
    if (rc < 0)
        (void)rmig_channel_close(ch, NULL);
    return rc;
}

int bench_data_connect(struct bench_data *data, struct rmig_err *err)
{
    int rc;

    if (!data->ops)
        return tcp_connect(data, err);
    rc = data->ops->connect(&data->params, &data->conn, err);
    if (rc == 0)
        rc = rmig_out_new(data->ops->channel(data->conn), &data->out, err);
    if (rc == 0)
        rc = rmig_out_attach_hooks(data->out, data->ops->hooks(data->conn), data->conn, err);
    return rc;
}

int bench_data_listen(struct bench_data *data, uint16_t *port_p, struct rmig_err *err)
{
    struct rmig_uri uri;
    int rc;

    if (data->ops)
        return data->ops->listen(&data->params, &data->listener, port_p, err);
    rc = tcp_uri(data, &uri, err);
    if (rc == 0)
        rc = rmig_listener_open(&uri, &data->tcp_listener, err);
    if (rc == 0)
        *port_p = rmig_listener_port(data->tcp_listener);
    return rc;
}

static int tcp_accept(struct bench_data *data, int timeout_ms, struct rmig_err *err)
{
    struct rmig_channel *ch = NULL;
    int rc = rmig_listener_accept(data->tcp_listener, timeout_ms, &data->tcp_opts, &ch, err);

    if (rc < 0)
        return rc;
    rmig_listener_close(data->tcp_listener); /* one connection a run */
    data->tcp_listener = NULL;
    rc = rmig_in_new(ch, &data->in, err);
    if (rc < 0)
        (void)rmig_channel_close(ch, NULL);
    return rc;
}

int bench_data_accept(struct bench_data *data, int timeout_ms, struct rmig_err *err)
{
    int rc;

    if (!data->ops)
        return tcp_accept(data, timeout_ms, err);
    rc = data->ops->accept(data->listener, timeout_ms, &data->params, &data->conn, err);
    if (rc < 0)
        return rc;
    data->ops->listener_close(data->listener);
    data->listener = NULL;
    rc = rmig_in_new(data->ops->channel(data->conn), &data->in, err);
    if (rc == 0)
        rc = rmig_in_attach_hooks(data->in, data->ops->hooks(data->conn), data->conn, err);
    return rc;
}

int bench_data_finish(struct bench_data *data, struct rmig_err *err)
{
    if (data->out && rmig_out_flush(data->out) < 0)
        return rmig_out_error(data->out, err);
    return data->ops ? data->ops->finish(data->conn, err) : 0;
}

static struct rmig_transport_stats stats_of(struct bench_data *data)
{
    struct rmig_transport_stats stats = {.struct_size = sizeof(stats)};

    if (data->conn)
        (void)data->ops->stats(data->conn, &stats); /* a transport without figures leaves zeros */
    return stats;
}

uint64_t bench_data_wire_bytes(struct bench_data *data)
{
    if (data->conn)
        return stats_of(data).wire_bytes;
    return data->out ? rmig_out_transferred_fast_bytes(data->out) : 0;
}

uint64_t bench_data_peak_pinned_bytes(struct bench_data *data)
{
    return stats_of(data).peak_pinned_bytes;
}

void bench_data_close(struct bench_data *data)
{
    (void)rmig_out_close(data->out, NULL); /* what matters has been flushed and checked by finish */
    (void)rmig_in_close(data->in, NULL);
    if (data->conn)
        data->ops->close(data->conn);
    if (data->listener)
        data->ops->listener_close(data->listener);
    if (data->tcp_listener)
        rmig_listener_close(data->tcp_listener);
    if (data->plugin)
        rmig_transport_unload(data->plugin);
    *data = (struct bench_data){0};
}
