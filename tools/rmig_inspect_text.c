/* SPDX-License-Identifier: BSD-3-Clause */
/* rmig_inspect_text.c -- a walk as tables that are read by people. */
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "tools/bench_units.h"
#include "tools/rmig_fields.h"
#include "tools/rmig_inspect.h"

typedef unsigned long long ull;

char *inspect_uuid(char buf[37], const uint8_t uuid[16])
{
    char *at = buf;

    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *at++ = '-';
        snprintf(at, 3, "%02x", uuid[i]);
        at += 2;
    }
    return buf;
}

/* --- the stream as a whole -------------------------------------------------------------------- */

static void print_configuration(const struct walk *walk)
{
    char uuid[37], size[32];

    if (walk->version)
        printf("  %-14s%s\n", "Machine:", walk->machine[0] ? walk->machine : "not said");
    if (walk->has_uuid)
        printf("  %-14s%s\n", "UUID:", inspect_uuid(uuid, walk->uuid));
    for (uint32_t i = 0; i < walk->capabilities.count; i++)
        printf("  %-14s%s\n", i ? "" : "Capabilities:", walk->capabilities.items[i]);
    for (uint32_t i = 0; i < walk->subsections.count; i++)
        printf("  %-14s%s\n", i ? "" : "Subsections:", walk->subsections.items[i].name);
    if (walk->run_state[0])
        printf("  %-14s%s\n", "Run state:", walk->run_state);
    if (walk->blocks.count)
        printf("  %-14s%s in %u block%s, pages of %llu bytes\n",
               "Guest RAM:", bench_format_size(size, sizeof(size), walk->ram_bytes),
               walk->blocks.count, walk->blocks.count == 1 ? "" : "s", (ull)walk_page_bytes(walk));
    if (walk->footers == WALK_NO_FOOTERS)
        printf("  %-14s%s\n", "Footers:", "none, as of machine types up to 2.3");
    if (walk->desc_at)
        printf("  %-14s%llu bytes at 0x%llx, of %u devices\n",
               "Description:", (ull)walk->desc_bytes, (ull)walk->desc_at, walk->desc.ndevices);
}

/* --- tables ----------------------------------------------------------------------------------- */

static void print_commands(const struct walk *walk)
{
    if (walk->commands.count == 0)
        return;
    printf("\nCommands (%u)\n  %12s  %6s  Command\n", walk->commands.count, "Offset", "Length");
    for (uint32_t i = 0; i < walk->commands.count; i++) {
        const struct walk_command *c = &walk->commands.items[i];

        printf("  %#12llx  %6u  %u %s", (ull)c->at, c->len, c->command,
               walk_command_name(c->command));
        for (size_t k = 0; k < c->len && k < sizeof(c->data); k++)
            printf("%s%02x", k ? "" : ", ", c->data[k]);
        printf("%s\n", c->len > sizeof(c->data) ? "..." : "");
    }
}

static void print_sections(const struct walk *walk)
{
    if (walk->sections.count == 0)
        return;
    printf("\nSections that come in parts (%u)\n  %12s  %12s  %4s  %8s  %7s  %6s  %12s  Name\n",
           walk->sections.count, "START at", "Bytes", "Id", "Instance", "Version", "PARTs",
           "END at");
    for (uint32_t i = 0; i < walk->sections.count; i++) {
        const struct walk_section *s = &walk->sections.items[i];

        printf("  %#12llx  %12llu  %4u  %8u  %7u  %6llu  ", (ull)s->at, (ull)s->nbytes, s->id,
               s->instance, s->version, (ull)s->parts);
        if (s->end_at)
            printf("%#12llx  %s\n", (ull)s->end_at, s->name);
        else
            printf("%12s  %s\n", "not seen", s->name);
    }
}

static const char *const page_titles[] = {"Zero", "Normal", "XBZRLE", "Compressed"};

