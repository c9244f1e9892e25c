/* SPDX-License-Identifier: BSD-3-Clause */
/* hostile_budget.c -- what can be wrong with a pin budget, and with UNREGISTER, towards either side. */
#include "tests/interop/hostile.h"

#include <stdlib.h>

#define MOST UINT64_MAX
#define CHUNK RMIG_WIRE_CHUNK_BYTES
#define AGREED (RMIG_WIRE_FLAG_MULTI_REGISTER | RMIG_WIRE_FLAG_PIN_BUDGET)

/* --- a source --------------------------------------------------------------------------------- */

/* With flags a, of which a budget may be none: a chunk that is registered. */
static void not_agreed(struct peer *peer)
{
    source_to_pass(peer, (uint32_t)peer->hostile->a);
    source_get_key(peer);
    source_say_unregister(peer, peer->ram_addr[0], 0, 0);
}

/* Repeat b, with c bytes. */
static void repeat(struct peer *peer)
{
    const struct hostile_case *c = peer->hostile;
    uint8_t *zeros = calloc(1, c->c + 1);

    if (!zeros)
        abort();
    source_to_pass(peer, AGREED);
    peer_say_on_ready(peer, RMIG_WIRE_UNREGISTER_REQUEST, (uint32_t)c->b, zeros, (uint32_t)c->c);
    free(zeros);
}

/* Block a, at b from the beginning of block 0, c chunks more; the first chunk is registered. */
static void outside(struct peer *peer)
{
    const struct hostile_case *c = peer->hostile;

    source_to_pass(peer, AGREED);
    source_get_key(peer);
    source_say_unregister(peer, peer->ram_addr[0] + c->b, (uint32_t)c->a, c->c);
}

static void other_block(struct peer *peer)
{
    source_to_pass(peer, AGREED);
    source_get_key(peer);
    source_say_unregister(peer, peer->ram_addr[1], 0, 0);
}

/* Of two chunks that are one region. */
static void part_of_region(struct peer *peer)
{
    source_to_pass(peer, AGREED);
    source_ask_keys(peer, peer->ram_addr[0], 0, 1);
    peer_expect(peer, RMIG_WIRE_REGISTER_RESULT);
    source_say_unregister(peer, peer->ram_addr[0] + peer->hostile->b, 0, 0);
}

static void twice(struct peer *peer)
{
    source_to_pass(peer, AGREED);
    source_get_key(peer);
    source_unregister(peer, peer->ram_addr[0]);
    source_say_unregister(peer, peer->ram_addr[0], 0, 0);
}

static void twice_in_one(struct peer *peer)
{
    uint8_t records[2 * RMIG_WIRE_REGISTER_BYTES];

    source_to_pass(peer, AGREED);
    source_get_key(peer);
    source_put_register(records, peer->ram_addr[0], 0, 0);
    source_put_register(records + RMIG_WIRE_REGISTER_BYTES, peer->ram_addr[0], 0, 0);
    peer_say_on_ready(peer, RMIG_WIRE_UNREGISTER_REQUEST, 2, records, sizeof(records));
}

/* A chunk makes room for the next one, and that for no more. */
static void beyond_budget(struct peer *peer)
{
    source_to_pass(peer, AGREED);
    source_get_key(peer);
    source_unregister(peer, peer->ram_addr[0]);
    source_ask_keys(peer, peer->ram_addr[0] + CHUNK, 0, 0);
    peer_expect(peer, RMIG_WIRE_REGISTER_RESULT);
    source_ask_keys(peer, peer->ram_addr[0] + 2 * CHUNK, 0, 0);
}

static void range_beyond_budget(struct peer *peer)
{
    source_to_pass(peer, AGREED);
    source_ask_keys(peer, peer->ram_addr[0], 0, 3);
}

/* What is on its way when the chunk is given up comes too late. */
static void write_after(struct peer *peer)
{
    source_to_pass(peer, AGREED);
    source_get_key(peer);
    source_unregister(peer, peer->ram_addr[0]);
    if (peer_ok(peer) &&
        peer_access(peer, IBV_WR_RDMA_WRITE, peer->base, peer->rkey, CHUNK) == IBV_WC_SUCCESS)
        peer_fail(peer, "it was not refused");
}

#define ONE_MIB "--pin-budget=1M"
#define ALL "--pin-budget=8M"
#define ONLY_PASS "where only COMPRESS or REGISTER_REQUEST or REGISTER_FINISHED is allowed"

