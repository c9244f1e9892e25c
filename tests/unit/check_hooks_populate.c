/* SPDX-License-Identifier: BSD-3-Clause */
/* check_hooks_populate.c -- memory of pages that arrive is allocated several at a time, and no more of it. */
#include <check.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "stream/format.h"
#include "tests/unit/hooks_pieces.h"
#include "tests/unit/hooks_util.h"
#include "tests/unit/suites.h"

#define PAGES 256u
#define HUGE_BYTES (2u << 20)

static struct messages m;
static struct guest source, dest;
static struct rmig_err err;

/* --- the call, noted and made to fail --------------------------------------------------------- */

static unsigned calls;
static size_t asked_pages;
static int fails_with; /* an errno, or 0 */
static const struct guest *within; /* in the first block of it all has to be */

/* In the place of libc's, for the whole program. */
int madvise(void *addr, size_t len, int advice)
{
    uintptr_t start;

    if (advice != MADV_POPULATE_WRITE || !within)
        return (int)syscall(SYS_madvise, addr, len, advice);
    start = (uintptr_t)within->blocks[0].host;
    ck_assert_uint_ge((uintptr_t)addr, start);
    ck_assert_uint_le((uintptr_t)addr + len, start + within->blocks[0].len_bytes);
    calls++;
    asked_pages += len / RMIG_PAGE_BYTES;
    if (fails_with) {
        errno = fails_with;
        return -1;
    }
    return (int)syscall(SYS_madvise, addr, len, advice);
}

static void setup(void)
{
    messages_init(&m);
    messages_init(&pieces);
    guest_init(&source, 1, PAGES * RMIG_PAGE_BYTES);
    guest_init(&dest, 1, PAGES * RMIG_PAGE_BYTES);
    err = (struct rmig_err)RMIG_ERR_INIT;
    calls = 0;
    asked_pages = 0;
    fails_with = 0;
    within = &dest;
}

static void teardown(void)
{
    within = NULL;
    messages_release(&m);
    messages_release(&pieces);
    guest_release(&source);
    guest_release(&dest);
}

static void move(void)
{
    save_all(&m, &source, NULL, NULL, 0);
    if (load_all(&m, &dest, NULL, NULL, NULL, &err) < 0)
        ck_abort_msg("%s", err.msg);
    guest_assert_equal(&source, &dest);
}

/* A page record, the first of all with its block's name. */
static void put_page(const char *block, uint64_t page, uint8_t v)
{
    put_be64(page * RMIG_PAGE_BYTES | RMIG_RAM_PAGE | (block ? 0 : RMIG_RAM_CONTINUE));
    if (block)
        put_str8(block);
    put_page_bytes(v);
}

/* block-0 and block-1 of 4 pages, parts of one file. */
static struct guest halves(struct rmig_block parts[2])
{
    struct guest g = {parts, 2};

    guest_release(&dest);
    guest_init(&dest, 1, 8 * RMIG_PAGE_BYTES);
    for (int i = 0; i < 2; i++) {
        parts[i] = dest.blocks[0];
        parts[i].name = i ? "block-1" : "block-0";
        parts[i].len_bytes = 4 * RMIG_PAGE_BYTES;
        parts[i].host = (uint8_t *)parts[i].host + (size_t)i * 4 * RMIG_PAGE_BYTES;
        parts[i].fd_offset_bytes = (uint64_t)i * 4 * RMIG_PAGE_BYTES;
    }
    return g;
}

/* What was put, in one message: so the end of each run is in the buffer. Returns: as the load. */
static int load_pieces(const struct guest *g)
{
    pieces.ends[0] = pieces.len;
    pieces.count = 1;
    within = g;
    return load_all(&pieces, g, NULL, NULL, NULL, &err);
}

/* --- which memory ----------------------------------------------------------------------------- */

START_TEST(populate__several_pages_a_call_and_no_page_more)
{
    guest_fill(&source, 0, 3, 100, 1);
    guest_fill(&source, 0, 200, 1, 1);
    guest_fill(&source, 0, 202, 1, 1);
    guest_fill(&source, 0, PAGES - 1, 1, 1);
    move();
    ck_assert_uint_gt(calls, 0);
    ck_assert_uint_le(calls, 100 / 4);
    ck_assert_uint_ge(asked_pages, 90);
    ck_assert_uint_le(asked_pages, 100);
    ck_assert_uint_eq(guest_allocated_pages(&dest, 0), 103);
}
END_TEST

START_TEST(populate__a_run_ends_with_its_block)
{
    struct rmig_block parts[2];
    struct guest g = halves(parts);

    put_up_to_start();
    put_part(RMIG_SECTION_END);
    put_page("block-0", 2, 1);
    for (uint64_t page = 3; page < 6; page++)
        put_page(NULL, page, 2);
    put_end_of(2);
    put_u8(RMIG_SECTION_EOF);
    ck_assert_int_eq(load_pieces(&g), -EPROTO);
    ck_assert_uint_eq(asked_pages, 2);
    for (int i = 0; i < 4; i++)
        ck_assert_uint_eq(guest_page(&dest, 0, 4)[i * RMIG_PAGE_BYTES], 0);
}
END_TEST

