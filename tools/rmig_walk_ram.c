/* SPDX-License-Identifier: BSD-3-Clause */
/* rmig_walk_ram.c -- the ram section: its list of blocks, and its records, which are counted. */
#include "tools/rmig_walk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_PAGE_MAX ((uint64_t)1 << 40)
/* More than any host can have. */
#define RAM_MAX ((uint64_t)1 << 56)

/* Low bits of a record's first word; the rest of it is a value. */
enum flag {
    FLAG_FULL = 0x001,
    FLAG_ZERO = 0x002,
    FLAG_MEM_SIZE = 0x004,
    FLAG_PAGE = 0x008,
    FLAG_EOS = 0x010,
    FLAG_CONTINUE = 0x020,
    FLAG_XBZRLE = 0x040,
    FLAG_HOOK = 0x080,
    FLAG_COMPRESS_PAGE = 0x100,
    FLAG_MULTIFD_FLUSH = 0x200
};

/* --- the list of blocks ----------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
    return strcmp((*(struct walk_block *const *)a)->name, (*(struct walk_block *const *)b)->name);
}

static int sort_blocks(struct walk *walk, uint64_t at)
{
    walk->by_name = calloc(walk->blocks.count + 1, sizeof(struct walk_block *));
    if (!walk->by_name)
        return scan_fail(&walk->scan, at, "out of memory for %u RAM blocks", walk->blocks.count);
    for (uint32_t i = 0; i < walk->blocks.count; i++)
        walk->by_name[i] = &walk->blocks.items[i];
    qsort(walk->by_name, walk->blocks.count, sizeof(struct walk_block *), compare_names);
    for (uint32_t i = 1; i < walk->blocks.count; i++)
        if (strcmp(walk->by_name[i - 1]->name, walk->by_name[i]->name) == 0)
            return scan_fail(&walk->scan, at, "RAM block %.64s is listed twice",
                             walk->by_name[i]->name);
    return 0;
}

/* After POSTCOPY_ADVISE some blocks have their page size behind their length. What else can stand
 * there begins with a name's length, which is not 0, or with a record's word, which has a flag. */
static int block_page_size(struct walk *walk, struct walk_block *block)
{
    const uint8_t *data;
    int rc;

    if (!walk->advised || scan_peek(&walk->scan, &data, 8) < 8 || data[0] != 0 ||
        (scan_load_be32(data + 4) & (uint32_t)(walk_page_bytes(walk) - 1)))
        return 0;
    rc = scan_be64(&walk->scan, "a RAM block's page size", &block->page_bytes);
    if (rc == 0 &&
        (block->page_bytes & (block->page_bytes - 1) || block->page_bytes > BLOCK_PAGE_MAX))
        rc = scan_fail(&walk->scan, walk->scan.at - 8, "a RAM block with pages of %llu bytes",
                       (unsigned long long)block->page_bytes);
    return rc;
}

static int block_entry(struct walk *walk, uint64_t *left)
{
    struct walk_block *block;
    uint64_t at = walk->scan.at, len_bytes = 0;
    char name[256];
    int rc = scan_name(&walk->scan, "a RAM block's name", name);

    if (rc < 0)
        return rc;
    block = walk_add(walk, &walk->blocks, WALK_LIST_MAX, "RAM blocks");
    if (!block || !(block->name = walk_copy(walk, name)))
        return -EPROTO;
    rc = scan_be64(&walk->scan, "a RAM block's length", &len_bytes);
    if (rc == 0 && len_bytes > RAM_MAX)
        return scan_fail(&walk->scan, at, "RAM block %.64s has %llu bytes, more than any host can have", name,
                         (unsigned long long)len_bytes);
    block->len_bytes = len_bytes;
    if (rc == 0 && (block->len_bytes == 0 || block->len_bytes > *left))
        return scan_fail(&walk->scan, at,
                         "RAM block %.64s has %llu bytes, %llu of the total are left", name,
                         (unsigned long long)block->len_bytes, (unsigned long long)*left);
    if (rc == 0)
        rc = block_page_size(walk, block);
    if (rc == 0 && walk->ignore_shared)
        rc = scan_be64(&walk->scan, "a RAM block's guest address", &block->address);
    *left -= block->len_bytes;
    return rc;
}

static int block_list(struct walk *walk, enum walk_type type, uint64_t total)
{
    uint64_t at = walk->scan.at - 8, left = total;
    int rc = 0;

    if (type != WALK_START || walk->by_name)
        return scan_fail(&walk->scan, at,
                         "a list of RAM blocks, which only the first record can be");
    if (total > RAM_MAX)
        return scan_fail(&walk->scan, at, "guest RAM of %llu bytes", (unsigned long long)total);
    walk->ram_bytes = total;
    while (rc == 0 && left > 0) {
        rc = block_entry(walk, &left);
        if (rc == 0 && walk->mapped_ram)
            return scan_fail(&walk->scan, walk->scan.at,
                             "capability mapped-ram: the pages have places of their own in the "
                             "file, and what follows cannot be found");
    }
    return rc < 0 ? rc : sort_blocks(walk, at);
}

