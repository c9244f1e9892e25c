/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * kvm_state.h -- all of a paused machine that is not RAM, as device sections: "clock", "vcpu" for
 * each vCPU, "irqchip", "pit", "serial". Bodies are the kernel's own structures, which are fixed.
 */
#ifndef TOOLS_KVM_STATE_H
#define TOOLS_KVM_STATE_H

#include "tools/kvm_machine.h"

/** Put all sections. Requires: paused. Returns: 0; an errno. */
int kvm_state_save(struct kvm_machine *m, struct rmig_save *save, struct rmig_err *err);

/** Take one section into a machine that never ran. Returns: 0; -EPROTO; an errno of the kernel. */
int kvm_state_load(struct kvm_machine *m, const char *name, uint32_t instance_id, uint32_t version,
                   const void *data, size_t len_bytes, struct rmig_err *err);

/** Has every section come? Returns: 0; -EPROTO naming one that is missing. */
int kvm_state_check(const struct kvm_machine *m, struct rmig_err *err);

#endif
