/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_watch.h -- listens to the peer on the control connection while the data moves, so that a
 * peer that fails, leaves or cancels, and a signal, end the move at this end too.
 */
#ifndef TOOLS_BENCH_WATCH_H
#define TOOLS_BENCH_WATCH_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "tools/bench_ctl.h"

struct bench_watch {
    struct bench_ctl *ctl;
    void (*end)(void *opaque); /* called, on the watch's thread, when the peer or a signal ends the move */
    void *opaque;
    const char *op;          /* the one message that does not end it; NULL = none */
    pthread_t thread;
    bool running;
    int end_fd;
    int done_fd;      /* readable once the thread has its result */
    atomic_bool done; /* the same, for the order of what is read after it */
    json_t *msg;
    struct rmig_err err; /* why the thread called end */
    bool peer_gave_up;   /* it is an error message that said so */
    bool aborted;        /* it is the answer to an error of ours */
};

/** Start listening. From here until bench_watch_end nobody else receives on ctl. */
int bench_watch_start(struct bench_watch *watch, struct bench_ctl *ctl, void (*end)(void *opaque),
                      void *opaque, const char *op, struct rmig_err *err);

/**
 * Wait for the message. The caller drops *msg_p. Returns: 0; -ETIMEDOUT; what ended the move, in
 * the peer's words where it is the peer who failed.
 */
int bench_watch_wait(struct bench_watch *watch, int timeout_ms, json_t **msg_p,
                     struct rmig_err *err);

/**
 * A step failed with *err. Where that is what one meets when the other end fails, waits a moment for the
 * peer's word and puts it in the place of *err if it says more. Returns err->code.
 */
int bench_watch_reason(struct bench_watch *watch, struct rmig_err *err);

/** Has the peer said that it gives up, and is *err no more than what follows from that? */
bool bench_watch_knows(struct bench_watch *watch, const struct rmig_err *err);

/** Stop listening; fine if not started. peer_gave_up and aborted stay, and are final. */
void bench_watch_end(struct bench_watch *watch);

#endif
