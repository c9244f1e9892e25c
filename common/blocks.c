/* SPDX-License-Identifier: BSD-3-Clause */
/* blocks.c -- the RAM block table. */
#include "common/blocks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/overflow.h"

static int check_name(const char *name, uint32_t index, struct rmig_err *err)
{
    size_t len = name ? strnlen(name, RMIG_BLOCK_NAME_MAX + 1) : 0;

    if (len == 0 || len > RMIG_BLOCK_NAME_MAX)
        return rmig_err_set(err, -EINVAL, "RAM block %u: a name of 1 to %u bytes is needed", index,
                            RMIG_BLOCK_NAME_MAX);
    for (size_t i = 0; i < len; i++)
        if (name[i] < 0x20 || name[i] > 0x7e)
            return rmig_err_set(err, -EINVAL, "RAM block %u: byte %zu of the name is not printable",
                                index, i);
    return 0;
}

static int check_block(const struct rmig_block *b, uint32_t index, struct rmig_err *err)
{
    int rc = check_name(b->name, index, err);

    if (rc < 0)
        return rc;
    if (b->page_bytes != 4096 && b->page_bytes != 2u << 20 && b->page_bytes != 1u << 30)
        return rmig_err_set(err, -EINVAL,
                            "RAM block %.64s: page size %llu is not 4 KiB, 2 MiB or 1 GiB", b->name,
                            (unsigned long long)b->page_bytes);
    if (b->len_bytes == 0 || b->len_bytes % b->page_bytes)
        return rmig_err_set(err, -EINVAL,
                            "RAM block %.64s: length %llu is not a positive multiple of its page size %llu",
                            b->name, (unsigned long long)b->len_bytes,
                            (unsigned long long)b->page_bytes);
    if (!b->host || (uintptr_t)b->host % b->page_bytes)
        return rmig_err_set(err, -EINVAL, "RAM block %.64s: address %p is not aligned to its page size",
                            b->name, b->host);
    if (UINTPTR_MAX - (uintptr_t)b->host < b->len_bytes)
        return rmig_err_set(err, -EINVAL, "RAM block %.64s: wraps around the address space", b->name);
    return 0;
}

static int compare_names(const void *a, const void *b, void *items)
{
    const struct rmig_block *blocks = items;

    return strcmp(blocks[*(const uint32_t *)a].name, blocks[*(const uint32_t *)b].name);
}

int rmig_blocks_init(struct rmig_blocks *table, const struct rmig_block *items, uint32_t count,
                     struct rmig_err *err)
{
    uint64_t total = 0;
    uint32_t *by_name;

    if (count == 0)
        return rmig_err_set(err, -EINVAL, "no RAM block given");
    if (count > RMIG_BLOCKS_MAX)
        return rmig_err_set(err, -E2BIG, "%u RAM blocks: at most %u can be moved", count,
                            RMIG_BLOCKS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        int rc = check_block(&items[i], i, err);

        if (rc < 0)
            return rc;
        if (!rmig_add_u64(total, items[i].len_bytes, &total))
            return rmig_err_set(err, -EINVAL, "RAM blocks: total length overflows 64 bits");
    }
    by_name = malloc(count * sizeof(*by_name));
    if (!by_name)
        return rmig_err_set(err, -ENOMEM, "RAM block table: out of memory for %u blocks", count);
    for (uint32_t i = 0; i < count; i++)
        by_name[i] = i;
    qsort_r(by_name, count, sizeof(*by_name), compare_names, (void *)items);
    for (uint32_t i = 1; i < count; i++)
        if (!strcmp(items[by_name[i - 1]].name, items[by_name[i]].name)) {
            rmig_err_set(err, -EINVAL, "RAM blocks %u and %u have the same name %.64s",
                         by_name[i - 1], by_name[i], items[by_name[i]].name);
            free(by_name);
            return -EINVAL;
        }
    table->items = items;
    table->count = count;
    table->total_bytes = total;
    table->by_name = by_name;
    return 0;
}

void rmig_blocks_release(struct rmig_blocks *table)
{
    free(table->by_name);
    memset(table, 0, sizeof(*table));
}

int64_t rmig_blocks_find(const struct rmig_blocks *table, const char *name)
{
    uint32_t low = 0, high = table->count;

    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        int c = strcmp(name, table->items[table->by_name[mid]].name);

        if (c == 0)
            return table->by_name[mid];
        if (c < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return -ENOENT;
}

int rmig_blocks_range(const struct rmig_blocks *table, uint32_t index, uint64_t offset_bytes,
                      uint64_t len_bytes, uint8_t **ptr_p)
{
    if (index >= table->count || len_bytes == 0 ||
        !rmig_range_within(offset_bytes, len_bytes, table->items[index].len_bytes))
        return -ERANGE;
    *ptr_p = (uint8_t *)table->items[index].host + offset_bytes;
    return 0;
}
