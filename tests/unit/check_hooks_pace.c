/* SPDX-License-Identifier: BSD-3-Clause */
/* check_hooks_pace.c -- when the save driver writes: windows, the rate limit, cancel, a channel
 * that fails. */
#include <rmig/save_load.h>

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "tests/unit/hooks_util.h"
#include "tests/unit/suites.h"

static struct messages m;
static struct rmig_err err;
static struct rmig_out *out;
static struct rmig_save *save;
static struct guest guest;

static void setup(void)
{
    memset(&guest, 0, sizeof(guest));
    messages_init(&m);
    err = (struct rmig_err)RMIG_ERR_INIT;
    out = messages_out(&m);
    save = NULL;
}

static void teardown(void)
{
    rmig_save_free(save);
    rmig_out_close(out, NULL);
    messages_release(&m);
    guest_release(&guest);
}

static void start(const struct rmig_save_opts *opts)
{
    if (rmig_save_new(&save, out, guest.blocks, guest.count, opts, &err) < 0 ||
        rmig_save_setup(save, &err) < 0)
        ck_abort_msg("%s", err.msg);
}

static struct fake fake;

static void attach(int (*answer)(struct fake *, const struct rmig_run *, uint64_t *))
{
    fake_init(&fake, &guest, &guest, &m);
    fake.answer = answer;
    ck_assert_int_eq(rmig_out_attach_hooks(out, &fake.hooks, &fake, NULL), 0);
}

/* A cancel after 50 ms ends a wait at 150 at the latest; a busy machine gets some grace. */
#define PROMPT_MS 600

/* --- windows, rate limit, cancel -------------------------------------------------------------- */

static uint64_t nprogress;
static uint64_t last_remaining;

static void count_progress(void *opaque, const struct rmig_ram_stats *stats)
{
    (void)opaque;
    nprogress++;
    last_remaining = stats->remaining_pages;
}

static int slow(struct fake *f, const struct rmig_run *run, uint64_t *sent_bytes_p)
{
    const struct timespec pause = {0, 4 * 1000 * 1000};

    (void)f;
    (void)run;
    (void)sent_bytes_p;
    nanosleep(&pause, NULL);
    return RMIG_PUT_DELAYED;
}

START_TEST(window__ends_after_its_time)
{
    const struct rmig_save_opts opts = {.window_ms = 10, .progress = count_progress};

    guest_init(&guest, 1, 20u << 20);
    guest_fill(&guest, 0, 0, 5 << 10, 1);
    attach(slow);
    start(&opts);
    nprogress = 0;
    ck_assert_int_eq(rmig_save_round(save, NULL), 0);
    /* 20 runs of 4 ms or more, in windows of 10 ms and what the last run of each takes longer */
    ck_assert_uint_ge(rmig_save_stats(save)->windows, 6);
    ck_assert_uint_eq(nprogress, rmig_save_stats(save)->windows);
    ck_assert_uint_eq(last_remaining, 0);
    ck_assert_uint_eq(rmig_save_stats(save)->rounds, 1);
    fake_release(&fake);
}
END_TEST

/* A destination that waits for the end of a pass hears of the source in the last one too. */
START_TEST(window__of_the_last_pass_ends_after_its_time_too)
{
    const struct rmig_save_opts opts = {.window_ms = 10};
    size_t before;

    guest_init(&guest, 1, 20u << 20);
    guest_fill(&guest, 0, 0, 5 << 10, 1);
    attach(slow);
    start(&opts);
    before = fake_count(&fake, FAKE_BEFORE);
    ck_assert_int_eq(rmig_save_complete(save, NULL), 0);
    ck_assert_uint_ge(fake_count(&fake, FAKE_BEFORE) - before, 6);
    ck_assert_uint_eq(fake_count(&fake, FAKE_AFTER), fake_count(&fake, FAKE_BEFORE));
    ck_assert_uint_eq(rmig_save_stats(save)->windows, 1); /* END stays one section */
    ck_assert_uint_eq(rmig_save_stats(save)->hook_pages, 5 << 10);
    fake_release(&fake);
}
END_TEST

#define RATE (10u << 20)
#define SPAN_MS 200u