static const struct hostile_case to_receive[] = {
    {"R9/unregister-no-budget-here", NULL, "sent UNREGISTER_REQUEST " ONLY_PASS, .relay = true,
     .play = not_agreed, .a = AGREED},
    {"R9/unregister-not-asked-for", NULL, "sent UNREGISTER_REQUEST " ONLY_PASS, .option = ALL,
     .play = not_agreed, .a = RMIG_WIRE_FLAG_MULTI_REGISTER},
    {"R17/unregister-repeat-0", NULL, "UNREGISTER_REQUEST: len 0 with repeat 0", .option = ALL,
     .play = repeat},
    {"R17/unregister-repeat-above", NULL, "UNREGISTER_REQUEST: len 98328 with repeat 4097",
     .option = ALL, .play = repeat, .b = 4097, .c = 4097 * 24},
    {"R17/unregister-repeat-unlike-len", NULL, "UNREGISTER_REQUEST: len 24 with repeat 2",
     .option = ALL, .play = repeat, .b = 2, .c = 24},
    {"R17/unregister-repeat-wraps", NULL, "UNREGISTER_REQUEST: len 24 with repeat 178956971",
     .option = ALL, .play = repeat, .b = 178956971, .c = 24},
    {"R17/unregister-half-a-record", NULL, "UNREGISTER_REQUEST: len 12 with repeat 1",
     .option = ALL, .play = repeat, .b = 1, .c = 12},
    {"R18/unregister-index", NULL, "UNREGISTER_REQUEST: block index 2, the source listed 2",
     .option = ALL, .play = outside, .a = 2},
    {"R18/unregister-index-huge", NULL, "UNREGISTER_REQUEST: block index 4294967295, ",
     .option = ALL, .play = outside, .a = 0xffffffff},
    {"R18/unregister-below", NULL, "UNREGISTER_REQUEST: address 0x[0-9a-f]+, .*outside RAM block ram",
     .option = ALL, .play = outside, .b = MOST},
    {"R18/unregister-above", NULL, "UNREGISTER_REQUEST: address 0x[0-9a-f]+, .*outside RAM block ram",
     .option = ALL, .relay = true, .play = outside, .b = RAM_BYTES},
    {"R18/unregister-other-block", NULL, "UNREGISTER_REQUEST: address 0x[0-9a-f]+, .*RAM block ram",
     .option = ALL, .play = other_block},
    {"R18/unregister-chunks", NULL, "UNREGISTER_REQUEST: 4 chunks after chunk 0, RAM block ram has 3",
     .option = ALL, .play = outside, .c = 4},
    {"R18/unregister-chunks-wrap", NULL,
     "UNREGISTER_REQUEST: 18446744073709551615 chunks after chunk 1, RAM block ram has 2",
     .option = ALL, .play = outside, .b = CHUNK, .c = MOST},
    {"R19/unregister-never-registered", NULL,
     "UNREGISTER_REQUEST: RAM block ram: chunks 1 to 1 are no region", .option = ALL, .relay = true,
     .play = outside, .b = CHUNK},
    {"R19/unregister-more-than-registered", NULL,
     "UNREGISTER_REQUEST: RAM block ram: chunks 0 to 1 are no region", .option = ALL,
     .play = outside, .c = 1},
    {"R19/unregister-first-part", NULL,
     "UNREGISTER_REQUEST: RAM block ram: chunks 0 to 0 are no region", .option = ALL,
     .play = part_of_region},
    {"R19/unregister-last-part", NULL,
     "UNREGISTER_REQUEST: RAM block ram: chunks 1 to 1 are no region", .option = ALL,
     .play = part_of_region, .b = CHUNK},
    {"R19/unregister-twice", NULL, "UNREGISTER_REQUEST: RAM block ram: chunks 0 to 0 are no region",
     .option = ALL, .play = twice},
    {"R19/unregister-twice-in-one", NULL,
     "UNREGISTER_REQUEST: RAM block ram: chunks 0 to 0 are no region", .option = ALL,
     .play = twice_in_one},
    {"R19/agreed-budget-chunk-beyond", NULL, "REGISTER_REQUEST: RAM block ram: .*pin budget of 1 MiB",
     .option = ONE_MIB, .relay = true, .play = beyond_budget},
    {"R19/agreed-budget-range-beyond", NULL,
     "REGISTER_REQUEST: RAM block ram: pinning 4 MiB .*pin budget of 1 MiB", .option = ONE_MIB,
     .play = range_beyond_budget},
    {"R22/write-after-unregister", "ECONNRESET", "hung up while", .option = ALL, .relay = true,
     .play = write_after},
};

const struct hostile_table hostile_budget = HOSTILE_TABLE(HOSTILE_RECEIVE, to_receive);

/* --- a destination ---------------------------------------------------------------------------- */

/* Of a budget of a bytes, to a guest of five chunks, three of which are not zero. */
static void honest(struct peer *peer)
{
    dest_to_with_budget(peer, peer->hostile->a, RMIG_WIRE_NONE);
    dest_say_ready(peer); /* all has been read */
    peer_await_sent(peer);
    peer_hang_up(peer);
}

