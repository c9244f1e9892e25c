/* SPDX-License-Identifier: BSD-3-Clause */
/* check_rdma_dest.c -- the destination's service against honest and hostile sources. */
#include <errno.h>
#include <sys/mman.h>

#include "common/clock.h"
#include "tests/unit/dest_side.h"
#include "tests/unit/suites.h"

/* --- blocks ----------------------------------------------------------------------------------- */

START_TEST(set_blocks__twice_is_EBUSY)
{
    connect_with(0);
    ck_assert_failed(rmig_rdma_dest_set_blocks(&dest, ram.blocks, ram.nblocks, &err), -EBUSY, &err,
                     "already");
}
END_TEST

START_TEST(set_blocks__more_than_one_result_holds_is_E2BIG)
{
    struct rmig_block *many = calloc(RMIG_BLOCKS_MAX + 1, sizeof(*many));

    ck_assert_ptr_nonnull(many);
    dest_fixture_connect(&f, 0);
    rmig_rdma_dest_init(&dest, &f.conn, ram_zero_range);
    ck_assert_failed(rmig_rdma_dest_set_blocks(&dest, many, RMIG_BLOCKS_MAX + 1, &err), -E2BIG, &err,
                     "16383");
    free(many);
}
END_TEST

START_TEST(list_block__unknown_or_twice_or_late_is_EPROTO)
{
    connect_with(0);
    ck_assert_failed(rmig_rdma_dest_list_block(&dest, "block9", &err), -EPROTO, &err, "block9");
    memset(&err, 0, sizeof(err));
    list_all();
    ck_assert_failed(rmig_rdma_dest_list_block(&dest, "block0", &err), -EPROTO, &err, "twice");
    exchange();
    memset(&err, 0, sizeof(err));
    ck_assert_failed(rmig_rdma_dest_list_block(&dest, "block0", &err), -EPROTO, &err, "after");
}
END_TEST

START_TEST(blocks_result__is_in_the_sources_order)
{
    connect_with(0);
    list_all();
    exchange();
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_uint_eq(told[i].remote_addr, host_of(i));
        ck_assert_uint_eq(told[i].len_bytes, ram.blocks[ours[i]].len_bytes);
        ck_assert_uint_eq(told[i].rkey, 0);
        for (uint32_t j = 0; j < i; j++) /* an address outside its block lies in none */
            ck_assert(told[i].ram_addr > told[j].ram_addr + told[j].len_bytes ||
                      told[j].ram_addr > told[i].ram_addr + told[i].len_bytes);
    }
}
END_TEST

START_TEST(blocks_result__pinned_blocks_can_be_written_and_nothing_else)
{
    uint8_t byte = 0x77;
    struct fabric_counts counts;

    connect_with(RMIG_WIRE_FLAG_PIN_ALL);
    ck_assert(f.conn.pin_all);
    list_all();
    exchange();
    fabric_get_counts(FABRIC_PASSIVE, &counts);
    ck_assert_uint_eq(counts.remote_regions, 3);
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_uint_ne(told[i].rkey, 0);
        ck_assert_int_eq(raw_write(f.peer, &byte, 1, told[i].remote_addr, told[i].rkey), 0);
        ck_assert_int_eq(raw_write(f.peer, &byte, 1, told[i].remote_addr + told[i].len_bytes - 1,
                                   told[i].rkey),
                         0);
    }
    ck_assert_int_eq(raw_write(f.peer, &byte, 1, told[_i].remote_addr + told[_i].len_bytes,
                               told[_i].rkey),
                     IBV_WC_REM_ACCESS_ERR);
}
END_TEST

START_TEST(serve__without_blocks_is_EINVAL)
{
    dest_fixture_connect(&f, 0);
    rmig_rdma_dest_init(&dest, &f.conn, ram_zero_range);
    ck_assert_int_eq(rmig_rdma_dest_serve(&dest, &err), -EINVAL);
}
END_TEST

START_TEST(blocks_request__twice_is_EPROTO)
{
    ready_to_serve(0);
    say(RMIG_WIRE_RAM_BLOCKS_REQUEST, 1, NULL, 0);
    ended_with(-EPROTO, "RAM_BLOCKS_REQUEST");
}
END_TEST

