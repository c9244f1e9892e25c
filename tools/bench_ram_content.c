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
#define COPY_BYTES (256 << 10)

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
    struct maker m = {.params = params};

    for (uint32_t i = 0; i < ram->nblocks; i++) {
        m.block = &ram->blocks[i];
        if (!bench_parallel((m.block->len_bytes + UNIT_BYTES - 1) / UNIT_BYTES, make_unit, &m,
                            stop))
            return rmig_err_set(err, -ECANCELED, "cancelled");
        m.first_page += m.block->len_bytes / RMIG_PAGE_BYTES;
    }
    return 0;
}

/* --- a file's content ------------------------------------------------------------------------- */

/* What is done with the data of a file, in units and on all CPUs. */
struct walk {
    int fd;
    off_t from, end; /* the data at hand */
    struct rmig_cancel *stop;
    atomic_int error;
    int to;                        /* of a copy: the memfd */
    const struct rmig_block *block; /* of a touch */
};

static void unit_range(const struct walk *w, uint64_t unit, off_t *at_p, off_t *end_p)
{
    *at_p = w->from + (off_t)(unit * UNIT_BYTES);
    *end_p = w->end - *at_p > (off_t)UNIT_BYTES ? *at_p + (off_t)UNIT_BYTES : w->end;
}

/* Calls fn for the units of [start, end) that hold data; holes are passed over. Returns: 0 or an errno. */
static int each_extent(struct walk *w, off_t start, off_t end, bench_unit_fn fn)
{
    for (off_t at = start; at < end && atomic_load(&w->error) == 0; at = w->end) {
        w->from = lseek(w->fd, at, SEEK_DATA);
        if ((w->from < 0 && errno == ENXIO) || w->from >= end)
            return 0; /* a hole to the end */
        if (w->from < 0)
            w->from = at; /* no holes on this file system */
        w->end = lseek(w->fd, w->from, SEEK_HOLE);
        if (w->end <= w->from || w->end > end)
            w->end = end;
        if (!bench_parallel(((uint64_t)(w->end - w->from) + UNIT_BYTES - 1) / UNIT_BYTES, fn, w,
                            w->stop))
            return ECANCELED;
    }
    return atomic_load(&w->error);
}

/* By way of a buffer that stays in the cache: the memfd's pages are allocated with what belongs in them. */
static void copy_unit(void *opaque, uint64_t unit)
{
    struct walk *w = opaque;
    uint8_t buffer[COPY_BYTES];
    off_t at, end;

    unit_range(w, unit, &at, &end);
    while (at < end) {
        size_t want = end - at > COPY_BYTES ? COPY_BYTES : (size_t)(end - at);
        ssize_t n = pread(w->fd, buffer, want, at);

        if (n == 0)
            errno = ENODATA;
        else if (n > 0)
            n = pwrite(w->to, buffer, (size_t)n, at);
        if (n <= 0) {
            atomic_store(&w->error, errno);
            return;
        }
        at += n;
    }
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

static int open_file(const struct bench_params *params, struct stat *st, struct rmig_err *err)
{
    const char *path = params->ram_file;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), rc;

    if (fd < 0)
        return rmig_err_set(err, -EINVAL, "--ram: cannot read %.128s: %s", path, strerror(errno));
    if (fstat(fd, st) < 0)
        rc = rmig_err_set(err, -EINVAL, "--ram: %.128s: %s", path, strerror(errno));
    else
        rc = check_file(st, path, params->nblocks, err);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    return fd;
}

int bench_content_size(const struct bench_params *params, uint64_t *total_bytes_p,
                       struct rmig_err *err)
{
    double touched = params->zero_holes ? 1 - params->zero_fraction : 1;
    struct stat st;
    int fd;

    *total_bytes_p = params->size_bytes;
    if (!params->ram_file[0])
        return check_room((uint64_t)((double)params->size_bytes * touched), err);
    fd = open_file(params, &st, err);
    if (fd < 0)
        return fd;
    close(fd);
    *total_bytes_p = (uint64_t)st.st_size;
    return 0;
}

static int copy_error(const char *path, int error, struct rmig_err *err)
{
    if (error == ECANCELED)
        return rmig_err_set(err, -ECANCELED, "cancelled");
    return rmig_err_set(err, -EINVAL, "--ram: %.128s: %s", path,
                        error == ENODATA ? "its size changed meanwhile" : strerror(error));
}

/* A byte a page is read, as by a guest that has run. */
static void touch_unit(void *opaque, uint64_t unit)
{
    const struct walk *w = opaque;
    const uint8_t *host = w->block->host;
    off_t at, end;

    unit_range(w, unit, &at, &end);
    for (; at < end; at += RMIG_PAGE_BYTES)
        (void)*(const volatile uint8_t *)(host + (at - (off_t)w->block->fd_offset_bytes));
}

int bench_content_load(struct bench_ram *ram, const struct bench_params *params,
                       struct rmig_cancel *stop, struct rmig_err *err)
{
    struct walk copy = {.stop = stop, .to = ram->fd};
    struct stat st;
    int error;

    copy.fd = open_file(params, &st, err);
    if (copy.fd < 0)
        return copy.fd;
    error = (uint64_t)st.st_size == ram->total_bytes
                ? each_extent(&copy, 0, st.st_size, copy_unit)
                : ENODATA;
    close(copy.fd);
    for (uint32_t i = 0; error == 0 && i < ram->nblocks; i++) {
        const struct rmig_block *block = &ram->blocks[i];
        struct walk touch = {.fd = ram->fd, .stop = stop, .block = block};
        off_t start = (off_t)block->fd_offset_bytes;

        error = each_extent(&touch, start, start + (off_t)block->len_bytes, touch_unit);
    }
    return error ? copy_error(params->ram_file, error, err) : 0;
}
