/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rdma_move.h -- a whole move over the fabric: save driver, plugin, plugin, load driver, source and
 * destination in a thread each. Both ends report; a hang ends the test.
 */
#ifndef TESTS_UNIT_RDMA_MOVE_H
#define TESTS_UNIT_RDMA_MOVE_H

#include <rmig/save_load.h>

#include "tests/unit/rdma_fixture.h"

#define MOVE_SECTION_BYTES 100000u

struct move {
    struct rmig_transport_params source_params, dest_params;
    struct ram from, to;
    unsigned nrounds; /* while the guest runs; each dirties what touch() touches */
    void (*touch)(struct move *m, unsigned round);
    struct rmig_cancel *source_cancel, *dest_cancel;
    int limit_ms; /* each end must be through by then; 0 = 10000 */
    /* Called on the source's thread, when the passes have been made. */
    void (*before_end)(struct move *m);

    void (*connected)(struct move *m); /* on the source's thread, before anything is sent */
    void (*received)(struct move *m);  /* on the destination's, when the device's state is there */

    bool refuse_section; /* the destination does, when all of RAM is there */

    /* what came of it */
    struct rmig_err source_err, dest_err; /* code 0 = well */
    atomic_bool source_done, dest_done;   /* its function has returned */
    struct rmig_ram_stats saved, loaded;
    struct rmig_transport_stats source_stats, dest_stats;
    bool section_came;
    uint64_t source_ended_ns, dest_ended_ns;
    struct rmig_save *save; /* for touch() */
    uint16_t port;
    struct rmig_transport_listener *listener;
};

/* Two guests of these blocks; the source's is filled, the destination's holds something else. */
void move_init(struct move *m, uint32_t nblocks, const uint64_t *len_bytes);
/* Moves. Both ends are closed when it returns. */
void move_run(struct move *m);
void move_release(struct move *m);

/* Both ends did well, memory is the same, nothing is left. */
void move_was_good(const struct move *m);
/* Neither end hangs, at least one failed, the source's guest is untouched, nothing is left. */
void move_failed_cleanly(const struct move *m);

const struct rmig_transport_ops *move_ops(void);

#endif