START_TEST(rate__limit_is_kept)
{
    const struct rmig_save_opts opts = {.max_bandwidth_bytes_per_s = RATE};
    uint64_t begin, ms;

    guest_init(&guest, 1, 6u << 20);
    guest_fill(&guest, 0, 0, 1536, 1);
    if (_i)
        attach(NULL); /* what a hook takes counts alike */
    start(&opts);
    begin = rmig_now_ns();
    ck_assert_int_eq(rmig_save_round(save, NULL), 0);
    ms = (rmig_now_ns() - begin) / RMIG_NS_PER_MS;
    /* 6 MiB at 10 MiB/s; 4 ms of it come at once, and the last piece is not waited for */
    ck_assert_uint_ge(ms, 594);
    /* the last pass has none */
    ck_assert_int_eq(rmig_save_mark_dirty(save, 0, 0, 6u << 20), 0);
    ck_assert_int_eq(rmig_save_complete(save, NULL), 0);
    ck_assert_uint_eq(rmig_out_rate_limit(out), 0);
    if (_i)
        fake_release(&fake);
}
END_TEST

/* A sink that notes when it was given how much. */
struct timed {
    struct rmig_channel base;
    uint64_t at_ns[8192], bytes[8192];
    unsigned count;
};

static ssize_t timed_writev(struct rmig_channel *ch, const struct iovec *iov, int niov,
                            struct rmig_err *e)
{
    struct timed *t = (struct timed *)ch;
    ssize_t n = 0;

    (void)e;
    for (int i = 0; i < niov; i++)
        n += (ssize_t)iov[i].iov_len;
    ck_assert_uint_lt(t->count, 8192);
    t->at_ns[t->count] = rmig_now_ns();
    t->bytes[t->count++] = (uint64_t)n;
    return n;
}

static ssize_t timed_readv(struct rmig_channel *ch, const struct iovec *iov, int niov,
                           struct rmig_err *e)
{
    (void)ch, (void)iov, (void)niov;
    return rmig_err_set(e, -EBADF, "a sink");
}

static int timed_close(struct rmig_channel *ch, struct rmig_err *e)
{
    (void)ch, (void)e;
    return 0;
}

/* What came in SPAN_MS from a write on. */
static uint64_t span_bytes(const struct timed *t, unsigned from)
{
    uint64_t sum = 0;

    for (unsigned i = from; i < t->count; i++)
        if (t->at_ns[i] - t->at_ns[from] < SPAN_MS * RMIG_NS_PER_MS)
            sum += t->bytes[i];
    return sum;
}

static struct rmig_save_opts timed_opts;

/* A guest of one block with data in it, and a stream into the sink. */
static void timed_begin(struct timed *t, uint64_t rate_bytes_per_s, uint64_t len_bytes)
{
    static const struct rmig_channel_ops ops = {
        .name = "timed", .readv = timed_readv, .writev = timed_writev, .close = timed_close};

    timed_opts = (struct rmig_save_opts){.max_bandwidth_bytes_per_s = rate_bytes_per_s};
    t->count = 0;
    t->base = (struct rmig_channel){.ops = &ops, .flags = RMIG_CHANNEL_WRITABLE | RMIG_CHANNEL_BULK};
    rmig_out_close(out, NULL);
    ck_assert_int_eq(rmig_out_new(&t->base, &out, NULL), 0);
    guest_init(&guest, 1, len_bytes);
    guest_fill(&guest, 0, 0, len_bytes / RMIG_PAGE_BYTES, 1);
}

static void start_timed(void)
{
    start(&timed_opts);
    ck_assert_int_eq(rmig_save_round(save, NULL), 0);
}

/* One round of 2 s with pages of data and, in its midst, zero pages. */
static void timed_round(struct timed *t)
{
    timed_begin(t, RATE, 30u << 20);
    memset(guest_page(&guest, 0, 2560), 0, 2560 * RMIG_PAGE_BYTES);
    start_timed();
}

/* However late a busy machine wakes the sender, it never makes up for more than the bucket holds. */
START_TEST(rate__no_200_ms_pass_more_than_3_percent_over)
{
    static struct timed t;

    timed_round(&t);
    for (unsigned i = 0; i < t.count; i++)
        ck_assert_uint_le(span_bytes(&t, i), RATE / 1000 * SPAN_MS * 103 / 100);
}
END_TEST

/* All pages of a hook that takes none go out behind its pass: evenly, too, so that the peer hears of us. */
START_TEST(rate__declined_pages_are_held_to_it)
{
    static const struct rmig_hooks none = {.save_page = NULL};
    static struct timed t;

    timed_begin(&t, RATE, 6u << 20);
    ck_assert_int_eq(rmig_out_attach_hooks(out, &none, NULL, NULL), 0);
    start_timed();
    for (unsigned i = 0; i < t.count; i++)
        ck_assert_uint_le(span_bytes(&t, i), RATE / 1000 * SPAN_MS * 103 / 100);
    ck_assert_uint_gt(t.count, 100);
}
END_TEST

