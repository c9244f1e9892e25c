/* SPDX-License-Identifier: BSD-3-Clause */
/* kvm_serial.h -- a 16550A serial port at 0x3f8, IRQ 4: output to a descriptor, input from another. */
#ifndef TOOLS_KVM_SERIAL_H
#define TOOLS_KVM_SERIAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KVM_SERIAL_FIFO_BYTES 64u

/** What of it moves with the guest: bytes, in this order, and the FIFO's content behind. */
struct kvm_serial_regs {
    uint8_t ier, lcr, mcr, scr, dll, dlh, fcr;
    uint8_t sent; /* the transmitter's interrupt is pending */
    uint8_t nfifo;
    uint8_t fifo[KVM_SERIAL_FIFO_BYTES]; /* received, not read yet */
};

struct kvm_serial {
    int vm_fd;
    int out_fd;
    pthread_mutex_t lock; /* guards what follows */
    struct kvm_serial_regs regs;
    int line; /* level of the interrupt line, as KVM has it */
};

void kvm_serial_init(struct kvm_serial *s, int vm_fd, int out_fd);

bool kvm_serial_owns(uint16_t port);

/** One access of a vCPU. */
void kvm_serial_io(struct kvm_serial *s, uint16_t port, bool out, uint8_t *data);

/** How many bytes from outside fit. Only the guest makes it more. */
size_t kvm_serial_room(struct kvm_serial *s);

/** Bytes from outside, as many as fit. */
void kvm_serial_receive(struct kvm_serial *s, const uint8_t *bytes, size_t len);

/** State, of a machine that is paused. load: false where the figures cannot be. */
void kvm_serial_save(struct kvm_serial *s, struct kvm_serial_regs *regs_p);
bool kvm_serial_load(struct kvm_serial *s, const struct kvm_serial_regs *regs);

#endif
