/* dirty_kvm.c -- checks the slots of a KVM guest, and turns their dirty logging on and off. */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "hooks/dirty_kvm.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/overflow.h"

/* KVM counts a slot's pages in 31 bits. */
#define SLOT_PAGES_MAX UINT64_C(0x7fffffff)

int rmig_kvm_ioctl(int fd, unsigned long request, void *arg)
{
    int rc;

    do
        rc = ioctl(fd, request, arg);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? -errno : rc;
}

int rmig_kvm_extension(const struct rmig_kvm *kvm, int capability)
{
    int rc = ioctl(kvm->vm_fd, KVM_CHECK_EXTENSION, (unsigned long)capability);

    return rc < 0 ? 0 : rc;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = ((const struct rmig_dirty_kvm_slot *)a)->slot;
    uint32_t y = ((const struct rmig_dirty_kvm_slot *)b)->slot;

    return x < y ? -1 : x > y;
}

int64_t rmig_kvm_find(const struct rmig_kvm *kvm, uint32_t slot)
{
    const struct rmig_dirty_kvm_slot key = {.slot = slot};
    const struct rmig_dirty_kvm_slot *found =
        bsearch(&key, kvm->slots, kvm->nslots, sizeof(key), by_number);

    return found ? found - kvm->slots : -1;
}

static int check_slot(const struct rmig_dirty_kvm_slot *s, const struct rmig_block *blocks,
                      uint32_t nblocks, struct rmig_err *err)
{
    uint64_t bits = s->guest_phys_bytes | s->len_bytes | s->block_offset_bytes | (uintptr_t)s->host;

    if (s->flags & KVM_MEM_LOG_DIRTY_PAGES)
        return rmig_err_set(err, -EINVAL,
                            "KVM slot %u: its dirty log is on already; who reads it would take "
                            "pages from the tracker: turn it off first",
                            s->slot);
    if (s->flags & ~(uint32_t)KVM_MEM_READONLY)
        return rmig_err_set(err, -EINVAL, "KVM slot %u: flags 0x%x: only KVM_MEM_READONLY is known",
                            s->slot, s->flags);
    if (s->block_index >= nblocks)
        return rmig_err_set(err, -EINVAL, "KVM slot %u: block %u of %u", s->slot, s->block_index,
                            nblocks);
    if (s->len_bytes == 0 || s->len_bytes / RMIG_PAGE_BYTES > SLOT_PAGES_MAX ||
        bits % RMIG_PAGE_BYTES)
        return rmig_err_set(
            err, -EINVAL, "KVM slot %u: 0x%llx bytes at 0x%llx are not whole pages, 1 to 2^31 - 1",
            s->slot, (unsigned long long)s->len_bytes, (unsigned long long)s->guest_phys_bytes);
    if (!rmig_range_within(s->block_offset_bytes, s->len_bytes, blocks[s->block_index].len_bytes))
        return rmig_err_set(err, -EINVAL,
                            "KVM slot %u: 0x%llx bytes at offset 0x%llx are outside of RAM block "
                            "%.64s of 0x%llx",
                            s->slot, (unsigned long long)s->len_bytes,
                            (unsigned long long)s->block_offset_bytes, blocks[s->block_index].name,
                            (unsigned long long)blocks[s->block_index].len_bytes);
    return 0;
}

static int copy_slots(struct rmig_kvm *kvm, const struct rmig_block *blocks, uint32_t nblocks,
                      struct rmig_err *err)
{
    for (uint32_t i = 0; i < kvm->nslots; i++) {
        struct rmig_dirty_kvm_slot *s = &kvm->slots[i];
        int rc = check_slot(s, blocks, nblocks, err);

        if (rc < 0)
            return rc;
        if (!s->host)
            s->host = (uint8_t *)blocks[s->block_index].host + s->block_offset_bytes;
    }
    qsort(kvm->slots, kvm->nslots, sizeof(*kvm->slots), by_number);
    for (uint32_t i = 1; i < kvm->nslots; i++)
        if (kvm->slots[i].slot == kvm->slots[i - 1].slot)
            return rmig_err_set(err, -EINVAL, "KVM slot %u is listed twice", kvm->slots[i].slot);
    return 0;
}

