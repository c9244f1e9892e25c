/* SPDX-License-Identifier: BSD-3-Clause */
/* check_common_bitmap.c -- bitmaps against a plain array of bools. */
#include "common/bitmap.h"

#include "tests/unit/stream_suite.h"
#include "tests/unit/suites.h"

#define NBITS 300u

static uint64_t random_state = 88172645463325252ull;

static uint32_t random_below(uint32_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 20) % limit;
}

static void assert_same(const uint64_t *map, const bool *model, uint64_t nbits)
{
    uint64_t next_set = nbits, next_clear = nbits, count = 0;

    for (uint64_t bit = nbits; bit-- > 0;) {
        ck_assert_int_eq(rmig_bitmap_test(map, bit), model[bit]);
        if (model[bit])
            next_set = bit;
        else
            next_clear = bit;
        count += model[bit];
        ck_assert_uint_eq(rmig_bitmap_next_set(map, nbits, bit), next_set);
        ck_assert_uint_eq(rmig_bitmap_next_clear(map, nbits, bit), next_clear);
    }
    ck_assert_uint_eq(rmig_bitmap_count(map, nbits), count);
}

START_TEST(bitmap__random_ranges_agree_with_a_model)
{
    uint64_t *map = rmig_bitmap_new(NBITS);
    bool model[NBITS] = {false};

    ck_assert_ptr_nonnull(map);
    for (int round = 0; round < 300; round++) {
        uint32_t first = random_below(NBITS), count = random_below(NBITS - first + 1);
        bool set = random_below(2);
        uint64_t changed = 0;

        for (uint32_t bit = first; bit < first + count; bit++) {
            changed += model[bit] != set;
            model[bit] = set;
        }
        ck_assert_uint_eq(set ? rmig_bitmap_set(map, first, count)
                              : rmig_bitmap_clear(map, first, count),
                          changed);
        assert_same(map, model, NBITS);
    }
    free(map);
}
END_TEST

START_TEST(bitmap__whole_words_and_their_edges)
{
    static const uint64_t sizes[] = {1, 63, 64, 65, 128, 129};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint64_t nbits = sizes[i], *map = rmig_bitmap_new(nbits);

        ck_assert_uint_eq(rmig_bitmap_next_set(map, nbits, 0), nbits);
        ck_assert_uint_eq(rmig_bitmap_set(map, 0, nbits), nbits);
        ck_assert_uint_eq(rmig_bitmap_set(map, 0, nbits), 0);
        ck_assert_uint_eq(rmig_bitmap_count(map, nbits), nbits);
        ck_assert_uint_eq(rmig_bitmap_next_clear(map, nbits, 0), nbits);
        ck_assert_uint_eq(rmig_bitmap_clear(map, nbits - 1, 1), 1);
        ck_assert_uint_eq(rmig_bitmap_next_clear(map, nbits, 0), nbits - 1);
        free(map);
    }
}
END_TEST

START_TEST(bitmap__empty_map_and_empty_range)
{
    uint64_t *map = rmig_bitmap_new(0);

    ck_assert_ptr_nonnull(map);
    ck_assert_uint_eq(rmig_bitmap_words(0), 0);
    ck_assert_uint_eq(rmig_bitmap_words(64), 1);
    ck_assert_uint_eq(rmig_bitmap_words(65), 2);
    ck_assert_uint_eq(rmig_bitmap_count(map, 0), 0);
    ck_assert_uint_eq(rmig_bitmap_next_set(map, 0, 0), 0);
    ck_assert_uint_eq(rmig_bitmap_set(map, 0, 0), 0);
    ck_assert_uint_eq(rmig_bitmap_clear(map, 0, 0), 0);
    free(map);
}
END_TEST

Suite *common_bitmap_suite(void)
{
    const TTest *const tests[] = {bitmap__random_ranges_agree_with_a_model,
                                  bitmap__whole_words_and_their_edges,
                                  bitmap__empty_map_and_empty_range, NULL};
    Suite *suite = suite_create("common/bitmap");

    suite_add(suite, "bitmap", tests);
    return suite;
}
