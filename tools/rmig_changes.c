/* SPDX-License-Identifier: BSD-3-Clause */
/* rmig_changes.c -- a hash of each page tells whether it was written since the last look. */
#include "tools/rmig_changes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

/* Pages between two looks at cancel: some ms. */
#define STEP_PAGES 4096u

static uint64_t table_bytes(const struct rmig_block *block)
{
    return block->len_bytes / RMIG_PAGE_BYTES * sizeof(uint64_t);
}

int changes_init(struct changes *changes, const struct guest_ram *ram, struct rmig_err *err)
{
    *changes = (struct changes){.ram = ram};
    changes->hashes = calloc(ram->nblocks, sizeof(*changes->hashes));
    if (!changes->hashes)
        return rmig_err_set(err, -ENOMEM, "page hashes: out of memory for %u blocks", ram->nblocks);
    for (uint32_t i = 0; i < ram->nblocks; i++) {
        void *table = mmap(NULL, table_bytes(&ram->blocks[i]), PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        if (table == MAP_FAILED)
            return rmig_err_set(err, -errno, "page hashes of RAM block %.64s: %s",
                                ram->blocks[i].name, strerror(errno));
        changes->hashes[i] = table;
    }
    return 0;
}

void changes_release(struct changes *changes)
{
    for (uint32_t i = 0; changes->hashes && i < changes->ram->nblocks; i++)
        if (changes->hashes[i])
            munmap(changes->hashes[i], table_bytes(&changes->ram->blocks[i]));
    free(changes->hashes);
    *changes = (struct changes){0};
}

static uint64_t hash_of(const struct rmig_block *block, uint64_t page)
{
    static const uint8_t zero[RMIG_PAGE_BYTES];
    const uint8_t *host = (const uint8_t *)block->host + page * RMIG_PAGE_BYTES;
    uint64_t hash = XXH3_64bits(host, RMIG_PAGE_BYTES);

    if (hash == XXH3_64bits(zero, RMIG_PAGE_BYTES))
        return 0;
    return hash ? hash : 1;
}

/* Pages [first, end) of a block, in the file or in a hole of it. */
static int mark_range(struct changes *changes, struct rmig_save *save, uint32_t index,
                      uint64_t first, uint64_t end, bool hole)
{
    const struct rmig_block *block = &changes->ram->blocks[index];
    uint64_t *hashes = changes->hashes[index];

    for (uint64_t page = first; page < end; page++) {
        uint64_t hash = hole ? 0 : hash_of(block, page);
        int rc;

        if (hash == hashes[page])
            continue;
        hashes[page] = hash;
        rc = rmig_save_mark_dirty(save, index, page * RMIG_PAGE_BYTES, RMIG_PAGE_BYTES);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int mark_block(struct changes *changes, struct rmig_save *save, uint32_t index,
                      struct rmig_cancel *cancel)
{
    const struct rmig_block *block = &changes->ram->blocks[index];
    uint64_t offset = 0;

    while (offset < block->len_bytes) {
        bool hole;
        uint64_t end = guest_ram_extent_end(block, offset, &hole);

        while (offset < end) {
            uint64_t stop = offset + (uint64_t)STEP_PAGES * RMIG_PAGE_BYTES;
            int rc;

            if (rmig_cancel_triggered(cancel))
                return -ECANCELED;
            if (stop > end)
                stop = end;
            rc = mark_range(changes, save, index, offset / RMIG_PAGE_BYTES, stop / RMIG_PAGE_BYTES, hole);
            if (rc < 0)
                return rc;
            offset = stop;
        }
    }
    return 0;
}

uint64_t changes_zero_pages(const struct changes *changes)
{
    uint64_t count = 0;

    for (uint32_t i = 0; i < changes->ram->nblocks; i++)
        for (uint64_t page = 0; page < changes->ram->blocks[i].len_bytes / RMIG_PAGE_BYTES; page++)
            count += changes->hashes[i][page] == 0;
    return count;
}

int changes_mark(struct changes *changes, struct rmig_save *save, struct rmig_cancel *cancel,
                 struct rmig_err *err)
{
    for (uint32_t i = 0; i < changes->ram->nblocks; i++) {
        int rc = mark_block(changes, save, i, cancel);

        if (rc < 0)
            return rmig_err_set(err, rc, "looking for changed pages: %s",
                                rc == -ECANCELED ? "cancelled" : strerror(-rc));
    }
    return 0;
}
