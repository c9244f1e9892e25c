/* SPDX-License-Identifier: BSD-3-Clause */
/* check_hooks_guard.c -- the guards of the four hooks: round state, range, accounting, errors. */
#include "hooks/guard.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/hooks_util.h"
#include "tests/unit/suites.h"

/* One outgoing stream with a fake transport on it, blocks set. */
static struct guest guest;
static struct messages messages;
static struct fake fake;
static struct rmig_blocks blocks;
static struct rmig_out *out;
static struct rmig_err err;

static void setup(void)
{
    guest_init(&guest, 2, 16 * RMIG_PAGE_BYTES);
    messages_init(&messages);
    fake_init(&fake, &guest, &guest, &messages);
    ck_assert_int_eq(rmig_blocks_init(&blocks, guest.blocks, guest.count, NULL), 0);
    out = messages_out(&messages);
    err = (struct rmig_err)RMIG_ERR_INIT;
}

static void setup_attached(void)
{
    setup();
    ck_assert_int_eq(rmig_out_attach_hooks(out, &fake.hooks, &fake, NULL), 0);
    ck_assert_int_eq(rmig_hook_out_set_blocks(out, &blocks, NULL), 0);
}

static void teardown(void)
{
    rmig_out_close(out, NULL);
    rmig_blocks_release(&blocks);
    fake_release(&fake);
    messages_release(&messages);
    guest_release(&guest);
}

static struct rmig_run run_of(uint32_t block, uint64_t page, uint64_t count)
{
    return (struct rmig_run){block, 0, page * RMIG_PAGE_BYTES, count * RMIG_PAGE_BYTES};
}

static int put(uint32_t block, uint64_t page, uint64_t count)
{
    struct rmig_run run = run_of(block, page, count);

    return rmig_hook_save_page(out, &run, &err);
}

/* --- attach ----------------------------------------------------------------------------------- */

START_TEST(attach__second_set_is_EBUSY)
{
    ck_assert_int_eq(rmig_out_attach_hooks(out, &fake.hooks, &fake, NULL), 0);
    ck_assert(rmig_hook_attached(out));
    ck_assert_int_eq(rmig_out_attach_hooks(out, &fake.hooks, &fake, &err), -EBUSY);
    ck_assert_int_eq(err.code, -EBUSY);
}
END_TEST

START_TEST(attach__again_after_detach)
{
    ck_assert_int_eq(rmig_out_attach_hooks(out, &fake.hooks, &fake, NULL), 0);
    rmig_out_detach_hooks(out);
    ck_assert(!rmig_hook_attached(out));
    rmig_out_detach_hooks(out); /* nothing attached is fine */
    ck_assert_int_eq(rmig_out_attach_hooks(out, &fake.hooks, &fake, NULL), 0);
}
END_TEST

/* As after a move that was cancelled between two pages. */
START_TEST(detach__inside_a_pass_of_a_failed_stream)
{
    ck_assert_int_eq(rmig_hook_before_iterate(out, RMIG_HOOK_ROUND, NULL), 0);
    ck_assert_int_eq(put(0, 0, 1), RMIG_PUT_DELAYED);
    rmig_out_set_error(out, -ECANCELED, "cancelled");
    rmig_out_detach_hooks(out);
    ck_assert(!rmig_hook_attached(out));
}
END_TEST

START_TEST(attach__in_second_set_is_EBUSY)
{
    struct rmig_in *in = messages_in(&messages);

    ck_assert_int_eq(rmig_in_attach_hooks(in, &fake.hooks, &fake, NULL), 0);
    ck_assert_int_eq(rmig_in_attach_hooks(in, &fake.hooks, &fake, &err), -EBUSY);
    rmig_in_detach_hooks(in);
    rmig_in_detach_hooks(in);
    ck_assert_int_eq(rmig_in_attach_hooks(in, &fake.hooks, &fake, NULL), 0);
    rmig_in_close(in, NULL);
}
END_TEST

START_TEST(absent__no_hooks_do_nothing)
{
    ck_assert_int_eq(rmig_hook_out_set_blocks(out, &blocks, &err), 0);
    ck_assert_int_eq(rmig_hook_before_iterate(out, RMIG_HOOK_ROUND, &err), 0);
    ck_assert_int_eq(put(0, 0, 1), RMIG_PUT_NOT_SUPPORTED);
    ck_assert_int_eq(rmig_hook_after_iterate(out, RMIG_HOOK_ROUND, &err), 0);
    ck_assert_int_eq(rmig_out_flush(out), 0);
    ck_assert_uint_eq(messages.len, 0); /* and no mark */
}
END_TEST

