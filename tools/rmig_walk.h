/* SPDX-License-Identifier: BSD-3-Clause */
/* rmig_walk.h -- what a stream holds, part by part, as far as it can be followed. */
#ifndef TOOLS_RMIG_WALK_H
#define TOOLS_RMIG_WALK_H

#include <stdbool.h>
#include <stdint.h>

#include "tools/rmig_scan.h"
#include "tools/rmig_vmdesc.h"

#define WALK_LIST_MAX 16384u /* blocks, devices, commands: of each at most so many */
#define WALK_PARTS_MAX \
    256u /* sections that come in parts, configuration subsections, capabilities */

/** First byte of a part of the stream. */
enum walk_type {
    WALK_EOF = 0x00,
    WALK_START = 0x01,
    WALK_PART = 0x02,
    WALK_END = 0x03,
    WALK_FULL = 0x04,
    WALK_SUBSECTION = 0x05,
    WALK_VMDESCRIPTION = 0x06,
    WALK_CONFIGURATION = 0x07,
    WALK_COMMAND = 0x08,
    WALK_FOOTER = 0x7e
};

/** Kinds of page records. */
enum walk_page { WALK_ZERO, WALK_NORMAL, WALK_XBZRLE, WALK_COMPRESSED, WALK_PAGE_KINDS };

struct walk_block {
    char *name;
    uint64_t len_bytes;
    uint64_t page_bytes; /* 0: the stream does not say */
    uint64_t address;    /* of the guest; only in a stream with x-ignore-shared */
    uint64_t pages[WALK_PAGE_KINDS];
};

/** A section that comes in parts: ram, and others that cannot be followed. */
struct walk_section {
    char *name;
    uint64_t at; /* first byte */
    uint32_t id, instance, version;
    uint64_t parts;  /* PART sections */
    uint64_t end_at; /* first byte of END; 0: not seen */
    uint64_t nbytes; /* of START, PARTs and END together, with heads and footers */
};

/** How the end of a device's state was found. */
enum walk_found { WALK_NOT_FOUND, WALK_BY_DESCRIPTION, WALK_BY_FOOTER };

struct walk_device {
    char *name;
    uint64_t at, body_at, body_bytes;
    uint32_t id, instance, version;
    enum walk_found found;
    int64_t described; /* index in the description; -1 */
};

struct walk_command {
    uint64_t at;
    uint16_t command, len;
    uint8_t data[16]; /* the first of them */
};

struct walk_subsection {
    char *name;
    uint64_t at;
    uint32_t version;
};

/** A list that grows with what is found. */
#define WALK_LIST(type)       \
    struct {                  \
        type *items;          \
        uint32_t count, room; \
    }

struct walk {
    struct scan scan; /* its error is the walk's */
    bool complete;    /* the end of the stream was reached */
    uint32_t version;
    char machine[256]; /* empty: no configuration */
    WALK_LIST(struct walk_subsection) subsections;
    WALK_LIST(char *) capabilities;
    uint32_t page_bits;
    bool has_page_bits, has_uuid, ignore_shared, mapped_ram, advised;
    uint8_t uuid[16];
    WALK_LIST(struct walk_command) commands;
    WALK_LIST(struct walk_section) sections;
    enum { WALK_FOOTERS_UNKNOWN, WALK_FOOTERS, WALK_NO_FOOTERS } footers;
    WALK_LIST(struct walk_block) blocks;
    struct walk_block **by_name;
    struct walk_block *block; /* of the last page record */
    uint64_t ram_bytes;
    uint64_t pages[WALK_PAGE_KINDS];
    uint64_t hook_marks, multifd_marks;
    WALK_LIST(struct walk_device) devices;
    char run_state[101];
    uint64_t sections_end; /* position of the EOF byte; 0: not seen */
    bool looked_for_desc;
    uint64_t desc_at, desc_bytes; /* its text; 0: none found */
    struct vmdesc desc;
    uint32_t checks_left; /* fields that are still looked at for subsections */
};

/**
 * Follow a stream to its end, or to where it goes wrong: what was found is in the walk either way.
 * The channel is the walk's from now on. Returns: 0; -EPROTO with scan.err; the channel's errno.
 */
int walk_run(struct walk *walk, struct rmig_channel *ch);

/** Fine on zeroed memory. */
void walk_release(struct walk *walk);

/** Name of a command, "unknown" for none. */
const char *walk_command_name(uint16_t command);

/** Bytes of a page of the guest. */
static inline uint64_t walk_page_bytes(const struct walk *walk)
{
    return (uint64_t)1 << walk->page_bits;
}

/* --- of the files rmig_walk_*.c alone --------------------------------------------------------- */

/** Make room for one more item, which comes zeroed. Returns: it; NULL with the walk's error. */
#define walk_add(walk, list, most, what)                                    \
    walk_grow(walk, (void **)&(list)->items, &(list)->count, &(list)->room, \
              sizeof(*(list)->items), most, what)
void *walk_grow(struct walk *walk, void **items, uint32_t *count, uint32_t *room, size_t item_bytes,
                uint32_t most, const char *what);

/** A copy of a name. Returns: it; NULL with the walk's error. */
char *walk_copy(struct walk *walk, const char *text);

/** Header, configuration and its subsections. Returns: 0; -errno. */
int walk_header(struct walk *walk);

/** The body of a ram section up to its end mark; type is that of the section. Returns: as above. */
int walk_ram_body(struct walk *walk, enum walk_type type);

/** The footer of a section, or what may stand there instead. Returns: as above. */
int walk_footer(struct walk *walk, const char *name, uint32_t id);

/** A device section, whose first byte has been got. Returns: 0, also with an error recorded. */
int walk_device(struct walk *walk);

/** What follows the EOF byte, which has been got. Returns: 0; -errno. */
int walk_description(struct walk *walk);

#endif
