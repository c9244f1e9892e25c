/* SPDX-License-Identifier: BSD-3-Clause */
/* hostile_pass.c -- what a hostile source can ask for in a pass, and reach for. */
#include "tests/interop/hostile.h"

#include <stdlib.h>

#define PAST_RAM (RAM_BYTES + 4096u)
#define MOST UINT64_MAX
#define WINDOW_MESSAGES_MAX 1032u /* of a guest of two pages: 1024 and 4 a page */

/* Of type a, repeat b, with c bytes, inside a pass. */
static void repeat(struct peer *peer)
{
    const struct hostile_case *c = peer->hostile;
    uint8_t *zeros = calloc(1, c->c);

    if (!zeros)
        abort();
    source_to_pass(peer, RMIG_WIRE_FLAG_MULTI_REGISTER);
    peer_say_on_ready(peer, (uint32_t)c->a, (uint32_t)c->b, zeros, (uint32_t)c->c);
    free(zeros);
}

static void two_records(struct peer *peer)
{
    uint8_t records[2 * RMIG_WIRE_REGISTER_BYTES];

    source_to_pass(peer, 0);
    source_put_register(records, peer->ram_addr[0], 0, 0);
    source_put_register(records + RMIG_WIRE_REGISTER_BYTES,
                        peer->ram_addr[0] + RMIG_WIRE_CHUNK_BYTES, 0, 0);
    peer_say_on_ready(peer, RMIG_WIRE_REGISTER_REQUEST, 2, records, sizeof(records));
}

/* Block a, at b from the beginning of block 0, c chunks more. */
static void register_outside(struct peer *peer)
{
    const struct hostile_case *c = peer->hostile;

    source_to_pass(peer, 0);
    source_ask_keys(peer, peer->ram_addr[0] + c->b, (uint32_t)c->a, c->c);
}

static void register_other_block(struct peer *peer)
{
    source_to_pass(peer, 0);
    source_ask_keys(peer, peer->ram_addr[1], 0, 0);
}

static void register_pinned(struct peer *peer)
{
    source_to_pass(peer, RMIG_WIRE_FLAG_PIN_ALL);
    source_ask_keys(peer, peer->ram_addr[0], 0, 0);
}

/* The first chunk, the same again, and then in a range. */
static void register_partly(struct peer *peer)
{
    uint32_t key;

    source_to_pass(peer, 0);
    source_get_key(peer);
    key = peer->rkey;
    source_get_key(peer);
    if (peer_ok(peer) && peer->rkey != key)
        peer_fail(peer, "the same chunk has key 0x%x, then 0x%x", key, peer->rkey);
    source_ask_keys(peer, peer->ram_addr[0], 0, 1);
}

static void register_too_much(struct peer *peer)
{
    source_to_pass(peer, 0);
    source_get_key(peer);
    source_ask_keys(peer, peer->ram_addr[0] + RMIG_WIRE_CHUNK_BYTES, 0, 0);
}

/* Block a, at b from the beginning of block 0, c bytes. */
static void zero_outside(struct peer *peer)
{
    const struct hostile_case *c = peer->hostile;

    source_to_pass(peer, 0);
    source_say_zero(peer, 0, (uint32_t)c->a, peer->ram_addr[0] + c->b, c->c);
}

static void zero_other_block(struct peer *peer)
{
    source_to_pass(peer, 0);
    source_say_zero(peer, 0, 0, peer->ram_addr[1], 4096);
}

static void fill(struct peer *peer)
{
    source_to_pass(peer, 0);
    source_say_zero(peer, 0xab, 0, peer->ram_addr[0], 4096);
}

static void endless_pass(struct peer *peer)
{
    peer_connect(peer, 0);
    peer_file(peer, "HEADER START ::0x2004 =ram ::0x2000 MARK");
    source_exchange(peer);
    for (unsigned i = 0; i < WINDOW_MESSAGES_MAX && peer_ok(peer); i++)
        source_say_zero(peer, 0, 0, peer->ram_addr[0], 4096);
}

/* As opcode a, at b from where the key is for, with that key and c more. */
static void reach(struct peer *peer)
{
    const struct hostile_case *c = peer->hostile;
    int status;

    peer_expect(peer, RMIG_WIRE_READY);
    status = peer_access(peer, (enum ibv_wr_opcode)c->a, peer->base + c->b,
                         peer->rkey + (uint32_t)c->c, 8);
    if (peer_ok(peer) && status == IBV_WC_SUCCESS)
        peer_fail(peer, "it was not refused");
}

/* The key is that of the first chunk. */
static void access_beyond(struct peer *peer)
{
    source_to_pass(peer, 0);
    source_get_key(peer);
    reach(peer);
}

/* The key is that of the first block. */
static void access_beyond_block(struct peer *peer)
{
    source_to_pass(peer, RMIG_WIRE_FLAG_PIN_ALL);
    peer->base = peer->remote_addr[0];
    reach(peer);
}

