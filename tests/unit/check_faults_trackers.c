/* SPDX-License-Identifier: BSD-3-Clause */
/* check_faults_trackers.c -- the kernel's dirty trackers, with each call failing. */
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <rmig/dirty.h>

#include "hooks/dirty_userfault.h"
#include "tests/unit/fault_scene.h"
#include "tests/unit/hooks_util.h"
#include "tests/unit/stream_suite.h"
#include "tests/unit/suites.h"

#define PAGES 16u

static struct guest guest;
static uint8_t seen[2 * PAGES];
static uint8_t value;

/* A block that a file backs, and one that none does. */
static void setup(void)
{
    memset(&guest, 0, sizeof(guest));
    guest_add(&guest, "shared", PAGES * RMIG_PAGE_BYTES, false);
    guest_add(&guest, "private", PAGES * RMIG_PAGE_BYTES, true);
    memset(guest.blocks[0].host, 1, guest.blocks[0].len_bytes);
    memset(guest.blocks[1].host, 1, guest.blocks[1].len_bytes);
}

static int note(void *opaque, const struct rmig_run *run)
{
    (void)opaque;
    for (uint64_t i = 0; i < run->len_bytes / RMIG_PAGE_BYTES; i++)
        seen[run->block_index * PAGES + run->offset_bytes / RMIG_PAGE_BYTES + i]++;
    return 0;
}

static void touch(uint32_t block, uint64_t page)
{
    *(volatile uint8_t *)guest_page(&guest, block, page) = ++value;
}

/* What was written comes; a sync that fails leaves what it did not tell for the next one. */
static int sync_all(struct rmig_dirty *dirty, struct rmig_err *err)
{
    int rc;

    memset(seen, 0, sizeof(seen));
    touch(0, 3);
    touch(1, 0);
    touch(1, PAGES - 1);
    rc = rmig_dirty_sync(dirty, note, NULL, err);
    if (rc < 0) {
        struct rmig_err e = RMIG_ERR_INIT;

        ck_assert_msg(rmig_dirty_sync(dirty, note, NULL, &e) == 0, "%s", e.msg);
    }
    ck_assert(seen[3] == 1 && seen[PAGES] == 1 && seen[2 * PAGES - 1] == 1);
    return rc;
}

static int play_kind(enum rmig_dirty_kind kind, struct rmig_err *err)
{
    struct rmig_dirty *dirty;
    int rc = rmig_dirty_open(kind, guest.blocks, guest.count, &dirty, err);

    if (rc < 0)
        return rc;
    rc = rmig_dirty_start(dirty, err);
    if (rc == 0)
        rc = sync_all(dirty, err);
    if (rc == 0)
        rc = sync_all(dirty, err);
    rmig_dirty_stop(dirty);
    rmig_dirty_free(dirty);
    touch(0, 5); /* nobody watches any more, nobody waits */
    touch(1, 5);
    return rc;
}

static int play_pagemap(struct rmig_err *err)
{
    return play_kind(RMIG_DIRTY_PAGEMAP, err);
}

static int play_uffd(struct rmig_err *err)
{
    return play_kind(RMIG_DIRTY_USERFAULTFD, err);
}

static int play_auto(struct rmig_err *err)
{
    return play_kind(RMIG_DIRTY_AUTO, err);
}

/* Where this kernel has no such tracker there is nothing to play. */
static void play_if_here(const struct fault_scene *scene)
{
    struct rmig_err err = RMIG_ERR_INIT;

    if (scene->play(&err) == 0)
        fault_scene_play(scene);
    else
        printf("# no scene %s: %s\n", scene->name, err.msg);
    fflush(stdout);
}

START_TEST(pagemap__each_call_fails)
{
    static const struct fault_scene scene = {.name = "tracker-pagemap",
                                             .says = "dirty tracking|pagemap|PAGEMAP|userfaultfd",
                                             .play = play_pagemap};

    play_if_here(&scene);
}
END_TEST

START_TEST(userfaultfd__each_call_fails)
{
    static const struct fault_scene scene = {
        .name = "tracker-uffd", .says = "dirty tracking|userfaultfd", .play = play_uffd};

    play_if_here(&scene);
}
END_TEST

START_TEST(auto__each_call_fails)
{
    static const struct fault_scene scene = {
        .name = "tracker-auto", .says = "dirty tracking", .play = play_auto};

    play_if_here(&scene);
}
END_TEST

/* --- older kernels ---------------------------------------------------------------------------- */

/* Is there a kernel to play an older one with? */
static bool have_uffd(void)
{
    struct rmig_dirty *dirty;
    struct rmig_err err = RMIG_ERR_INIT;
    bool have =
        rmig_dirty_open(RMIG_DIRTY_USERFAULTFD, guest.blocks, guest.count, &dirty, &err) == 0;

    if (have)
        rmig_dirty_free(dirty);
    else
        printf("# not played: %s\n", err.msg);
    fflush(stdout);
    return have;
}

/* Before Linux 6.4 a page that was never touched cannot be protected: it is made to be there. */
static void prepare_older(void)
{
    ck_assert_int_eq(madvise(guest.blocks[1].host, guest.blocks[1].len_bytes, MADV_DONTNEED), 0);
    fault_uffd_lacks_features = UFFD_FEATURE_WP_UNPOPULATED;
}

static void clean_older(void)
{
    fault_uffd_lacks_features = 0;
}

START_TEST(userfaultfd__each_call_fails_in_an_older_kernel)
{
    static const struct fault_scene scene = {.name = "tracker-uffd-older",
                                             .says = "dirty tracking|userfaultfd",
                                             .prepare = prepare_older,
                                             .play = play_uffd,
                                             .clean = clean_older};

    play_if_here(&scene);
}
END_TEST

START_TEST(userfaultfd__kernel_without_write_protection_is_ENOTSUP)
{
    static const struct {
        uint64_t features, ioctls;
        const char *word;
    } lacks[] = {{UFFD_FEATURE_PAGEFAULT_FLAG_WP, 0, "cannot write-protect this way"},
                 {0, UINT64_C(1) << _UFFDIO_WRITEPROTECT, "cannot be write-protected"}};
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_dirty *dirty;

    if (!have_uffd())
        return;
    fault_uffd_lacks_features = lacks[_i].features;
    fault_uffd_lacks_ioctls = lacks[_i].ioctls;
    ck_assert_failed(
        rmig_dirty_open(RMIG_DIRTY_USERFAULTFD, guest.blocks, guest.count, &dirty, &err), -ENOTSUP,
        &err, lacks[_i].word);
}
END_TEST

Suite *faults_trackers_suite(void)
{
    const TTest *const trackers[] = {pagemap__each_call_fails, userfaultfd__each_call_fails,
                                     auto__each_call_fails,
                                     userfaultfd__each_call_fails_in_an_older_kernel, NULL};
    Suite *suite = suite_create("faults/trackers");

    TCase *older = tcase_create("older");

    fault_scene_suite_add(suite, "trackers", trackers, setup);
    tcase_add_checked_fixture(older, setup, NULL);
    tcase_add_loop_test(older, userfaultfd__kernel_without_write_protection_is_ENOTSUP, 0, 2);
    suite_add_tcase(suite, older);
    return suite;
}
