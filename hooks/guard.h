/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * guard.h -- the only way to call a hook: checks the round state and the run, does the accounting
 * once, turns a failure into the stream's error. No hook attached, or the member absent: nothing.
 */
#ifndef HOOKS_GUARD_H
#define HOOKS_GUARD_H

#include <stdbool.h>
#include <rmig/hooks.h>
#include <rmig/stream.h>
#include "common/blocks.h"

/** Returns: is a set of hooks attached? */
bool rmig_hook_attached(const struct rmig_out *out);

/**
 * As rmig_in_attach_hooks. aside: what the load hook reads does not come by the stream's channel, so
 * that the stream may go on right behind a mark.
 */
int rmig_hook_in_attach(struct rmig_in *in, const struct rmig_hooks *hooks, void *opaque,
                        bool aside, struct rmig_err *err);

/**
 * Hand the block table over, before any other hook. Requires: the caller's array of blocks outlives
 * the attachment; the table itself need not.
 * Returns: 0; -EBUSY if it was done; what the hook says.
 */
int rmig_hook_out_set_blocks(struct rmig_out *out, const struct rmig_blocks *blocks,
                             struct rmig_err *err);
int rmig_hook_in_set_blocks(struct rmig_in *in, const struct rmig_blocks *blocks,
                            struct rmig_err *err);

/**
 * Begin a pass: the hook mark goes into the stream, the stream is flushed so that the mark is the
 * last that the channel got, and the hook is called. Until after_iterate nothing may be put in the
 * stream. Requires: set_blocks was called. Returns: 0; -EINVAL a pass is open; the stream's error.
 */
int rmig_hook_before_iterate(struct rmig_out *out, enum rmig_hook_flag flag, struct rmig_err *err);

/**
 * Offer a run. Any answer but NOT_SUPPORTED counts its length against the rate limit, but for a run of
 * zero, which hardly travels; and what
 * SENT moved is credited to the stream.
 * Returns: an enum rmig_put; -EINVAL outside a pass, a run outside its block or not of whole pages,
 * or (debug builds) a page for the second time; the stream's error.
 */
int rmig_hook_save_page(struct rmig_out *out, const struct rmig_run *run, struct rmig_err *err);

/** End the pass begun with the same flag. Returns: 0; -EINVAL no such pass; the stream's error. */
int rmig_hook_after_iterate(struct rmig_out *out, enum rmig_hook_flag flag, struct rmig_err *err);

/**
 * Call the load hook. flag HOOK: the mark was read; unless attached aside it must be the last byte that the stream holds.
 * flag BLOCK_REG: name is the next entry of the peer's list; without a hook it is ignored.
 * Returns: 0; -EINVAL the mark without a load hook; -EPROTO bytes behind the mark; what the hook
 * says.
 */
int rmig_hook_load(struct rmig_in *in, enum rmig_hook_flag flag, const char *name,
                   struct rmig_err *err);

#endif
