/* SPDX-License-Identifier: BSD-3-Clause */
/* check_faults_kvm.c -- KVM's dirty trackers against a KVM that is played, with each call failing.
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>
#include <rmig/dirty.h>

#include "tests/unit/fake_kvm.h"
#include "tests/unit/fault_scene.h"
#include "tests/unit/stream_suite.h"
#include "tests/unit/suites.h"

#define NPAGES (FAKE_SLOTS * FAKE_SLOT_PAGES)

static struct fake_kvm kvm;
static struct rmig_dirty *dirty;
static uint8_t seen[NPAGES];

static int note(void *opaque, const struct rmig_run *run)
{
    (void)opaque;
    ck_assert_uint_eq(run->block_index, 0);
    for (uint64_t i = 0; i < run->len_bytes / RMIG_PAGE_BYTES; i++)
        seen[run->offset_bytes / RMIG_PAGE_BYTES + i]++;
    return 0;
}

/* Pages at the ends of slots and words. */
static const uint32_t pages[] = {0, 1, 63, 64, 130, 199, 200, 263, 399, 400, 599};
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void write_pages(uint32_t vcpu)
{
    for (size_t i = 0; i < COUNT(pages); i++)
        fake_kvm_write(&kvm, vcpu, pages[i]);
}

/* Those pages came, each once, and no other. */
static void only_pages_came(void)
{
    unsigned count = 0;

    for (uint32_t i = 0; i < NPAGES; i++) {
        ck_assert_uint_le(seen[i], 1);
        count += seen[i];
    }
    ck_assert_uint_eq(count, COUNT(pages));
    for (size_t i = 0; i < COUNT(pages); i++)
        ck_assert_msg(seen[pages[i]] == 1, "page %u is missing", pages[i]);
    memset(seen, 0, sizeof(seen));
}

static unsigned count_seen(void)
{
    unsigned count = 0;

    for (uint32_t i = 0; i < NPAGES; i++)
        count += seen[i];
    memset(seen, 0, sizeof(seen));
    return count;
}

/* --- each call fails -------------------------------------------------------------------------- */

static void prepare_log(void)
{
    fake_kvm_open(&kvm, false);
}

static void prepare_ring(void)
{
    fake_kvm_open(&kvm, true);
}

static void clean(void)
{
    for (uint32_t i = 0; i < FAKE_SLOTS; i++)
        ck_assert(!kvm.state[i].logging || fault_came());
    fake_kvm_close(&kvm);
}

/* A sync that fails loses nothing: the next one has all pages, those written since as well. */
static int sync_twice(struct rmig_err *err)
{
    int rc = rmig_dirty_sync(dirty, note, NULL, err);

    if (rc < 0) {
        struct rmig_err e = RMIG_ERR_INIT;

        memset(seen, 0, sizeof(seen));
        ck_assert_msg(rmig_dirty_sync(dirty, note, NULL, &e) == 0, "%s", e.msg);
    }
    only_pages_came();
    return rc;
}

static int play_tracker(struct rmig_err *err)
{
    int rc = rmig_dirty_start(dirty, err);

    if (rc < 0) {
        rmig_dirty_free(dirty);
        return rc;
    }
    write_pages(0);
    rc = sync_twice(err);
    if (rc == 0) {
        write_pages(1);
        rc = sync_twice(err);
    }
    rmig_dirty_stop(dirty);
    rmig_dirty_free(dirty);
    return rc;
}

static int play_log(struct rmig_err *err)
{
    const struct rmig_dirty_kvm_params params = fake_kvm_params(&kvm);
    int rc = rmig_dirty_kvm_log_open(&params, &kvm.block, 1, &dirty, err);

    return rc < 0 ? rc : play_tracker(err);
}

START_TEST(log__each_call_fails)
{
    static const struct fault_scene scene = {.name = "kvm-log",
                                             .says = "kvm-log|KVM|dirty tracking",
                                             .prepare = prepare_log,
                                             .play = play_log,
                                             .clean = clean};

    fault_scene_play(&scene);
}
END_TEST

