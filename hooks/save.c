/* SPDX-License-Identifier: BSD-3-Clause */
/* save.c -- the save driver's life cycle and its calls: set-up, rounds, device sections, end. */
#include "hooks/save.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/overflow.h"
#include "hooks/guard.h"
#include "hooks/return_path.h"
#include "hooks/tail.h"
#include "stream/format.h"

static const char default_machine[] = "rmig";

/* --- every public call begins with enter and ends with leave --------------------------------- */

static int enter(const struct rmig_save *save, enum rmig_save_phase phase, const char *call,
                 struct rmig_err *err)
{
    static const char *const expected[] = {"rmig_save_setup", "rmig_save_round or _complete",
                                           "rmig_save_section or _end", "rmig_save_free"};

    if (save->first_error.code < 0)
        return rmig_err_set(err, save->first_error.code, "%s", save->first_error.msg);
    if (save->phase != phase)
        return rmig_err_set(err, -EINVAL, "%s: out of order, %s is next", call,
                            expected[save->phase]);
    return rmig_save_check_cancel(save, err);
}

/* Keep the first error of the work, and hand it to the stream too: nothing may follow it there. */
static int leave(struct rmig_save *save, int rc, struct rmig_err *e, struct rmig_err *err)
{
    if (rc >= 0)
        return 0;
    if (rc != -ECANCELED && rmig_cancel_triggered(save->opts.cancel)) {
        rc = -ECANCELED; /* what failed did so because of it */
        e->code = rc;
        rmig_err_prefix(e, "cancelled");
    }
    if (rmig_out_error(save->out, NULL) == 0)
        rmig_out_set_error(save->out, rc, "%s", e->msg);
    if (save->first_error.code == 0)
        rmig_err_set(&save->first_error, rc, "%s", e->msg);
    return rmig_err_set(err, rc, "%s", e->msg);
}

int rmig_save_check_cancel(const struct rmig_save *save, struct rmig_err *err)
{
    if (rmig_cancel_triggered(save->opts.cancel))
        return rmig_err_set(err, -ECANCELED, "save: cancelled");
    return 0;
}

/* --- life cycle ------------------------------------------------------------------------------ */

static int check_machine(const char *machine, struct rmig_err *err)
{
    size_t len = strnlen(machine, RMIG_MACHINE_NAME_MAX + 1);

    if (len == 0 || len > RMIG_MACHINE_NAME_MAX)
        return rmig_err_set(err, -EINVAL, "machine name: 1 to %u bytes are allowed",
                            RMIG_MACHINE_NAME_MAX);
    return 0;
}

int rmig_save_new(struct rmig_save **save_p, struct rmig_out *out, const struct rmig_block *blocks,
                  uint32_t nblocks, const struct rmig_save_opts *opts, struct rmig_err *err)
{
    struct rmig_save *save = calloc(1, sizeof(*save));
    int rc;

    if (!save)
        return rmig_err_set(err, -ENOMEM, "save: out of memory");
    if (opts)
        save->opts = *opts;
    if (!save->opts.machine)
        save->opts.machine = default_machine;
    save->out = out;
    save->next_section_id = RMIG_RAM_SECTION_ID + 1;
    save->record_block = UINT32_MAX;
    rc = check_machine(save->opts.machine, err);
    if (rc == 0)
        rc = rmig_blocks_init(&save->blocks, blocks, nblocks, err);
    if (rc == 0)
        rc = rmig_pages_init(&save->pages, &save->blocks, true, err);
    if (rc < 0) {
        rmig_save_free(save);
        return rc;
    }
    save->stats.total_ram_bytes = save->blocks.total_bytes;
    save->stats.remaining_pages = rmig_pages_count(&save->pages);
    *save_p = save;
    return 0;
}

void rmig_save_free(struct rmig_save *save)
{
    if (!save)
        return;
    (void)rmig_in_close(save->back, NULL);
    rmig_devices_release(&save->devices);
    rmig_pages_release(&save->pages);
    rmig_blocks_release(&save->blocks);
    free(save);
}

