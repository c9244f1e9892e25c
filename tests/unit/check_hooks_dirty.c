/* check_hooks_dirty.c -- every tracker that runs here reports each written page, and in time. */
/* SPDX-License-Identifier: BSD-3-Clause */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <rmig/dirty.h>

#include "tools/bench_dirty_sigsegv.h"

#include "tests/unit/suites.h"

/* Guest pages are read while the guest writes: meant, and reported once a word without this, which
 * takes the thread sanitizer minutes. */
#ifdef __SANITIZE_THREAD__
void AnnotateIgnoreReadsBegin(const char *file, int line);
void AnnotateIgnoreReadsEnd(const char *file, int line);
#define MEANT_RACE_BEGIN() AnnotateIgnoreReadsBegin(__FILE__, __LINE__)
#define MEANT_RACE_END() AnnotateIgnoreReadsEnd(__FILE__, __LINE__)
#else
#define MEANT_RACE_BEGIN() ((void)0)
#define MEANT_RACE_END() ((void)0)
#endif

#define NBLOCKS 2u
#define BLOCK_PAGES 1024u
#define BLOCK_BYTES (BLOCK_PAGES * RMIG_PAGE_BYTES)

enum memory { ANONYMOUS, MEMFD };

struct kind {
    const char *name;
    int (*open)(const struct rmig_block *blocks, uint32_t nblocks, struct rmig_dirty **dirty_p,
                struct rmig_err *err);
};

static int open_pagemap(const struct rmig_block *blocks, uint32_t nblocks,
                        struct rmig_dirty **dirty_p, struct rmig_err *err)
{
    return rmig_dirty_open(RMIG_DIRTY_PAGEMAP, blocks, nblocks, dirty_p, err);
}

static int open_uffd(const struct rmig_block *blocks, uint32_t nblocks, struct rmig_dirty **dirty_p,
                     struct rmig_err *err)
{
    return rmig_dirty_open(RMIG_DIRTY_USERFAULTFD, blocks, nblocks, dirty_p, err);
}

static const struct kind kinds[] = {
    {"pagemap", open_pagemap},
    {"userfaultfd", open_uffd},
    {"mprotect", bench_dirty_sigsegv_open},
};

#define NKINDS (sizeof(kinds) / sizeof(kinds[0]))
#define NCASES (NKINDS * 2) /* with both kinds of memory */

/* Those that run on this kernel and for this user; found once, before the tests. */
static int cases[NCASES];
static int ncases;

struct fixture {
    struct rmig_block blocks[NBLOCKS];
    int fd;
    struct rmig_dirty *dirty;
    uint8_t seen[NBLOCKS][BLOCK_PAGES]; /* by the last sync */
};

static uint8_t *page_of(const struct fixture *f, uint32_t block, uint64_t page)
{
    return (uint8_t *)f->blocks[block].host + page * RMIG_PAGE_BYTES;
}

static void map_memory(struct fixture *f, enum memory memory)
{
    static const char *const names[NBLOCKS] = {"a", "b"};

    f->fd = memory == MEMFD ? memfd_create("check", MFD_CLOEXEC) : -1;
    if (f->fd >= 0 && ftruncate(f->fd, NBLOCKS * BLOCK_BYTES) < 0)
        abort();
    for (uint32_t i = 0; i < NBLOCKS; i++) {
        void *host = mmap(NULL, BLOCK_BYTES, PROT_READ | PROT_WRITE,
                          f->fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, f->fd,
                          f->fd >= 0 ? (off_t)(i * BLOCK_BYTES) : 0);

        if (host == MAP_FAILED)
            abort();
        f->blocks[i] = (struct rmig_block){.name = names[i],
                                           .host = host,
                                           .len_bytes = BLOCK_BYTES,
                                           .page_bytes = RMIG_PAGE_BYTES,
                                           .fd = f->fd,
                                           .fd_offset_bytes = i * BLOCK_BYTES};
    }
}

/* Also called outside of a test. False where this kernel or this user cannot have the tracker over
 * such memory. */
static bool open_case(struct fixture *f, int index)
{
    const struct kind *kind = &kinds[(size_t)index % NKINDS];
    struct rmig_err err = RMIG_ERR_INIT;

    memset(f, 0, sizeof(*f));
    map_memory(f, (size_t)index < NKINDS ? ANONYMOUS : MEMFD);
    if (kind->open(f->blocks, NBLOCKS, &f->dirty, &err) == 0)
        return true;
    if (err.code != -ENOTSUP && err.code != -EPERM) {
        fprintf(stderr, "%s: %s\n", kind->name, err.msg);
        abort();
    }
    return false;
}