static int play_ring(struct rmig_err *err)
{
    const struct rmig_dirty_kvm_params params = fake_kvm_params(&kvm);
    int rc = rmig_dirty_kvm_ring_open(&params, &kvm.block, 1, &dirty, err);

    return rc < 0 ? rc : play_tracker(err);
}

START_TEST(ring__each_call_fails)
{
    static const struct fault_scene scene = {.name = "kvm-ring",
                                             .says = "kvm-ring|KVM|dirty tracking",
                                             .prepare = prepare_ring,
                                             .play = play_ring,
                                             .clean = clean};

    fault_scene_play(&scene);
}
END_TEST

/* KVM has written over entries: all pages come, at the latest with the sync after one that failed.
 */
static int play_overrun(struct rmig_err *err)
{
    const struct rmig_dirty_kvm_params params = fake_kvm_params(&kvm);
    int rc = rmig_dirty_kvm_ring_open(&params, &kvm.block, 1, &dirty, err);

    if (rc < 0)
        return rc;
    rc = rmig_dirty_start(dirty, err);
    if (rc == 0) {
        for (uint32_t page = 0; page < FAKE_RING_ENTRIES + 9; page++)
            fake_kvm_write(&kvm, 0, page);
        memset(seen, 0, sizeof(seen));
        rc = rmig_dirty_sync(dirty, note, NULL, err);
        if (rc < 0)
            ck_assert_int_eq(rmig_dirty_sync(dirty, note, NULL, NULL), 0);
        ck_assert_uint_eq(count_seen(), NPAGES);
    }
    rmig_dirty_free(dirty);
    return rc;
}

START_TEST(overrun__each_call_fails)
{
    static const struct fault_scene scene = {.name = "kvm-ring-overrun",
                                             .says = "kvm-ring|KVM|dirty tracking",
                                             .prepare = prepare_ring,
                                             .play = play_overrun,
                                             .clean = clean};

    fault_scene_play(&scene);
}
END_TEST

/* --- what a played KVM does ------------------------------------------------------------------- */

static struct rmig_err err;

static void open_tracker(bool ring)
{
    struct rmig_dirty_kvm_params params;
    int rc;

    err = (struct rmig_err)RMIG_ERR_INIT;
    fake_kvm_open(&kvm, ring);
    fault_arm(&(struct fault){.site = -1}, &(struct fault){.site = -1});
    params = fake_kvm_params(&kvm);
    rc = ring ? rmig_dirty_kvm_ring_open(&params, &kvm.block, 1, &dirty, &err)
              : rmig_dirty_kvm_log_open(&params, &kvm.block, 1, &dirty, &err);
    ck_assert_msg(rc == 0, "%s", err.msg);
}

static void close_tracker(void)
{
    rmig_dirty_free(dirty);
    fault_disarm();
    fake_kvm_close(&kvm);
}

static void start_tracker(bool ring)
{
    open_tracker(ring);
    ck_assert_msg(rmig_dirty_start(dirty, &err) == 0, "%s", err.msg);
}

static void sync_is(int wanted)
{
    struct rmig_err e = RMIG_ERR_INIT;
    int rc = rmig_dirty_sync(dirty, note, NULL, &e);

    ck_assert_msg(rc == wanted, "%d: %s", rc, e.msg);
}

START_TEST(log__pages_come_once_and_are_protected_again)
{
    start_tracker(false);
    ck_assert_str_eq(rmig_dirty_name(dirty), "kvm-log");
    for (unsigned round = 0; round < 3; round++) {
        write_pages(0);
        sync_is(0);
        only_pages_came();
        sync_is(0);
        ck_assert_uint_eq(count_seen(), 0);
    }
    close_tracker();
}
END_TEST

START_TEST(ring__reaped_pages_come_with_the_next_sync)
{
    start_tracker(true);
    ck_assert_str_eq(rmig_dirty_name(dirty), "kvm-ring");
    for (unsigned round = 0; round < 60; round++) { /* round the ring, several times */
        write_pages(round % FAKE_VCPUS);
        ck_assert_int_eq(rmig_dirty_kvm_ring_reap(dirty, &err), 0);
        sync_is(0);
        only_pages_came();
    }
    close_tracker();
}
END_TEST

