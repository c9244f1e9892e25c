/* SPDX-License-Identifier: BSD-3-Clause */
/* load_ram.c -- reads the records of the ram section into guest memory. */
#include "hooks/load.h"

#include <errno.h>
#include <string.h>

#include "hooks/guard.h"
#include "hooks/zero.h"

/* --- pages ----------------------------------------------------------------------------------- */

/* The page that a record is about: its block by name, or that of the record before. */
static int find_page(struct rmig_load *load, const struct rmig_ram_word *word, uint8_t **ptr_p,
                     struct rmig_err *err)
{
    if (!word->same) {
        char name[256];
        int64_t index;
        int rc = rmig_load_get_name(load, "a page record's block", name, err);

        if (rc < 0)
            return rc;
        index = rmig_blocks_find(&load->blocks, name);
        if (index < 0)
            return rmig_err_set(err, -EPROTO, "page record: RAM block %.64s does not exist here",
                                name);
        if ((uint32_t)index != load->record_block)
            load->extent = (struct rmig_extent){0, 0, false};
        load->record_block = (uint32_t)index;
    }
    if (load->record_block == UINT32_MAX)
        return rmig_err_set(err, -EPROTO,
                            "page record at 0x%llx: CONTINUE, but no block came before",
                            (unsigned long long)word->value);
    if (rmig_blocks_range(&load->blocks, load->record_block, word->value, RMIG_PAGE_BYTES, ptr_p) <
        0)
        return rmig_err_set(
            err, -EPROTO, "page record: offset 0x%llx is outside RAM block %.64s of 0x%llx bytes",
            (unsigned long long)word->value, load->blocks.items[load->record_block].name,
            (unsigned long long)load->blocks.items[load->record_block].len_bytes);
    return 0;
}

static void wrote(const struct rmig_load *load, uint64_t offset_bytes)
{
    if (load->opts.wrote)
        load->opts.wrote(load->opts.wrote_opaque, load->record_block, offset_bytes,
                         RMIG_PAGE_BYTES);
}

static int page(struct rmig_load *load, const struct rmig_ram_word *word, struct rmig_err *err)
{
    uint8_t *ptr;
    int rc = find_page(load, word, &ptr, err);

    if (rc == 0)
        rc = rmig_load_populate(load, word->value, err);
    if (rc == 0)
        rc = rmig_load_get_bytes(load, "a page", ptr, RMIG_PAGE_BYTES, err);
    if (rc < 0)
        return rc;
    if (load->extent.hole && rmig_extent_covers(&load->extent, word->value))
        load->extent = (struct rmig_extent){0, 0, false}; /* not one any more */
    load->stats.normal_pages++;
    wrote(load, word->value);
    return 0;
}

/* A page that is zero already is left alone, and one that no file holds is not even looked at. */
static int make_zero(struct rmig_load *load, uint64_t offset_bytes, uint8_t *ptr, struct rmig_err *err)
{
    const struct rmig_block *block = &load->blocks.items[load->record_block];
    int rc;

    if (!rmig_extent_covers(&load->extent, offset_bytes))
        load->extent = rmig_extent_at(block, offset_bytes, UINT64_MAX);
    load->stats.zero_pages++;
    if (load->extent.hole) {
        load->stats.hole_pages++;
        return 0;
    }
    if (block->page_bytes > RMIG_PAGE_BYTES) { /* to read a huge page allocates it */
        rc = rmig_load_populate(load, offset_bytes, err);
        if (rc < 0)
            return rc;
    }
    if (!rmig_is_zero(ptr, RMIG_PAGE_BYTES)) {
        memset(ptr, 0, RMIG_PAGE_BYTES);
        wrote(load, offset_bytes);
    }
    return 0;
}

static int zero_page(struct rmig_load *load, const struct rmig_ram_word *word, struct rmig_err *err)
{
    uint8_t *ptr, fill;
    int rc = find_page(load, word, &ptr, err);

    if (rc == 0)
        rc = rmig_load_get_u8(load, "a zero page's fill byte", &fill, err);
    if (rc < 0)
        return rc;
    if (fill != 0)
        return rmig_err_set(err, -EPROTO, "zero page at 0x%llx: fill byte 0x%02x, 0 is needed",
                            (unsigned long long)word->value, fill);
    return make_zero(load, word->value, ptr, err);
}

static int hook(struct rmig_load *load, struct rmig_err *err)
{
    /* The hook's peer writes to memory by itself: what was known of files is not any more. */
    load->extent = (struct rmig_extent){0, 0, false};
    return rmig_hook_load(load->in, RMIG_HOOK_HOOK, NULL, err);
}

/* --- records --------------------------------------------------------------------------------- */

static int record(struct rmig_load *load, const struct rmig_ram_word *word, struct rmig_err *err)
{
    if (!load->have_block_list && word->kind != RMIG_RAM_MEM_SIZE) {
        char name[96];

        return rmig_err_set(err, -EPROTO, "ram section: %s before the block list",
                            rmig_format_ram_flags_name(word->kind, name, sizeof(name)));
    }
    switch (word->kind) {
    case RMIG_RAM_MEM_SIZE:
        return rmig_load_block_list(load, word->value, err);
    case RMIG_RAM_ZERO:
        return zero_page(load, word, err);
    case RMIG_RAM_PAGE:
        return page(load, word, err);
    case RMIG_RAM_HOOK:
        return hook(load, err);
    default: /* EOS */
        return 0;
    }
}

int rmig_load_ram_body(struct rmig_load *load, enum rmig_section type, struct rmig_err *err)
{
    struct rmig_ram_word word;

    load->idle_parts++;
    do {
        uint64_t raw;
        int rc = rmig_load_check_cancel(load, err);

        if (rc == 0)
            rc = rmig_load_get_be64(load, "a ram record", &raw, err);
        if (rc == 0)
            rc = rmig_format_ram_decode(raw, &word, err);
        if (rc == 0)
            rc = record(load, &word, err);
        if (rc < 0)
            return rc;
        if (word.kind != RMIG_RAM_EOS)
            load->idle_parts = 0;
    } while (word.kind != RMIG_RAM_EOS);
    if (load->idle_parts > RMIG_IDLE_PARTS_MAX)
        return rmig_err_set(err, -EPROTO, "ram section: more than %u parts in a row hold nothing",
                            RMIG_IDLE_PARTS_MAX);
    if (type != RMIG_SECTION_START)
        load->stats.windows++;
    if (load->opts.progress)
        load->opts.progress(load->opts.progress_opaque, &load->stats);
    return 0;
}