const struct rmig_ram_stats *rmig_save_stats(const struct rmig_save *save)
{
    return &save->stats;
}

/* --- RAM ------------------------------------------------------------------------------------- */

static void put_subsection(struct rmig_save *save, const char *name)
{
    rmig_out_put_u8(save->out, RMIG_SECTION_SUBSECTION);
    rmig_out_put_counted_string(save->out, name);
    rmig_out_put_be32(save->out, RMIG_CONFIGURATION_VERSION);
}

static void put_configuration(struct rmig_save *save)
{
    const struct rmig_configuration *c = &save->opts.configuration;
    uint8_t header[RMIG_STREAM_HEADER_BYTES];
    size_t len = strlen(save->opts.machine);

    rmig_format_header_encode(header);
    rmig_out_put_buffer(save->out, header, sizeof(header));
    rmig_out_put_u8(save->out, RMIG_SECTION_CONFIGURATION);
    rmig_out_put_be32(save->out, (uint32_t)len);
    rmig_out_put_buffer(save->out, save->opts.machine, len);
    if (c->says_page_bits) {
        put_subsection(save, RMIG_CONFIGURATION_PAGE_BITS);
        rmig_out_put_be32(save->out, RMIG_PAGE_SHIFT);
    }
    if (c->has_uuid) {
        put_subsection(save, RMIG_CONFIGURATION_UUID);
        rmig_out_put_buffer(save->out, c->uuid, sizeof(c->uuid));
    }
}

/* Where the channel leads both ways; over others the end has no answer. */
static int open_return_path(struct rmig_save *save, struct rmig_err *err)
{
    int rc = save->opts.acknowledge ? rmig_out_return_path(save->out, &save->back, err) : 0;

    if (rc < 0 || !save->back)
        return rc;
    rmig_out_put_u8(save->out, RMIG_SECTION_COMMAND);
    rmig_out_put_be16(save->out, RMIG_COMMAND_OPEN_RETURN_PATH);
    rmig_out_put_be16(save->out, 0);
    return 0;
}

static int put_section_head(struct rmig_save *save, enum rmig_section type,
                            const struct rmig_section_head *head, struct rmig_err *err)
{
    uint8_t buf[RMIG_SECTION_HEAD_MAX];
    int n = rmig_format_section_encode(buf, type, head, err);

    if (n < 0)
        return n;
    rmig_out_put_buffer(save->out, buf, (size_t)n);
    return 0;
}

static void put_block_list(struct rmig_save *save)
{
    rmig_out_put_be64(save->out, rmig_format_ram_word(save->blocks.total_bytes, RMIG_RAM_MEM_SIZE));
    for (uint32_t i = 0; i < save->blocks.count; i++) {
        rmig_out_put_counted_string(save->out, save->blocks.items[i].name);
        rmig_out_put_be64(save->out, save->blocks.items[i].len_bytes);
    }
}

static int setup(struct rmig_save *save, struct rmig_err *err)
{
    static const struct rmig_section_head head = {RMIG_RAM_SECTION_ID, RMIG_RAM_SECTION_NAME,
                                                  RMIG_RAM_SECTION_INSTANCE,
                                                  RMIG_RAM_SECTION_VERSION};
    int rc = rmig_hook_out_set_blocks(save->out, &save->blocks, err);

    if (rc < 0)
        return rc;
    /* Below a page per rate window a peer would hear too little of us. */
    if (save->opts.max_bandwidth_bytes_per_s)
        rmig_out_set_rate_limit(save->out,
                                rmig_max_u64(RMIG_PAGE_BYTES, save->opts.max_bandwidth_bytes_per_s /
                                                                  (1000 / RMIG_RATE_WINDOW_MS)));
    else
        rmig_out_set_rate_limit(save->out, 0);
    put_configuration(save);
    rc = open_return_path(save, err);
    if (rc == 0)
        rc = put_section_head(save, RMIG_SECTION_START, &head, err);
    if (rc < 0)
        return rc;
    put_block_list(save);
    rc = rmig_hook_before_iterate(save->out, RMIG_HOOK_SETUP, err);
    if (rc == 0)
        rc = rmig_hook_after_iterate(save->out, RMIG_HOOK_SETUP, err);
    if (rc < 0)
        return rc;
    rmig_out_put_be64(save->out, RMIG_RAM_EOS);
    rmig_save_put_section_id(save, RMIG_SECTION_FOOTER, RMIG_RAM_SECTION_ID);
    rmig_out_flush(save->out);
    return rmig_out_error(save->out, err);
}