static void close_case(struct fixture *f)
{
    rmig_dirty_free(f->dirty);
    for (uint32_t i = 0; i < NBLOCKS; i++)
        munmap(f->blocks[i].host, BLOCK_BYTES);
    if (f->fd >= 0)
        close(f->fd);
}

static int note(void *opaque, const struct rmig_run *run)
{
    struct fixture *f = opaque;

    ck_assert_uint_lt(run->block_index, NBLOCKS);
    ck_assert_uint_gt(run->len_bytes, 0);
    ck_assert_uint_eq(run->offset_bytes % RMIG_PAGE_BYTES, 0);
    ck_assert_uint_eq(run->len_bytes % RMIG_PAGE_BYTES, 0);
    ck_assert_uint_le(run->offset_bytes + run->len_bytes, BLOCK_BYTES);
    for (uint64_t i = 0; i < run->len_bytes / RMIG_PAGE_BYTES; i++)
        f->seen[run->block_index][run->offset_bytes / RMIG_PAGE_BYTES + i]++;
    return 0;
}

static uint32_t sync_now(struct fixture *f)
{
    struct rmig_err err = RMIG_ERR_INIT;
    uint32_t count = 0;

    memset(f->seen, 0, sizeof(f->seen));
    ck_assert_msg(rmig_dirty_sync(f->dirty, note, f, &err) == 0, "%s", err.msg);
    for (uint32_t b = 0; b < NBLOCKS; b++)
        for (uint32_t p = 0; p < BLOCK_PAGES; p++) {
            ck_assert_uint_le(f->seen[b][p], 1);
            count += f->seen[b][p];
        }
    return count;
}

static void start_now(struct fixture *f)
{
    struct rmig_err err = RMIG_ERR_INIT;

    ck_assert_msg(rmig_dirty_start(f->dirty, &err) == 0, "%s", err.msg);
}

static void touch(const struct fixture *f, uint32_t block, uint64_t page)
{
    (*(volatile uint8_t *)(page_of(f, block, page) + 100))++;
}

/* Exactly what was written, once, also pages that nobody had touched before the start. */
START_TEST(sync__reports_written_pages)
{
    struct fixture f;

    ck_assert(open_case(&f, cases[_i]));
    for (uint32_t p = 0; p < 200; p++)
        touch(&f, 0, p);
    ck_assert_str_eq(rmig_dirty_name(f.dirty), kinds[(size_t)cases[_i] % NKINDS].name);
    start_now(&f);
    ck_assert_uint_eq(sync_now(&f), 0);
    touch(&f, 0, 0);
    touch(&f, 0, 0);
    touch(&f, 0, 7);
    touch(&f, 0, BLOCK_PAGES - 1);
    touch(&f, 1, 512);
    ck_assert_uint_eq(sync_now(&f), 4);
    ck_assert_uint_eq(f.seen[0][0], 1);
    ck_assert_uint_eq(f.seen[0][7], 1);
    ck_assert_uint_eq(f.seen[0][BLOCK_PAGES - 1], 1);
    ck_assert_uint_eq(f.seen[1][512], 1);
    ck_assert_uint_eq(sync_now(&f), 0);
    close_case(&f);
}
END_TEST

/* A page is protected again by the sync that reports it. */
START_TEST(sync__protects_again)
{
    struct fixture f;

    ck_assert(open_case(&f, cases[_i]));
    start_now(&f);
    for (int round = 0; round < 5; round++) {
        touch(&f, 1, 3);
        ck_assert_uint_eq(sync_now(&f), 1);
        ck_assert_uint_eq(f.seen[1][3], 1);
    }
    close_case(&f);
}
END_TEST

START_TEST(sync__reading_is_no_writing)
{
    struct fixture f;
    volatile uint8_t sum = 0;

    ck_assert(open_case(&f, cases[_i]));
    start_now(&f);
    for (uint32_t p = 0; p < BLOCK_PAGES; p++)
        sum = (uint8_t)(sum + *page_of(&f, 0, p));
    ck_assert_uint_eq(sync_now(&f), 0);
    touch(&f, 0, 1);
    ck_assert_uint_eq(sync_now(&f), 1);
    close_case(&f);
}
END_TEST

