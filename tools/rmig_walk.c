/* SPDX-License-Identifier: BSD-3-Clause */
/* rmig_walk.c -- follows a stream from section to section, and refuses nothing that it can name. */
#include "tools/rmig_walk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <rmig/ram.h>

#include "tools/rmig_fields.h"

#define RAM_VERSION 4u

enum command { COMMAND_POSTCOPY_ADVISE = 3 };

/* --- what all files of the walk use ----------------------------------------------------------- */

void *walk_grow(struct walk *walk, void **items, uint32_t *count, uint32_t *room, size_t item_bytes,
                uint32_t most, const char *what)
{
    void *item;

    if (*count == most) {
        (void)scan_fail(&walk->scan, walk->scan.at, "more than %u %s", most, what);
        return NULL;
    }
    if (*count == *room) {
        uint32_t more = *room ? 2 * *room : 16;
        void *grown = realloc(*items, more * item_bytes);

        if (!grown) {
            (void)scan_fail(&walk->scan, walk->scan.at, "out of memory for %u %s", more, what);
            return NULL;
        }
        *items = grown;
        *room = more;
    }
    item = (char *)*items + *count * item_bytes;
    memset(item, 0, item_bytes);
    ++*count;
    return item;
}

char *walk_copy(struct walk *walk, const char *text)
{
    char *copy = strdup(text);

    if (!copy)
        (void)scan_fail(&walk->scan, walk->scan.at, "out of memory for a name");
    return copy;
}

int walk_footer(struct walk *walk, const char *name, uint32_t id)
{
    uint64_t at = walk->scan.at;
    const uint8_t *data;
    uint8_t footer[5];
    int rc;

    if (walk->footers == WALK_FOOTERS_UNKNOWN && scan_peek(&walk->scan, &data, 1) == 1)
        walk->footers = data[0] >= WALK_START && data[0] <= WALK_FULL && !walk->machine[0]
                            ? WALK_NO_FOOTERS
                            : WALK_FOOTERS;
    if (walk->footers == WALK_NO_FOOTERS)
        return 0;
    rc = scan_get(&walk->scan, "a section footer", footer, sizeof(footer));
    if (rc < 0)
        return rc;
    if (footer[0] != WALK_FOOTER)
        return scan_fail(&walk->scan, at, "0x%02x, not the footer (0x7e) of section %.64s, id %u",
                         footer[0], name, id);
    if (scan_load_be32(footer + 1) != id)
        return scan_fail(&walk->scan, at + 1, "the footer of section %.64s has id %u, not %u", name,
                         scan_load_be32(footer + 1), id);
    return 0;
}

const char *walk_command_name(uint16_t command)
{
    static const char *const names[] = {
        NULL,           "OPEN_RETURN_PATH",     "PING",     "POSTCOPY_ADVISE", "POSTCOPY_LISTEN",
        "POSTCOPY_RUN", "POSTCOPY_RAM_DISCARD", "PACKAGED", "ENABLE_COLO",     "POSTCOPY_RESUME",
        "RECV_BITMAP",  "SWITCHOVER_START"};

    if (command == 0 || command >= sizeof(names) / sizeof(names[0]))
        return "unknown";
    return names[command];
}

/* --- sections --------------------------------------------------------------------------------- */

/* What PACKAGED announces is more of the same stream, so nothing is special about it. */
static int command(struct walk *walk)
{
    struct walk_command *c = walk_add(walk, &walk->commands, WALK_LIST_MAX, "commands");
    size_t kept;
    int rc;

    if (!c)
        return -EPROTO;
    c->at = walk->scan.at - 1;
    rc = scan_be16(&walk->scan, "a command", &c->command);
    if (rc == 0)
        rc = scan_be16(&walk->scan, "a command's length", &c->len);
    kept = c->len < sizeof(c->data) ? c->len : sizeof(c->data);
    if (rc == 0)
        rc = scan_get(&walk->scan, "a command's data", c->data, kept);
    if (rc == 0)
        rc = scan_skip(&walk->scan, "a command's data", c->len - kept);
    if (rc < 0)
        walk->commands.count--; /* not all of it is there */
    else
        walk->advised = walk->advised || c->command == COMMAND_POSTCOPY_ADVISE;
    return rc;
}