int rmig_save_setup(struct rmig_save *save, struct rmig_err *err)
{
    struct rmig_err e = RMIG_ERR_INIT;
    int rc = enter(save, RMIG_SAVE_NEW, "rmig_save_setup", err);

    if (rc < 0)
        return rc;
    rc = leave(save, setup(save, &e), &e, err);
    if (rc == 0)
        save->phase = RMIG_SAVE_RAM;
    return rc;
}

int rmig_save_ram_is_zero(struct rmig_save *save, struct rmig_err *err)
{
    int rc = enter(save, RMIG_SAVE_RAM, "rmig_save_ram_is_zero", err);

    if (rc < 0)
        return rc;
    if (save->stats.windows)
        return rmig_err_set(err, -EINVAL, "rmig_save_ram_is_zero: out of order, pages were sent before");
    save->ram_is_zero = true;
    return 0;
}

int rmig_save_mark_dirty(struct rmig_save *save, uint32_t block_index, uint64_t offset_bytes,
                         uint64_t len_bytes)
{
    const struct rmig_page_range range = {block_index, offset_bytes >> RMIG_PAGE_SHIFT,
                                          len_bytes >> RMIG_PAGE_SHIFT};
    uint8_t *ptr;

    if (offset_bytes % RMIG_PAGE_BYTES || len_bytes % RMIG_PAGE_BYTES)
        return -EINVAL;
    if (rmig_blocks_range(&save->blocks, block_index, offset_bytes, len_bytes, &ptr) < 0)
        return -ERANGE;
    rmig_pages_mark(&save->pages, &range);
    return 0;
}

int rmig_save_round(struct rmig_save *save, struct rmig_err *err)
{
    struct rmig_err e = RMIG_ERR_INIT;
    int rc = enter(save, RMIG_SAVE_RAM, "rmig_save_round", err);

    if (rc < 0)
        return rc;
    return leave(save, rmig_save_pass(save, RMIG_HOOK_ROUND, &e), &e, err);
}

int rmig_save_complete(struct rmig_save *save, struct rmig_err *err)
{
    struct rmig_err e = RMIG_ERR_INIT;
    int rc = enter(save, RMIG_SAVE_RAM, "rmig_save_complete", err);

    if (rc < 0)
        return rc;
    /* The guest stands still: every millisecond counts, the bandwidth does not. */
    rmig_out_set_rate_limit(save->out, 0);
    rc = leave(save, rmig_save_pass(save, RMIG_HOOK_FINISH, &e), &e, err);
    if (rc == 0)
        save->phase = RMIG_SAVE_DEVICES;
    return rc;
}

/* --- device sections and the end ------------------------------------------------------------- */

static int put_device(struct rmig_save *save, const struct rmig_device *device, const void *data,
                      struct rmig_err *err)
{
    const struct rmig_section_head head = {save->next_section_id, device->name, device->instance_id,
                                           device->version};
    int rc = rmig_devices_add(&save->devices, device, err);

    if (rc == 0)
        rc = put_section_head(save, RMIG_SECTION_FULL, &head, err);
    if (rc < 0)
        return rc;
    rmig_out_put_be32(save->out, device->data_bytes);
    rmig_out_put_buffer(save->out, data, device->data_bytes);
    rmig_save_put_section_id(save, RMIG_SECTION_FOOTER, head.id);
    save->next_section_id++;
    return rmig_out_error(save->out, err);
}