START_TEST(absent__members_left_out_do_nothing)
{
    static const struct rmig_hooks none;

    ck_assert_int_eq(rmig_out_attach_hooks(out, &none, NULL, NULL), 0);
    ck_assert_int_eq(rmig_hook_out_set_blocks(out, &blocks, &err), 0);
    ck_assert_int_eq(rmig_hook_before_iterate(out, RMIG_HOOK_ROUND, &err), 0);
    ck_assert_int_eq(put(0, 0, 1), RMIG_PUT_NOT_SUPPORTED);
    ck_assert_int_eq(rmig_hook_after_iterate(out, RMIG_HOOK_ROUND, &err), 0);
    ck_assert_int_eq(rmig_out_flush(out), 0);
    ck_assert_uint_eq(messages.len, 0);
}
END_TEST

static int mute(void *opaque, const struct rmig_block *items, uint32_t count, struct rmig_err *e)
{
    (void)opaque;
    (void)items;
    (void)count;
    (void)e;
    return -EXDEV;
}

START_TEST(set_blocks__failure_without_message_gets_one)
{
    fake.hooks.set_blocks = mute;
    ck_assert_int_eq(rmig_out_attach_hooks(out, &fake.hooks, &fake, NULL), 0);
    ck_assert_int_eq(rmig_hook_out_set_blocks(out, &blocks, &err), -EXDEV);
    ck_assert_ptr_nonnull(strstr(err.msg, "set_blocks"));
}
END_TEST

START_TEST(set_blocks__twice_is_EBUSY)
{
    ck_assert_int_eq(rmig_hook_out_set_blocks(out, &blocks, &err), -EBUSY);
    ck_assert_uint_eq(fake_count(&fake, FAKE_SET_BLOCKS), 1);
}
END_TEST

START_TEST(set_blocks__failure_is_the_stream_error)
{
    fake.fail_at = 0;
    ck_assert_int_eq(rmig_out_attach_hooks(out, &fake.hooks, &fake, NULL), 0);
    ck_assert_int_eq(rmig_hook_out_set_blocks(out, &blocks, &err), -EREMOTEIO);
    ck_assert_int_eq(rmig_out_error(out, NULL), -EREMOTEIO);
}
END_TEST

/* --- passes ----------------------------------------------------------------------------------- */

START_TEST(before_iterate__mark_ends_the_message)
{
    rmig_out_put_be32(out, 0x01020304);
    ck_assert_int_eq(rmig_hook_before_iterate(out, RMIG_HOOK_ROUND, &err), 0);
    ck_assert_uint_eq(messages.count, 1);
    ck_assert_mem_eq(messages.bytes, "\1\2\3\4\0\0\0\0\0\0\0\x80", 12);
    ck_assert_uint_eq(messages.len, 12);
    ck_assert_int_eq(fake.events[1].kind, FAKE_BEFORE);
    ck_assert_int_eq(fake.events[1].flag, RMIG_HOOK_ROUND);
}
END_TEST

START_TEST(before_iterate__no_blocks_is_EINVAL)
{
    ck_assert_int_eq(rmig_out_attach_hooks(out, &fake.hooks, &fake, NULL), 0);
    ck_assert_int_eq(rmig_hook_before_iterate(out, RMIG_HOOK_SETUP, &err), -EINVAL);
}
END_TEST

START_TEST(before_iterate__load_flag_is_EINVAL)
{
    ck_assert_int_eq(rmig_hook_before_iterate(out, RMIG_HOOK_HOOK, &err), -EINVAL);
    ck_assert_int_eq(rmig_out_error(out, NULL), -EINVAL);
}
END_TEST

START_TEST(before_iterate__inside_a_pass_is_EINVAL)
{
    ck_assert_int_eq(rmig_hook_before_iterate(out, RMIG_HOOK_ROUND, &err), 0);
    ck_assert_int_eq(rmig_hook_before_iterate(out, RMIG_HOOK_ROUND, &err), -EINVAL);
}
END_TEST

