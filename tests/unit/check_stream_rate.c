/* SPDX-License-Identifier: BSD-3-Clause */
/* check_stream_rate.c -- the limit of what a stream may put: a caller's window, and the token bucket. */
#include <errno.h>

#include "stream/bucket.h"
#include "tests/unit/channel_script.h"
#include "tests/unit/stream_suite.h"
#include "tests/unit/suites.h"

#define PAGE 4096u
#define NS_PER_MS 1000000ull

static struct script *script;
static struct rmig_out *out;

static void setup(void)
{
    struct rmig_err err = RMIG_ERR_INIT;

    script = script_new(NULL, 0);
    ck_assert_done(rmig_out_new(&script->base, &out, &err), &err);
}

static void teardown(void)
{
    rmig_out_close(out, NULL);
    script_free(script);
}

/* --- the window ------------------------------------------------------------------------------- */

START_TEST(rate__copied_referenced_and_credited_bytes_alike)
{
    static uint8_t page[PAGE];

    ck_assert_uint_eq(rmig_out_rate_limit(out), 0);
    rmig_out_put_buffer(out, page, PAGE);
    ck_assert(!rmig_out_rate_reached(out)); /* 0 is no limit */
    rmig_out_reset_rate_window(out);
    rmig_out_set_rate_limit(out, 3 * PAGE);
    ck_assert_uint_eq(rmig_out_rate_limit(out), 3 * PAGE);
    rmig_out_put_buffer(out, page, PAGE);
    rmig_out_put_ref(out, page, PAGE, false);
    rmig_out_credit_rate(out, PAGE);
    ck_assert(!rmig_out_rate_reached(out)); /* up to the limit */
    rmig_out_put_u8(out, 1);
    ck_assert(rmig_out_rate_reached(out)); /* and over it */
    rmig_out_flush(out);
    ck_assert(rmig_out_rate_reached(out));
    rmig_out_reset_rate_window(out);
    ck_assert(!rmig_out_rate_reached(out));
    rmig_out_credit_rate(out, 3 * PAGE + 1);
    ck_assert(rmig_out_rate_reached(out));
    rmig_out_reset_rate_window(out);
    ck_assert(!rmig_out_rate_reached(out));
    ck_assert_int_eq(rmig_out_put_buffer_at(out, page, PAGE, 0), 0);
    ck_assert_int_eq(rmig_out_put_buffer_at(out, page, PAGE, 0), 0);
    ck_assert_int_eq(rmig_out_put_buffer_at(out, page, PAGE, 0), 0);
    rmig_out_put_u8(out, 1);
    ck_assert(rmig_out_rate_reached(out));
}
END_TEST

START_TEST(rate__reached_after_an_error)
{
    ck_assert(!rmig_out_rate_reached(out));
    rmig_out_set_error(out, -EPERM, "mine");
    ck_assert(rmig_out_rate_reached(out));
    rmig_out_reset_rate_window(out);
    ck_assert(rmig_out_rate_reached(out));
}
END_TEST

/* --- the bucket, on a clock of its own -------------------------------------------------------- */

/* A sender that always has more, and what it had put at the end of each millisecond. */
#define RUN_MS 3000u
#define SPAN_MS 200u

static uint64_t put_by_ms[RUN_MS];

/*
 * Pieces of 1 ms, each of which takes work_ns to put. Of the sleeps every late_every-th is too long by
 * up to late_ns. Returns: sleeps.
 */
static unsigned run(struct rmig_bucket *bucket, uint64_t bytes_per_s, uint64_t work_ns,
                    uint64_t late_ns, unsigned late_every)
{
    const uint64_t piece = bytes_per_s / 1000, start_ns = 1ull << 40;
    uint64_t now_ns = start_ns, put = 0, ms = 0;
    unsigned sleeps = 0, seed = 1;

    while (ms < RUN_MS) {
        uint64_t wait_ns;

        put += piece;
        now_ns += work_ns;
        wait_ns = rmig_bucket_wait_ns(bucket, bytes_per_s, put, now_ns);
        if (wait_ns && ++sleeps % late_every == 0) {
            seed = seed * 1103515245 + 12345;
            wait_ns += (uint64_t)(seed >> 8) % (late_ns + 1);
        }
        for (; ms < RUN_MS && start_ns + ms * NS_PER_MS < now_ns + wait_ns; ms++)
            put_by_ms[ms] = put;
        now_ns += wait_ns;
    }
    return sleeps;
}

