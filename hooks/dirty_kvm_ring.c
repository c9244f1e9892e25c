/* dirty_kvm_ring.c -- dirty tracking by KVM's dirty rings: each vCPU lists the pages it writes. */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "hooks/dirty_kinds.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hooks/dirty_bits.h"
#include "hooks/dirty_kvm.h"

/* The kernel's ABI by our own names: Linux 5.11 and 6.1, and headers of the day may lack them. */
struct ring_entry {
    uint32_t flags;
    uint32_t slot;
    uint64_t offset; /* page in the slot */
};

#define RESET_RINGS _IO(KVMIO, 0xc7)
#define CAP_RING 192
#define CAP_RING_ACQ_REL 223
#define RING_FIRST_PAGE 64 /* KVM_DIRTY_LOG_PAGE_OFFSET of all that have rings */
/* KVM sets DIRTY; who has read the entry sets RESET; KVM protects the page and clears both. */
#define ENTRY_DIRTY 1u
#define ENTRY_RESET 2u
/* A reset may end early, see reset_rings(). */
#define RESET_TRIES 1000

/* Positions count on; modulo the ring's size they are entries. */
struct vcpu {
    struct ring_entry *entries; /* mapped; NULL before */
    bool known;                 /* is next where KVM has gone on? */
    uint32_t next;              /* to be read */
    uint32_t reset;             /* [reset, next) was given back, and KVM has not taken it yet */
    bool all_dirty;             /* then any entry may be the front */
    bool gap;                   /* KVM takes entries back from next on, but has gone on behind it */
};

struct kvm_ring {
    struct rmig_dirty base;
    struct rmig_kvm kvm;
    struct vcpu *vcpus;
    uint32_t nvcpus;
    uint32_t nentries; /* of each ring: a power of two */
    /*
     * Held from reading the rings to the end of the reset. A page that is reported before it is
     * protected again could be written after it was read, with no note.
     */
    pthread_mutex_t lock;
    struct rmig_dirty_bits read; /* out of the rings; protected again once the lock is free */
    struct rmig_dirty_bits told; /* being reported, without the lock */
    bool overrun;                /* KVM wrote over entries: their pages are unknown */
    bool foreign;                /* an entry was none of our pages: */
    uint32_t foreign_slot;
    uint64_t foreign_offset;
};

static uint64_t ring_bytes(const struct kvm_ring *ring)
{
    return (uint64_t)ring->nentries * sizeof(struct ring_entry);
}

static struct ring_entry *entry_at(const struct kvm_ring *ring, const struct vcpu *v, uint32_t at)
{
    return &v->entries[at & (ring->nentries - 1)];
}

/* Acquire: what KVM wrote into the entry before the flag is seen with it. */
static uint32_t entry_flags(const struct kvm_ring *ring, const struct vcpu *v, uint32_t at)
{
    return __atomic_load_n(&entry_at(ring, v, at)->flags, __ATOMIC_ACQUIRE) &
           (ENTRY_DIRTY | ENTRY_RESET);
}

/* Release: KVM may use the entry again only after we have read it. */
static void give_back(const struct kvm_ring *ring, const struct vcpu *v, uint32_t at)
{
    __atomic_store_n(&entry_at(ring, v, at)->flags, ENTRY_RESET, __ATOMIC_RELEASE);
}

/*
 * Where KVM has gone on in a ring is unknown if it was in use before us, and after an overrun. Its
 * entries are one stretch, and only we take from its front: the front is what has none before it.
 */
static bool find_front(const struct kvm_ring *ring, struct vcpu *v)
{
    uint32_t first = v->next, end = first + ring->nentries, front = first, least;

    if (v->gap && entry_flags(ring, v, first) == ENTRY_DIRTY &&
        entry_flags(ring, v, first - 1) == ENTRY_DIRTY) { /* it has come round to us */
        v->reset = first;
        v->next = end; /* once more an overrun, see check_overrun() */
        v->known = true;
        return true;
    }
    while (front != end && entry_flags(ring, v, front) != ENTRY_DIRTY)
        front++;
    if (front == end)
        return false;
    least = v->gap ? first : front - (ring->nentries - 1);
    while (front != least && entry_flags(ring, v, front - 1) == ENTRY_DIRTY)
        front--;
    v->all_dirty = !v->gap && front == least;
    v->reset = v->gap ? first : front;
    for (v->next = v->reset; v->next != front; v->next++)
        give_back(ring, v, v->next);
    v->gap = false;
    v->known = true;
    return true;
}

