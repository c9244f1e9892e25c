/* SPDX-License-Identifier: BSD-3-Clause */
/* fake_kvm.c -- dirty logs and dirty rings as KVM's interface has them, without a guest. */
#include "tests/unit/fake_kvm.h"

#include <check.h>
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/kvm.h>

#define PAGE UINT64_C(4096)
#define RING_BYTES (FAKE_RING_ENTRIES * sizeof(struct fake_entry))
#define RING_OFFSET (64 * PAGE)
#define RESET_RINGS _IO(KVMIO, 0xc7)
#define CAP_RING_ACQ_REL 223
#define ENTRY_DIRTY 1u
#define ENTRY_RESET 2u

static struct fake_kvm *current;

static void open_ring(struct fake_kvm *kvm, uint32_t vcpu)
{
    int fd = memfd_create("ring", MFD_CLOEXEC);
    void *map;

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, (off_t)(RING_OFFSET + RING_BYTES)), 0);
    map = mmap(NULL, RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)RING_OFFSET);
    ck_assert_ptr_ne(map, MAP_FAILED);
    kvm->vcpu_fds[vcpu] = fd;
    kvm->ring[vcpu].entries = map;
}

void fake_kvm_open(struct fake_kvm *kvm, bool has_rings)
{
    const uint64_t bytes = FAKE_SLOTS * FAKE_SLOT_PAGES * PAGE;

    memset(kvm, 0, sizeof(*kvm));
    kvm->has_rings = has_rings;
    kvm->vm_fd = eventfd(0, EFD_CLOEXEC);
    ck_assert_int_ge(kvm->vm_fd, 0);
    for (uint32_t i = 0; i < FAKE_VCPUS; i++)
        open_ring(kvm, i);
    kvm->block = (struct rmig_block){
        .name = "ram", .len_bytes = bytes, .page_bytes = RMIG_PAGE_BYTES, .fd = -1};
    kvm->block.host = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ck_assert_ptr_ne(kvm->block.host, MAP_FAILED);
    for (uint32_t i = 0; i < FAKE_SLOTS; i++)
        kvm->slots[i] = (struct rmig_dirty_kvm_slot){
            .slot = i,
            .guest_phys_bytes = (16 + i) * FAKE_SLOT_PAGES * PAGE,
            .len_bytes = FAKE_SLOT_PAGES * PAGE,
            .block_offset_bytes = i * FAKE_SLOT_PAGES * PAGE,
        };
    current = kvm;
}

void fake_kvm_close(struct fake_kvm *kvm)
{
    for (uint32_t i = 0; i < FAKE_VCPUS; i++) {
        munmap(kvm->ring[i].entries, RING_BYTES);
        close(kvm->vcpu_fds[i]);
    }
    munmap(kvm->block.host, kvm->block.len_bytes);
    close(kvm->vm_fd);
    current = NULL;
}

struct rmig_dirty_kvm_params fake_kvm_params(const struct fake_kvm *kvm)
{
    return (struct rmig_dirty_kvm_params){
        .struct_size = sizeof(struct rmig_dirty_kvm_params),
        .vm_fd = kvm->vm_fd,
        .slots = kvm->slots,
        .nslots = FAKE_SLOTS,
        .nvcpus = FAKE_VCPUS,
        .vcpu_fds = kvm->vcpu_fds,
        .ring_bytes = RING_BYTES,
    };
}

/* --- what the guest does ---------------------------------------------------------------------- */

void fake_kvm_write(struct fake_kvm *kvm, uint32_t vcpu, uint32_t page)
{
    uint32_t slot = page / FAKE_SLOT_PAGES, within = page % FAKE_SLOT_PAGES;
    struct fake_entry *e;

    if (!kvm->state[slot].logging || kvm->state[slot].open[within])
        return;
    kvm->state[slot].open[within] = 1;
    if (!kvm->has_rings) {
        kvm->state[slot].written[within] = 1;
        return;
    }
    e = &kvm->ring[vcpu].entries[kvm->ring[vcpu].next++ % FAKE_RING_ENTRIES];
    e->slot = slot;
    e->offset = within;
    __atomic_store_n(&e->flags, ENTRY_DIRTY, __ATOMIC_RELEASE);
}

/* --- what the hypervisor asks ----------------------------------------------------------------- */

