/* SPDX-License-Identifier: BSD-3-Clause */
/* load.c -- the load driver's life cycle, and the order that the parts of a stream must have. */
#include "hooks/load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hooks/guard.h"
#include "hooks/return_path.h"

/* --- life cycle ------------------------------------------------------------------------------ */

int rmig_load_new(struct rmig_load **load_p, struct rmig_in *in, const struct rmig_block *blocks,
                  uint32_t nblocks, const struct rmig_load_opts *opts, struct rmig_err *err)
{
    struct rmig_load *load = calloc(1, sizeof(*load));
    int rc;

    if (!load)
        return rmig_err_set(err, -ENOMEM, "load: out of memory");
    if (opts)
        load->opts = *opts;
    load->in = in;
    load->record_block = UINT32_MAX;
    rc = blocks || !load->opts.layout ? rmig_load_use_blocks(load, blocks, nblocks, err) : 0;
    if (rc < 0) {
        rmig_load_free(load);
        return rc;
    }
    *load_p = load;
    return 0;
}

void rmig_load_free(struct rmig_load *load)
{
    if (!load)
        return;
    (void)rmig_out_close(load->back, NULL);
    free(load->listed);
    rmig_blocks_release(&load->blocks);
    free(load);
}

const struct rmig_ram_stats *rmig_load_stats(const struct rmig_load *load)
{
    return &load->stats;
}

/* --- sections -------------------------------------------------------------------------------- */

static int section_head(struct rmig_load *load, char name[256], struct rmig_section_head *head_p,
                        struct rmig_err *err)
{
    struct rmig_section_head head = {.name = name};
    int rc = rmig_load_get_be32(load, "a section's id", &head.id, err);

    if (rc == 0)
        rc = rmig_load_get_name(load, "a section's name", name, err);
    if (rc == 0)
        rc = rmig_load_get_be32(load, "a section's instance", &head.instance, err);
    if (rc == 0)
        rc = rmig_load_get_be32(load, "a section's version", &head.version, err);
    if (rc == 0)
        *head_p = head;
    return rc;
}

/* What else moves in rounds has no length, by which it could be passed over. */
static int not_ram(const char *name, struct rmig_err *err)
{
    static const struct {
        const char *name, *cure;
    } known[] = {
        {"block", "start the migration without blk (capability block) there"},
        {"dirty-bitmap", "switch capability dirty-bitmaps off there"},
    };
    const char *cure = "detach the device that it belongs to";

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (!strcmp(name, known[i].name))
            cure = known[i].cure;
    return rmig_err_set(err, -ENOTSUP, "section START of %.64s: of what moves in rounds only %s is "
                        "supported; %s", name, RMIG_RAM_SECTION_NAME, cure);
}

static int start(struct rmig_load *load, struct rmig_err *err)
{
    struct rmig_section_head head;
    char name[256];
    int rc = section_head(load, name, &head, err);

    if (rc < 0)
        return rc;
    if (strcmp(name, RMIG_RAM_SECTION_NAME) != 0)
        return not_ram(name, err);
    if (load->ram != RMIG_LOAD_RAM_NONE)
        return rmig_err_set(err, -EPROTO, "section START of ram: a second one");
    if (head.instance != RMIG_RAM_SECTION_INSTANCE || head.version != RMIG_RAM_SECTION_VERSION)
        return rmig_err_set(
            err, -EPROTO, "section START of ram: instance %u, version %u; %u and %u are supported",
            head.instance, head.version, RMIG_RAM_SECTION_INSTANCE, RMIG_RAM_SECTION_VERSION);
    load->ram_section_id = head.id;
    rc = rmig_load_ram_body(load, RMIG_SECTION_START, err);
    if (rc == 0)
        rc = rmig_load_get_footer(load, head.id, err);
    if (rc == 0)
        load->ram = RMIG_LOAD_RAM_STARTED;
    return rc;
}

static int ram_placed(struct rmig_load *load, struct rmig_err *err)
{
    int rc = load->opts.ram_placed ? load->opts.ram_placed(load->opts.ram_placed_opaque, err) : 0;

    if (rc < 0)
        rmig_err_set(err, rc, "RAM in place: refused with error %d", -rc);
    return rc < 0 ? rc : 0;
}

