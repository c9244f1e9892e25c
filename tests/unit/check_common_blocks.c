/* SPDX-License-Identifier: BSD-3-Clause */
/* check_common_blocks.c -- the block table: what it refuses, how it finds, what it bounds. */
#include "common/blocks.h"

#include <errno.h>
#include <stdio.h>

#include "tests/unit/stream_suite.h"
#include "tests/unit/suites.h"

#define PAGE 4096u
/* Aligned for the largest page size, never touched. */
#define SOMEWHERE ((void *)(uintptr_t)(UINT64_C(1) << 40))

static struct rmig_block block(const char *name, uint64_t len_bytes)
{
    return (struct rmig_block){
        .name = name, .host = SOMEWHERE, .len_bytes = len_bytes, .page_bytes = PAGE, .fd = -1};
}

static void assert_refused(const struct rmig_block *b, const char *what)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_blocks table;

    ck_assert_failed(rmig_blocks_init(&table, b, 1, &err), -EINVAL, &err, what);
}

START_TEST(init__bad_block_is_named)
{
    char long_name[RMIG_BLOCK_NAME_MAX + 2];
    struct rmig_block b;

    memset(long_name, 'x', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    b = block(NULL, PAGE), assert_refused(&b, "name of 1 to 255");
    b = block("", PAGE), assert_refused(&b, "name of 1 to 255");
    b = block(long_name, PAGE), assert_refused(&b, "name of 1 to 255");
    b = block("a\tb", PAGE), assert_refused(&b, "byte 1 of the name");
    b = block("a\x7f", PAGE), assert_refused(&b, "not printable");
    b = block("odd", PAGE), b.page_bytes = 8192, assert_refused(&b, "page size 8192");
    b = block("empty", 0), assert_refused(&b, "length 0");
    b = block("part", PAGE + 1), assert_refused(&b, "length 4097");
    b = block("null", PAGE), b.host = NULL, assert_refused(&b, "not aligned");
    b = block("skew", PAGE), b.host = (char *)SOMEWHERE + 8, assert_refused(&b, "not aligned");
    b = block("wrap", UINT64_MAX - PAGE + 1), assert_refused(&b, "wraps around");
    b = block("huge", 1u << 20), b.page_bytes = 2u << 20, assert_refused(&b, "length 1048576");
}
END_TEST

START_TEST(init__count_is_bounded)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_block b = block("a", PAGE);
    struct rmig_blocks table;

    ck_assert_failed(rmig_blocks_init(&table, &b, 0, &err), -EINVAL, &err, "no RAM block");
    err.code = 0;
    ck_assert_failed(rmig_blocks_init(&table, &b, RMIG_BLOCKS_MAX + 1, &err), -E2BIG, &err,
                     "16384");
}
END_TEST

START_TEST(init__names_are_unique_and_total_fits)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_block same[] = {block("a", PAGE), block("b", PAGE), block("a", PAGE)};
    struct rmig_block large[3];
    struct rmig_blocks table;

    ck_assert_failed(rmig_blocks_init(&table, same, 3, &err), -EINVAL, &err, "same name a");
    for (int i = 0; i < 3; i++) {
        static const char *const names[] = {"x", "y", "z"};

        large[i] = block(names[i], UINT64_C(1) << 63);
        large[i].host = (void *)(uintptr_t)PAGE;
    }
    err.code = 0;
    ck_assert_failed(rmig_blocks_init(&table, large, 3, &err), -EINVAL, &err, "overflows");
}
END_TEST

START_TEST(find__every_name_and_no_other)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_blocks table;
    struct rmig_block items[100];
    char names[100][8];

    for (int i = 0; i < 100; i++) {
        snprintf(names[i], sizeof(names[i]), "b%d", (i * 37) % 100);
        items[i] = block(names[i], PAGE * (uint64_t)(i + 1));
    }
    ck_assert_done(rmig_blocks_init(&table, items, 100, &err), &err);
    ck_assert_uint_eq(table.total_bytes, PAGE * 5050ull);
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(rmig_blocks_find(&table, names[i]), i);
    ck_assert_int_eq(rmig_blocks_find(&table, ""), -ENOENT);
    ck_assert_int_eq(rmig_blocks_find(&table, "b"), -ENOENT);
    ck_assert_int_eq(rmig_blocks_find(&table, "zz"), -ENOENT);
    rmig_blocks_release(&table);
    ck_assert_ptr_null(table.by_name);
    rmig_blocks_release(&table);
}
END_TEST

START_TEST(range__only_what_lies_inside)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_block items[] = {block("a", PAGE), block("b", 3 * PAGE)};
    struct rmig_blocks table;
    uint8_t *p = NULL;

    ck_assert_done(rmig_blocks_init(&table, items, 2, &err), &err);
    ck_assert_int_eq(rmig_blocks_range(&table, 1, PAGE, 2 * PAGE, &p), 0);
    ck_assert_ptr_eq(p, (char *)SOMEWHERE + PAGE);
    p = NULL;
    ck_assert_int_eq(rmig_blocks_range(&table, 2, 0, 1, &p), -ERANGE);
    ck_assert_int_eq(rmig_blocks_range(&table, UINT32_MAX, 0, 1, &p), -ERANGE);
    ck_assert_int_eq(rmig_blocks_range(&table, 1, PAGE, 0, &p), -ERANGE);
    ck_assert_int_eq(rmig_blocks_range(&table, 1, PAGE, 2 * PAGE + 1, &p), -ERANGE);
    ck_assert_int_eq(rmig_blocks_range(&table, 1, 3 * PAGE, 1, &p), -ERANGE);
    ck_assert_int_eq(rmig_blocks_range(&table, 1, UINT64_MAX, 2, &p), -ERANGE);
    ck_assert_int_eq(rmig_blocks_range(&table, 1, 1, UINT64_MAX, &p), -ERANGE);
    ck_assert_ptr_null(p);
    rmig_blocks_release(&table);
}
END_TEST

Suite *common_blocks_suite(void)
{
    const TTest *const tests[] = {init__bad_block_is_named,
                                  init__count_is_bounded,
                                  init__names_are_unique_and_total_fits,
                                  find__every_name_and_no_other,
                                  range__only_what_lies_inside,
                                  NULL};
    Suite *suite = suite_create("common/blocks");

    suite_add(suite, "blocks", tests);
    return suite;
}
