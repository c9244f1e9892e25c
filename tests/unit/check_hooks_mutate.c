/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check_hooks_mutate.c -- random mutations of captured streams into the load driver: none crashes
 * it, none hangs it, none makes it allocate more than a fixed bound. The same inputs in every run.
 */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "tests/fuzz/fuzz_guest.h"
#include "tests/unit/hooks_util.h"
#include "tests/unit/suites.h"

#define DEFAULT_MUTATIONS 100000u
/* Longer than a seed, for what is inserted. */
#define INPUT_BYTES 65536u
/* Most heap that the process may have in use while it loads: one section and the stream's buffer.
 */
#define HEAP_BYTES (4u * FUZZ_SECTION_BYTES + 512u * 1024)
/* Longest time one input may take. */
#define INPUT_MS 1000u

static uint64_t state;

static uint32_t next_random(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 16);
}

static uint32_t below(size_t n)
{
    return n ? next_random() % (uint32_t)n : 0;
}

static uint8_t input[INPUT_BYTES];
static size_t input_len;
static uint8_t *seeds[FUZZ_SEEDS];
static size_t seed_lens[FUZZ_SEEDS];

/* Figures that parsers get wrong, big-endian in 8 bytes; their tails serve for shorter fields. */
static const uint8_t figures[][8] = {
    {0, 0, 0, 0, 0, 0, 0, 0},    {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
    {0x80, 0, 0, 0, 0, 0, 0, 0}, {0, 0, 0, 0, 0x80, 0, 0, 0},
    {0, 0, 0, 0, 0, 0, 0x10, 0}, {0, 0, 0, 0, 0, 0, 0, 1},
    {0, 0, 0, 0, 0, 0, 0, 0x80}, {0, 0, 0, 0, 0, 0, 0, 0x10},
    {0, 0, 0, 0, 0, 0, 0, 8},    {0, 0, 0, 0, 0, 0, 0x20, 8},
    {0, 0, 0, 0, 0, 0, 0x10, 2}, {0, 0, 0, 0, 0, 0, 0, 0x28},
};

static void overwrite_figure(void)
{
    const uint8_t *figure = figures[below(sizeof(figures) / sizeof(figures[0]))];
    size_t len = (size_t)1 << below(4), at;

    if (input_len < len)
        return;
    at = below(input_len - len + 1);
    memcpy(input + at, figure + 8 - len, len);
}

static void remove_bytes(void)
{
    size_t at = below(input_len), len = below(64) + 1;

    if (len > input_len - at)
        len = input_len - at;
    memmove(input + at, input + at + len, input_len - at - len);
    input_len -= len;
}

/* Copy a piece of any seed to any place: sections twice, in another order, of another stream. */
static void insert_bytes(void)
{
    unsigned n = below(FUZZ_SEEDS);
    size_t from = below(seed_lens[n]), at = below(input_len + 1), len = below(400) + 1;

    if (len > seed_lens[n] - from)
        len = seed_lens[n] - from;
    if (len > sizeof(input) - input_len)
        return;
    memmove(input + at + len, input + at, input_len - at);
    memcpy(input + at, seeds[n] + from, len);
    input_len += len;
}

static void mutate_once(void)
{
    switch (below(6)) {
    case 0:
        input[below(input_len)] ^= (uint8_t)(1u << below(8));
        break;
    case 1:
        input[below(input_len)] = (uint8_t)next_random();
        break;
    case 2:
        overwrite_figure();
        break;
    case 3:
        remove_bytes();
        break;
    case 4:
        insert_bytes();
        break;
    default:
        if (below(8) == 0)
            input_len = below(input_len) + 1;
        break;
    }
    if (input_len == 0)
        input_len = 1;
}

static void next_input(void)
{
    unsigned n = below(FUZZ_SEEDS), mutations = below(4) + 1;

    memcpy(input, seeds[n], seed_lens[n]);
    input_len = seed_lens[n];
    for (unsigned i = 0; i < mutations; i++)
        mutate_once();
}

static unsigned long mutations(void)
{
    const char *text = getenv("RMIG_MUTATIONS");
    unsigned long n = text ? strtoul(text, NULL, 10) : 0;

    return n ? n : DEFAULT_MUTATIONS;
}

static void make_seeds(void)
{
    for (unsigned n = 0; n < FUZZ_SEEDS; n++) {
        seed_lens[n] = fuzz_seed(n, &seeds[n]);
        ck_assert_uint_lt(seed_lens[n], INPUT_BYTES / 2);
    }
}

static void free_seeds(void)
{
    for (unsigned n = 0; n < FUZZ_SEEDS; n++)
        free(seeds[n]);
}

START_TEST(seeds__load_as_they_are)
{
    make_seeds();
    for (unsigned n = 0; n < FUZZ_SEEDS; n++) {
        for (unsigned mode = n % 2; mode < FUZZ_MODES; mode += 2) {
            struct rmig_err err = RMIG_ERR_INIT;

            if (fuzz_load_bytes(seeds[n], seed_lens[n], mode, &err) < 0)
                ck_abort_msg("seed %u, mode %u: %s", n, mode, err.msg);
        }
    }
    free_seeds();
}
END_TEST

/* The most that the C library ever had of the system for its heap, or 0 where it does not tell. */
static size_t heap_peak_bytes(void)
{
    char *text = NULL, *last = NULL;
    size_t len = 0, peak = 0;
    FILE *f = open_memstream(&text, &len);

    ck_assert_ptr_nonnull(f);
    if (malloc_info(0, f) == 0) {
        fclose(f);
        for (char *p = text; (p = strstr(p, "<system type=\"max\" size=\"")); p++)
            last = p;
        if (last)
            peak = strtoul(last + strlen("<system type=\"max\" size=\""), NULL, 10);
    } else {
        fclose(f);
    }
    free(text);
    return peak;
}

START_TEST(mutations__no_crash_no_hang_bounded_heap)
{
    unsigned long accepted = 0, n = mutations();
    size_t heap_before, heap_after;

#ifndef RMIG_KEEP_PLUGINS /* a sanitizer's allocator tells no peak; the other builds hold the bound */
    /* all of the heap in one place that tells its peak */
    ck_assert_int_eq(mallopt(M_MMAP_THRESHOLD, 32 << 20), 1);
#endif
    state = 0x9e3779b97f4a7c15u;
    make_seeds();
    heap_before = heap_peak_bytes();
    for (unsigned long i = 0; i < n; i++) {
        struct rmig_err err = RMIG_ERR_INIT;
        uint64_t begin = rmig_now_ns();
        int rc;

        next_input();
        rc = fuzz_load_bytes(input, input_len, i % FUZZ_MODES, &err);
        ck_assert_int_ne(rc, -ENOMEM);
        accepted += rc == 0;
        if (rmig_now_ns() - begin > INPUT_MS * RMIG_NS_PER_MS)
            ck_abort_msg("input %lu of %zu bytes took more than %u ms", i, input_len, INPUT_MS);
    }
    heap_after = heap_peak_bytes();
    if (heap_after > heap_before + HEAP_BYTES)
        ck_abort_msg("heap grew from %zu to %zu bytes, %u more are allowed", heap_before,
                     heap_after, HEAP_BYTES);
    /* most are refused, but not all: mutated page bytes and section data are as good as any */
    ck_assert_uint_gt(accepted, n / 1000);
    ck_assert_uint_lt(accepted, n - n / 10);
    free_seeds();
}
END_TEST

Suite *hooks_mutate_suite(void)
{
    Suite *s = suite_create("hooks/mutate");
    TCase *tc = tcase_create("mutate");

    tcase_set_timeout(tc, 3600);
    tcase_add_test(tc, seeds__load_as_they_are);
    tcase_add_test(tc, mutations__no_crash_no_hang_bounded_heap);
    suite_add_tcase(s, tc);
    return s;
}
