/* SPDX-License-Identifier: BSD-3-Clause */
/* hostile_send.c -- what a hostile destination can answer to rmig send. */
#include "tests/interop/hostile.h"

#include "common/bytes.h"

/* The bytes of the case as private data. */
static void answer_private(struct peer *peer)
{
    struct bytes bytes = {0};

    bytes_put(&bytes, peer->hostile->bytes);
    peer_answer(peer, bytes.data, (uint8_t)bytes.len);
    bytes_release(&bytes);
}

static void turn_away(struct peer *peer)
{
    peer_await(peer);
    if (peer_ok(peer))
        rdma_reject(peer->lanes[0].id, NULL, 0);
    peer->acted_ns = now_ns();
}

/* With flags a: those that were not asked for change nothing. */
static void honest(struct peer *peer)
{
    dest_to(peer, (uint32_t)peer->hostile->a, RMIG_WIRE_NONE);
    peer_hang_up(peer);
}

static void ready_twice(struct peer *peer)
{
    dest_to(peer, 0, RMIG_WIRE_RAM_BLOCKS_REQUEST);
    dest_say_ready(peer);
    dest_say_ready(peer);
}

/* A reply of type a, b bytes long, where the blocks are awaited. */
static void other_reply(struct peer *peer)
{
    static const uint8_t zeros[64];
    const struct hostile_case *c = peer->hostile;

    dest_to(peer, 0, RMIG_WIRE_RAM_BLOCKS_REQUEST);
    peer_say(peer, (uint32_t)c->a, 1, zeros, (uint32_t)c->b);
}

/* The same, where keys are. */
static void other_result(struct peer *peer)
{
    static const uint8_t zeros[64];
    const struct hostile_case *c = peer->hostile;

    dest_to(peer, 0, RMIG_WIRE_REGISTER_REQUEST);
    peer_say(peer, (uint32_t)c->a, 1, zeros, (uint32_t)c->b);
}

/* With a bytes of records. */
static void blocks_bytes(struct peer *peer)
{
    uint8_t records[4 * RMIG_WIRE_BLOCK_BYTES] = {0};

    dest_to(peer, 0, RMIG_WIRE_RAM_BLOCKS_REQUEST);
    if (peer_ok(peer))
        dest_put_blocks(peer, records);
    peer_say(peer, RMIG_WIRE_RAM_BLOCKS_RESULT, 1, records, (uint32_t)peer->hostile->a);
}

/* With the word at a being b; with flags c. */
static void blocks_word(struct peer *peer)
{
    const struct hostile_case *c = peer->hostile;
    uint8_t records[DEST_BLOCKS_BYTES] = {0};

    dest_to(peer, (uint32_t)c->c, RMIG_WIRE_RAM_BLOCKS_REQUEST);
    if (peer_ok(peer))
        dest_put_blocks(peer, records);
    rmig_store_be64(records + c->a, c->b);
    peer_say(peer, RMIG_WIRE_RAM_BLOCKS_RESULT, 1, records, sizeof(records));
}

/* A result of a bytes, in which the key is taken times b and the address is c higher. */
static void result(struct peer *peer)
{
    const struct hostile_case *c = peer->hostile;
    uint8_t records[4 * RMIG_WIRE_RESULT_BYTES] = {0};

    dest_to(peer, 0, RMIG_WIRE_REGISTER_REQUEST);
    if (!peer_ok(peer))
        return;
    dest_put_result(peer, 0, records);
    rmig_store_be32(records, rmig_load_be32(records) * (uint32_t)c->b);
    rmig_store_be64(records + 8, rmig_load_be64(records + 8) + c->c);
    peer_say(peer, RMIG_WIRE_REGISTER_RESULT, 1, records, (uint32_t)c->a);
}

/* One for the three keys that are asked for. */
static void results_fewer(struct peer *peer)
{
    uint8_t record[RMIG_WIRE_RESULT_BYTES];

    dest_to(peer, RMIG_WIRE_FLAG_MULTI_REGISTER, RMIG_WIRE_REGISTER_REQUEST);
    if (!peer_ok(peer))
        return;
    dest_put_result(peer, 0, record);
    peer_say(peer, RMIG_WIRE_REGISTER_RESULT, 1, record, sizeof(record));
}

/* A key that is none: rmig's own writes are refused by the device of this side. */
static void wrong_key(struct peer *peer)
{
    struct rmig_wire_result wire;
    uint8_t record[RMIG_WIRE_RESULT_BYTES];

    dest_to(peer, 0, RMIG_WIRE_REGISTER_REQUEST);
    if (!peer_ok(peer))
        return;
    dest_put_result(peer, 0, record);
    rmig_wire_decode_result(record, &wire);
    wire.rkey += 0x100;
    rmig_wire_encode_result(record, &wire);
    peer_say(peer, RMIG_WIRE_REGISTER_RESULT, 1, record, sizeof(record));
}

#define SENT(type) "sent " type " where only RAM_BLOCKS_RESULT is allowed"

