/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fake_kvm.h -- a KVM that has a VM's memory slots and dirty pages and nothing else, for machines
 * that have none and for what a real one does once in a blue moon.
 */
#ifndef TESTS_UNIT_FAKE_KVM_H
#define TESTS_UNIT_FAKE_KVM_H

#include <stdbool.h>
#include <stdint.h>
#include <rmig/dirty.h>

#define FAKE_SLOTS 3u
#define FAKE_SLOT_PAGES 200u /* of each; no multiple of the bits of a word */
#define FAKE_VCPUS 2u
#define FAKE_RING_ENTRIES 256u

struct fake_kvm {
    bool has_rings;
    bool has_bitmap; /* beside the rings */
    /* Its descriptors are real ones, of nothing; those of vCPUs hold the rings. */
    int vm_fd;
    int vcpu_fds[FAKE_VCPUS];
    struct rmig_block block; /* what the slots show, one behind the other; never touched */
    struct rmig_dirty_kvm_slot slots[FAKE_SLOTS];
    /* What a vCPU writes to without being noted is open. */
    struct {
        bool logging;
        uint8_t open[FAKE_SLOT_PAGES], written[FAKE_SLOT_PAGES];
    } state[FAKE_SLOTS];
    uint64_t mode; /* of KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 */
    struct {
        struct fake_entry *entries;
        uint32_t next, reset;
    } ring[FAKE_VCPUS];
};

struct fake_entry {
    uint32_t flags;
    uint32_t slot;
    uint64_t offset;
};

void fake_kvm_open(struct fake_kvm *kvm, bool has_rings);
void fake_kvm_close(struct fake_kvm *kvm);
struct rmig_dirty_kvm_params fake_kvm_params(const struct fake_kvm *kvm);

/* A vCPU writes to a page, of all slots; it never stops because its ring is full. */
void fake_kvm_write(struct fake_kvm *kvm, uint32_t vcpu, uint32_t page);

/* What ioctl(2) says to a descriptor of the one that is open. Returns: true, with the answer, which
 * sets errno; false: it is none of its descriptors. */
bool fake_kvm_ioctl(int fd, unsigned long request, void *arg, int *rc_p);

#endif
