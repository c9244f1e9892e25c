/* SPDX-License-Identifier: BSD-3-Clause */
/* check_hooks_zero.c -- all-zero test and holes of backing files. */
#include "hooks/zero.h"

#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hooks/holes.h"
#include "tests/unit/hooks_util.h"
#include "tests/unit/suites.h"

static bool naive(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i])
            return false;
    return true;
}

static void assert_all_agree(const uint8_t *p, size_t n)
{
    bool expected = naive(p, n);

    ck_assert_int_eq(rmig_is_zero(p, n), expected);
    for (const struct rmig_zero_variant *v = rmig_zero_variants; v->name; v++)
        if (v->supported() && v->is_zero(p, n) != expected)
            ck_abort_msg("%s: %zu bytes at %p: expected %d", v->name, n, (const void *)p, expected);
}

START_TEST(is_zero__each_length_and_alignment)
{
    static uint8_t buf[1024 + 64];

    memset(buf, 0, sizeof(buf));
    for (size_t align = 0; align < 33; align++)
        for (size_t n = 0; n <= 520; n++)
            assert_all_agree(buf + align, n);
}
END_TEST

START_TEST(is_zero__one_byte_anywhere)
{
    static uint8_t buf[600];

    for (size_t n = 1; n <= 400; n += n < 140 ? 1 : 37)
        for (size_t at = 0; at < n; at++)
            for (size_t align = 0; align < 2; align++) {
                buf[align + at] = at % 2 ? 1 : 0x80;
                assert_all_agree(buf + align, n);
                buf[align + at] = 0;
            }
}
END_TEST

START_TEST(is_zero__neighbours_do_not_count)
{
    static uint8_t buf[1024];

    memset(buf, 0xff, sizeof(buf));
    for (size_t n = 0; n <= 512; n++) {
        memset(buf + 128, 0, n);
        assert_all_agree(buf + 128, n);
        memset(buf + 128, 0xff, n);
    }
}
END_TEST

START_TEST(is_zero__page_with_one_bit)
{
    uint8_t *page = calloc(1, RMIG_PAGE_BYTES);

    ck_assert_ptr_nonnull(page);
    assert_all_agree(page, RMIG_PAGE_BYTES);
    for (size_t bit = 0; bit < RMIG_PAGE_BYTES * 8; bit += 7) {
        page[bit / 8] = (uint8_t)(1u << bit % 8);
        assert_all_agree(page, RMIG_PAGE_BYTES);
        page[bit / 8] = 0;
    }
    free(page);
}
END_TEST

START_TEST(is_zero__reads_no_byte_outside)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *p = mmap(NULL, 3 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    ck_assert_ptr_ne(p, MAP_FAILED);
    ck_assert_int_eq(mprotect(p + page, page, PROT_READ), 0);
    for (size_t n = 0; n <= 300; n++) {
        assert_all_agree(p + page, n);
        assert_all_agree(p + 2 * page - n, n);
    }
    munmap(p, 3 * page);
}
END_TEST

START_TEST(zero_variants__last_is_portable)
{
    const struct rmig_zero_variant *v = rmig_zero_variants;

    while (v[1].name)
        v++;
    ck_assert_str_eq(v->name, "words");
    ck_assert(v->supported());
}
END_TEST

#define WHOLE UINT64_MAX

/* --- holes ------------------------------------------------------------------------------------ */

START_TEST(extent_at__no_fd_is_data)
{
    struct guest g = {0};
    struct rmig_extent e;

    guest_add(&g, "anonymous", 1u << 20, true);
    e = rmig_extent_at(&g.blocks[0], 4096, WHOLE);
    ck_assert(!e.hole);
    ck_assert_uint_eq(e.start_bytes, 4096);
    ck_assert_uint_eq(e.end_bytes, 1u << 20);
    guest_release(&g);
}
END_TEST

