/* SPDX-License-Identifier: BSD-3-Clause */
/* check_rdma_patience.c -- both sides where something takes long: no spinning, no deafness. */
#include <errno.h>
#include <time.h>
#include <rmig/cancel.h>

#include "common/clock.h"
#include "rdma/dest.h"
#include "rdma/source.h"
#include "tests/unit/raw_dest.h"
#include "tests/unit/rdma_fixture.h"

#define MIB ((uint64_t)1 << 20)
#define PAGE ((uint64_t)RMIG_PAGE_BYTES)

static struct ram ram;
static struct rmig_err err;
static struct rmig_cancel *cancel;
static unsigned source_lanes;

static void setup(void)
{
    fabric_reset();
    err = (struct rmig_err)RMIG_ERR_INIT;
    source_lanes = 1;
    ck_assert_int_eq(rmig_cancel_new(&cancel, NULL), 0);
}

static void teardown(void)
{
    ram_release(&ram);
    rmig_cancel_free(cancel);
    for (int side = FABRIC_ACTIVE; side < FABRIC_SIDES; side++)
        assert_nothing_left((enum fabric_side)side);
    fabric_reset();
}

/* --- source ----------------------------------------------------------------------------------- */

static struct source_fixture from;
static struct rmig_rdma_source source;
static struct ram copy; /* the destination's */
static struct raw_dest honest;
static struct message_log wire;

static void step(void *opaque)
{
    raw_dest_step(opaque);
}

static int begin_pass(enum rmig_hook_flag flag)
{
    return rmig_rdma_source_before(&source, flag, &err);
}

static void end_pass(enum rmig_hook_flag flag)
{
    ck_assert_done(rmig_rdma_source_after(&source, flag, &err), &err);
    raw_dest_step(&honest);
    ck_assert_int_eq(honest.failed, 0);
}

/* One block, as far as the first pass over pages. */
static void source_begin(uint32_t flags, uint64_t len_bytes)
{
    ram_init(&ram, 1, &len_bytes);
    ram_init(&copy, 1, &len_bytes);
    source_fixture_init(&from);
    from.params.nqueue_pairs = source_lanes;
    source_fixture_connect(&from, flags);
    honest = (struct raw_dest){ .peer = from.peer,
                                .blocks = copy.blocks,
                                .nblocks = 1,
                                .multi = flags & RMIG_WIRE_FLAG_MULTI_REGISTER };
    fabric_set_idle_hook(FABRIC_ACTIVE, step, &honest);
    message_log_start(&wire);
    rmig_rdma_source_init(&source, &from.conn);
    ck_assert_done(rmig_rdma_source_set_blocks(&source, ram.blocks, 1, &err), &err);
    ck_assert_done(begin_pass(RMIG_HOOK_SETUP), &err);
    end_pass(RMIG_HOOK_SETUP);
    ck_assert_done(begin_pass(RMIG_HOOK_ROUND), &err);
}

static void source_end(void)
{
    fabric_set_idle_hook(FABRIC_ACTIVE, NULL, NULL);
    rmig_rdma_conn_tear_down(&from.conn, false);
    rmig_rdma_source_release(&source);
    source_fixture_release(&from);
    ram_release(&copy);
}

static void save(uint32_t flags, uint64_t offset_bytes, uint64_t len_bytes)
{
    struct rmig_run run = { 0, flags, offset_bytes, len_bytes };
    int rc = rmig_rdma_source_save(&source, &run, &err);

    ck_assert_done(rc, &err);
    ck_assert_int_eq(rc, RMIG_PUT_DELAYED);
}

/* The queue is full and a few chunks want keys, too few to ask for them now: it sleeps meanwhile. */
/* --- pinning ---------------------------------------------------------------------------------- */

static int exchange(void *arg, struct rmig_err *e)
{
    (void)arg;
    return rmig_rdma_source_after(&source, RMIG_HOOK_SETUP, e);
}