START_TEST(sync__everything_written)
{
    struct fixture f;

    ck_assert(open_case(&f, cases[_i]));
    start_now(&f);
    for (uint32_t p = 0; p < BLOCK_PAGES; p++)
        touch(&f, 0, p);
    for (uint32_t p = 0; p < BLOCK_PAGES; p += 2)
        touch(&f, 1, p);
    ck_assert_uint_eq(sync_now(&f), BLOCK_PAGES + BLOCK_PAGES / 2);
    ck_assert_uint_eq(sync_now(&f), 0);
    close_case(&f);
}
END_TEST

START_TEST(stop__then_start_again)
{
    struct fixture f;

    ck_assert(open_case(&f, cases[_i]));
    start_now(&f);
    touch(&f, 0, 5);
    rmig_dirty_stop(f.dirty);
    touch(&f, 0, 6);
    start_now(&f);
    ck_assert_uint_eq(sync_now(&f), 0);
    touch(&f, 0, 8);
    ck_assert_uint_eq(sync_now(&f), 1);
    ck_assert_uint_eq(f.seen[0][8], 1);
    close_case(&f);
}
END_TEST

static int refuse(void *opaque, const struct rmig_run *run)
{
    (void)run;
    ++*(int *)opaque;
    return -ENOBUFS;
}

START_TEST(sync__callback_error_comes_back)
{
    struct fixture f;
    int calls = 0;

    ck_assert(open_case(&f, cases[_i]));
    start_now(&f);
    touch(&f, 0, 5);
    touch(&f, 0, 500);
    ck_assert_int_eq(rmig_dirty_sync(f.dirty, refuse, &calls, NULL), -ENOBUFS);
    ck_assert_int_eq(calls, 1);
    close_case(&f);
}
END_TEST

/* --- what it is all for: a copy made by rounds of sync and read equals the memory ----------------
 */

struct writer {
    const struct fixture *f;
    atomic_bool ending;
    atomic_uint_fast64_t writes;
};

static void *write_on(void *opaque)
{
    struct writer *w = opaque;
    uint64_t x = 88172645463325252ull;

    while (!atomic_load(&w->ending)) {
        uint64_t *word;

        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        word = (uint64_t *)(void *)page_of(w->f, (uint32_t)(x & 1), (x >> 8) % BLOCK_PAGES);
        word[(x >> 32) % 512] = x;
        atomic_fetch_add(&w->writes, 1);
    }
    return NULL;
}

struct copier {
    struct fixture *f;
    uint8_t *copy[NBLOCKS];
    struct rmig_run *runs;
    uint32_t nruns;
};

static int collect(void *opaque, const struct rmig_run *run)
{
    struct copier *c = opaque;

    ck_assert_uint_lt(c->nruns, NBLOCKS * BLOCK_PAGES);
    c->runs[c->nruns++] = *run;
    return 0;
}

static void copy_round(struct copier *c)
{
    c->nruns = 0;
    ck_assert_int_eq(rmig_dirty_sync(c->f->dirty, collect, c, NULL), 0);
    for (uint32_t i = 0; i < c->nruns; i++) {
        const struct rmig_run *run = &c->runs[i];

        MEANT_RACE_BEGIN();
        memcpy(c->copy[run->block_index] + run->offset_bytes,
               (uint8_t *)c->f->blocks[run->block_index].host + run->offset_bytes, run->len_bytes);
        MEANT_RACE_END();
    }
}

START_TEST(sync__racing_writer_loses_nothing)
{
    struct writer w = {0};
    struct copier c = {0};
    struct fixture f;
    pthread_t thread;

    ck_assert(open_case(&f, cases[_i]));
    w.f = c.f = &f;
    c.runs = calloc(NBLOCKS * BLOCK_PAGES, sizeof(*c.runs));
    for (uint32_t b = 0; b < NBLOCKS; b++)
        c.copy[b] = calloc(1, BLOCK_BYTES);
    start_now(&f);
    ck_assert_int_eq(pthread_create(&thread, NULL, write_on, &w), 0);
    for (int round = 0; round < 100 || atomic_load(&w.writes) < 4000; round++)
        copy_round(&c);
    atomic_store(&w.ending, true);
    pthread_join(thread, NULL);
    copy_round(&c);
    for (uint32_t b = 0; b < NBLOCKS; b++) {
        for (uint32_t p = 0; p < BLOCK_PAGES; p++)
            ck_assert_msg(!memcmp(c.copy[b] + (uint64_t)p * RMIG_PAGE_BYTES, page_of(&f, b, p),
                                  RMIG_PAGE_BYTES),
                          "block %u page %u is old after %llu writes", b, p,
                          (unsigned long long)atomic_load(&w.writes));
        free(c.copy[b]);
    }
    free(c.runs);
    close_case(&f);
}
END_TEST

