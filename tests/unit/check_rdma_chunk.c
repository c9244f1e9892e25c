/* SPDX-License-Identifier: BSD-3-Clause */
/* check_rdma_chunk.c -- memory regions over guest RAM: what is covered, counted, refused, given up. */
#include "rdma/chunk.h"

#include <errno.h>

#include "tests/unit/rdma_fixture.h"
#include "tests/unit/suites.h"

#define MIB ((uint64_t)1 << 20)

static struct source_fixture f;
static struct ram ram;
static struct rmig_blocks table;
static struct rmig_rdma_chunks chunks;
static struct rmig_err err;

static const uint64_t lengths[] = { 200 * MIB, 4096, 3 * MIB + 8192 };

static void init_chunks(enum rmig_rdma_access access, uint64_t budget_bytes)
{
    ck_assert_done(rmig_rdma_chunks_init(&chunks, f.conn.ctrl.verbs, &table, access, budget_bytes,
                                         &err),
                   &err);
}

static void setup(void)
{
    fabric_reset();
    err = (struct rmig_err)RMIG_ERR_INIT;
    source_fixture_init(&f);
    source_fixture_connect(&f, 0);
    ram_init(&ram, 3, lengths);
    ck_assert_done(rmig_blocks_init(&table, ram.blocks, ram.nblocks, &err), &err);
}

static void teardown(void)
{
    rmig_rdma_chunks_release(&chunks);
    rmig_rdma_chunks_release(&chunks); /* twice is fine */
    source_fixture_release(&f);
    rmig_blocks_release(&table);
    ram_release(&ram);
    assert_nothing_left(FABRIC_ACTIVE);
    fabric_reset();
}

static struct fabric_counts counts(void)
{
    struct fabric_counts c;

    fabric_get_counts(FABRIC_ACTIVE, &c);
    return c;
}

static const struct rmig_rdma_region *must_register(uint32_t block, uint64_t first, uint64_t count)
{
    const struct rmig_rdma_region *region = NULL;

    ck_assert_done(rmig_rdma_chunks_register(&chunks, block, first, count, &region, &err), &err);
    ck_assert_ptr_nonnull(region);
    return region;
}

START_TEST(count__counts_a_short_last_chunk)
{
    ck_assert_uint_eq(rmig_chunk_count(1), 1);
    ck_assert_uint_eq(rmig_chunk_count(MIB), 1);
    ck_assert_uint_eq(rmig_chunk_count(MIB + 1), 2);
    ck_assert_uint_eq(rmig_chunk_count(UINT64_MAX), (UINT64_MAX >> 20) + 1);
}
END_TEST

START_TEST(register__covers_whole_chunks_up_to_the_blocks_end)
{
    static const struct {
        uint32_t block;
        uint64_t first, count, len_bytes;
    } cases[] = { { 0, 0, 1, MIB },     { 0, 7, 3, 3 * MIB }, { 1, 0, 1, 4096 },
                  { 2, 3, 1, 8192 },    { 2, 2, 2, MIB + 8192 }, { 2, 0, 4, 3 * MIB + 8192 } };
    const struct rmig_rdma_region *region;
    uint64_t before;

    init_chunks(RMIG_RDMA_READ_LOCAL, 0);
    before = counts().registered_bytes;
    region = must_register(cases[_i].block, cases[_i].first, cases[_i].count);
    ck_assert_uint_eq(region->len_bytes, cases[_i].len_bytes);
    ck_assert_uint_eq(counts().registered_bytes - before, cases[_i].len_bytes);
    ck_assert_uint_eq(chunks.pinned_bytes, cases[_i].len_bytes);
    for (uint64_t c = 0; c < rmig_chunk_count(lengths[cases[_i].block]); c++)
        ck_assert_ptr_eq(rmig_rdma_chunks_find(&chunks, cases[_i].block, c),
                         c >= cases[_i].first && c < cases[_i].first + cases[_i].count ? region
                                                                                       : NULL);
}
END_TEST

START_TEST(register__access_is_what_was_asked_for)
{
    init_chunks(_i ? RMIG_RDMA_WRITE_REMOTE : RMIG_RDMA_READ_LOCAL, 0);
    must_register(0, 0, 1);
    ck_assert_uint_eq(counts().remote_regions, _i);
}
END_TEST

START_TEST(register__again_gives_the_same_key)
{
    const struct rmig_rdma_region *region;
    uint64_t registrations;
    uint32_t rkey;

    init_chunks(RMIG_RDMA_WRITE_REMOTE, 0);
    rkey = must_register(0, 4, 4)->mr.rkey;
    registrations = counts().registrations;
    region = must_register(0, 4, 4);
    ck_assert_uint_eq(region->mr.rkey, rkey);
    region = must_register(0, 5, 2); /* inside it */
    ck_assert_uint_eq(region->mr.rkey, rkey);
    ck_assert_uint_eq(counts().registrations, registrations);
    ck_assert_uint_eq(chunks.pinned_bytes, 4 * MIB);
}
END_TEST

