/* SPDX-License-Identifier: BSD-3-Clause */
/* rmig_changes.h -- finds pages that somebody else has written, whom no dirty tracker sees: a peer
 * that writes to registered memory. */
#ifndef TOOLS_RMIG_CHANGES_H
#define TOOLS_RMIG_CHANGES_H

#include <stdint.h>
#include <rmig/rmig.h>

#include "tools/rmig_ram.h"

struct changes {
    const struct guest_ram *ram;
    uint64_t **hashes; /* per block, per page; 0: all zero, as every page begins */
};

/** Requires: ram is made and outlives it. 8 bytes for a page are taken as pages are used. */
int changes_init(struct changes *changes, const struct guest_ram *ram, struct rmig_err *err);

/**
 * Mark the pages that differ from what they were at the last call; blocks' files tell what was never
 * touched. A page that is written meanwhile is found by the next call if not by this one.
 * Returns: 0; -ECANCELED; -errno.
 */
int changes_mark(struct changes *changes, struct rmig_save *save, struct rmig_cancel *cancel,
                 struct rmig_err *err);

/** Pages that were zero when they were last looked at. */
uint64_t changes_zero_pages(const struct changes *changes);

/** Fine on zeroed memory. */
void changes_release(struct changes *changes);

#endif