int rmig_kvm_init(struct rmig_kvm *kvm, const struct rmig_dirty_kvm_params *params,
                  const struct rmig_block *blocks, uint32_t nblocks, struct rmig_err *err)
{
    long page = sysconf(_SC_PAGESIZE);
    int rc;

    memset(kvm, 0, sizeof(*kvm));
    if (!blocks || nblocks == 0)
        return rmig_err_set(err, -EINVAL, "dirty tracking: no RAM block given");
    if (!params || params->struct_size < sizeof(*params))
        return rmig_err_set(err, -EINVAL,
                            "KVM dirty tracking: struct_size is %u, at least %zu is needed",
                            params ? params->struct_size : 0, sizeof(*params));
    if (!params->slots || params->nslots == 0)
        return rmig_err_set(err, -EINVAL, "KVM dirty tracking: no memory slot given");
    if (page != RMIG_PAGE_BYTES)
        return rmig_err_set(err, -ENOTSUP, "KVM dirty tracking: host pages of %ld bytes, not %u",
                            page, RMIG_PAGE_BYTES);
    kvm->slots = calloc(params->nslots, sizeof(*kvm->slots));
    if (!kvm->slots)
        return rmig_err_set(err, -ENOMEM, "KVM dirty tracking: no memory for %u slots",
                            params->nslots);
    memcpy(kvm->slots, params->slots, params->nslots * sizeof(*kvm->slots));
    kvm->nslots = params->nslots;
    kvm->vm_fd = params->vm_fd;
    rc = copy_slots(kvm, blocks, nblocks, err);
    if (rc < 0)
        rmig_kvm_release(kvm);
    return rc;
}

void rmig_kvm_release(struct rmig_kvm *kvm)
{
    free(kvm->slots);
    memset(kvm, 0, sizeof(*kvm));
}

int rmig_kvm_manual_protect(const struct rmig_kvm *kvm, uint64_t mode, struct rmig_err *err)
{
    struct kvm_enable_cap cap = {.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, .args = {mode}};
    int rc = rmig_kvm_ioctl(kvm->vm_fd, KVM_ENABLE_CAP, &cap);

    if (rc < 0)
        return rmig_err_set(err, rc, "KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, mode %llu: %s",
                            (unsigned long long)mode, strerror(-rc));
    return 0;
}

static int set_logging(const struct rmig_kvm *kvm, const struct rmig_dirty_kvm_slot *s, bool on)
{
    struct kvm_userspace_memory_region region = {
        .slot = s->slot,
        .flags = s->flags | (on ? (uint32_t)KVM_MEM_LOG_DIRTY_PAGES : 0),
        .guest_phys_addr = s->guest_phys_bytes,
        .memory_size = s->len_bytes,
        .userspace_addr = (uintptr_t)s->host,
    };

    return rmig_kvm_ioctl(kvm->vm_fd, KVM_SET_USER_MEMORY_REGION, &region);
}

int rmig_kvm_log_on(struct rmig_kvm *kvm, struct rmig_err *err)
{
    for (uint32_t i = 0; i < kvm->nslots; i++) {
        const struct rmig_dirty_kvm_slot *s = &kvm->slots[i];
        int rc = set_logging(kvm, s, true);

        if (rc < 0) {
            rmig_kvm_log_off(kvm);
            return rmig_err_set(err, rc,
                                "KVM slot %u: cannot log writes: %s; all of it must be as KVM was "
                                "given it: 0x%llx bytes at guest 0x%llx, host %p, flags 0x%x",
                                s->slot, strerror(-rc), (unsigned long long)s->len_bytes,
                                (unsigned long long)s->guest_phys_bytes, s->host, s->flags);
        }
        kvm->nlogging = i + 1;
    }
    return 0;
}

void rmig_kvm_log_off(struct rmig_kvm *kvm)
{
    for (; kvm->nlogging > 0; kvm->nlogging--)
        (void)set_logging(kvm, &kvm->slots[kvm->nlogging - 1], false);
}