static void note_entry(struct kvm_ring *ring, uint32_t slot, uint64_t offset)
{
    int64_t found = rmig_kvm_find(&ring->kvm, slot);
    const struct rmig_dirty_kvm_slot *s;

    if (found < 0 || offset >= rmig_kvm_slot_pages(&ring->kvm.slots[found])) {
        if (!ring->foreign) {
            ring->foreign_slot = slot;
            ring->foreign_offset = offset;
        }
        ring->foreign = true;
        return;
    }
    s = &ring->kvm.slots[found];
    rmig_dirty_bits_set(&ring->read, s->block_index,
                        s->block_offset_bytes / RMIG_PAGE_BYTES + offset, 1);
}

static void read_ring(struct kvm_ring *ring, struct vcpu *v)
{
    if (!v->known && !find_front(ring, v))
        return;
    while (v->next - v->reset < ring->nentries && entry_flags(ring, v, v->next) == ENTRY_DIRTY) {
        const struct ring_entry *e = entry_at(ring, v, v->next);

        note_entry(ring, e->slot, e->offset);
        give_back(ring, v, v->next++);
    }
}

/* Where KVM takes entries back in a ring whose entries are all used: it stops at one that is kept.
 */
static uint32_t find_reset(const struct kvm_ring *ring, const struct vcpu *v)
{
    uint32_t at = 1;

    __atomic_store_n(&entry_at(ring, v, 0)->flags, ENTRY_DIRTY, __ATOMIC_RELAXED);
    for (uint32_t i = 1; i < ring->nentries; i++)
        give_back(ring, v, i);
    (void)rmig_kvm_ioctl(ring->kvm.vm_fd, RESET_RINGS, NULL);
    while (at < ring->nentries && entry_flags(ring, v, at) != 0)
        at++;
    give_back(ring, v, 0);
    return at;
}

/* Has KVM taken back what was read of this ring? */
static bool is_reset(const struct kvm_ring *ring, const struct vcpu *v)
{
    return v->next == v->reset || !(entry_flags(ring, v, v->next - 1) & ENTRY_RESET);
}

static bool all_reset(const struct kvm_ring *ring)
{
    for (uint32_t i = 0; i < ring->nvcpus; i++)
        if (!is_reset(ring, &ring->vcpus[i]))
            return false;
    return true;
}

/*
 * KVM stops a vCPU before its ring is full, with room for what it may still note. Where it emulates
 * many instructions in a row the room has been seen not to suffice: then it writes over entries
 * that it has not taken back, and what they said is lost. One shows by as many entries as the ring
 * has, or by one that KVM does not take back, for it is a new one again. All entries have been used
 * then: give back all.
 */
static void check_overrun(struct kvm_ring *ring, struct vcpu *v, bool stuck)
{
    if (!v->known || (v->next - v->reset != ring->nentries && (!stuck || is_reset(ring, v))))
        return;
    if (v->all_dirty)
        v->reset = find_reset(ring, v);
    else
        for (uint32_t i = 0; i < ring->nentries; i++)
            give_back(ring, v, i);
    v->next = v->reset + ring->nentries;
    v->all_dirty = v->known = false;
    v->gap = true;
    ring->overrun = true;
}

static void check_overruns(struct kvm_ring *ring, bool stuck)
{
    for (uint32_t i = 0; i < ring->nvcpus; i++)
        check_overrun(ring, &ring->vcpus[i], stuck);
}

/*
 * KVM protects the pages of the entries that were read. Linux 6.16 ends the call early where a
 * signal waits: so none is let in, and what is left is asked for again.
 */
