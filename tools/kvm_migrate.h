/* SPDX-License-Identifier: BSD-3-Clause */
/* kvm_migrate.h -- moves the machine: everything that a hypervisor needs of the library. */
#ifndef TOOLS_KVM_MIGRATE_H
#define TOOLS_KVM_MIGRATE_H

#include <jansson.h>

#include "tools/kvm_machine.h"

struct kvm_migrate {
    struct kvm_machine *machine;
    struct rmig_dirty *dirty;
    struct rmig_source *source; /* the last move from here */
    struct rmig_dest *dest;     /* incoming */
    bool going;                 /* its descriptor is to be polled */
    struct rmig_err err;        /* why the last move failed */
};

/** Wait for a machine at uri, and where it is rdma:, by tcp too. Returns: 0; an errno. */
int kvm_migrate_incoming(struct kvm_migrate *migrate, const char *uri, struct rmig_err *err);

/** Begin to move to uri. Returns: 0; -EBUSY; an errno. */
int kvm_migrate_begin(struct kvm_migrate *migrate, const char *uri,
                      const struct rmig_source_opts *opts, struct rmig_err *err);

/** To be polled for reading; -1 = nothing moves. */
int kvm_migrate_fd(const struct kvm_migrate *migrate);

/** When the descriptor is readable. Returns: 1 it goes on; 0 it is done; an errno, see err. */
int kvm_migrate_step(struct kvm_migrate *migrate);

/** Give up the move. Returns: 0; -EALREADY; -EINVAL there is none. */
int kvm_migrate_cancel(struct kvm_migrate *migrate);

/** The destination of a move in doubt is dead. Returns: 0; an errno. */
int kvm_migrate_reclaim(struct kvm_migrate *migrate, struct rmig_err *err);

/** Does this machine have the right to run: not moved away, not incoming, not in doubt? */
bool kvm_migrate_may_run(const struct kvm_migrate *migrate);

/** The figures, for status; a new object. */
json_t *kvm_migrate_status(const struct kvm_migrate *migrate);

void kvm_migrate_free(struct kvm_migrate *migrate);

#endif
