/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_ctl.h -- the control connection between the two ends of a bench: JSON objects, one a line.
 *
 *   client                                server
 *   hello                            ->
 *                                    <-   hello
 *   prepare (blocks)                 ->
 *                                    <-   ready | error
 *   per run:
 *   run (transport, budget, ...)     ->
 *                                    <-   listening (port, and why there is no RDMA) | error
 *   ... the move, on a data connection of its own; either end may say error and give it up: the
 *       server answers the client's error with aborted, after which the next run may come ...
 *                                    <-   loaded (figures)
 *                                    <-   hashes (a part each), oracle
 *   verdict                          ->
 *   bye                              ->
 *
 * Every line is bounded, every wait has a deadline, and the peer is believed nothing.
 */
#ifndef TOOLS_BENCH_CTL_H
#define TOOLS_BENCH_CTL_H

#include <stdint.h>
#include <jansson.h>
#include <rmig/cancel.h>
#include <rmig/channel.h>
#include <rmig/error.h>

/* Of this protocol, not of the program: raised when a message changes its meaning. */
#define BENCH_PROTOCOL 2
#define BENCH_LINE_MAX (1u << 20)
#define BENCH_HELLO_MS 10000

struct bench_ctl {
    struct rmig_channel *ch; /* NULL: closed */
    int fd;
    struct rmig_cancel *stop; /* ends every wait with -ECANCELED */
    int end_fd;               /* ends a receive with -EINTR where it polls readable; -1 = none */
    char *buf;                /* received, not yet taken: used bytes */
    size_t used;
    char peer[80];  /* "ADDRESS:PORT", for messages */
    char local[64]; /* numeric address of this end */
};

/** Connect to host:port. dead_peer_ms: of the channel, 0 = default. Returns: 0; a negative errno. */
int bench_ctl_connect(struct bench_ctl *ctl, const char *host, const char *port,
                      uint32_t dead_peer_ms, struct rmig_cancel *stop, struct rmig_err *err);

/** Take over an accepted channel; it is closed on failure too. Returns: 0; a negative errno. */
int bench_ctl_adopt(struct bench_ctl *ctl, struct rmig_channel *ch, struct rmig_cancel *stop,
                    struct rmig_err *err);

/** Close; fine if not open. */
void bench_ctl_close(struct bench_ctl *ctl);

/** Exchange magic and protocol number. Returns: 0; -EPROTO another program or version; an errno. */
int bench_ctl_hello(struct bench_ctl *ctl, int timeout_ms, struct rmig_err *err);

/** Send a message and drop the reference to it; NULL is -ENOMEM. Returns: 0 or -errno. */
int bench_ctl_send(struct bench_ctl *ctl, json_t *msg, struct rmig_err *err);

/**
 * Receive a message, an object with a string "op". The caller drops *msg_p. Returns: 0; -ETIMEDOUT;
 * -ECONNRESET the peer hung up; -EPROTO not such a message; -ECANCELED; -EINTR end_fd.
 */
int bench_ctl_recv(struct bench_ctl *ctl, int timeout_ms, json_t **msg_p, struct rmig_err *err);

/** As recv, and the message must be op; an "error" message becomes err. Returns: as recv; the
 * peer's. */
int bench_ctl_expect(struct bench_ctl *ctl, const char *op, int timeout_ms, json_t **msg_p,
                     struct rmig_err *err);

/** Send {"op": "error"} with err's text; failures to do so are nobody's concern. */
void bench_ctl_send_error(struct bench_ctl *ctl, const struct rmig_err *err);

/** Set err from an "error" message: the peer's words and errno, else -EREMOTEIO. Returns the errno.
 */
int bench_ctl_remote_error(const json_t *msg, struct rmig_err *err);

/** Is the message this op? */
int bench_ctl_is(const json_t *msg, const char *op);

/** A text of a message, as far as it fits and printable; "" where there is none. */
void bench_msg_text(const json_t *msg, const char *key, char *buf, size_t len);

/** A whole number in [min, max] of a message. Returns: 0; -EPROTO. */
int bench_msg_u64(const json_t *msg, const char *key, uint64_t min, uint64_t max, uint64_t *value_p,
                  struct rmig_err *err);

#endif
