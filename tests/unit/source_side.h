/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * source_side.h -- a source in front of a destination that is played by hand: the fixture of the test
 * programs about the source's page path. Each has its own.
 */
#ifndef TESTS_UNIT_SOURCE_SIDE_H
#define TESTS_UNIT_SOURCE_SIDE_H

#include "rdma/source.h"

#include <rmig/cancel.h>

#include "common/clock.h"
#include "tests/unit/raw_dest.h"
#include "tests/unit/rdma_fixture.h"

#define MIB ((uint64_t)1 << 20)
#define PAGE ((uint64_t)RMIG_PAGE_BYTES)

static struct source_fixture f;
static struct ram ram, copy; /* the source's and the destination's */
static struct rmig_rdma_source source;
static struct raw_dest dest;
static struct rmig_err err;
static struct message_log wire;
static struct rmig_cancel *cancel;

static const uint64_t lengths[] = { 24 * MIB, 4096, 3 * MIB + 8192 };

/* What the two may have agreed on. */
static const uint32_t agreements[] = { 0, RMIG_WIRE_FLAG_MULTI_REGISTER, RMIG_WIRE_FLAG_PIN_ALL,
                                       RMIG_WIRE_FLAG_PIN_ALL | RMIG_WIRE_FLAG_MULTI_REGISTER };

static inline void step(void *opaque)
{
    raw_dest_step(opaque);
}

static inline void setup(void)
{
    fabric_reset();
    err = (struct rmig_err)RMIG_ERR_INIT;
    memset(&dest, 0, sizeof(dest));
    ck_assert_int_eq(rmig_cancel_new(&cancel, NULL), 0);
    source_fixture_init(&f);
    f.params.cancel_fd = rmig_cancel_fd(cancel);
    ram_init(&ram, 3, lengths);
    ram_init(&copy, 3, lengths);
    for (uint32_t i = 0; i < 3; i++)
        ram_fill(&ram, i, 0, lengths[i], 1);
}

static inline void teardown(void)
{
    fabric_set_idle_hook(FABRIC_ACTIVE, NULL, NULL);
    rmig_rdma_conn_tear_down(&f.conn, false);
    rmig_rdma_source_release(&source);
    source_fixture_release(&f);
    ram_release(&ram);
    ram_release(&copy);
    rmig_cancel_free(cancel);
    for (int side = FABRIC_ACTIVE; side < FABRIC_SIDES; side++)
        assert_nothing_left((enum fabric_side)side);
    fabric_reset();
}

/* Connect to a destination that agrees to these flags. */
static inline void connect_with(uint32_t flags)
{
    f.params.pin_all = flags & RMIG_WIRE_FLAG_PIN_ALL;
    source_fixture_connect(&f, flags);
    dest.peer = f.peer;
    dest.blocks = copy.blocks;
    dest.nblocks = copy.nblocks;
    dest.pin_all = flags & RMIG_WIRE_FLAG_PIN_ALL;
    dest.multi = flags & RMIG_WIRE_FLAG_MULTI_REGISTER;
    dest.unregisters = flags & RMIG_WIRE_FLAG_PIN_BUDGET;
    fabric_set_idle_hook(FABRIC_ACTIVE, step, &dest);
    message_log_start(&wire);
    rmig_rdma_source_init(&source, &f.conn);
    ck_assert_done(rmig_rdma_source_set_blocks(&source, ram.blocks, ram.nblocks, &err), &err);
}

static inline int exchange(void)
{
    int rc = rmig_rdma_source_before(&source, RMIG_HOOK_SETUP, &err);

    return rc < 0 ? rc : rmig_rdma_source_after(&source, RMIG_HOOK_SETUP, &err);
}

static inline void begin(uint32_t flags)
{
    connect_with(flags);
    ck_assert_done(exchange(), &err);
    ck_assert_done(rmig_rdma_source_before(&source, RMIG_HOOK_ROUND, &err), &err);
}

static inline int save(uint32_t block, uint64_t offset, uint64_t len)
{
    struct rmig_run run = { .block_index = block, .offset_bytes = offset, .len_bytes = len };

    return rmig_rdma_source_save(&source, &run, &err);
}

static inline void must_save(uint32_t block, uint64_t offset, uint64_t len)
{
    int rc = save(block, offset, len);

    ck_assert_done(rc, &err);
    ck_assert_int_eq(rc, RMIG_PUT_DELAYED);
}

static inline void end(void)
{
    ck_assert_done(rmig_rdma_source_after(&source, RMIG_HOOK_ROUND, &err), &err);
    raw_dest_step(&dest);
    ck_assert_int_eq(dest.failed, 0);
}

static inline struct fabric_counts counts(void)
{
    struct fabric_counts c;

    fabric_get_counts(FABRIC_ACTIVE, &c);
    return c;
}

#endif