/* A limit that nothing comes near costs nothing: zero pages and others in turn go out in large writes. */
START_TEST(rate__a_high_limit_leaves_the_writes_large)
{
    static struct timed t;

    timed_begin(&t, 100000000000ull, 4u << 20);
    for (uint64_t page = 0; page < 1024; page += 2)
        memset(guest_page(&guest, 0, page), 0, RMIG_PAGE_BYTES);
    start_timed();
    ck_assert_uint_le(t.count, 20);
}
END_TEST

/* The least that came in SPAN_MS of a round. */
static uint64_t least_bytes(void)
{
    static struct timed t;
    uint64_t least = UINT64_MAX;

    timed_round(&t);
    for (unsigned i = 0; i < t.count; i++)
        if (t.at_ns[t.count - 1] - t.at_ns[i] >= SPAN_MS * RMIG_NS_PER_MS &&
            span_bytes(&t, i) < least)
            least = span_bytes(&t, i);
    return least;
}

/* The machine has to wake us in time for it: of three rounds one. */
START_TEST(rate__no_200_ms_pass_more_than_3_percent_under)
{
    uint64_t best = 0;

    for (int round = 0; round < 3 && best < RATE / 1000 * SPAN_MS * 97 / 100; round++) {
        uint64_t least = least_bytes();

        best = least > best ? least : best;
        rmig_save_free(save);
        save = NULL;
        guest_release(&guest);
    }
    ck_assert_uint_ge(best, RATE / 1000 * SPAN_MS * 97 / 100);
}
END_TEST

static void *trigger_later(void *cancel)
{
    const struct timespec pause = {0, 50 * 1000 * 1000};

    nanosleep(&pause, NULL);
    rmig_cancel_trigger(cancel);
    return NULL;
}

START_TEST(cancel__ends_the_wait_for_the_rate_limit)
{
    struct rmig_save_opts opts = {.max_bandwidth_bytes_per_s = 40960};
    struct rmig_cancel *cancel = NULL;
    pthread_t thread;
    uint64_t begin;

    ck_assert_int_eq(rmig_cancel_new(&cancel, NULL), 0);
    opts.cancel = cancel;
    guest_init(&guest, 1, 1u << 20);
    guest_fill(&guest, 0, 0, 256, 1);
    start(&opts);
    ck_assert_int_eq(pthread_create(&thread, NULL, trigger_later, cancel), 0);
    begin = rmig_now_ns();
    ck_assert_int_eq(rmig_save_round(save, &err), -ECANCELED);
    ck_assert_uint_le((rmig_now_ns() - begin) / RMIG_NS_PER_MS,
                      PROMPT_MS + slack_ms());
    ck_assert_int_eq(err.code, -ECANCELED);
    ck_assert_int_eq(rmig_save_complete(save, NULL), -ECANCELED);
    pthread_join(thread, NULL);
    rmig_save_free(save);
    save = NULL;
    rmig_cancel_free(cancel);
}
END_TEST

static struct rmig_cancel *trigger_here;

static int cancel_and_fail(struct fake *f, const struct rmig_run *run, uint64_t *sent_bytes_p)
{
    (void)f;
    (void)run;
    (void)sent_bytes_p;
    rmig_cancel_trigger(trigger_here);
    return -ENOTCONN;
}

START_TEST(cancel__is_what_a_failure_because_of_it_is_called)
{
    struct rmig_save_opts opts = {0};

    ck_assert_int_eq(rmig_cancel_new(&trigger_here, NULL), 0);
    opts.cancel = trigger_here;
    guest_init(&guest, 1, 1u << 20);
    guest_fill(&guest, 0, 0, 256, 1);
    attach(cancel_and_fail);
    start(&opts);
    ck_assert_int_eq(rmig_save_round(save, &err), -ECANCELED);
    ck_assert_int_eq(err.code, -ECANCELED);
    ck_assert_int_eq(strncmp(err.msg, "cancelled: ", 11), 0);
    rmig_save_free(save);
    save = NULL;
    fake_release(&fake);
    rmig_cancel_free(trigger_here);
}
END_TEST

START_TEST(cancel__before_the_call)
{
    struct rmig_save_opts opts = {0};
    struct rmig_cancel *cancel = NULL;

    ck_assert_int_eq(rmig_cancel_new(&cancel, NULL), 0);
    opts.cancel = cancel;
    guest_init(&guest, 1, 1u << 20);
    start(&opts);
    rmig_cancel_trigger(cancel);
    ck_assert_int_eq(rmig_save_round(save, &err), -ECANCELED);
    rmig_save_free(save);
    save = NULL;
    rmig_cancel_free(cancel);
}
END_TEST

