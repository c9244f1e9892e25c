/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dest_side.h -- a destination in front of a source that is played by hand: the fixture of the test
 * suites about the destination's service. Each has its own.
 */
#ifndef TESTS_UNIT_DEST_SIDE_H
#define TESTS_UNIT_DEST_SIDE_H

#include "rdma/dest.h"

#include <rmig/cancel.h>

#include "common/bytes.h"
#include "tests/unit/rdma_fixture.h"

#define MIB ((uint64_t)1 << 20)

static struct dest_fixture f;
static struct ram ram;
static struct rmig_rdma_dest dest;
static struct rmig_err err;
static struct task serving;
static struct rmig_cancel *cancel;

static const uint64_t lengths[] = { 6 * MIB, 4096, 2 * MIB + 8192 };

/* The order in which the source lists the blocks: its index 0 is our block 2, ... */
static const char *const listed[] = { "block2", "block0", "block1" };
static const uint32_t ours[] = { 2, 0, 1 };

/* What the destination said of each block, by the source's index. */
static struct rmig_wire_block told[3];

static inline void setup(void)
{
    fabric_reset();
    err = (struct rmig_err)RMIG_ERR_INIT;
    ck_assert_int_eq(rmig_cancel_new(&cancel, NULL), 0);
    dest_fixture_init(&f);
    f.params.cancel_fd = rmig_cancel_fd(cancel);
    ram_init(&ram, 3, lengths);
}

static inline void teardown(void)
{
    /* As the plugin does it: queue pairs, then regions. */
    rmig_rdma_conn_tear_down(&f.conn, false);
    rmig_rdma_dest_release(&dest);
    dest_fixture_release(&f);
    ram_release(&ram);
    rmig_cancel_free(cancel);
    for (int side = FABRIC_ACTIVE; side < FABRIC_SIDES; side++)
        assert_nothing_left((enum fabric_side)side);
    fabric_reset();
}

static inline void connect_with(uint32_t flags)
{
    dest_fixture_connect(&f, flags);
    rmig_rdma_dest_init(&dest, &f.conn, ram_zero_range);
    ck_assert_done(rmig_rdma_dest_set_blocks(&dest, ram.blocks, ram.nblocks, &err), &err);
}

static inline void list_all(void)
{
    for (int i = 0; i < 3; i++)
        ck_assert_done(rmig_rdma_dest_list_block(&dest, listed[i], &err), &err);
}

static inline int serve(void *arg, struct rmig_err *e)
{
    (void)arg;
    return rmig_rdma_dest_serve(&dest, e);
}

static inline void start(void)
{
    task_start(&serving, serve, NULL);
}

static inline void say(uint32_t type, uint32_t repeat, const void *payload, uint32_t len_bytes)
{
    ck_assert_int_eq(raw_say_on_ready(f.peer, type, repeat, payload, len_bytes), 0);
}

static inline void ended_well(void)
{
    int rc = task_join(&serving, 60000);

    ck_assert_done(rc, &serving.err);
}

static inline void ended_with(int rc, const char *what)
{
    ck_assert_failed(task_join(&serving, 60000), rc, &serving.err, what);
}

/* The first window: REQUEST, RESULT, FINISHED. */
static inline void exchange(void)
{
    struct raw_msg msg;

    start();
    say(RMIG_WIRE_RAM_BLOCKS_REQUEST, 1, NULL, 0);
    ck_assert_int_eq(raw_expect(f.peer, RMIG_WIRE_RAM_BLOCKS_RESULT, &msg), 0);
    ck_assert_uint_eq(msg.len_bytes, 3 * RMIG_WIRE_BLOCK_BYTES);
    ck_assert_uint_eq(msg.repeat, 1);
    for (int i = 0; i < 3; i++)
        rmig_wire_decode_block(msg.payload + i * RMIG_WIRE_BLOCK_BYTES, &told[i]);
    say(RMIG_WIRE_REGISTER_FINISHED, 1, NULL, 0);
    ended_well();
}

static inline void ready_to_serve(uint32_t flags)
{
    connect_with(flags);
    list_all();
    exchange();
    start();
}

static inline void say_register(uint32_t index, uint64_t ram_addr, uint64_t extra_chunks)
{
    struct rmig_wire_register reg = { ram_addr, index, extra_chunks };
    uint8_t record[RMIG_WIRE_REGISTER_BYTES];

    rmig_wire_encode_register(record, &reg);
    rmig_store_be32(record + 12, 0x587f0000); /* garbage, as QEMU sends it */
    say(RMIG_WIRE_REGISTER_REQUEST, 1, record, sizeof(record));
}

static inline struct rmig_wire_result hear_result(void)
{
    struct rmig_wire_result result;
    struct raw_msg msg;

    ck_assert_int_eq(raw_expect(f.peer, RMIG_WIRE_REGISTER_RESULT, &msg), 0);
    ck_assert_uint_eq(msg.len_bytes, RMIG_WIRE_RESULT_BYTES);
    rmig_wire_decode_result(msg.payload, &result);
    ck_assert_uint_ne(result.rkey, 0);
    return result;
}

static inline void say_compress(uint32_t value, uint32_t index, uint64_t ram_addr, uint64_t len_bytes)
{
    struct rmig_wire_compress compress = { value, index, ram_addr, len_bytes };
    uint8_t record[RMIG_WIRE_COMPRESS_BYTES];

    rmig_wire_encode_compress(record, &compress);
    say(RMIG_WIRE_COMPRESS, 1, record, sizeof(record));
}

static inline void finish(void)
{
    say(RMIG_WIRE_REGISTER_FINISHED, 1, NULL, 0);
    ended_well();
}

static inline uint64_t host_of(uint32_t index)
{
    return (uintptr_t)ram.blocks[ours[index]].host;
}

#endif