/* An answer of type a, repeat b, of c bytes, where a chunk is given up. */
static void answer(struct peer *peer)
{
    static const uint8_t zeros[64];
    const struct hostile_case *c = peer->hostile;

    dest_to_with_budget(peer, CHUNK, RMIG_WIRE_UNREGISTER_REQUEST);
    peer_say(peer, (uint32_t)c->a, (uint32_t)c->b, zeros, (uint32_t)c->c);
}

static void answer_twice(struct peer *peer)
{
    dest_to_with_budget(peer, CHUNK, RMIG_WIRE_UNREGISTER_REQUEST);
    peer_say(peer, RMIG_WIRE_UNREGISTER_FINISHED, 1, NULL, 0);
    peer_say(peer, RMIG_WIRE_UNREGISTER_FINISHED, 1, NULL, 0);
}

/* A message of type a with c bytes, where keys were asked for. */
static void unasked(struct peer *peer)
{
    static const uint8_t zeros[64];
    const struct hostile_case *c = peer->hostile;

    dest_to_with_budget(peer, CHUNK, RMIG_WIRE_REGISTER_REQUEST);
    peer_say(peer, (uint32_t)c->a, 1, zeros, (uint32_t)c->c);
}

/* Keys have come and are written with; nothing was given up. */
static void unasked_amid_writes(struct peer *peer)
{
    uint8_t record[RMIG_WIRE_RESULT_BYTES];

    dest_to_with_budget(peer, CHUNK, RMIG_WIRE_REGISTER_REQUEST);
    if (!peer_ok(peer))
        return;
    dest_put_result(peer, 0, record);
    peer_say(peer, RMIG_WIRE_REGISTER_RESULT, 1, record, sizeof(record));
    peer_say(peer, RMIG_WIRE_UNREGISTER_FINISHED, 1, NULL, 0);
}

static void silent(struct peer *peer)
{
    dest_to_with_budget(peer, CHUNK, RMIG_WIRE_UNREGISTER_REQUEST);
}

#define SENT(type, allowed) "sent " type " where only " allowed " is allowed"

static const struct hostile_case to_send[] = {
    {"S1/budget-of-a-chunk", .says = "\"machine\": \"raw\"", .end = END_GOOD, .relay = true,
     .play = honest, .a = CHUNK},
    {"S1/budget-of-everything", .says = "\"machine\": \"raw\"", .end = END_GOOD, .play = honest,
     .a = MOST},
    {"S2/unregistered-with-payload", NULL, "UNREGISTER_FINISHED: len 4 with repeat 1", .play = answer,
     .a = RMIG_WIRE_UNREGISTER_FINISHED, .b = 1, .c = 4},
    {"S4/result-for-unregistered", NULL, SENT("REGISTER_RESULT", "UNREGISTER_FINISHED"),
     .relay = true, .play = answer, .a = RMIG_WIRE_REGISTER_RESULT, .b = 1, .c = 16},
    {"S4/unregister-for-unregistered", NULL, SENT("UNREGISTER_REQUEST", "UNREGISTER_FINISHED"),
     .play = answer, .a = RMIG_WIRE_UNREGISTER_REQUEST, .b = 1, .c = 24},
    {"S4/unregistered-for-result", NULL, SENT("UNREGISTER_FINISHED", "REGISTER_RESULT"),
     .play = unasked, .a = RMIG_WIRE_UNREGISTER_FINISHED},
    {"S4/unregister-for-result", NULL, SENT("UNREGISTER_REQUEST", "REGISTER_RESULT"),
     .play = unasked, .a = RMIG_WIRE_UNREGISTER_REQUEST, .c = 24},
    {"S4/unregistered-amid-writes", NULL, "sent UNREGISTER_FINISHED where only",
     .play = unasked_amid_writes},
    {"S4/unregistered-twice", NULL, "sent UNREGISTER_FINISHED where only", .play = answer_twice},
    {"S6/unregistered-none", NULL, "UNREGISTER_FINISHED: for 0 chunks, 1 were asked for",
     .play = answer, .a = RMIG_WIRE_UNREGISTER_FINISHED},
    {"S6/unregistered-more", NULL, "UNREGISTER_FINISHED: for 2 chunks, 1 were asked for",
     .relay = true, .play = answer, .a = RMIG_WIRE_UNREGISTER_FINISHED, .b = 2},
    {"S6/unregistered-huge", NULL, "UNREGISTER_FINISHED: for 4294967295 chunks, 1 were asked for",
     .play = answer, .a = RMIG_WIRE_UNREGISTER_FINISHED, .b = 0xffffffff},
    {"S8/silent-for-unregistered", "ETIMEDOUT", "timed out while waiting for",
     .option = "--progress-deadline=1", .play = silent},
};

const struct hostile_table hostile_send_budget = HOSTILE_TABLE(HOSTILE_SEND, to_send);