static void print_blocks(const struct walk *walk)
{
    if (walk->blocks.count == 0)
        return;
    printf("\nRAM blocks (%u), and the page records of each\n  %12s", walk->blocks.count, "Length");
    for (int k = 0; k < WALK_PAGE_KINDS; k++)
        printf("  %10s", page_titles[k]);
    printf("%s%s  Name\n", walk->advised ? "   Page size" : "",
           walk->ignore_shared ? "             Address" : "");
    for (uint32_t i = 0; i < walk->blocks.count; i++) {
        const struct walk_block *b = &walk->blocks.items[i];

        printf("  %#12llx", (ull)b->len_bytes);
        for (int k = 0; k < WALK_PAGE_KINDS; k++)
            printf("  %10llu", (ull)b->pages[k]);
        if (walk->advised && b->page_bytes)
            printf("  %10llu", (ull)b->page_bytes);
        else if (walk->advised)
            printf("  %10s", "-");
        if (walk->ignore_shared)
            printf("  %#18llx", (ull)b->address);
        printf("  %s\n", b->name);
    }
    printf("  %12s", "all");
    for (int k = 0; k < WALK_PAGE_KINDS; k++)
        printf("  %10llu", (ull)walk->pages[k]);
    printf("\n");
    if (walk->hook_marks || walk->multifd_marks)
        printf("  Marks: %llu of a page hook (RDMA), %llu of multifd\n", (ull)walk->hook_marks,
               (ull)walk->multifd_marks);
}

/* --- devices ---------------------------------------------------------------------------------- */

static void print_field(void *opaque, const struct field *field)
{
    char text[FIELD_DATA_MAX * 5];

    (void)opaque;
    printf("    %#12llx  %-16s %s", (ull)field->at, field->type, field->path);
    if (field->count > 1)
        printf("[%llu]", (ull)field->count);
    if (field->subsection)
        printf(", version %u\n", field->subsection->version);
    else
        printf(" = %s\n", fields_text(text, sizeof(text), field));
}

/* Returns: does its name match the pattern fields, if there is one? */
static bool print_device(struct walk *walk, const struct walk_device *d, const char *fields,
                         uint32_t *left_p)
{
    bool matches = fields && fnmatch(fields, d->name, 0) == 0;

    if (d->found == WALK_NOT_FOUND)
        printf("  %#12llx  %10s", (ull)d->at, "not known");
    else
        printf("  %#12llx  %10llu", (ull)d->at, (ull)d->body_bytes);
    printf("  %4u  %8u  %7u  %s%s\n", d->id, d->instance, d->version, d->name,
           d->found == WALK_BY_FOOTER ? "  (by its footer)" : "");
    if (matches && d->found == WALK_BY_DESCRIPTION)
        (void)fields_visit(walk, d, left_p, print_field, NULL);
    return matches;
}

static void print_devices(struct walk *walk, const char *fields)
{
    uint32_t left = FIELDS_MAX;
    bool any = false;

    if (walk->devices.count == 0 && fields)
        printf("\nNo device, and so no field, was found.\n");
    if (walk->devices.count == 0)
        return;
    printf("\nDevices (%u)\n  %12s  %10s  %4s  %8s  %7s  Name\n", walk->devices.count, "Offset",
           "State", "Id", "Instance", "Version");
    for (uint32_t i = 0; i < walk->devices.count; i++)
        any = print_device(walk, &walk->devices.items[i], fields, &left) || any;
    if (fields && !any)
        printf("  No device has a name that matches %s.\n", fields);
    else if (fields && left == FIELDS_MAX)
        printf("  What matches %s has no fields that are described.\n", fields);
    if (left == 0)
        printf("  Of the fields %u are shown.\n", FIELDS_MAX);
}

void inspect_print(struct walk *walk, const char *file, const char *fields)
{
    printf("%s: ", file);
    if (walk->version == 0)
        printf("no migration stream that can be followed\n");
    else
        printf("migration stream, version %u, ", walk->version);
    if (walk->version && walk->scan.size != UINT64_MAX)
        printf("%llu bytes\n", (ull)walk->scan.size);
    else if (walk->version)
        printf("of unknown length\n");
    print_configuration(walk);
    print_commands(walk);
    print_sections(walk);
    print_blocks(walk);
    print_devices(walk, fields);
}