/* KVM has written over entries: which pages they were nobody knows, so all come. */
START_TEST(ring__overrun_reports_all_pages_and_goes_on)
{
    start_tracker(true);
    for (unsigned round = 0; round < 8; round++) {
        for (uint32_t page = 0; page < FAKE_RING_ENTRIES + 20 * round; page++)
            fake_kvm_write(&kvm, 0, page);
        sync_is(0);
        ck_assert_uint_eq(count_seen(), NPAGES);
        write_pages(0);
        sync_is(0);
        ck_assert_uint_ge(count_seen(), COUNT(pages));
    }
    close_tracker();
}
END_TEST

/* Once more, before the ring was found to be in order again. */
START_TEST(ring__overrun_after_overrun)
{
    start_tracker(true);
    for (unsigned round = 0; round < 8; round++) {
        for (uint32_t page = 0; page < FAKE_RING_ENTRIES + 30 * round; page++)
            fake_kvm_write(&kvm, 1, page);
        sync_is(0);
        ck_assert_uint_eq(count_seen(), NPAGES);
    }
    close_tracker();
}
END_TEST

/* An entry that is none of the slots given is told, once. */
START_TEST(ring__foreign_entry_is_EPROTO)
{
    static const struct {
        uint32_t slot;
        uint64_t offset;
    } foreign[] = {{0, FAKE_SLOT_PAGES}, {1, UINT64_MAX}, {FAKE_SLOTS, 0}, {UINT32_MAX, 0}};

    start_tracker(true);
    for (size_t i = 0; i < COUNT(foreign); i++) {
        struct fake_entry *e;

        fake_kvm_write(&kvm, 0, 5);
        e = &kvm.ring[0].entries[(kvm.ring[0].next - 1) % FAKE_RING_ENTRIES];
        e->slot = foreign[i].slot;
        e->offset = foreign[i].offset;
        sync_is(-EPROTO);
        kvm.state[0].open[5] = 0; /* the page itself KVM would protect again */
        sync_is(0);
        ck_assert_uint_eq(count_seen(), 0);
    }
    close_tracker();
}
END_TEST

START_TEST(ring__what_was_in_the_rings_before_is_dropped)
{
    struct rmig_dirty_kvm_params params;
    struct rmig_dirty *first;

    open_tracker(true);
    first = dirty;
    ck_assert_int_eq(rmig_dirty_start(first, &err), 0);
    write_pages(0);
    sync_is(0);
    only_pages_came();
    write_pages(0);
    rmig_dirty_stop(first);
    rmig_dirty_free(first);
    params = fake_kvm_params(&kvm);
    ck_assert_int_eq(rmig_dirty_kvm_ring_open(&params, &kvm.block, 1, &dirty, &err), 0);
    ck_assert_int_eq(rmig_dirty_start(dirty, &err), 0);
    sync_is(0);
    ck_assert_uint_eq(count_seen(), 0);
    write_pages(1);
    sync_is(0);
    only_pages_came();
    close_tracker();
}
END_TEST

START_TEST(ring__bitmap_beside_it_is_ENOTSUP)
{
    open_tracker(true);
    kvm.has_bitmap = true;
    ck_assert_failed(rmig_dirty_start(dirty, &err), -ENOTSUP, &err, "bitmap beside its rings");
    for (uint32_t i = 0; i < FAKE_SLOTS; i++)
        ck_assert(!kvm.state[i].logging);
    close_tracker();
}
END_TEST

START_TEST(log__vm_with_rings_is_ENXIO)
{
    open_tracker(false);
    kvm.has_rings = true;
    ck_assert_failed(rmig_dirty_start(dirty, &err), -ENXIO, &err, "use kvm-ring");
    close_tracker();
}
END_TEST

/* --- what is wrong with the parameters -------------------------------------------------------- */

static void refused(const struct rmig_dirty_kvm_params *params, bool ring, int code,
                    const char *word)
{
    int rc;

    err = (struct rmig_err)RMIG_ERR_INIT;
    rc = ring ? rmig_dirty_kvm_ring_open(params, &kvm.block, 1, &dirty, &err)
              : rmig_dirty_kvm_log_open(params, &kvm.block, 1, &dirty, &err);
    ck_assert_failed(rc, code, &err, word);
}

