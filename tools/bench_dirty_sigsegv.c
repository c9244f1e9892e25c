/* bench_dirty_sigsegv.c -- dirty tracking by mprotect: the first write to a page is a SIGSEGV. */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/bench_dirty_sigsegv.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGES_PER_WORD 64u
/*
 * Each writable page amid protected ones costs two mappings, and the kernel allows 65530 in all
 * (vm.max_map_count). Beyond this many, a fault opens a whole region instead.
 */
#define ISLANDS_MAX 16384u
#define REGION_BYTES (2u << 20)

struct tracked {
    uint64_t *map; /* bit = page writable, and so perhaps written, since the last sync */
    uint64_t nwords;
};

struct sigsegv {
    struct rmig_dirty base;
    struct tracked *tracked;
    uint32_t nislands;
    bool started;
    struct sigaction old;
    /* Held over "note, then open" in the handler and over "collect, then protect" in sync. */
    atomic_flag lock;
};

static struct sigsegv *active; /* the handler's only argument */

static void lock(struct sigsegv *s)
{
    while (atomic_flag_test_and_set_explicit(&s->lock, memory_order_acquire))
        sched_yield(); /* a plain system call, so that one CPU makes progress too */
}

static void unlock(struct sigsegv *s)
{
    atomic_flag_clear_explicit(&s->lock, memory_order_release);
}

static void note_pages(struct tracked *t, uint64_t first, uint64_t count)
{
    for (uint64_t page = first; page < first + count; page++)
        t->map[page / PAGES_PER_WORD] |= 1ull << page % PAGES_PER_WORD;
}

/* Note and open [offset, offset + len). Returns false if the kernel refuses. */
static bool open_range(struct sigsegv *s, uint32_t index, uint64_t offset, uint64_t len)
{
    const struct rmig_block *b = &s->base.blocks[index];

    if (mprotect((uint8_t *)b->host + offset, len, PROT_READ | PROT_WRITE) < 0)
        return false;
    note_pages(&s->tracked[index], offset / RMIG_PAGE_BYTES, len / RMIG_PAGE_BYTES);
    return true;
}

/*
 * The order "open, then note" is safe here: the lock keeps sync out, and the writer, on this
 * thread, writes after the handler returns.
 */
static bool open_page(struct sigsegv *s, uint32_t index, uint64_t offset)
{
    const struct rmig_block *b = &s->base.blocks[index];
    uint64_t page = offset & ~(b->page_bytes - 1);
    uint64_t region = offset & ~(uint64_t)(REGION_BYTES - 1);
    uint64_t region_len = b->len_bytes - region;

    if (s->nislands < ISLANDS_MAX && open_range(s, index, page, b->page_bytes)) {
        s->nislands++;
        return true;
    }
    if (region_len > REGION_BYTES)
        region_len = REGION_BYTES;
    if (b->page_bytes <= REGION_BYTES && open_range(s, index, region, region_len))
        return true;
    return open_range(s, index, 0, b->len_bytes);
}

static void on_sigsegv(int signo, siginfo_t *info, void *context)
{
    struct sigsegv *s = active;
    uintptr_t address = (uintptr_t)info->si_addr;
    int saved_errno = errno;

    (void)context;
    for (uint32_t i = 0; s && i < s->base.nblocks; i++) {
        uintptr_t start = (uintptr_t)s->base.blocks[i].host;
        bool opened;

        if (address < start || address - start >= s->base.blocks[i].len_bytes)
            continue;
        lock(s);
        opened = open_page(s, i, address - start);
        unlock(s);
        if (!opened)
            break;
        errno = saved_errno;
        return;
    }
    /* Not ours: the handler that was there gets the fault when the instruction runs again. */
    if (s)
        sigaction(signo, &s->old, NULL);
    else
        signal(signo, SIG_DFL);
    errno = saved_errno;
}

static int protect_all(struct sigsegv *s, int prot, struct rmig_err *err)
{
    for (uint32_t i = 0; i < s->base.nblocks; i++) {
        const struct rmig_block *b = &s->base.blocks[i];

        if (mprotect(b->host, b->len_bytes, prot) < 0)
            return rmig_err_set(err, -errno, "dirty tracking: mprotect of RAM block %.64s: %s",
                                b->name, strerror(errno));
    }
    return 0;
}

static void stop(struct rmig_dirty *dirty)
{
    struct sigsegv *s = (struct sigsegv *)dirty;

    if (!s->started)
        return;
    (void)protect_all(s, PROT_READ | PROT_WRITE, NULL);
    sigaction(SIGSEGV, &s->old, NULL);
    active = NULL;
    s->started = false;
}