START_TEST(after_iterate__no_pass_is_EINVAL)
{
    ck_assert_int_eq(rmig_hook_after_iterate(out, RMIG_HOOK_ROUND, &err), -EINVAL);
    ck_assert_uint_eq(fake_count(&fake, FAKE_AFTER), 0);
}
END_TEST

START_TEST(after_iterate__other_flag_is_EINVAL)
{
    ck_assert_int_eq(rmig_hook_before_iterate(out, RMIG_HOOK_ROUND, &err), 0);
    ck_assert_int_eq(rmig_hook_after_iterate(out, RMIG_HOOK_FINISH, &err), -EINVAL);
}
END_TEST

START_TEST(passes__each_hook_failure_is_the_stream_error)
{
    /* event 0 was set_blocks; 1 before, 2 save_page, 3 after */
    fake.fail_at = _i;
    if (rmig_hook_before_iterate(out, RMIG_HOOK_ROUND, &err) == 0 && put(0, 0, 1) >= 0)
        ck_assert_int_lt(rmig_hook_after_iterate(out, RMIG_HOOK_ROUND, &err), 0);
    ck_assert_int_eq(err.code, -EREMOTEIO);
    ck_assert_str_eq(err.msg, "fake: told to fail");
    ck_assert_int_eq(rmig_out_error(out, NULL), -EREMOTEIO);
    /* and no hook is called any more */
    ck_assert_int_eq(rmig_hook_before_iterate(out, RMIG_HOOK_ROUND, NULL), -EREMOTEIO);
    ck_assert_int_eq(put(0, 1, 1), -EREMOTEIO);
    ck_assert_int_eq(rmig_hook_after_iterate(out, RMIG_HOOK_ROUND, NULL), -EREMOTEIO);
    ck_assert_uint_eq(fake.nevents, (size_t)_i + 1);
}
END_TEST

static int answer_silent_failure(struct fake *f, const struct rmig_run *run, uint64_t *sent_bytes_p)
{
    (void)f;
    (void)run;
    (void)sent_bytes_p;
    return -ENETDOWN;
}

START_TEST(passes__failure_without_message_gets_one)
{
    fake.answer = answer_silent_failure;
    ck_assert_int_eq(rmig_hook_before_iterate(out, RMIG_HOOK_ROUND, &err), 0);
    ck_assert_int_eq(put(0, 0, 1), -ENETDOWN);
    ck_assert_int_ne(err.msg[0], '\0');
}
END_TEST

/* --- save_page -------------------------------------------------------------------------------- */

START_TEST(save_page__outside_a_pass_is_EINVAL)
{
    ck_assert_int_eq(put(0, 0, 1), -EINVAL);
    ck_assert_uint_eq(fake_count(&fake, FAKE_SAVE), 0);
}
END_TEST

START_TEST(save_page__in_setup_is_EINVAL)
{
    ck_assert_int_eq(rmig_hook_before_iterate(out, RMIG_HOOK_SETUP, &err), 0);
    ck_assert_int_eq(put(0, 0, 1), -EINVAL);
}
END_TEST

START_TEST(save_page__bad_run_is_EINVAL)
{
    static const struct rmig_run bad[] = {
        {2, 0, 0, 4096},                     /* no such block */
        {0, 0, 0, 0},                        /* empty */
        {0, 0, 16 * 4096, 4096},             /* beyond the end */
        {0, 0, 15 * 4096, 8192},             /* over the end */
        {0, 0, 100, 4096},                   /* not at a page */
        {0, 0, 0, 4097},                     /* not whole pages */
        {0, 0, 4096, UINT64_MAX - 4095},     /* wraps to 0 */
        {0, 0, UINT64_MAX - 4095, 2 * 4096}, /* wraps */
        {UINT32_MAX, 0, 0, 4096},
    };

    ck_assert_uint_lt(_i, sizeof(bad) / sizeof(bad[0]));
    ck_assert_int_eq(rmig_hook_before_iterate(out, RMIG_HOOK_ROUND, &err), 0);
    ck_assert_int_eq(rmig_hook_save_page(out, &bad[_i], &err), -EINVAL);
    ck_assert_uint_eq(fake_count(&fake, FAKE_SAVE), 0);
    ck_assert_int_eq(rmig_out_error(out, NULL), -EINVAL);
}
END_TEST