START_TEST(blocks_request__twice_in_one_window_is_EPROTO)
{
    struct raw_msg msg;

    connect_with(0);
    list_all();
    start();
    say(RMIG_WIRE_RAM_BLOCKS_REQUEST, 1, NULL, 0);
    ck_assert_int_eq(raw_expect(f.peer, RMIG_WIRE_RAM_BLOCKS_RESULT, &msg), 0);
    say(RMIG_WIRE_RAM_BLOCKS_REQUEST, 1, NULL, 0);
    ended_with(-EPROTO, "RAM_BLOCKS_REQUEST");
}
END_TEST

START_TEST(blocks_request__before_all_blocks_are_listed_is_EPROTO)
{
    connect_with(0);
    for (int i = 0; i < _i; i++)
        ck_assert_int_eq(rmig_rdma_dest_list_block(&dest, listed[i], &err), 0);
    start();
    say(RMIG_WIRE_RAM_BLOCKS_REQUEST, 1, NULL, 0);
    ended_with(-EPROTO, "listed");
}
END_TEST

/* --- what may come when ----------------------------------------------------------------------- */

static const uint32_t sizes[RMIG_WIRE_TYPE_END] = {
    [RMIG_WIRE_QEMU_FILE] = 16,
    [RMIG_WIRE_RAM_BLOCKS_RESULT] = RMIG_WIRE_BLOCK_BYTES,
    [RMIG_WIRE_COMPRESS] = RMIG_WIRE_COMPRESS_BYTES,
    [RMIG_WIRE_REGISTER_REQUEST] = RMIG_WIRE_REGISTER_BYTES,
    [RMIG_WIRE_REGISTER_RESULT] = RMIG_WIRE_RESULT_BYTES,
    [RMIG_WIRE_UNREGISTER_REQUEST] = RMIG_WIRE_REGISTER_BYTES,
};

/* What a message that may not come now is refused with: for its type, whatever is in it. */
static const char *refusal_of(uint32_t type)
{
    return type == RMIG_WIRE_NONE ? "type 0" : type == RMIG_WIRE_READY ? "READY" : "where only";
}

START_TEST(serve__before_the_exchange_only_the_request_is_allowed)
{
    static const uint8_t zeroes[64];

    connect_with(0);
    list_all();
    start();
    say((uint32_t)_i, 1, zeroes, sizes[_i]);
    switch (_i) {
    case RMIG_WIRE_RAM_BLOCKS_REQUEST:
        ck_assert_int_eq(raw_expect(f.peer, RMIG_WIRE_RAM_BLOCKS_RESULT, NULL), 0);
        finish();
        break;
    case RMIG_WIRE_ERROR:
        ended_with(-ECONNABORTED, "ERROR");
        break;
    default:
        ended_with(-EPROTO, refusal_of((uint32_t)_i));
    }
}
END_TEST

START_TEST(serve__inside_a_window_only_its_messages_are_allowed)
{
    static const uint8_t zeroes[64];

    ready_to_serve(0);
    if (_i == RMIG_WIRE_COMPRESS) {
        say_compress(0, 1, told[1].ram_addr, 4096);
        finish();
        return;
    }
    if (_i == RMIG_WIRE_REGISTER_REQUEST) {
        say_register(1, told[1].ram_addr, 0);
        hear_result();
        finish();
        return;
    }
    say((uint32_t)_i, 1, zeroes, sizes[_i]);
    if (_i == RMIG_WIRE_REGISTER_FINISHED)
        ended_well();
    else if (_i == RMIG_WIRE_ERROR)
        ended_with(-ECONNABORTED, "ERROR");
    else
        ended_with(-EPROTO, refusal_of((uint32_t)_i));
}
END_TEST

/* --- REGISTER_REQUEST ------------------------------------------------------------------------- */