static int reset_rings(struct kvm_ring *ring, struct rmig_err *err)
{
    sigset_t all, old;
    int rc = 0;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    check_overruns(ring, false);
    for (int i = 0; rc >= 0 && !all_reset(ring); i++) {
        rc = i < RESET_TRIES ? rmig_kvm_ioctl(ring->kvm.vm_fd, RESET_RINGS, NULL) : -EIO;
        check_overruns(ring, rc == 0);
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc < 0)
        return rmig_err_set(err, rc, "kvm-ring: KVM_RESET_DIRTY_RINGS: %s", strerror(-rc));
    for (uint32_t i = 0; i < ring->nvcpus; i++)
        ring->vcpus[i].reset = ring->vcpus[i].next;
    return 0;
}

/* Empties all rings into the bitmap. Requires: the lock. */
static int take_all(struct kvm_ring *ring, struct rmig_err *err)
{
    for (uint32_t i = 0; i < ring->nvcpus; i++)
        read_ring(ring, &ring->vcpus[i]);
    return reset_rings(ring, err);
}

static int refuse_foreign(struct kvm_ring *ring, struct rmig_err *err)
{
    if (!ring->foreign)
        return 0;
    ring->foreign = false;
    return rmig_err_set(err, -EPROTO,
                        "kvm-ring: page %llu of slot %u was written, which is not among the %u "
                        "slots given: give all slots whose log is on",
                        (unsigned long long)ring->foreign_offset, ring->foreign_slot,
                        ring->kvm.nslots);
}

/* After an overrun any page may have been written: all are protected anew and reported. */
static int begin_again(struct kvm_ring *ring, struct rmig_err *err)
{
    int rc;

    rmig_kvm_log_off(&ring->kvm);
    rc = rmig_kvm_log_on(&ring->kvm, err);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < ring->kvm.nslots; i++) {
        const struct rmig_dirty_kvm_slot *s = &ring->kvm.slots[i];

        rmig_dirty_bits_set(&ring->read, s->block_index, s->block_offset_bytes / RMIG_PAGE_BYTES,
                            rmig_kvm_slot_pages(s));
    }
    ring->overrun = false;
    return 0;
}

static int sync_all(struct rmig_dirty *dirty, rmig_dirty_fn fn, void *opaque, struct rmig_err *err)
{
    struct kvm_ring *ring = (struct kvm_ring *)dirty;
    struct rmig_dirty_bits taken;
    int rc;

    pthread_mutex_lock(&ring->lock);
    rc = take_all(ring, err);
    if (rc == 0)
        rc = refuse_foreign(ring, err);
    if (rc == 0 && ring->overrun)
        rc = begin_again(ring, err);
    if (rc == 0) {
        taken = ring->read;
        ring->read = ring->told;
        ring->told = taken;
    }
    pthread_mutex_unlock(&ring->lock);
    return rc < 0 ? rc : rmig_dirty_bits_report(&ring->told, fn, opaque);
}

/* What came before is nobody's; the rings are empty for the vCPUs to go on. */
static int drop_all(struct kvm_ring *ring, struct rmig_err *err)
{
    int rc;

    pthread_mutex_lock(&ring->lock);
    rc = take_all(ring, err);
    rmig_dirty_bits_clear(&ring->read);
    rmig_dirty_bits_clear(&ring->told);
    ring->foreign = ring->overrun = false;
    pthread_mutex_unlock(&ring->lock);
    return rc;
}

static void stop(struct rmig_dirty *dirty)
{
    struct kvm_ring *ring = (struct kvm_ring *)dirty;

    if (ring->kvm.nlogging == 0)
        return;
    rmig_kvm_log_off(&ring->kvm);
    (void)drop_all(ring, NULL);
}

