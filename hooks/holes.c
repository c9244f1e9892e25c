/* SPDX-License-Identifier: BSD-3-Clause */
/* holes.c -- asks the backing file of a block where it has data, by lseek, and the page cache, by mincore. */
#include "hooks/holes.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include "common/overflow.h"
#include "hooks/zero.h"

/* Pages that are looked at for the end of data: few at first, for holes that are near, then twice as many. */
#define LOOK_MIN_PAGES 32u
#define LOOK_MAX_PAGES 4096u

/* Offset in the block of the next data or hole at or after offset, clipped to the block. */
static uint64_t seek_next(const struct rmig_block *b, uint64_t offset_bytes, int whence,
                          uint64_t if_none)
{
    off_t at = lseek(b->fd, (off_t)(b->fd_offset_bytes + offset_bytes), whence);
    uint64_t pos;

    if (at < 0)
        return errno == ENXIO ? if_none : offset_bytes;
    pos = (uint64_t)at - b->fd_offset_bytes;
    return rmig_min_u64(pos, b->len_bytes);
}

/* Devices whose memory can be mapped, DAX say, take a seek for holes and answer with any position. */
static bool knows_holes(const struct rmig_block *block, struct stat *st)
{
    return block->fd >= 0 && fstat(block->fd, st) == 0 && S_ISREG(st->st_mode);
}

/*
 * How much of the range is in memory, from its start: that is data. Where shared memory has its next hole it tells
 * only by a walk over all pages up to there, which may be the rest of the guest; this looks no further than asked.
 * mincore(2) calls everything resident for who neither owns the file nor may write to it: who does not own it is
 * told nothing here.
 */
static uint64_t resident_bytes(const struct rmig_block *block, const struct stat *st, uint64_t offset_bytes,
                               uint64_t look_bytes)
{
    unsigned char resident[LOOK_MAX_PAGES];
    uint64_t look_pages = look_bytes >> RMIG_PAGE_SHIFT, n = 0, end = 0;

    if (sysconf(_SC_PAGESIZE) != RMIG_PAGE_BYTES || st->st_uid != geteuid())
        return 0;
    while (n == end && n < look_pages) {
        uint64_t count = rmig_min_u64(rmig_max_u64(n, LOOK_MIN_PAGES), look_pages - n);

        if (mincore((uint8_t *)block->host + offset_bytes + (n << RMIG_PAGE_SHIFT), count << RMIG_PAGE_SHIFT,
                    resident) < 0)
            break;
        end = n + count;
        for (uint64_t i = 0; i < count && (resident[i] & 1); i++)
            n++;
    }
    return n << RMIG_PAGE_SHIFT;
}

struct rmig_extent rmig_extent_at(const struct rmig_block *block, uint64_t offset_bytes, uint64_t look_bytes)
{
    struct rmig_extent e = {offset_bytes, block->len_bytes, false};
    struct stat st;
    uint64_t next;

    if (!knows_holes(block, &st))
        return e;
    /* ENXIO is "no data from here on": a hole to the end; any other failure is "cannot tell". */
    next = seek_next(block, offset_bytes, SEEK_DATA, block->len_bytes);
    next -= next % RMIG_PAGE_BYTES;
    if (next > offset_bytes) {
        e.end_bytes = next;
        e.hole = true;
        return e;
    }
    look_bytes = rmig_min_u64(rmig_min_u64(look_bytes, LOOK_MAX_PAGES << RMIG_PAGE_SHIFT),
                              e.end_bytes - offset_bytes);
    next = resident_bytes(block, &st, offset_bytes, look_bytes);
    if (next > 0) {
        e.end_bytes = offset_bytes + next;
        return e;
    }
    /* Swapped out, on a disk, or somebody else's. */
    next = seek_next(block, offset_bytes, SEEK_HOLE, block->len_bytes);
    next = rmig_div_round_up_u64(next, RMIG_PAGE_BYTES) * RMIG_PAGE_BYTES;
    if (next > offset_bytes)
        e.end_bytes = rmig_min_u64(next, block->len_bytes);
    return e;
}

int rmig_zero_range(const struct rmig_block *block, uint64_t offset_bytes, uint64_t len_bytes)
{
    uint64_t end_bytes = offset_bytes + len_bytes;

    while (offset_bytes < end_bytes) {
        struct rmig_extent extent = rmig_extent_at(block, offset_bytes, end_bytes - offset_bytes);
        uint64_t stop_bytes = rmig_min_u64(extent.end_bytes, end_bytes);

        for (; !extent.hole && offset_bytes < stop_bytes; offset_bytes += RMIG_PAGE_BYTES) {
            uint8_t *page = (uint8_t *)block->host + offset_bytes;

            if (!rmig_is_zero(page, RMIG_PAGE_BYTES))
                memset(page, 0, RMIG_PAGE_BYTES);
        }
        offset_bytes = stop_bytes;
    }
    return 0;
}