/* --- opening ------------------------------------------------------------------------------------
 */

START_TEST(open__no_block_is_EINVAL)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_dirty *dirty = NULL;
    struct rmig_block block = {.name = "a"};

    ck_assert_int_eq(rmig_dirty_open(RMIG_DIRTY_AUTO, &block, 0, &dirty, &err), -EINVAL);
    ck_assert_ptr_null(dirty);
    ck_assert_int_eq(err.code, -EINVAL);
}
END_TEST

START_TEST(open__unknown_kind_is_EINVAL)
{
    struct rmig_dirty *dirty = NULL;
    struct rmig_block block = {.name = "a"};

    ck_assert_int_eq(rmig_dirty_open((enum rmig_dirty_kind)99, &block, 1, &dirty, NULL), -EINVAL);
}
END_TEST

/* Memory that cannot be protected is refused, with a reason for each way that was tried. */
START_TEST(open__unmapped_memory_is_refused)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_dirty *dirty = NULL;
    struct rmig_block block = {
        .name = "gone", .len_bytes = BLOCK_BYTES, .page_bytes = RMIG_PAGE_BYTES, .fd = -1};

    block.host = mmap(NULL, BLOCK_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(block.host, MAP_FAILED);
    munmap(block.host, BLOCK_BYTES);
    ck_assert_int_lt(rmig_dirty_open(RMIG_DIRTY_AUTO, &block, 1, &dirty, &err), 0);
    ck_assert_ptr_null(dirty);
    ck_assert_str_ne(err.msg, "");
}
END_TEST

/* Nothing is asked of KVM before the slots are right. */
START_TEST(kvm_open__wrong_slots_are_EINVAL)
{
    static const struct rmig_block block = {
        .name = "ram", .len_bytes = BLOCK_BYTES, .page_bytes = RMIG_PAGE_BYTES, .fd = -1};
    static const struct {
        struct rmig_dirty_kvm_slot slot;
        const char *says;
    } bad[] = {
        {{.slot = 7, .len_bytes = 0}, "slot 7: 0x0 bytes"},
        {{.len_bytes = BLOCK_BYTES + 4096}, "outside of RAM block ram"},
        {{.len_bytes = 4096, .block_offset_bytes = BLOCK_BYTES}, "outside of RAM block ram"},
        {{.len_bytes = 4096, .block_offset_bytes = UINT64_MAX - 4095}, "outside of RAM block ram"},
        {{.len_bytes = 4097}, "not whole pages"},
        {{.len_bytes = 4096, .guest_phys_bytes = 1}, "not whole pages"},
        {{.len_bytes = 4096, .block_offset_bytes = 512}, "not whole pages"},
        {{.len_bytes = UINT64_C(4096) << 31}, "not whole pages"},
        {{.len_bytes = 4096, .block_index = 1}, "block 1 of 1"},
        {{.len_bytes = 4096, .flags = 1}, "on already"},
        {{.len_bytes = 4096, .flags = 4}, "flags 0x4"},
        {{.slot = 3, .len_bytes = 4096}, "slot 3 is listed twice"},
    };
    struct rmig_dirty *dirty = NULL;

    for (uint32_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const struct rmig_dirty_kvm_slot slots[] = {{.slot = 3, .len_bytes = 4096}, bad[i].slot};
        struct rmig_dirty_kvm_params params = {
            .struct_size = sizeof(params), .vm_fd = -1, .slots = slots, .nslots = 2};
        struct rmig_err err = RMIG_ERR_INIT;

        ck_assert_int_eq(rmig_dirty_kvm_log_open(&params, &block, 1, &dirty, &err), -EINVAL);
        ck_assert_msg(strstr(err.msg, bad[i].says) != NULL, "%u: %s", i, err.msg);
        ck_assert_int_eq(rmig_dirty_kvm_ring_open(&params, &block, 1, &dirty, NULL), -EINVAL);
    }
    ck_assert_ptr_null(dirty);
}
END_TEST

