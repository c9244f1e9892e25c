/* bench_server.c -- listens for clients and hands each to its session. */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/bench_server.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <rmig/rmig.h>

#include "tools/bench_serve.h"

static int listen_on(const char *address, const char *port, struct rmig_listener **listener_p,
                     struct rmig_err *err)
{
    struct rmig_uri uri = {.kind = RMIG_URI_TCP, .fd = -1};

    snprintf(uri.host, sizeof(uri.host), "%s", address);
    snprintf(uri.port, sizeof(uri.port), "%s", port);
    return rmig_listener_open(&uri, listener_p, err);
}

static void announce(const struct rmig_listener *listener, const char *address, int port_fd)
{
    uint16_t port = rmig_listener_port(listener);

    if (port_fd >= 0) {
        if (write(port_fd, &port, sizeof(port)) != sizeof(port))
            fprintf(stderr, "destination: cannot tell the port: %s\n", strerror(errno));
        close(port_fd);
        return;
    }
    printf("rdma_migrate_bench %s: listening on %s port %u\n", rmig_version(),
           address[0] ? address : "all addresses,", port);
    fflush(stdout);
}

/* One client. Returns what its last run gave; *stopped_p where it is the server that was stopped.
 */
static enum bench_exit serve_one(const struct bench_params *params, struct rmig_listener *listener,
                                 bool quiet, struct rmig_cancel *stop, bool *stopped_p)
{
    struct rmig_channel_opts opts = {.cancel = stop, .dead_peer_ms = params->dead_peer_ms};
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_channel *ch = NULL;
    struct bench_ctl ctl = {.fd = -1};
    enum bench_exit status;
    int rc = rmig_listener_accept(listener, -1, &opts, &ch, &err);

    if (rc == 0)
        rc = bench_ctl_adopt(&ctl, ch, stop, &err);
    if (rc < 0) {
        *stopped_p = rmig_cancel_triggered(stop);
        if (!*stopped_p)
            fprintf(stderr, "rdma_migrate_bench: %s\n", err.msg);
        return *stopped_p ? BENCH_OK : BENCH_CONNECT;
    }
    status = bench_serve(params, &ctl, quiet);
    bench_ctl_close(&ctl);
    *stopped_p = rmig_cancel_triggered(stop);
    return status;
}

enum bench_exit bench_server(const struct bench_params *params, const char *address,
                             const char *port, int port_fd, struct rmig_cancel *stop)
{
    struct rmig_listener *listener = NULL;
    struct rmig_err err = RMIG_ERR_INIT;
    enum bench_exit status = BENCH_OK;
    bool stopped = false;

    if (listen_on(address, port, &listener, &err) < 0) {
        fprintf(stderr, "rdma_migrate_bench: %s%s\n", err.msg,
                err.code == -EADDRINUSE    ? "; --port takes another one"
                : err.code != -EADDRNOTAVAIL ? ""
                : params->loopback ? "; --loopback takes an address of this host, or none"
                                   : "; --bind takes an address of this host");
        return BENCH_CONNECT;
    }
    announce(listener, address, port_fd);
    do
        status = serve_one(params, listener, port_fd >= 0, stop, &stopped);
    while (!stopped && !params->once);
    rmig_listener_close(listener);
    return status;
}
