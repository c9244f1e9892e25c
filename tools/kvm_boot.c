/* kvm_boot.c -- loads a kernel or a payload, and sets the vCPUs to enter it. */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/kvm_boot.h"

#include <asm/bootparam.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Low memory. */
#define ZERO_PAGE 0x7000u
#define TABLES 0x9000u /* page tables: one page each */
#define COMMAND_LINE 0x20000u
#define COMMAND_LINE_MAX 2048u
#define MP_TABLE 0x9fc00u /* the last KiB of base memory, where it is looked for */
#define BASE_MEMORY_END 0x9fc00u

#define IOAPIC_ADDRESS 0xfec00000u
#define LAPIC_ADDRESS 0xfee00000u
#define ISA_IRQS 16u

#define BOOT_CS 0x10u
#define BOOT_DS 0x18u
#define E820_RAM_TYPE 1u

static uint8_t *at(struct kvm_machine *m, uint64_t address)
{
    return (uint8_t *)m->ram.host + address;
}

/* --- files ------------------------------------------------------------------------------------ */

/* All of a file from skip on, to address; room is what is there. Returns: bytes; -errno. */
static int64_t load_file(struct kvm_machine *m, const char *name, off_t skip, uint64_t address,
                         uint64_t room, struct rmig_err *err)
{
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    struct stat st;
    int64_t done = 0;
    ssize_t n = 1;

    if (fd < 0 || fstat(fd, &st) < 0) {
        int code = errno;

        if (fd >= 0)
            close(fd);
        return rmig_err_set(err, -code, "%s: %s", name, strerror(code));
    }
    if (st.st_size <= skip || (uint64_t)(st.st_size - skip) > room) {
        close(fd);
        return rmig_err_set(err, -EFBIG, "%s: %lld bytes; between 1 and %llu of them fit", name,
                            (long long)(st.st_size - skip), (unsigned long long)room);
    }
    while (n > 0 && done < st.st_size - skip) {
        n = pread(fd, at(m, address) + done, (size_t)(st.st_size - skip - done), skip + done);
        done += n > 0 ? n : 0;
    }
    close(fd);
    if (done < st.st_size - skip)
        return rmig_err_set(err, -EIO, "%s: cannot be read", name);
    return done;
}

static int put_command_line(struct kvm_machine *m, const char *text, struct rmig_err *err)
{
    size_t len = strlen(text);

    if (len >= COMMAND_LINE_MAX)
        return rmig_err_set(err, -E2BIG, "command line: %zu bytes, at most %u are possible", len,
                            COMMAND_LINE_MAX - 1);
    memcpy(at(m, COMMAND_LINE), text, len + 1);
    return 0;
}

/* --- the table that tells a kernel of vCPUs and interrupts -------------------------------------- */

static void seal(uint8_t *table, size_t len, size_t checksum)
{
    uint8_t sum = 0;

    for (size_t i = 0; i < len; i++)
        sum = (uint8_t)(sum + table[i]);
    table[checksum] = (uint8_t)-sum;
}

static uint8_t *add(uint8_t *end, const void *entry, size_t len)
{
    memcpy(end, entry, len);
    return end + len;
}

static void put_mp_table(struct kvm_machine *m)
{
    uint8_t *pointer = at(m, MP_TABLE), *table = pointer + 16, *end = table + 44;
    const uint8_t ioapic = (uint8_t)m->nvcpus;
    uint32_t address = MP_TABLE + 16, lapic = LAPIC_ADDRESS, ioapic_address = IOAPIC_ADDRESS;
    uint16_t len, entries = 0;

    for (unsigned i = 0; i < m->nvcpus; i++, entries++) {
        uint8_t cpu[20] = {0, (uint8_t)i, 0x14, (uint8_t)(i == 0 ? 3 : 1), 0, 6, 0, 0, 1, 2};

        end = add(end, cpu, sizeof(cpu));
    }
    end = add(end, (const uint8_t[]){1, 0, 'I', 'S', 'A', ' ', ' ', ' '}, 8);
    end = add(end, (const uint8_t[]){2, ioapic, 0x11, 1}, 4);
    end = add(end, &ioapic_address, 4);
    for (uint8_t irq = 0; irq < ISA_IRQS; irq++) /* the timer comes in at pin 2 */
        end = add(end, (const uint8_t[]){3, 0, 0, 0, 0, irq, ioapic, irq == 0 ? 2 : irq}, 8);
    end = add(end, (const uint8_t[]){4, 3, 0, 0, 0, 0, 0, 0}, 8);    /* ExtINT to LINT0 */
    end = add(end, (const uint8_t[]){4, 1, 0, 0, 0, 0, 0xff, 1}, 8); /* NMI to LINT1 */
    entries = (uint16_t)(entries + 2 + ISA_IRQS + 2);
    len = (uint16_t)(end - table);

    memset(table, 0, 44);
    memcpy(table, "PCMP", 4);
    memcpy(table + 4, &len, 2);
    table[6] = 4; /* version 1.4 */
    memcpy(table + 8, "RMIG    KVM         ", 20);
    memcpy(table + 34, &entries, 2);
    memcpy(table + 36, &lapic, 4);
    seal(table, len, 7);

    memset(pointer, 0, 16);
    memcpy(pointer, "_MP_", 4);
    memcpy(pointer + 4, &address, 4);
    pointer[8] = 1; /* 16 bytes */
    pointer[9] = 4;
    seal(pointer, 16, 10);
}

