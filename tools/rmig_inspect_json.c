/* SPDX-License-Identifier: BSD-3-Clause */
/* rmig_inspect_json.c -- a walk as one JSON object. */
#include <stdio.h>
#include <string.h>

#include "tools/rmig_fields.h"
#include "tools/rmig_inspect.h"

#define JSON_VERSION 1

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static json_t *text_or_null(const char *text)
{
    return text[0] ? json_string(text) : json_null();
}

static json_t *hex(const uint8_t *data, size_t len)
{
    char text[2 * FIELD_DATA_MAX + 1] = "";

    for (size_t i = 0; i < len; i++)
        snprintf(text + 2 * i, 3, "%02x", data[i]);
    return json_string(text);
}

/* --- configuration and commands --------------------------------------------------------------- */

static json_t *names(const struct walk *walk)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < walk->capabilities.count; i++)
        json_array_append_new(list, json_string(walk->capabilities.items[i]));
    return list;
}

static json_t *subsections(const struct walk *walk)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < walk->subsections.count; i++) {
        const struct walk_subsection *s = &walk->subsections.items[i];

        json_array_append_new(list, json_pack("{s:s, s:I, s:o}", "name", s->name, "version",
                                              (json_int_t)s->version, "offset", number(s->at)));
    }
    return list;
}

static json_t *commands(const struct walk *walk)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < walk->commands.count; i++) {
        const struct walk_command *c = &walk->commands.items[i];
        size_t kept = c->len < sizeof(c->data) ? c->len : sizeof(c->data);

        json_array_append_new(list, json_pack("{s:s, s:i, s:o, s:i, s:o}", "name",
                                              walk_command_name(c->command), "command", c->command,
                                              "offset", number(c->at), "len_bytes", c->len, "data",
                                              hex(c->data, kept)));
    }
    return list;
}

/* --- RAM -------------------------------------------------------------------------------------- */

static void put_pages(json_t *object, const uint64_t pages[WALK_PAGE_KINDS])
{
    json_object_set_new(object, "zero_pages", number(pages[WALK_ZERO]));
    json_object_set_new(object, "normal_pages", number(pages[WALK_NORMAL]));
    json_object_set_new(object, "xbzrle_pages", number(pages[WALK_XBZRLE]));
    json_object_set_new(object, "compressed_pages", number(pages[WALK_COMPRESSED]));
}

static json_t *blocks(const struct walk *walk)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < walk->blocks.count; i++) {
        const struct walk_block *b = &walk->blocks.items[i];
        json_t *block = json_pack("{s:s, s:o}", "name", b->name, "len_bytes", number(b->len_bytes));
        char address[32];

        put_pages(block, b->pages);
        if (b->page_bytes)
            json_object_set_new(block, "page_bytes", number(b->page_bytes));
        snprintf(address, sizeof(address), "0x%llx", (unsigned long long)b->address);
        if (walk->ignore_shared)
            json_object_set_new(block, "address", json_string(address));
        json_array_append_new(list, block);
    }
    return list;
}

static json_t *ram(const struct walk *walk)
{
    json_t *object = json_pack("{s:o, s:o}", "total_bytes", number(walk->ram_bytes), "page_bytes",
                               number(walk_page_bytes(walk)));

    put_pages(object, walk->pages);
    json_object_set_new(object, "hook_marks", number(walk->hook_marks));
    json_object_set_new(object, "multifd_marks", number(walk->multifd_marks));
    json_object_set_new(object, "blocks", blocks(walk));
    return object;
}

static json_t *sections(const struct walk *walk)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < walk->sections.count; i++) {
        const struct walk_section *s = &walk->sections.items[i];

        json_array_append_new(list,
                              json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "name", s->name,
                                        "id", number(s->id), "instance", number(s->instance),
                                        "version", number(s->version), "offset", number(s->at),
                                        "len_bytes", number(s->nbytes), "parts", number(s->parts),
                                        "end_offset", s->end_at ? number(s->end_at) : json_null()));
    }
    return list;
}

/* --- devices ---------------------------------------------------------------------------------- */

static void put_field(void *opaque, const struct field *field)
{
    json_array_append_new(
        opaque, json_pack("{s:s, s:s, s:o, s:o, s:o, s:o}", "path", field->path, "type",
                          field->type, "offset", number(field->at), "size", number(field->size),
                          "count", number(field->count), "data", hex(field->data, field->ndata)));
}

static json_t *device(struct walk *walk, const struct walk_device *d, uint32_t *left_p)
{
    static const char *const found[] = {NULL, "description", "footer"};
    json_t *fields = json_array();

    if (d->found == WALK_BY_DESCRIPTION)
        (void)fields_visit(walk, d, left_p, put_field, fields);
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:s?, s:o}", "name", d->name, "id",
                     number(d->id), "instance", number(d->instance), "version", number(d->version),
                     "offset", number(d->at), "state_offset", number(d->body_at), "state_bytes",
                     d->found == WALK_NOT_FOUND ? json_null() : number(d->body_bytes), "found_by",
                     found[d->found], "fields", fields);
}

static json_t *description(const struct walk *walk)
{
    if (!walk->desc_at)
        return json_null();
    return json_pack("{s:o, s:o, s:o, s:o}", "offset", number(walk->desc_at), "len_bytes",
                     number(walk->desc_bytes), "page_bytes", number(walk->desc.page_bytes),
                     "devices", number(walk->desc.ndevices));
}

static void put_devices(json_t *object, struct walk *walk)
{
    json_t *list = json_array();
    uint32_t left = FIELDS_MAX;

    for (uint32_t i = 0; i < walk->devices.count; i++)
        json_array_append_new(list, device(walk, &walk->devices.items[i], &left));
    json_object_set_new(object, "devices", list);
    json_object_set_new(object, "fields_cut", json_boolean(left == 0));
}

json_t *inspect_json(struct walk *walk, const char *file)
{
    bool failed = walk->scan.err.code < 0;
    json_t *object =
        json_pack("{s:i, s:s, s:b}", "version", JSON_VERSION, "command", "inspect", "ok", !failed);
    char uuid[37] = "";

    json_object_set_new(object, "error", text_or_null(walk->scan.err.msg));
    json_object_set_new(object, "error_offset", failed ? number(walk->scan.err_at) : json_null());
    json_object_set_new(object, "file", text_or_null(file));
    json_object_set_new(object, "len_bytes",
                        walk->scan.size == UINT64_MAX ? json_null() : number(walk->scan.size));
    json_object_set_new(object, "stream_version", number(walk->version));
    json_object_set_new(object, "machine", text_or_null(walk->machine));
    json_object_set_new(object, "uuid",
                        text_or_null(walk->has_uuid ? inspect_uuid(uuid, walk->uuid) : uuid));
    json_object_set_new(object, "capabilities", names(walk));
    json_object_set_new(object, "subsections", subsections(walk));
    json_object_set_new(object, "run_state", text_or_null(walk->run_state));
    json_object_set_new(object, "footers", json_boolean(walk->footers != WALK_NO_FOOTERS));
    json_object_set_new(object, "commands", commands(walk));
    json_object_set_new(object, "sections", sections(walk));
    json_object_set_new(object, "ram", ram(walk));
    json_object_set_new(object, "description", description(walk));
    put_devices(object, walk);
    return object;
}
