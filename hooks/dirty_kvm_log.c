/* dirty_kvm_log.c -- dirty tracking by KVM's dirty log: a bit per page, protected again by ranges.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "hooks/dirty_kinds.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bitmap.h"
#include "common/overflow.h"
#include "hooks/dirty_bits.h"
#include "hooks/dirty_kvm.h"

/* A call that clears holds the lock that faults of the vCPUs need: 64 MiB at a time. In words. */
#define CLEAR_WORDS UINT64_C(256)
/* Words of nothing inside a range cost less than another call. */
#define GAP_WORDS UINT64_C(64)

struct kvm_log {
    struct rmig_dirty base;
    struct rmig_kvm kvm;
    struct rmig_dirty_bits bits;
    uint64_t mode; /* KVM_DIRTY_LOG_* */
    uint64_t *map; /* room for the bitmap of the largest slot */
};

/* Clears and protects what is set in map, of the words [first, end) of the slot. */
static int clear_range(struct kvm_log *log, const struct rmig_dirty_kvm_slot *slot, uint64_t first,
                       uint64_t end, struct rmig_err *err)
{
    uint64_t first_page = first * RMIG_BITS_PER_WORD;
    struct kvm_clear_dirty_log clear = {
        .slot = slot->slot,
        .first_page = first_page,
        /* whole words, but for the slot's end */
        .num_pages = (uint32_t)rmig_min_u64((end - first) * RMIG_BITS_PER_WORD,
                                            rmig_kvm_slot_pages(slot) - first_page),
        .dirty_bitmap = log->map + first,
    };
    int rc = rmig_kvm_ioctl(log->kvm.vm_fd, KVM_CLEAR_DIRTY_LOG, &clear);

    if (rc < 0)
        return rmig_err_set(err, rc, "KVM slot %u: cannot protect %u pages at %llu again: %s",
                            slot->slot, clear.num_pages, (unsigned long long)first_page,
                            strerror(-rc));
    return 0;
}

/* Where a range ends that begins with a word that is not 0. */
static uint64_t range_end(const uint64_t *map, uint64_t nwords, uint64_t first)
{
    uint64_t most = rmig_min_u64(nwords, first + CLEAR_WORDS), end = first + 1;

    for (uint64_t i = end; i < most && i - end <= GAP_WORDS; i++)
        if (map[i])
            end = i + 1;
    return end;
}

static int clear_slot(struct kvm_log *log, const struct rmig_dirty_kvm_slot *slot,
                      struct rmig_err *err)
{
    uint64_t nwords = rmig_bitmap_words(rmig_kvm_slot_pages(slot)), at = 0;

    while (at < nwords) {
        uint64_t end;
        int rc;

        if (!log->map[at]) {
            at++;
            continue;
        }
        end = range_end(log->map, nwords, at);
        rc = clear_range(log, slot, at, end, err);
        if (rc < 0)
            return rc;
        at = end;
    }
    return 0;
}

static int get_slot(struct kvm_log *log, const struct rmig_dirty_kvm_slot *slot,
                    struct rmig_err *err)
{
    struct kvm_dirty_log get = {.slot = slot->slot, .dirty_bitmap = log->map};
    int rc = rmig_kvm_ioctl(log->kvm.vm_fd, KVM_GET_DIRTY_LOG, &get);

    if (rc < 0)
        return rmig_err_set(err, rc, "KVM slot %u: no dirty log: %s%s", slot->slot, strerror(-rc),
                            rc == -ENXIO ? "; this VM has dirty rings: use kvm-ring" : "");
    return 0;
}

static int sync_slot(struct kvm_log *log, const struct rmig_dirty_kvm_slot *slot,
                     struct rmig_err *err)
{
    int rc = get_slot(log, slot, err);

    if (rc < 0)
        return rc;
    /* Noted before it is cleared: what fails later leaves it for the next sync. */
    rmig_dirty_bits_merge(&log->bits, slot->block_index, slot->block_offset_bytes / RMIG_PAGE_BYTES,
                          log->map, rmig_kvm_slot_pages(slot));
    return clear_slot(log, slot, err);
}

static int sync_all(struct rmig_dirty *dirty, rmig_dirty_fn fn, void *opaque, struct rmig_err *err)
{
    struct kvm_log *log = (struct kvm_log *)dirty;

    for (uint32_t i = 0; i < log->kvm.nslots; i++) {
        int rc = sync_slot(log, &log->kvm.slots[i], err);

        if (rc < 0)
            return rc;
    }
    return rmig_dirty_bits_report(&log->bits, fn, opaque);
}

