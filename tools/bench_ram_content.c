/* bench_ram_content.c -- fills the source's RAM from a file or with made-up pages. */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/bench_ram_content.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/bench_parallel.h"
#include "tools/bench_units.h"

#define UNIT_BYTES (4u << 20)

/* splitmix64: each output depends on a counter alone, so that the pages can be made in any order.
 */
static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9ull;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

void bench_ram_fill_page(void *page, uint64_t seed, uint64_t page_index)
{
    uint64_t *words = page;
    uint64_t base = mix(seed ^ mix(page_index + 0x9e3779b97f4a7c15ull));

    for (uint64_t i = 0; i < RMIG_PAGE_BYTES / sizeof(*words); i++)
        words[i] = mix(base + i * 0x9e3779b97f4a7c15ull);
    words[0] |= 1; /* never an all-zero page */
}

struct maker {
    const struct bench_params *params;
    const struct rmig_block *block;
    uint64_t first_page; /* of the block, counted over all blocks */
};

static void make_page(const struct maker *m, uint64_t page)
{
    uint8_t *p = (uint8_t *)m->block->host + page * RMIG_PAGE_BYTES;
    uint64_t index = m->first_page + page;
    double draw = (double)(mix(m->params->seed + mix(index)) >> 11) * 0x1p-53;

    if (draw >= m->params->zero_fraction)
        bench_ram_fill_page(p, m->params->seed, index);
    else if (!m->params->zero_holes)
        *(volatile uint8_t *)p = 0; /* the page exists, as one that the guest has cleared */
}

static void make_unit(void *opaque, uint64_t unit)
{
    const struct maker *m = opaque;
    uint64_t per_unit = UNIT_BYTES / RMIG_PAGE_BYTES;
    uint64_t npages = m->block->len_bytes / RMIG_PAGE_BYTES;
    uint64_t end = (unit + 1) * per_unit < npages ? (unit + 1) * per_unit : npages;

    for (uint64_t page = unit * per_unit; page < end; page++)
        make_page(m, page);
}

/* A memfd takes memory as it is touched; where there is none left the touch would be a SIGBUS. */
static int check_room(uint64_t bytes, struct rmig_err *err)
{
    uint64_t available = bench_ram_available_bytes();
    char need[32], have[32];

    if (available == 0 || bytes <= available)
        return 0;
    return rmig_err_set(err, -ENOMEM, "RAM of %s: only %s of memory is available",
                        bench_format_size(need, sizeof(need), bytes),
                        bench_format_size(have, sizeof(have), available));
}

int bench_content_make(struct bench_ram *ram, const struct bench_params *params,
                       struct rmig_cancel *stop, struct rmig_err *err)
{
    double touched = params->zero_holes ? 1 - params->zero_fraction : 1;
    int rc = check_room((uint64_t)((double)ram->total_bytes * touched), err);
    struct maker m = {.params = params};

    for (uint32_t i = 0; rc == 0 && i < ram->nblocks; i++) {
        m.block = &ram->blocks[i];
        if (!bench_parallel((m.block->len_bytes + UNIT_BYTES - 1) / UNIT_BYTES, make_unit, &m,
                            stop))
            rc = rmig_err_set(err, -ECANCELED, "cancelled");
        m.first_page += m.block->len_bytes / RMIG_PAGE_BYTES;
    }
    return rc;
}

/* A file on its way into the memfd, mapped. */
struct loader {
    int fd;
    uint8_t *to;
    off_t from, end; /* of the extent at hand */
    struct rmig_cancel *stop;
    atomic_int error;
};

static void load_unit(void *opaque, uint64_t unit)
{
    struct loader *l = opaque;
    off_t at = l->from + (off_t)unit * UNIT_BYTES;
    off_t end = l->end - at > (off_t)UNIT_BYTES ? at + (off_t)UNIT_BYTES : l->end;

    while (at < end) {
        ssize_t n = pread(l->fd, l->to + at, (size_t)(end - at), at);

        if (n <= 0) {
            atomic_store(&l->error, n < 0 ? errno : ENODATA);
            return;
        }
        at += n;
    }
}

/* Extent by extent: what the file has no data for stays a hole. */
static int load_extents(struct loader *l, off_t size)
{
    for (off_t at = 0; at < size && atomic_load(&l->error) == 0; at = l->end) {
        l->from = lseek(l->fd, at, SEEK_DATA);
        if (l->from < 0 && errno == ENXIO)
            return 0; /* a hole to the end */
        if (l->from < 0)
            l->from = at; /* no holes on this file system */
        l->end = lseek(l->fd, l->from, SEEK_HOLE);
        if (l->end <= l->from || l->end > size)
            l->end = size;
        if (!bench_parallel(((uint64_t)(l->end - l->from) + UNIT_BYTES - 1) / UNIT_BYTES, load_unit,
                            l, l->stop))
            return ECANCELED;
    }
    return atomic_load(&l->error);
}

