/* bench_guest.c -- the writing thread, and the check of what it wrote. */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/bench_guest.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <xxhash.h>

#include "tools/bench_parallel.h"
#include "tools/bench_units.h"

#define MAGIC 0x7473657567207361ull
#define TICK_NS 1000000u

/* The first bytes of a page that the guest wrote. */
struct stamp {
    uint64_t magic;
    uint64_t token;      /* of the session: content of an earlier one is no stamp */
    uint64_t sequence;   /* 1, 2, ...: of the write, not of the page */
    uint64_t page_index; /* over all blocks */
    uint64_t hash;       /* XXH3-64 of the page from here on, seeded with sequence ^ page_index */
};

#define BODY_BYTES (RMIG_PAGE_BYTES - sizeof(struct stamp))

struct bench_guest {
    const struct rmig_block *blocks;
    uint32_t nblocks;
    uint64_t rate_bytes_per_s;
    uint64_t set_pages;
    uint64_t token;
    uint64_t random;
    uint64_t *first_page; /* of each block, over all blocks */
    uint64_t *sequences;  /* of the last write to each page of the set, 0 = none */
    atomic_bool ending;
    atomic_uint_fast64_t written;
    pthread_t thread;
    bool running;
    struct rusage usage;
};

static void *find_page(const struct bench_guest *g, uint64_t page)
{
    uint32_t low = 0, high = g->nblocks; /* the last block that begins at or before page */

    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;

        if (g->first_page[middle] <= page)
            low = middle;
        else
            high = middle;
    }
    return (uint8_t *)g->blocks[low].host + (page - g->first_page[low]) * RMIG_PAGE_BYTES;
}

static void write_page(struct bench_guest *g, uint64_t page, uint64_t sequence)
{
    uint64_t content[RMIG_PAGE_BYTES / sizeof(uint64_t)];
    struct stamp stamp = {
        .magic = MAGIC, .token = g->token, .sequence = sequence, .page_index = page};
    uint8_t *body = (uint8_t *)content + sizeof(stamp);

    bench_ram_fill_page(content, g->token ^ sequence, page);
    stamp.hash = XXH3_64bits_withSeed(body, BODY_BYTES, sequence ^ page);
    memcpy(content, &stamp, sizeof(stamp));
    memcpy(find_page(g, page), content, sizeof(content));
    g->sequences[page] = sequence;
    atomic_store_explicit(&g->written, sequence, memory_order_relaxed);
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void *write_pages(void *opaque)
{
    struct bench_guest *g = opaque;
    uint64_t first = atomic_load(&g->written), sequence = first;
    uint64_t began_ns = bench_now_ns();

    while (!atomic_load_explicit(&g->ending, memory_order_relaxed)) {
        double due = (double)(bench_now_ns() - began_ns) / 1e9 * (double)g->rate_bytes_per_s /
                     RMIG_PAGE_BYTES;
        struct timespec tick = {.tv_nsec = TICK_NS};

        while ((double)(sequence - first) < due &&
               !atomic_load_explicit(&g->ending, memory_order_relaxed)) {
            sequence++;
            write_page(g, next_random(&g->random) % g->set_pages, sequence);
        }
        nanosleep(&tick, NULL);
    }
    getrusage(RUSAGE_THREAD, &g->usage);
    return NULL;
}

int bench_guest_start(struct bench_guest *g, struct rmig_err *err)
{
    sigset_t set, old;
    int rc;

    atomic_store(&g->ending, false);
    sigfillset(&set);
    sigdelset(&set, SIGSEGV); /* a tracker may need it */
    pthread_sigmask(SIG_SETMASK, &set, &old);
    rc = pthread_create(&g->thread, NULL, write_pages, g);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc)
        return rmig_err_set(err, -rc, "guest: no thread: %s", strerror(rc));
    g->running = true;
    return 0;
}

int bench_guest_new(const struct rmig_block *blocks, uint32_t nblocks, uint64_t token,
                    uint64_t rate_bytes_per_s, uint64_t set_bytes, struct bench_guest **guest_p,
                    struct rmig_err *err)
{
    struct bench_guest *g = calloc(1, sizeof(*g));
    uint64_t npages = 0;