START_TEST(register__opens_the_chunk_and_no_byte_more)
{
    struct rmig_wire_result result;
    struct fabric_counts before, after;
    uint8_t bytes[2] = { 0x11, 0x22 };

    ready_to_serve(0);
    fabric_get_counts(FABRIC_PASSIVE, &before);
    ck_assert_uint_eq(before.remote_regions, 0);
    say_register(1, told[1].ram_addr + 2 * MIB + 4096 * 5, 0); /* need not be the chunk's start */
    result = hear_result();
    fabric_get_counts(FABRIC_PASSIVE, &after);
    ck_assert_uint_eq(after.remote_regions, 1);
    ck_assert_uint_eq(after.registered_bytes - before.registered_bytes, MIB);
    ck_assert_uint_eq(result.host_addr, host_of(1)); /* the block's start, not the chunk's */
    ck_assert_int_eq(raw_write(f.peer, bytes, 1, result.host_addr + 2 * MIB, result.rkey), 0);
    ck_assert_int_eq(raw_write(f.peer, bytes, 1, result.host_addr + 3 * MIB - 1, result.rkey), 0);
    finish();
    ck_assert_uint_eq(((uint8_t *)ram.blocks[0].host)[2 * MIB], 0x11);
    ck_assert_uint_eq(((uint8_t *)ram.blocks[0].host)[3 * MIB - 1], 0x11);
    ck_assert(ram_is_zero(&ram, 0, 0, 2 * MIB));
    if (_i == 0)
        ck_assert_int_eq(raw_write(f.peer, bytes, 2, result.host_addr + 3 * MIB - 1, result.rkey),
                         IBV_WC_REM_ACCESS_ERR);
    else
        ck_assert_int_eq(raw_write(f.peer, bytes, 1, result.host_addr + 2 * MIB - 1, result.rkey),
                         IBV_WC_REM_ACCESS_ERR);
    ck_assert(ram_is_zero(&ram, 0, 3 * MIB, 3 * MIB));
}
END_TEST

START_TEST(register__several_chunks_and_the_short_last_one)
{
    static const struct {
        uint32_t index;
        uint64_t offset, extra, len_bytes;
    } cases[] = { { 0, 0, 2, 2 * MIB + 8192 }, { 0, 2 * MIB, 0, 8192 }, { 1, MIB, 4, 5 * MIB },
                  { 2, 0, 0, 4096 }, { 2, 4095, 0, 4096 } };
    struct fabric_counts before, after;

    ready_to_serve(0);
    fabric_get_counts(FABRIC_PASSIVE, &before);
    say_register(cases[_i].index, told[cases[_i].index].ram_addr + cases[_i].offset,
                 cases[_i].extra);
    hear_result();
    fabric_get_counts(FABRIC_PASSIVE, &after);
    ck_assert_uint_eq(after.registered_bytes - before.registered_bytes, cases[_i].len_bytes);
    finish();
}
END_TEST

START_TEST(register__same_chunk_again_gives_the_same_key)
{
    struct fabric_counts before, after;
    uint32_t rkey;

    ready_to_serve(0);
    say_register(0, told[0].ram_addr, 0);
    rkey = hear_result().rkey;
    fabric_get_counts(FABRIC_PASSIVE, &before);
    for (int i = 0; i < 20; i++) {
        say_register(0, told[0].ram_addr + 4096 * (uint64_t)i, 0);
        ck_assert_uint_eq(hear_result().rkey, rkey);
    }
    finish();
    fabric_get_counts(FABRIC_PASSIVE, &after);
    ck_assert_uint_eq(after.registrations, before.registrations);
}
END_TEST

START_TEST(register__several_records_only_if_agreed)
{
    uint8_t records[3 * RMIG_WIRE_REGISTER_BYTES];
    struct raw_msg msg;

    ready_to_serve(_i ? RMIG_WIRE_FLAG_MULTI_REGISTER : 0);
    for (uint32_t i = 0; i < 3; i++)
        rmig_wire_encode_register(records + i * RMIG_WIRE_REGISTER_BYTES,
                                  &(struct rmig_wire_register){ told[i].ram_addr, i, 0 });
    say(RMIG_WIRE_REGISTER_REQUEST, 3, records, sizeof(records));
    if (!_i) {
        ended_with(-EPROTO, "3 records");
        return;
    }
    ck_assert_int_eq(raw_expect(f.peer, RMIG_WIRE_REGISTER_RESULT, &msg), 0);
    ck_assert_uint_eq(msg.len_bytes, 3 * RMIG_WIRE_RESULT_BYTES);
    for (uint32_t i = 0; i < 3; i++) {
        struct rmig_wire_result result;

        rmig_wire_decode_result(msg.payload + i * RMIG_WIRE_RESULT_BYTES, &result);
        ck_assert_uint_eq(result.host_addr, host_of(i));
        ck_assert_int_eq(raw_write(f.peer, "x", 1, host_of(i), result.rkey), 0);
    }
    finish();
}
END_TEST

