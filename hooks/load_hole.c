/* SPDX-License-Identifier: BSD-3-Clause */
/* load_hole.c -- writes pages that arrive into the holes of a block's file, several in one call. */
#include "hooks/load.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>

#include "common/bytes.h"

/* A page record behind the first of its block: its word, then the page. */
#define RECORD_BYTES (sizeof(uint64_t) + RMIG_PAGE_BYTES)

/* Whole pages that the stream's buffer can hold behind a word: the first has given its word up. */
#define RUN_PAGES_MAX (RMIG_STREAM_BUFFER_BYTES / RECORD_BYTES + 1)

/* May the file be written at an offset? What is appended to goes elsewhere. */
static bool takes_writes(const struct rmig_block *block)
{
    int flags = fcntl(block->fd, F_GETFL);

    return flags >= 0 && (flags & O_ACCMODE) != O_RDONLY && !(flags & O_APPEND);
}

/* The page that comes next in the stream and those in the buffer behind it, each in a record of its own
 * and for the page behind the one before, up to end_bytes. Returns: how many; 0 not even one. */
static int gather_run(struct rmig_load *load, uint64_t offset_bytes, uint64_t end_bytes,
                      struct iovec pages[RUN_PAGES_MAX])
{
    const uint8_t *p;
    size_t buffered_bytes;
    unsigned n = 0;

    if (rmig_in_peek(load->in, &p, RMIG_PAGE_BYTES, 0) != RMIG_PAGE_BYTES)
        return 0;
    buffered_bytes = rmig_in_buffered_bytes(load->in);
    if (rmig_in_peek(load->in, &p, buffered_bytes, 0) != (ssize_t)buffered_bytes)
        return 0;
    for (const uint8_t *end = p + buffered_bytes;;) {
        pages[n++] = (struct iovec){(void *)(uintptr_t)p, RMIG_PAGE_BYTES};
        p += RMIG_PAGE_BYTES;
        offset_bytes += RMIG_PAGE_BYTES;
        if (n == RUN_PAGES_MAX || offset_bytes >= end_bytes || (size_t)(end - p) < RECORD_BYTES ||
            rmig_load_be64(p) != rmig_format_ram_word(offset_bytes, RMIG_RAM_PAGE | RMIG_RAM_CONTINUE))
            return (int)n;
        p += sizeof(uint64_t);
    }
}

int rmig_load_fill_hole(struct rmig_load *load, uint64_t offset_bytes, struct rmig_err *err)
{
    const struct rmig_block *block = &load->blocks.items[load->record_block];
    struct iovec pages[RUN_PAGES_MAX];
    ssize_t written;
    int n;

    if (load->hole_block != load->record_block) {
        load->hole_block = load->record_block;
        load->hole_block_takes_writes = takes_writes(block);
    }
    n = load->hole_block_takes_writes
            ? gather_run(load, offset_bytes, load->extent.end_bytes, pages)
            : 0;
    if (n == 0)
        return 0;
    written = pwritev(block->fd, pages, n, (off_t)(block->fd_offset_bytes + offset_bytes));
    if (written < 0 && (errno == ENOSPC || errno == EDQUOT))
        return rmig_err_set(err, -errno,
                            "page at 0x%llx: no room for it in the file of RAM block %.64s: %s",
                            (unsigned long long)offset_bytes, block->name, strerror(errno));
    n = written < 0 ? 0 : (int)(written / RMIG_PAGE_BYTES);
    if (n == 0) {
        load->hole_block_takes_writes = false;
        return 0;
    }
    load->extent.start_bytes = offset_bytes + (uint64_t)n * RMIG_PAGE_BYTES;
    if (rmig_in_skip(load->in, (size_t)n * RECORD_BYTES - sizeof(uint64_t)) < 0)
        return rmig_err_set(err, -EIO, "page at 0x%llx: the stream failed behind it",
                            (unsigned long long)offset_bytes);
    return n;
}
