/* kvm_serial.c -- the registers of a 16550A that a console driver uses. */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/kvm_serial.h"

#include <errno.h>
#include <linux/kvm.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BASE 0x3f8u
#define IRQ 4u
/* Who reads so slowly is taken for an open cable: the guest is not to hang on it. */
#define PATIENCE_MS 100

enum { DATA, IER, IIR_FCR, LCR, MCR, LSR, MSR, SCR };

#define IER_RECEIVED 0x01u
#define IER_SENT 0x02u
#define IIR_NONE 0x01u
#define IIR_SENT 0x02u
#define IIR_RECEIVED 0x04u
#define IIR_FIFOS 0xc0u
#define LCR_DIVISOR 0x80u
#define MCR_LOOP 0x10u
#define LSR_RECEIVED 0x01u
#define LSR_IDLE 0x60u /* nothing to send, nothing being sent */
#define MSR_CONNECTED 0xb0u

void kvm_serial_init(struct kvm_serial *s, int vm_fd, int out_fd)
{
    *s = (struct kvm_serial){.vm_fd = vm_fd, .out_fd = out_fd};
    pthread_mutex_init(&s->lock, NULL);
}

bool kvm_serial_owns(uint16_t port)
{
    return port >= BASE && port <= BASE + SCR;
}

static uint8_t cause(const struct kvm_serial_regs *r)
{
    if (r->nfifo && (r->ier & IER_RECEIVED))
        return IIR_RECEIVED;
    return r->sent && (r->ier & IER_SENT) ? IIR_SENT : IIR_NONE;
}

static void set_line(struct kvm_serial *s, int level)
{
    struct kvm_irq_level irq = {.irq = IRQ, .level = (uint32_t)level};

    (void)ioctl(s->vm_fd, KVM_IRQ_LINE, &irq);
    s->line = level;
}

static void update_line(struct kvm_serial *s)
{
    int level = cause(&s->regs) != IIR_NONE;

    if (level != s->line)
        set_line(s, level);
}

/* A vCPU that is kicked meanwhile does not lose the byte. */
static void put_out(int fd, uint8_t byte)
{
    struct pollfd out = {fd, POLLOUT, 0};
    ssize_t n;

    do {
        n = poll(&out, 1, PATIENCE_MS);
        if (n > 0)
            n = write(fd, &byte, 1);
    } while (n < 0 && errno == EINTR);
}

static void put(struct kvm_serial *s, uint8_t byte)
{
    if (!(s->regs.mcr & MCR_LOOP))
        put_out(s->out_fd, byte);
    else if (s->regs.nfifo < KVM_SERIAL_FIFO_BYTES)
        s->regs.fifo[s->regs.nfifo++] = byte;
    s->regs.sent = 1;
}

static void write_register(struct kvm_serial *s, unsigned reg, uint8_t value)
{
    struct kvm_serial_regs *r = &s->regs;
    bool divisor = r->lcr & LCR_DIVISOR;

    switch (reg) {
    case DATA:
        if (divisor)
            r->dll = value;
        else
            put(s, value);
        break;
    case IER:
        if (divisor) {
            r->dlh = value;
        } else {
            if (!(r->ier & IER_SENT) && (value & IER_SENT))
                r->sent = 1; /* it is idle: the driver waits to hear so */
            r->ier = value & 0x0f;
        }
        break;
    case IIR_FCR:
        r->fcr = value & 0xc9;
        if (value & 2)
            r->nfifo = 0;
        break;
    case LCR:
        r->lcr = value;
        break;
    case MCR:
        r->mcr = value & 0x1f;
        break;
    case SCR:
        r->scr = value;
        break;
    default: /* status: read only */
        break;
    }
}

static uint8_t take(struct kvm_serial_regs *r)
{
    uint8_t byte = r->nfifo ? r->fifo[0] : 0;

    if (r->nfifo)
        memmove(r->fifo, r->fifo + 1, --r->nfifo);
    return byte;
}

static uint8_t read_register(struct kvm_serial_regs *r, unsigned reg)
{
    bool divisor = r->lcr & LCR_DIVISOR;
    uint8_t value;

    switch (reg) {
    case DATA:
        return divisor ? r->dll : take(r);
    case IER:
        return divisor ? r->dlh : r->ier;
    case IIR_FCR:
        value = cause(r);
        if (value == IIR_SENT)
            r->sent = 0; /* told */
        return value | (r->fcr & 1 ? IIR_FIFOS : 0);
    case LCR:
        return r->lcr;
    case MCR:
        return r->mcr;
    case LSR:
        return LSR_IDLE | (r->nfifo ? LSR_RECEIVED : 0);
    case MSR: /* in a loop the outputs come back as inputs */
        return r->mcr & MCR_LOOP ? (uint8_t)((r->mcr & 2) << 3 | (r->mcr & 1) << 5 |
                                             (r->mcr & 0x0c) << 4)
                                 : MSR_CONNECTED;
    default:
        return r->scr;
    }
}

void kvm_serial_io(struct kvm_serial *s, uint16_t port, bool out, uint8_t *data)
{
    pthread_mutex_lock(&s->lock);
    if (out)
        write_register(s, port - BASE, *data);
    else
        *data = read_register(&s->regs, port - BASE);
    update_line(s);
    pthread_mutex_unlock(&s->lock);
}

size_t kvm_serial_room(struct kvm_serial *s)
{
    size_t room;

    pthread_mutex_lock(&s->lock);
    room = KVM_SERIAL_FIFO_BYTES - s->regs.nfifo;
    pthread_mutex_unlock(&s->lock);
    return room;
}

void kvm_serial_receive(struct kvm_serial *s, const uint8_t *bytes, size_t len)
{
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < len && s->regs.nfifo < KVM_SERIAL_FIFO_BYTES; i++)
        s->regs.fifo[s->regs.nfifo++] = bytes[i];
    update_line(s);
    pthread_mutex_unlock(&s->lock);
}

void kvm_serial_save(struct kvm_serial *s, struct kvm_serial_regs *regs_p)
{
    pthread_mutex_lock(&s->lock);
    *regs_p = s->regs;
    pthread_mutex_unlock(&s->lock);
}

bool kvm_serial_load(struct kvm_serial *s, const struct kvm_serial_regs *regs)
{
    if (regs->nfifo > KVM_SERIAL_FIFO_BYTES)
        return false;
    pthread_mutex_lock(&s->lock);
    s->regs = *regs;
    set_line(s, cause(&s->regs) != IIR_NONE); /* the line is ours, not the controller's */
    pthread_mutex_unlock(&s->lock);
    return true;
}
