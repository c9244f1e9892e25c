/* SPDX-License-Identifier: BSD-3-Clause */
/* stream_suite.h -- what the unit tests of common/ and stream/ share: a runner, checks, a log. */
#ifndef TESTS_UNIT_STREAM_SUITE_H
#define TESTS_UNIT_STREAM_SUITE_H

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <rmig/rmig.h>

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

/* Adds a test case to the suite, with its tests, a list that ends with NULL, and a fixture. Its name
 * is its tag, too: CK_EXCLUDE_TAGS leaves cases out. */
static inline void suite_add_checked(Suite *suite, const char *name, const TTest *const *tests,
                                     SFun setup, SFun teardown)
{
    TCase *tcase = tcase_create(name);

    for (; *tests; tests++)
        tcase_add_test(tcase, *tests);
    if (setup)
        tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 60);
    tcase_set_tags(tcase, name);
    suite_add_tcase(suite, tcase);
}

static inline void suite_add(Suite *suite, const char *name, const TTest *const *tests)
{
    suite_add_checked(suite, name, tests, NULL, NULL);
}

/* Milliseconds on the monotonic clock. */
static inline uint64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static inline void sleep_ms(unsigned ms)
{
    const struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};

    nanosleep(&ts, NULL);
}

/* How late the machine wakes a thread that sleeps, while a test runs: what is nobody's fault. */
static struct {
    pthread_t thread;
    atomic_bool stop;
    atomic_uint worst_ms;
} stall;

static inline void *stall_watch(void *unused)
{
    while (!atomic_load(&stall.stop)) {
        uint64_t start = now_ms(), took;

        sleep_ms(1);
        took = now_ms() - start;
        if (took > atomic_load(&stall.worst_ms) + 1)
            atomic_store(&stall.worst_ms, (unsigned)took - 1);
    }
    return unused;
}

/* What follows is to take no longer than promised. */
static inline void prompt_begin(void)
{
    atomic_store(&stall.stop, false);
    atomic_store(&stall.worst_ms, 0);
    pthread_create(&stall.thread, NULL, stall_watch, NULL);
}

/* It took so long, of which base_ms were meant to pass: 100 ms are promised, on a machine at rest.
 */
static inline void assert_prompt(uint64_t took_ms, uint64_t base_ms)
{
    unsigned worst_ms;

    atomic_store(&stall.stop, true);
    pthread_join(stall.thread, NULL);
    worst_ms = atomic_load(&stall.worst_ms);
    ck_assert_msg(took_ms + 1 >= base_ms && took_ms < base_ms + 100 + 20 + 3 * worst_ms + slack_ms(),
                  "took %llu ms, %llu of them meant, on a machine that stalls for %u ms",
                  (unsigned long long)took_ms, (unsigned long long)base_ms, worst_ms);
}

#if defined(__has_feature)
#define HAS_FEATURE(x) __has_feature(x)
#else
#define HAS_FEATURE(x) 0
#endif
#if defined(__SANITIZE_THREAD__) || HAS_FEATURE(thread_sanitizer)
#define THREAD_SANITIZER 1
#else
#define THREAD_SANITIZER 0
#endif
#if defined(__SANITIZE_ADDRESS__) || HAS_FEATURE(address_sanitizer) || THREAD_SANITIZER
#define MEMORY_CAN_BE_LIMITED 0 /* a sanitizer's own memory does not fit RLIMIT_AS */
#else
#define MEMORY_CAN_BE_LIMITED 1
#endif
/* The C library looks names up in threads that the thread sanitizer does not see, and crashes in.
 */
#define CAN_LOOK_UP (!THREAD_SANITIZER)

/* Bytes that look random; another seed gives others. */
static inline void fill_pattern(void *p, size_t len_bytes, uint32_t seed)
{
    uint64_t x = 0x9e3779b97f4a7c15ull ^ ((uint64_t)seed << 17 | 1);

    for (size_t i = 0; i < len_bytes; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        ((uint8_t *)p)[i] = (uint8_t)x;
    }
}

/* More zeroes than any socket or pipe takes; never written, so they take no memory. */
static inline struct iovec more_than_fits(void)
{
    const size_t len_bytes = (size_t)64 << 20;
    void *bytes = mmap(NULL, len_bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    ck_assert(bytes != MAP_FAILED);
    return (struct iovec){bytes, len_bytes};
}

/* rc is the failure wanted, the error object agrees, and its text names what. */
#define ck_assert_failed(rc, wanted, err, what)                                               \
    do {                                                                                      \
        int64_t ck_rc_ = (rc);                                                                \
                                                                                              \
        ck_assert_msg(ck_rc_ == (wanted), "answered %lld (%s), wanted %d", (long long)ck_rc_, \
                      (err)->msg, (int)(wanted));                                             \
        ck_assert_int_eq((err)->code, (wanted));                                              \
        ck_assert_msg(strstr((err)->msg, (what)) != NULL, "\"%s\" does not say \"%s\"",       \
                      (err)->msg, (what));                                                    \
    } while (0)

#define ck_assert_done(rc, err)                                                         \
    do {                                                                                \
        int64_t ck_rc_ = (rc);                                                          \
                                                                                        \
        ck_assert_msg(ck_rc_ >= 0, "answered %lld: %s", (long long)ck_rc_, (err)->msg); \
    } while (0)

/* Parse a URI that is right. */
static inline struct rmig_uri uri_of(const char *text)
{
    struct rmig_uri uri;
    struct rmig_err err = RMIG_ERR_INIT;

    ck_assert_done(rmig_uri_parse(text, &uri, &err), &err);
    return uri;
}

/* What was logged since log_catch(): how many lines, and the last one. */
struct caught_log {
    unsigned nlines;
    char last[512];
};

static inline void log_keep(void *opaque, enum rmig_log_level level, const char *message)
{
    struct caught_log *log = opaque;

    (void)level;
    log->nlines++;
    strncpy(log->last, message, sizeof(log->last) - 1);
}

static inline void log_catch(struct caught_log *log)
{
    memset(log, 0, sizeof(*log));
    rmig_log_set(log_keep, log, RMIG_LOG_DEBUG);
}

#endif
