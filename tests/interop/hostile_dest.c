/* SPDX-License-Identifier: BSD-3-Clause */
/* hostile_dest.c -- an honest destination, step by step, as far as a case wants it. */
#include "tests/interop/hostile.h"

#include <string.h>

#include "common/bytes.h"

#define RAM_ADDR(block) (((uint64_t)(block) + 3) << 32)
#define ASKED_MAX 8u /* keys in one request; the guest of rmig has less chunks */

static uint64_t host_address(const struct peer *peer, unsigned block)
{
    return (uintptr_t)peer->guest + (block ? RAM_BYTES : 0);
}

void dest_put_blocks(const struct peer *peer, uint8_t records[DEST_BLOCKS_BYTES])
{
    for (unsigned i = 0; i < DEST_NBLOCKS; i++) {
        struct rmig_wire_block block = {host_address(peer, i), RAM_ADDR(i),
                                        i ? ROM_BYTES : RAM_BYTES, peer->guest_mr->rkey};

        rmig_wire_encode_block(records + (size_t)i * RMIG_WIRE_BLOCK_BYTES, &block);
    }
}

static void answer_blocks(struct peer *peer)
{
    uint8_t records[DEST_BLOCKS_BYTES];

    dest_put_blocks(peer, records);
    peer_say(peer, RMIG_WIRE_RAM_BLOCKS_RESULT, 1, records, sizeof(records));
}

void dest_put_result(const struct peer *peer, uint32_t i, uint8_t record[RMIG_WIRE_RESULT_BYTES])
{
    struct rmig_wire_register reg;
    struct rmig_wire_result result = {.rkey = peer->guest_mr->rkey};

    rmig_wire_decode_register(peer->payload + (size_t)i * RMIG_WIRE_REGISTER_BYTES, &reg);
    result.host_addr = host_address(peer, reg.block_index);
    rmig_wire_encode_result(record, &result);
}

static void answer_register(struct peer *peer)
{
    uint8_t records[ASKED_MAX * RMIG_WIRE_RESULT_BYTES];
    uint32_t n = peer->repeat;

    if (n > ASKED_MAX) {
        peer_fail(peer, "%u keys are asked for, at most %u were expected", n, ASKED_MAX);
        return;
    }
    for (uint32_t i = 0; i < n; i++)
        dest_put_result(peer, i, records + (size_t)i * RMIG_WIRE_RESULT_BYTES);
    peer_say(peer, RMIG_WIRE_REGISTER_RESULT, n, records, n * RMIG_WIRE_RESULT_BYTES);
}

static bool is_last(const struct peer *peer)
{
    return peer->type == RMIG_WIRE_QEMU_FILE && peer->len > 2 &&
           memcmp(peer->payload + peer->len - 2, "1}", 2) == 0;
}

void dest_say_ready(struct peer *peer)
{
    peer_say(peer, RMIG_WIRE_READY, 1, NULL, 0);
}

void dest_serve_until(struct peer *peer, uint32_t type)
{
    while (peer_ok(peer)) {
        dest_say_ready(peer);
        peer_expect(peer, 0);
        if (!peer_ok(peer) || peer->type == type || is_last(peer))
            break;
        if (peer->type == RMIG_WIRE_RAM_BLOCKS_REQUEST)
            answer_blocks(peer);
        else if (peer->type == RMIG_WIRE_REGISTER_REQUEST)
            answer_register(peer);
        else if (peer->type == RMIG_WIRE_UNREGISTER_REQUEST)
            peer_say(peer, RMIG_WIRE_UNREGISTER_FINISHED, peer->repeat, NULL, 0);
    }
    if (peer_ok(peer) && type && peer->type != type)
        peer_fail(peer, "the move ended and there was no %s", rmig_wire_type_name(type));
}

void dest_to_with_budget(struct peer *peer, uint64_t budget_bytes, uint32_t type)
{
    uint8_t bytes[16];

    rmig_store_be32(bytes, RMIG_WIRE_VERSION);
    rmig_store_be32(bytes + 4, RMIG_WIRE_FLAG_MULTI_REGISTER | RMIG_WIRE_FLAG_PIN_BUDGET);
    rmig_store_be64(bytes + 8, budget_bytes);
    peer_answer(peer, bytes, sizeof(bytes));
    peer_expect_established(peer);
    dest_serve_until(peer, type);
}

void dest_to(struct peer *peer, uint32_t flags, uint32_t type)
{
    peer_accept(peer, flags);
    dest_serve_until(peer, type);
}
