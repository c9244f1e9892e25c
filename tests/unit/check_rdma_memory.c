/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check_rdma_memory.c -- whole moves over the fabric between kinds of memory: memfd, ordinary file, huge
 * pages. Dirty pages are those that the kernel's tracker tells of; holes are punched before and amid.
 * Huge pages are asked for as surplus, for the time of the test, where the pool has too few and this user
 * may; what cannot be had is a skip, a line each.
 */
#include "tests/unit/rdma_move.h"

#include <errno.h>
#include <fcntl.h>
#include <rmig/dirty.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MFD_HUGETLB
#define MFD_HUGETLB 4U
#endif
#define HUGE_SHIFT 26 /* MFD_HUGE_2MB, MAP_HUGE_1GB and the like: the page's logarithm from here on */

#define PAGE ((uint64_t)RMIG_PAGE_BYTES)
#define BLOCKS 2u
#define ROUNDS 3u

enum backing { MEMFD, ORDINARY_FILE, PRIVATE };

struct kind {
    const char *name;
    enum backing backing;
    unsigned shift; /* of the page */
};

static const struct kind kinds[] = {
    { "memfd", MEMFD, 12 },           { "file", ORDINARY_FILE, 12 }, { "memfd of 2 MiB pages", MEMFD, 21 },
    { "private 2 MiB pages", PRIVATE, 21 }, { "memfd of 1 GiB pages", MEMFD, 30 },
};

static const struct {
    unsigned from, to;
} cases[] = { { 0, 0 }, { 1, 1 }, { 2, 2 }, { 3, 3 }, { 4, 4 }, { 0, 1 }, { 1, 2 }, { 2, 0 }, { 0, 2 }, { 2, 3 } };

#define NCASES (sizeof(cases) / sizeof(cases[0]))

static struct move move;
static struct rmig_block view[BLOCKS]; /* the source's RAM as its guest maps it */
static struct rmig_dirty *dirty;

/* --- memory ----------------------------------------------------------------------------------- */

/* Blocks of several pages, so that each has a first, a last and one between. */
static uint64_t block_bytes(unsigned shift, uint32_t index)
{
    return shift == 30 ? 1ull << 30 : index ? 6ull << 20 : 8ull << 20;
}

static uint32_t nblocks_of(unsigned shift)
{
    return shift == 30 ? 1 : BLOCKS;
}