/* --- pages ------------------------------------------------------------------------------------ */

static int find_block(struct walk *walk)
{
    uint64_t at = walk->scan.at;
    char name[256];
    struct walk_block key = {.name = name}, *want = &key, **found = NULL;
    int rc = scan_name(&walk->scan, "a page's RAM block", name);

    if (rc < 0)
        return rc;
    if (walk->by_name) /* the list came */
        found = bsearch(&want, walk->by_name, walk->blocks.count, sizeof(struct walk_block *),
                        compare_names);
    if (!found)
        return scan_fail(&walk->scan, at, "a page of RAM block %.64s, which is not in the list",
                         name);
    walk->block = *found;
    return 0;
}

static int zero(struct walk *walk)
{
    uint8_t fill;

    return scan_u8(&walk->scan, "a zero page's fill byte", &fill);
}

static int normal(struct walk *walk)
{
    return scan_skip(&walk->scan, "a page", walk_page_bytes(walk));
}

static int xbzrle(struct walk *walk)
{
    uint64_t at = walk->scan.at;
    uint8_t kind = 0;
    uint16_t len = 0;
    int rc = scan_u8(&walk->scan, "an xbzrle page's encoding", &kind);

    if (rc == 0 && kind != 1)
        return scan_fail(&walk->scan, at, "an xbzrle page with encoding %u, only 1 is known", kind);
    if (rc == 0)
        rc = scan_be16(&walk->scan, "an xbzrle page's length", &len);
    if (rc == 0 && len > walk_page_bytes(walk))
        return scan_fail(&walk->scan, at + 1, "an xbzrle page of %u bytes, longer than a page",
                         len);
    return rc < 0 ? rc : scan_skip(&walk->scan, "an xbzrle page", len);
}

/* What cannot be made smaller comes out larger, by a little. */
static int compressed(struct walk *walk)
{
    uint64_t at = walk->scan.at;
    uint32_t len;
    int rc = scan_be32(&walk->scan, "a compressed page's length", &len);

    if (rc == 0 && len > 2 * walk_page_bytes(walk))
        return scan_fail(&walk->scan, at, "a compressed page of %u bytes, longer than two pages",
                         len);
    return rc < 0 ? rc : scan_skip(&walk->scan, "a compressed page", len);
}

static int page(struct walk *walk, enum walk_page kind, uint64_t word)
{
    static int (*const read[])(struct walk * walk) = {zero, normal, xbzrle, compressed};
    uint64_t at = walk->scan.at - 8, offset = word & ~(walk_page_bytes(walk) - 1);
    int rc = word & FLAG_CONTINUE ? 0 : find_block(walk);

    if (rc < 0)
        return rc;
    if (!walk->block)
        return scan_fail(&walk->scan, at, "a page of the block before, and no block came before");
    if (offset >= walk->block->len_bytes)
        return scan_fail(&walk->scan, at,
                         "a page at 0x%llx of RAM block %.64s, which has 0x%llx bytes",
                         (unsigned long long)offset, walk->block->name,
                         (unsigned long long)walk->block->len_bytes);
    rc = read[kind](walk);
    if (rc == 0) {
        walk->block->pages[kind]++;
        walk->pages[kind]++;
    }
    return rc;
}

/* --- records ---------------------------------------------------------------------------------- */

static int record(struct walk *walk, enum walk_type type, uint64_t word)
{
    uint64_t value = word & ~(walk_page_bytes(walk) - 1);

    switch ((word & (walk_page_bytes(walk) - 1)) & ~(uint64_t)FLAG_CONTINUE) {
    case FLAG_MEM_SIZE:
        return block_list(walk, type, value);
    case FLAG_ZERO:
        return page(walk, WALK_ZERO, word);
    case FLAG_PAGE:
        return page(walk, WALK_NORMAL, word);
    case FLAG_XBZRLE:
        return page(walk, WALK_XBZRLE, word);
    case FLAG_COMPRESS_PAGE:
        return page(walk, WALK_COMPRESSED, word);
    case FLAG_HOOK:
        walk->hook_marks++;
        return 0;
    case FLAG_MULTIFD_FLUSH:
        walk->multifd_marks++;
        return 0;
    case FLAG_EOS:
        return 0;
    default:
        return scan_fail(&walk->scan, walk->scan.at - 8,
                         "RAM record 0x%016llx is of no kind that is known",
                         (unsigned long long)word);
    }
}

int walk_ram_body(struct walk *walk, enum walk_type type)
{
    uint64_t word;
    int rc;

    do {
        rc = scan_be64(&walk->scan, "a RAM record", &word);
        if (rc == 0)
            rc = record(walk, type, word);
    } while (rc == 0 && !(word & FLAG_EOS));
    return rc;
}
