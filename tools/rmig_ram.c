/* SPDX-License-Identifier: BSD-3-Clause */
/* rmig_ram.c -- makes, keeps and releases the memory of a guest that a stream describes. */
#include "tools/rmig_ram.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tools/bench_units.h"

/* Blocks begin at a huge page, so that the kernel can use them. */
#define BLOCK_ALIGN_BYTES ((uint64_t)2 << 20)

void guest_ram_init(struct guest_ram *ram)
{
    *ram = (struct guest_ram){.fd = -1};
}

static uint64_t aligned(uint64_t bytes)
{
    return (bytes + BLOCK_ALIGN_BYTES - 1) & ~(BLOCK_ALIGN_BYTES - 1);
}

static int map(struct guest_ram *ram, struct rmig_err *err)
{
    void *base;

    ram->fd = memfd_create("guest-ram", MFD_CLOEXEC);
    if (ram->fd < 0 || ftruncate(ram->fd, (off_t)ram->mapped_bytes) < 0)
        return rmig_err_set(err, -errno, "guest RAM: %s", strerror(errno));
    base = mmap(NULL, ram->mapped_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                ram->fd, 0);
    if (base == MAP_FAILED) {
        char size[32];

        return rmig_err_set(err, -errno, "guest RAM of %s: %s",
                            bench_format_size(size, sizeof(size), ram->mapped_bytes),
                            strerror(errno));
    }
    ram->base = base;
    return 0;
}

int guest_ram_make(void *opaque, const struct rmig_layout *layout,
                   const struct rmig_block **blocks_p, struct rmig_err *err)
{
    struct guest_ram *ram = opaque;
    int rc;

    snprintf(ram->machine, sizeof(ram->machine), "%s", layout->machine);
    ram->configuration = layout->configuration;
    ram->blocks = calloc(layout->nblocks, sizeof(*ram->blocks));
    if (!ram->blocks)
        return rmig_err_set(err, -ENOMEM, "guest RAM: out of memory for %u blocks",
                            layout->nblocks);
    for (; ram->nblocks < layout->nblocks; ram->nblocks++) {
        struct rmig_block *block = &ram->blocks[ram->nblocks];

        *block = layout->blocks[ram->nblocks];
        block->name = strdup(block->name);
        if (!block->name)
            return rmig_err_set(err, -ENOMEM, "guest RAM: out of memory for a block's name");
        block->fd_offset_bytes = ram->mapped_bytes;
        ram->mapped_bytes += aligned(block->len_bytes);
    }
    rc = map(ram, err);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < ram->nblocks; i++) {
        ram->blocks[i].host = ram->base + ram->blocks[i].fd_offset_bytes;
        ram->blocks[i].fd = ram->fd;
    }
    *blocks_p = ram->blocks;
    return 0;
}

int guest_ram_take_tail(void *opaque, const void *data, size_t len_bytes, struct rmig_err *err)
{
    struct guest_ram *ram = opaque;

    ram->tail = malloc(len_bytes);
    if (!ram->tail)
        return rmig_err_set(err, -ENOMEM, "device state: out of memory for %zu bytes", len_bytes);
    memcpy(ram->tail, data, len_bytes);
    ram->tail_bytes = len_bytes;
    return 0;
}

const struct rmig_block *guest_ram_main_block(const struct guest_ram *ram)
{
    const struct rmig_block *largest = ram->blocks;

    for (uint32_t i = 1; i < ram->nblocks; i++)
        if (ram->blocks[i].len_bytes > largest->len_bytes)
            largest = &ram->blocks[i];
    return largest;
}

uint64_t guest_ram_extent_end(const struct rmig_block *block, uint64_t offset_bytes, bool *hole_p)
{
    off_t at = (off_t)(block->fd_offset_bytes + offset_bytes);
    off_t data = lseek(block->fd, at, SEEK_DATA);
    off_t end;

    *hole_p = data != at && (data >= 0 || errno == ENXIO);
    end = *hole_p ? data : lseek(block->fd, at, SEEK_HOLE);
    if (end < 0 || (uint64_t)end - block->fd_offset_bytes > block->len_bytes)
        return block->len_bytes;
    return (uint64_t)end - block->fd_offset_bytes;
}

bool guest_ram_page_is_zero(const struct rmig_block *block, uint64_t offset_bytes)
{
    const uint8_t *page = (const uint8_t *)block->host + offset_bytes;

    return page[0] == 0 && memcmp(page, page + 1, RMIG_PAGE_BYTES - 1) == 0;
}

void guest_ram_release(struct guest_ram *ram)
{
    if (ram->base)
        munmap(ram->base, ram->mapped_bytes);
    if (ram->fd >= 0)
        close(ram->fd);
    for (uint32_t i = 0; i < ram->nblocks; i++)
        free((char *)(uintptr_t)ram->blocks[i].name);
    free(ram->blocks);
    free(ram->tail);
    guest_ram_init(ram);
}

uint64_t guest_ram_host_bytes(void)
{
    return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
}
