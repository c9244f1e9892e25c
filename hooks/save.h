/* SPDX-License-Identifier: BSD-3-Clause */
/* save.h -- the save driver's state, and what its files offer each other. */
#ifndef HOOKS_SAVE_H
#define HOOKS_SAVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <rmig/hooks.h>
#include <rmig/save_load.h>
#include "common/blocks.h"
#include "hooks/devices.h"
#include "hooks/pages.h"
#include "hooks/scan.h"

/** The call that may come next. */
enum rmig_save_phase {
    RMIG_SAVE_NEW,     /* setup */
    RMIG_SAVE_RAM,     /* round, complete */
    RMIG_SAVE_DEVICES, /* section, end */
    RMIG_SAVE_ENDED    /* free */
};

/** Runs that a hook declined and that wait for the end of its pass, when the stream may be used. */
#define RMIG_DEFERRED_RUNS 1024u
#define RMIG_DEFERRED_BYTES (64u << 20)

struct rmig_save {
    struct rmig_out *out;
    struct rmig_in *back; /* from the destination, NULL where there is no way back */
    struct rmig_blocks blocks;
    struct rmig_save_opts opts;
    enum rmig_save_phase phase;
    bool handed_over; /* the end of sections may have come through */
    bool ram_is_zero; /* the destination's, before the first pass */
    struct rmig_err first_error; /* code 0: none; later calls answer with it */
    struct rmig_ram_stats stats;
    struct rmig_pages pages;
    struct rmig_devices devices; /* what the description at the end tells */
    uint32_t next_section_id;
    uint32_t record_block;   /* block of the last page record, UINT32_MAX: none yet */
    struct rmig_run deferred[RMIG_DEFERRED_RUNS];
    uint32_t ndeferred;
    uint64_t deferred_bytes; /* what the deferred runs will put in the stream */
};

/** save_pass.c: one walk over the dirty pages. flag ROUND: PART sections; FINISH: one END. */
int rmig_save_pass(struct rmig_save *save, enum rmig_hook_flag flag, struct rmig_err *err);

/** save_record.c: put a run as PAGE or ZERO records, pages by reference. Errors: the stream's. */
void rmig_save_put_run(struct rmig_save *save, const struct rmig_run *run);

/** Bytes that the records of a run take, the block's name left out. */
uint64_t rmig_save_record_bytes(const struct rmig_run *run);

/** save_record.c: u8 type, u32 section id: the head of PART, END and of a footer. */
void rmig_save_put_section_id(struct rmig_save *save, uint8_t type, uint32_t id);

/** save.c: 0, or -ECANCELED. */
int rmig_save_check_cancel(const struct rmig_save *save, struct rmig_err *err);

#endif