#ifndef NDEBUG
START_TEST(save_page__twice_in_a_pass_is_EINVAL)
{
    ck_assert_int_eq(rmig_hook_before_iterate(out, RMIG_HOOK_ROUND, &err), 0);
    ck_assert_int_eq(put(0, 4, 4), RMIG_PUT_DELAYED);
    ck_assert_int_eq(put(1, 4, 4), RMIG_PUT_DELAYED);
    ck_assert_int_eq(put(0, 0, 4), RMIG_PUT_DELAYED);
    ck_assert_int_eq(put(0, 7, 2), -EINVAL);
}
END_TEST
#endif

START_TEST(save_page__again_in_the_next_pass)
{
    for (int pass = 0; pass < 3; pass++) {
        ck_assert_int_eq(rmig_hook_before_iterate(out, RMIG_HOOK_ROUND, &err), 0);
        ck_assert_int_eq(put(0, 0, 16), RMIG_PUT_DELAYED);
        ck_assert_int_eq(put(1, 3, 5), RMIG_PUT_DELAYED);
        ck_assert_int_eq(rmig_hook_after_iterate(out, RMIG_HOOK_ROUND, &err), 0);
    }
    ck_assert_uint_eq(fake_count(&fake, FAKE_SAVE), 6);
}
END_TEST

/* --- accounting: what answer counts for what -------------------------------------------------- */

static int answer_value;
static uint64_t answer_bytes;

static int answer_as_told(struct fake *f, const struct rmig_run *run, uint64_t *sent_bytes_p)
{
    (void)f;
    (void)run;
    *sent_bytes_p = answer_bytes;
    return answer_value;
}

/* Put one run of 2 pages with this answer. Returns what was credited; tells if the rate was
 * counted. */
static uint64_t credited(int value, uint64_t bytes, bool *counted_p)
{
    uint64_t before;

    answer_value = value;
    answer_bytes = bytes;
    fake.answer = answer_as_told;
    ck_assert_int_eq(rmig_hook_before_iterate(out, RMIG_HOOK_ROUND, &err), 0);
    rmig_out_set_rate_limit(out, 2 * RMIG_PAGE_BYTES - 1);
    rmig_out_reset_rate_window(out);
    before = rmig_out_transferred_fast_bytes(out);
    ck_assert(!rmig_out_rate_reached(out));
    ck_assert_int_eq(put(0, 0, 2), value);
    *counted_p = rmig_out_rate_reached(out);
    return rmig_out_transferred_fast_bytes(out) - before;
}

START_TEST(accounting__not_supported_counts_nothing)
{
    bool counted;

    ck_assert_uint_eq(credited(RMIG_PUT_NOT_SUPPORTED, 99, &counted), 0);
    ck_assert(!counted);
}
END_TEST

START_TEST(accounting__delayed_counts_rate_only)
{
    bool counted;

    ck_assert_uint_eq(credited(RMIG_PUT_DELAYED, 99, &counted), 0);
    ck_assert(counted);
}
END_TEST

START_TEST(accounting__sent_credits_its_bytes)
{
    bool counted;

    ck_assert_uint_eq(credited(RMIG_PUT_SENT, 5000, &counted), 5000);
    ck_assert(counted);
    ck_assert_int_eq(rmig_hook_after_iterate(out, RMIG_HOOK_ROUND, &err), 0);
}
END_TEST

/* What a zero run takes on the wire is a word: that it is a gigabyte must not hold the others up. */
START_TEST(accounting__zero_run_counts_nothing)
{
    struct rmig_run run = {0, RMIG_RUN_ZERO, 0, 2 * RMIG_PAGE_BYTES};

    answer_value = RMIG_PUT_DELAYED;
    fake.answer = answer_as_told;
    ck_assert_int_eq(rmig_hook_before_iterate(out, RMIG_HOOK_ROUND, &err), 0);
    rmig_out_set_rate_limit(out, 1);
    rmig_out_reset_rate_window(out);
    ck_assert_int_eq(rmig_hook_save_page(out, &run, &err), RMIG_PUT_DELAYED);
    ck_assert(!rmig_out_rate_reached(out));
}
END_TEST

START_TEST(accounting__sent_zero_bytes_counts_rate_only)
{
    bool counted;

    ck_assert_uint_eq(credited(RMIG_PUT_SENT, 0, &counted), 0);
    ck_assert(counted);
}
END_TEST