/* A body of parts that is followed: that of ram alone. */
static int section_body(struct walk *walk, struct walk_section *section, enum walk_type type,
                        uint64_t begin)
{
    int rc;

    if (strcmp(section->name, "ram") != 0)
        return scan_fail(
            &walk->scan, walk->scan.at,
            "section %.64s, id %u, version %u: only its own code knows where this body "
            "ends, so what follows cannot be found",
            section->name, section->id, section->version);
    if (section->version != RAM_VERSION)
        return scan_fail(&walk->scan, walk->scan.at - 4,
                         "section ram has version %u, only %u is known", section->version,
                         RAM_VERSION);
    rc = walk_ram_body(walk, type);
    if (rc == 0)
        rc = walk_footer(walk, section->name, section->id);
    section->nbytes += walk->scan.at - begin;
    return rc;
}

static int start(struct walk *walk)
{
    struct walk_section *s = walk_add(walk, &walk->sections, WALK_PARTS_MAX, "sections with parts");
    char name[256];
    int rc;

    if (!s)
        return -EPROTO;
    s->at = walk->scan.at - 1;
    rc = scan_be32(&walk->scan, "a section's id", &s->id);
    if (rc == 0)
        rc = scan_name(&walk->scan, "a section's name", name);
    if (rc < 0 || !(s->name = walk_copy(walk, name))) {
        walk->sections.count--; /* there is nothing to call it by */
        return -EPROTO;
    }
    rc = scan_be32(&walk->scan, "a section's instance", &s->instance);
    if (rc == 0)
        rc = scan_be32(&walk->scan, "a section's version", &s->version);
    return rc < 0 ? rc : section_body(walk, s, WALK_START, s->at);
}

static int part_or_end(struct walk *walk, enum walk_type type)
{
    uint64_t begin = walk->scan.at - 1;
    uint32_t id;
    int rc = scan_be32(&walk->scan, "a section's id", &id);

    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < walk->sections.count; i++) {
        struct walk_section *section = &walk->sections.items[i];

        if (section->id != id)
            continue;
        if (type == WALK_PART)
            section->parts++;
        else
            section->end_at = begin;
        return section_body(walk, section, type, begin);
    }
    return scan_fail(&walk->scan, begin + 1, "section %s has id %u, which no section has started",
                     type == WALK_PART ? "PART" : "END", id);
}

/* One part of the stream, whose first byte has been got. */
static int part(struct walk *walk, uint8_t type)
{
    switch (type) {
    case WALK_START:
        return start(walk);
    case WALK_PART:
    case WALK_END:
        return part_or_end(walk, type);
    case WALK_FULL:
        return walk_device(walk);
    case WALK_COMMAND:
        return command(walk);
    default:
        return scan_fail(&walk->scan, walk->scan.at - 1,
                         "0x%02x, where a section, a command or the end of sections should begin",
                         type);
    }
}

static int follow(struct walk *walk)
{
    uint8_t type;
    int rc = walk_header(walk);

    while (rc == 0) {
        rc = scan_u8(&walk->scan, "a section's type", &type);
        if (rc == 0 && type == WALK_EOF)
            break;
        if (rc == 0)
            rc = part(walk, type);
    }
    if (rc < 0)
        return rc;
    walk->sections_end = walk->scan.at - 1;
    return walk_description(walk);
}

int walk_run(struct walk *walk, struct rmig_channel *ch)
{
    struct rmig_err err = RMIG_ERR_INIT;
    int rc;

    memset((char *)walk + offsetof(struct walk, complete), 0,
           sizeof(*walk) - offsetof(struct walk, complete));
    walk->page_bits = RMIG_PAGE_SHIFT;
    walk->checks_left = FIELDS_MAX;
    rc = scan_init(&walk->scan, ch, &err);
    if (rc < 0) {
        walk->scan.err = err;
        return rc;
    }
    walk->complete = follow(walk) == 0;
    return walk->scan.err.code;
}

void walk_release(struct walk *walk)
{
    for (uint32_t i = 0; i < walk->subsections.count; i++)
        free(walk->subsections.items[i].name);
    for (uint32_t i = 0; i < walk->capabilities.count; i++)
        free(walk->capabilities.items[i]);
    for (uint32_t i = 0; i < walk->sections.count; i++)
        free(walk->sections.items[i].name);
    for (uint32_t i = 0; i < walk->blocks.count; i++)
        free(walk->blocks.items[i].name);
    for (uint32_t i = 0; i < walk->devices.count; i++)
        free(walk->devices.items[i].name);
    free(walk->subsections.items);
    free(walk->capabilities.items);
    free(walk->commands.items);
    free(walk->sections.items);
    free(walk->blocks.items);
    free(walk->devices.items);
    free(walk->by_name);
    vmdesc_release(&walk->desc);
    scan_release(&walk->scan);
}
