/* SPDX-License-Identifier: BSD-3-Clause */
/* check_rdma_pins.c -- places under a pin budget: how many, and who loses one. */
#include "rdma/pins.h"

#include <errno.h>

#include "rdma/wire.h"
#include "tests/unit/rdma_suite.h"
#include "tests/unit/suites.h"

#define MIB ((uint64_t)1 << 20)

static struct rmig_rdma_pins pins;
static struct rmig_blocks table;
static struct rmig_err err;
static bool busy[2][16];

static void setup(void)
{
    /* Nobody looks at the memory. */
    static const struct rmig_block blocks[] = {
        { .name = "a", .host = (void *)(1ul << 32), .len_bytes = 10 * MIB, .page_bytes = 4096, .fd = -1 },
        { .name = "b", .host = (void *)(2ul << 32), .len_bytes = 2 * MIB + 4096, .page_bytes = 4096,
          .fd = -1 },
    };

    err = (struct rmig_err)RMIG_ERR_INIT;
    memset(&pins, 0, sizeof(pins));
    memset(busy, 0, sizeof(busy));
    ck_assert_done(rmig_blocks_init(&table, blocks, 2, &err), &err);
}

static void teardown(void)
{
    rmig_rdma_pins_release(&pins);
    rmig_blocks_release(&table);
}

static void limit(uint64_t budget_bytes)
{
    ck_assert_done(rmig_rdma_pins_init(&pins, &table, budget_bytes, &err), &err);
}

static bool may_go(void *arg, const struct rmig_rdma_pin *pin)
{
    (void)arg;
    return !busy[pin->block_index][pin->chunk];
}

static int place(uint32_t block, uint64_t chunk, struct rmig_rdma_pin *gone_p)
{
    return rmig_rdma_pins_place(&pins, &(struct rmig_rdma_pin){ block, chunk }, may_go, NULL, gone_p);
}

static bool has_place(uint32_t block, uint64_t chunk)
{
    return rmig_rdma_pins_use(&pins, block, chunk)->place != 0;
}

START_TEST(init__a_place_for_each_MiB)
{
    static const struct {
        uint64_t budget_bytes;
        uint32_t nplaces;
    } cases[] = { { 0, 0 },        { 1, 1 },        { MIB - 1, 1 },      { MIB, 1 },
                  { 2 * MIB, 2 },  { 2 * MIB + 1, 2 }, { 12 * MIB, 12 }, { 13 * MIB, 0 },
                  { UINT64_MAX, 0 } };

    limit(cases[_i].budget_bytes);
    ck_assert_uint_eq(pins.nplaces, cases[_i].nplaces);
}
END_TEST

START_TEST(place__is_free_at_first_then_the_oldests)
{
    struct rmig_rdma_pin gone;

    limit(3 * MIB);
    for (uint64_t c = 0; c < 3; c++)
        ck_assert_int_eq(place(0, c, &gone), 0);
    for (uint64_t c = 3; c < 10; c++) {
        ck_assert_int_eq(place(0, c, &gone), 1);
        ck_assert_uint_eq(gone.chunk, c - 3);
        ck_assert(!has_place(0, c - 3));
        ck_assert(has_place(0, c));
    }
    ck_assert_int_eq(place(1, 2, &gone), 1);
    ck_assert_uint_eq(gone.block_index, 0);
    ck_assert(has_place(1, 2));
}
END_TEST

START_TEST(place__who_is_in_use_keeps_it)
{
    struct rmig_rdma_pin gone;

    limit(3 * MIB);
    for (uint64_t c = 0; c < 3; c++)
        ck_assert_int_eq(place(0, c, &gone), 0);
    busy[0][0] = busy[0][2] = true;
    ck_assert_int_eq(place(1, 0, &gone), 1);
    ck_assert_uint_eq(gone.chunk, 1);
    busy[1][0] = true;
    gone.chunk = 77;
    ck_assert_int_eq(place(1, 1, &gone), -EAGAIN);
    ck_assert_uint_eq(gone.chunk, 77);
    ck_assert(!has_place(1, 1));
    busy[0][0] = false;
    ck_assert_int_eq(place(1, 1, &gone), 1);
    ck_assert_uint_eq(gone.chunk, 0);
}
END_TEST

/* Against a model: as many places as were made, nobody has two, who is busy loses none. */
START_TEST(place__as_a_model_has_it)
{
    uint64_t seed = 0x2545f4914f6cdd1d + (uint64_t)_i;
    uint32_t nplaces = 1 + (uint32_t)_i;

    limit(nplaces * MIB);
    for (int n = 0; n < 3000; n++) {
        uint64_t r = suite_random(&seed);
        uint32_t block = r & 1, has = 0;
        uint64_t chunk = (r >> 8) % (block ? 3 : 10);
        struct rmig_rdma_pin gone;
        int rc;

        busy[(r >> 16) & 1][(r >> 24) % 10] = (r >> 32) & 1;
        if (has_place(block, chunk))
            continue;
        rc = place(block, chunk, &gone);
        if (rc == 1) {
            ck_assert(!busy[gone.block_index][gone.chunk]);
            ck_assert(!has_place(gone.block_index, gone.chunk));
        }
        ck_assert(has_place(block, chunk) == (rc >= 0));
        for (uint64_t c = 0; c < 10; c++)
            has += has_place(0, c) + (c < 3 && has_place(1, c));
        ck_assert_uint_le(has, nplaces);
        ck_assert_uint_eq(has, pins.ntaken);
    }
}
END_TEST

Suite *rdma_pins_suite(void)
{
    Suite *suite = suite_create("rdma/pins");
    TCase *tc = tcase_create("pins");

    suite_add_tcase(suite, tc);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, init__a_place_for_each_MiB, 0, 9);
    tcase_add_test(tc, place__is_free_at_first_then_the_oldests);
    tcase_add_test(tc, place__who_is_in_use_keeps_it);
    tcase_add_loop_test(tc, place__as_a_model_has_it, 0, 6);
    return suite;
}