static void stop(struct rmig_dirty *dirty)
{
    rmig_kvm_log_off(&((struct kvm_log *)dirty)->kvm);
}

/*
 * A log that is initially set calls each page written and has protected none. The first pass sends
 * them all anyway, so that the first sync must not report them once more.
 */
static int clear_all(struct kvm_log *log, struct rmig_err *err)
{
    for (uint32_t i = 0; i < log->kvm.nslots; i++) {
        const struct rmig_dirty_kvm_slot *slot = &log->kvm.slots[i];
        int rc;

        memset(log->map, 0xff, rmig_bitmap_words(rmig_kvm_slot_pages(slot)) * sizeof(*log->map));
        rc = clear_slot(log, slot, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int start(struct rmig_dirty *dirty, struct rmig_err *err)
{
    struct kvm_log *log = (struct kvm_log *)dirty;
    int rc = rmig_kvm_manual_protect(&log->kvm, log->mode, err);

    if (rc == 0)
        rc = rmig_kvm_log_on(&log->kvm, err);
    if (rc == 0)
        rc = get_slot(log, &log->kvm.slots[0], err); /* is there a log at all? */
    if (rc == 0 && log->mode & KVM_DIRTY_LOG_INITIALLY_SET)
        rc = clear_all(log, err);
    if (rc < 0)
        stop(dirty);
    rmig_dirty_bits_clear(&log->bits);
    return rc;
}

static void free_tracker(struct rmig_dirty *dirty)
{
    struct kvm_log *log = (struct kvm_log *)dirty;

    rmig_dirty_bits_release(&log->bits);
    rmig_kvm_release(&log->kvm);
    free(log->map);
    free(log);
}

static const struct rmig_dirty_ops log_ops = {
    .name = "kvm-log",
    .start = start,
    .sync = sync_all,
    .stop = stop,
    .free = free_tracker,
};

static int choose_mode(struct kvm_log *log, uint64_t modes, struct rmig_err *err)
{
    int have = rmig_kvm_extension(&log->kvm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2);

    log->mode = (uint64_t)have & modes;
    if (!(log->mode & KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE))
        return rmig_err_set(err, -ENOTSUP,
                            "kvm-log: KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 is %d: Linux 5.1 is needed",
                            have);
    return 0;
}

static int allocate(struct kvm_log *log, struct rmig_err *err)
{
    uint64_t most = 0;

    for (uint32_t i = 0; i < log->kvm.nslots; i++)
        most = rmig_max_u64(most, rmig_kvm_slot_pages(&log->kvm.slots[i]));
    log->map = rmig_bitmap_new(most);
    if (!log->map)
        return rmig_err_set(err, -ENOMEM, "kvm-log: no memory for a bitmap");
    return rmig_dirty_bits_init(&log->bits, log->base.blocks, log->base.nblocks, err);
}

int rmig_dirty_kvm_log_open_modes(const struct rmig_dirty_kvm_params *params, uint64_t modes,
                                  const struct rmig_block *blocks, uint32_t nblocks,
                                  struct rmig_dirty **dirty_p, struct rmig_err *err)
{
    struct kvm_log *log = calloc(1, sizeof(*log));
    int rc;

    if (!log)
        return rmig_err_set(err, -ENOMEM, "dirty tracking: out of memory");
    log->base = (struct rmig_dirty){.ops = &log_ops, .blocks = blocks, .nblocks = nblocks};
    rc = rmig_kvm_init(&log->kvm, params, blocks, nblocks, err);
    if (rc == 0)
        rc = choose_mode(log, modes, err);
    if (rc == 0)
        rc = allocate(log, err);
    if (rc < 0) {
        free_tracker(&log->base);
        return rc;
    }
    *dirty_p = &log->base;
    return 0;
}

int rmig_dirty_kvm_log_open(const struct rmig_dirty_kvm_params *params,
                            const struct rmig_block *blocks, uint32_t nblocks,
                            struct rmig_dirty **dirty_p, struct rmig_err *err)
{
    return rmig_dirty_kvm_log_open_modes(
        params, KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET, blocks, nblocks,
        dirty_p, err);
}