START_TEST(save_page__meaningless_answer_is_EINVAL)
{
    answer_value = 3;
    fake.answer = answer_as_told;
    ck_assert_int_eq(rmig_hook_before_iterate(out, RMIG_HOOK_ROUND, &err), 0);
    ck_assert_int_eq(put(0, 0, 2), -EINVAL);
}
END_TEST

/* --- load ------------------------------------------------------------------------------------- */

START_TEST(load__mark_without_hook_is_EINVAL)
{
    static const struct rmig_hooks none;
    struct rmig_in *in = messages_in(&messages);

    if (_i)
        ck_assert_int_eq(rmig_in_attach_hooks(in, &none, NULL, NULL), 0);
    ck_assert_int_eq(rmig_hook_load(in, RMIG_HOOK_HOOK, NULL, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "nothing is attached"));
    ck_assert_int_eq(rmig_in_error(in, NULL), -EINVAL);
    rmig_in_close(in, NULL);
}
END_TEST

START_TEST(load__block_without_hook_is_ignored)
{
    static const struct rmig_hooks none;
    struct rmig_in *in = messages_in(&messages);

    if (_i)
        ck_assert_int_eq(rmig_in_attach_hooks(in, &none, NULL, NULL), 0);
    ck_assert_int_eq(rmig_hook_in_set_blocks(in, &blocks, &err), 0);
    ck_assert_int_eq(rmig_hook_load(in, RMIG_HOOK_BLOCK_REG, "block-0", &err), 0);
    ck_assert_int_eq(rmig_in_error(in, NULL), 0);
    rmig_in_close(in, NULL);
}
END_TEST

START_TEST(load__bytes_behind_the_mark_are_EPROTO)
{
    struct rmig_in *in;
    uint64_t word;

    messages_append(&messages, "\0\0\0\0\0\0\0\x80Z", 9);
    in = messages_in(&messages);
    ck_assert_int_eq(rmig_in_attach_hooks(in, &fake.hooks, &fake, NULL), 0);
    ck_assert_int_eq(rmig_in_get_be64(in, &word), 0);
    ck_assert_int_eq(rmig_hook_load(in, RMIG_HOOK_HOOK, NULL, &err), -EPROTO);
    ck_assert_uint_eq(fake_count(&fake, FAKE_LOAD), 0);
    rmig_in_close(in, NULL);
}
END_TEST

START_TEST(load__parsing_goes_on_after_the_hook)
{
    struct rmig_in *in;
    uint64_t word;
    uint8_t byte;

    messages_append(&messages, "\0\0\0\0\0\0\0\x80", 8);
    messages_append(&messages, "Z", 1);
    in = messages_in(&messages);
    ck_assert_int_eq(rmig_in_attach_hooks(in, &fake.hooks, &fake, NULL), 0);
    ck_assert_int_eq(rmig_in_get_be64(in, &word), 0);
    ck_assert_int_eq(rmig_hook_load(in, RMIG_HOOK_HOOK, NULL, &err), 0);
    ck_assert_int_eq(rmig_in_get_u8(in, &byte), 0);
    ck_assert_int_eq(byte, 'Z');
    rmig_in_close(in, NULL);
}
END_TEST

START_TEST(load__failure_is_the_stream_error)
{
    struct rmig_in *in = messages_in(&messages);

    ck_assert_int_eq(rmig_in_attach_hooks(in, &fake.hooks, &fake, NULL), 0);
    fake.fail_at = 0;
    ck_assert_int_eq(rmig_hook_load(in, RMIG_HOOK_BLOCK_REG, "block-0", &err), -EREMOTEIO);
    ck_assert_int_eq(rmig_in_error(in, NULL), -EREMOTEIO);
    ck_assert_int_eq(rmig_hook_load(in, RMIG_HOOK_BLOCK_REG, "block-1", NULL), -EREMOTEIO);
    ck_assert_uint_eq(fake.nevents, 1);
    rmig_in_close(in, NULL);
}
END_TEST

static int fail_silently(void *opaque, enum rmig_hook_flag flag, const char *name,
                         struct rmig_err *e)
{
    (void)opaque, (void)flag, (void)name, (void)e;
    return -ENETDOWN;
}