static int part_or_end(struct rmig_load *load, enum rmig_section type, struct rmig_err *err)
{
    uint32_t id;
    int rc = rmig_load_get_be32(load, "a section's id", &id, err);

    if (rc < 0)
        return rc;
    if (load->ram != RMIG_LOAD_RAM_STARTED)
        return rmig_err_set(
            err, -EPROTO, "section %s with id %u: %s", rmig_format_section_name(type), id,
            load->ram == RMIG_LOAD_RAM_NONE ? "no START came before" : "the ram section has ended");
    if (id != load->ram_section_id)
        return rmig_err_set(err, -EPROTO, "section %s with id %u: only id %u was started",
                            rmig_format_section_name(type), id, load->ram_section_id);
    rc = rmig_load_ram_body(load, type, err);
    if (rc == 0 && type == RMIG_SECTION_END)
        rc = ram_placed(load, err);
    if (rc == 0)
        rc = rmig_load_get_footer(load, id, err);
    if (rc == 0 && type == RMIG_SECTION_END)
        load->ram = RMIG_LOAD_RAM_ENDED;
    return rc;
}

static int full(struct rmig_load *load, struct rmig_err *err)
{
    struct rmig_section_head head;
    char name[256];
    int rc = section_head(load, name, &head, err);

    if (rc < 0)
        return rc;
    if (load->ram != RMIG_LOAD_RAM_ENDED)
        return rmig_err_set(err, -EPROTO, "device section %.64s comes before the ram section's end",
                            name);
    return rmig_load_device(load, &head, err);
}

/* One part of the stream; its first byte has been read. */
static int part(struct rmig_load *load, uint8_t type, struct rmig_err *err)
{
    if (type == RMIG_SECTION_SUBSECTION)
        return rmig_load_subsection(load, err);
    load->configured = false; /* its subsections can only follow at once */
    switch (type) {
    case RMIG_SECTION_START:
        return start(load, err);
    case RMIG_SECTION_PART:
    case RMIG_SECTION_END:
        return part_or_end(load, type, err);
    case RMIG_SECTION_FULL:
        return full(load, err);
    case RMIG_SECTION_COMMAND:
        return rmig_load_command(load, err);
    default:
        return rmig_err_set(err, -EPROTO, "byte 0x%02x (%s): no section may begin with it here",
                            type, rmig_format_section_name(type));
    }
}

static int run(struct rmig_load *load, struct rmig_err *err)
{
    uint8_t type;
    int rc = load->blocks.count ? rmig_hook_in_set_blocks(load->in, &load->blocks, err) : 0;

    if (rc == 0)
        rc = rmig_load_header(load, err);
    if (rc == 0)
        rc = rmig_load_get_u8(load, "the configuration", &type, err);
    if (rc == 0 && type == RMIG_SECTION_CONFIGURATION) {
        rc = rmig_load_configuration(load, err);
        if (rc == 0)
            rc = rmig_load_get_u8(load, "a section's type", &type, err);
    }
    while (rc == 0 && type != RMIG_SECTION_EOF) {
        rc = part(load, type, err);
        if (rc == 0)
            rc = rmig_load_check_cancel(load, err);
        if (rc == 0 && load->opts.tail && load->ram == RMIG_LOAD_RAM_ENDED)
            return rmig_load_tail(load, err);
        if (rc == 0)
            rc = rmig_load_get_u8(load, "a section's type", &type, err);
    }
    if (rc < 0)
        return rc;
    if (load->ram != RMIG_LOAD_RAM_ENDED)
        return rmig_err_set(err, -EPROTO, "end of sections before the ram section's end");
    return rmig_load_description(load, err);
}

/* Behind what was read last. */
static uint64_t position(const struct rmig_load *load)
{
    return rmig_in_received_bytes(load->in) - rmig_in_buffered_bytes(load->in);
}

int rmig_load_run(struct rmig_load *load, struct rmig_err *err)
{
    struct rmig_err e = RMIG_ERR_INIT;
    int rc;

    if (load->ran)
        return rmig_err_set(err, -EINVAL, "rmig_load_run: called a second time");
    load->ran = true;
    rc = rmig_load_check_cancel(load, &e);
    if (rc == 0)
        rc = run(load, &e);
    if (rc == 0 && load->back)
        rc = rmig_return_put(load->back, RMIG_RETURN_SHUT, 0, &e);
    if (rc >= 0)
        return 0;
    if (rc == -EPROTO || rc == -ENOTSUP)
        rmig_err_prefix(&e, "stream, at byte %llu", (unsigned long long)position(load));
    if (rc != -ECANCELED && rmig_cancel_triggered(load->opts.cancel)) {
        rc = e.code = -ECANCELED; /* what failed did so because of it */
        rmig_err_prefix(&e, "cancelled");
    }
    if (rmig_in_error(load->in, NULL) == 0)
        rmig_in_set_error(load->in, rc, "%s", e.msg);
    return rmig_err_set(err, rc, "%s", e.msg);
}