/* base: 1 = the address is relative to the block that is named. */
static const struct {
    uint32_t index;
    int base;
    uint64_t addr, extra;
    const char *says;
} bad_registers[] = {
    { 3, 0, 0, 0, "block index 3" },
    { UINT32_MAX, 0, 0, 0, "block index" },
    { 0, 0, 0, 0, "outside" },
    { 0, 1, UINT64_MAX, 0, "outside" }, /* one byte before the block */
    { 0, 1, 2 * MIB + 8192, 0, "outside" },
    { 0, 1, (uint64_t)1 << 32, 0, "outside" },
    { 2, 1, 4096, 0, "outside" },
    { 1, 0, UINT64_MAX, 0, "outside" },
    { 1, 0, (uint64_t)1 << 63, 0, "outside" },
    { 1, 1, 0, 6, "6 chunks after chunk 0" },
    { 1, 1, 5 * MIB, 1, "chunks after" },
    { 1, 1, 6 * MIB - 1, 1, "chunks after" },
    { 1, 1, 0, UINT64_MAX, "chunks after" },
    { 1, 1, 0, UINT64_MAX - 5, "chunks after" },
    { 1, 1, MIB, ((uint64_t)1 << 44) - 1, "chunks after" }, /* wraps 64 bits as bytes */
    { 2, 1, 0, 1, "chunks after" },
};
#define NBAD_REGISTERS ((int)(sizeof(bad_registers) / sizeof(bad_registers[0])))

START_TEST(register__outside_the_block_is_EPROTO)
{
    uint64_t base = 0;
    struct fabric_counts before, after;

    ready_to_serve(0);
    fabric_get_counts(FABRIC_PASSIVE, &before);
    if (bad_registers[_i].base)
        base = told[bad_registers[_i].index].ram_addr;
    say_register(bad_registers[_i].index, base + bad_registers[_i].addr, bad_registers[_i].extra);
    ended_with(-EPROTO, bad_registers[_i].says);
    fabric_get_counts(FABRIC_PASSIVE, &after);
    ck_assert_uint_eq(after.registrations, before.registrations);
}
END_TEST

/* The addresses of one block are not good for another. */
START_TEST(register__address_of_another_block_is_EPROTO)
{
    ready_to_serve(0);
    say_register((uint32_t)_i, told[(_i + 1) % 3].ram_addr, 0);
    ended_with(-EPROTO, "outside");
}
END_TEST

START_TEST(register__range_that_is_partly_registered_is_EPROTO)
{
    ready_to_serve(0);
    say_register(1, told[1].ram_addr + 2 * MIB, 1);
    hear_result();
    say_register(1, told[1].ram_addr + (_i ? MIB : 3 * MIB), 1);
    ended_with(-EPROTO, "partly");
}
END_TEST

START_TEST(register__with_all_pinned_is_EPROTO)
{
    ready_to_serve(RMIG_WIRE_FLAG_PIN_ALL);
    say_register(1, told[1].ram_addr, 0);
    ended_with(-EPROTO, "pinned");
}
END_TEST

START_TEST(register__beyond_the_pin_budget_is_refused)
{
    f.params.pin_budget_bytes = 2 * MIB;
    ready_to_serve(0);
    for (uint64_t c = 0; c < 2; c++) {
        say_register(1, told[1].ram_addr + c * MIB, 0);
        hear_result();
    }
    say_register(1, told[1].ram_addr + 2 * MIB, 0);
    ended_with(-EDQUOT, "budget");
}
END_TEST

START_TEST(pin_all__beyond_the_hosts_limit_is_refused)
{
    fabric_set_pin_limit(FABRIC_PASSIVE, RMIG_CTRL_PINNED_BYTES + 4 * MIB);
    connect_with(RMIG_WIRE_FLAG_PIN_ALL);
    list_all();
    start();
    say(RMIG_WIRE_RAM_BLOCKS_REQUEST, 1, NULL, 0);
    ended_with(-ENOMEM, "pin");
}
END_TEST

START_TEST(register__failing_registration_is_told)
{
    ready_to_serve(0);
    fabric_fail_call(FABRIC_PASSIVE, API_reg_mr, 1, ENOMEM);
    say_register(1, told[1].ram_addr, 0);
    ended_with(-ENOMEM, "cannot pin");
}
END_TEST

