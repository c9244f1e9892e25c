/* SPDX-License-Identifier: BSD-3-Clause */
/* once.h -- has a page been put twice in one pass? What debug builds check (invariant 1). */
#ifndef HOOKS_ONCE_H
#define HOOKS_ONCE_H

#include <stdbool.h>
#include <rmig/ram.h>
#include "common/blocks.h"

struct rmig_once;

/** Returns: the object, or NULL when out of memory (nothing is checked then). */
struct rmig_once *rmig_once_new(const struct rmig_blocks *blocks);

/** NULL is fine. */
void rmig_once_free(struct rmig_once *once);

/** A new pass: forget the pages seen. NULL is fine. */
void rmig_once_restart(struct rmig_once *once);

/**
 * Note a run. Requires: the run is inside its block; once may be NULL.
 * Returns: false if one of its pages was noted since the last restart.
 */
bool rmig_once_note(struct rmig_once *once, const struct rmig_run *run);

#endif
