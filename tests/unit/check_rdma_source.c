/* SPDX-License-Identifier: BSD-3-Clause */
/* check_rdma_source.c -- the source's blocks, pages and keys, against any destination. */
#include <errno.h>

#include "common/bytes.h"
#include "tests/unit/source_side.h"
#include "tests/unit/suites.h"

/* --- block exchange --------------------------------------------------------------------------- */

START_TEST(set_blocks__twice_is_EBUSY)
{
    connect_with(0);
    ck_assert_failed(rmig_rdma_source_set_blocks(&source, ram.blocks, ram.nblocks, &err), -EBUSY,
                     &err, "already");
}
END_TEST

START_TEST(before__without_blocks_is_EINVAL)
{
    source_fixture_connect(&f, 0);
    rmig_rdma_source_init(&source, &f.conn);
    ck_assert_failed(rmig_rdma_source_before(&source, RMIG_HOOK_SETUP, &err), -EINVAL, &err,
                     "blocks");
}
END_TEST

/* READY behind the hook mark says that no record of the stream is still to come to memory: before it
 * nothing may be written. */
START_TEST(before__waits_for_READY_behind_the_hook_mark)
{
    enum rmig_hook_flag flag = _i ? RMIG_HOOK_FINISH : RMIG_HOOK_ROUND;

    connect_with(0);
    ck_assert_done(exchange(), &err);
    dest.silent = true;
    f.conn.ctrl.idle_timeout_ms = 50;
    ck_assert_failed(rmig_rdma_source_before(&source, flag, &err), -ETIMEDOUT, &err, "READY");
    err = (struct rmig_err)RMIG_ERR_INIT;
    dest.silent = false;
    ck_assert_int_eq(raw_say(f.peer, RMIG_WIRE_READY, 1, NULL, 0), 0);
    ck_assert_done(rmig_rdma_source_before(&source, flag, &err), &err);
}
END_TEST

START_TEST(exchange__asks_once_and_pins_only_if_agreed)
{
    uint64_t total = lengths[0] + lengths[1] + lengths[2];

    connect_with(_i ? RMIG_WIRE_FLAG_PIN_ALL : 0);
    ck_assert_done(exchange(), &err);
    ck_assert_str_eq(wire.text, "QE");
    ck_assert_uint_eq(counts().registered_bytes, RMIG_CTRL_PINNED_BYTES + (_i ? total : 0));
    ck_assert_uint_eq(counts().remote_regions, 0);
}
END_TEST

/* What a hostile answer looks like. */
static uint32_t bad_type, bad_len, bad_field_at;
static uint64_t bad_value;
static bool bad_once;

static bool spoil(struct raw_dest *d, struct raw_answer *answer)
{
    (void)d;
    if (answer->type != bad_type || bad_once)
        return true;
    bad_once = true;
    if (bad_len != UINT32_MAX)
        answer->len_bytes = bad_len;
    if (bad_field_at != UINT32_MAX)
        rmig_store_be64(answer->payload + bad_field_at, bad_value);
    return true;
}

static void spoil_with(uint32_t type, uint32_t len, uint32_t at, uint64_t value)
{
    bad_type = type;
    bad_len = len;
    bad_field_at = at;
    bad_value = value;
    bad_once = false;
    dest.tamper = spoil;
}

static const struct {
    uint32_t flags, len, at;
    uint64_t value;
    const char *says;
} bad_results[] = {
    { 0, 32, UINT32_MAX, 0, "3 blocks are 96" },
    { 0, 64, UINT32_MAX, 0, "3 blocks are 96" },
    { 0, 128, UINT32_MAX, 0, "3 blocks are 96" },
    { 0, 16383 * 32, UINT32_MAX, 0, "3 blocks are 96" },
    { 0, 95, UINT32_MAX, 0, "RAM_BLOCKS_RESULT" },
    { 0, 0, UINT32_MAX, 0, "RAM_BLOCKS_RESULT" },
    { 0, UINT32_MAX, 16, 25 * MIB, "block0" },
    { 0, UINT32_MAX, 16, 0, "block0" },
    { 0, UINT32_MAX, 48, UINT64_MAX, "block1" },
    { 0, UINT32_MAX, 80, 3 * MIB, "block2" },
    { 0, UINT32_MAX, 0, UINT64_MAX - 4096, "0xffffffffffffefff" },
    { 0, UINT32_MAX, 40, UINT64_MAX - 4094, "0xfffffffffffff001" },
    { RMIG_WIRE_FLAG_PIN_ALL, UINT32_MAX, 24, 0, "no key" },
    { RMIG_WIRE_FLAG_PIN_ALL, UINT32_MAX, 88, 0, "no key" },
};
#define NBAD_RESULTS ((int)(sizeof(bad_results) / sizeof(bad_results[0])))

