/* SPDX-License-Identifier: BSD-3-Clause */
/* kvm_guest.h -- a VM of KVM whose vCPUs write the pages that they are told to: no firmware, no
 * kernel, a few bytes of code. */
#ifndef TESTS_UNIT_KVM_GUEST_H
#define TESTS_UNIT_KVM_GUEST_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <rmig/dirty.h>

#define GUEST_VCPUS 2u
#define GUEST_BLOCKS 2u
#define GUEST_SLOTS 4u

/* Block a is two slots, cut at no multiple of 64 pages; block b one, and once more its beginning.
 * The first three follow each other in guest memory. */
#define GUEST_A_PAGES 1024u
#define GUEST_A_CUT 612u
#define GUEST_B_PAGES 40007u
#define GUEST_ALIAS_PAGES 64u
#define GUEST_A_PHYS UINT64_C(0x1000000)
#define GUEST_B_PHYS (GUEST_A_PHYS + GUEST_A_PAGES * UINT64_C(4096))
#define GUEST_ALIAS_PHYS UINT64_C(0x30000000)
#define GUEST_ALIAS_SLOT 4u
#define GUEST_LEFT_OUT_SLOT 0u /* where the code is */

struct kvm_guest;

struct kvm_vcpu {
    struct kvm_guest *guest;
    int fd;
    struct kvm_run *run;
    pthread_t thread;
    atomic_bool ending;
};

struct kvm_guest {
    int kvm_fd;
    int vm_fd;
    uint32_t nvcpus;
    uint64_t ring_bytes; /* 0: no rings */
    struct kvm_vcpu vcpus[GUEST_VCPUS];
    int vcpu_fds[GUEST_VCPUS];
    void *code;
    struct rmig_block blocks[GUEST_BLOCKS];
    struct rmig_dirty_kvm_slot slots[GUEST_SLOTS]; /* in no order */
    struct rmig_dirty *dirty;                      /* reaped where a ring is full */
    atomic_uint fulls;                             /* how often one was */
};

/* Returns: true; false with the reason in why, where this machine cannot run such a guest. */
bool kvm_guest_open(struct kvm_guest *g, uint64_t ring_bytes, char why[128]);

void kvm_guest_close(struct kvm_guest *g);

/* What the trackers want to know of it. */
struct rmig_dirty_kvm_params kvm_guest_params(const struct kvm_guest *g);

/* The vCPU writes value to count pages from phys on, or only reads them; returns when it has. */
void kvm_guest_write(struct kvm_guest *g, uint32_t vcpu, uint64_t phys, uint32_t count,
                     uint32_t value);
/* As write, with all rights and without an exit in between: where KVM emulates that it can overrun
 * a ring. */
void kvm_guest_rush(struct kvm_guest *g, uint32_t vcpu, uint64_t phys, uint32_t count,
                    uint32_t value);
void kvm_guest_read(struct kvm_guest *g, uint32_t vcpu, uint64_t phys, uint32_t count);

/* The vCPU writes 1, 2, 3... to random ones of npages (a power of two) from block a's first on. */
void kvm_guest_start(struct kvm_guest *g, uint32_t vcpu, uint32_t npages);
void kvm_guest_stop(struct kvm_guest *g, uint32_t vcpu);

#endif
