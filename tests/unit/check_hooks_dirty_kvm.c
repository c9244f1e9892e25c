/* check_hooks_dirty_kvm.c -- KVM's dirty log and dirty rings, against a guest that really runs. */
/* SPDX-License-Identifier: BSD-3-Clause */
#include <check.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/kvm.h>
#include <rmig/dirty.h>

#include "hooks/dirty_kinds.h"
#include "tests/unit/kvm_guest.h"

#define RING_BYTES UINT64_C(16384)
#define PAGE UINT64_C(4096)
#define MOST_PAGES (GUEST_A_PAGES + GUEST_B_PAGES)

enum kind { LOG_SET, LOG_CLEAR, RING, NKINDS };
static const char *const names[NKINDS] = {"kvm-log", "kvm-log", "kvm-ring"};

/* Those that this kernel has; found once, before the tests. */
static int kinds[NKINDS], nkinds;
static bool have_ring;

struct fixture {
    struct kvm_guest guest;
    struct rmig_dirty *dirty;
    uint8_t seen[MOST_PAGES]; /* by the last sync: block a's pages, then b's */
};

static struct fixture f;

static int open_kind(enum kind kind, const struct rmig_dirty_kvm_params *params,
                     struct rmig_err *err)
{
    struct kvm_guest *g = &f.guest;

    switch (kind) {
    case LOG_SET:
        return rmig_dirty_kvm_log_open(params, g->blocks, GUEST_BLOCKS, &f.dirty, err);
    case LOG_CLEAR: /* as before Linux 5.7 */
        return rmig_dirty_kvm_log_open_modes(params, KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE, g->blocks,
                                             GUEST_BLOCKS, &f.dirty, err);
    default:
        return rmig_dirty_kvm_ring_open(params, g->blocks, GUEST_BLOCKS, &f.dirty, err);
    }
}

static void open_tracker(enum kind kind)
{
    struct rmig_dirty_kvm_params params = kvm_guest_params(&f.guest);
    struct rmig_err err = RMIG_ERR_INIT;

    ck_assert_msg(open_kind(kind, &params, &err) == 0, "%s", err.msg);
    f.guest.dirty = f.dirty;
}

static void open_guest(enum kind kind)
{
    char why[128];

    memset(&f, 0, sizeof(f));
    ck_assert_msg(kvm_guest_open(&f.guest, kind == RING ? RING_BYTES : 0, why), "%s", why);
}

static void open_all(int index)
{
    open_guest((enum kind)kinds[index]);
    open_tracker((enum kind)kinds[index]);
}

static void close_tracker(void)
{
    rmig_dirty_free(f.dirty);
    f.dirty = f.guest.dirty = NULL;
}

static void close_all(void)
{
    close_tracker();
    kvm_guest_close(&f.guest);
}

static int note(void *opaque, const struct rmig_run *run)
{
    uint64_t first = run->offset_bytes / PAGE, n = run->len_bytes / PAGE;

    (void)opaque;
    ck_assert_uint_lt(run->block_index, GUEST_BLOCKS);
    ck_assert_uint_gt(run->len_bytes, 0);
    ck_assert_uint_eq((run->offset_bytes | run->len_bytes) % PAGE, 0);
    ck_assert_uint_le(run->offset_bytes + run->len_bytes,
                      f.guest.blocks[run->block_index].len_bytes);
    for (uint64_t i = 0; i < n; i++)
        f.seen[(run->block_index ? GUEST_A_PAGES : 0) + first + i]++;
    return 0;
}

static uint32_t sync_now(void)
{
    struct rmig_err err = RMIG_ERR_INIT;
    uint32_t count = 0;

    memset(f.seen, 0, sizeof(f.seen));
    ck_assert_msg(rmig_dirty_sync(f.dirty, note, NULL, &err) == 0, "%s", err.msg);
    for (uint32_t p = 0; p < MOST_PAGES; p++) {
        if (f.seen[p] > 1)
            ck_abort_msg("page %u comes %u times", p, f.seen[p]);
        count += f.seen[p];
    }
    return count;
}

