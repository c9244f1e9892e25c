/* dirty_uffd.c -- dirty tracking by userfaultfd write-protect and a thread that takes the faults.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "hooks/dirty_kinds.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/bitmap.h"
#include "hooks/dirty_userfault.h"

#define MESSAGES 64u
/* Protecting a few pages twice is cheaper than another call and another TLB flush. */
#define GAP_PAGES 32u

struct tracked {
    uint64_t *map; /* bit = page written and unprotected since the last sync */
    uint64_t npages;
};

struct uffd {
    struct rmig_dirty base;
    struct rmig_userfault uf;
    int wake_fd;
    bool running;
    pthread_t thread;
    /*
     * Held over "note, then unprotect" and over "collect, then protect". Were the two to mix, a
     * page could end up writable with no note.
     */
    pthread_mutex_t lock;
    struct tracked *tracked;
    uint32_t last_hit; /* block of the last fault: the first to look in */
};

static bool note_in_block(struct uffd *u, uint32_t index, uint64_t address)
{
    const struct rmig_block *b = &u->base.blocks[index];
    uint64_t start = (uintptr_t)b->host, offset;

    if (address < start || address - start >= b->len_bytes)
        return false;
    offset = (address - start) & ~(b->page_bytes - 1);
    rmig_bitmap_set(u->tracked[index].map, offset / RMIG_PAGE_BYTES,
                    b->page_bytes / RMIG_PAGE_BYTES);
    (void)rmig_userfault_protect(&u->uf, (uint8_t *)b->host + offset, b->page_bytes, false);
    u->last_hit = index;
    return true;
}

static void note_fault(struct uffd *u, uint64_t address)
{
    if (note_in_block(u, u->last_hit, address))
        return;
    for (uint32_t i = 0; i < u->base.nblocks; i++)
        if (note_in_block(u, i, address))
            return;
}

static void take_faults(struct uffd *u)
{
    struct uffd_msg msgs[MESSAGES];
    ssize_t n = read(u->uf.fd, msgs, sizeof(msgs));

    if (n <= 0)
        return;
    pthread_mutex_lock(&u->lock);
    for (size_t i = 0; i < (size_t)n / sizeof(msgs[0]); i++)
        if (msgs[i].event == UFFD_EVENT_PAGEFAULT)
            note_fault(u, msgs[i].arg.pagefault.address);
    pthread_mutex_unlock(&u->lock);
}

static void *handler(void *opaque)
{
    struct uffd *u = opaque;
    struct pollfd fds[2] = {{.fd = u->uf.fd, .events = POLLIN},
                            {.fd = u->wake_fd, .events = POLLIN}};

    for (;;) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return NULL;
        if (fds[0].revents & POLLIN)
            take_faults(u);
        else if (fds[1].revents)
            return NULL; /* asked to end, and no fault is left waiting */
    }
}

static int start_thread(struct uffd *u, struct rmig_err *err)
{
    sigset_t all, old;
    int rc;

    sigfillset(&all); /* the program's signals are not for this thread */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    rc = pthread_create(&u->thread, NULL, handler, u);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc)
        return rmig_err_set(err, -rc, "dirty tracking: no thread: %s", strerror(rc));
    u->running = true;
    return 0;
}

static void stop(struct rmig_dirty *dirty)
{
    struct uffd *u = (struct uffd *)dirty;
    uint64_t count = 1;
    ssize_t n;

    if (!u->running)
        return;
    rmig_userfault_unprotect_all(&u->uf, dirty->blocks, dirty->nblocks); /* wakes the waiting too */
    n = write(u->wake_fd, &count, sizeof(count));
    pthread_join(u->thread, NULL);
    n = read(u->wake_fd, &count, sizeof(count));
    (void)n; /* an eventfd that is empty before and after */
    u->running = false;
}

static int start(struct rmig_dirty *dirty, struct rmig_err *err)
{
    struct uffd *u = (struct uffd *)dirty;
    int rc;

    for (uint32_t i = 0; i < dirty->nblocks; i++)
        memset(u->tracked[i].map, 0,
               rmig_bitmap_words(u->tracked[i].npages) * sizeof(*u->tracked[i].map));
    rc = start_thread(u, err); /* before the protection: a fault must find its handler */
    if (rc < 0)
        return rc;
    rc = rmig_userfault_protect_all(&u->uf, dirty->blocks, dirty->nblocks, err);
    if (rc < 0)
        stop(dirty);
    return rc;
}

/* The end of a stretch that begins with a set bit and has no gap over GAP_PAGES. */
static uint64_t stretch_end(const struct tracked *t, uint64_t first)
{
    for (;;) {
        uint64_t end = rmig_bitmap_next_clear(t->map, t->npages, first);
        uint64_t next = rmig_bitmap_next_set(t->map, t->npages, end);

        if (next >= t->npages || next - end > GAP_PAGES)
            return end;
        first = next;
    }
}

