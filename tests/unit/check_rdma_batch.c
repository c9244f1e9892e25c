/* SPDX-License-Identifier: BSD-3-Clause */
/* check_rdma_batch.c -- runs that wait to be written: merged, in order, bounded. */
#include "rdma/batch.h"

#include "tests/unit/rdma_suite.h"
#include "tests/unit/suites.h"

static struct rmig_rdma_batch batch;

static void setup(void)
{
    memset(&batch, 0, sizeof(batch));
}

static bool add(uint32_t block, uint64_t first_page, uint64_t npages)
{
    struct rmig_run run = { .block_index = block,
                            .offset_bytes = first_page * RMIG_PAGE_BYTES,
                            .len_bytes = npages * RMIG_PAGE_BYTES };

    return rmig_rdma_batch_add(&batch, &run);
}

static void head_is(uint32_t block, uint64_t first_page, uint64_t npages)
{
    const struct rmig_run *run = rmig_rdma_batch_head(&batch);

    ck_assert_ptr_nonnull(run);
    ck_assert_uint_eq(run->block_index, block);
    ck_assert_uint_eq(run->offset_bytes, first_page * RMIG_PAGE_BYTES);
    ck_assert_uint_eq(run->len_bytes, npages * RMIG_PAGE_BYTES);
}

START_TEST(add__adjacent_runs_merge)
{
    ck_assert(add(0, 10, 1));
    ck_assert(add(0, 11, 1));
    ck_assert(add(0, 12, 300)); /* over a chunk's end as well */
    ck_assert_uint_eq(batch.count, 1);
    ck_assert_uint_eq(batch.bytes, 302 * RMIG_PAGE_BYTES);
    head_is(0, 10, 302);
}
END_TEST

START_TEST(add__others_do_not)
{
    static const struct {
        uint32_t block;
        uint64_t first;
    } second[] = { { 0, 12 }, { 0, 9 }, { 0, 10 }, { 1, 11 }, { 0, 0 } };

    ck_assert(add(0, 10, 1));
    ck_assert(add(second[_i].block, second[_i].first, 1));
    ck_assert_uint_eq(batch.count, 2);
    head_is(0, 10, 1);
    rmig_rdma_batch_consume(&batch, RMIG_PAGE_BYTES);
    head_is(second[_i].block, second[_i].first, 1);
}
END_TEST

START_TEST(add__only_the_last_run_is_merged_with)
{
    ck_assert(add(0, 10, 1));
    ck_assert(add(1, 0, 1));
    ck_assert(add(0, 11, 1)); /* order of sending is kept */
    ck_assert_uint_eq(batch.count, 3);
}
END_TEST

START_TEST(add__full_says_so_and_still_merges)
{
    for (uint64_t i = 0; i < RMIG_BATCH_RUNS_MAX; i++)
        ck_assert(add(0, 2 * i, 1));
    ck_assert(!add(0, 2 * RMIG_BATCH_RUNS_MAX, 1));
    ck_assert(add(0, 2 * RMIG_BATCH_RUNS_MAX - 1, 1));
    ck_assert_uint_eq(batch.count, RMIG_BATCH_RUNS_MAX);
    ck_assert_uint_eq(batch.bytes, (RMIG_BATCH_RUNS_MAX + 1) * RMIG_PAGE_BYTES);
    rmig_rdma_batch_consume(&batch, RMIG_PAGE_BYTES);
    ck_assert(add(0, 2 * RMIG_BATCH_RUNS_MAX + 5, 1));
}
END_TEST

START_TEST(consume__in_pieces)
{
    ck_assert_ptr_null(rmig_rdma_batch_head(&batch));
    ck_assert(add(3, 8, 4));
    rmig_rdma_batch_consume(&batch, 3 * RMIG_PAGE_BYTES);
    head_is(3, 11, 1);
    ck_assert(add(3, 12, 1)); /* follows on what is left */
    head_is(3, 11, 2);
    rmig_rdma_batch_consume(&batch, 2 * RMIG_PAGE_BYTES);
    ck_assert_ptr_null(rmig_rdma_batch_head(&batch));
    ck_assert_uint_eq(batch.bytes, 0);
}
END_TEST

/* Pages go in and come out in the same order, whatever is added and taken when. */
START_TEST(batch__is_a_queue_of_pages)
{
    uint64_t seed = 88172645463325252, in = 0, out = 0, queued = 0;
    static uint64_t pages[1 << 20]; /* block << 32 | page */
    uint64_t total = 200000, next_page[4] = { 0 };

    while (out < total) {
        uint64_t r = suite_random(&seed);
        const struct rmig_run *run;
        uint64_t n;

        if (in < total && r % 3) {
            uint32_t block = (r >> 8) % 4;
            uint64_t npages = 1 + (r >> 16) % 5;

            next_page[block] += (r >> 32) % 2; /* a gap or none */
            if (!add(block, next_page[block], npages))
                continue;
            for (uint64_t i = 0; i < npages; i++)
                pages[in++] = (uint64_t)block << 32 | next_page[block]++;
            queued += npages;
        } else if ((run = rmig_rdma_batch_head(&batch))) {
            n = 1 + (r >> 8) % (run->len_bytes / RMIG_PAGE_BYTES);
            for (uint64_t i = 0; i < n; i++)
                ck_assert_uint_eq(pages[out + i], (uint64_t)run->block_index << 32 |
                                                      (run->offset_bytes / RMIG_PAGE_BYTES + i));
            rmig_rdma_batch_consume(&batch, n * RMIG_PAGE_BYTES);
            out += n;
            queued -= n;
        }
        ck_assert_uint_eq(batch.bytes, queued * RMIG_PAGE_BYTES);
    }
}
END_TEST

Suite *rdma_batch_suite(void)
{
    Suite *suite = suite_create("rdma/batch");
    TCase *tc = tcase_create("batch");

    suite_add_tcase(suite, tc);
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, add__adjacent_runs_merge);
    tcase_add_loop_test(tc, add__others_do_not, 0, 5);
    tcase_add_test(tc, add__only_the_last_run_is_merged_with);
    tcase_add_test(tc, add__full_says_so_and_still_merges);
    tcase_add_test(tc, consume__in_pieces);
    tcase_add_test(tc, batch__is_a_queue_of_pages);
    return suite;
}