static const uint64_t rates[] = {1000000, 12345678, 125000000, 1250000000, 25000000000};
#define NRATES (int)(sizeof(rates) / sizeof(rates[0]))

START_TEST(bucket__any_200_ms_are_within_3_percent)
{
    struct rmig_bucket bucket = {0, 0};
    const double due = (double)rates[_i] * SPAN_MS / 1000;

    ck_assert_uint_gt(run(&bucket, rates[_i], 50000, 2000000, 1), 0);
    for (unsigned ms = SPAN_MS; ms < RUN_MS; ms++) {
        double got = (double)(put_by_ms[ms] - put_by_ms[ms - SPAN_MS]);

        ck_assert_msg(got > 0.97 * due && got < 1.03 * due, "at %u ms: %.0f of %.0f bytes", ms,
                      got, due);
    }
}
END_TEST

/* A machine that stops for a while cannot be helped; what it does not do is make up for it all. */
START_TEST(bucket__a_sender_that_wakes_late_is_never_over)
{
    struct rmig_bucket bucket = {0, 0};
    const double most = (double)rates[_i] * SPAN_MS / 1000 * 1.03;

    ck_assert_uint_gt(run(&bucket, rates[_i], 50000, 60000000, 300), 0);
    for (unsigned ms = SPAN_MS; ms < RUN_MS; ms++)
        ck_assert_double_le((double)(put_by_ms[ms] - put_by_ms[ms - SPAN_MS]), most);
}
END_TEST

START_TEST(bucket__never_makes_a_slower_sender_wait)
{
    struct rmig_bucket bucket = {0, 0};

    ck_assert_uint_eq(run(&bucket, rates[_i], NS_PER_MS + 1, 0, 1), 0);
}
END_TEST

START_TEST(bucket__what_was_missed_is_caught_up_to_its_depth)
{
    const uint64_t rate = 1000000, depth = rate * RMIG_BUCKET_DEPTH_NS / 1000000000;
    struct rmig_bucket bucket = {0, 0};

    rmig_bucket_reset(&bucket, 5000000); /* what was put before does not count */
    ck_assert_uint_eq(rmig_bucket_wait_ns(&bucket, rate, 5000000 + depth, 1ull << 40), 0);
    ck_assert_uint_eq(rmig_bucket_wait_ns(&bucket, rate, 5000000 + depth + 1, 1ull << 40), 1000);
    /* an hour later not more */
    ck_assert_uint_eq(rmig_bucket_wait_ns(&bucket, rate, 5000000 + 2 * depth + 2, 2ull << 40), 1000);
}
END_TEST

START_TEST(bucket__a_debt_is_paid_in_full)
{
    struct rmig_bucket bucket = {0, 1ull << 40};

    ck_assert_uint_eq(rmig_bucket_wait_ns(&bucket, 1000000, 3000000, 1ull << 40), 3000000000);
    ck_assert_uint_eq(rmig_bucket_wait_ns(&bucket, 1000000, 3000000, (1ull << 40) + 1000000000),
                      2000000000);
    /* more than a clock can hold is forever, not nothing */
    ck_assert_uint_gt(rmig_bucket_wait_ns(&bucket, 1, UINT64_MAX, 1ull << 41), 100000000000000000);
}
END_TEST

START_TEST(bucket__another_rate_takes_what_is_owed_over)
{
    const uint64_t now = 1ull << 40;
    struct rmig_bucket bucket = {0, now};

    ck_assert_uint_eq(rmig_bucket_wait_ns(&bucket, 1000, 5000, now), 5000000000);
    rmig_bucket_rerate(&bucket, 1000, 1000000, now);
    ck_assert_uint_eq(rmig_bucket_wait_ns(&bucket, 1000000, 5000, now), 5000000);
    rmig_bucket_rerate(&bucket, 1000000, 500, now);
    ck_assert_uint_eq(rmig_bucket_wait_ns(&bucket, 500, 5000, now), 10000000000);
    rmig_bucket_rerate(&bucket, UINT64_MAX, 1, now); /* no overflow */
    ck_assert_uint_gt(rmig_bucket_wait_ns(&bucket, 1, 5000, now), 1ull << 50);
    bucket.due_ns = now - 1000;
    rmig_bucket_rerate(&bucket, 1000, 1, now); /* nothing is owed */
    ck_assert_uint_eq(bucket.due_ns, now - 1000);
}
END_TEST

