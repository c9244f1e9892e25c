/* SPDX-License-Identifier: BSD-3-Clause */
/* check_rdma_script.c -- seeded scripts of hostile peers: the fuzz targets without a fuzzer. */
#include "tests/fuzz/rdma_script.h"

#include "tests/unit/rdma_suite.h"

#define SCRIPT_BYTES 96

/* RMIG_SCRIPTS of them, the same in every run. */
static void run_scripts(void (*fn)(const uint8_t *data, size_t size), uint64_t seed)
{
    uint64_t count = suite_figure("RMIG_SCRIPTS", 300);
    uint8_t script[SCRIPT_BYTES];

    for (uint64_t n = 0; n < count; n++) {
        size_t size = (size_t)(suite_random(&seed) % SCRIPT_BYTES);

        for (size_t i = 0; i < size; i++)
            script[i] = (uint8_t)(suite_random(&seed) >> 32);
        fn(script, size);
    }
}

START_TEST(dest__seeded_scripts)
{
    run_scripts(rdma_script_dest, 0x1234567 + (uint64_t)_i);
}
END_TEST

START_TEST(source__seeded_scripts)
{
    run_scripts(rdma_script_source, 0x7654321 + (uint64_t)_i);
}
END_TEST

START_TEST(wire__seeded_scripts)
{
    run_scripts(rdma_script_wire, 0x3333333 + (uint64_t)_i);
}
END_TEST

/* Nothing spoiled: the move is right. */
START_TEST(source__honest_destination)
{
    uint8_t first = (uint8_t)_i;

    rdma_script_source(&first, 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rdma/script");
    TCase *tc = tcase_create("script");

    suite_add_tcase(suite, tc);
    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, dest__seeded_scripts, 0, 4);
    tcase_add_loop_test(tc, source__seeded_scripts, 0, 4);
    tcase_add_loop_test(tc, wire__seeded_scripts, 0, 4);
    tcase_add_loop_test(tc, source__honest_destination, 0, 12);
    return suite_run(suite);
}
