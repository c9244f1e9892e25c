/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * link.h -- the connection of a move, whatever carries it: a transport plugin with its hooks, a
 * socket that leads both ways, or a file or pipe that leads one way.
 */
#ifndef MIGRATE_LINK_H
#define MIGRATE_LINK_H

#include <stdbool.h>
#include <stdint.h>
#include <rmig/channel.h>
#include <rmig/stream.h>
#include <rmig/transport.h>

struct rmig_link {
    const struct rmig_uri *uri;
    struct rmig_transport_params params; /* host and port are the uri's */
    struct rmig_channel_opts channel_opts;
    uint64_t total_ram_bytes;

    struct rmig_transport *plugin;
    const struct rmig_transport_ops *transport; /* the plugin's */
    struct rmig_transport_listener *transport_listener;
    struct rmig_listener *listener;
    uint16_t port; /* that is listened at */

    const char *name;                 /* what it goes by: "rdma", "tcp", ...; NULL = not connected */
    struct rmig_transport_conn *conn; /* of a plugin */
    struct rmig_out *out;             /* source: the stream */
    struct rmig_in *in;               /* destination: the stream */
    struct rmig_in *answers;          /* source: the way back; NULL = there is none */
    struct rmig_out *answer;          /* destination: the way back */
};

/** Source: connect; link->out is ready. Requires: uri, params, channel_opts, total_ram_bytes. */
int rmig_link_connect(struct rmig_link *link, bool by_transport, struct rmig_err *err);

/**
 * Destination: listen. *why_p: with tcp_fallback, why it does not listen by the transport.
 * Returns: 0; an errno.
 */
int rmig_link_listen(struct rmig_link *link, bool tcp_fallback, struct rmig_err *why_p,
                     struct rmig_err *err);

/** Can another source be accepted after a link_drop()? */
bool rmig_link_listens(const struct rmig_link *link);

/** Destination: where both are listened at, no longer by the transport. Returns: was there another? */
bool rmig_link_leave_transport(struct rmig_link *link);

/** Destination: wait for a source until deadline_ns; link->in is ready. Returns: 0; an errno. */
int rmig_link_accept(struct rmig_link *link, uint64_t deadline_ns, struct rmig_err *err);

/** Destination: no peer can write to guest RAM any more. Returns: 0; an errno. */
int rmig_link_revoke(struct rmig_link *link, struct rmig_err *err);

/**
 * Hang up in order. What it says to the peer is the last thing that a destination says. Returns: 0;
 * an errno.
 */
int rmig_link_finish(struct rmig_link *link, struct rmig_err *err);

/** Most memory registered on this side; 0 where nothing is. */
uint64_t rmig_link_peak_pinned_bytes(const struct rmig_link *link);

/** Bytes that this side has put on the wire, the transport's control messages included. */
uint64_t rmig_link_wire_bytes(const struct rmig_link *link);

/** Close the connection, the listeners stay. Returns: 0; what closing a file or a command said. */
int rmig_link_drop(struct rmig_link *link, struct rmig_err *err);

/** Close everything, in any state; fine on zeroed memory. */
void rmig_link_close(struct rmig_link *link);

#endif
