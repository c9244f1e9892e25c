/* SPDX-License-Identifier: BSD-3-Clause */
/* load.h -- the load driver's state, and what its files offer each other. */
#ifndef HOOKS_LOAD_H
#define HOOKS_LOAD_H

#include <stdbool.h>
#include <stdint.h>
#include <rmig/save_load.h>
#include <rmig/stream.h>
#include "common/blocks.h"
#include "hooks/holes.h"
#include "stream/format.h"

/** How far the ram section has come. */
enum rmig_load_ram {
    RMIG_LOAD_RAM_NONE,    /* START has not come */
    RMIG_LOAD_RAM_STARTED, /* PART or END may come */
    RMIG_LOAD_RAM_ENDED    /* device sections and EOF may come */
};

struct rmig_load {
    struct rmig_in *in;
    struct rmig_out *back; /* to the source, NULL until it asks for it */
    struct rmig_blocks blocks;
    struct rmig_load_opts opts;
    struct rmig_ram_stats stats;
    bool ran;
    bool configured; /* the configuration was read; its subsections may follow */
    uint32_t subsections; /* those that came, a bit each: none may come twice */
    bool switched_over;   /* SWITCHOVER_START has come */
    uint32_t idle_parts;  /* PARTs in a row with nothing in them */
    enum rmig_load_ram ram;
    uint32_t ram_section_id; /* from START */
    bool have_block_list;
    char machine[RMIG_MACHINE_NAME_MAX + 1]; /* "" until the configuration was read */
    struct rmig_configuration configuration;
    uint8_t *listed;           /* per block: was it in the peer's list? */
    uint32_t record_block;     /* block of the last page record, UINT32_MAX: none yet */
    struct rmig_extent extent; /* of record_block, what is known of its backing file */
    uint32_t populated_block;
    struct rmig_extent populated; /* of populated_block, the run that was allocated last */
};

/** Most names that a capabilities subsection may list before it is refused unread. */
#define RMIG_CAPABILITIES_MAX 64u

/** PARTs in a row that may hold nothing: a source that has no more to say ends the section. */
#define RMIG_IDLE_PARTS_MAX 65536u

/** Device section data is read in steps of this, so that a length alone allocates no more. */
#define RMIG_SECTION_STEP_BYTES (1u << 20)

/* --- load_get.c: reading with the name of what is read --------------------------------------- */

/** One number. Returns: 0; the stream's error, prefixed with what was being read. */
int rmig_load_get_u8(struct rmig_load *load, const char *what, uint8_t *v_p, struct rmig_err *err);
int rmig_load_get_be16(struct rmig_load *load, const char *what, uint16_t *v_p,
                       struct rmig_err *err);
int rmig_load_get_be32(struct rmig_load *load, const char *what, uint32_t *v_p,
                       struct rmig_err *err);
int rmig_load_get_be64(struct rmig_load *load, const char *what, uint64_t *v_p,
                       struct rmig_err *err);

/** Exactly len_bytes. Returns: as above; the memory is undefined on failure. */
int rmig_load_get_bytes(struct rmig_load *load, const char *what, void *buf, size_t len_bytes,
                        struct rmig_err *err);

/** A str8 of 1 to 255 printable bytes. Returns: as above; -EPROTO empty or not printable. */
int rmig_load_get_name(struct rmig_load *load, const char *what, char name[256],
                       struct rmig_err *err);

/** The footer of a section. Returns: as above; -EPROTO another byte or another id. */
int rmig_load_get_footer(struct rmig_load *load, uint32_t section_id, struct rmig_err *err);

/** 0, or -ECANCELED. */
int rmig_load_check_cancel(const struct rmig_load *load, struct rmig_err *err);

/* --- the parts of a stream ------------------------------------------------------------------- */

/** load_config.c: magic and version. */
int rmig_load_header(struct rmig_load *load, struct rmig_err *err);

/** load_config.c: what follows the CONFIGURATION byte; a SUBSECTION byte after it. */
int rmig_load_configuration(struct rmig_load *load, struct rmig_err *err);
int rmig_load_subsection(struct rmig_load *load, struct rmig_err *err);

/** load_config.c: what follows a COMMAND byte. */
int rmig_load_command(struct rmig_load *load, struct rmig_err *err);

/**
 * load_layout.c: take a block table into use. Requires: items outlives the driver and the hooks.
 * Returns: 0; -EINVAL a block; -ENOMEM; what set_blocks says.
 */
int rmig_load_use_blocks(struct rmig_load *load, const struct rmig_block *items, uint32_t count,
                         struct rmig_err *err);

/** load_layout.c: what follows the word of the block list, which says total_bytes. */
int rmig_load_block_list(struct rmig_load *load, uint64_t total_bytes, struct rmig_err *err);

/** load_ram.c: what follows the type byte and the head (START) or id (PART, END), up to the footer.
 */
int rmig_load_ram_body(struct rmig_load *load, enum rmig_section type, struct rmig_err *err);

/**
 * load_populate.c: the page at offset_bytes of record_block comes next. Its memory is allocated in one
 * call with that of the pages that stand behind it in the stream's buffer, and of no other: a page fault
 * each costs more than the copy. Of a block of huge pages each is asked for by itself, since the pool of
 * them may be empty.
 * Returns: 0, also where the kernel cannot; -ENOMEM to write there would raise SIGBUS.
 */
int rmig_load_populate(struct rmig_load *load, uint64_t offset_bytes, struct rmig_err *err);

/** load_device.c: what follows a FULL section's head, footer included. */
int rmig_load_device(struct rmig_load *load, const struct rmig_section_head *head,
                     struct rmig_err *err);

/** load_tail.c: all that follows the ram section, to the description's last byte; handed over. */
int rmig_load_tail(struct rmig_load *load, struct rmig_err *err);

/** load_device.c: what follows EOF. A stream that ends there is complete too. */
int rmig_load_description(struct rmig_load *load, struct rmig_err *err);

#endif