static int extension(const struct fake_kvm *kvm, uintptr_t capability)
{
    if (capability == KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2)
        return 3;
    return capability == CAP_RING_ACQ_REL && kvm->has_rings ? 65536 : 0;
}

static int set_region(struct fake_kvm *kvm, const struct kvm_userspace_memory_region *r)
{
    bool on = r->flags & KVM_MEM_LOG_DIRTY_PAGES;
    const struct rmig_dirty_kvm_slot *s = &kvm->slots[r->slot];

    ck_assert_uint_lt(r->slot, FAKE_SLOTS);
    ck_assert_uint_eq(r->guest_phys_addr, s->guest_phys_bytes);
    ck_assert_uint_eq(r->memory_size, s->len_bytes);
    ck_assert_uint_eq(r->userspace_addr, (uintptr_t)kvm->block.host + s->block_offset_bytes);
    if (on && !kvm->state[r->slot].logging) {
        memset(kvm->state[r->slot].open, kvm->mode & 2 ? 1 : 0, FAKE_SLOT_PAGES);
        memset(kvm->state[r->slot].written, kvm->mode & 2 ? 1 : 0, FAKE_SLOT_PAGES);
    }
    kvm->state[r->slot].logging = on;
    return 0;
}

static int get_log(const struct fake_kvm *kvm, const struct kvm_dirty_log *get)
{
    uint64_t *map = get->dirty_bitmap;

    if (kvm->has_rings && !kvm->has_bitmap)
        return -ENXIO;
    memset(map, 0, (FAKE_SLOT_PAGES + 63) / 64 * sizeof(*map));
    for (uint32_t i = 0; i < FAKE_SLOT_PAGES; i++)
        map[i / 64] |= (uint64_t)kvm->state[get->slot].written[i] << i % 64;
    return 0;
}

static int clear_log(struct fake_kvm *kvm, const struct kvm_clear_dirty_log *clear)
{
    const uint64_t *map = clear->dirty_bitmap;

    ck_assert_uint_eq(clear->first_page % 64, 0);
    ck_assert(clear->num_pages % 64 == 0 ||
              clear->first_page + clear->num_pages == FAKE_SLOT_PAGES);
    for (uint32_t i = 0; i < clear->num_pages; i++)
        if (map[i / 64] >> i % 64 & 1) {
            kvm->state[clear->slot].written[clear->first_page + i] = 0;
            kvm->state[clear->slot].open[clear->first_page + i] = 0;
        }
    return 0;
}

/* Takes back, from where it has come to in each ring, the entries that were read. */
static int reset_rings(struct fake_kvm *kvm)
{
    int count = 0;

    if (!kvm->has_rings)
        return -EINVAL;
    for (uint32_t v = 0; v < FAKE_VCPUS; v++)
        for (;; count++) {
            struct fake_entry *e = &kvm->ring[v].entries[kvm->ring[v].reset % FAKE_RING_ENTRIES];

            if (!(__atomic_load_n(&e->flags, __ATOMIC_ACQUIRE) & ENTRY_RESET))
                break;
            if (e->slot < FAKE_SLOTS && e->offset < FAKE_SLOT_PAGES)
                kvm->state[e->slot].open[e->offset] = 0;
            __atomic_store_n(&e->flags, 0, __ATOMIC_RELEASE);
            kvm->ring[v].reset++;
        }
    return count;
}

bool fake_kvm_ioctl(int fd, unsigned long request, void *arg, int *rc_p)
{
    struct fake_kvm *kvm = current;
    int rc = -ENOTTY;

    if (!kvm || fd != kvm->vm_fd)
        return false;
    if (request == KVM_CHECK_EXTENSION)
        rc = extension(kvm, (uintptr_t)arg);
    else if (request == KVM_SET_USER_MEMORY_REGION)
        rc = set_region(kvm, arg);
    else if (request == KVM_GET_DIRTY_LOG)
        rc = get_log(kvm, arg);
    else if (request == KVM_CLEAR_DIRTY_LOG)
        rc = clear_log(kvm, arg);
    else if (request == RESET_RINGS)
        rc = reset_rings(kvm);
    else if (request == KVM_ENABLE_CAP) {
        kvm->mode = ((const struct kvm_enable_cap *)arg)->args[0];
        rc = 0;
    }
    if (rc < 0)
        errno = -rc;
    *rc_p = rc < 0 ? -1 : rc;
    return true;
}
