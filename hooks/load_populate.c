/* SPDX-License-Identifier: BSD-3-Clause */
/* load_populate.c -- allocates guest memory for the pages that have arrived, several in one call. */
#include "hooks/load.h"

#include <errno.h>
#include <sys/mman.h>

#include "common/bytes.h"

#ifndef MADV_POPULATE_WRITE /* Linux 5.14 */
#define MADV_POPULATE_WRITE 23
#endif

/* A page record behind the first of its block: its word, then the page. */
#define RECORD_BYTES (sizeof(uint64_t) + RMIG_PAGE_BYTES)

/* Where the run ends whose first page comes next: of the records in the buffer each is for the page behind
 * the one before. Nothing is waited for, and what is no such record is for others to judge. */
static uint64_t run_end(struct rmig_load *load, uint64_t offset_bytes)
{
    const struct rmig_block *block = &load->blocks.items[load->record_block];
    size_t buffered_bytes = rmig_in_buffered_bytes(load->in);
    uint64_t end_bytes = offset_bytes + RMIG_PAGE_BYTES;
    const uint8_t *p;

    if (buffered_bytes < RECORD_BYTES ||
        rmig_in_peek(load->in, &p, buffered_bytes, 0) != (ssize_t)buffered_bytes)
        return end_bytes;
    for (size_t at = RMIG_PAGE_BYTES; at + sizeof(uint64_t) <= buffered_bytes; at += RECORD_BYTES) {
        uint64_t next = rmig_format_ram_word(end_bytes, RMIG_RAM_PAGE | RMIG_RAM_CONTINUE);

        if (end_bytes >= block->len_bytes || rmig_load_be64(p + at) != next)
            break;
        end_bytes += RMIG_PAGE_BYTES;
    }
    return end_bytes;
}

int rmig_load_populate(struct rmig_load *load, uint64_t offset_bytes, struct rmig_err *err)
{
    const struct rmig_block *block = &load->blocks.items[load->record_block];
    struct rmig_extent *done = &load->populated;
    uint64_t len_bytes, least_bytes = 2 * RMIG_PAGE_BYTES; /* a call for one page saves nothing */

    if (load->populated_block == load->record_block && rmig_extent_covers(done, offset_bytes))
        return 0;
    load->populated_block = load->record_block;
    if (block->page_bytes > RMIG_PAGE_BYTES) { /* the pool may be empty: what is asked for is all of one */
        uint64_t start_bytes = offset_bytes - offset_bytes % block->page_bytes;

        *done = (struct rmig_extent){start_bytes, start_bytes + block->page_bytes, false};
        len_bytes = least_bytes = RMIG_PAGE_BYTES;
    } else {
        *done = (struct rmig_extent){offset_bytes, run_end(load, offset_bytes), false};
        len_bytes = done->end_bytes - offset_bytes;
    }
    if (len_bytes < least_bytes)
        return 0;
    if (madvise((uint8_t *)block->host + offset_bytes, len_bytes, MADV_POPULATE_WRITE) == 0 ||
        (errno != EFAULT && errno != EHWPOISON)) /* an older kernel, say: they come one by one */
        return 0;
    return rmig_err_set(err, -ENOMEM,
                        "pages at 0x%llx: RAM block %.64s cannot be written, which would end this process "
                        "by SIGBUS: is its file system full, are there no huge pages left?",
                        (unsigned long long)offset_bytes, block->name);
}
