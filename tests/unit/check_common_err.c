/* SPDX-License-Identifier: BSD-3-Clause */
/* check_common_err.c -- the error object, the log, and checked arithmetic. */
#include <errno.h>

#include "common/bytes.h"
#include "common/log.h"
#include "common/overflow.h"
#include "tests/unit/stream_suite.h"
#include "tests/unit/suites.h"

START_TEST(err_set__first_error_wins)
{
    struct rmig_err err = RMIG_ERR_INIT;

    ck_assert_int_eq(rmig_err_set(&err, -EPIPE, "first %d", 1), -EPIPE);
    ck_assert_int_eq(rmig_err_set(&err, -ENOMEM, "second"), -ENOMEM);
    ck_assert_int_eq(err.code, -EPIPE);
    ck_assert_str_eq(err.msg, "first 1");
    ck_assert_int_eq(rmig_err_set(NULL, -ENOMEM, "nobody listens"), -ENOMEM);
}
END_TEST

START_TEST(err_set__code_that_is_no_failure_becomes_EIO)
{
    struct rmig_err err = RMIG_ERR_INIT;

    ck_assert_int_eq(rmig_err_set(&err, 0, "zero"), -EIO);
    ck_assert_int_eq(err.code, -EIO);
    ck_assert_int_eq(rmig_err_set(NULL, 5, "five"), -EIO);
}
END_TEST

START_TEST(err_set__long_message_is_cut)
{
    struct rmig_err err = RMIG_ERR_INIT;
    char text[RMIG_ERR_MSG_BYTES * 2];

    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    rmig_err_set(&err, -EIO, "%s", text);
    ck_assert_uint_eq(strlen(err.msg), RMIG_ERR_MSG_BYTES - 1);
    rmig_err_prefix(&err, "prefix");
    ck_assert_uint_eq(strlen(err.msg), RMIG_ERR_MSG_BYTES - 1);
    ck_assert(!strncmp(err.msg, "prefix: aaa", 11));
    ck_assert_int_eq(rmig_err_prefix(&err, "%s", text), -EIO);
    ck_assert_uint_eq(strlen(err.msg), RMIG_ERR_MSG_BYTES - 1);
    ck_assert_int_eq(err.msg[0], 'a');
}
END_TEST

START_TEST(err_prefix__only_on_an_error)
{
    struct rmig_err err = RMIG_ERR_INIT;

    ck_assert_int_eq(rmig_err_prefix(NULL, "x"), 0);
    ck_assert_int_eq(rmig_err_prefix(&err, "x"), 0);
    ck_assert_str_eq(err.msg, "");
    rmig_err_set(&err, -EIO, "cause");
    ck_assert_int_eq(rmig_err_prefix(&err, "stage %d", 2), -EIO);
    ck_assert_str_eq(err.msg, "stage 2: cause");
}
END_TEST

START_TEST(log__sink_and_threshold)
{
    struct caught_log log;
    enum rmig_log_level threshold;
    rmig_log_fn fn;
    void *opaque;

    rmig_log(RMIG_LOG_ERROR, "nobody listens");
    log_catch(&log);
    rmig_log_set(log_keep, &log, RMIG_LOG_WARNING);
    rmig_log_get(&fn, &opaque, &threshold);
    ck_assert(fn == log_keep);
    ck_assert_ptr_eq(opaque, &log);
    ck_assert_int_eq(threshold, RMIG_LOG_WARNING);
    rmig_log(RMIG_LOG_INFO, "too quiet");
    ck_assert_uint_eq(log.nlines, 0);
    rmig_log(RMIG_LOG_WARNING, "loud %s", "enough");
    ck_assert_uint_eq(log.nlines, 1);
    ck_assert_str_eq(log.last, "loud enough");
    rmig_log_set(NULL, NULL, RMIG_LOG_DEBUG);
    rmig_log(RMIG_LOG_ERROR, "nobody listens");
    ck_assert_uint_eq(log.nlines, 1);
}
END_TEST

START_TEST(overflow__is_answered_not_wrapped)
{
    uint64_t v = 7;

    ck_assert(rmig_add_u64(UINT64_MAX - 1, 1, &v));
    ck_assert_uint_eq(v, UINT64_MAX);
    ck_assert(!rmig_add_u64(UINT64_MAX, 1, &v));
    ck_assert(rmig_mul_u64(UINT64_C(1) << 32, (UINT64_C(1) << 32) - 1, &v));
    ck_assert(!rmig_mul_u64(UINT64_C(1) << 32, UINT64_C(1) << 32, &v));
    ck_assert(rmig_range_within(0, 0, 0));
    ck_assert(rmig_range_within(10, 0, 10));
    ck_assert(rmig_range_within(4, 6, 10));
    ck_assert(!rmig_range_within(4, 7, 10));
    ck_assert(!rmig_range_within(11, 0, 10));
    ck_assert(!rmig_range_within(UINT64_MAX, UINT64_MAX, 10));
    ck_assert_uint_eq(rmig_min_u64(3, 4), 3);
    ck_assert_uint_eq(rmig_max_u64(3, 4), 4);
    ck_assert_uint_eq(rmig_div_round_up_u64(UINT64_MAX, 2), UINT64_C(1) << 63);
    ck_assert_uint_eq(rmig_div_round_up_u64(8, 4), 2);
}
END_TEST

START_TEST(bytes__big_endian_at_any_address)
{
    uint8_t buf[16] = {0};

    for (int at = 0; at < 8; at++) {
        rmig_store_be64(buf + at, 0x0102030405060708ull);
        ck_assert_int_eq(buf[at], 1);
        ck_assert_int_eq(buf[at + 7], 8);
        ck_assert_uint_eq(rmig_load_be64(buf + at), 0x0102030405060708ull);
        ck_assert_uint_eq(rmig_load_be32(buf + at), 0x01020304);
        ck_assert_uint_eq(rmig_load_be16(buf + at), 0x0102);
        rmig_store_be32(buf + at, 0xa1a2a3a4);
        ck_assert_int_eq(buf[at], 0xa1);
        rmig_store_be16(buf + at, 0xb1b2);
        ck_assert_int_eq(buf[at + 1], 0xb2);
    }
}
END_TEST

Suite *common_err_suite(void)
{
    const TTest *const err[] = {err_set__first_error_wins,
                                err_set__code_that_is_no_failure_becomes_EIO,
                                err_set__long_message_is_cut, err_prefix__only_on_an_error, NULL};
    const TTest *const others[] = {log__sink_and_threshold, overflow__is_answered_not_wrapped,
                                   bytes__big_endian_at_any_address, NULL};
    Suite *suite = suite_create("common/err");

    suite_add(suite, "err", err);
    suite_add(suite, "log and figures", others);
    return suite;
}
