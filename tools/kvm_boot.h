/* SPDX-License-Identifier: BSD-3-Clause */
/* kvm_boot.h -- what stands in memory and registers when a machine starts. */
#ifndef TOOLS_KVM_BOOT_H
#define TOOLS_KVM_BOOT_H

#include "tools/kvm_machine.h"

/* Where a kernel and a payload are loaded, and a payload is entered. */
#define KVM_LOAD_ADDRESS 0x100000u
/* A machine has at least so much memory, and at most what lies below the interrupt controllers. */
#define KVM_RAM_MIN_BYTES (16ull << 20)
#define KVM_RAM_MAX_BYTES (3ull << 30)

/**
 * A Linux bzImage, entered by its 32-bit entry; the other vCPUs wait to be started by it. initrd:
 * NULL or a file. Source: Documentation/arch/x86/boot.rst, MultiProcessor Specification 1.4.
 */
int kvm_boot_linux(struct kvm_machine *m, const char *kernel, const char *initrd,
                   const char *command_line, struct rmig_err *err);

/**
 * A flat file at KVM_LOAD_ADDRESS. Each vCPU enters it at its first byte in 64-bit mode without
 * rights (CPL 3, but any port may be used), each address of the first GiB being the physical one:
 * rdi = command line, NUL-terminated; rsi = RAM bytes; rdx = number of the vCPU; no stack.
 */
int kvm_boot_payload(struct kvm_machine *m, const char *payload, const char *command_line,
                     struct rmig_err *err);

#endif