/* --- registers -------------------------------------------------------------------------------- */

static struct kvm_segment segment(uint16_t selector, uint8_t type, uint8_t rights, bool long_mode)
{
    return (struct kvm_segment){.limit = 0xffffffff,
                                .selector = selector,
                                .type = type,
                                .present = 1,
                                .dpl = rights,
                                .db = !long_mode,
                                .s = 1,
                                .l = long_mode,
                                .g = 1};
}

static int set_registers(struct kvm_vcpu *vcpu, const struct kvm_sregs *sregs,
                         const struct kvm_regs *regs, struct rmig_err *err)
{
    struct kvm_mp_state runs = {KVM_MP_STATE_RUNNABLE};

    if (ioctl(vcpu->fd, KVM_SET_SREGS, sregs) < 0 || ioctl(vcpu->fd, KVM_SET_REGS, regs) < 0 ||
        ioctl(vcpu->fd, KVM_SET_MP_STATE, &runs) < 0)
        return rmig_err_set(err, -errno, "registers of vCPU %u: %s", vcpu->index, strerror(errno));
    return 0;
}

/* --- Linux ------------------------------------------------------------------------------------ */

static int check_kernel(const char *name, const struct setup_header *hdr, struct rmig_err *err)
{
    if (hdr->boot_flag != 0xaa55 || hdr->header != 0x53726448u /* HdrS */)
        return rmig_err_set(err, -ENOEXEC, "%s: no bzImage", name);
    if (hdr->version < 0x0206 || !(hdr->loadflags & LOADED_HIGH))
        return rmig_err_set(err, -ENOEXEC, "%s: boot protocol %u.%02u, at least 2.06 with a kernel "
                            "that is loaded high is needed", name, hdr->version >> 8,
                            hdr->version & 0xff);
    return 0;
}

static int read_header(const char *name, struct setup_header *hdr, struct rmig_err *err)
{
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : pread(fd, hdr, sizeof(*hdr), 0x1f1);
    int code = errno;

    if (fd >= 0)
        close(fd);
    if (n < 0)
        return rmig_err_set(err, -code, "%s: %s", name, strerror(code));
    if (n < (ssize_t)sizeof(*hdr))
        return rmig_err_set(err, -ENOEXEC, "%s: no bzImage", name);
    return check_kernel(name, hdr, err);
}

/* As high as the kernel can take it, so that it unpacks itself below. */
static int load_initrd(struct kvm_machine *m, const char *name, struct setup_header *hdr,
                       struct rmig_err *err)
{
    uint64_t end = m->ram.len_bytes;
    struct stat st;
    int64_t n;

    if (hdr->initrd_addr_max && end > hdr->initrd_addr_max)
        end = hdr->initrd_addr_max;
    end &= ~0xfffull;
    if (stat(name, &st) < 0)
        return rmig_err_set(err, -errno, "%s: %s", name, strerror(errno));
    if ((uint64_t)st.st_size > end / 2)
        return rmig_err_set(err, -EFBIG, "%s: %lld bytes do not fit a guest of %llu", name,
                            (long long)st.st_size, (unsigned long long)m->ram.len_bytes);
    hdr->ramdisk_image = (uint32_t)((end - (uint64_t)st.st_size) & ~0xfffull);
    if (hdr->ramdisk_image < KVM_LOAD_ADDRESS + (uint64_t)hdr->init_size)
        return rmig_err_set(err, -EFBIG, "%s: it would lie where the kernel unpacks itself, in its "
                            "first %u bytes; give the guest more memory", name, hdr->init_size);
    n = load_file(m, name, 0, hdr->ramdisk_image, end - hdr->ramdisk_image, err);
    hdr->ramdisk_size = n < 0 ? 0 : (uint32_t)n;
    return n < 0 ? (int)n : 0;
}

