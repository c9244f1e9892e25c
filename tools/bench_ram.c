/* bench_ram.c -- maps the guest RAM of both ends. */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/bench_ram.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tools/bench_ram_content.h"
#include "tools/bench_units.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define HUGE_BYTES (2ull << 20)
/* Between two of them a stop is noticed. */
#define POPULATE_STEP_BYTES (64u << 20)

static uint64_t alignment(uint64_t len_bytes)
{
    return len_bytes >= HUGE_BYTES ? HUGE_BYTES : RMIG_PAGE_BYTES;
}

/*
 * Reserve an area and place the blocks in it, each on a huge page boundary where it is large, with
 * an unmapped stretch behind it: a write that leaves its block is not to land in the next one.
 */
static int place(struct rmig_block *blocks, uint32_t nblocks, void **area_p, uint64_t *bytes_p,
                 struct rmig_err *err)
{
    uint64_t bytes = HUGE_BYTES, at;
    void *area;

    for (uint32_t i = 0; i < nblocks; i++)
        bytes += blocks[i].len_bytes + 2 * alignment(blocks[i].len_bytes);
    area = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (area == MAP_FAILED)
        return rmig_err_set(err, -errno, "cannot reserve %llu bytes of address space: %s",
                            (unsigned long long)bytes, strerror(errno));
    at = (uintptr_t)area;
    for (uint32_t i = 0; i < nblocks; i++) {
        uint64_t align = alignment(blocks[i].len_bytes);

        at = (at + align - 1) & ~(align - 1);
        blocks[i].host = (void *)(uintptr_t)at;
        at += blocks[i].len_bytes + RMIG_PAGE_BYTES;
    }
    *area_p = area;
    *bytes_p = bytes;
    return 0;
}

static int map_blocks(struct rmig_block *blocks, uint32_t nblocks, int fd, struct rmig_err *err)
{
    int flags = MAP_FIXED | MAP_NORESERVE | (fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS);

    for (uint32_t i = 0; i < nblocks; i++) {
        struct rmig_block *b = &blocks[i];

        if (mmap(b->host, b->len_bytes, PROT_READ | PROT_WRITE, flags, fd,
                 fd >= 0 ? (off_t)b->fd_offset_bytes : 0) == MAP_FAILED)
            return rmig_err_set(err, -errno, "cannot map %llu bytes for RAM block %s: %s",
                                (unsigned long long)b->len_bytes, b->name, strerror(errno));
        if (fd < 0) /* fewer faults and fewer pages to pin; without it all works as well */
            (void)madvise(b->host, b->len_bytes, MADV_HUGEPAGE);
    }
    return 0;
}

static int make_table(struct bench_ram *ram, const uint64_t *lens_bytes, uint32_t nblocks, int fd,
                      struct rmig_err *err)
{
    uint64_t offset = 0;

    *ram = (struct bench_ram){.nblocks = nblocks, .fd = fd};
    ram->blocks = calloc(nblocks, sizeof(*ram->blocks));
    ram->names = calloc(nblocks, sizeof(*ram->names));
    if (!ram->blocks || !ram->names)
        return rmig_err_set(err, -ENOMEM, "RAM: out of memory for %u blocks", nblocks);
    for (uint32_t i = 0; i < nblocks; i++) {
        snprintf(ram->names[i], sizeof(ram->names[i]), "bench.ram%u", i);
        ram->blocks[i] = (struct rmig_block){.name = ram->names[i],
                                             .len_bytes = lens_bytes[i],
                                             .page_bytes = RMIG_PAGE_BYTES,
                                             .fd = fd,
                                             .fd_offset_bytes = fd >= 0 ? offset : 0};
        offset += lens_bytes[i];
    }
    ram->total_bytes = offset;
    return 0;
}

static int map_table(struct bench_ram *ram, struct rmig_err *err)
{
    int rc = place(ram->blocks, ram->nblocks, &ram->area, &ram->area_bytes, err);

    return rc < 0 ? rc : map_blocks(ram->blocks, ram->nblocks, ram->fd, err);
}

/* Equal blocks; the last one takes the pages that are left over. */
static uint64_t *split(uint64_t total_bytes, uint32_t nblocks)
{
    uint64_t *lens = calloc(nblocks, sizeof(*lens));
    uint64_t each = total_bytes / RMIG_PAGE_BYTES / nblocks * RMIG_PAGE_BYTES;

    for (uint32_t i = 0; lens && i < nblocks; i++)
        lens[i] = i + 1 < nblocks ? each : total_bytes - each * (nblocks - 1);
    return lens;
}

static int map_source(struct bench_ram *ram, uint64_t total_bytes, uint32_t nblocks, int fd,
                      struct rmig_err *err)
{
    uint64_t *lens = split(total_bytes, nblocks);
    int rc;

