/* SPDX-License-Identifier: BSD-3-Clause */
/* rdma_suite.h -- what the unit tests of rdma/ share: a runner, a seeded generator, hex vectors. */
#ifndef TESTS_UNIT_RDMA_SUITE_H
#define TESTS_UNIT_RDMA_SUITE_H

#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <rmig/error.h>

#include "tests/unit/slack.h"

/* Runs the suite as the environment says. Returns: the exit status. */
static inline int suite_run(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    int failed;

    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* A figure from the environment, or its default. */
static inline uint64_t suite_figure(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

/* xorshift64: the same sequence on every machine. Requires: *state is not 0. */
static inline uint64_t suite_random(uint64_t *state)
{
    uint64_t x = *state;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    *state = x;
    return x;
}

/* Hex text, blanks ignored, to bytes. Returns: how many. */
static inline size_t suite_hex(const char *text, uint8_t *buf, size_t size)
{
    size_t n = 0;
    unsigned high = 0, digits = 0;

    for (; *text; text++) {
        unsigned digit;

        if (*text == ' ' || *text == '\n')
            continue;
        if (*text >= '0' && *text <= '9')
            digit = (unsigned)(*text - '0');
        else if (*text >= 'a' && *text <= 'f')
            digit = (unsigned)(*text - 'a' + 10);
        else
            abort();
        if (digits++ % 2 == 0) {
            high = digit << 4;
            continue;
        }
        if (n == size)
            abort();
        buf[n++] = (uint8_t)(high | digit);
    }
    return n;
}

/* rc is the failure wanted, the error object agrees, and its text names what. */
#define ck_assert_failed(rc, wanted, err, what)                                                    \
    do {                                                                                           \
        int ck_rc_ = (rc);                                                                         \
                                                                                                   \
        ck_assert_msg(ck_rc_ == (wanted), "answered %d (%s), wanted %d", ck_rc_, (err)->msg,       \
                      (int)(wanted));                                                              \
        ck_assert_int_eq((err)->code, (wanted));                                                   \
        ck_assert_msg(strstr((err)->msg, (what)) != NULL, "\"%s\" does not say \"%s\"",            \
                      (err)->msg, (what));                                                         \
    } while (0)

#define ck_assert_done(rc, err)                                                                    \
    do {                                                                                           \
        int ck_rc_ = (rc);                                                                         \
                                                                                                   \
        ck_assert_msg(ck_rc_ >= 0, "answered %d: %s", ck_rc_, (err)->msg);                         \
    } while (0)

#endif
