/* SPDX-License-Identifier: BSD-3-Clause */
/* save_record.c -- puts runs of pages in the stream as PAGE and ZERO records. */
#include "hooks/save.h"

#include "common/bytes.h"
#include "common/overflow.h"
#include "stream/format.h"

#define WORD_BYTES 8u
#define ZERO_RECORD_BYTES (WORD_BYTES + 1u)
/* Zero records that are put together before they are copied into the stream. */
#define ZERO_BATCH 64u

void rmig_save_put_section_id(struct rmig_save *save, uint8_t type, uint32_t id)
{
    rmig_out_put_u8(save->out, type);
    rmig_out_put_be32(save->out, id);
}

/* The block's name where it is not that of the record before. Returns the record's CONTINUE flag.
 */
static uint32_t same_block(const struct rmig_save *save, uint32_t block_index)
{
    return save->record_block == block_index ? RMIG_RAM_CONTINUE : 0;
}

static void put_word(struct rmig_save *save, uint32_t block_index, uint64_t offset_bytes,
                     uint32_t kind)
{
    uint32_t same = same_block(save, block_index);

    rmig_out_put_be64(save->out, rmig_format_ram_word(offset_bytes, kind | same));
    if (!same)
        rmig_out_put_counted_string(save->out, save->blocks.items[block_index].name);
    save->record_block = block_index;
}

static void put_zero_pages(struct rmig_save *save, const struct rmig_run *run)
{
    uint8_t batch[ZERO_BATCH * ZERO_RECORD_BYTES];
    uint64_t offset = run->offset_bytes, end = offset + run->len_bytes;

    put_word(save, run->block_index, offset, RMIG_RAM_ZERO);
    rmig_out_put_u8(save->out, 0);
    offset += RMIG_PAGE_BYTES;
    while (offset < end) {
        size_t used = 0;

        for (; offset < end && used < sizeof(batch); offset += RMIG_PAGE_BYTES) {
            rmig_store_be64(batch + used,
                            rmig_format_ram_word(offset, RMIG_RAM_ZERO | RMIG_RAM_CONTINUE));
            batch[used + WORD_BYTES] = 0;
            used += ZERO_RECORD_BYTES;
        }
        rmig_out_put_buffer(save->out, batch, used);
    }
}

static void put_pages(struct rmig_save *save, const struct rmig_run *run)
{
    const uint8_t *host = save->blocks.items[run->block_index].host;

    for (uint64_t done = 0; done < run->len_bytes; done += RMIG_PAGE_BYTES) {
        uint64_t offset = run->offset_bytes + done;

        put_word(save, run->block_index, offset, RMIG_RAM_PAGE);
        rmig_out_put_ref(save->out, host + offset, RMIG_PAGE_BYTES, false);
    }
    save->stats.normal_pages += run->len_bytes >> RMIG_PAGE_SHIFT;
}

void rmig_save_put_run(struct rmig_save *save, const struct rmig_run *run)
{
    if (run->flags & RMIG_RUN_ZERO)
        put_zero_pages(save, run);
    else
        put_pages(save, run);
}

uint64_t rmig_save_record_bytes(const struct rmig_run *run)
{
    uint64_t pages = run->len_bytes >> RMIG_PAGE_SHIFT;

    return pages * (run->flags & RMIG_RUN_ZERO ? ZERO_RECORD_BYTES : WORD_BYTES + RMIG_PAGE_BYTES);
}
