/* SPDX-License-Identifier: BSD-3-Clause */
/* dirty_kvm.h -- what both KVM trackers need: the guest's slots, checked; logging on and off. */
#ifndef HOOKS_DIRTY_KVM_H
#define HOOKS_DIRTY_KVM_H

#include <stdint.h>
#include <linux/kvm.h>
#include <rmig/dirty.h>

/* Linux 5.7; the headers may be older than the kernel that runs. */
#ifndef KVM_DIRTY_LOG_INITIALLY_SET
#define KVM_DIRTY_LOG_INITIALLY_SET (1 << 1)
#endif

/** A VM and the slots to track in it. */
struct rmig_kvm {
    int vm_fd;                         /* the caller's */
    struct rmig_dirty_kvm_slot *slots; /* our copy, by slot number, host filled in */
    uint32_t nslots;
    uint32_t nlogging; /* the first so many have logging on */
};

/** ioctl that goes on after a signal. Returns: what the kernel gave; -errno. */
int rmig_kvm_ioctl(int fd, unsigned long request, void *arg);

/** What KVM_CHECK_EXTENSION says of the VM; 0 where it cannot say. */
int rmig_kvm_extension(const struct rmig_kvm *kvm, int capability);

/**
 * Check params against the blocks and copy the slots. Requires: blocks are there, nblocks of them.
 * Returns: 0; -EINVAL naming the slot and the figure; -ENOTSUP host pages of another size; -ENOMEM.
 */
int rmig_kvm_init(struct rmig_kvm *kvm, const struct rmig_dirty_kvm_params *params,
                  const struct rmig_block *blocks, uint32_t nblocks, struct rmig_err *err);

/** Fine on a zeroed object. */
void rmig_kvm_release(struct rmig_kvm *kvm);

/** Pages of a slot. */
static inline uint64_t rmig_kvm_slot_pages(const struct rmig_dirty_kvm_slot *slot)
{
    return slot->len_bytes / RMIG_PAGE_BYTES;
}

/** Returns: the index of the slot with that number, -1 if it is none of ours. */
int64_t rmig_kvm_find(const struct rmig_kvm *kvm, uint32_t slot);

/** Set the VM's mode of KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2: KVM_DIRTY_LOG_* or 0. Returns: 0;
 * -errno. */
int rmig_kvm_manual_protect(const struct rmig_kvm *kvm, uint64_t mode, struct rmig_err *err);

/** Turn logging on in all slots, or in none. Returns: 0; an errno of the kernel. */
int rmig_kvm_log_on(struct rmig_kvm *kvm, struct rmig_err *err);

/** Turn logging off where it is on. */
void rmig_kvm_log_off(struct rmig_kvm *kvm);

#endif