    if (!g)
        return rmig_err_set(err, -ENOMEM, "guest: out of memory");
    *g = (struct bench_guest){.blocks = blocks, .nblocks = nblocks, .token = token};
    g->random = token | 1; /* never 0, which xorshift would stay at */
    g->rate_bytes_per_s = rate_bytes_per_s;
    g->first_page = calloc(nblocks, sizeof(*g->first_page));
    for (uint32_t i = 0; g->first_page && i < nblocks; i++) {
        g->first_page[i] = npages;
        npages += blocks[i].len_bytes / RMIG_PAGE_BYTES;
    }
    g->set_pages = set_bytes / RMIG_PAGE_BYTES;
    if (g->set_pages == 0 || g->set_pages > npages)
        g->set_pages = npages;
    g->sequences = calloc(g->set_pages, sizeof(*g->sequences));
    if (!g->first_page || !g->sequences) {
        bench_guest_free(g);
        return rmig_err_set(err, -ENOMEM, "guest: out of memory");
    }
    *guest_p = g;
    return 0;
}

void bench_guest_stop(struct bench_guest *guest)
{
    if (!guest->running)
        return;
    atomic_store(&guest->ending, true);
    pthread_join(guest->thread, NULL);
    guest->running = false;
}

uint64_t bench_guest_written_pages(const struct bench_guest *guest)
{
    return atomic_load_explicit(&guest->written, memory_order_relaxed);
}

void bench_guest_cpu(const struct bench_guest *guest, double *user_s_p, double *system_s_p)
{
    const struct timeval *user = &guest->usage.ru_utime, *sys = &guest->usage.ru_stime;

    *user_s_p = (double)user->tv_sec + (double)user->tv_usec / 1e6;
    *system_s_p = (double)sys->tv_sec + (double)sys->tv_usec / 1e6;
}

void bench_guest_expect(const struct bench_guest *guest, struct bench_stamps *stamps_p)
{
    struct bench_stamps s = {0};

    for (uint64_t page = 0; page < guest->set_pages; page++) {
        uint64_t sequence = guest->sequences[page];

        s.stamped_pages += sequence != 0;
        s.sum_sequences += sequence;
        if (sequence > s.newest_sequence)
            s.newest_sequence = sequence;
    }
    *stamps_p = s;
}

void bench_guest_free(struct bench_guest *guest)
{
    if (!guest)
        return;
    bench_guest_stop(guest);
    free(guest->first_page);
    free(guest->sequences);
    free(guest);
}

/* --- reading them back --------------------------------------------------------------------------
 */

#define UNIT_PAGES 1024u

struct reader {
    const struct rmig_block *block;
    uint64_t first_page;
    uint64_t token;
    pthread_mutex_t lock;
    struct bench_stamps found;
};

static void read_page(const uint8_t *page, uint64_t index, uint64_t token, struct bench_stamps *s)
{
    struct stamp stamp;

    memcpy(&stamp, page, sizeof(stamp));
    if (stamp.magic != MAGIC || stamp.token != token)
        return;
    s->stamped_pages++;
    if (stamp.page_index != index ||
        stamp.hash != XXH3_64bits_withSeed(page + sizeof(stamp), BODY_BYTES,
                                           stamp.sequence ^ stamp.page_index)) {
        s->torn_pages++;
        return;
    }
    s->sum_sequences += stamp.sequence;
    if (stamp.sequence > s->newest_sequence)
        s->newest_sequence = stamp.sequence;
}

static void read_unit(void *opaque, uint64_t unit)
{
    struct reader *r = opaque;
    uint64_t npages = r->block->len_bytes / RMIG_PAGE_BYTES, page = unit * UNIT_PAGES;
    uint64_t end = page + UNIT_PAGES < npages ? page + UNIT_PAGES : npages;
    struct bench_stamps s = {0};

    for (; page < end; page++)
        read_page((const uint8_t *)r->block->host + page * RMIG_PAGE_BYTES, r->first_page + page,
                  r->token, &s);
    pthread_mutex_lock(&r->lock);
    r->found.stamped_pages += s.stamped_pages;
    r->found.torn_pages += s.torn_pages;
    r->found.sum_sequences += s.sum_sequences;
    if (s.newest_sequence > r->found.newest_sequence)
        r->found.newest_sequence = s.newest_sequence;
    pthread_mutex_unlock(&r->lock);
}

void bench_stamps_read(const struct bench_ram *ram, uint64_t token, struct bench_stamps *stamps_p)
{
    struct reader r = {.token = token, .lock = PTHREAD_MUTEX_INITIALIZER};

    for (uint32_t i = 0; i < ram->nblocks; i++) {
        uint64_t npages = ram->blocks[i].len_bytes / RMIG_PAGE_BYTES;

        r.block = &ram->blocks[i];
        bench_parallel((npages + UNIT_PAGES - 1) / UNIT_PAGES, read_unit, &r, NULL);
        r.first_page += npages;
    }
    *stamps_p = r.found;
}