START_TEST(load__failure_without_a_message_gets_one)
{
    const struct rmig_hooks silent = {.load = fail_silently};
    struct rmig_in *in = messages_in(&messages);

    ck_assert_int_eq(rmig_in_attach_hooks(in, &silent, NULL, NULL), 0);
    ck_assert_int_eq(rmig_hook_load(in, RMIG_HOOK_BLOCK_REG, "block-0", &err), -ENETDOWN);
    ck_assert_msg(strstr(err.msg, "hook load: failed with error"), "%s", err.msg);
    ck_assert_int_eq(rmig_in_error(in, NULL), -ENETDOWN);
    rmig_in_close(in, NULL);
}
END_TEST

/* The mark has to be at the peer before a hook is called: where it cannot be written none is. */
START_TEST(before_iterate__mark_that_is_not_written)
{
    size_t nevents = fake.nevents;

    messages.fail_after = messages.len;
    ck_assert_int_eq(rmig_hook_before_iterate(out, RMIG_HOOK_ROUND, &err), -EPIPE);
    ck_assert_msg(strstr(err.msg, "told to fail"), "%s", err.msg);
    ck_assert_uint_eq(fake.nevents, nevents);
}
END_TEST

Suite *hooks_guard_suite(void)
{
    Suite *s = suite_create("hooks/guard");
    TCase *attach = tcase_create("attach"), *pass = tcase_create("pass");

    tcase_add_checked_fixture(attach, setup, teardown);
    tcase_add_test(attach, attach__second_set_is_EBUSY);
    tcase_add_test(attach, attach__again_after_detach);
    tcase_add_test(attach, attach__in_second_set_is_EBUSY);
    tcase_add_test(attach, absent__no_hooks_do_nothing);
    tcase_add_test(attach, absent__members_left_out_do_nothing);
    tcase_add_test(attach, set_blocks__failure_is_the_stream_error);
    tcase_add_test(attach, set_blocks__failure_without_message_gets_one);
    tcase_add_test(attach, before_iterate__no_blocks_is_EINVAL);
    tcase_add_loop_test(attach, load__mark_without_hook_is_EINVAL, 0, 2);
    tcase_add_loop_test(attach, load__block_without_hook_is_ignored, 0, 2);
    tcase_add_test(attach, load__bytes_behind_the_mark_are_EPROTO);
    tcase_add_test(attach, load__parsing_goes_on_after_the_hook);
    tcase_add_test(attach, load__failure_is_the_stream_error);
    tcase_add_test(attach, load__failure_without_a_message_gets_one);
    suite_add_tcase(s, attach);
    tcase_add_checked_fixture(pass, setup_attached, teardown);
    tcase_add_test(pass, detach__inside_a_pass_of_a_failed_stream);
    tcase_add_test(pass, set_blocks__twice_is_EBUSY);
    tcase_add_test(pass, before_iterate__mark_ends_the_message);
    tcase_add_test(pass, before_iterate__load_flag_is_EINVAL);
    tcase_add_test(pass, before_iterate__inside_a_pass_is_EINVAL);
    tcase_add_test(pass, after_iterate__no_pass_is_EINVAL);
    tcase_add_test(pass, after_iterate__other_flag_is_EINVAL);
    tcase_add_test(pass, before_iterate__mark_that_is_not_written);
    tcase_add_loop_test(pass, passes__each_hook_failure_is_the_stream_error, 1, 4);
    tcase_add_test(pass, passes__failure_without_message_gets_one);
    tcase_add_test(pass, save_page__outside_a_pass_is_EINVAL);
    tcase_add_test(pass, save_page__in_setup_is_EINVAL);
    tcase_add_loop_test(pass, save_page__bad_run_is_EINVAL, 0, 9);
#ifndef NDEBUG
    tcase_add_test(pass, save_page__twice_in_a_pass_is_EINVAL);
#endif
    tcase_add_test(pass, save_page__again_in_the_next_pass);
    tcase_add_test(pass, accounting__not_supported_counts_nothing);
    tcase_add_test(pass, accounting__delayed_counts_rate_only);
    tcase_add_test(pass, accounting__sent_credits_its_bytes);
    tcase_add_test(pass, accounting__sent_zero_bytes_counts_rate_only);
    tcase_add_test(pass, accounting__zero_run_counts_nothing);
    tcase_add_test(pass, save_page__meaningless_answer_is_EINVAL);
    suite_add_tcase(s, pass);
    return s;
}
