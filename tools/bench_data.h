/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_data.h -- the data connection of one run: a transport plugin's, or plain TCP. */
#ifndef TOOLS_BENCH_DATA_H
#define TOOLS_BENCH_DATA_H

#include <stdbool.h>
#include <stdint.h>
#include <rmig/rmig.h>

#include "tools/bench_params.h"

/** What to open. The strings are borrowed until close. */
struct bench_data_opts {
    bool rdma;
    const char *host; /* connect: the peer's address; listen: the local address */
    const char *port;
    const struct bench_params *params; /* device, GID, port of this end */
    bool pin_all;
    uint32_t nqueue_pairs;
    uint64_t total_ram_bytes;
    uint32_t connect_timeout_ms;
    struct rmig_cancel *cancel;
};

struct bench_data {
    struct rmig_transport *plugin; /* NULL: TCP */
    const struct rmig_transport_ops *ops;
    struct rmig_transport_params params;
    struct rmig_transport_conn *conn;
    struct rmig_transport_listener *listener;
    struct rmig_listener *tcp_listener;
    struct rmig_channel_opts tcp_opts;
    struct rmig_out *out; /* source */
    struct rmig_in *in;   /* destination */
};

/** Load what the transport needs and ask whether this host can use it. Returns: 0; an errno. */
int bench_data_init(struct bench_data *data, const struct bench_data_opts *opts,
                    struct rmig_err *err);

/** Source: connect; data->out is ready, hooks attached. Requires: init. Returns: 0; an errno. */
int bench_data_connect(struct bench_data *data, struct rmig_err *err);

/** Destination: listen. Requires: init. Returns: 0; an errno. */
int bench_data_listen(struct bench_data *data, uint16_t *port_p, struct rmig_err *err);

/** Destination: accept the one connection; data->in is ready. Returns: 0; an errno. */
int bench_data_accept(struct bench_data *data, int timeout_ms, struct rmig_err *err);

/** End in order: afterwards no peer can write to this end's memory. Returns: 0; an errno. */
int bench_data_finish(struct bench_data *data, struct rmig_err *err);

/** Bytes that this end has put on the wire, as source. */
uint64_t bench_data_wire_bytes(struct bench_data *data);

/** Most memory that this end has had pinned. */
uint64_t bench_data_peak_pinned_bytes(struct bench_data *data);

/** Close everything, in any state; fine on zeroed memory. */
void bench_data_close(struct bench_data *data);

#endif