/* As far as the exchange of blocks, with all to be pinned. */
static void source_until_exchange(uint64_t len_bytes)
{
    ram_init(&ram, 1, &len_bytes);
    ram_init(&copy, 1, &len_bytes);
    source_fixture_init(&from);
    from.params.pin_all = true;
    from.params.cancel_fd = rmig_cancel_fd(cancel);
    source_fixture_connect(&from, RMIG_WIRE_FLAG_PIN_ALL);
    honest = (struct raw_dest){ .peer = from.peer, .blocks = copy.blocks, .nblocks = 1,
                                .pin_all = true };
    fabric_set_idle_hook(FABRIC_ACTIVE, step, &honest);
    rmig_rdma_source_init(&source, &from.conn);
    ck_assert_done(rmig_rdma_source_set_blocks(&source, ram.blocks, 1, &err), &err);
    ck_assert_done(begin_pass(RMIG_HOOK_SETUP), &err);
}

static bool say_no_result(struct raw_dest *d, struct raw_answer *answer)
{
    return answer->type != RMIG_WIRE_RAM_BLOCKS_RESULT && d->nanswers < 1;
}

/* 1 GiB at a time; what was pinned is written from as before. */
START_TEST(source__pins_all_part_by_part)
{
    const uint64_t len = 2560 * MIB + PAGE;
    struct fabric_counts before, after;
    const struct rmig_rdma_region *region;

    source_until_exchange(len);
    fabric_get_counts(FABRIC_ACTIVE, &before);
    ck_assert_done(exchange(NULL, &err), &err);
    fabric_get_counts(FABRIC_ACTIVE, &after);
    ck_assert_uint_eq(after.registrations - before.registrations, 3);
    ck_assert_uint_eq(after.registered_bytes - before.registered_bytes, len);
    region = rmig_rdma_chunks_find(&source.local, 0, 1023);
    ck_assert_uint_eq(region->len_bytes, 1024 * MIB);
    ck_assert_ptr_ne(region, rmig_rdma_chunks_find(&source.local, 0, 1024));
    ck_assert_done(begin_pass(RMIG_HOOK_ROUND), &err);
    ram_fill(&ram, 0, 1023 * MIB, 2 * MIB, 3); /* over the border */
    ram_fill(&ram, 0, 2560 * MIB, PAGE, 4);
    save(0, 1023 * MIB, 2 * MIB);
    save(0, 2560 * MIB, PAGE);
    end_pass(RMIG_HOOK_ROUND);
    ck_assert_mem_eq((uint8_t *)copy.blocks[0].host + 1023 * MIB,
                     (uint8_t *)ram.blocks[0].host + 1023 * MIB, 2 * MIB);
    ck_assert_mem_eq((uint8_t *)copy.blocks[0].host + 2560 * MIB,
                     (uint8_t *)ram.blocks[0].host + 2560 * MIB, PAGE);
    source_end();
}
END_TEST

/* Cancelled while it pins: it ends with the part that it was at. */
START_TEST(source__pinning_is_ended_by_cancel)
{
    struct fabric_counts before, after;
    struct task task;

    source_until_exchange(8192 * MIB);
    fabric_get_counts(FABRIC_ACTIVE, &before);
    fabric_set_pin_ms(FABRIC_ACTIVE, 60);
    task_start(&task, exchange, NULL);
    ck_assert(task_runs(&task, 80)); /* in the second of eight */
    rmig_cancel_trigger(cancel);
    ck_assert_failed(task_join(&task, 60000), -ECANCELED, &task.err, "pinning");
    fabric_get_counts(FABRIC_ACTIVE, &after);
    ck_assert_uint_lt(after.registrations - before.registrations, 8);
    source_end();
}
END_TEST

START_TEST(source__waiting_for_the_link_is_no_spinning)
{
    const uint64_t known = 44, all = 56;
    uint64_t polls;

    source_begin(_i ? RMIG_WIRE_FLAG_MULTI_REGISTER : 0, all * MIB);
    ram_fill(&ram, 0, 0, all * MIB, 1);
    save(0, 0, known * MIB);
    end_pass(RMIG_HOOK_ROUND);
    ck_assert_done(begin_pass(RMIG_HOOK_ROUND), &err);
    fabric_set_delay_ms(20);
    polls = fabric_calls(FABRIC_ACTIVE, API_poll_cq);
    for (uint64_t c = 0; c < all; c++)
        save(0, c * MIB, MIB);
    end_pass(RMIG_HOOK_ROUND);
    polls = fabric_calls(FABRIC_ACTIVE, API_poll_cq) - polls;
    ck_assert_uint_lt(polls, 10 * all);
    ck_assert(ram_equal(&ram, &copy));
    source_end();
}
END_TEST