/* --- the stream's ----------------------------------------------------------------------------- */

START_TEST(rate_wait__copied_referenced_and_credited_bytes_alike)
{
    static uint8_t page[PAGE];
    uint64_t waits_ns[4];

    rmig_out_put_buffer(out, page, PAGE);
    ck_assert_uint_eq(rmig_out_rate_wait_ns(out), 0); /* no limit */
    rmig_out_set_rate_limit(out, 1); /* 10 bytes a second: the test's own time is nothing */
    ck_assert_uint_eq(rmig_out_rate_wait_ns(out), 0); /* what was put without one is forgiven */
    for (int i = 0; i < 4; i++) {
        if (i == 0)
            rmig_out_put_buffer(out, page, PAGE);
        else if (i == 1)
            rmig_out_put_ref(out, page, PAGE, false);
        else if (i == 2)
            rmig_out_credit_rate(out, PAGE);
        else
            ck_assert_int_eq(rmig_out_put_buffer_at(out, page, PAGE, 0), 0);
        waits_ns[i] = rmig_out_rate_wait_ns(out);
        /* 409.6 s each; a minute is for the machine */
        ck_assert_uint_gt(waits_ns[i], (i + 1) * 409600000000ull - 60000000000ull);
        ck_assert_uint_le(waits_ns[i], (i + 1) * 409600000000ull);
    }
    /* a caller's window is another matter */
    rmig_out_reset_rate_window(out);
    ck_assert_uint_gt(rmig_out_rate_wait_ns(out), 0);
    rmig_out_set_rate_limit(out, 0);
    ck_assert_uint_eq(rmig_out_rate_wait_ns(out), 0);
}
END_TEST

START_TEST(rate_wait__a_higher_limit_ends_an_old_debt)
{
    rmig_out_set_rate_limit(out, 1);
    rmig_out_credit_rate(out, 1 << 20);
    rmig_out_set_rate_limit(out, 10000000000ull);
    ck_assert_uint_le(rmig_out_rate_wait_ns(out), 20000); /* 1 MiB at 100 GB/s: 10 us */
}
END_TEST

START_TEST(rate_wait__nothing_after_an_error)
{
    rmig_out_set_rate_limit(out, 1);
    rmig_out_credit_rate(out, 1000000);
    ck_assert_uint_gt(rmig_out_rate_wait_ns(out), 0);
    rmig_out_set_error(out, -EPERM, "mine");
    ck_assert_uint_eq(rmig_out_rate_wait_ns(out), 0);
}
END_TEST

Suite *stream_rate_suite(void)
{
    const TTest *const window[] = {rate__copied_referenced_and_credited_bytes_alike,
                                   rate__reached_after_an_error, NULL};
    const TTest *const wait[] = {bucket__what_was_missed_is_caught_up_to_its_depth,
                                 bucket__a_debt_is_paid_in_full,
                                 bucket__another_rate_takes_what_is_owed_over,
                                 rate_wait__a_higher_limit_ends_an_old_debt,
                                 rate_wait__copied_referenced_and_credited_bytes_alike,
                                 rate_wait__nothing_after_an_error, NULL};
    Suite *suite = suite_create("stream/rate");
    TCase *held = tcase_create("held");

    suite_add_checked(suite, "window", window, setup, teardown);
    suite_add_checked(suite, "wait", wait, setup, teardown);
    tcase_add_loop_test(held, bucket__any_200_ms_are_within_3_percent, 0, NRATES);
    tcase_add_loop_test(held, bucket__a_sender_that_wakes_late_is_never_over, 0, NRATES);
    tcase_add_loop_test(held, bucket__never_makes_a_slower_sender_wait, 0, NRATES);
    suite_add_tcase(suite, held);
    return suite;
}
