/* SPDX-License-Identifier: BSD-3-Clause */
/* scan.h -- walks the dirty pages of all blocks once and cuts them into runs of one kind. */
#ifndef HOOKS_SCAN_H
#define HOOKS_SCAN_H

#include <stdbool.h>
#include <stdint.h>
#include <rmig/ram.h>
#include "common/blocks.h"
#include "hooks/holes.h"
#include "hooks/pages.h"

/** One walk. It only goes forward, so that a page comes at most once in it. */
struct rmig_scan {
    struct rmig_pages *pages;
    const struct rmig_blocks *blocks;
    uint32_t block_index; /* where the walk is */
    uint64_t page;
    bool first_pass;
    struct rmig_extent extent; /* of block_index, what is known of the backing file */
};

/** How long runs may get. */
struct rmig_scan_limits {
    uint64_t data_pages; /* content to be sent; >= 1 */
    uint64_t zero_pages; /* >= data_pages; of what is read at most RMIG_SCAN_AHEAD_PAGES */
};

/** Most pages that are looked at to find one run: bounds the time one step takes. */
#define RMIG_SCAN_AHEAD_PAGES 4096u

/** So many dirty pages in a row may be in holes in a later pass, too. */
#define RMIG_SCAN_MARKED_PAGES 512u

/** A run that was taken: its pages are clean now. */
struct rmig_found {
    struct rmig_run run; /* flags has RMIG_RUN_ZERO where all of it was zero */
    bool hole;           /* and nothing of it was read */
};

/**
 * Start at the first page of the first block. first_pass: pages may be dirty that nobody has ever written. Later
 * a page that is dirty was written, so that it is in no hole: only where so many are in a row that they may have
 * been marked for want of knowledge is the file asked.
 * Requires: pages outlives the walk.
 */
void rmig_scan_init(struct rmig_scan *scan, struct rmig_pages *pages, bool first_pass);

/** Take the next run. Returns: false at the end of the last block. */
bool rmig_scan_next(struct rmig_scan *scan, const struct rmig_scan_limits *limits,
                    struct rmig_found *found_p);

/**
 * Give back the tail of the run that came last, from byte keep_bytes of it on: it is dirty again
 * and the walk goes on there. Requires: keep_bytes is a page multiple below the run's length.
 */
void rmig_scan_give_back(struct rmig_scan *scan, struct rmig_run *run, uint64_t keep_bytes);

#endif
