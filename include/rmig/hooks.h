/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hooks.h -- the four hooks of the stream core: before_iterate, save_page, after_iterate, load.
 *
 * A stream has at most one set of hooks attached; with none, every page goes through the stream.
 * Hooks are called by the save and load drivers only, always through guards that check the round
 * state and the run's range and do the accounting, so an implementation need not repeat that.
 *
 *   source:      set_blocks, then per pass  before_iterate (save_page)* after_iterate
 *   destination: set_blocks, load(BLOCK_REG, name) per block of the peer's list,
 *                then load(HOOK) for each hook mark found in the stream
 *
 * All hooks of a set are called on the driver's thread. A hook may block, within deadlines of its own
 * and until cancel. After a hook has failed no other one is called, after_iterate neither: what was
 * taken is borrowed until the implementation's connection is closed.
 */
#ifndef RMIG_HOOKS_H
#define RMIG_HOOKS_H

#include <stdint.h>
#include <rmig/error.h>
#include <rmig/ram.h>

#ifdef __cplusplus
extern "C" {
#endif

struct rmig_out;
struct rmig_in;

/** Where in the move a hook is called. */
enum rmig_hook_flag {
    RMIG_HOOK_SETUP = 0,    /**< before/after_iterate: block exchange, no page yet */
    RMIG_HOOK_ROUND = 1,    /**< before/after_iterate: a pass while the guest may run */
    RMIG_HOOK_HOOK = 2,     /**< load: the stream carried a hook mark */
    RMIG_HOOK_FINISH = 3,   /**< before/after_iterate: the last pass, guest stopped */
    RMIG_HOOK_BLOCK_REG = 4 /**< load: one entry of the block list, data is its name */
};

/** A set of hooks. Absent members (NULL) mean "nothing to do" (save_page: not supported). */
struct rmig_hooks {
    /**
     * Called once before any other hook with the block table, in table order. The array stays the
     * caller's and is valid until the hooks are detached. Returns 0 or -errno.
     */
    int (*set_blocks)(void *opaque, const struct rmig_block *blocks, uint32_t nblocks,
                      struct rmig_err *err);
    /**
     * A pass begins; the hook mark is in the stream and has been flushed. flag: SETUP, ROUND or
     * FINISH. Returns 0 or -errno (which becomes the stream's error).
     */
    int (*before_iterate)(void *opaque, enum rmig_hook_flag flag, struct rmig_err *err);
    /**
     * One run of pages, at most once per page and pass, within its block, not crossing it. Returns
     * an enum rmig_put or -errno. *sent_bytes_p is 0 on entry and read for RMIG_PUT_SENT alone.
     */
    int (*save_page)(void *opaque, const struct rmig_run *run, uint64_t *sent_bytes_p,
                     struct rmig_err *err);
    /**
     * The pass ends: everything taken is placed at the destination, borrowed pages are given back.
     * Returns 0 or -errno.
     */
    int (*after_iterate)(void *opaque, enum rmig_hook_flag flag, struct rmig_err *err);
    /**
     * Destination. flag HOOK: serve the peer until the pass ends, block_name is NULL. flag
     * BLOCK_REG: block_name (NUL-terminated) is the next entry of the peer's block list.
     */
    int (*load)(void *opaque, enum rmig_hook_flag flag, const char *block_name,
                struct rmig_err *err);
};

/**
 * rmig_out_attach_hooks / rmig_in_attach_hooks - attach hooks to a stream
 * @hooks:  the set
 * @opaque: handed to every hook
 *
 * Before the driver's set-up (save) or run (load), which hands the set its block table.
 *
 * Ownership: @hooks and @opaque stay the caller's; borrowed until detached, or the stream is closed.
 * Blocks:    never.
 * Threads:   the stream's.
 * Returns:   0; -EBUSY a set is attached already; -ENOMEM.
 */
RMIG_MUST_CHECK int rmig_out_attach_hooks(struct rmig_out *out, const struct rmig_hooks *hooks,
                                          void *opaque, struct rmig_err *err);
RMIG_MUST_CHECK int rmig_in_attach_hooks(struct rmig_in *in, const struct rmig_hooks *hooks,
                                         void *opaque, struct rmig_err *err);

/**
 * rmig_out_detach_hooks / rmig_in_detach_hooks - detach hooks: pages go through the stream again
 *
 * Between calls of the driver, never inside one. Nothing attached is fine. Closing the stream does
 * it too.
 *
 * Ownership: hooks and opaque are the caller's alone again.
 * Blocks:    never.
 * Threads:   the stream's.
 */
void rmig_out_detach_hooks(struct rmig_out *out);
void rmig_in_detach_hooks(struct rmig_in *in);

#ifdef __cplusplus
}
#endif
#endif