START_TEST(extent_at__holes_and_data)
{
    struct guest g;
    struct rmig_extent e;

    guest_init(&g, 1, 64 * RMIG_PAGE_BYTES);
    guest_fill(&g, 0, 10, 3, 1);
    e = rmig_extent_at(&g.blocks[0], 0, WHOLE);
    ck_assert(e.hole);
    ck_assert_uint_eq(e.end_bytes, 10 * RMIG_PAGE_BYTES);
    e = rmig_extent_at(&g.blocks[0], 11 * RMIG_PAGE_BYTES, WHOLE);
    ck_assert(!e.hole);
    ck_assert_uint_eq(e.end_bytes, 13 * RMIG_PAGE_BYTES);
    e = rmig_extent_at(&g.blocks[0], 13 * RMIG_PAGE_BYTES, WHOLE);
    ck_assert(e.hole);
    ck_assert_uint_eq(e.end_bytes, 64 * RMIG_PAGE_BYTES);
    guest_release(&g);
}
END_TEST

START_TEST(extent_at__data_is_told_as_far_as_asked)
{
    struct guest g;
    struct rmig_extent e;

    guest_init(&g, 1, 64 * RMIG_PAGE_BYTES);
    guest_fill(&g, 0, 10, 20, 1);
    e = rmig_extent_at(&g.blocks[0], 10 * RMIG_PAGE_BYTES, 4 * RMIG_PAGE_BYTES);
    ck_assert(!e.hole);
    ck_assert_uint_eq(e.end_bytes, 14 * RMIG_PAGE_BYTES);
    e = rmig_extent_at(&g.blocks[0], 28 * RMIG_PAGE_BYTES, 4 * RMIG_PAGE_BYTES);
    ck_assert(!e.hole);
    ck_assert_uint_eq(e.end_bytes, 30 * RMIG_PAGE_BYTES);
    e = rmig_extent_at(&g.blocks[0], 30 * RMIG_PAGE_BYTES, RMIG_PAGE_BYTES);
    ck_assert(e.hole);
    ck_assert_uint_eq(e.end_bytes, 64 * RMIG_PAGE_BYTES);
    guest_release(&g);
}
END_TEST

