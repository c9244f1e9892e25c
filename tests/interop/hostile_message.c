/* SPDX-License-Identifier: BSD-3-Clause */
/* hostile_message.c -- what is wrong with a message by itself, towards either side. */
#include "tests/interop/hostile.h"

/* Connected, at both ends, and it is this side's turn. */
static void begin(struct peer *peer)
{
    if (peer->listener) {
        peer_accept(peer, 0);
        dest_say_ready(peer);
        peer_expect(peer, RMIG_WIRE_QEMU_FILE);
    } else {
        peer_connect(peer, 0);
        peer_expect(peer, RMIG_WIRE_READY);
    }
}

/* a bytes that are no header, or more than fit. */
static void some_bytes(struct peer *peer)
{
    static const uint8_t zeros[PEER_SEND_BYTES];

    begin(peer);
    peer_send(peer, 0, zeros, (uint32_t)peer->hostile->a);
}

/* As opcode a. */
static void odd_opcode(struct peer *peer)
{
    static const uint8_t zeros[RMIG_WIRE_HEADER_BYTES];

    begin(peer);
    peer_send_as(peer, (enum ibv_wr_opcode)peer->hostile->a, zeros,
                 peer->hostile->a == IBV_WR_RDMA_WRITE_WITH_IMM ? 0 : sizeof(zeros), 7);
}

/* Of type a, whose len says b, with c bytes. */
static void odd_len(struct peer *peer)
{
    static const uint8_t zeros[4096];
    const struct hostile_case *c = peer->hostile;

    begin(peer);
    peer_say_len(peer, (uint32_t)c->a, 1, zeros, (uint32_t)c->b, (uint32_t)c->c);
}

#define TOO_LONG "receive to peer .* failed on queue pair 0 while .*: local .* error \\(status [12],"

static const struct hostile_case to_receive[] = {
    {"R4/message-too-long", "EIO", TOO_LONG, .play = some_bytes,
     .a = RMIG_WIRE_MESSAGE_MAX_BYTES + 1},
    {"R5/message-with-immediate", NULL, "immediate data or invalidation", .play = odd_opcode,
     .a = IBV_WR_SEND_WITH_IMM},
    {"R5/write-with-immediate", NULL, "immediate data or invalidation", .play = odd_opcode,
     .a = IBV_WR_RDMA_WRITE_WITH_IMM},
    {"R5/message-with-invalidation", "EIO", "receive .*queue pair 0 while .*: .*\\(status",
     .play = odd_opcode, .a = IBV_WR_SEND_WITH_INV},
    {"R6/header-none", NULL, "control message of 0 bytes: a header has 16", .play = some_bytes},
    {"R6/header-short", NULL, "control message of 15 bytes: a header has 16", .play = some_bytes,
     .a = 15},
    {"R6/len-below", NULL, "QEMU_FILE: len says 3, 4 bytes came", .play = odd_len, .a = 3, .b = 3,
     .c = 4},
    {"R6/len-above", NULL, "QEMU_FILE: len says 5, 4 bytes came", .play = odd_len, .a = 3, .b = 5,
     .c = 4},
    {"R6/len-huge", NULL, "QEMU_FILE: len 4294967295 is above 524272", .relay = true,
     .play = odd_len, .a = 3, .b = 0xffffffff, .c = 4},
    {"R6/len-wraps", NULL, "QEMU_FILE: len 4294967284 is above 524272", .play = odd_len, .a = 3,
     .b = 0xfffffff4, .c = 4},
    {"R7/type-0", NULL, "message type 0: 1 to 11 are known", .play = odd_len},
    {"R7/type-12", NULL, "message type 12: 1 to 11 are known", .play = odd_len, .a = 12},
    {"R7/type-huge", NULL, "message type 4294967295: 1 to 11 are known", .play = odd_len,
     .a = 0xffffffff},
    {"R7/file-empty", NULL, "QEMU_FILE: len 0 with repeat 1 does not fit", .play = odd_len, .a = 3},
    {"R7/request-with-payload", NULL, "RAM_BLOCKS_REQUEST: len 4 with repeat 1", .play = odd_len,
     .a = 4, .b = 4, .c = 4},
    {"R7/compress-short", NULL, "COMPRESS: len 23 with repeat 1", .play = odd_len, .a = 6, .b = 23,
     .c = 23},
    {"R7/compress-twice", NULL, "COMPRESS: len 48 with repeat 1", .play = odd_len, .a = 6, .b = 48,
     .c = 48},
    {"R7/finished-with-payload", NULL, "REGISTER_FINISHED: len 1 with repeat 1", .play = odd_len,
     .a = 9, .b = 1, .c = 1},
    {"R7/error-with-payload", NULL, "ERROR: len 8 with repeat 1", .play = odd_len, .a = 1, .b = 8,
     .c = 8},
};

const struct hostile_table hostile_message = HOSTILE_TABLE(HOSTILE_RECEIVE, to_receive);

static const struct hostile_case to_send[] = {
    {"S2/header-none", NULL, "control message of 0 bytes: a header has 16", .play = some_bytes},
    {"S2/header-short", NULL, "control message of 15 bytes: a header has 16", .play = some_bytes,
     .a = 15},
    {"S2/message-too-long", "EIO", TOO_LONG, .play = some_bytes,
     .a = RMIG_WIRE_MESSAGE_MAX_BYTES + 1},
    {"S2/message-with-immediate", NULL, "immediate data or invalidation", .play = odd_opcode,
     .a = IBV_WR_SEND_WITH_IMM},
    {"S2/message-with-invalidation", "EIO", "receive .*queue pair 0 while .*: .*\\(status",
     .play = odd_opcode, .a = IBV_WR_SEND_WITH_INV},
    {"S2/write-with-immediate", NULL, "immediate data or invalidation", .play = odd_opcode,
     .a = IBV_WR_RDMA_WRITE_WITH_IMM},
    {"S2/len-below", NULL, "RAM_BLOCKS_RESULT: len says 32, 64 bytes came", .play = odd_len, .a = 5,
     .b = 32, .c = 64},
    {"S2/len-above", NULL, "RAM_BLOCKS_RESULT: len says 96, 64 bytes came", .play = odd_len, .a = 5,
     .b = 96, .c = 64},
    {"S2/len-huge", NULL, "RAM_BLOCKS_RESULT: len 4294967295 is above 524272", .relay = true,
     .play = odd_len, .a = 5, .b = 0xffffffff, .c = 64},
    {"S2/type-0", NULL, "message type 0: 1 to 11 are known", .play = odd_len},
    {"S2/type-12", NULL, "message type 12: 1 to 11 are known", .play = odd_len, .a = 12},
    {"S2/ready-with-payload", NULL, "READY: len 4 with repeat 1", .play = odd_len, .a = 2, .b = 4,
     .c = 4},
    {"S2/error-with-payload", NULL, "ERROR: len 4 with repeat 1", .play = odd_len, .a = 1, .b = 4,
     .c = 4},
    {"S2/blocks-half-a-record", NULL, "RAM_BLOCKS_RESULT: len 48 with repeat 1", .play = odd_len,
     .a = 5, .b = 48, .c = 48},
    {"S2/result-half-a-record", NULL, "REGISTER_RESULT: len 24 with repeat 1", .play = odd_len,
     .a = 8, .b = 24, .c = 24},
};

const struct hostile_table hostile_send_message = HOSTILE_TABLE(HOSTILE_SEND, to_send);