/* Pages that KVM writes outside of a vCPU are in a bitmap beside the rings where a VM has that. */
static int refuse_bitmap(struct kvm_ring *ring, struct rmig_err *err)
{
    const struct rmig_dirty_kvm_slot *slot = &ring->kvm.slots[0];
    struct kvm_dirty_log get = {.slot = slot->slot, .dirty_bitmap = ring->read.words};
    int rc;

    pthread_mutex_lock(&ring->lock); /* of the bitmap, which drop_all() clears again */
    rc = rmig_kvm_ioctl(ring->kvm.vm_fd, KVM_GET_DIRTY_LOG, &get);
    pthread_mutex_unlock(&ring->lock);
    if (rc < 0 && rc != -ENXIO)
        return rmig_err_set(err, rc, "kvm-ring: KVM_GET_DIRTY_LOG: %s", strerror(-rc));
    if (rc >= 0)
        return rmig_err_set(err, -ENOTSUP,
                            "kvm-ring: this VM has a dirty bitmap beside its rings "
                            "(KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP), which is not read");
    return 0;
}

static int start(struct rmig_dirty *dirty, struct rmig_err *err)
{
    struct kvm_ring *ring = (struct kvm_ring *)dirty;
    int rc = 0;

    /* A log that is initially set is protected by clearing it, which rings never do. */
    if (rmig_kvm_extension(&ring->kvm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2))
        rc = rmig_kvm_manual_protect(&ring->kvm, 0, err);
    if (rc == 0)
        rc = rmig_kvm_log_on(&ring->kvm, err);
    if (rc == 0)
        rc = refuse_bitmap(ring, err);
    if (rc == 0)
        rc = drop_all(ring, err);
    if (rc < 0)
        stop(dirty);
    return rc;
}

static void free_tracker(struct rmig_dirty *dirty)
{
    struct kvm_ring *ring = (struct kvm_ring *)dirty;

    for (uint32_t i = 0; ring->vcpus && i < ring->nvcpus; i++)
        if (ring->vcpus[i].entries)
            munmap(ring->vcpus[i].entries, ring_bytes(ring));
    free(ring->vcpus);
    rmig_dirty_bits_release(&ring->read);
    rmig_dirty_bits_release(&ring->told);
    rmig_kvm_release(&ring->kvm);
    pthread_mutex_destroy(&ring->lock);
    free(ring);
}

static const struct rmig_dirty_ops ring_ops = {
    .name = "kvm-ring",
    .start = start,
    .sync = sync_all,
    .stop = stop,
    .free = free_tracker,
};

/* Can the byte be read? Asked of the kernel, which gives an error where we would get a SIGBUS. */
static bool readable(int pipe_fd, const void *byte)
{
    return write(pipe_fd, byte, 1) == 1;
}

/* Maps a ring and a page more: that one must not be there, else the ring is larger than we know. */
static int map_ring(struct kvm_ring *ring, uint32_t index, int vcpu_fd, int pipe_fd,
                    struct rmig_err *err)
{
    uint64_t bytes = ring_bytes(ring);
    uint8_t *map = mmap(NULL, bytes + RMIG_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu_fd,
                        RING_FIRST_PAGE * (off_t)RMIG_PAGE_BYTES);
    bool fits;

    if (map == MAP_FAILED)
        return rmig_err_set(err, -errno, "kvm-ring: cannot map the ring of vCPU %u: %s", index,
                            strerror(errno));
    fits = readable(pipe_fd, map) && readable(pipe_fd, map + bytes - 1) &&
           !readable(pipe_fd, map + bytes);
    munmap(map + bytes, RMIG_PAGE_BYTES);
    ring->vcpus[index].entries = (struct ring_entry *)(void *)map;
    if (!fits)
        return rmig_err_set(err, -EINVAL,
                            "kvm-ring: the ring of vCPU %u has not the %llu bytes given: give what "
                            "KVM_ENABLE_CAP was given",
                            index, (unsigned long long)bytes);
    return 0;
}

static int map_rings(struct kvm_ring *ring, const int *vcpu_fds, struct rmig_err *err)
{
    int fds[2], rc = 0;

    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
        return rmig_err_set(err, -errno, "kvm-ring: pipe: %s", strerror(errno));
    for (uint32_t i = 0; rc == 0 && i < ring->nvcpus; i++) {
        char bytes[4];
        ssize_t n;

        rc = map_ring(ring, i, vcpu_fds[i], fds[1], err);
        n = read(fds[0], bytes, sizeof(bytes)); /* so that it never fills */
        (void)n;
    }
    close(fds[0]);
    close(fds[1]);
    return rc;
}