static const struct hostile_case cases[] = {
    {"S1/answer-none", .says = "protocol version 0, not 1", .end = END_UNCONNECTED,
     .play = answer_private, .bytes = ""},
    {"S1/answer-version-2", .says = "protocol version 2, not 1", .end = END_UNCONNECTED,
     .relay = true, .play = answer_private, .bytes = ":2 :0"},
    {"S1/answer-nine-lanes", .says = "lane 0 of 9, at most 8", .end = END_UNCONNECTED,
     .play = answer_private, .bytes = ":1 :0x20000 ::1 :0 :9"},
    {"S1/budget-none", .says = "a pin budget of 0 bytes, a chunk has 1048576",
     .end = END_UNCONNECTED, .relay = true, .play = answer_private, .bytes = ":1 :0x80000 ::0"},
    {"S1/budget-below-a-chunk", .says = "a pin budget of 1048575 bytes, a chunk has 1048576",
     .end = END_UNCONNECTED, .play = answer_private, .bytes = ":1 :0x80000 ::0xfffff"},
    {"S1/budget-behind-lanes-none", .says = "a pin budget of 0 bytes, a chunk has 1048576",
     .end = END_UNCONNECTED, .play = answer_private, .bytes = ":1 :0xa0000 ::1 :0 :1 ::0"},
    {"S1/turned-away", .says = "refused the RDMA connection \\(CM reject reason 28\\)",
     .end = END_UNCONNECTED, .play = turn_away},
    {"S1/honest", .says = "\"machine\": \"raw\"", .end = END_GOOD, .relay = true, .play = honest},
    {"S1/flags-not-asked-for", .says = "\"machine\": \"raw\"", .end = END_GOOD, .play = honest,
     .a = 0xfff4ffff},
    {"S3/ready-twice", NULL, "sent READY twice for one message", .relay = true,
     .play = ready_twice},
    {"S4/file-for-blocks", NULL, SENT("QEMU_FILE"), .play = other_reply, .a = 3, .b = 8},
    {"S4/request-for-blocks", NULL, SENT("RAM_BLOCKS_REQUEST"), .play = other_reply, .a = 4},
    {"S4/compress-for-blocks", NULL, SENT("COMPRESS"), .play = other_reply, .a = 6, .b = 24},
    {"S4/result-for-blocks", NULL, SENT("REGISTER_RESULT"), .play = other_reply, .a = 8, .b = 16},
    {"S4/finished-for-blocks", NULL, SENT("REGISTER_FINISHED"), .play = other_reply, .a = 9},
    {"S4/unregistered-for-blocks", NULL, SENT("UNREGISTER_FINISHED"), .play = other_reply, .a = 11},
    {"S4/blocks-for-result", NULL, "sent RAM_BLOCKS_RESULT where only REGISTER_RESULT is allowed",
     .play = other_result, .a = 5, .b = 64},
    {"S4/file-for-result", NULL, "sent QEMU_FILE where only REGISTER_RESULT is allowed",
     .relay = true, .play = other_result, .a = 3, .b = 8},
    {"S5/blocks-none", NULL, "RAM_BLOCKS_RESULT: len 0 with repeat 1 does not fit",
     .play = blocks_bytes},
    {"S5/blocks-fewer", NULL, "RAM_BLOCKS_RESULT: 32 bytes came, 2 blocks are 64 bytes",
     .play = blocks_bytes, .a = 32},
    {"S5/blocks-more", NULL, "RAM_BLOCKS_RESULT: 96 bytes came, 2 blocks are 64 bytes",
     .play = blocks_bytes, .a = 96},
    {"S5/length-shorter", NULL, "RAM block ram: 4194304 bytes here, 4190208 at the destination",
     .play = blocks_word, .a = 16, .b = RAM_BYTES - 4096},
    {"S5/length-huge", NULL, "RAM block rom: 65536 bytes here, 18446744073709551615 at the",
     .relay = true, .play = blocks_word, .a = 48, .b = UINT64_MAX},
    {"S5/address-wraps", NULL, "RAM block ram: .*0xfffffffffffff000.* wrap", .play = blocks_word,
     .b = UINT64_MAX - 4095},
    {"S5/offset-wraps", NULL, "RAM block rom: .*0xfffffffffffff000.* wrap", .play = blocks_word,
     .a = 40, .b = UINT64_MAX - 4095},
    {"S5/no-key", NULL, "RAM block ram: no key came although all RAM is pinned",
     .option = "--pin-all", .play = blocks_word, .a = 24, .c = RMIG_WIRE_FLAG_PIN_ALL},
    {"S6/key-0", NULL, "REGISTER_RESULT: key 0 for RAM block ram", .relay = true, .play = result,
     .a = 16},
    {"S6/address-other", NULL, "REGISTER_RESULT: RAM block ram is at 0x[0-9a-f]+ now, 0x",
     .relay = true, .play = result, .a = 16, .b = 1, .c = RMIG_WIRE_CHUNK_BYTES},
    {"S6/results-more", NULL, "REGISTER_RESULT: 32 bytes came, 16 were asked for", .play = result,
     .a = 32, .b = 1},
    {"S6/results-fewer", NULL, "REGISTER_RESULT: 16 bytes came, 48 were asked for",
     .play = results_fewer},
    {"S6/key-of-nothing", "EIO", "RDMA write .*queue pair 0 while .*: remote access error \\(status 10",
     .relay = true, .play = wrong_key},
};

const struct hostile_table hostile_send = HOSTILE_TABLE(HOSTILE_SEND, cases);