int rmig_save_section(struct rmig_save *save, const char *name, uint32_t instance_id,
                      uint32_t version, const void *data, size_t len_bytes, struct rmig_err *err)
{
    const struct rmig_device device = {name, instance_id, version, (uint32_t)len_bytes};
    struct rmig_err e = RMIG_ERR_INIT;
    int rc = enter(save, RMIG_SAVE_DEVICES, "rmig_save_section", err);

    if (rc == 0)
        rc = rmig_device_name_check(name, err);
    if (rc < 0)
        return rc;
    if (len_bytes > UINT32_MAX)
        return rmig_err_set(err, -E2BIG, "device section %.64s: %zu bytes, at most %u fit", name,
                            len_bytes, UINT32_MAX);
    return leave(save, put_device(save, &device, data, &e), &e, err);
}

/* The end of sections is flushed apart: over RDMA, that the peer asks for what follows says that it
 * accepted all that came before. */
static int put_end(struct rmig_save *save, const void *description, size_t len_bytes,
                   struct rmig_err *err)
{
    save->handed_over = rmig_hook_attached(save->out); /* a transport's write that failed may have come through */
    rmig_out_put_u8(save->out, RMIG_SECTION_EOF);
    if (rmig_out_flush(save->out) == 0) {
        save->handed_over = true;
        rmig_out_put_u8(save->out, RMIG_SECTION_VMDESCRIPTION);
        rmig_out_put_be32(save->out, (uint32_t)len_bytes);
        rmig_out_put_buffer(save->out, description, len_bytes);
        rmig_out_flush(save->out);
    }
    if (rmig_out_error(save->out, err) < 0 || !save->back)
        return rmig_out_error(save->out, NULL);
    return rmig_return_await_shut(save->back, err);
}

static int end(struct rmig_save *save, struct rmig_err *err)
{
    int rc = rmig_devices_finish(&save->devices, err);

    if (rc < 0)
        return rc;
    return put_end(save, save->devices.text, save->devices.used_bytes, err);
}

int rmig_save_end(struct rmig_save *save, struct rmig_err *err)
{
    struct rmig_err e = RMIG_ERR_INIT;
    int rc = enter(save, RMIG_SAVE_DEVICES, "rmig_save_end", err);

    if (rc < 0)
        return rc;
    rc = leave(save, end(save, &e), &e, err);
    if (rc == 0)
        save->phase = RMIG_SAVE_ENDED;
    return rc;
}

static int put_tail(struct rmig_save *save, const uint8_t *tail, size_t len_bytes, size_t frame,
                    struct rmig_err *err)
{
    const size_t json = frame + RMIG_TAIL_FRAME_BYTES;

    rmig_out_put_buffer(save->out, tail, frame);
    return put_end(save, tail + json, len_bytes - json, err);
}

bool rmig_save_handed_over(const struct rmig_save *save)
{
    return save->handed_over;
}

int rmig_save_tail(struct rmig_save *save, const void *data, size_t len_bytes, struct rmig_err *err)
{
    struct rmig_tail_scan scan = {0};
    struct rmig_err e = RMIG_ERR_INIT;
    int rc = enter(save, RMIG_SAVE_DEVICES, "rmig_save_tail", err);

    if (rc < 0)
        return rc;
    if (save->devices.used_bytes > 0)
        return rmig_err_set(err, -EINVAL, "rmig_save_tail: sections of our own were put before");
    if (len_bytes == 0 || !rmig_tail_complete(&scan, data, len_bytes) ||
        rmig_tail_check_first(*(const uint8_t *)data, NULL) < 0)
        return rmig_err_set(err, -EINVAL, "rmig_save_tail: %zu bytes that are no whole tail",
                            len_bytes);
    rc = leave(save, put_tail(save, data, len_bytes, scan.frame, &e), &e, err);
    if (rc == 0)
        save->phase = RMIG_SAVE_ENDED;
    return rc;
}
