/* SPDX-License-Identifier: BSD-3-Clause */
/* rmig_link.h -- one stream to or from a peer that a URI names: over a transport or a channel. */
#ifndef TOOLS_RMIG_LINK_H
#define TOOLS_RMIG_LINK_H

#include <stdbool.h>
#include <stdint.h>
#include <rmig/rmig.h>

#include "tools/rmig_output.h"

/** How to open a link; zeroed memory but for gid_index (-1) is the default. */
struct link_opts {
    char device[64];  /* RDMA device, empty = the one the address chooses */
    int32_t gid_index;
    uint32_t ib_port; /* 0 = 1 */
    bool pin_all;     /* source: register all RAM at set-up */
    uint64_t pin_budget_bytes;
    uint32_t connect_timeout_ms;
    uint32_t idle_timeout_ms;
    uint32_t dead_peer_ms;
    struct rmig_cancel *cancel;
};

struct link {
    struct rmig_uri uri;
    struct link_opts opts;
    struct rmig_transport *plugin; /* NULL: a channel */
    const struct rmig_transport_ops *ops;
    struct rmig_transport_params params;
    struct rmig_transport_conn *conn;
    struct rmig_transport_listener *plugin_listener;
    struct rmig_listener *listener;
    struct output file;   /* of a URI file:PATH that is written */
    bool has_file;
    struct rmig_out *out; /* source */
    struct rmig_in *in;   /* destination */
};

/** Parse the URI and load what it needs. Returns: 0; -EINVAL the URI; -ENODEV and others. */
int link_init(struct link *link, const char *uri, const struct link_opts *opts,
              struct rmig_err *err);

/**
 * Destination: be ready for the source. tcp, unix and rdma listen; *port_p is the port, 0 for none.
 * The others open. Requires: init. Returns: 0; an errno.
 */
int link_listen(struct link *link, uint16_t *port_p, struct rmig_err *err);

/** Destination: wait for the source, without a deadline; link->in is ready. Returns: 0; an errno. */
int link_accept(struct link *link, struct rmig_err *err);

/**
 * Destination: stop listening; a second connection of the source is one too many. Requires: accept,
 * and that the source has said what it will send. Returns: 0; -ENOTSUP.
 */
int link_only_one(struct link *link, struct rmig_err *err);

/**
 * Source: by the error rc of a move, has the other side said that it failed? One that was not heard of in time, or
 * has hung up, may have been given all that it needs: a connection that is cut looks the same from here.
 */
bool link_peer_has_failed(const struct link *link, int rc);

/** Source: the stream to a command has failed; *err becomes what it and the command's end say. Ends the command. */
void link_explain(struct link *link, struct rmig_err *err);

/** Can something be said to who is at the other end? Not to a command whose output is read, nor to a file. */
bool link_can_answer(const struct link *link);

/** Source: connect or open; link->out is ready. Requires: init. Returns: 0; an errno. */
int link_connect(struct link *link, struct rmig_err *err);

/** End in order, and give a file its name: afterwards no peer can write to this end's memory. Returns: 0; an errno. */
int link_finish(struct link *link, struct rmig_err *err);

/** Longest pass: the other end is to hear of each long before it takes the silence for a failure. */
uint32_t link_window_ms(const struct link *link);

/** Bytes that have come or gone. */
uint64_t link_wire_bytes(struct link *link);

/** Most memory that was pinned. */
uint64_t link_peak_pinned_bytes(struct link *link);

/** Close everything, in any state; fine on zeroed memory. */
void link_close(struct link *link);

#endif