static void start_now(void)
{
    struct rmig_err err = RMIG_ERR_INIT;

    ck_assert_msg(rmig_dirty_start(f.dirty, &err) == 0, "%s", err.msg);
}

/* The guest writes to a page: of those of block a, then of b. */
static void touch(uint32_t page)
{
    kvm_guest_write(&f.guest, page % GUEST_VCPUS, GUEST_A_PHYS + page * PAGE, 1, page);
}

/* Exactly these, and then no more. */
static void expect(const uint32_t *pages, uint32_t n)
{
    ck_assert_uint_eq(sync_now(), n);
    for (uint32_t i = 0; i < n; i++)
        ck_assert_msg(f.seen[pages[i]] == 1, "page %u is missing", pages[i]);
    ck_assert_uint_eq(sync_now(), 0);
}

/* At the ends of slots, blocks, words of the bitmap and of what one call clears, with gaps. */
START_TEST(sync__reports_written_pages)
{
    static const uint32_t pages[] = {
        0, 1, 63, 64, 127, 200, GUEST_A_CUT - 1, GUEST_A_CUT, GUEST_A_CUT + 28, GUEST_A_PAGES - 1,
        /* block b */
        GUEST_A_PAGES, GUEST_A_PAGES + 63, GUEST_A_PAGES + 6000, GUEST_A_PAGES + 16383,
        GUEST_A_PAGES + 16384, GUEST_A_PAGES + 16384 + 6000, GUEST_A_PAGES + 32769, MOST_PAGES - 1};

    open_all(_i);
    ck_assert_str_eq(rmig_dirty_name(f.dirty), names[kinds[_i]]);
    kvm_guest_write(&f.guest, 0, GUEST_A_PHYS, 300, 1);
    start_now();
    ck_assert_uint_eq(sync_now(), 0);
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
            touch(pages[i]);
            touch(pages[i]);
        }
        expect(pages, sizeof(pages) / sizeof(pages[0]));
    }
    close_all();
}
END_TEST

START_TEST(sync__protects_again)
{
    static const uint32_t page = GUEST_A_PAGES + 3;

    open_all(_i);
    start_now();
    for (int round = 0; round < 20; round++) {
        touch(page);
        expect(&page, 1);
    }
    close_all();
}
END_TEST

START_TEST(sync__reading_is_no_writing)
{
    static const uint32_t page = 5;

    open_all(_i);
    start_now();
    kvm_guest_read(&f.guest, 0, GUEST_A_PHYS, GUEST_A_PAGES);
    ck_assert_uint_eq(sync_now(), 0);
    touch(page);
    kvm_guest_read(&f.guest, 1, GUEST_A_PHYS, GUEST_A_PAGES);
    expect(&page, 1);
    close_all();
}
END_TEST

/* More than a ring holds, too. */
START_TEST(sync__everything_written)
{
    open_all(_i);
    start_now();
    for (uint32_t round = 1; round <= 2; round++) {
        kvm_guest_write(&f.guest, 0, GUEST_A_PHYS, MOST_PAGES, round);
        ck_assert_uint_eq(sync_now(), MOST_PAGES);
        ck_assert_uint_eq(sync_now(), 0);
    }
    if (kinds[_i] == RING)
        ck_assert_uint_gt(atomic_load(&f.guest.fulls), 2 * MOST_PAGES * 16 / RING_BYTES);
    else
        ck_assert_uint_eq(atomic_load(&f.guest.fulls), 0);
    close_all();
}
END_TEST

/* A page that two slots show is one page. */
START_TEST(sync__alias_is_the_same_page)
{
    static const uint32_t page = GUEST_A_PAGES + 7;

    open_all(_i);
    start_now();
    for (int round = 0; round < 3; round++) {
        kvm_guest_write(&f.guest, 0, GUEST_ALIAS_PHYS + 7 * PAGE, 1, 1);
        expect(&page, 1);
        kvm_guest_write(&f.guest, 0, GUEST_ALIAS_PHYS + 7 * PAGE, 1, 1);
        touch(page);
        expect(&page, 1);
    }
    close_all();
}
END_TEST