static int open_backing(const struct kind *kind, uint64_t len_bytes)
{
    char name[] = "check_rdma_memory.XXXXXX"; /* where the test runs: a tmpfs is no ordinary file */
    unsigned huge = kind->shift > 12 ? MFD_HUGETLB | kind->shift << HUGE_SHIFT : 0;
    int fd;

    if (kind->backing == PRIVATE)
        return -1;
    fd = kind->backing == MEMFD ? memfd_create("check", MFD_CLOEXEC | huge) : mkstemp(name);
    if (kind->backing == ORDINARY_FILE)
        (void)unlink(name);
    if (fd >= 0 && ftruncate(fd, (off_t)len_bytes) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* MAP_FAILED where the kernel has no such pages, or too few: it reserves them. */
static void *map(const struct kind *kind, int fd, uint64_t offset_bytes, uint64_t len_bytes)
{
    int huge = kind->shift > 12 ? MAP_HUGETLB | (int)(kind->shift << HUGE_SHIFT) : 0;
    int flags = kind->backing == PRIVATE ? MAP_PRIVATE | MAP_ANONYMOUS | huge : MAP_SHARED;

    return mmap(NULL, len_bytes, PROT_READ | PROT_WRITE, flags, fd, (off_t)offset_bytes);
}

/* Puts memory of another kind under the blocks of a fixture. */
static void make(struct ram *ram, const struct kind *kind, uint32_t nblocks, unsigned largest_shift)
{
    uint64_t total_bytes = 0, lens[BLOCKS] = { 0 };
    int fd;

    for (uint32_t i = 0; i < nblocks; i++)
        total_bytes += lens[i] = block_bytes(largest_shift, i);
    ram_init(ram, nblocks, lens);
    fd = open_backing(kind, total_bytes);
    ck_assert(fd >= 0 || kind->backing == PRIVATE);
    for (uint32_t i = 0, at = 0; i < nblocks; at += (uint32_t)lens[i++]) {
        munmap(ram->blocks[i].host, lens[i]);
        ram->blocks[i].host = map(kind, fd, at, lens[i]);
        ck_assert_ptr_ne(ram->blocks[i].host, MAP_FAILED);
        ram->blocks[i].page_bytes = 1ull << kind->shift;
        ram->blocks[i].fd = fd;
        ram->blocks[i].fd_offset_bytes = fd < 0 ? 0 : at;
    }
}

/* Private memory has one mapping only. */
static void make_view(const struct kind *kind)
{
    for (uint32_t i = 0; i < move.from.nblocks; i++) {
        const struct rmig_block *b = &move.from.blocks[i];

        view[i] = *b;
        if (b->fd >= 0)
            view[i].host = map(kind, b->fd, b->fd_offset_bytes, b->len_bytes);
        ck_assert_ptr_ne(view[i].host, MAP_FAILED);
    }
}

static uint64_t granule(uint64_t len_bytes)
{
    const struct rmig_block *b = &move.from.blocks[0];
    uint64_t step = b->page_bytes > len_bytes ? b->page_bytes : len_bytes;

    return step < b->len_bytes ? step : b->len_bytes;
}

/* As a balloon does: whole pages of the backing, which read as zero from then on. */
static void punch(uint32_t block, uint64_t offset_bytes, uint64_t len_bytes)
{
    const struct rmig_block *b = &move.from.blocks[block];

    if (b->fd < 0)
        ck_assert_int_eq(madvise((uint8_t *)b->host + offset_bytes, len_bytes, MADV_DONTNEED), 0);
    else
        ck_assert_int_eq(fallocate(b->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                   (off_t)(b->fd_offset_bytes + offset_bytes), (off_t)len_bytes), 0);
    /* not looked at: to read a hole of a memfd fills it */
}

/* --- a guest that writes ---------------------------------------------------------------------- */

static int mark(void *opaque, const struct rmig_run *run)
{
    uint64_t *marked = opaque;

    *marked += run->len_bytes / PAGE;
    return rmig_save_mark_dirty(move.save, run->block_index, run->offset_bytes, run->len_bytes);
}

static void write_page(uint32_t block, uint64_t page, unsigned round)
{
    uint64_t *word = (uint64_t *)((uint8_t *)view[block].host + page * PAGE);

    for (uint64_t i = 0; i < PAGE / sizeof(*word); i++)
        word[i] = (uint64_t)(round + 2) << 40 | (uint64_t)block << 36 | (page + i);
}

/* Pages of each block, the first and the last among them; without a tracker the guest says so itself. */
static void touch(struct move *m, unsigned round)
{
    struct rmig_err err = RMIG_ERR_INIT;
    uint64_t marked = 0, written = 0;

    for (uint32_t b = 0; b < m->from.nblocks; b++) {
        uint64_t npages = m->from.blocks[b].len_bytes / PAGE;

        for (uint64_t p = 0; p < npages; p += p + 1 < npages && p + 37 >= npages ? npages - 1 - p : 37) {
            write_page(b, p, round);
            written++;
            if (!dirty)
                ck_assert_int_eq(rmig_save_mark_dirty(m->save, b, p * PAGE, PAGE), 0);
        }
    }
    if (dirty) {
        ck_assert_done(rmig_dirty_sync(dirty, mark, &marked, &err), &err);
        ck_assert_uint_ge(marked, written);
    }
    if (round + 1 == ROUNDS) { /* the hypervisor that gives memory back says so to whoever moves it */
        punch(0, 0, granule(1u << 21));
        ck_assert_int_eq(rmig_save_mark_dirty(m->save, 0, 0, granule(1u << 21)), 0);
    }
}

static void start_tracker(enum rmig_dirty_kind kind)
{
    struct rmig_err err = RMIG_ERR_INIT;

    if (rmig_dirty_open(kind, view, move.from.nblocks, &dirty, &err) < 0)
        dirty = NULL;
    else
        ck_assert_done(rmig_dirty_start(dirty, &err), &err);
    printf("# %s\n", dirty ? rmig_dirty_name(dirty) : err.msg);
    fflush(stdout);
}

/* --- the test --------------------------------------------------------------------------------- */

static void set_up(const struct kind *from, const struct kind *to)
{
    unsigned shift = from->shift > to->shift ? from->shift : to->shift;
    static const uint64_t one[] = { RMIG_PAGE_BYTES };

    move_init(&move, 1, one); /* the rest of a move */
    ram_release(&move.from);
    ram_release(&move.to);
    make(&move.from, from, nblocks_of(shift), shift);
    make(&move.to, to, nblocks_of(shift), shift);
    for (uint32_t b = 0; b < move.from.nblocks; b++) {
        ram_fill(&move.from, b, 0, move.from.blocks[b].len_bytes, 1);
        memset(move.to.blocks[b].host, 0xee, move.to.blocks[b].len_bytes);
    }
    make_view(from);
}

START_TEST(move__keeps_the_content)
{
    const struct kind *from = &kinds[cases[_i / 2].from], *to = &kinds[cases[_i / 2].to];
    uint64_t hole_bytes;

    fabric_reset();
    set_up(from, to);
    hole_bytes = granule(1u << 21);
    punch(move.from.nblocks - 1, move.from.blocks[move.from.nblocks - 1].len_bytes - hole_bytes, hole_bytes);
    move.source_params.pin_all = _i & 1;
    move.limit_ms = 60000;
    move.nrounds = ROUNDS;
    move.touch = touch;
    start_tracker(_i & 1 ? RMIG_DIRTY_USERFAULTFD : RMIG_DIRTY_AUTO);
    move_run(&move);
    rmig_dirty_free(dirty);
    move_was_good(&move);
    ck_assert(ram_is_zero(&move.to, 0, 0, hole_bytes));
    /* hugetlbfs cannot tell where its holes are: they are read, and are zero pages */
    ck_assert_uint_eq(move.saved.hole_pages > 0, from->backing != PRIVATE && from->shift == 12);
    ck_assert_uint_gt(move.saved.zero_pages, 0);
}
END_TEST

/* --- which can be had -------------------------------------------------------------------------- */

static char overcommit_path[128];
static char overcommit_before[32];

/* Lets the kernel make as many more pages of this size as are asked for. */
static void allow_surplus(unsigned shift, unsigned npages)
{
    char line[32];
    ssize_t n;
    int fd;

    snprintf(overcommit_path, sizeof(overcommit_path),
             "/sys/kernel/mm/hugepages/hugepages-%llukB/nr_overcommit_hugepages", (1ull << shift) >> 10);
    fd = open(overcommit_path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    n = read(fd, overcommit_before, sizeof(overcommit_before) - 1);
    if (n > 0) {
        overcommit_before[n] = 0;
        n = snprintf(line, sizeof(line), "%lu\n", strtoul(overcommit_before, NULL, 10) + npages);
        n = pwrite(fd, line, (size_t)n, 0);
    }
    if (n <= 0)
        overcommit_before[0] = 0;
    close(fd);
}

static void restore_surplus(void)
{
    int fd = overcommit_before[0] ? open(overcommit_path, O_WRONLY | O_CLOEXEC) : -1;

    if (fd < 0)
        return;
    if (write(fd, overcommit_before, strlen(overcommit_before)) < 0)
        perror(overcommit_path);
    close(fd);
    overcommit_before[0] = 0;
}

static bool fits(const struct kind *kind, unsigned shift)
{
    uint64_t len_bytes = 2 * (block_bytes(shift, 0) + (nblocks_of(shift) > 1 ? block_bytes(shift, 1) : 0));
    int fd = open_backing(kind, len_bytes);
    void *host = fd >= 0 || kind->backing == PRIVATE ? map(kind, fd, 0, len_bytes) : MAP_FAILED;

    if (host != MAP_FAILED)
        munmap(host, len_bytes);
    if (fd >= 0)
        close(fd);
    return host != MAP_FAILED;
}

/* NULL, or what is missing for a move between these kinds. */
static const char *missing(const struct kind *from, const struct kind *to)
{
    static char why[128];
    const struct kind *larger = from->shift > to->shift ? from : to;

    if (larger->shift > 12 && !overcommit_before[0])
        allow_surplus(larger->shift, larger->shift == 30 ? 2 : 64);
    if (fits(larger, larger->shift))
        return NULL;
    snprintf(why, sizeof(why), "no %s to be had here: %s", larger->name,
             larger->shift == 30 ? "boot with hugepagesz=1G hugepages=2" : "as root set vm.nr_hugepages=64");
    return why;
}

/* --- a case a line ----------------------------------------------------------------------------- */

static bool run_one(unsigned number)
{
    Suite *suite = suite_create("rdma/memory");
    SRunner *runner = srunner_create(suite);
    TCase *tc = tcase_create("move");
    TestResult **failures;
    int failed;

    suite_add_tcase(suite, tc);
    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, move__keeps_the_content, (int)number, (int)number + 1);
    srunner_run_all(runner, CK_SILENT);
    failed = srunner_ntests_failed(runner);
    failures = srunner_failures(runner);
    for (int i = 0; i < failed; i++)
        printf("# %s:%d: %s\n", tr_lfile(failures[i]), tr_lno(failures[i]), tr_msg(failures[i]));
    free(failures);
    srunner_free(runner);
    return failed == 0;
}

int main(void)
{
    int status = EXIT_SUCCESS;

    unsetenv("CK_TAP_LOG_FILE_NAME"); /* its lines have no skip: they are made here */
    printf("1..%zu\n", 2 * NCASES);
    for (unsigned i = 0; i < 2 * NCASES; i++) {
        const struct kind *from = &kinds[cases[i / 2].from], *to = &kinds[cases[i / 2].to];
        const char *why = missing(from, to);
        bool good;

        fflush(stdout);
        good = why || run_one(i);
        restore_surplus();
        printf("%s %u - rdma/memory: %s to %s%s%s%s\n", good ? "ok" : "not ok", i + 1, from->name, to->name,
               i & 1 ? ", pinned" : "", why ? " # SKIP " : "", why ? why : "");
        if (!good)
            status = EXIT_FAILURE;
    }
    return status;
}