/* --- COMPRESS --------------------------------------------------------------------------------- */

START_TEST(compress__zeroes_its_range_and_no_byte_more)
{
    static const struct {
        uint64_t offset, len_bytes;
    } cases[] = { { 0, 6 * MIB }, { 4096, 4096 }, { 3 * MIB, 3 * MIB }, { 0, 4096 },
                  { 6 * MIB - 4096, 4096 }, { 8192, 3 * MIB } };
    uint64_t end = cases[_i].offset + cases[_i].len_bytes;
    struct ram copy;

    for (uint32_t b = 0; b < 3; b++)
        ram_fill(&ram, b, 0, lengths[b], 1);
    ram_init(&copy, 3, lengths);
    for (uint32_t b = 0; b < 3; b++)
        memcpy(copy.blocks[b].host, ram.blocks[b].host, lengths[b]);
    ready_to_serve(0);
    say_compress(0, 1, told[1].ram_addr + cases[_i].offset, cases[_i].len_bytes);
    finish();
    ck_assert(ram_is_zero(&ram, 0, cases[_i].offset, cases[_i].len_bytes));
    ck_assert_uint_eq(dest.zero_bytes, cases[_i].len_bytes);
    memcpy((uint8_t *)ram.blocks[0].host + cases[_i].offset,
           (uint8_t *)copy.blocks[0].host + cases[_i].offset, end - cases[_i].offset);
    ck_assert(ram_equal(&ram, &copy));
    ram_release(&copy);
}
END_TEST

static const struct {
    uint32_t value, index;
    int base;
    uint64_t addr, len_bytes;
    const char *says;
} bad_compresses[] = {
    { 1, 1, 1, 0, 4096, "fill value 0x1" },
    { 0xff, 1, 1, 0, 4096, "fill value" },
    { 0, 3, 0, 0, 4096, "block index 3" },
    { 0, UINT32_MAX, 0, 0, 4096, "block index" },
    { 0, 1, 1, 0, 0, "length 0" },
    { 0, 1, 0, 0, 4096, "outside" },
    { 0, 1, 1, (uint64_t)-4096, 4096, "outside" },
    { 0, 1, 1, (uint64_t)-4096, 8192, "outside" },
    { 0, 1, 1, 6 * MIB, 4096, "outside" },
    { 0, 1, 1, 6 * MIB - 4096, 8192, "outside" },
    { 0, 1, 1, 0, 6 * MIB + 4096, "outside" },
    { 0, 1, 1, 4096, UINT64_MAX - 4095, "outside" }, /* wraps to the start */
    { 0, 1, 1, 0, UINT64_MAX, "outside" },
    { 0, 1, 1, 0, (uint64_t)1 << 63, "outside" },
    { 0, 1, 1, 100, 4096, "whole pages" },
    { 0, 1, 1, 0, 100, "whole pages" },
    { 0, 1, 1, 4096, 4097, "whole pages" },
    { 0, 2, 1, 0, 8192, "outside" },
};
#define NBAD_COMPRESSES ((int)(sizeof(bad_compresses) / sizeof(bad_compresses[0])))

START_TEST(compress__that_is_no_page_range_of_the_block_is_EPROTO)
{
    struct ram copy;
    uint64_t base = 0;

    for (uint32_t b = 0; b < 3; b++)
        ram_fill(&ram, b, 0, lengths[b], 1);
    ram_init(&copy, 3, lengths);
    for (uint32_t b = 0; b < 3; b++)
        memcpy(copy.blocks[b].host, ram.blocks[b].host, lengths[b]);
    ready_to_serve(0);
    if (bad_compresses[_i].base)
        base = told[bad_compresses[_i].index].ram_addr;
    say_compress(bad_compresses[_i].value, bad_compresses[_i].index,
                 base + bad_compresses[_i].addr, bad_compresses[_i].len_bytes);
    ended_with(-EPROTO, bad_compresses[_i].says);
    ck_assert(ram_equal(&ram, &copy));
    ram_release(&copy);
}
END_TEST

static int cannot_zero(const struct rmig_block *block, uint64_t offset_bytes, uint64_t len_bytes)
{
    (void)block;
    (void)offset_bytes;
    (void)len_bytes;
    return -ENOSPC;
}

