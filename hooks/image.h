/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image.h -- a RAM image: the object, and its bytes. All integers are big-endian.
 *
 *   image := header, table, pad, {block data, pad}, end
 *   block data begins at a multiple of RMIG_IMAGE_ALIGN_BYTES, in table order
 *   end is behind the last block's data, and is the last of the image
 */
#ifndef HOOKS_IMAGE_H
#define HOOKS_IMAGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <rmig/image.h>
#include "common/blocks.h"
#include "hooks/pages.h"

#define RMIG_IMAGE_MAGIC 0x524d49472d52414dull /* "RMIG-RAM" */
#define RMIG_IMAGE_END 0x524d49472d454e44ull   /* "RMIG-END" */
#define RMIG_IMAGE_VERSION 1u
#define RMIG_IMAGE_HEADER_BYTES 64u
#define RMIG_IMAGE_END_BYTES 16u
#define RMIG_IMAGE_ALIGN_BYTES (2u << 20)
/** A row of the table: str8 name, u64 length, u64 page size of the backing, u64 position of the data. */
#define RMIG_IMAGE_ROW_MAX (1u + RMIG_BLOCK_NAME_MAX + 3u * 8u)
#define RMIG_IMAGE_TABLE_MAX (RMIG_BLOCKS_MAX * RMIG_IMAGE_ROW_MAX)

/** What the header says. */
struct rmig_image_header {
    bool complete;
    uint32_t nblocks;
    uint32_t table_bytes;
    uint64_t ram_bytes;   /* of all blocks */
    uint64_t image_bytes; /* from the header's first byte to the end's last */
    uint32_t crc;         /* of header, without it, and table: CRC-32 as in zlib */
};

struct rmig_image {
    struct rmig_channel *ch;
    bool writing;
    bool finished;
    struct rmig_image_header header;
    uint8_t *table;        /* header.table_bytes */
    uint64_t *data_at;     /* per block of the image: where its data begins */
    atomic_int failed;     /* the first -errno of a put; 0: none */

    struct rmig_blocks blocks;   /* memory: create's, or use's */
    uint32_t *index;             /* reading: per block of blocks, which one of the image it is */
    struct rmig_pages written;   /* writing: pages that are no holes */

    struct rmig_image_opts opts; /* reading, all that follows */
    struct rmig_layout layout;
    struct rmig_block *listed;
    char *names;
    bool loaded; /* by the hook */
};

/* --- image_format.c: bytes, no I/O ------------------------------------------------------------ */

/** Write the header, with crc made for it and the table. Requires: table_bytes of table. */
void rmig_image_header_encode(uint8_t dst[RMIG_IMAGE_HEADER_BYTES],
                              const struct rmig_image_header *header, const uint8_t *table);

/** Take the header apart, but for crc. Returns: 0; -EPROTO; -ENOTSUP version or page size. */
int rmig_image_header_decode(const uint8_t src[RMIG_IMAGE_HEADER_BYTES],
                             struct rmig_image_header *header_p, struct rmig_err *err);

/** Check header and table against crc. Returns: 0; -EPROTO. */
int rmig_image_check_crc(const uint8_t src[RMIG_IMAGE_HEADER_BYTES],
                         const struct rmig_image_header *header, const uint8_t *table,
                         struct rmig_err *err);

/** Write a row. Requires: RMIG_IMAGE_ROW_MAX bytes at dst. Returns: bytes written. */
size_t rmig_image_row_encode(uint8_t *dst, const struct rmig_block *block, uint64_t data_at);

/**
 * Read the row at *src_p, which ends before end, and move on. name_p: receives a string; names is
 * where it goes, and moves on. block_p: name, len_bytes, page_bytes, and fd_offset_bytes the
 * position. Returns: 0; -EPROTO.
 */
int rmig_image_row_decode(const uint8_t **src_p, const uint8_t *end, char **names,
                          struct rmig_block *block_p, struct rmig_err *err);

/** Where data that follows byte `after` begins. Returns: -EFBIG beyond INT64_MAX. */
int64_t rmig_image_align(uint64_t after);

/** The end. */
void rmig_image_end_encode(uint8_t dst[RMIG_IMAGE_END_BYTES], uint64_t image_bytes);
int rmig_image_end_decode(const uint8_t src[RMIG_IMAGE_END_BYTES], uint64_t image_bytes,
                          struct rmig_err *err);

/* --- image.c: what both directions need ------------------------------------------------------- */

/**
 * Write or read all of it at a position. Returns: 0; the channel's error; where it ends too early, with
 * both figures, -EIO, or reading end_code.
 */
int rmig_image_pwrite(const struct rmig_image *image, const void *buf, uint64_t len_bytes,
                      uint64_t at, struct rmig_err *err);
int rmig_image_pread(const struct rmig_image *image, void *buf, uint64_t len_bytes, uint64_t at,
                     int end_code, struct rmig_err *err);

/**
 * The run's memory and place. Returns: 0; -EINVAL. index_p: the block's in the image.
 */
int rmig_image_place(const struct rmig_image *image, const struct rmig_run *run, uint8_t **ptr_p,
                     uint64_t *at_p, struct rmig_err *err);

/* --- image_save.c, image_load.c --------------------------------------------------------------- */

/** Write a run that is known to be zero, or to have no zero page that matters. As rmig_image_put. */
int rmig_image_put_known(struct rmig_image *image, const struct rmig_run *run, struct rmig_err *err);

/** Read all blocks, once: a second call does nothing. As rmig_image_get. */
int rmig_image_get_all(struct rmig_image *image, struct rmig_err *err);

#endif
