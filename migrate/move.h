/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * move.h -- what a source and a destination share: state and figures, cancel, and the two ways of
 * being driven. The work of a move runs on one thread; what it asks of the hypervisor goes through
 * rmig_move_call(): a plain call where that thread is the caller's own, and answered inside step()
 * where it is the library's.
 */
#ifndef MIGRATE_MOVE_H
#define MIGRATE_MOVE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <rmig/cancel.h>
#include <rmig/migrate.h>

/** How often the progress callback is called, beside each new state. */
#define RMIG_PROGRESS_MS 100u

/** Something to be done on the hypervisor's thread. */
typedef int (*rmig_move_fn)(void *arg, struct rmig_err *err);

struct rmig_move_request {
    rmig_move_fn fn;
    void *arg;
    struct rmig_err *err;
    int rc;
    bool answered;
};

struct rmig_move {
    struct rmig_vm_ops ops; /* as long as this library knows it; zeroes where the caller's is shorter */
    void *vm;
    const struct rmig_block *blocks;
    uint32_t nblocks;
    rmig_progress_fn progress;
    void *progress_opaque;
    struct rmig_cancel *cancel;
    int (*work)(struct rmig_move *move, struct rmig_err *err); /* the whole of it */
    uint64_t began_ns;

    pthread_mutex_t lock; /* guards what follows */
    struct rmig_move_status status;
    uint64_t reported_ns;
    bool begun;     /* run or the first step was called */
    bool committed; /* no cancel any more */
    bool settled;   /* it has ended: elapsed_ns stays */

    /* poll-driven */
    int event_fd; /* readable: a request, news or the end */
    bool threaded;
    pthread_t thread;
    pthread_cond_t answered;
    struct rmig_move_request *request; /* waits for step() */
    bool news;                         /* for the progress callback */
    bool ended;
    int rc;
    struct rmig_err err;
};

/**
 * Take the ops over and ask for the blocks. Returns: 0; -EINVAL an op that is needed is missing (a
 * source needs another set than a destination); -ENOMEM, -EMFILE; what list_blocks said.
 */
int rmig_move_init(struct rmig_move *move, const struct rmig_vm_ops *ops, void *vm, bool is_source,
                   struct rmig_err *err);

/** Ends it first if it runs. Fine after an init that failed. */
void rmig_move_release(struct rmig_move *move);

/** The public run, step and cancel of both. */
int rmig_move_run(struct rmig_move *move, struct rmig_err *err);
int rmig_move_step(struct rmig_move *move, struct rmig_err *err);
int rmig_move_cancel(struct rmig_move *move);
void rmig_move_status(const struct rmig_move *move, struct rmig_move_status *status_p);

/** Have fn done on the hypervisor's thread and wait for it. Returns: what it said. */
int rmig_move_call(struct rmig_move *move, rmig_move_fn fn, void *arg, struct rmig_err *err);

/** Next state; tells. */
void rmig_move_enter(struct rmig_move *move, enum rmig_move_state state);

/** Change figures between lock and unlock; unlock tells if it is time to. */
struct rmig_move_status *rmig_move_lock_status(struct rmig_move *move);
void rmig_move_unlock_status(struct rmig_move *move);

/**
 * From here on cancel comes too late. Returns: 0; -ECANCELED it came before.
 */
int rmig_move_commit(struct rmig_move *move, struct rmig_err *err);

/** Resume the guest, through call. Returns: what the op said. */
int rmig_move_resume(struct rmig_move *move, struct rmig_err *err);

#endif
