/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * kvm_machine.h -- a small PC under KVM: memory in one slot, interrupt controllers and timer in the
 * kernel, one serial port, 1 to 4 vCPUs, each a thread that is parked while the machine is paused.
 */
#ifndef TOOLS_KVM_MACHINE_H
#define TOOLS_KVM_MACHINE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <rmig/rmig.h>

#include "tools/kvm_serial.h"

#define KVM_VCPUS_MAX 4u
/* Writing a byte to this port ends the machine with that status: for flat payloads. */
#define KVM_EXIT_PORT 0xf4u

struct kvm_machine;

struct kvm_vcpu {
    struct kvm_machine *machine;
    unsigned index;
    int fd;
    struct kvm_run *run;
    pthread_t thread;
    bool has_thread;
};

struct kvm_machine {
    int kvm_fd, vm_fd;
    struct rmig_block ram; /* the one block; memfd */
    unsigned nvcpus;
    size_t run_bytes; /* of a vCPU's shared page */
    struct kvm_vcpu vcpus[KVM_VCPUS_MAX];
    struct kvm_serial serial;
    atomic_uint throttle_percent;
    uint64_t tsc_ticks; /* incoming: that went by while it was moved */
    uint32_t loaded;    /* incoming: device sections that have come, a bit each */
    bool user_paused;   /* by its user, and not for a move: it stays so where it goes */

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    bool running; /* wanted */
    unsigned nparked;
    bool over;   /* no vCPU runs any more */
    int status;  /* of the end */
    int over_fd; /* readable then */
};

/** Make the machine: paused, its memory zero. Returns: 0; an errno. */
int kvm_machine_new(struct kvm_machine *m, uint64_t ram_bytes, unsigned nvcpus,
                    struct rmig_err *err);

/** Start the vCPUs' threads, parked. Requires: their state is set. Returns: 0; an errno. */
int kvm_machine_start(struct kvm_machine *m, struct rmig_err *err);

/** Returns when no vCPU is in the guest and no I/O of one is half done. Twice is fine. */
int kvm_machine_pause(struct kvm_machine *m, struct rmig_err *err);

/** Let all vCPUs run. Returns: 0; -ESHUTDOWN the machine is over. */
int kvm_machine_resume(struct kvm_machine *m, struct rmig_err *err);

/** Do its vCPUs run, or are they about to? */
bool kvm_machine_running(struct kvm_machine *m);

/** End it: every vCPU leaves the guest for good. */
void kvm_machine_end(struct kvm_machine *m, int status);

/** End, join, free; fine on a machine that new() left half made. */
void kvm_machine_free(struct kvm_machine *m);

#endif
