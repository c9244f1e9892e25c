/* SPDX-License-Identifier: BSD-3-Clause */
/* scan.c -- finds runs of dirty pages: holes of the backing file, zero pages, data. */
#include "hooks/scan.h"

#include "common/overflow.h"
#include "hooks/zero.h"

void rmig_scan_init(struct rmig_scan *scan, struct rmig_pages *pages, bool first_pass)
{
    *scan = (struct rmig_scan){.pages = pages, .blocks = pages->blocks, .first_pass = first_pass};
}

static void mark_rest(struct rmig_scan *scan, const struct rmig_page_range *range, uint64_t keep)
{
    const struct rmig_page_range rest = {range->block_index, range->first + keep,
                                         range->count - keep};

    if (rest.count > 0)
        rmig_pages_mark(scan->pages, &rest);
}

/* Pages of the range, from its first, that are in one hole of the file as it is now. */
static uint64_t hole_pages(struct rmig_scan *scan, const struct rmig_page_range *range)
{
    const struct rmig_block *block = &scan->blocks->items[range->block_index];
    uint64_t offset = range->first << RMIG_PAGE_SHIFT;

    scan->extent = rmig_extent_at(block, offset, UINT64_MAX);
    if (!scan->extent.hole)
        return 0;
    return rmig_min_u64(range->count, (scan->extent.end_bytes - offset) >> RMIG_PAGE_SHIFT);
}

/*
 * Take pages of a hole. What was known may be stale: the guest can have written there since. The
 * pages are made clean first and the file is asked again after, so that a page that is written
 * later is marked again, and one written before is seen.
 */
static uint64_t take_hole(struct rmig_scan *scan, const struct rmig_page_range *range)
{
    uint64_t keep;

    rmig_pages_take(scan->pages, range);
    keep = hole_pages(scan, range);
    mark_rest(scan, range, keep);
    return keep;
}

static uint64_t take_data(struct rmig_scan *scan, const struct rmig_page_range *range,
                          uint64_t data_pages, bool *zero_p)
{
    const struct rmig_block *block = &scan->blocks->items[range->block_index];
    const uint8_t *ptr = (const uint8_t *)block->host + (range->first << RMIG_PAGE_SHIFT);
    uint64_t keep;

    rmig_pages_take(scan->pages, range);
    keep = rmig_alike_pages(ptr, range->count, rmig_min_u64(range->count, data_pages), zero_p);
    mark_rest(scan, range, keep);
    return keep;
}

static uint64_t pages_of(const struct rmig_block *block)
{
    return block->len_bytes >> RMIG_PAGE_SHIFT;
}

/* The next dirty page that the walk comes to, in this block or a later one. */
static bool find(struct rmig_scan *scan)
{
    while (scan->block_index < scan->blocks->count) {
        uint64_t end = pages_of(&scan->blocks->items[scan->block_index]);

        scan->page = rmig_pages_next_dirty(scan->pages, scan->block_index, scan->page, end);
        if (scan->page < end)
            return true;
        scan->block_index++;
        scan->page = 0;
        scan->extent = (struct rmig_extent){0, 0, false};
    }
    return false;
}

/* The dirty pages there, before end and at most so many. */
static struct rmig_page_range range_here(struct rmig_scan *scan, uint64_t end, uint64_t most)
{
    end = scan->page + rmig_min_u64(end - scan->page, most);
    return (struct rmig_page_range){
        scan->block_index, scan->page, rmig_pages_dirty_run(scan->pages, scan->block_index, scan->page, end)};
}

static void find_extent(struct rmig_scan *scan)
{
    const struct rmig_block *block = &scan->blocks->items[scan->block_index];
    uint64_t offset = scan->page << RMIG_PAGE_SHIFT;

    if (!rmig_extent_covers(&scan->extent, offset))
        scan->extent = rmig_extent_at(block, offset, UINT64_MAX);
}

static bool in_known_hole(const struct rmig_scan *scan)
{
    return scan->extent.hole && rmig_extent_covers(&scan->extent, scan->page << RMIG_PAGE_SHIFT);
}

bool rmig_scan_next(struct rmig_scan *scan, const struct rmig_scan_limits *limits,
                    struct rmig_found *found_p)
{
    uint64_t ahead = rmig_min_u64(RMIG_SCAN_AHEAD_PAGES, limits->zero_pages), end, kept = 0;
    struct rmig_page_range range;
    bool zero = true, hole = false;

    if (!find(scan))
        return false;
    end = pages_of(&scan->blocks->items[scan->block_index]);
    range = range_here(scan, end, rmig_max_u64(ahead, RMIG_SCAN_MARKED_PAGES));
    if (scan->first_pass || range.count >= RMIG_SCAN_MARKED_PAGES || in_known_hole(scan)) {
        find_extent(scan);
        if (scan->extent.hole) {
            range = range_here(scan, scan->extent.end_bytes >> RMIG_PAGE_SHIFT, limits->zero_pages);
            kept = take_hole(scan, &range);
            hole = kept > 0;
        }
        end = scan->extent.end_bytes >> RMIG_PAGE_SHIFT; /* if it was no hole any more, it is another one */
    }
    range.count = rmig_min_u64(range.count, rmig_min_u64(ahead, end - range.first));
    if (!hole)
        kept = take_data(scan, &range, limits->data_pages, &zero);
    scan->page = range.first + kept;
    found_p->run = (struct rmig_run){range.block_index, zero ? RMIG_RUN_ZERO : 0, range.first << RMIG_PAGE_SHIFT,
                                     kept << RMIG_PAGE_SHIFT};
    found_p->hole = hole;
    return true;
}

void rmig_scan_give_back(struct rmig_scan *scan, struct rmig_run *run, uint64_t keep_bytes)
{
    const struct rmig_page_range rest = {run->block_index,
                                         (run->offset_bytes + keep_bytes) >> RMIG_PAGE_SHIFT,
                                         (run->len_bytes - keep_bytes) >> RMIG_PAGE_SHIFT};

    rmig_pages_mark(scan->pages, &rest);
    scan->page = rest.first;
    run->len_bytes = keep_bytes;
}