static const struct hostile_case cases[] = {
    {"R17/repeat-0", NULL, "REGISTER_REQUEST: len 0 with repeat 0", .play = repeat, .a = 7},
    {"R17/repeat-above", NULL, "REGISTER_REQUEST: len 98328 with repeat 4097", .play = repeat,
     .a = 7, .b = 4097, .c = 4097 * 24},
    {"R17/repeat-unlike-len", NULL, "REGISTER_REQUEST: len 24 with repeat 2", .play = repeat,
     .a = 7, .b = 2, .c = 24},
    {"R17/repeat-wraps", NULL, "REGISTER_REQUEST: len 24 with repeat 178956971", .play = repeat,
     .a = 7, .b = 178956971, .c = 24},
    {"R17/two-records", NULL, "REGISTER_REQUEST of 2 records: 1 was agreed", .play = two_records},
    {"R17/register-pinned", NULL, "REGISTER_REQUEST although all RAM is pinned",
     .play = register_pinned},
    {"R18/register-index", NULL, "REGISTER_REQUEST: block index 2, the source listed 2",
     .play = register_outside, .a = 2},
    {"R18/register-index-huge", NULL, "REGISTER_REQUEST: block index 4294967295, ",
     .play = register_outside, .a = 0xffffffff},
    {"R18/register-below", NULL, "REGISTER_REQUEST: address 0x[0-9a-f]+, .*outside RAM block ram",
     .play = register_outside, .b = MOST},
    {"R18/register-above", NULL, "REGISTER_REQUEST: address 0x[0-9a-f]+, .*outside RAM block ram",
     .relay = true, .play = register_outside, .b = RAM_BYTES},
    {"R18/register-other-block", NULL, "REGISTER_REQUEST: address 0x[0-9a-f]+, .*RAM block ram",
     .play = register_other_block},
    {"R18/register-chunks", NULL, "REGISTER_REQUEST: 4 chunks after chunk 0, RAM block ram has 3",
     .play = register_outside, .c = 4},
    {"R18/register-chunks-wrap", NULL,
     "REGISTER_REQUEST: 18446744073709551615 chunks after chunk 1, RAM block ram has 2",
     .play = register_outside, .b = RMIG_WIRE_CHUNK_BYTES, .c = MOST},
    {"R19/register-partly", NULL, "RAM block ram: chunks 0 to 1 are partly registered",
     .play = register_partly},
    {"R19/register-beyond-budget", "EDQUOT", "RAM block ram: pinning 1 MiB .*budget of 1 MiB",
     .option = "--pin-budget=1M", .play = register_too_much},
    {"R20/compress-value", NULL, "COMPRESS: fill value 0xab, only 0", .play = fill},
    {"R20/compress-index", NULL, "COMPRESS: block index 7, the source listed 2",
     .play = zero_outside, .a = 7, .c = 4096},
    {"R20/compress-below", NULL, "COMPRESS: address 0x[0-9a-f]+, .*outside RAM block ram",
     .play = zero_outside, .b = MOST - 4095, .c = 4096},
    {"R20/compress-above", NULL, "COMPRESS: address 0x[0-9a-f]+, .*outside RAM block ram",
     .play = zero_outside, .b = RAM_BYTES, .c = 4096},
    {"R20/compress-other-block", NULL, "COMPRESS: address 0x[0-9a-f]+, .*RAM block ram",
     .play = zero_other_block},
    {"R20/compress-empty", NULL, "COMPRESS: length 0 in RAM block ram", .play = zero_outside},
    {"R20/compress-too-long", NULL, "COMPRESS: .*, length 0x401000 is outside RAM block ram",
     .relay = true, .play = zero_outside, .c = PAST_RAM},
    {"R20/compress-length-wraps", NULL, "COMPRESS: .*, length 0xfffffffffffff000 is outside",
     .play = zero_outside, .b = 4096, .c = MOST - 4095},
    {"R20/compress-half-a-page", NULL, "COMPRESS: offset 0x0, length 0x800 are not whole",
     .play = zero_outside, .c = 2048},
    {"R20/compress-between-pages", NULL, "COMPRESS: offset 0x800, length 0x1000 are not whole",
     .play = zero_outside, .b = 2048, .c = 4096},
    {"R22/write-beyond-chunk", "ECONNRESET", "hung up while", .relay = true, .play = access_beyond,
     .a = IBV_WR_RDMA_WRITE, .b = RMIG_WIRE_CHUNK_BYTES},
    {"R22/write-across-chunk", "ECONNRESET", "hung up while", .play = access_beyond,
     .a = IBV_WR_RDMA_WRITE, .b = RMIG_WIRE_CHUNK_BYTES - 4},
    {"R22/write-with-other-key", "ECONNRESET", "hung up while", .play = access_beyond,
     .a = IBV_WR_RDMA_WRITE, .c = 0x100},
    {"R22/write-beyond-block", "ECONNRESET", "hung up while", .play = access_beyond_block,
     .a = IBV_WR_RDMA_WRITE, .b = RAM_BYTES},
    {"R22/read-pinned", "ECONNRESET", "hung up while", .play = access_beyond_block,
     .a = IBV_WR_RDMA_READ},
    {"R22/read", "ECONNRESET", "hung up while", .play = access_beyond, .a = IBV_WR_RDMA_READ},
    {"R22/atomic", "ECONNRESET", "hung up while", .play = access_beyond,
     .a = IBV_WR_ATOMIC_FETCH_AND_ADD},
    {"R27/pass-without-end", NULL, "more than 1032 messages in one pass", .play = endless_pass},
};

const struct hostile_table hostile_pass = HOSTILE_TABLE(HOSTILE_RECEIVE, cases);