static int check_ring(struct kvm_ring *ring, const struct rmig_dirty_kvm_params *params,
                      struct rmig_err *err)
{
    int most = rmig_kvm_extension(&ring->kvm, CAP_RING_ACQ_REL);
    uint64_t bytes = params->ring_bytes;

    if (!most)
        most = rmig_kvm_extension(&ring->kvm, CAP_RING);
    if (!most)
        return rmig_err_set(err, -ENOTSUP, "kvm-ring: this KVM has no dirty rings: use kvm-log");
    if (!params->vcpu_fds || params->nvcpus == 0)
        return rmig_err_set(err, -EINVAL, "kvm-ring: no vCPU given");
    if (bytes < RMIG_PAGE_BYTES || bytes > (uint64_t)most || bytes & (bytes - 1))
        return rmig_err_set(err, -EINVAL, "kvm-ring: rings of %llu bytes: a power of two, %u to %d",
                            (unsigned long long)bytes, RMIG_PAGE_BYTES, most);
    /* Also takes back what another reader has left. */
    if (rmig_kvm_ioctl(ring->kvm.vm_fd, RESET_RINGS, NULL) < 0)
        return rmig_err_set(err, -ENOTSUP,
                            "kvm-ring: this VM has no dirty rings: enable "
                            "KVM_CAP_DIRTY_LOG_RING_ACQ_REL before the first vCPU, or use kvm-log");
    ring->nentries = (uint32_t)(bytes / sizeof(struct ring_entry));
    return 0;
}

static int allocate(struct kvm_ring *ring, const struct rmig_dirty_kvm_params *params,
                    struct rmig_err *err)
{
    int rc = rmig_dirty_bits_init(&ring->read, ring->base.blocks, ring->base.nblocks, err);

    if (rc == 0)
        rc = rmig_dirty_bits_init(&ring->told, ring->base.blocks, ring->base.nblocks, err);
    if (rc < 0)
        return rc;
    ring->nvcpus = params->nvcpus;
    ring->vcpus = calloc(ring->nvcpus, sizeof(*ring->vcpus));
    if (!ring->vcpus)
        return rmig_err_set(err, -ENOMEM, "kvm-ring: no memory for %u vCPUs", ring->nvcpus);
    return map_rings(ring, params->vcpu_fds, err);
}

int rmig_dirty_kvm_ring_open(const struct rmig_dirty_kvm_params *params,
                             const struct rmig_block *blocks, uint32_t nblocks,
                             struct rmig_dirty **dirty_p, struct rmig_err *err)
{
    struct kvm_ring *ring = calloc(1, sizeof(*ring));
    int rc;

    if (!ring)
        return rmig_err_set(err, -ENOMEM, "dirty tracking: out of memory");
    ring->base = (struct rmig_dirty){.ops = &ring_ops, .blocks = blocks, .nblocks = nblocks};
    pthread_mutex_init(&ring->lock, NULL);
    rc = rmig_kvm_init(&ring->kvm, params, blocks, nblocks, err);
    if (rc == 0)
        rc = check_ring(ring, params, err);
    if (rc == 0)
        rc = allocate(ring, params, err);
    if (rc < 0) {
        free_tracker(&ring->base);
        return rc;
    }
    *dirty_p = &ring->base;
    return 0;
}

int rmig_dirty_kvm_ring_reap(struct rmig_dirty *dirty, struct rmig_err *err)
{
    struct kvm_ring *ring = (struct kvm_ring *)dirty;
    int rc;

    if (dirty->ops != &ring_ops)
        return rmig_err_set(err, -EINVAL, "kvm-ring: the tracker is %s", dirty->ops->name);
    pthread_mutex_lock(&ring->lock);
    rc = take_all(ring, err);
    pthread_mutex_unlock(&ring->lock);
    return rc;
}