START_TEST(populate__a_run_ends_where_something_else_comes)
{
    static const uint8_t expected[] = {1, 2, 4, 0};
    struct rmig_block parts[2];
    struct guest g = halves(parts);

    put_up_to_start();
    put_part(RMIG_SECTION_END);
    put_page("block-0", 0, 1);
    put_page(NULL, 1, 2);
    put_page(NULL, 3, 3); /* not the next */
    put_page("block-0", 2, 4); /* in another form */
    put_be64(3 * RMIG_PAGE_BYTES | RMIG_RAM_ZERO | RMIG_RAM_CONTINUE);
    put_u8(0);
    put_end_of(2);
    put_u8(RMIG_SECTION_EOF);
    ck_assert_int_eq(load_pieces(&g), 0);
    ck_assert_uint_eq(calls, 1);
    ck_assert_uint_eq(asked_pages, 2);
    for (uint64_t page = 0; page < 4; page++)
        ck_assert_uint_eq(guest_page(&dest, 0, page)[7], expected[page]);
}
END_TEST

START_TEST(populate__single_pages_are_left_to_the_copy)
{
    for (uint64_t page = 0; page < PAGES; page += 2)
        guest_fill(&source, 0, page, 1, 1);
    move();
    ck_assert_uint_eq(calls, 0);
}
END_TEST

/* --- where it cannot be had ------------------------------------------------------------------- */

START_TEST(populate__a_kernel_that_cannot_is_no_failure)
{
    static const int errnos[] = {EINVAL, ENOMEM, EAGAIN, EPERM};

    guest_fill(&source, 0, 0, 64, 1);
    fails_with = errnos[_i];
    move();
    ck_assert_uint_gt(calls, 0);
}
END_TEST

START_TEST(populate__what_would_be_a_SIGBUS_is_an_error)
{
    static const int errnos[] = {EFAULT, EHWPOISON};

    guest_fill(&source, 0, 0, 64, 1);
    fails_with = errnos[_i];
    save_all(&m, &source, NULL, NULL, 0);
    ck_assert_int_eq(load_all(&m, &dest, NULL, NULL, NULL, &err), -ENOMEM);
    ck_assert_ptr_nonnull(strstr(err.msg, "block-0 cannot be written"));
    ck_assert_uint_eq(calls, 1);
}
END_TEST

/* The file ends before the block: as on a file system that is full. */
START_TEST(populate__memory_that_no_file_holds)
{
    guest_fill(&source, 0, 0, 64, 1);
    ck_assert_int_eq(ftruncate(dest.blocks[0].fd, 16 * RMIG_PAGE_BYTES), 0);
    save_all(&m, &source, NULL, NULL, 0);
    ck_assert_int_eq(load_all(&m, &dest, NULL, NULL, NULL, &err), -ENOMEM);
    ck_assert_ptr_nonnull(strstr(err.msg, "SIGBUS"));
}
END_TEST

/* Both guests anew, of huge pages as their table says; the destination in private memory. */
static void be_huge(uint64_t len_bytes)
{
    guest_release(&source);
    guest_release(&dest);
    guest_init(&source, 1, len_bytes);
    guest_init(&dest, 0, 0);
    guest_add(&dest, source.blocks[0].name, len_bytes, true);
    ck_assert_uint_eq(dest.blocks[0].page_bytes, HUGE_BYTES);
}

/* A pool that has none left, for a page of data and for one that is there, and zero. */
START_TEST(populate__no_huge_page_left)
{
    be_huge(HUGE_BYTES);
    if (_i)
        guest_fill(&source, 0, 3, 1, 1);
    else
        *(volatile uint8_t *)guest_page(&source, 0, 3) = 0;
    fails_with = EFAULT;
    save_all(&m, &source, NULL, NULL, 0);
    ck_assert_int_eq(load_all(&m, &dest, NULL, NULL, NULL, &err), -ENOMEM);
    ck_assert_ptr_nonnull(strstr(err.msg, "are there no huge pages left?"));
    ck_assert_uint_eq(calls, 1);
}
END_TEST

/* One call for each of them, also where single pages come. */
START_TEST(populate__each_huge_page_once)
{
    be_huge(2 * HUGE_BYTES);
    for (uint64_t page = 0; page < 2 * HUGE_BYTES / RMIG_PAGE_BYTES; page += 2)
        guest_fill(&source, 0, page, 1, 1);
    move();
    ck_assert_uint_eq(calls, 2);
}
END_TEST

Suite *hooks_populate_suite(void)
{
    Suite *s = suite_create("hooks/populate");
    TCase *which = tcase_create("which memory"), *cannot = tcase_create("where it cannot be had");

    tcase_add_checked_fixture(which, setup, teardown);
    tcase_add_test(which, populate__several_pages_a_call_and_no_page_more);
    tcase_add_test(which, populate__a_run_ends_with_its_block);
    tcase_add_test(which, populate__a_run_ends_where_something_else_comes);
    tcase_add_test(which, populate__single_pages_are_left_to_the_copy);
    tcase_add_test(which, populate__each_huge_page_once);
    suite_add_tcase(s, which);
    tcase_add_checked_fixture(cannot, setup, teardown);
    tcase_add_loop_test(cannot, populate__a_kernel_that_cannot_is_no_failure, 0, 4);
    tcase_add_loop_test(cannot, populate__what_would_be_a_SIGBUS_is_an_error, 0, 2);
    tcase_add_test(cannot, populate__memory_that_no_file_holds);
    tcase_add_loop_test(cannot, populate__no_huge_page_left, 0, 2);
    suite_add_tcase(s, cannot);
    return s;
}