/* --- failure of the channel ------------------------------------------------------------------- */

struct written {
    size_t len_bytes, eof_end_bytes; /* of a whole move: where the message with the end of sections ends */
    bool handed_over;
};

static int whole_save(size_t fail_after, struct written *written_p, struct rmig_err *e)
{
    static const struct rmig_save_opts opts = {.window_ms = 1};
    struct messages to;
    struct rmig_out *o;
    struct rmig_save *s = NULL;
    int rc;

    messages_init(&to);
    to.fail_after = fail_after;
    o = messages_out(&to);
    rc = rmig_save_new(&s, o, guest.blocks, guest.count, &opts, e);
    if (rc == 0)
        rc = rmig_save_setup(s, e);
    if (rc == 0)
        rc = rmig_save_round(s, e);
    if (rc == 0)
        rc = rmig_save_complete(s, e);
    if (rc == 0)
        rc = rmig_save_section(s, "device", 0, 1, "state", 5, e);
    if (rc == 0)
        rc = rmig_save_end(s, e);
    written_p->handed_over = rmig_save_handed_over(s);
    rmig_save_free(s);
    ck_assert_int_eq(rmig_out_close(o, NULL), rc);
    written_p->len_bytes = to.len;
    written_p->eof_end_bytes = rc == 0 ? to.ends[to.count - 2] : 0;
    messages_release(&to);
    return rc;
}

static void assert_cut(size_t n, const struct written *whole)
{
    struct rmig_err e = RMIG_ERR_INIT;
    struct written part;

    ck_assert_int_eq(whole_save(n, &part, &e), -EPIPE);
    ck_assert_uint_le(part.len_bytes, n);
    ck_assert_int_eq(e.code, -EPIPE);
    ck_assert_str_eq(e.msg, "messages: told to fail");
    ck_assert_int_eq(part.handed_over, n >= whole->eof_end_bytes);
}

START_TEST(channel__failure_at_any_write_leaves_the_guest)
{
    struct written whole;
    struct guest copy;

    guest_init(&guest, 2, 16 * RMIG_PAGE_BYTES);
    guest_init(&copy, 2, 16 * RMIG_PAGE_BYTES);
    guest_fill_mixed(&guest, 1);
    guest_fill_mixed(&copy, 1);
    ck_assert_int_eq(whole_save(SIZE_MAX, &whole, &err), 0);
    ck_assert_uint_gt(whole.len_bytes, 10 * RMIG_PAGE_BYTES);
    ck_assert(whole.handed_over);
    for (size_t n = 0; n < whole.len_bytes; n += 997)
        assert_cut(n, &whole);
    /* that the write with the end of sections failed says that this did not come through */
    assert_cut(whole.eof_end_bytes - 1, &whole);
    assert_cut(whole.eof_end_bytes, &whole);
    guest_assert_equal(&guest, &copy);
    guest_release(&copy);
}
END_TEST

Suite *hooks_pace_suite(void)
{
    Suite *s = suite_create("hooks/pace");
    TCase *tc = tcase_create("pace");
    TCase *speed = tcase_create("speed"); /* what needs a machine that wakes us in time */

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, window__ends_after_its_time);
    tcase_add_test(tc, window__of_the_last_pass_ends_after_its_time_too);
    tcase_add_loop_test(tc, rate__limit_is_kept, 0, 2);
    tcase_add_test(tc, rate__no_200_ms_pass_more_than_3_percent_over);
    tcase_add_test(tc, rate__declined_pages_are_held_to_it);
    tcase_add_test(tc, rate__a_high_limit_leaves_the_writes_large);
    tcase_add_test(tc, cancel__ends_the_wait_for_the_rate_limit);
    tcase_add_test(tc, cancel__is_what_a_failure_because_of_it_is_called);
    tcase_add_test(tc, cancel__before_the_call);
    tcase_add_test(tc, channel__failure_at_any_write_leaves_the_guest);
    suite_add_tcase(s, tc);
    tcase_set_tags(speed, "speed");
    tcase_add_checked_fixture(speed, setup, teardown);
    tcase_set_timeout(speed, 60);
    tcase_add_test(speed, rate__no_200_ms_pass_more_than_3_percent_under);
    suite_add_tcase(s, speed);
    return s;
}
