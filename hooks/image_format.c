/* SPDX-License-Identifier: BSD-3-Clause */
/* image_format.c -- the bytes of a RAM image: header, block table, end. */
#include "hooks/image.h"

#include <errno.h>
#include <string.h>
#include <zlib.h>

#include "common/bytes.h"
#include "common/overflow.h"

/* Where the fields of the header are; what is left of it is zero. */
enum {
    AT_MAGIC = 0,       /* u64 */
    AT_VERSION = 8,     /* u32 */
    AT_COMPLETE = 12,   /* u32: 0 or 1 */
    AT_PAGE_BYTES = 16, /* u32 */
    AT_NBLOCKS = 20,    /* u32 */
    AT_TABLE_BYTES = 24,
    AT_CRC = 28,
    AT_RAM_BYTES = 32, /* u64 */
    AT_IMAGE_BYTES = 40,
    AT_ZERO = 48
};

/* Of the header with 0 in the place of the sum, and the table. */
static uint32_t crc_of(const uint8_t src[RMIG_IMAGE_HEADER_BYTES], const uint8_t *table,
                       uint32_t table_bytes)
{
    uint8_t header[RMIG_IMAGE_HEADER_BYTES];
    uLong crc = crc32(0, NULL, 0);

    memcpy(header, src, sizeof(header));
    rmig_store_be32(header + AT_CRC, 0);
    crc = crc32(crc, header, sizeof(header));
    return (uint32_t)crc32(crc, table, table_bytes);
}

void rmig_image_header_encode(uint8_t dst[RMIG_IMAGE_HEADER_BYTES],
                              const struct rmig_image_header *header, const uint8_t *table)
{
    memset(dst, 0, RMIG_IMAGE_HEADER_BYTES);
    rmig_store_be64(dst + AT_MAGIC, RMIG_IMAGE_MAGIC);
    rmig_store_be32(dst + AT_VERSION, RMIG_IMAGE_VERSION);
    rmig_store_be32(dst + AT_COMPLETE, header->complete);
    rmig_store_be32(dst + AT_PAGE_BYTES, RMIG_PAGE_BYTES);
    rmig_store_be32(dst + AT_NBLOCKS, header->nblocks);
    rmig_store_be32(dst + AT_TABLE_BYTES, header->table_bytes);
    rmig_store_be64(dst + AT_RAM_BYTES, header->ram_bytes);
    rmig_store_be64(dst + AT_IMAGE_BYTES, header->image_bytes);
    rmig_store_be32(dst + AT_CRC, crc_of(dst, table, header->table_bytes));
}

static bool all_zero(const uint8_t *p, size_t len_bytes)
{
    while (len_bytes && *p == 0)
        p++, len_bytes--;
    return len_bytes == 0;
}

static int check_kind(const uint8_t *src, struct rmig_err *err)
{
    if (rmig_load_be64(src + AT_MAGIC) != RMIG_IMAGE_MAGIC)
        return rmig_err_set(err, -EPROTO, "RAM image: begins with 0x%016llx, none does",
                            (unsigned long long)rmig_load_be64(src + AT_MAGIC));
    if (rmig_load_be32(src + AT_VERSION) != RMIG_IMAGE_VERSION)
        return rmig_err_set(err, -ENOTSUP, "RAM image: version %u, only %u is supported",
                            rmig_load_be32(src + AT_VERSION), RMIG_IMAGE_VERSION);
    if (rmig_load_be32(src + AT_PAGE_BYTES) != RMIG_PAGE_BYTES)
        return rmig_err_set(err, -ENOTSUP, "RAM image: pages of %u bytes, only %u are supported",
                            rmig_load_be32(src + AT_PAGE_BYTES), RMIG_PAGE_BYTES);
    return 0;
}

int rmig_image_header_decode(const uint8_t src[RMIG_IMAGE_HEADER_BYTES],
                             struct rmig_image_header *header_p, struct rmig_err *err)
{
    const struct rmig_image_header header = {
        .complete = rmig_load_be32(src + AT_COMPLETE) == 1,
        .nblocks = rmig_load_be32(src + AT_NBLOCKS),
        .table_bytes = rmig_load_be32(src + AT_TABLE_BYTES),
        .ram_bytes = rmig_load_be64(src + AT_RAM_BYTES),
        .image_bytes = rmig_load_be64(src + AT_IMAGE_BYTES),
        .crc = rmig_load_be32(src + AT_CRC),
    };
    int rc = check_kind(src, err);