START_TEST(kvm_open__wrong_params_are_refused)
{
    static const struct rmig_dirty_kvm_slot slot = {.len_bytes = 4096};
    static const struct rmig_block block = {
        .name = "ram", .len_bytes = BLOCK_BYTES, .page_bytes = RMIG_PAGE_BYTES, .fd = -1};
    struct rmig_dirty_kvm_params params = {
        .struct_size = sizeof(params) - 1, .vm_fd = -1, .slots = &slot, .nslots = 1};
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_dirty *dirty = NULL;

    ck_assert_int_eq(rmig_dirty_kvm_log_open(&params, &block, 1, &dirty, &err), -EINVAL);
    ck_assert_msg(strstr(err.msg, "struct_size") != NULL, "%s", err.msg);
    params.struct_size++;
    ck_assert_int_eq(rmig_dirty_kvm_log_open(&params, &block, 0, &dirty, NULL), -EINVAL);
    ck_assert_int_eq(rmig_dirty_kvm_log_open(NULL, &block, 1, &dirty, NULL), -EINVAL);
    ck_assert_int_eq(rmig_dirty_kvm_log_open(&params, &block, 1, &dirty, NULL), -ENOTSUP);
    ck_assert_int_eq(rmig_dirty_kvm_ring_open(&params, &block, 1, &dirty, NULL), -ENOTSUP);
    params.nslots = 0;
    ck_assert_int_eq(rmig_dirty_kvm_log_open(&params, &block, 1, &dirty, NULL), -EINVAL);
    ck_assert_ptr_null(dirty);
}
END_TEST

START_TEST(free__null_is_fine)
{
    rmig_dirty_free(NULL);
}
END_TEST

/* A fault that is nobody's ends the program, as it would without the tracker. */
START_TEST(mprotect__foreign_fault_still_kills)
{
    volatile char *foreign;
    struct fixture f;

    signal(SIGSEGV, SIG_DFL); /* a sanitizer has put its own there */
    ck_assert(open_case(&f, NKINDS - 1));
    start_now(&f);
    touch(&f, 0, 1);
    foreign = mmap(NULL, RMIG_PAGE_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne((void *)foreign, MAP_FAILED);
    *foreign = 1;
}
END_TEST

static void find_cases(void)
{
    for (int i = 0; i < (int)NCASES; i++) {
        struct fixture f;

        if (open_case(&f, i))
            cases[ncases++] = i;
        else
            fprintf(stderr, "not here: %s over %s memory\n", kinds[(size_t)i % NKINDS].name,
                    (size_t)i < NKINDS ? "anonymous" : "shared");
        close_case(&f);
    }
}

Suite *hooks_dirty_suite(void)
{
    Suite *s = suite_create("hooks/dirty");
    TCase *tc = tcase_create("sync");

    find_cases();
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, sync__reports_written_pages, 0, ncases);
    tcase_add_loop_test(tc, sync__protects_again, 0, ncases);
    tcase_add_loop_test(tc, sync__reading_is_no_writing, 0, ncases);
    tcase_add_loop_test(tc, sync__everything_written, 0, ncases);
    tcase_add_loop_test(tc, stop__then_start_again, 0, ncases);
    tcase_add_loop_test(tc, sync__callback_error_comes_back, 0, ncases);
    tcase_add_loop_test(tc, sync__racing_writer_loses_nothing, 0, ncases);
    suite_add_tcase(s, tc);
    tc = tcase_create("open");
    tcase_add_test(tc, open__no_block_is_EINVAL);
    tcase_add_test(tc, open__unknown_kind_is_EINVAL);
    tcase_add_test(tc, open__unmapped_memory_is_refused);
    tcase_add_test(tc, kvm_open__wrong_slots_are_EINVAL);
    tcase_add_test(tc, kvm_open__wrong_params_are_refused);
    tcase_add_test(tc, free__null_is_fine);
    tcase_add_test_raise_signal(tc, mprotect__foreign_fault_still_kills, SIGSEGV);
    suite_add_tcase(s, tc);
    return s;
}