static int load_data(int memfd, int fd, const char *path, off_t size, struct rmig_cancel *stop,
                     struct rmig_err *err)
{
    struct loader l = {.fd = fd, .stop = stop};
    int rc;

    l.to = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
    if (l.to == MAP_FAILED)
        return rmig_err_set(err, -ENOMEM, "--ram: cannot map the content of %.128s: %s", path,
                            strerror(errno));
    rc = load_extents(&l, size);
    munmap(l.to, (size_t)size);
    if (rc == ECANCELED)
        return rmig_err_set(err, -ECANCELED, "cancelled");
    if (rc)
        return rmig_err_set(err, -EINVAL, "--ram: %.128s: %s", path,
                            rc == ENODATA ? "became shorter while it was read" : strerror(rc));
    return 0;
}

static int check_file(const struct stat *st, const char *path, uint32_t nblocks,
                      struct rmig_err *err)
{
    if (!S_ISREG(st->st_mode))
        return rmig_err_set(err, -EINVAL, "--ram: %.128s is not a regular file", path);
    if (st->st_size == 0)
        return rmig_err_set(err, -EINVAL, "--ram: %.128s is empty", path);
    if (st->st_size % RMIG_PAGE_BYTES)
        return rmig_err_set(
            err, -EINVAL, "--ram: %.128s has %lld bytes, which is no multiple of the page size, %u",
            path, (long long)st->st_size, RMIG_PAGE_BYTES);
    if ((uint64_t)st->st_size / RMIG_PAGE_BYTES < nblocks)
        return rmig_err_set(err, -EINVAL,
                            "--ram: %.128s has fewer pages than --blocks asks for, %u", path,
                            nblocks);
    return check_room((uint64_t)st->st_blocks * 512, err);
}

int bench_content_load(int memfd, const struct bench_params *params, struct rmig_cancel *stop,
                       uint64_t *total_bytes_p, struct rmig_err *err)
{
    const char *path = params->ram_file;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    int rc;

    if (fd < 0)
        return rmig_err_set(err, -EINVAL, "--ram: cannot read %.128s: %s", path, strerror(errno));
    if (fstat(fd, &st) < 0)
        rc = rmig_err_set(err, -EINVAL, "--ram: %.128s: %s", path, strerror(errno));
    else
        rc = check_file(&st, path, params->nblocks, err);
    if (rc == 0 && ftruncate(memfd, st.st_size) < 0)
        rc = rmig_err_set(err, -ENOMEM, "--ram: no memory for %.128s: %s", path, strerror(errno));
    if (rc == 0)
        rc = load_data(memfd, fd, path, st.st_size, stop, err);
    close(fd);
    if (rc == 0)
        *total_bytes_p = (uint64_t)st.st_size;
    return rc;
}

/* --- memory in use ---------------------------------------------------------------------------- */

/* Extents of one unit of a block: its data is read, a byte a page; its holes stay. */
static void touch_unit(void *opaque, uint64_t unit)
{
    const struct rmig_block *block = opaque;
    off_t base = (off_t)block->fd_offset_bytes, at = base + (off_t)(unit * UNIT_BYTES);
    off_t end = base + (off_t)block->len_bytes;

    if (end - at > (off_t)UNIT_BYTES)
        end = at + (off_t)UNIT_BYTES;
    while (at < end) {
        off_t hole;

        at = lseek(block->fd, at, SEEK_DATA);
        if (at < 0 || at >= end)
            return;
        hole = lseek(block->fd, at, SEEK_HOLE);
        for (; at < hole && at < end; at += RMIG_PAGE_BYTES)
            (void)*(const volatile uint8_t *)((const uint8_t *)block->host + (at - base));
    }
}

int bench_content_touch(struct bench_ram *ram, struct rmig_cancel *stop, struct rmig_err *err)
{
    for (uint32_t i = 0; i < ram->nblocks; i++)
        if (!bench_parallel((ram->blocks[i].len_bytes + UNIT_BYTES - 1) / UNIT_BYTES, touch_unit,
                            &ram->blocks[i], stop))
            return rmig_err_set(err, -ECANCELED, "cancelled");
    return 0;
}