/* A disk's pages are data though none of them is in memory. */
START_TEST(extent_at__data_that_is_not_in_memory)
{
    char path[] = "/var/tmp/rmig-disk-XXXXXX";
    const char x[20] = "x";
    struct rmig_block b = {.name = "b", .len_bytes = 64 * RMIG_PAGE_BYTES};
    struct rmig_extent e;

    b.fd = mkstemp(path);
    ck_assert_int_ge(b.fd, 0);
    unlink(path);
    ck_assert_int_eq(ftruncate(b.fd, (off_t)b.len_bytes), 0);
    for (off_t page = 10; page < 13; page++)
        ck_assert_int_eq(pwrite(b.fd, x, sizeof(x), page * (off_t)RMIG_PAGE_BYTES), sizeof(x));
    ck_assert_int_eq(fsync(b.fd), 0);
    ck_assert_int_eq(posix_fadvise(b.fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    b.host = mmap(NULL, b.len_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, b.fd, 0);
    ck_assert_ptr_ne(b.host, MAP_FAILED);
    e = rmig_extent_at(&b, 10 * RMIG_PAGE_BYTES, WHOLE);
    ck_assert(!e.hole);
    ck_assert_uint_ge(e.end_bytes, 13 * RMIG_PAGE_BYTES); /* some file systems have no holes */
    munmap(b.host, b.len_bytes);
    close(b.fd);
}
END_TEST

START_TEST(extent_at__block_inside_a_larger_file)
{
    struct guest g;
    struct rmig_block part;
    struct rmig_extent e;

    guest_init(&g, 1, 64 * RMIG_PAGE_BYTES);
    guest_fill(&g, 0, 40, 1, 1);
    part = g.blocks[0];
    part.fd_offset_bytes = 8 * RMIG_PAGE_BYTES;
    part.len_bytes = 16 * RMIG_PAGE_BYTES;
    e = rmig_extent_at(&part, 0, WHOLE); /* the data is beyond its end */
    ck_assert(e.hole);
    ck_assert_uint_eq(e.end_bytes, part.len_bytes);
    part.len_bytes = 40 * RMIG_PAGE_BYTES;
    e = rmig_extent_at(&part, 0, WHOLE);
    ck_assert(e.hole);
    ck_assert_uint_eq(e.end_bytes, 32 * RMIG_PAGE_BYTES);
    guest_release(&g);
}
END_TEST

START_TEST(extent_at__hole_that_is_part_of_a_page_is_data)
{
    char path[] = "/tmp/rmig-hole-XXXXXX";
    struct rmig_block b = {.name = "b", .len_bytes = 4 * RMIG_PAGE_BYTES};
    struct rmig_extent e;

    b.fd = mkstemp(path);
    ck_assert_int_ge(b.fd, 0);
    unlink(path);
    /* the block begins in the middle of a page of the file, which has data from byte 4096 on */
    b.fd_offset_bytes = 2048;
    ck_assert_int_eq(ftruncate(b.fd, 65536), 0);
    ck_assert_int_eq(pwrite(b.fd, "x", 1, 4096), 1);
    e = rmig_extent_at(&b, 0, WHOLE);
    ck_assert(!e.hole);
    ck_assert_uint_gt(e.end_bytes, 0);
    ck_assert_uint_eq(e.end_bytes % RMIG_PAGE_BYTES, 0);
    close(b.fd);
}
END_TEST

START_TEST(extent_at__descriptor_that_cannot_seek_is_data)
{
    struct rmig_block b = {.name = "b", .len_bytes = 4 * RMIG_PAGE_BYTES};
    struct rmig_extent e;
    int fds[2];

    ck_assert_int_eq(pipe(fds), 0);
    b.fd = fds[0];
    e = rmig_extent_at(&b, RMIG_PAGE_BYTES, WHOLE);
    ck_assert(!e.hole);
    ck_assert_uint_eq(e.end_bytes, b.len_bytes);
    close(fds[0]);
    close(fds[1]);
}
END_TEST

/* Seeking in such devices succeeds and leads nowhere: the answer says nothing of their memory. */
START_TEST(extent_at__device_is_data)
{
    struct rmig_block b = {.name = "b", .len_bytes = 4 * RMIG_PAGE_BYTES,
                           .fd_offset_bytes = 8 * RMIG_PAGE_BYTES};
    struct rmig_extent e;

    b.fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(b.fd, 0);
    e = rmig_extent_at(&b, RMIG_PAGE_BYTES, WHOLE);
    ck_assert(!e.hole);
    ck_assert_uint_eq(e.end_bytes, b.len_bytes);
    close(b.fd);
}
END_TEST

START_TEST(zero_range__clears_data_and_leaves_holes)
{
    struct guest g;

    guest_init(&g, 1, 64 * RMIG_PAGE_BYTES);
    guest_fill(&g, 0, 3, 2, 1);
    guest_fill(&g, 0, 20, 1, 1);
    ck_assert_int_eq(rmig_zero_range(&g.blocks[0], 0, 20 * RMIG_PAGE_BYTES), 0);
    ck_assert(naive(guest_page(&g, 0, 3), 2 * RMIG_PAGE_BYTES));
    ck_assert(!naive(guest_page(&g, 0, 20), RMIG_PAGE_BYTES));
    ck_assert_uint_eq(guest_allocated_pages(&g, 0), 3);
    guest_release(&g);
}
END_TEST

Suite *hooks_zero_suite(void)
{
    Suite *s = suite_create("hooks/zero");
    TCase *zero = tcase_create("is_zero"), *holes = tcase_create("extent_at");

    tcase_add_test(zero, is_zero__each_length_and_alignment);
    tcase_add_test(zero, is_zero__one_byte_anywhere);
    tcase_add_test(zero, is_zero__neighbours_do_not_count);
    tcase_add_test(zero, is_zero__page_with_one_bit);
    tcase_add_test(zero, is_zero__reads_no_byte_outside);
    tcase_add_test(zero, zero_variants__last_is_portable);
    suite_add_tcase(s, zero);
    tcase_add_test(holes, extent_at__no_fd_is_data);
    tcase_add_test(holes, extent_at__holes_and_data);
    tcase_add_test(holes, extent_at__data_is_told_as_far_as_asked);
    tcase_add_test(holes, extent_at__data_that_is_not_in_memory);
    tcase_add_test(holes, extent_at__block_inside_a_larger_file);
    tcase_add_test(holes, extent_at__hole_that_is_part_of_a_page_is_data);
    tcase_add_test(holes, extent_at__descriptor_that_cannot_seek_is_data);
    tcase_add_test(holes, extent_at__device_is_data);
    tcase_add_test(holes, zero_range__clears_data_and_leaves_holes);
    suite_add_tcase(s, holes);
    return s;
}