    if (!lens) {
        close(fd);
        return rmig_err_set(err, -ENOMEM, "RAM: out of memory for %u blocks", nblocks);
    }
    rc = make_table(ram, lens, nblocks, fd, err);
    free(lens);
    if (rc == 0)
        rc = map_table(ram, err);
    if (rc < 0)
        bench_ram_release(ram);
    return rc;
}

int bench_ram_source(struct bench_ram *ram, const struct bench_params *params,
                     struct rmig_err *err)
{
    uint64_t total_bytes;
    int rc = bench_content_size(params, &total_bytes, err), fd;

    if (rc < 0)
        return rc;
    fd = memfd_create("bench-ram", MFD_CLOEXEC);
    if (fd < 0)
        return rmig_err_set(err, -errno, "memfd_create: %s", strerror(errno));
    if (ftruncate(fd, (off_t)total_bytes) < 0) {
        rc = rmig_err_set(err, -errno, "memfd of %llu bytes: %s", (unsigned long long)total_bytes,
                          strerror(errno));
        close(fd);
        return rc;
    }
    return map_source(ram, total_bytes, params->nblocks, fd, err);
}

int bench_ram_fill(struct bench_ram *ram, const struct bench_params *params,
                   struct rmig_cancel *stop, struct rmig_err *err)
{
    return params->ram_file[0] ? bench_content_load(ram, params, stop, err)
                               : bench_content_make(ram, params, stop, err);
}

int bench_ram_destination(struct bench_ram *ram, const uint64_t *lens_bytes, uint32_t nblocks,
                          bool shared, struct rmig_err *err)
{
    int fd = shared ? memfd_create("bench-ram", MFD_CLOEXEC) : -1;
    int rc;

    if (shared && fd < 0)
        return rmig_err_set(err, -errno, "memfd_create: %s", strerror(errno));
    rc = make_table(ram, lens_bytes, nblocks, fd, err);
    if (rc == 0 && shared && ftruncate(fd, (off_t)ram->total_bytes) < 0)
        rc = rmig_err_set(err, -errno, "memfd of %llu bytes: %s",
                          (unsigned long long)ram->total_bytes, strerror(errno));
    if (rc == 0)
        rc = map_table(ram, err);
    if (rc < 0)
        bench_ram_release(ram);
    return rc;
}

int bench_ram_populate(struct bench_ram *ram, struct rmig_cancel *stop, struct rmig_err *err)
{
    for (uint32_t i = 0; i < ram->nblocks; i++) {
        const struct rmig_block *block = &ram->blocks[i];

        for (uint64_t at = 0; at < block->len_bytes; at += POPULATE_STEP_BYTES) {
            uint64_t left = block->len_bytes - at;

            if (rmig_cancel_triggered(stop))
                return rmig_err_set(err, -ECANCELED, "cancelled");
            if (madvise((uint8_t *)block->host + at,
                        left < POPULATE_STEP_BYTES ? left : POPULATE_STEP_BYTES,
                        MADV_POPULATE_WRITE) == 0)
                continue;
            return errno == EINVAL
                       ? rmig_err_set(err, -ENOTSUP, "--prealloc: this kernel cannot; Linux 5.14 can")
                       : rmig_err_set(err, -ENOMEM, "--prealloc: %s after %llu of %llu bytes",
                                      strerror(errno), (unsigned long long)at,
                                      (unsigned long long)block->len_bytes);
        }
    }
    return 0;
}

int bench_ram_map_guest(struct bench_ram *ram, struct rmig_err *err)
{
    int rc;

    ram->guest = calloc(ram->nblocks, sizeof(*ram->guest));
    if (!ram->guest)
        return rmig_err_set(err, -ENOMEM, "RAM: out of memory for %u blocks", ram->nblocks);
    memcpy(ram->guest, ram->blocks, ram->nblocks * sizeof(*ram->guest));
    rc = place(ram->guest, ram->nblocks, &ram->guest_area, &ram->guest_area_bytes, err);
    return rc < 0 ? rc : map_blocks(ram->guest, ram->nblocks, ram->fd, err);
}

void bench_ram_release(struct bench_ram *ram)
{
    if (ram->area)
        munmap(ram->area, ram->area_bytes);
    if (ram->guest_area)
        munmap(ram->guest_area, ram->guest_area_bytes);
    if (ram->blocks && ram->fd >= 0)
        close(ram->fd);
    free(ram->blocks);
    free(ram->guest);
    free(ram->names);
    *ram = (struct bench_ram){.fd = -1};
}

uint64_t bench_ram_available_bytes(void)
{
    unsigned long long kib = 0;
    char line[128];
    FILE *f = fopen("/proc/meminfo", "re");

    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
            break;
    if (f)
        fclose(f);
    return (uint64_t)kib << 10;
}