START_TEST(exchange__result_that_does_not_fit_is_EPROTO)
{
    f.peer_opts.slot_bytes = RMIG_WIRE_MESSAGE_MAX_BYTES;
    connect_with(bad_results[_i].flags);
    spoil_with(RMIG_WIRE_RAM_BLOCKS_RESULT, bad_results[_i].len, bad_results[_i].at,
               bad_results[_i].value);
    ck_assert_failed(exchange(), -EPROTO, &err, bad_results[_i].says);
}
END_TEST

static uint32_t instead_of, other_type;

static bool say_something_else(struct raw_dest *d, struct raw_answer *answer)
{
    static const uint32_t sizes[RMIG_WIRE_TYPE_END] = {
        [RMIG_WIRE_QEMU_FILE] = 1,
        [RMIG_WIRE_RAM_BLOCKS_RESULT] = RMIG_WIRE_BLOCK_BYTES,
        [RMIG_WIRE_COMPRESS] = RMIG_WIRE_COMPRESS_BYTES,
        [RMIG_WIRE_REGISTER_REQUEST] = RMIG_WIRE_REGISTER_BYTES,
        [RMIG_WIRE_REGISTER_RESULT] = RMIG_WIRE_RESULT_BYTES,
        [RMIG_WIRE_UNREGISTER_REQUEST] = RMIG_WIRE_REGISTER_BYTES,
    };

    if (answer->type != instead_of)
        return true;
    answer->type = other_type;
    answer->repeat = 1;
    answer->len_bytes = sizes[other_type];
    d->silent = true; /* and nothing more */
    return true;
}

START_TEST(exchange__reply_of_another_type_is_EPROTO)
{
    connect_with(0);
    instead_of = RMIG_WIRE_RAM_BLOCKS_RESULT;
    other_type = (uint32_t)_i;
    dest.tamper = say_something_else;
    f.conn.ctrl.idle_timeout_ms = 50;
    if (_i == RMIG_WIRE_RAM_BLOCKS_RESULT)
        ck_assert_failed(exchange(), -EPROTO, &err, "3 blocks");
    else if (_i == RMIG_WIRE_ERROR)
        ck_assert_failed(exchange(), -ECONNABORTED, &err, "ERROR");
    else if (_i == RMIG_WIRE_READY) /* allowed, and then nothing comes */
        ck_assert_failed(exchange(), -ETIMEDOUT, &err, "RAM_BLOCKS_RESULT");
    else
        ck_assert_failed(exchange(), -EPROTO, &err,
                         _i ? rmig_wire_type_name((uint32_t)_i) : "type 0");
}
END_TEST

START_TEST(exchange__destination_that_never_answers_ends_at_the_deadline)
{
    connect_with(0);
    f.conn.ctrl.idle_timeout_ms = 50;
    dest.silent = true;
    ck_assert_failed(exchange(), -ETIMEDOUT, &err, "READY");
}
END_TEST

START_TEST(exchange__pin_all_that_fails_here_is_told)
{
    connect_with(RMIG_WIRE_FLAG_PIN_ALL);
    fabric_fail_call(FABRIC_ACTIVE, API_reg_mr, 2, ENOMEM);
    ck_assert_failed(exchange(), -ENOMEM, &err, "cannot pin");
}
END_TEST

START_TEST(exchange__pin_all_that_the_destination_declines_is_done_without)
{
    f.params.pin_all = true;
    source_fixture_connect(&f, 0);
    ck_assert(!f.conn.pin_all);
}
END_TEST

/* --- pages ------------------------------------------------------------------------------------ */

START_TEST(save__whole_blocks_arrive)
{
    begin(agreements[_i]);
    for (uint32_t b = 0; b < 3; b++)
        must_save(b, 0, lengths[b]);
    end();
    ck_assert(ram_equal(&ram, &copy));
    ck_assert_msg(message_log_matches(&wire, _i & 2 ? "QEw+E" : "QE(R|w)+E"), "%s", wire.text);
    ck_assert_uint_le(wire.largest_write, MIB); /* never over a chunk's end */
    ck_assert_uint_eq(wire.write_bytes, lengths[0] + lengths[1] + lengths[2]);
    ck_assert_uint_eq(counts().remote_regions, 0);
}
END_TEST