/* What is queued must be through before the destination, which hears nothing of it, loses patience. */
START_TEST(source__slow_link_queues_little)
{
    const uint64_t all = 56, fast_bytes_per_s = 22000000;
    uint64_t end_ns;

    source_begin(RMIG_WIRE_FLAG_MULTI_REGISTER, all * MIB);
    ram_fill(&ram, 0, 0, all * MIB, 1);
    save(0, 0, all * MIB); /* for the keys */
    end_pass(RMIG_HOOK_ROUND);
    ck_assert_done(begin_pass(RMIG_HOOK_ROUND), &err);
    from.conn.idle_timeout_ms = 1000;
    if (_i)
        fabric_set_delay_ms(400); /* 21 MB/s at most, with 8 MiB in flight */
    end_ns = rmig_now_ns() + 5000 * RMIG_NS_PER_MS;
    do { /* a busy machine may need some time to show that the link is fast */
        for (uint64_t c = 0; c < all; c++)
            save(0, c * MIB, MIB);
    } while (!_i && source.bytes_per_s <= fast_bytes_per_s && rmig_now_ns() < end_ns);
    if (_i) {
        ck_assert_uint_lt(source.bytes_per_s, fast_bytes_per_s);
        ck_assert_uint_le(source.batch.bytes, source.bytes_per_s / 4 + MIB);
        ck_assert_uint_le(source.lanes[0].bytes_posted - source.lanes[0].bytes_completed,
                          source.bytes_per_s / 8 + 3 * MIB);
    } else {
        ck_assert_uint_gt(source.bytes_per_s, fast_bytes_per_s);
    }
    end_pass(RMIG_HOOK_ROUND);
    ck_assert(ram_equal(&ram, &copy));
    source_end();
}
END_TEST

/* The link becomes slow while what is in flight, little for a fast one, asks for no completion. */
START_TEST(source__link_that_becomes_slow_is_written_to_on)
{
    const uint64_t all = 16, part = MIB / 8;

    if (_i)
        source_lanes = 4;
    source_begin(RMIG_WIRE_FLAG_MULTI_REGISTER | RMIG_WIRE_FLAG_LANES, all * MIB);
    ram_fill(&ram, 0, 0, all * MIB, 1);
    save(0, 0, all * MIB); /* for the keys */
    end_pass(RMIG_HOOK_ROUND);
    ck_assert_done(begin_pass(RMIG_HOOK_ROUND), &err);
    source.bytes_per_s = 1000000000;
    for (uint64_t c = 0; c < 8; c++)
        save(0, c * MIB, part);
    ck_assert_uint_eq(source.write_bytes, all * MIB + 8 * part);
    source.bytes_per_s = 1;
    for (uint64_t c = 8; c < all; c++)
        save(0, c * MIB, part);
    end_pass(RMIG_HOOK_ROUND);
    source_end();
}
END_TEST

/* The destination has to be done with one before the deadline for its next word. */
START_TEST(source__very_long_zero_run_is_several_messages)
{
    const uint64_t len = 130 * MIB;

    source_begin(0, len);
    memset((uint8_t *)copy.blocks[0].host + len - PAGE, 0x55, PAGE);
    save(RMIG_RUN_ZERO, PAGE, len - PAGE);
    end_pass(RMIG_HOOK_ROUND);
    ck_assert_str_eq(wire.text, "QECCCE");
    ck_assert(ram_is_zero(&copy, 0, len - PAGE, PAGE));
    ck_assert_uint_eq(source.zero_bytes, len - PAGE);
    source_end();
}
END_TEST

/* --- destination ------------------------------------------------------------------------------ */

static struct dest_fixture to;
static struct rmig_rdma_dest dest;
static struct task serving;
static struct rmig_wire_block told;

static int serve(void *arg, struct rmig_err *e)
{
    (void)arg;
    return rmig_rdma_dest_serve(&dest, e);
}