START_TEST(compress__failing_to_zero_is_told)
{
    ready_to_serve(0);
    dest.zero_range = cannot_zero;
    say_compress(0, 1, told[1].ram_addr, 4096);
    ended_with(-ENOSPC, "block0");
}
END_TEST

/* --- a source that goes away or astray -------------------------------------------------------- */

START_TEST(serve__silent_source_ends_at_the_idle_deadline)
{
    f.params.idle_timeout_ms = 100;
    ready_to_serve(0);
    ended_with(-ETIMEDOUT, "REGISTER_FINISHED");
}
END_TEST

START_TEST(serve__source_that_hangs_up_is_ECONNRESET)
{
    ready_to_serve(0);
    ck_assert_int_eq(raw_expect(f.peer, RMIG_WIRE_READY, NULL), 0);
    ck_assert_int_eq(raw_disconnect(f.peer), 0);
    ended_with(-ECONNRESET, "hung up");
}
END_TEST

START_TEST(serve__source_that_vanishes_is_noticed_within_2_s)
{
    uint64_t began;

    ready_to_serve(0);
    ck_assert_int_eq(raw_expect(f.peer, RMIG_WIRE_READY, NULL), 0);
    fabric_black_hole();
    began = rmig_now_ns();
    ended_with(-EIO, "retry");
    ck_assert_uint_lt(task_took_ns(&serving, began), 2000 * RMIG_NS_PER_MS);
}
END_TEST

START_TEST(serve__write_to_what_is_not_open_ends_the_connection)
{
    ready_to_serve(0);
    say_register(1, told[1].ram_addr, 0);
    ck_assert_int_eq(raw_write(f.peer, "x", 1, host_of(1) + MIB, hear_result().rkey),
                     IBV_WC_REM_ACCESS_ERR);
    ended_with(-ECONNRESET, "hung up");
    ck_assert(ram_is_zero(&ram, 0, 0, lengths[0]));
}
END_TEST

static void *chatter(void *arg)
{
    uint8_t record[RMIG_WIRE_COMPRESS_BYTES];

    (void)arg;
    rmig_wire_encode_compress(record,
                              &(struct rmig_wire_compress){ 0, 2, told[2].ram_addr, 4096 });
    while (raw_say_on_ready(f.peer, RMIG_WIRE_COMPRESS, 1, record, sizeof(record)) == 0)
        ;
    return NULL;
}

START_TEST(serve__source_that_never_ends_the_window_is_ended_by_cancel)
{
    pthread_t talker;
    uint64_t began;

    ready_to_serve(0);
    ck_assert_int_eq(pthread_create(&talker, NULL, chatter, NULL), 0);
    ck_assert(task_runs(&serving, 50));
    began = rmig_now_ns();
    rmig_cancel_trigger(cancel);
    ended_with(-ECANCELED, "cancelled");
    ck_assert_uint_lt(task_took_ns(&serving, began), 100 * RMIG_NS_PER_MS);
    rmig_rdma_conn_tear_down(&f.conn, false);
    ck_assert_int_eq(pthread_join(talker, NULL), 0);
}
END_TEST

/* Memory that was open during the move is closed before anybody uses it. */
START_TEST(release__nothing_can_be_written_any_more)
{
    struct rmig_wire_result result;
    struct fabric_counts counts;

    ready_to_serve(0);
    say_register(1, told[1].ram_addr, 5);
    result = hear_result();
    finish();
    ck_assert_int_eq(raw_write(f.peer, "x", 1, host_of(1), result.rkey), 0); /* still open */
    rmig_rdma_conn_tear_down(&f.conn, false);
    rmig_rdma_dest_release(&dest);
    fabric_get_counts(FABRIC_PASSIVE, &counts);
    ck_assert_uint_eq(counts.remote_regions, 0);
    ck_assert_int_ne(raw_write(f.peer, "y", 1, host_of(1), result.rkey), 0);
    ck_assert_uint_eq(*(uint8_t *)ram.blocks[0].host, 'x');
}
END_TEST