START_TEST(save__scattered_pages_arrive_and_no_other)
{
    begin(agreements[_i]);
    for (uint64_t p = 0; p < lengths[0] / PAGE; p += 3)
        must_save(0, p * PAGE, PAGE);
    must_save(2, 3 * MIB, 8192);
    end();
    for (uint64_t p = 0; p < lengths[0] / PAGE; p++)
        if (p % 3)
            ck_assert(ram_is_zero(&copy, 0, p * PAGE, PAGE));
        else
            ck_assert_mem_eq((uint8_t *)copy.blocks[0].host + p * PAGE,
                             (uint8_t *)ram.blocks[0].host + p * PAGE, PAGE);
    ck_assert(ram_is_zero(&copy, 2, 0, 3 * MIB));
    ck_assert_mem_eq((uint8_t *)copy.blocks[2].host + 3 * MIB,
                     (uint8_t *)ram.blocks[2].host + 3 * MIB, 8192);
}
END_TEST

START_TEST(save__neighbours_become_one_write_a_chunk)
{
    begin(RMIG_WIRE_FLAG_MULTI_REGISTER);
    for (uint64_t p = 0; p < 3 * MIB / PAGE; p++)
        must_save(0, MIB / 2 + p * PAGE, PAGE);
    end();
    ck_assert_uint_le(message_log_count(&wire, 'w'), 8);
    ck_assert_uint_eq(wire.write_bytes, 3 * MIB);
}
END_TEST

/* Pinning takes long: the link is not to wait for it. */
START_TEST(save__what_has_keys_is_written_before_more_is_pinned)
{
    begin(0);
    fabric_fail_call(FABRIC_ACTIVE, API_reg_mr, 2, ENOMEM);
    must_save(0, 0, MIB);
    must_save(0, 2 * MIB, PAGE);
    ck_assert_failed(rmig_rdma_source_after(&source, RMIG_HOOK_ROUND, &err), -ENOMEM, &err, "cannot pin");
    ck_assert_uint_eq(source.write_wrs, 1);
}
END_TEST

/* A chunk is asked for once in the whole move, also when its pages are dirtied again. */
START_TEST(save__keys_are_kept_for_later_rounds)
{
    unsigned asked;

    begin(0);
    must_save(0, 0, 4 * MIB);
    end();
    asked = message_log_count(&wire, 'R');
    ck_assert_uint_eq(asked, dest.nregister);
    for (uint64_t seed = 2; seed < 6; seed++) {
        ram_fill(&ram, 0, 0, 4 * MIB, seed);
        ck_assert_done(rmig_rdma_source_before(&source, RMIG_HOOK_ROUND, &err), &err);
        must_save(0, 4096, 2 * MIB);
        must_save(0, 3 * MIB, MIB);
        end();
        ck_assert_mem_eq((uint8_t *)copy.blocks[0].host + 4096,
                         (uint8_t *)ram.blocks[0].host + 4096, 2 * MIB);
    }
    ck_assert_uint_eq(message_log_count(&wire, 'R'), asked);
}
END_TEST

START_TEST(save__stock_destination_is_asked_for_one_range_at_a_time)
{
    begin(0);
    for (uint64_t c = 0; c < 24; c += 2)
        must_save(0, c * MIB, PAGE);
    end();
    ck_assert_uint_eq(message_log_count(&wire, 'R'), 12);
}
END_TEST

START_TEST(save__own_destination_is_asked_for_many_at_once)
{
    begin(RMIG_WIRE_FLAG_MULTI_REGISTER);
    for (uint64_t c = 0; c < 24; c += 2)
        must_save(0, c * MIB, PAGE);
    end();
    ck_assert_uint_le(message_log_count(&wire, 'R'), 4);
}
END_TEST

/* --- zero runs -------------------------------------------------------------------------------- */

static int save_zero(uint32_t block, uint64_t offset, uint64_t len)
{
    struct rmig_run run = { block, RMIG_RUN_ZERO, offset, len };

    return rmig_rdma_source_save(&source, &run, &err);
}

START_TEST(save__long_zero_run_is_one_message)
{
    memset((uint8_t *)copy.blocks[0].host, 0x55, lengths[0]); /* what was there before */
    begin(0);
    ck_assert_int_eq(save_zero(0, 8 * MIB, 16 * MIB), RMIG_PUT_DELAYED);
    end();
    ck_assert_str_eq(wire.text, "QECE");
    ck_assert(ram_is_zero(&copy, 0, 8 * MIB, 16 * MIB));
    ck_assert_uint_eq(source.zero_bytes, 16 * MIB);
}
END_TEST

