/* SPDX-License-Identifier: BSD-3-Clause */
/* kvm_guest.c -- a VM of KVM whose vCPUs write the pages that they are told to. */
#include "tests/unit/kvm_guest.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/kvm.h>

/* Code, and behind it the page tables of the first GiB. */
#define CODE_PHYS UINT64_C(0x1000)
#define CODE_PAGES 4u
#define TABLES_PHYS UINT64_C(0x2000)
#define EXIT_RING_FULL 31u
#define CAP_RING_ACQ_REL 223u

#if defined(__x86_64__) || defined(__i386__)

/*
 * 64-bit code that runs without any right: some KVMs emulate what has rights, and then neither
 * protect pages nor see a full ring in time. It ends by a write to where no memory is, and exits so
 * for each 16 writes too.
 *
 * rdi: where; edx: how far to the next; ecx: how many; eax: what; rbp: no memory
 */
static const uint8_t write_code[] = {
    0x89, 0x07,       /* again: mov [rdi], eax */
    0x01, 0xd7,       /*        add edi, edx */
    0xf6, 0xc1, 0x0f, /*        test cl, 15 */
    0x75, 0x03,       /*        jnz skip */
    0x89, 0x45, 0x00, /*        mov [rbp], eax */
    0xff, 0xc9,       /* skip:  dec ecx */
    0x75, 0xf0,       /*        jnz again */
    0x89, 0x45, 0x08, /*        mov [rbp + 8], eax */
};
static const uint8_t rush_code[] = {
    0x89, 0x07,       /* again: mov [rdi], eax */
    0x01, 0xd7,       /*        add edi, edx */
    0xff, 0xc9,       /*        dec ecx */
    0x75, 0xf8,       /*        jnz again */
    0x89, 0x45, 0x08, /*        mov [rbp + 8], eax */
};
static const uint8_t read_code[] = {
    0x8b, 0x07, /* again: mov eax, [rdi] */
    0x01, 0xd7, 0xff, 0xc9, 0x75, 0xf8, 0x89, 0x45, 0x08,
};
/* rsi: memory; ecx: pages - 1; ebx: state of a xorshift generator; eax: the last number written */
static const uint8_t random_code[] = {
    0x89, 0xda, 0xc1, 0xe2, 0x0d, 0x31, 0xd3, /* again: ebx ^= ebx << 13, by edx */
    0x89, 0xda, 0xc1, 0xea, 0x11, 0x31, 0xd3, /*        ebx ^= ebx >> 17 */
    0x89, 0xda, 0xc1, 0xe2, 0x05, 0x31, 0xd3, /*        ebx ^= ebx << 5 */
    0x89, 0xda, 0x21, 0xca, 0xc1, 0xe2, 0x0c, /*        edx = (ebx & ecx) << 12 */
    0xff, 0xc0,                               /*        inc eax */
    0x89, 0x04, 0x16,                         /*        mov [rsi + rdx], eax */
    0xa8, 0x0f,                               /*        test al, 15 */
    0x75, 0xdb,                               /*        jnz again */
    0x89, 0x45, 0x00,                         /*        mov [rbp], eax */
    0xeb, 0xd6,                               /*        jmp again */
};

#define NO_MEMORY_PHYS UINT64_C(0x3f000000)
#define DONE_PHYS (NO_MEMORY_PHYS + 8)

enum program {
    WRITE = 0x000,
    READ = 0x100,
    RANDOM = 0x200,
    RUSH = 0x300
}; /* offsets in the page of code */

static bool fail(char why[128], const char *what)
{
    snprintf(why, 128, "%s: %s", what, strerror(errno));
    return false;
}

static bool set_slot(const struct kvm_guest *g, uint32_t slot, uint64_t phys, uint64_t npages,
                     void *host)
{
    struct kvm_userspace_memory_region region = {
        .slot = slot,
        .guest_phys_addr = phys,
        .memory_size = npages * RMIG_PAGE_BYTES,
        .userspace_addr = (uintptr_t)host,
    };

    return ioctl(g->vm_fd, KVM_SET_USER_MEMORY_REGION, &region) == 0;
}