static bool logs(uint32_t slot)
{
    static uint64_t map[GUEST_B_PAGES / 64 + 1];
    struct kvm_dirty_log get = {.slot = slot, .dirty_bitmap = map};

    return ioctl(f.guest.vm_fd, KVM_GET_DIRTY_LOG, &get) == 0;
}

START_TEST(stop__then_start_again)
{
    static const uint32_t page = 8;

    open_all(_i);
    rmig_dirty_stop(f.dirty); /* not started is fine */
    start_now();
    ck_assert_int_eq(logs(2), kinds[_i] != RING);
    touch(5);
    rmig_dirty_stop(f.dirty);
    ck_assert(!logs(2));
    touch(6);
    start_now();
    ck_assert_uint_eq(sync_now(), 0);
    touch(page);
    expect(&page, 1);
    close_all();
}
END_TEST

/* A ring is in use already, anywhere in it, when the next tracker comes. */
START_TEST(open__after_another_tracker)
{
    open_all(_i);
    for (uint32_t i = 0; i < 20; i++) {
        const uint32_t page = 1000 + i;

        start_now();
        kvm_guest_write(&f.guest, 0, GUEST_A_PHYS, 100 + i, i);
        if (i % 2)
            ck_assert_uint_eq(sync_now(), 100 + i);
        close_tracker();
        open_tracker((enum kind)kinds[_i]);
        start_now();
        touch(page);
        expect(&page, 1);
        rmig_dirty_stop(f.dirty);
    }
    close_all();
}
END_TEST

static int refuse(void *opaque, const struct rmig_run *run)
{
    (void)run;
    ++*(int *)opaque;
    return -ENOBUFS;
}

START_TEST(sync__refused_run_is_kept)
{
    static const uint32_t pages[] = {5, 500, GUEST_A_PAGES};
    int calls = 0;

    open_all(_i);
    start_now();
    for (uint32_t i = 0; i < 3; i++)
        touch(pages[i]);
    ck_assert_int_eq(rmig_dirty_sync(f.dirty, refuse, &calls, NULL), -ENOBUFS);
    ck_assert_int_eq(calls, 1);
    touch(pages[1]);
    memset(f.seen, 0, sizeof(f.seen));
    ck_assert_int_eq(rmig_dirty_sync(f.dirty, note, NULL, NULL), 0);
    ck_assert_int_eq(rmig_dirty_sync(f.dirty, note, NULL, NULL), 0); /* a ring keeps it for this */
    for (uint32_t i = 0; i < 3; i++)
        ck_assert_uint_ge(f.seen[pages[i]], 1);
    ck_assert_uint_eq(sync_now(), 0);
    close_all();
}
END_TEST

/* --- what it is all for: a copy made by rounds of sync and read equals the memory ----------------
 */

#define STRESS_PAGES 2048u

struct copier {
    uint8_t *copy;
    struct rmig_run runs[MOST_PAGES];
    uint32_t nruns;
    uint64_t pages;
};

static struct copier c;

static int collect(void *opaque, const struct rmig_run *run)
{
    (void)opaque;
    if (c.nruns == MOST_PAGES)
        return -ENOBUFS;
    c.runs[c.nruns++] = *run;
    return 0;
}

static uint8_t *copy_of(uint32_t block, uint64_t offset_bytes)
{
    return c.copy + (block ? GUEST_A_PAGES * PAGE : 0) + offset_bytes;
}

/* Reads pages while the guest writes them: what is torn is reported by the next sync. */
static void copy_round(void)
{
    struct rmig_err err = RMIG_ERR_INIT;

    c.nruns = 0;
    ck_assert_msg(rmig_dirty_sync(f.dirty, collect, NULL, &err) == 0, "%s", err.msg);
    for (uint32_t i = 0; i < c.nruns; i++) {
        const struct rmig_run *run = &c.runs[i];

        memcpy(copy_of(run->block_index, run->offset_bytes),
               (uint8_t *)f.guest.blocks[run->block_index].host + run->offset_bytes,
               run->len_bytes);
        c.pages += run->len_bytes / PAGE;
    }
}