START_TEST(save__short_zero_run_is_left_to_the_stream)
{
    begin(0);
    ck_assert_int_eq(save_zero(0, 0, PAGE), RMIG_PUT_NOT_SUPPORTED);
    end();
    ck_assert_str_eq(wire.text, "QEE");
}
END_TEST

/* A reply that is on its way is not taken for READY, and keys do not get lost. */
START_TEST(save__zero_runs_between_pages)
{
    memset((uint8_t *)copy.blocks[0].host, 0x55, lengths[0]);
    memset((uint8_t *)ram.blocks[0].host + 4 * MIB, 0, 4 * MIB);
    memset((uint8_t *)ram.blocks[0].host + 12 * MIB, 0, 4 * MIB);
    begin(agreements[_i]);
    must_save(0, 0, 4 * MIB);
    ck_assert_int_eq(save_zero(0, 4 * MIB, 4 * MIB), RMIG_PUT_DELAYED);
    must_save(0, 8 * MIB, 4 * MIB);
    ck_assert_int_eq(save_zero(0, 12 * MIB, 4 * MIB), RMIG_PUT_DELAYED);
    must_save(0, 16 * MIB, 8 * MIB);
    end();
    ck_assert_mem_eq(copy.blocks[0].host, ram.blocks[0].host, lengths[0]);
    ck_assert_uint_eq(dest.ncompress, 2);
}
END_TEST

/* --- keys that are no good -------------------------------------------------------------------- */

static const struct {
    uint32_t len, at;
    uint64_t value;
    const char *says;
} bad_keys[] = {
    { UINT32_MAX, 0, 0, "key 0" },
    { UINT32_MAX, 8, 0, "is at 0x0 now" },
    { UINT32_MAX, 8, UINT64_MAX, "now" },
    { 32, UINT32_MAX, 0, "32 bytes came, 16" },
    { 0, UINT32_MAX, 0, "REGISTER_RESULT" },
    { 15, UINT32_MAX, 0, "REGISTER_RESULT" },
    { 16 * 4096, UINT32_MAX, 0, "16 were asked" },
};

START_TEST(save__result_that_does_not_fit_is_EPROTO)
{
    int rc;

    f.peer_opts.slot_bytes = RMIG_WIRE_MESSAGE_MAX_BYTES;
    begin(0);
    spoil_with(RMIG_WIRE_REGISTER_RESULT, bad_keys[_i].len, bad_keys[_i].at, bad_keys[_i].value);
    rc = save(0, 0, 20 * MIB);
    if (rc >= 0)
        rc = rmig_rdma_source_after(&source, RMIG_HOOK_ROUND, &err);
    ck_assert_failed(rc, -EPROTO, &err, bad_keys[_i].says);
    ck_assert_uint_eq(message_log_count(&wire, 'w'), 0);
}
END_TEST

START_TEST(save__fewer_results_than_asked_for_is_EPROTO)
{
    int rc;

    begin(RMIG_WIRE_FLAG_MULTI_REGISTER);
    spoil_with(RMIG_WIRE_REGISTER_RESULT, RMIG_WIRE_RESULT_BYTES, UINT32_MAX, 0);
    rc = save(0, 0, PAGE);
    if (rc >= 0)
        rc = save(1, 0, PAGE);
    if (rc >= 0)
        rc = rmig_rdma_source_after(&source, RMIG_HOOK_ROUND, &err);
    ck_assert_failed(rc, -EPROTO, &err, "32 were asked");
}
END_TEST

START_TEST(save__result_that_nobody_asked_for_is_EPROTO)
{
    uint8_t record[RMIG_WIRE_RESULT_BYTES] = { 0, 0, 0, 1 };
    int rc;

    begin(_i ? RMIG_WIRE_FLAG_PIN_ALL : 0);
    ck_assert_int_eq(raw_say(f.peer, RMIG_WIRE_REGISTER_RESULT, 1, record, sizeof(record)), 0);
    rc = save(0, 0, 20 * MIB);
    if (rc >= 0)
        rc = rmig_rdma_source_after(&source, RMIG_HOOK_ROUND, &err);
    ck_assert_failed(rc, -EPROTO, &err, "REGISTER_RESULT");
}
END_TEST