static void *map_pages(uint64_t npages)
{
    void *p = mmap(NULL, npages * RMIG_PAGE_BYTES, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        abort();
    return p;
}

static void list_memory(struct kvm_guest *g)
{
    uint64_t *tables;

    g->code = map_pages(CODE_PAGES);
    tables = (uint64_t *)g->code + (TABLES_PHYS - CODE_PHYS) / 8;
    tables[0] = (TABLES_PHYS + 4096) | 7; /* present, writable, user */
    tables[512] = (TABLES_PHYS + 8192) | 7;
    for (uint64_t i = 0; i < 512; i++)
        tables[1024 + i] = i << 21 | 0x87; /* a page of 2 MiB */
    memcpy((uint8_t *)g->code + WRITE, write_code, sizeof(write_code));
    memcpy((uint8_t *)g->code + RUSH, rush_code, sizeof(rush_code));
    memcpy((uint8_t *)g->code + READ, read_code, sizeof(read_code));
    memcpy((uint8_t *)g->code + RANDOM, random_code, sizeof(random_code));
    g->blocks[0] = (struct rmig_block){.name = "a", .len_bytes = GUEST_A_PAGES};
    g->blocks[1] = (struct rmig_block){.name = "b", .len_bytes = GUEST_B_PAGES};
    for (uint32_t i = 0; i < GUEST_BLOCKS; i++) {
        g->blocks[i].host = map_pages(g->blocks[i].len_bytes);
        g->blocks[i].len_bytes *= RMIG_PAGE_BYTES;
        g->blocks[i].page_bytes = RMIG_PAGE_BYTES;
        g->blocks[i].fd = -1;
    }
    g->slots[0] = (struct rmig_dirty_kvm_slot){
        .slot = 3, .guest_phys_bytes = GUEST_B_PHYS, .len_bytes = GUEST_B_PAGES, .block_index = 1};
    g->slots[1] = (struct rmig_dirty_kvm_slot){
        .slot = 1, .guest_phys_bytes = GUEST_A_PHYS, .len_bytes = GUEST_A_CUT};
    g->slots[2] = (struct rmig_dirty_kvm_slot){.slot = GUEST_ALIAS_SLOT,
                                               .guest_phys_bytes = GUEST_ALIAS_PHYS,
                                               .len_bytes = GUEST_ALIAS_PAGES,
                                               .block_index = 1};
    g->slots[3] = (struct rmig_dirty_kvm_slot){.slot = 2,
                                               .guest_phys_bytes =
                                                   GUEST_A_PHYS + GUEST_A_CUT * UINT64_C(4096),
                                               .len_bytes = GUEST_A_PAGES - GUEST_A_CUT,
                                               .block_offset_bytes = GUEST_A_CUT * UINT64_C(4096)};
}

static bool give_memory(struct kvm_guest *g)
{
    if (!set_slot(g, GUEST_LEFT_OUT_SLOT, CODE_PHYS, CODE_PAGES, g->code))
        return false;
    for (uint32_t i = 0; i < GUEST_SLOTS; i++) {
        struct rmig_dirty_kvm_slot *s = &g->slots[i];

        if (!set_slot(g, s->slot, s->guest_phys_bytes, s->len_bytes,
                      (uint8_t *)g->blocks[s->block_index].host + s->block_offset_bytes))
            return false;
        s->len_bytes *= RMIG_PAGE_BYTES;
    }
    return true;
}

/* 64-bit mode, each address being the physical one: most machines run that without emulation. */
static bool set_segments(int fd, uint8_t rights)
{
    struct kvm_segment seg = {.limit = 0xffffffff,
                              .selector = (uint16_t)(8 | rights),
                              .type = 11,
                              .present = 1,
                              .dpl = rights,
                              .l = 1,
                              .s = 1,
                              .g = 1};
    struct kvm_sregs s;

    if (ioctl(fd, KVM_GET_SREGS, &s) < 0)
        return false;
    s.cs = seg;
    seg.type = 3;
    seg.selector = (uint16_t)(16 | rights);
    seg.l = 0;
    seg.db = 1;
    s.ds = s.es = s.fs = s.gs = s.ss = seg;
    s.cr3 = TABLES_PHYS;
    s.cr4 |= 0x20;       /* PAE */
    s.efer |= 0x500;     /* LME, LMA */
    s.cr0 |= 0x80000001; /* PG, PE */
    return ioctl(fd, KVM_SET_SREGS, &s) == 0;
}

static bool add_vcpu(struct kvm_guest *g, uint32_t i)
{
    struct kvm_vcpu *v = &g->vcpus[i];
    int bytes = ioctl(g->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);

    v->guest = g;
    v->fd = g->vcpu_fds[i] = ioctl(g->vm_fd, KVM_CREATE_VCPU, (unsigned long)i);
    if (v->fd < 0 || bytes < 0)
        return false;
    v->run = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
    if (v->run == MAP_FAILED) {
        v->run = NULL;
        return false;
    }
    return set_segments(v->fd, 3);
}

/* One page is written and read back: the guest runs. */
static bool try_it(struct kvm_guest *g, char why[128])
{
    struct kvm_regs regs = {.rip = CODE_PHYS + RUSH,
                            .rflags = 2,
                            .rbp = NO_MEMORY_PHYS,
                            .rdi = GUEST_A_PHYS,
                            .rcx = 1,
                            .rdx = 4096,
                            .rax = 0x600dbeef};
    const struct kvm_run *run = g->vcpus[0].run;
    uint32_t got;

    if (ioctl(g->vcpus[0].fd, KVM_SET_REGS, &regs) < 0 || ioctl(g->vcpus[0].fd, KVM_RUN, 0) < 0)
        return fail(why, "KVM_RUN");
    memcpy(&got, g->blocks[0].host, sizeof(got));
    if (run->exit_reason != KVM_EXIT_MMIO || run->mmio.phys_addr != DONE_PHYS ||
        got != 0x600dbeef) {
        snprintf(why, 128, "the guest did not run: exit %u", run->exit_reason);
        return false;
    }
    return true;
}

bool kvm_guest_open(struct kvm_guest *g, uint64_t ring_bytes, char why[128])
{
    memset(g, 0, sizeof(*g));
    g->vm_fd = -1;
    g->ring_bytes = ring_bytes;
    for (uint32_t i = 0; i < GUEST_VCPUS; i++)
        g->vcpus[i].fd = -1;
    list_memory(g);
    g->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (g->kvm_fd < 0)
        return fail(why, "/dev/kvm");
    g->vm_fd = ioctl(g->kvm_fd, KVM_CREATE_VM, 0);
    if (g->vm_fd < 0)
        return fail(why, "KVM_CREATE_VM");
    (void)ioctl(g->vm_fd, KVM_SET_TSS_ADDR, 0xfffbd000ul); /* some processors need it */
    if (ring_bytes) {
        struct kvm_enable_cap cap = {.cap = CAP_RING_ACQ_REL, .args = {ring_bytes}};

        if (ioctl(g->vm_fd, KVM_ENABLE_CAP, &cap) < 0)
            return fail(why, "dirty rings");
    }
    if (!give_memory(g))
        return fail(why, "KVM_SET_USER_MEMORY_REGION");
    for (; g->nvcpus < GUEST_VCPUS; g->nvcpus++)
        if (!add_vcpu(g, g->nvcpus))
            return fail(why, "KVM_CREATE_VCPU");
    return try_it(g, why);
}

void kvm_guest_close(struct kvm_guest *g)
{
    int bytes = g->kvm_fd >= 0 ? ioctl(g->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0) : 0;

    for (uint32_t i = 0; i < GUEST_VCPUS; i++) {
        if (g->vcpus[i].run)
            munmap(g->vcpus[i].run, (size_t)bytes);
        if (g->vcpus[i].fd >= 0)
            close(g->vcpus[i].fd);
    }
    if (g->vm_fd >= 0)
        close(g->vm_fd);
    if (g->kvm_fd >= 0)
        close(g->kvm_fd);
    for (uint32_t i = 0; i < GUEST_BLOCKS; i++)
        munmap(g->blocks[i].host, g->blocks[i].len_bytes);
    munmap(g->code, CODE_PAGES * RMIG_PAGE_BYTES);
}

/* Runs until it halts, or is to end. */
static void run_vcpu(struct kvm_vcpu *v)
{
    while (!atomic_load(&v->ending)) {
        struct rmig_err err = RMIG_ERR_INIT;

        if (ioctl(v->fd, KVM_RUN, 0) < 0) {
            if (errno != EINTR)
                abort();
        } else if (v->run->exit_reason == KVM_EXIT_MMIO) {
            if (v->run->mmio.phys_addr == DONE_PHYS)
                return;
        } else if (v->run->exit_reason == EXIT_RING_FULL && v->guest->dirty) {
            atomic_fetch_add(&v->guest->fulls, 1);
            if (rmig_dirty_kvm_ring_reap(v->guest->dirty, &err) < 0) {
                fprintf(stderr, "%s\n", err.msg);
                abort();
            }
        } else {
            fprintf(stderr, "unexpected exit %u of the guest\n", v->run->exit_reason);
            abort();
        }
    }
}

static void set_regs(struct kvm_guest *g, uint32_t vcpu, const struct kvm_regs *regs)
{
    struct kvm_vcpu *v = &g->vcpus[vcpu];

    v->run->immediate_exit = 1; /* KVM ends the last exit's write when it is called again */
    (void)ioctl(v->fd, KVM_RUN, 0);
    v->run->immediate_exit = 0;
    if (ioctl(v->fd, KVM_SET_REGS, regs) < 0)
        abort();
}

static void run_program(struct kvm_guest *g, uint32_t vcpu, enum program program, uint64_t phys,
                        uint32_t count, uint32_t value)
{
    struct kvm_regs regs = {.rip = CODE_PHYS + program,
                            .rflags = 2,
                            .rbp = NO_MEMORY_PHYS,
                            .rdi = phys,
                            .rcx = count,
                            .rdx = 4096,
                            .rax = value};

    set_regs(g, vcpu, &regs);
    run_vcpu(&g->vcpus[vcpu]);
}

void kvm_guest_write(struct kvm_guest *g, uint32_t vcpu, uint64_t phys, uint32_t count,
                     uint32_t value)
{
    run_program(g, vcpu, WRITE, phys, count, value);
}

void kvm_guest_rush(struct kvm_guest *g, uint32_t vcpu, uint64_t phys, uint32_t count,
                    uint32_t value)
{
    if (!set_segments(g->vcpus[vcpu].fd, 0))
        abort();
    run_program(g, vcpu, RUSH, phys, count, value);
    if (!set_segments(g->vcpus[vcpu].fd, 3))
        abort();
}

void kvm_guest_read(struct kvm_guest *g, uint32_t vcpu, uint64_t phys, uint32_t count)
{
    run_program(g, vcpu, READ, phys, count, 0);
}

static void no_op(int sig)
{
    (void)sig; /* only there to interrupt KVM_RUN */
}

static void *vcpu_thread(void *opaque)
{
    run_vcpu(opaque);
    return NULL;
}

void kvm_guest_start(struct kvm_guest *g, uint32_t vcpu, uint32_t npages)
{
    struct kvm_vcpu *v = &g->vcpus[vcpu];
    struct sigaction sa = {.sa_handler = no_op};
    struct kvm_regs regs = {.rip = CODE_PHYS + RANDOM,
                            .rflags = 2,
                            .rbp = NO_MEMORY_PHYS,
                            .rsi = GUEST_A_PHYS,
                            .rcx = npages - 1,
                            .rbx = 2463534242u + vcpu};

    sigaction(SIGUSR1, &sa, NULL);
    set_regs(g, vcpu, &regs);
    atomic_store(&v->ending, false);
    v->run->immediate_exit = 0;
    if (pthread_create(&v->thread, NULL, vcpu_thread, v) != 0)
        abort();
}

void kvm_guest_stop(struct kvm_guest *g, uint32_t vcpu)
{
    struct kvm_vcpu *v = &g->vcpus[vcpu];

    atomic_store(&v->ending, true);
    *(volatile uint8_t *)&v->run->immediate_exit = 1; /* should it not be in KVM_RUN yet */
    pthread_kill(v->thread, SIGUSR1);
    pthread_join(v->thread, NULL);
    atomic_store(&v->ending, false);
    v->run->immediate_exit = 0;
}

struct rmig_dirty_kvm_params kvm_guest_params(const struct kvm_guest *g)
{
    return (struct rmig_dirty_kvm_params){
        .struct_size = sizeof(struct rmig_dirty_kvm_params),
        .vm_fd = g->vm_fd,
        .slots = g->slots,
        .nslots = GUEST_SLOTS,
        .nvcpus = g->nvcpus,
        .vcpu_fds = g->vcpu_fds,
        .ring_bytes = g->ring_bytes,
    };
}

#else

bool kvm_guest_open(struct kvm_guest *g, uint64_t ring_bytes, char why[128])
{
    (void)g;
    (void)ring_bytes;
    snprintf(why, 128, "the guest's code is for x86");
    return false;
}

void kvm_guest_close(struct kvm_guest *g)
{
    (void)g;
}

struct rmig_dirty_kvm_params kvm_guest_params(const struct kvm_guest *g)
{
    (void)g;
    return (struct rmig_dirty_kvm_params){0};
}

void kvm_guest_write(struct kvm_guest *g, uint32_t vcpu, uint64_t phys, uint32_t count,
                     uint32_t value)
{
    (void)g, (void)vcpu, (void)phys, (void)count, (void)value;
}

void kvm_guest_rush(struct kvm_guest *g, uint32_t vcpu, uint64_t phys, uint32_t count,
                    uint32_t value)
{
    (void)g, (void)vcpu, (void)phys, (void)count, (void)value;
}

void kvm_guest_read(struct kvm_guest *g, uint32_t vcpu, uint64_t phys, uint32_t count)
{
    (void)g, (void)vcpu, (void)phys, (void)count;
}

void kvm_guest_start(struct kvm_guest *g, uint32_t vcpu, uint32_t npages)
{
    (void)g, (void)vcpu, (void)npages;
}

void kvm_guest_stop(struct kvm_guest *g, uint32_t vcpu)
{
    (void)g, (void)vcpu;
}

#endif