static int report_stretch(struct tracked *t, uint32_t block_index, uint64_t first, uint64_t end,
                          rmig_dirty_fn fn, void *opaque)
{
    while (first < end) {
        uint64_t stop_at = rmig_bitmap_next_clear(t->map, end, first);
        struct rmig_run run = {
            .block_index = block_index,
            .offset_bytes = first * RMIG_PAGE_BYTES,
            .len_bytes = (stop_at - first) * RMIG_PAGE_BYTES,
        };
        int rc = fn(opaque, &run);

        if (rc < 0)
            return rc;
        rmig_bitmap_clear(t->map, first, stop_at - first);
        first = rmig_bitmap_next_set(t->map, end, stop_at);
    }
    return 0;
}

static int sync_block(struct uffd *u, uint32_t block_index, rmig_dirty_fn fn, void *opaque,
                      struct rmig_err *err)
{
    const struct rmig_block *block = &u->base.blocks[block_index];
    struct tracked *t = &u->tracked[block_index];
    uint64_t at = 0;
    int rc = 0;

    while (rc == 0) {
        uint64_t end;

        /* One stretch at a time: the writers' faults wait for the lock no longer than that. */
        pthread_mutex_lock(&u->lock);
        at = rmig_bitmap_next_set(t->map, t->npages, at);
        if (at >= t->npages) {
            pthread_mutex_unlock(&u->lock);
            return 0;
        }
        end = stretch_end(t, at);
        rc = rmig_userfault_protect(&u->uf, (uint8_t *)block->host + at * RMIG_PAGE_BYTES,
                                    (end - at) * RMIG_PAGE_BYTES, true);
        if (rc < 0)
            rmig_err_set(err, rc, "dirty tracking: cannot protect RAM block %.64s: %s", block->name,
                         strerror(-rc));
        else
            rc = report_stretch(t, block_index, at, end, fn, opaque);
        pthread_mutex_unlock(&u->lock);
        at = end;
    }
    return rc;
}

static int sync_all(struct rmig_dirty *dirty, rmig_dirty_fn fn, void *opaque, struct rmig_err *err)
{
    for (uint32_t i = 0; i < dirty->nblocks; i++) {
        int rc = sync_block((struct uffd *)dirty, i, fn, opaque, err);

        if (rc < 0)
            return rc;
    }
    return 0;
}

static void free_tracker(struct rmig_dirty *dirty)
{
    struct uffd *u = (struct uffd *)dirty;

    for (uint32_t i = 0; u->tracked && i < dirty->nblocks; i++)
        free(u->tracked[i].map);
    free(u->tracked);
    if (u->wake_fd >= 0)
        close(u->wake_fd);
    rmig_userfault_close(&u->uf);
    pthread_mutex_destroy(&u->lock);
    free(u);
}

static const struct rmig_dirty_ops uffd_ops = {
    .name = "userfaultfd",
    .start = start,
    .sync = sync_all,
    .stop = stop,
    .free = free_tracker,
};

static int allocate(struct uffd *u, struct rmig_err *err)
{
    u->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (u->wake_fd < 0)
        return rmig_err_set(err, -errno, "dirty tracking: eventfd: %s", strerror(errno));
    u->tracked = calloc(u->base.nblocks, sizeof(*u->tracked));
    for (uint32_t i = 0; u->tracked && i < u->base.nblocks; i++) {
        u->tracked[i].npages = u->base.blocks[i].len_bytes / RMIG_PAGE_BYTES;
        u->tracked[i].map = rmig_bitmap_new(u->tracked[i].npages);
        if (!u->tracked[i].map)
            return rmig_err_set(err, -ENOMEM, "dirty tracking: no memory for a bitmap");
    }
    if (!u->tracked)
        return rmig_err_set(err, -ENOMEM, "dirty tracking: out of memory");
    return 0;
}

int rmig_dirty_uffd_open(const struct rmig_block *blocks, uint32_t nblocks,
                         struct rmig_dirty **dirty_p, struct rmig_err *err)
{
    struct uffd *u = calloc(1, sizeof(*u));
    int rc;

    if (!u)
        return rmig_err_set(err, -ENOMEM, "dirty tracking: out of memory");
    u->base = (struct rmig_dirty){.ops = &uffd_ops, .blocks = blocks, .nblocks = nblocks};
    u->uf.fd = -1;
    u->wake_fd = -1;
    pthread_mutex_init(&u->lock, NULL);
    rc = allocate(u, err);
    if (rc == 0)
        rc =
            rmig_userfault_open(&u->uf, UFFD_FEATURE_PAGEFAULT_FLAG_WP,
                                UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_HUGETLBFS_SHMEM, err);
    if (rc == 0)
        rc = rmig_userfault_register(&u->uf, blocks, nblocks, err);
    if (rc < 0) {
        free_tracker(&u->base);
        return rc;
    }
    *dirty_p = &u->base;
    return 0;
}
