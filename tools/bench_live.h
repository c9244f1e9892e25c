/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_live.h -- the passes of a live move: send, look what was written, until little is left. */
#ifndef TOOLS_BENCH_LIVE_H
#define TOOLS_BENCH_LIVE_H

#include <rmig/dirty.h>
#include <rmig/save_load.h>

#include "tools/bench_guest.h"
#include "tools/bench_params.h"
#include "tools/bench_ram.h"

struct bench_live {
    const struct bench_params *params;
    const struct bench_ram *ram;
    struct bench_guest *guest; /* NULL: nothing is written while the RAM moves */
    struct rmig_save *save;
    struct rmig_dirty *dirty;
    /* results */
    bool converged;
    uint64_t guest_began_ns, stopped_ns; /* when the guest was started and stopped */
    uint64_t synced_pages;
    uint64_t written_pages;
    const char *tracker;
    /* of the last pass and the sync behind it */
    double rate_bytes_per_s;
    uint64_t left_pages;
    uint64_t sync_ns;
};

/** Is the tracker that params ask for to be had for ram's guest view? Returns: 0; an errno. */
int bench_live_check(const struct bench_params *params, const struct bench_ram *ram,
                     struct rmig_err *err);

/**
 * Run the passes: those while the guest writes, then, the guest stopped, the last one. Requires:
 * the save is set up. Returns: 0 with all pages handed to the stream; an errno. Either way the
 * guest is stopped and nothing tracks it any more.
 */
int bench_live_passes(struct bench_live *live, struct rmig_err *err);

#endif
