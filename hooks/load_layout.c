/* SPDX-License-Identifier: BSD-3-Clause */
/* load_layout.c -- the source's block list: held against our blocks, or handed out to make them. */
#include "hooks/load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hooks/guard.h"

#define DEFAULT_RAM_BYTES ((uint64_t)64 << 30)

/* The list as it was read; it grows with what has arrived, not with what was announced. */
struct list {
    struct rmig_block *blocks;
    uint32_t count, room;
};

static void release_list(struct list *list)
{
    for (uint32_t i = 0; i < list->count; i++)
        free((char *)(uintptr_t)list->blocks[i].name);
    free(list->blocks);
}

int rmig_load_use_blocks(struct rmig_load *load, const struct rmig_block *items, uint32_t count,
                         struct rmig_err *err)
{
    int rc = rmig_blocks_init(&load->blocks, items, count, err);

    if (rc < 0)
        return rc;
    load->listed = calloc(count, 1);
    if (!load->listed)
        return rmig_err_set(err, -ENOMEM, "load: out of memory for %u blocks", count);
    load->stats.total_ram_bytes = load->blocks.total_bytes;
    return 0;
}

/* --- reading ---------------------------------------------------------------------------------- */

static int add(struct list *list, const char *name, uint64_t len_bytes, struct rmig_err *err)
{
    struct rmig_block block = {.len_bytes = len_bytes, .page_bytes = RMIG_PAGE_BYTES, .fd = -1};

    if (list->count == list->room) {
        uint32_t room = list->room ? 2 * list->room : 16;
        struct rmig_block *blocks = realloc(list->blocks, room * sizeof(*blocks));

        if (!blocks)
            return rmig_err_set(err, -ENOMEM, "load: out of memory for %u blocks", room);
        list->blocks = blocks;
        list->room = room;
    }
    block.name = strdup(name);
    if (!block.name)
        return rmig_err_set(err, -ENOMEM, "load: out of memory for a block's name");
    list->blocks[list->count++] = block;
    return 0;
}

/* What is told of memory that we are to make. */
static int collect(struct list *list, const char *name, uint64_t len, struct rmig_err *err)
{
    if (len == 0 || len % RMIG_PAGE_BYTES)
        return rmig_err_set(err, -EPROTO,
                            "RAM block %.64s: length %llu is not a positive multiple of %u", name,
                            (unsigned long long)len, RMIG_PAGE_BYTES);
    if (list->count == RMIG_BLOCKS_MAX)
        return rmig_err_set(err, -EPROTO, "ram section: more than %u RAM blocks", RMIG_BLOCKS_MAX);
    return add(list, name, len, err);
}

/* It has its block here, and only one. */
static int match(struct rmig_load *load, const char *name, uint64_t len, struct rmig_err *err)
{
    int64_t index = rmig_blocks_find(&load->blocks, name);

    if (index < 0)
        return rmig_err_set(err, -EPROTO, "RAM block %.64s of the source does not exist here",
                            name);
    if (load->listed[index])
        return rmig_err_set(err, -EPROTO, "RAM block %.64s is listed twice", name);
    if (len != load->blocks.items[index].len_bytes)
        return rmig_err_set(err, -EPROTO, "RAM block %.64s: %llu bytes at the source, %llu here",
                            name, (unsigned long long)len,
                            (unsigned long long)load->blocks.items[index].len_bytes);
    load->listed[index] = 1;
    return rmig_hook_load(load->in, RMIG_HOOK_BLOCK_REG, name, err);
}

/* left_bytes is what the list may still add up to. */
static int entry(struct rmig_load *load, struct list *list, uint64_t left_bytes, uint64_t *len_p,
                 struct rmig_err *err)
{
    char name[256];
    uint64_t len;
    int rc = rmig_load_get_name(load, "a RAM block's name", name, err);

    if (rc == 0)
        rc = rmig_load_get_be64(load, "a RAM block's length", &len, err);
    if (rc == 0)
        rc = load->blocks.count ? match(load, name, len, err) : collect(list, name, len, err);
    if (rc < 0)
        return rc;
    if (len > left_bytes)
        return rmig_err_set(err, -EPROTO,
                            "RAM block %.64s: %llu bytes, but only %llu are left of the total",
                            name, (unsigned long long)len, (unsigned long long)left_bytes);
    *len_p = len;
    return 0;
}

/* --- blocks as the source has them ------------------------------------------------------------ */

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int check_names(const struct list *list, struct rmig_err *err)
{
    const char **names = calloc(list->count, sizeof(*names));
    int rc = 0;

    if (!names)
        return rmig_err_set(err, -ENOMEM, "load: out of memory for %u blocks", list->count);
    for (uint32_t i = 0; i < list->count; i++)
        names[i] = list->blocks[i].name;
    qsort(names, list->count, sizeof(*names), compare_names);
    for (uint32_t i = 1; rc == 0 && i < list->count; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            rc = rmig_err_set(err, -EPROTO, "RAM block %.64s is listed twice", names[i]);
    free(names);
    return rc;
}

static int make_blocks(struct rmig_load *load, const struct list *list, struct rmig_err *err)
{
    const struct rmig_layout layout = {load->machine, load->configuration, list->count,
                                       list->blocks};
    const struct rmig_block *items = NULL;
    int rc = check_names(list, err);

    if (rc < 0)
        return rc;
    rc = load->opts.layout(load->opts.layout_opaque, &layout, &items, err);
    if (rc < 0)
        return rmig_err_set(err, rc, "RAM layout: refused with error %d", -rc);
    rc = rmig_load_use_blocks(load, items, list->count, err);
    if (rc == 0)
        rc = rmig_hook_in_set_blocks(load->in, &load->blocks, err);
    for (uint32_t i = 0; rc == 0 && i < list->count; i++)
        rc = match(load, list->blocks[i].name, list->blocks[i].len_bytes, err);
    return rc;
}

static int check_total(const struct rmig_load *load, uint64_t total_bytes, struct rmig_err *err)
{
    uint64_t most = load->opts.max_ram_bytes ? load->opts.max_ram_bytes : DEFAULT_RAM_BYTES;

    if (load->have_block_list)
        return rmig_err_set(err, -EPROTO, "ram section: a second block list");
    if (load->blocks.count && total_bytes != load->blocks.total_bytes)
        return rmig_err_set(err, -EPROTO, "ram section: %llu bytes of RAM at the source, %llu here",
                            (unsigned long long)total_bytes,
                            (unsigned long long)load->blocks.total_bytes);
    if (total_bytes == 0)
        return rmig_err_set(err, -EPROTO, "ram section: 0 bytes of RAM");
    if (!load->blocks.count && total_bytes > most)
        return rmig_err_set(err, -EPROTO,
                            "ram section: %llu bytes of RAM at the source, at most %llu are allowed; "
                            "raise max_ram_bytes (of rmig: --max-ram)",
                            (unsigned long long)total_bytes, (unsigned long long)most);
    return 0;
}

int rmig_load_block_list(struct rmig_load *load, uint64_t total_bytes, struct rmig_err *err)
{
    struct list list = {0};
    int rc = check_total(load, total_bytes, err);

    /* No block is listed twice and none has length 0, so this ends after as many as are allowed. */
    while (rc == 0 && total_bytes > 0) {
        uint64_t len = 0;

        rc = entry(load, &list, total_bytes, &len, err);
        total_bytes -= len;
    }
    if (rc == 0 && !load->blocks.count)
        rc = make_blocks(load, &list, err);
    if (rc == 0)
        load->have_block_list = true;
    release_list(&list);
    return rc;
}