START_TEST(save__reply_of_another_type_is_told)
{
    int rc;

    begin(0);
    instead_of = RMIG_WIRE_REGISTER_RESULT;
    other_type = (uint32_t)_i;
    dest.tamper = say_something_else;
    f.conn.idle_timeout_ms = f.conn.ctrl.idle_timeout_ms = 50;
    rc = save(0, 0, 20 * MIB);
    if (rc >= 0)
        rc = rmig_rdma_source_after(&source, RMIG_HOOK_ROUND, &err);
    if (_i == RMIG_WIRE_ERROR)
        ck_assert_failed(rc, -ECONNABORTED, &err, "ERROR");
    else if (_i == RMIG_WIRE_READY)
        ck_assert_failed(rc, -ETIMEDOUT, &err, "waiting");
    else if (_i == RMIG_WIRE_REGISTER_RESULT)
        ck_assert_failed(rc, -ETIMEDOUT, &err, "waiting"); /* good, but no READY behind it */
    else
        ck_assert_failed(rc, -EPROTO, &err, _i ? rmig_wire_type_name((uint32_t)_i) : "type 0");
}
END_TEST

/* A key that opens nothing: the device of the destination refuses the write. */
START_TEST(save__refused_write_is_told)
{
    int rc;

    begin(0);
    spoil_with(RMIG_WIRE_REGISTER_RESULT, UINT32_MAX, 0, 0x7777777700000000);
    rc = save(0, 0, 20 * MIB);
    if (rc >= 0)
        rc = rmig_rdma_source_after(&source, RMIG_HOOK_ROUND, &err);
    ck_assert_failed(rc, -EIO, &err, "remote access error");
}
END_TEST

static void add_save_tests(Suite *suite, TCase *save_case)
{
    suite_add_tcase(suite, save_case);
    tcase_add_loop_test(save_case, save__whole_blocks_arrive, 0, 4);
    tcase_add_loop_test(save_case, save__scattered_pages_arrive_and_no_other, 0, 4);
    tcase_add_test(save_case, save__neighbours_become_one_write_a_chunk);
    tcase_add_test(save_case, save__what_has_keys_is_written_before_more_is_pinned);
    tcase_add_test(save_case, save__keys_are_kept_for_later_rounds);
    tcase_add_test(save_case, save__stock_destination_is_asked_for_one_range_at_a_time);
    tcase_add_test(save_case, save__own_destination_is_asked_for_many_at_once);
    tcase_add_test(save_case, save__long_zero_run_is_one_message);
    tcase_add_test(save_case, save__short_zero_run_is_left_to_the_stream);
    tcase_add_loop_test(save_case, save__zero_runs_between_pages, 0, 4);
}

Suite *rdma_source_suite(void)
{
    Suite *suite = suite_create("rdma/source");
    TCase *blocks = tcase_create("blocks"), *pages = tcase_create("save");
    TCase *keys = tcase_create("keys");
    TCase *all[] = { blocks, pages, keys };

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        tcase_add_checked_fixture(all[i], setup, teardown);
    suite_add_tcase(suite, blocks);
    tcase_add_test(blocks, set_blocks__twice_is_EBUSY);
    tcase_add_test(blocks, before__without_blocks_is_EINVAL);
    tcase_add_loop_test(blocks, before__waits_for_READY_behind_the_hook_mark, 0, 2);
    tcase_add_loop_test(blocks, exchange__asks_once_and_pins_only_if_agreed, 0, 2);
    tcase_add_loop_test(blocks, exchange__result_that_does_not_fit_is_EPROTO, 0, NBAD_RESULTS);
    tcase_add_loop_test(blocks, exchange__reply_of_another_type_is_EPROTO, 0, RMIG_WIRE_TYPE_END);
    tcase_add_test(blocks, exchange__destination_that_never_answers_ends_at_the_deadline);
    tcase_add_test(blocks, exchange__pin_all_that_fails_here_is_told);
    tcase_add_test(blocks, exchange__pin_all_that_the_destination_declines_is_done_without);
    add_save_tests(suite, pages);
    suite_add_tcase(suite, keys);
    tcase_add_loop_test(keys, save__result_that_does_not_fit_is_EPROTO, 0, 7);
    tcase_add_test(keys, save__fewer_results_than_asked_for_is_EPROTO);
    tcase_add_loop_test(keys, save__result_that_nobody_asked_for_is_EPROTO, 0, 2);
    tcase_add_loop_test(keys, save__reply_of_another_type_is_told, 0, RMIG_WIRE_TYPE_END);
    tcase_add_test(keys, save__refused_write_is_told);
    return suite;
}