START_TEST(open__slots_that_cannot_be)
{
    static const struct {
        struct rmig_dirty_kvm_slot slot;
        const char *word;
    } bad[] = {
        {{.flags = 1, .len_bytes = 4096}, "its dirty log is on"},
        {{.flags = 8, .len_bytes = 4096}, "only KVM_MEM_READONLY"},
        {{.block_index = 1, .len_bytes = 4096}, "block 1 of 1"},
        {{.len_bytes = 0}, "not whole pages"},
        {{.len_bytes = 100}, "not whole pages"},
        {{.len_bytes = 4096, .block_offset_bytes = (NPAGES + 1) * UINT64_C(4096)}, "outside"},
    };
    struct rmig_dirty_kvm_params params;

    fake_kvm_open(&kvm, true);
    fault_arm(&(struct fault){.site = -1}, &(struct fault){.site = -1});
    for (size_t i = 0; i < COUNT(bad); i++) {
        params = fake_kvm_params(&kvm);
        params.slots = &bad[i].slot;
        params.nslots = 1;
        refused(&params, i % 2, -EINVAL, bad[i].word);
    }
    kvm.slots[2].slot = 0;
    params = fake_kvm_params(&kvm);
    refused(&params, true, -EINVAL, "slot 0 is listed twice");
    fault_disarm();
    fake_kvm_close(&kvm);
}
END_TEST

START_TEST(open__what_else_cannot_be)
{
    struct rmig_dirty_kvm_params good, params;

    fake_kvm_open(&kvm, true);
    fault_arm(&(struct fault){.site = -1}, &(struct fault){.site = -1});
    good = params = fake_kvm_params(&kvm);
    params.struct_size = 8;
    refused(&params, false, -EINVAL, "struct_size is 8");
    refused(NULL, false, -EINVAL, "struct_size is 0");
    params = good;
    params.nslots = 0;
    refused(&params, true, -EINVAL, "no memory slot");
    params = good;
    params.nvcpus = 0;
    refused(&params, true, -EINVAL, "no vCPU");
    params = good;
    params.ring_bytes *= 2;
    refused(&params, true, -EINVAL, "has not the 8192 bytes");
    params.ring_bytes = 5000;
    refused(&params, true, -EINVAL, "a power of two");
    params = good;
    kvm.has_rings = false;
    refused(&params, true, -ENOTSUP, "no dirty rings");
    ck_assert_int_eq(rmig_dirty_kvm_log_open(&good, NULL, 0, &dirty, NULL), -EINVAL);
    ck_assert_int_eq(rmig_dirty_kvm_log_open(&good, &kvm.block, 1, &dirty, NULL), 0);
    err = (struct rmig_err)RMIG_ERR_INIT;
    ck_assert_failed(rmig_dirty_kvm_ring_reap(dirty, &err), -EINVAL, &err,
                     "the tracker is kvm-log");
    rmig_dirty_free(dirty);
    fault_disarm();
    fake_kvm_close(&kvm);
}
END_TEST

Suite *faults_kvm_suite(void)
{
    const TTest *const faults[] = {log__each_call_fails, ring__each_call_fails,
                                   overrun__each_call_fails, NULL};
    const TTest *const played[] = {log__pages_come_once_and_are_protected_again,
                                   ring__reaped_pages_come_with_the_next_sync,
                                   ring__overrun_reports_all_pages_and_goes_on,
                                   ring__overrun_after_overrun,
                                   ring__foreign_entry_is_EPROTO,
                                   ring__what_was_in_the_rings_before_is_dropped,
                                   ring__bitmap_beside_it_is_ENOTSUP,
                                   log__vm_with_rings_is_ENXIO,
                                   open__slots_that_cannot_be,
                                   open__what_else_cannot_be,
                                   NULL};
    Suite *suite = suite_create("faults/kvm");

    fault_scene_suite_add(suite, "kvm", faults, NULL);
    suite_add(suite, "played", played);
    return suite;
}