static int start(struct rmig_dirty *dirty, struct rmig_err *err)
{
    struct sigsegv *s = (struct sigsegv *)dirty;
    struct sigaction sa = {.sa_sigaction = on_sigsegv, .sa_flags = SA_SIGINFO | SA_RESTART};
    int rc;

    for (uint32_t i = 0; i < dirty->nblocks; i++)
        memset(s->tracked[i].map, 0, s->tracked[i].nwords * sizeof(*s->tracked[i].map));
    s->nislands = 0;
    sigfillset(&sa.sa_mask);
    active = s;
    if (sigaction(SIGSEGV, &sa, &s->old) < 0)
        return rmig_err_set(err, -errno, "dirty tracking: SIGSEGV: %s", strerror(errno));
    s->started = true;
    rc = protect_all(s, PROT_READ, err);
    if (rc < 0)
        stop(dirty);
    return rc;
}

static bool is_set(const struct tracked *t, uint64_t page)
{
    return t->map[page / PAGES_PER_WORD] >> page % PAGES_PER_WORD & 1;
}

/* The next run of noted pages at or after *first_p, up to npages. */
static bool next_run(const struct tracked *t, uint64_t npages, uint64_t *first_p, uint64_t *end_p)
{
    uint64_t page = *first_p, end;

    while (page < npages && !is_set(t, page))
        page = t->map[page / PAGES_PER_WORD] >> page % PAGES_PER_WORD
                   ? page + 1
                   : (page / PAGES_PER_WORD + 1) * PAGES_PER_WORD;
    if (page >= npages)
        return false;
    for (end = page; end < npages && is_set(t, end);)
        end++;
    *first_p = page;
    *end_p = end;
    return true;
}

/*
 * One mprotect of the whole block, lock held, costs the writers a short wait and the kernel one
 * walk; page by page would split and merge mappings thousands of times.
 */
static int sync_block(struct sigsegv *s, uint32_t index, rmig_dirty_fn fn, void *opaque,
                      struct rmig_err *err)
{
    const struct rmig_block *b = &s->base.blocks[index];
    struct tracked *t = &s->tracked[index];
    uint64_t npages = b->len_bytes / RMIG_PAGE_BYTES, first = 0, end = 0;

    if (!next_run(t, npages, &first, &end))
        return 0;
    if (mprotect(b->host, b->len_bytes, PROT_READ) < 0)
        return rmig_err_set(err, -errno, "dirty tracking: mprotect of RAM block %.64s: %s", b->name,
                            strerror(errno));
    for (; next_run(t, npages, &first, &end); first = end) {
        struct rmig_run run = {.block_index = index,
                               .offset_bytes = first * RMIG_PAGE_BYTES,
                               .len_bytes = (end - first) * RMIG_PAGE_BYTES};
        int rc = fn(opaque, &run);

        if (rc < 0)
            return rc;
    }
    memset(t->map, 0, t->nwords * sizeof(*t->map));
    return 0;
}

static int sync_all(struct rmig_dirty *dirty, rmig_dirty_fn fn, void *opaque, struct rmig_err *err)
{
    struct sigsegv *s = (struct sigsegv *)dirty;
    int rc = 0;

    lock(s);
    for (uint32_t i = 0; rc == 0 && i < dirty->nblocks; i++)
        rc = sync_block(s, i, fn, opaque, err);
    s->nislands = 0;
    unlock(s);
    return rc;
}

static void free_tracker(struct rmig_dirty *dirty)
{
    struct sigsegv *s = (struct sigsegv *)dirty;

    for (uint32_t i = 0; s->tracked && i < dirty->nblocks; i++)
        free(s->tracked[i].map);
    free(s->tracked);
    free(s);
}

static const struct rmig_dirty_ops sigsegv_ops = {
    .name = "mprotect",
    .start = start,
    .sync = sync_all,
    .stop = stop,
    .free = free_tracker,
};

int bench_dirty_sigsegv_open(const struct rmig_block *blocks, uint32_t nblocks,
                             struct rmig_dirty **dirty_p, struct rmig_err *err)
{
    struct sigsegv *s = calloc(1, sizeof(*s));

    if (!s)
        return rmig_err_set(err, -ENOMEM, "dirty tracking: out of memory");
    s->base = (struct rmig_dirty){.ops = &sigsegv_ops, .blocks = blocks, .nblocks = nblocks};
    atomic_flag_clear(&s->lock);
    s->tracked = calloc(nblocks, sizeof(*s->tracked));
    for (uint32_t i = 0; s->tracked && i < nblocks; i++) {
        struct tracked *t = &s->tracked[i];

        t->nwords = (blocks[i].len_bytes / RMIG_PAGE_BYTES + PAGES_PER_WORD - 1) / PAGES_PER_WORD;
        t->map = calloc(t->nwords, sizeof(*t->map));
        if (!t->map) {
            free_tracker(&s->base);
            return rmig_err_set(err, -ENOMEM, "dirty tracking: no memory for a bitmap");
        }
    }
    if (!s->tracked) {
        free(s);
        return rmig_err_set(err, -ENOMEM, "dirty tracking: out of memory");
    }
    *dirty_p = &s->base;
    return 0;
}