/* Where hanging up fails the queue pair is gone all the same, before the regions are. */
START_TEST(tear_down__that_cannot_hang_up_shuts_the_peer_out)
{
    struct rmig_wire_result result;
    struct fabric_counts counts;

    ready_to_serve(0);
    say_register(1, told[1].ram_addr, 5);
    result = hear_result();
    finish();
    fabric_fail_call(FABRIC_PASSIVE, API_disconnect, 1, EINVAL);
    rmig_rdma_conn_tear_down(&f.conn, false);
    fabric_get_counts(FABRIC_PASSIVE, &counts);
    ck_assert_uint_ne(counts.remote_regions, 0);
    ck_assert_int_ne(raw_write(f.peer, "y", 1, host_of(1), result.rkey), 0);
    ck_assert_uint_ne(*(uint8_t *)ram.blocks[0].host, 'y');
}
END_TEST

Suite *rdma_dest_suite(void)
{
    Suite *suite = suite_create("rdma/dest");
    TCase *blocks = tcase_create("blocks"), *state = tcase_create("state");
    TCase *reg = tcase_create("register"), *zero = tcase_create("compress");
    TCase *end = tcase_create("end");
    TCase *all[] = { blocks, state, reg, zero, end };

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        suite_add_tcase(suite, all[i]);
        tcase_add_checked_fixture(all[i], setup, teardown);
    }
    tcase_add_test(blocks, set_blocks__twice_is_EBUSY);
    tcase_add_test(blocks, set_blocks__more_than_one_result_holds_is_E2BIG);
    tcase_add_test(blocks, list_block__unknown_or_twice_or_late_is_EPROTO);
    tcase_add_test(blocks, blocks_result__is_in_the_sources_order);
    tcase_add_loop_test(blocks, blocks_result__pinned_blocks_can_be_written_and_nothing_else, 0, 3);
    tcase_add_test(blocks, serve__without_blocks_is_EINVAL);
    tcase_add_test(blocks, blocks_request__twice_is_EPROTO);
    tcase_add_test(blocks, blocks_request__twice_in_one_window_is_EPROTO);
    tcase_add_loop_test(blocks, blocks_request__before_all_blocks_are_listed_is_EPROTO, 0, 3);
    tcase_add_loop_test(state, serve__before_the_exchange_only_the_request_is_allowed, 0,
                        RMIG_WIRE_TYPE_END);
    tcase_add_loop_test(state, serve__inside_a_window_only_its_messages_are_allowed, 0,
                        RMIG_WIRE_TYPE_END);
    tcase_add_loop_test(reg, register__opens_the_chunk_and_no_byte_more, 0, 2);
    tcase_add_loop_test(reg, register__several_chunks_and_the_short_last_one, 0, 5);
    tcase_add_test(reg, register__same_chunk_again_gives_the_same_key);
    tcase_add_loop_test(reg, register__several_records_only_if_agreed, 0, 2);
    tcase_add_loop_test(reg, register__outside_the_block_is_EPROTO, 0, NBAD_REGISTERS);
    tcase_add_loop_test(reg, register__address_of_another_block_is_EPROTO, 0, 3);
    tcase_add_loop_test(reg, register__range_that_is_partly_registered_is_EPROTO, 0, 2);
    tcase_add_test(reg, register__with_all_pinned_is_EPROTO);
    tcase_add_test(reg, register__beyond_the_pin_budget_is_refused);
    tcase_add_test(reg, pin_all__beyond_the_hosts_limit_is_refused);
    tcase_add_test(reg, register__failing_registration_is_told);
    tcase_add_loop_test(zero, compress__zeroes_its_range_and_no_byte_more, 0, 6);
    tcase_add_loop_test(zero, compress__that_is_no_page_range_of_the_block_is_EPROTO, 0,
                        NBAD_COMPRESSES);
    tcase_add_test(zero, compress__failing_to_zero_is_told);
    tcase_add_test(end, serve__silent_source_ends_at_the_idle_deadline);
    tcase_add_test(end, serve__source_that_hangs_up_is_ECONNRESET);
    tcase_add_test(end, serve__source_that_vanishes_is_noticed_within_2_s);
    tcase_add_test(end, serve__write_to_what_is_not_open_ends_the_connection);
    tcase_add_test(end, serve__source_that_never_ends_the_window_is_ended_by_cancel);
    tcase_add_test(end, release__nothing_can_be_written_any_more);
    tcase_add_test(end, tear_down__that_cannot_hang_up_shuts_the_peer_out);
    return suite;
}