START_TEST(register__partly_registered_range_is_EEXIST)
{
    static const struct {
        uint64_t first, count;
    } cases[] = { { 3, 2 }, { 7, 2 }, { 0, 200 }, { 3, 6 } };
    const struct rmig_rdma_region *region = NULL;
    uint64_t registrations;

    init_chunks(RMIG_RDMA_WRITE_REMOTE, 0);
    must_register(0, 4, 4);
    registrations = counts().registrations;
    ck_assert_failed(rmig_rdma_chunks_register(&chunks, 0, cases[_i].first, cases[_i].count,
                                               &region, &err),
                     -EEXIST, &err, "block0");
    ck_assert_ptr_null(region);
    ck_assert_uint_eq(counts().registrations, registrations);
}
END_TEST

START_TEST(register__budget_is_kept)
{
    const struct rmig_rdma_region *region;

    init_chunks(RMIG_RDMA_READ_LOCAL, 4 * MIB + 4096);
    must_register(0, 0, 3);
    ck_assert_failed(rmig_rdma_chunks_register(&chunks, 0, 3, 2, &region, &err), -EDQUOT, &err,
                     "budget");
    must_register(0, 3, 1);
    must_register(1, 0, 1);
    memset(&err, 0, sizeof(err));
    ck_assert_failed(rmig_rdma_chunks_register(&chunks, 0, 10, 1, &region, &err), -EDQUOT, &err,
                     "4 MiB");
    ck_assert_uint_eq(chunks.pinned_bytes, 4 * MIB + 4096);
    must_register(0, 1, 1); /* what is there costs nothing */
}
END_TEST

START_TEST(register__failure_leaves_nothing)
{
    const struct rmig_rdma_region *region;
    unsigned regions;

    init_chunks(RMIG_RDMA_READ_LOCAL, 0);
    regions = counts().regions;
    fabric_fail_call(FABRIC_ACTIVE, API_reg_mr, 1, ENOMEM);
    ck_assert_failed(rmig_rdma_chunks_register(&chunks, 0, 0, 1, &region, &err), -ENOMEM, &err,
                     "cannot pin");
    ck_assert_uint_eq(counts().regions, regions);
    ck_assert_ptr_null(rmig_rdma_chunks_find(&chunks, 0, 0));
    ck_assert_uint_eq(chunks.pinned_bytes, 0);
    must_register(0, 0, 1);
}
END_TEST

START_TEST(register__many_regions_are_all_found_and_released)
{
    unsigned regions;

    init_chunks(RMIG_RDMA_READ_LOCAL, 0);
    regions = counts().regions;
    for (uint64_t c = 0; c < 200; c++)
        must_register(0, c, 1);
    ck_assert_uint_eq(counts().regions, regions + 200);
    for (uint64_t c = 0; c < 200; c++) {
        const struct rmig_rdma_region *region = rmig_rdma_chunks_find(&chunks, 0, c);

        ck_assert_ptr_nonnull(region);
        ck_assert_uint_eq(region->first_chunk, c);
        for (uint64_t other = 0; other < c; other++)
            ck_assert_uint_ne(rmig_rdma_chunks_find(&chunks, 0, other)->mr.rkey, region->mr.rkey);
    }
    rmig_rdma_chunks_release(&chunks);
    ck_assert_uint_eq(counts().regions, regions);
    ck_assert_uint_eq(chunks.pinned_bytes, 0);
    ck_assert_uint_eq(chunks.peak_pinned_bytes, 200 * MIB);
}
END_TEST

Suite *rdma_chunk_suite(void)
{
    Suite *suite = suite_create("rdma/chunk");
    TCase *tc = tcase_create("chunk");

    suite_add_tcase(suite, tc);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, count__counts_a_short_last_chunk);
    tcase_add_loop_test(tc, register__covers_whole_chunks_up_to_the_blocks_end, 0, 6);
    tcase_add_loop_test(tc, register__access_is_what_was_asked_for, 0, 2);
    tcase_add_test(tc, register__again_gives_the_same_key);
    tcase_add_loop_test(tc, register__partly_registered_range_is_EEXIST, 0, 4);
    tcase_add_test(tc, register__budget_is_kept);
    tcase_add_test(tc, register__failure_leaves_nothing);
    tcase_add_test(tc, register__many_regions_are_all_found_and_released);
    return suite;
}