static void compare(void)
{
    for (uint32_t b = 0; b < GUEST_BLOCKS; b++)
        for (uint64_t at = 0; at < f.guest.blocks[b].len_bytes; at += PAGE)
            if (memcmp(copy_of(b, at), (uint8_t *)f.guest.blocks[b].host + at, PAGE) != 0)
                ck_abort_msg("block %u page %llu is old after %llu copied pages", b,
                             (unsigned long long)(at / PAGE), (unsigned long long)c.pages);
}

START_TEST(sync__racing_vcpus_lose_nothing)
{
    open_all(_i);
    c.copy =
        mmap(NULL, MOST_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(c.copy, MAP_FAILED);
    start_now();
    for (uint32_t b = 0; b < GUEST_BLOCKS; b++) /* the first pass: everything */
        memcpy(copy_of(b, 0), f.guest.blocks[b].host, f.guest.blocks[b].len_bytes);
    for (uint32_t stop = 0; stop < 20; stop++) {
        uint64_t enough = c.pages + 4000;

        for (uint32_t v = 0; v < GUEST_VCPUS; v++)
            kvm_guest_start(&f.guest, v, STRESS_PAGES);
        while (c.pages < enough)
            copy_round();
        for (uint32_t v = 0; v < GUEST_VCPUS; v++)
            kvm_guest_stop(&f.guest, v);
        copy_round();
        compare();
    }
    munmap(c.copy, MOST_PAGES * PAGE);
    close_all();
}
END_TEST

/* --- rings --------------------------------------------------------------------------------------
 */

/* The test's own view of a ring. */
struct entry {
    uint32_t flags, slot;
    uint64_t offset;
};

static volatile struct entry *map_ring(void)
{
    void *p =
        mmap(NULL, RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, f.guest.vcpu_fds[0], 64 * PAGE);

    ck_assert_ptr_ne(p, MAP_FAILED);
    return p;
}

static void expect_refused(const char *what)
{
    struct rmig_err err = RMIG_ERR_INIT;

    ck_assert_int_eq(rmig_dirty_sync(f.dirty, note, NULL, &err), -EPROTO);
    ck_assert_msg(strstr(err.msg, what) != NULL, "%s", err.msg);
}

/* What KVM says of a page is looked at before it is used. */
START_TEST(ring__entry_outside_is_refused)
{
    static const struct {
        uint32_t slot;
        uint64_t offset;
        const char *says;
    } bad[] = {{1, GUEST_A_CUT, "page 612 of slot 1"},
               {2, UINT64_MAX, "page 18446744073709551615 of slot 2"},
               {GUEST_LEFT_OUT_SLOT, 0, "page 0 of slot 0"},
               {UINT32_MAX, 0, "slot 4294967295"}};
    volatile struct entry *ring;

    open_guest(RING);
    open_tracker(RING);
    start_now();
    ring = map_ring();
    for (uint32_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const uint32_t page = 600;

        kvm_guest_write(&f.guest, 0, GUEST_A_PHYS + (i + 1) * PAGE, 1, 1);
        ck_assert_uint_eq(ring[2 * i].flags, 1);
        ck_assert_uint_eq(ring[2 * i].offset, i + 1);
        ring[2 * i].slot = bad[i].slot;
        ring[2 * i].offset = bad[i].offset;
        expect_refused(bad[i].says);
        kvm_guest_write(&f.guest, 0, GUEST_A_PHYS + page * PAGE, 1, 1); /* it goes on */
        expect(&page, 1);
    }
    munmap((void *)(uintptr_t)ring, RING_BYTES);
    close_all();
}
END_TEST

/* KVM may write over entries of a ring: what they said is unknown, so that all pages come. Each
 * round writes all that a ring has room for and more; where KVM emulates the guest it does so in
 * one go. */
START_TEST(ring__overrun_loses_nothing)
{
    open_guest(RING);
    open_tracker(RING);
    start_now();
    for (uint32_t round = 0; round < 50; round++) {
        const uint32_t page = 4000 + round;

        kvm_guest_rush(&f.guest, round % 2, GUEST_A_PHYS, 3000, round);
        ck_assert_uint_ge(sync_now(), 3000);
        for (uint32_t p = 0; p < 3000; p++)
            if (!f.seen[p])
                ck_abort_msg("round %u: page %u is missing", round, p);
        touch(page);
        expect(&page, 1);
    }
    close_all();
}
END_TEST

/* The same by force. The VM cannot go on after it: KVM knows nothing of these entries. */
START_TEST(ring__full_of_entries_reports_all_pages)
{
    volatile struct entry *ring;

    open_guest(RING);
    open_tracker(RING);
    start_now();
    ring = map_ring();
    for (uint32_t i = 0; i < RING_BYTES / 16; i++) {
        ring[i].slot = 1;
        ring[i].offset = i % 2;
        __atomic_store_n(&ring[i].flags, 1, __ATOMIC_RELEASE);
    }
    ck_assert_uint_eq(sync_now(), MOST_PAGES);
    ck_assert_uint_eq(sync_now(), 0);
    munmap((void *)(uintptr_t)ring, RING_BYTES);
    close_all();
}
END_TEST

/* A slot with its log on that was not given: told, not dropped. */
START_TEST(ring__slot_that_was_not_given_is_told)
{
    struct rmig_dirty_kvm_params params;
    struct rmig_dirty_kvm_slot slots[GUEST_SLOTS - 1];
    struct kvm_userspace_memory_region region = {.slot = GUEST_ALIAS_SLOT,
                                                 .flags = KVM_MEM_LOG_DIRTY_PAGES,
                                                 .guest_phys_addr = GUEST_ALIAS_PHYS,
                                                 .memory_size = GUEST_ALIAS_PAGES * PAGE};
    struct rmig_err err = RMIG_ERR_INIT;
    uint32_t n = 0;

    open_guest(RING);
    for (uint32_t i = 0; i < GUEST_SLOTS; i++)
        if (f.guest.slots[i].slot != GUEST_ALIAS_SLOT)
            slots[n++] = f.guest.slots[i];
    params = kvm_guest_params(&f.guest);
    params.slots = slots;
    params.nslots = n;
    ck_assert_int_eq(open_kind(RING, &params, NULL), 0);
    f.guest.dirty = f.dirty;
    start_now();
    region.userspace_addr = (uintptr_t)f.guest.blocks[1].host;
    ck_assert_int_eq(ioctl(f.guest.vm_fd, KVM_SET_USER_MEMORY_REGION, &region), 0);
    kvm_guest_write(&f.guest, 0, GUEST_ALIAS_PHYS + 9 * PAGE, 1, 1);
    ck_assert_msg(rmig_dirty_kvm_ring_reap(f.dirty, &err) == 0, "%s", err.msg);
    expect_refused("page 9 of slot 4");
    ck_assert_uint_eq(sync_now(), 0);
    close_all();
}
END_TEST

/* Where the VM's log was initially set, nothing would be protected. */
START_TEST(ring__start_undoes_initially_set)
{
    struct kvm_enable_cap cap = {.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, .args = {3}};
    static const uint32_t page = 4;

    open_guest(RING);
    touch(page); /* so that it is writable before the start */
    ck_assert_int_eq(ioctl(f.guest.vm_fd, KVM_ENABLE_CAP, &cap), 0);
    open_tracker(RING);
    start_now();
    touch(page);
    expect(&page, 1);
    close_all();
}
END_TEST

START_TEST(ring__size_must_be_the_enabled_one)
{
    static const uint64_t wrong[] = {
        0, 1, RING_BYTES - 1, RING_BYTES / 2, RING_BYTES * 2, 1 << 21, UINT64_MAX};
    struct rmig_dirty_kvm_params params;

    open_guest(RING);
    params = kvm_guest_params(&f.guest);
    for (uint32_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct rmig_err err = RMIG_ERR_INIT;

        params.ring_bytes = wrong[i];
        ck_assert_int_eq(open_kind(RING, &params, &err), -EINVAL);
        ck_assert_msg(strstr(err.msg, "kvm-ring") != NULL, "%s", err.msg);
    }
    ck_assert_ptr_null(f.dirty);
    params.ring_bytes = RING_BYTES;
    params.nvcpus = 0;
    ck_assert_int_eq(open_kind(RING, &params, NULL), -EINVAL);
    kvm_guest_close(&f.guest);
}
END_TEST

START_TEST(ring__vm_without_rings_is_ENOTSUP)
{
    struct rmig_dirty_kvm_params params;
    struct rmig_err err = RMIG_ERR_INIT;

    open_guest(LOG_SET);
    params = kvm_guest_params(&f.guest);
    params.ring_bytes = RING_BYTES;
    ck_assert_int_eq(open_kind(RING, &params, &err), -ENOTSUP);
    ck_assert_msg(strstr(err.msg, "before the first vCPU") != NULL, "%s", err.msg);
    kvm_guest_close(&f.guest);
}
END_TEST

START_TEST(ring__vm_with_rings_has_no_log)
{
    struct rmig_dirty_kvm_params params;
    struct rmig_err err = RMIG_ERR_INIT;

    open_guest(RING);
    params = kvm_guest_params(&f.guest);
    ck_assert_int_eq(open_kind(LOG_CLEAR, &params, &err), 0);
    ck_assert_int_eq(rmig_dirty_start(f.dirty, &err), -ENXIO);
    ck_assert_msg(strstr(err.msg, "use kvm-ring") != NULL, "%s", err.msg);
    close_all();
}
END_TEST

START_TEST(reap__other_trackers_are_EINVAL)
{
    open_guest(LOG_SET);
    open_tracker(LOG_SET);
    ck_assert_int_eq(rmig_dirty_kvm_ring_reap(f.dirty, NULL), -EINVAL);
    close_all();
}
END_TEST

/* --- slots --------------------------------------------------------------------------------------
 */

/* A slot that the VM has otherwise is refused, and the log of no slot stays on. */
START_TEST(start__slot_must_be_the_vms)
{
    struct rmig_dirty_kvm_slot slots[GUEST_SLOTS];
    struct rmig_dirty_kvm_params params;
    struct rmig_err err = RMIG_ERR_INIT;

    open_guest((enum kind)kinds[_i]);
    params = kvm_guest_params(&f.guest);
    memcpy(slots, f.guest.slots, sizeof(slots));
    params.slots = slots;
    for (uint32_t i = 0; i < GUEST_SLOTS; i++)
        if (slots[i].slot == 2)
            slots[i].len_bytes -= PAGE;
    ck_assert_int_eq(open_kind((enum kind)kinds[_i], &params, &err), 0);
    ck_assert_int_eq(rmig_dirty_start(f.dirty, &err), -EINVAL);
    ck_assert_msg(strstr(err.msg, "KVM slot 2") != NULL, "%s", err.msg);
    ck_assert(!logs(1));
    close_all();
}
END_TEST

/* The tracker's blocks may be another mapping than the one that KVM has. */
START_TEST(start__host_is_kvms_mapping)
{
    static const uint32_t page = GUEST_A_CUT + 1;
    struct rmig_block blocks[GUEST_BLOCKS];

    open_guest((enum kind)kinds[_i]);
    memcpy(blocks, f.guest.blocks, sizeof(blocks));
    for (uint32_t i = 0; i < GUEST_SLOTS; i++) {
        struct rmig_dirty_kvm_slot *s = &f.guest.slots[i];

        s->host = (uint8_t *)blocks[s->block_index].host + s->block_offset_bytes;
    }
    f.guest.blocks[0].host = f.guest.blocks[1].host = NULL;
    open_tracker((enum kind)kinds[_i]);
    start_now();
    touch(page);
    expect(&page, 1);
    memcpy(f.guest.blocks, blocks, sizeof(blocks));
    close_all();
}
END_TEST

/* Returns: does a guest run here at all? */
static bool find_kinds(char why[128])
{
    char no_ring[128];
    struct rmig_dirty_kvm_params params;
    struct rmig_err err = RMIG_ERR_INIT;
    bool runs;

    memset(&f, 0, sizeof(f));
    runs = kvm_guest_open(&f.guest, 0, why);
    if (runs) {
        params = kvm_guest_params(&f.guest);
        if (open_kind(LOG_SET, &params, &err) == 0) {
            kinds[nkinds++] = LOG_SET;
            kinds[nkinds++] = LOG_CLEAR;
        } else {
            fprintf(stderr, "not here: %s\n", err.msg);
        }
        close_tracker();
    }
    kvm_guest_close(&f.guest);
    if (!runs)
        return false;
    have_ring = kvm_guest_open(&f.guest, RING_BYTES, no_ring);
    if (have_ring)
        kinds[nkinds++] = RING;
    else
        fprintf(stderr, "not here: kvm-ring: %s\n", no_ring);
    kvm_guest_close(&f.guest);
    return true;
}

/* No case may say that it passed: a skip, as who reads it understands it. */
static int skip(const char *why)
{
    if (getenv("CK_TAP_LOG_FILE_NAME")) {
        printf("1..0 # SKIP KVM cannot run a guest here: %s\n", why);
        return EXIT_SUCCESS;
    }
    fprintf(stderr, "skipped: KVM cannot run a guest here: %s\n", why);
    return 77;
}

int main(void)
{
    Suite *s;
    TCase *tc;
    SRunner *sr;
    char why[128] = "";
    int failed;

    if (!find_kinds(why))
        return skip(why);
    s = suite_create("hooks/dirty_kvm");
    sr = srunner_create(s);
    tc = tcase_create("sync");
    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, sync__reports_written_pages, 0, nkinds);
    tcase_add_loop_test(tc, sync__protects_again, 0, nkinds);
    tcase_add_loop_test(tc, sync__reading_is_no_writing, 0, nkinds);
    tcase_add_loop_test(tc, sync__everything_written, 0, nkinds);
    tcase_add_loop_test(tc, sync__alias_is_the_same_page, 0, nkinds);
    tcase_add_loop_test(tc, stop__then_start_again, 0, nkinds);
    tcase_add_loop_test(tc, open__after_another_tracker, 0, nkinds);
    tcase_add_loop_test(tc, sync__refused_run_is_kept, 0, nkinds);
    tcase_add_loop_test(tc, sync__racing_vcpus_lose_nothing, 0, nkinds);
    tcase_add_loop_test(tc, start__slot_must_be_the_vms, 0, nkinds);
    tcase_add_loop_test(tc, start__host_is_kvms_mapping, 0, nkinds);
    suite_add_tcase(s, tc);
    tc = tcase_create("ring");
    tcase_set_timeout(tc, 60);
    if (have_ring) {
        tcase_add_test(tc, ring__entry_outside_is_refused);
        tcase_add_test(tc, ring__overrun_loses_nothing);
        tcase_add_test(tc, ring__full_of_entries_reports_all_pages);
        tcase_add_test(tc, ring__slot_that_was_not_given_is_told);
        tcase_add_test(tc, ring__start_undoes_initially_set);
        tcase_add_test(tc, ring__size_must_be_the_enabled_one);
        tcase_add_test(tc, ring__vm_without_rings_is_ENOTSUP);
        tcase_add_test(tc, ring__vm_with_rings_has_no_log);
    }
    tcase_add_test(tc, reap__other_trackers_are_EINVAL);
    suite_add_tcase(s, tc);
    srunner_run_all(sr, CK_ENV);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
