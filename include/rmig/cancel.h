/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cancel.h -- a cancel token that every wait of a move has in its poll set.
 *
 * One token is shared by all objects of one move (channels, streams, drivers, transports). Once
 * triggered it stays so: every wait on it ends with -ECANCELED within 100 ms.
 *
 * Where a comment below does not say otherwise
 *   Ownership: the token stays the caller's.
 *   Blocks:    never.
 *   Threads:   any.
 */
#ifndef RMIG_CANCEL_H
#define RMIG_CANCEL_H

#include <stdbool.h>
#include <rmig/error.h>

#ifdef __cplusplus
extern "C" {
#endif

struct rmig_cancel;

/**
 * rmig_cancel_new - make a cancel token
 * @cancel_p: receives the token
 *
 * Ownership: the caller frees it, after every object that uses it is closed.
 * Returns: 0; -ENOMEM; -EMFILE, -ENFILE too many descriptors; a system errno.
 */
RMIG_MUST_CHECK int rmig_cancel_new(struct rmig_cancel **cancel_p, struct rmig_err *err);

/**
 * rmig_cancel_free - free a cancel token; NULL is fine
 *
 * Ownership: the token is gone.
 * Threads:   no other thread may use the token.
 */
void rmig_cancel_free(struct rmig_cancel *cancel);

/**
 * rmig_cancel_trigger - cancel: every wait on the token ends; NULL is fine
 *
 * Threads: any; may be called from a signal handler.
 */
void rmig_cancel_trigger(struct rmig_cancel *cancel);

/** rmig_cancel_triggered - has a token been triggered? Returns: whether it has; false for NULL. */
bool rmig_cancel_triggered(const struct rmig_cancel *cancel);

/**
 * rmig_cancel_fd - a descriptor that polls readable once the token is triggered; never read it
 *
 * Ownership: the descriptor stays the token's.
 * Returns: the descriptor; -1 for NULL.
 */
int rmig_cancel_fd(const struct rmig_cancel *cancel);

#ifdef __cplusplus
}
#endif
#endif