/* One block, as far as the answer to RAM_BLOCKS_REQUEST; the destination is then served on. */
static void dest_begin(uint32_t flags, uint64_t len_bytes)
{
    struct raw_msg msg;

    ram_init(&ram, 1, &len_bytes);
    dest_fixture_init(&to);
    to.params.idle_timeout_ms = 200;
    to.params.cancel_fd = rmig_cancel_fd(cancel);
    dest_fixture_connect(&to, flags);
    rmig_rdma_dest_init(&dest, &to.conn, ram_zero_range);
    ck_assert_done(rmig_rdma_dest_set_blocks(&dest, ram.blocks, 1, &err), &err);
    ck_assert_done(rmig_rdma_dest_list_block(&dest, ram.blocks[0].name, &err), &err);
    task_start(&serving, serve, NULL);
    ck_assert_int_eq(raw_say_on_ready(to.peer, RMIG_WIRE_RAM_BLOCKS_REQUEST, 1, NULL, 0), 0);
    ck_assert_int_eq(raw_expect(to.peer, RMIG_WIRE_RAM_BLOCKS_RESULT, &msg), 0);
    rmig_wire_decode_block(msg.payload, &told);
}

static void dest_end(void)
{
    rmig_rdma_conn_tear_down(&to.conn, false);
    rmig_rdma_dest_release(&dest);
    dest_fixture_release(&to);
}

static uint64_t zeroed_bytes;

static int zero_slowly(const struct rmig_block *block, uint64_t offset_bytes, uint64_t len_bytes)
{
    const struct timespec pause = { 0, 20 * 1000 * 1000 };

    (void)block;
    (void)offset_bytes;
    zeroed_bytes += len_bytes;
    rmig_cancel_trigger(cancel);
    nanosleep(&pause, NULL);
    return 0;
}

START_TEST(dest__zeroing_a_long_range_is_ended_by_cancel)
{
    struct rmig_wire_compress compress = { .len_bytes = 1024 * MIB };
    uint8_t record[RMIG_WIRE_COMPRESS_BYTES];

    dest_begin(0, compress.len_bytes);
    dest.zero_range = zero_slowly;
    zeroed_bytes = 0;
    compress.ram_addr = told.ram_addr;
    rmig_wire_encode_compress(record, &compress);
    ck_assert_int_eq(raw_say_on_ready(to.peer, RMIG_WIRE_COMPRESS, 1, record, sizeof(record)), 0);
    ck_assert_failed(task_join(&serving, 60000), -ECANCELED, &serving.err, "cancelled");
    ck_assert_uint_lt(zeroed_bytes, 64 * MIB);
    dest_end();
}
END_TEST

/* The destination has one key a block: it ends with the block that it was at. */
START_TEST(dest__pinning_is_ended_by_cancel)
{
    uint64_t each[6] = { MIB, MIB, MIB, MIB, MIB, MIB };
    struct fabric_counts before, after;

    ram_init(&ram, 6, each);
    dest_fixture_init(&to);
    to.params.cancel_fd = rmig_cancel_fd(cancel);
    dest_fixture_connect(&to, RMIG_WIRE_FLAG_PIN_ALL);
    rmig_rdma_dest_init(&dest, &to.conn, ram_zero_range);
    ck_assert_done(rmig_rdma_dest_set_blocks(&dest, ram.blocks, 6, &err), &err);
    for (int i = 0; i < 6; i++)
        ck_assert_done(rmig_rdma_dest_list_block(&dest, ram.blocks[i].name, &err), &err);
    fabric_get_counts(FABRIC_PASSIVE, &before);
    fabric_set_pin_ms(FABRIC_PASSIVE, 60);
    task_start(&serving, serve, NULL);
    ck_assert_int_eq(raw_say_on_ready(to.peer, RMIG_WIRE_RAM_BLOCKS_REQUEST, 1, NULL, 0), 0);
    ck_assert(task_runs(&serving, 80));
    rmig_cancel_trigger(cancel);
    ck_assert_failed(task_join(&serving, 60000), -ECANCELED, &serving.err, "pinning");
    fabric_get_counts(FABRIC_PASSIVE, &after);
    ck_assert_uint_lt(after.registrations - before.registrations, 6);
    dest_end();
}
END_TEST

