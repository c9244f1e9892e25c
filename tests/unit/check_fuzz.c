/* SPDX-License-Identifier: BSD-3-Clause */
/* check_fuzz.c -- every seed of every fuzz target, without a fuzzer. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/suites.h"

static void replay_file(int (*target)(const uint8_t *data, size_t size), const char *path)
{
    FILE *f = fopen(path, "rb");
    uint8_t *bytes = NULL;
    long size = -1;

    ck_assert_msg(f != NULL, "%s: cannot be read", path);
    if (fseek(f, 0, SEEK_END) == 0)
        size = ftell(f);
    ck_assert_msg(size >= 0, "%s: has no length", path);
    rewind(f);
    /* of its size, so that a sanitizer sees what is read behind it */
    bytes = malloc(size ? (size_t)size : 1);
    ck_assert(bytes != NULL);
    ck_assert_uint_eq(fread(bytes, 1, (size_t)size, f), (size_t)size);
    fclose(f);
    ck_assert_int_eq(target(bytes, (size_t)size), 0);
    free(bytes);
}

static int is_seed(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void replay(int (*target)(const uint8_t *data, size_t size), const char *name)
{
    const char *top = getenv("abs_top_srcdir");
    struct dirent **seeds = NULL;
    char path[8192];
    int n, len;

    len = snprintf(path, sizeof(path), "%s/tests/fuzz/corpus/%s", top ? top : ".", name);
    n = scandir(path, &seeds, is_seed, alphasort);
    ck_assert_msg(n > 0, "%s: no seeds", path);
    for (int i = 0; i < n; i++) {
        snprintf(path + len, sizeof(path) - (size_t)len, "/%s", seeds[i]->d_name);
        /* in the log, the last one is that which did it */
        printf("# %s/%s\n", name, seeds[i]->d_name);
        fflush(stdout);
        replay_file(target, path);
        free(seeds[i]);
    }
    free(seeds);
}

#define SEEDS_OF(target)                          \
    int target(const uint8_t *data, size_t size); \
    START_TEST(target##__its_seeds)               \
    {                                             \
        replay(target, #target);                  \
    }                                             \
    END_TEST

SEEDS_OF(fuzz_buffer)
SEEDS_OF(fuzz_image)
SEEDS_OF(fuzz_inflate)
SEEDS_OF(fuzz_inspect)
SEEDS_OF(fuzz_load)
SEEDS_OF(fuzz_out)
SEEDS_OF(fuzz_stream)
SEEDS_OF(fuzz_uri)
SEEDS_OF(fuzz_vmdesc)
#ifdef TEST_VERBS
SEEDS_OF(fuzz_dest)
SEEDS_OF(fuzz_source)
SEEDS_OF(fuzz_wire)
#endif

static Suite *fuzz_seeds_suite(void)
{
    const TTest *const tests[] = {
        fuzz_buffer__its_seeds,  fuzz_image__its_seeds,  fuzz_inflate__its_seeds,
        fuzz_inspect__its_seeds, fuzz_load__its_seeds,   fuzz_out__its_seeds,
        fuzz_stream__its_seeds,  fuzz_uri__its_seeds,    fuzz_vmdesc__its_seeds,
#ifdef TEST_VERBS
        fuzz_dest__its_seeds,    fuzz_source__its_seeds, fuzz_wire__its_seeds,
#endif
    };
    Suite *suite = suite_create("fuzz/seeds");
    TCase *tcase = tcase_create("seeds");

    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
        tcase_add_test(tcase, tests[i]);
    tcase_set_timeout(tcase, 60);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    static const suite_fn suites[] = {
        fuzz_seeds_suite,
        NULL,
    };

    return run_suites(suites);
}