static void put_zero_page(struct kvm_machine *m, const struct setup_header *hdr)
{
    struct boot_params *zero = (struct boot_params *)at(m, ZERO_PAGE);

    memset(zero, 0, sizeof(*zero));
    zero->hdr = *hdr;
    zero->hdr.type_of_loader = 0xff;
    zero->hdr.cmd_line_ptr = COMMAND_LINE;
    zero->e820_entries = 2;
    zero->e820_table[0] = (struct boot_e820_entry){0, BASE_MEMORY_END, E820_RAM_TYPE};
    zero->e820_table[1] = (struct boot_e820_entry){
        KVM_LOAD_ADDRESS, m->ram.len_bytes - KVM_LOAD_ADDRESS, E820_RAM_TYPE};
}

int kvm_boot_linux(struct kvm_machine *m, const char *kernel, const char *initrd,
                   const char *command_line, struct rmig_err *err)
{
    struct kvm_regs regs = {.rip = KVM_LOAD_ADDRESS, .rsi = ZERO_PAGE, .rflags = 2};
    struct setup_header hdr;
    struct kvm_sregs sregs;
    int64_t n;
    int rc = read_header(kernel, &hdr, err);

    if (rc == 0)
        rc = put_command_line(m, command_line, err);
    if (rc < 0)
        return rc;
    n = load_file(m, kernel, (hdr.setup_sects ? hdr.setup_sects + 1 : 5) * 512, KVM_LOAD_ADDRESS,
                  m->ram.len_bytes / 2, err);
    rc = n < 0 ? (int)n : initrd ? load_initrd(m, initrd, &hdr, err) : 0;
    if (rc < 0)
        return rc;
    put_zero_page(m, &hdr);
    put_mp_table(m);
    if (ioctl(m->vcpus[0].fd, KVM_GET_SREGS, &sregs) < 0)
        return rmig_err_set(err, -errno, "KVM_GET_SREGS: %s", strerror(errno));
    sregs.cs = segment(BOOT_CS, 11, 0, false);
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = segment(BOOT_DS, 3, 0, false);
    sregs.cr0 |= 1; /* protected mode, no paging */
    return set_registers(&m->vcpus[0], &sregs, &regs, err);
}

/* --- a payload -------------------------------------------------------------------------------- */

static void put_page_tables(struct kvm_machine *m)
{
    uint64_t *tables = (uint64_t *)at(m, TABLES);

    tables[0] = (TABLES + 0x1000) | 7; /* present, writable, without rights */
    tables[512] = (TABLES + 0x2000) | 7;
    for (uint64_t i = 0; i < 512; i++)
        tables[1024 + i] = i << 21 | 0x87; /* 2 MiB each */
}

int kvm_boot_payload(struct kvm_machine *m, const char *payload, const char *command_line,
                     struct rmig_err *err)
{
    int64_t n = load_file(m, payload, 0, KVM_LOAD_ADDRESS, m->ram.len_bytes / 2, err);
    int rc = n < 0 ? (int)n : put_command_line(m, command_line, err);

    put_page_tables(m);
    for (unsigned i = 0; rc == 0 && i < m->nvcpus; i++) {
        struct kvm_regs regs = {.rip = KVM_LOAD_ADDRESS,
                                .rdi = COMMAND_LINE,
                                .rsi = m->ram.len_bytes,
                                .rdx = i,
                                .rflags = 0x3002}; /* any port may be used */
        struct kvm_sregs sregs;

        if (ioctl(m->vcpus[i].fd, KVM_GET_SREGS, &sregs) < 0)
            return rmig_err_set(err, -errno, "KVM_GET_SREGS: %s", strerror(errno));
        sregs.cs = segment(8 | 3, 11, 3, true);
        sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = segment(16 | 3, 3, 3, false);
        sregs.cr3 = TABLES;
        sregs.cr4 |= 0x220;       /* PAE, SSE */
        sregs.efer |= 0x500;      /* LME, LMA */
        sregs.cr0 |= 0x80000001u; /* PG, PE */
        rc = set_registers(&m->vcpus[i], &sregs, &regs, err);
    }
    return rc;
}
