/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ram.h -- guest RAM as plain types: blocks, runs of pages, answers of a page hook, figures.
 */
#ifndef RMIG_RAM_H
#define RMIG_RAM_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Unit of the migration stream and of dirty bitmaps: the target page, 4 KiB. */
#define RMIG_PAGE_BYTES 4096u
/** The same as a power of two. */
#define RMIG_PAGE_SHIFT 12

/** Most RAM blocks a move can have: what fits one RAM_BLOCKS_RESULT message. */
#define RMIG_BLOCKS_MAX 16383u

/** Longest block name in bytes, without NUL (one length byte on the wire). */
#define RMIG_BLOCK_NAME_MAX 255u

/**
 * One block of guest RAM. Plain data, filled by the hypervisor; the memory, the name and the fd
 * stay the hypervisor's and must outlive the move.
 */
struct rmig_block {
    const char *name;         /**< 1..255 printable bytes, unique; both sides match by it */
    void *host;               /**< first byte, aligned to page_bytes */
    uint64_t len_bytes;       /**< > 0, multiple of page_bytes */
    uint64_t page_bytes;      /**< page size of the backing: 4 KiB, 2 MiB or 1 GiB */
    int fd;                   /**< memfd or file mapped MAP_SHARED (holes are skipped), or -1;
                                   hugetlbfs does not tell its holes: they are read, and so allocated */
    uint64_t fd_offset_bytes; /**< where the block begins in fd */
    uint64_t reserved[2];     /**< 0 */
};

/** The content of a run is known to be all zero. */
#define RMIG_RUN_ZERO 1u

/** A run of whole target pages in one block: [offset_bytes, offset_bytes + len_bytes). */
struct rmig_run {
    uint32_t block_index;  /**< index in the block table */
    uint32_t flags;        /**< RMIG_RUN_* */
    uint64_t offset_bytes; /**< from the block's first byte, multiple of RMIG_PAGE_BYTES */
    uint64_t len_bytes;    /**< > 0, multiple of RMIG_PAGE_BYTES */
};

/** What a save_page hook did with a run (a negative errno is failure). */
enum rmig_put {
    RMIG_PUT_NOT_SUPPORTED = 0, /**< not taken: the caller puts it in the stream */
    RMIG_PUT_DELAYED = 1,       /**< taken; borrowed until after_iterate returns */
    RMIG_PUT_SENT = 2           /**< gone; the bytes that moved are in *sent_bytes_p */
};

#ifdef __cplusplus
}
#endif
#endif