    if (rc < 0)
        return rc;
    if (rmig_load_be32(src + AT_COMPLETE) > 1 ||
        !all_zero(src + AT_ZERO, RMIG_IMAGE_HEADER_BYTES - AT_ZERO))
        return rmig_err_set(err, -EPROTO, "RAM image: the header has a field that version %u has not",
                            RMIG_IMAGE_VERSION);
    if (header.nblocks == 0 || header.nblocks > RMIG_BLOCKS_MAX)
        return rmig_err_set(err, -EPROTO, "RAM image: %u blocks, 1 to %u are allowed",
                            header.nblocks, RMIG_BLOCKS_MAX);
    if (header.table_bytes > RMIG_IMAGE_TABLE_MAX)
        return rmig_err_set(err, -EPROTO, "RAM image: a block table of %u bytes, at most %u are allowed",
                            header.table_bytes, RMIG_IMAGE_TABLE_MAX);
    if (header.image_bytes > INT64_MAX)
        return rmig_err_set(err, -EPROTO, "RAM image: of %llu bytes, no file is that large",
                            (unsigned long long)header.image_bytes);
    *header_p = header;
    return 0;
}

int rmig_image_check_crc(const uint8_t src[RMIG_IMAGE_HEADER_BYTES],
                         const struct rmig_image_header *header, const uint8_t *table,
                         struct rmig_err *err)
{
    const uint32_t crc = crc_of(src, table, header->table_bytes);

    if (crc != header->crc)
        return rmig_err_set(err, -EPROTO,
                            "RAM image: header and block table are damaged: their sum is 0x%08x, not "
                            "0x%08x as they say",
                            crc, header->crc);
    return 0;
}

size_t rmig_image_row_encode(uint8_t *dst, const struct rmig_block *block, uint64_t data_at)
{
    const size_t len = strlen(block->name);

    *dst = (uint8_t)len;
    memcpy(dst + 1, block->name, len);
    rmig_store_be64(dst + 1 + len, block->len_bytes);
    rmig_store_be64(dst + 1 + len + 8, block->page_bytes);
    rmig_store_be64(dst + 1 + len + 16, data_at);
    return 1 + len + 24;
}

int rmig_image_row_decode(const uint8_t **src_p, const uint8_t *end, char **names,
                          struct rmig_block *block_p, struct rmig_err *err)
{
    const uint8_t *src = *src_p;
    size_t len;

    if (src == end || (size_t)(end - src) < 1u + *src + 24u)
        return rmig_err_set(err, -EPROTO, "RAM image: the block table ends inside a row");
    len = *src;
    for (size_t i = 1; i <= len; i++)
        if (src[i] < ' ' || src[i] > '~')
            return rmig_err_set(err, -EPROTO, "RAM image: byte 0x%02x in a block's name", src[i]);
    if (len == 0)
        return rmig_err_set(err, -EPROTO, "RAM image: a block's name of 0 bytes");
    memcpy(*names, src + 1, len);
    (*names)[len] = '\0';
    src += 1 + len;
    *block_p = (struct rmig_block){.name = *names,
                                   .len_bytes = rmig_load_be64(src),
                                   .page_bytes = rmig_load_be64(src + 8),
                                   .fd = -1,
                                   .fd_offset_bytes = rmig_load_be64(src + 16)};
    *names += len + 1;
    *src_p = src + 24;
    return 0;
}

int64_t rmig_image_align(uint64_t after)
{
    if (after > (uint64_t)INT64_MAX - RMIG_IMAGE_ALIGN_BYTES)
        return -EFBIG;
    return (int64_t)(rmig_div_round_up_u64(after, RMIG_IMAGE_ALIGN_BYTES) * RMIG_IMAGE_ALIGN_BYTES);
}

void rmig_image_end_encode(uint8_t dst[RMIG_IMAGE_END_BYTES], uint64_t image_bytes)
{
    rmig_store_be64(dst, RMIG_IMAGE_END);
    rmig_store_be64(dst + 8, image_bytes);
}

int rmig_image_end_decode(const uint8_t src[RMIG_IMAGE_END_BYTES], uint64_t image_bytes,
                          struct rmig_err *err)
{
    if (rmig_load_be64(src) != RMIG_IMAGE_END || rmig_load_be64(src + 8) != image_bytes)
        return rmig_err_set(err, -EPROTO,
                            "RAM image: its end is not at byte %llu, where the header has it: it is "
                            "damaged or was cut off",
                            (unsigned long long)image_bytes);
    return 0;
}