/* The source waits for the destination to pin, longer the more there is; a dead one is noticed. */
START_TEST(source__destination_is_granted_time_to_pin)
{
    struct task task;
    uint64_t start;

    source_until_exchange(_i == 1 ? 1024 * MIB : 4 * MIB); /* 20 s, and next to nothing */
    from.conn.ctrl.idle_timeout_ms = 100;
    honest.tamper = say_no_result;
    start = rmig_now_ns();
    task_start(&task, exchange, NULL);
    if (_i == 0) {
        ck_assert_failed(task_join(&task, 60000), -ETIMEDOUT, &task.err, "RAM_BLOCKS_RESULT");
    } else {
        ck_assert(task_runs(&task, 600));
        fabric_black_hole(); /* no key was given yet */
        ck_assert_failed(task_join(&task, 60000), -EIO, &task.err, "retry");
        ck_assert_uint_lt(task_took_ns(&task, start), 2600 * RMIG_NS_PER_MS);
    }
    source_end();
}
END_TEST

/* The source pins as much as this side, and may take longer; without pinning nothing is granted. */
START_TEST(dest__source_is_granted_time_to_pin)
{
    const struct timespec pause = { 0, 400 * 1000 * 1000 };
    int rc;

    dest_begin(_i ? RMIG_WIRE_FLAG_PIN_ALL : 0, 128 * MIB); /* 2.5 s */
    nanosleep(&pause, NULL);
    if (!_i) {
        ck_assert_failed(task_join(&serving, 60000), -ETIMEDOUT, &serving.err, "REGISTER_FINISHED");
    } else {
        rc = raw_say_on_ready(to.peer, RMIG_WIRE_REGISTER_FINISHED, 1, NULL, 0);
        ck_assert_int_eq(rc, 0);
        rc = task_join(&serving, 60000);
        ck_assert_done(rc, &serving.err);
        task_start(&serving, serve, NULL); /* once, not for each pass */
        ck_assert_failed(task_join(&serving, 60000), -ETIMEDOUT, &serving.err, "REGISTER_FINISHED");
    }
    dest_end();
}
END_TEST

/* The messages of one pass are counted: good ones, over and over, end as well. */
START_TEST(dest__pass_without_end_is_EPROTO)
{
    struct rmig_wire_compress compress = { .len_bytes = PAGE };
    uint8_t record[RMIG_WIRE_COMPRESS_BYTES];
    unsigned n = 1; /* RAM_BLOCKS_REQUEST */

    dest_begin(0, PAGE);
    compress.ram_addr = told.ram_addr;
    rmig_wire_encode_compress(record, &compress);
    while (n < 1024 + 4) {
        ck_assert_int_eq(raw_say_on_ready(to.peer, RMIG_WIRE_COMPRESS, 1, record, sizeof(record)),
                         0);
        n++;
    }
    if (_i) {
        ck_assert_int_eq(raw_say_on_ready(to.peer, RMIG_WIRE_REGISTER_FINISHED, 1, NULL, 0), 0);
        ck_assert_int_eq(task_join(&serving, 60000), 0);
    } else {
        ck_assert_int_eq(raw_say_on_ready(to.peer, RMIG_WIRE_COMPRESS, 1, record, sizeof(record)),
                         0);
        ck_assert_failed(task_join(&serving, 60000), -EPROTO, &serving.err, "1028 messages");
    }
    dest_end();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rdma/patience");
    TCase *all = tcase_create("patience");

    suite_add_tcase(suite, all);
    tcase_add_checked_fixture(all, setup, teardown);
    tcase_set_timeout(all, 30);
    tcase_add_loop_test(all, source__waiting_for_the_link_is_no_spinning, 0, 2);
    tcase_add_loop_test(all, source__slow_link_queues_little, 0, 2);
    tcase_add_loop_test(all, source__link_that_becomes_slow_is_written_to_on, 0, 2);
    tcase_add_test(all, source__very_long_zero_run_is_several_messages);
    tcase_add_test(all, dest__zeroing_a_long_range_is_ended_by_cancel);
    tcase_add_loop_test(all, dest__source_is_granted_time_to_pin, 0, 2);
    tcase_add_test(all, source__pins_all_part_by_part);
    tcase_add_test(all, source__pinning_is_ended_by_cancel);
    tcase_add_loop_test(all, source__destination_is_granted_time_to_pin, 0, 2);
    tcase_add_test(all, dest__pinning_is_ended_by_cancel);
    tcase_add_loop_test(all, dest__pass_without_end_is_EPROTO, 0, 2);
    return suite_run(suite);
}
