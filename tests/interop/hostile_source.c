/* SPDX-License-Identifier: BSD-3-Clause */
/* hostile_source.c -- an honest source, step by step, as far as a case wants it. */
#include "tests/interop/hostile.h"

#include <string.h>

void source_to_mark(struct peer *peer, uint32_t flags)
{
    peer_connect(peer, flags);
    peer_file(peer, "HEADER START LIST MARK");
}

void source_exchange(struct peer *peer)
{
    peer_say_on_ready(peer, RMIG_WIRE_RAM_BLOCKS_REQUEST, 1, NULL, 0);
    peer_expect(peer, RMIG_WIRE_RAM_BLOCKS_RESULT);
    for (unsigned i = 0; peer_ok(peer) && i < 2 && i < peer->len / RMIG_WIRE_BLOCK_BYTES; i++) {
        struct rmig_wire_block block;

        rmig_wire_decode_block(peer->payload + (size_t)i * RMIG_WIRE_BLOCK_BYTES, &block);
        peer->ram_addr[i] = block.ram_addr;
        peer->remote_addr[i] = block.remote_addr;
        if (i == 0)
            peer->rkey = block.rkey;
    }
}

void source_to_pass(struct peer *peer, uint32_t flags)
{
    source_to_mark(peer, flags);
    source_exchange(peer);
    peer_say_on_ready(peer, RMIG_WIRE_REGISTER_FINISHED, 1, NULL, 0);
    peer_file(peer, "EOS FOOT PART MARK");
}

void source_put_register(uint8_t *record, uint64_t ram_addr, uint32_t index, uint64_t extra_chunks)
{
    struct rmig_wire_register reg = {ram_addr, index, extra_chunks};

    rmig_wire_encode_register(record, &reg);
}

void source_ask_keys(struct peer *peer, uint64_t ram_addr, uint32_t index, uint64_t extra_chunks)
{
    uint8_t record[RMIG_WIRE_REGISTER_BYTES];

    source_put_register(record, ram_addr, index, extra_chunks);
    peer_say_on_ready(peer, RMIG_WIRE_REGISTER_REQUEST, 1, record, sizeof(record));
}

void source_get_key(struct peer *peer)
{
    struct rmig_wire_result result;

    source_ask_keys(peer, peer->ram_addr[0], 0, 0);
    peer_expect(peer, RMIG_WIRE_REGISTER_RESULT);
    if (!peer_ok(peer))
        return;
    rmig_wire_decode_result(peer->payload, &result);
    peer->rkey = result.rkey;
    peer->base = result.host_addr;
}

void source_say_zero(struct peer *peer, uint32_t value, uint32_t index, uint64_t ram_addr,
                     uint64_t len)
{
    struct rmig_wire_compress compress = {value, index, ram_addr, len};
    uint8_t record[RMIG_WIRE_COMPRESS_BYTES];

    rmig_wire_encode_compress(record, &compress);
    peer_say_on_ready(peer, RMIG_WIRE_COMPRESS, 1, record, sizeof(record));
}

void source_say_unregister(struct peer *peer, uint64_t ram_addr, uint32_t index,
                           uint64_t extra_chunks)
{
    uint8_t record[RMIG_WIRE_REGISTER_BYTES];

    source_put_register(record, ram_addr, index, extra_chunks);
    peer_say_on_ready(peer, RMIG_WIRE_UNREGISTER_REQUEST, 1, record, sizeof(record));
}

void source_unregister(struct peer *peer, uint64_t ram_addr)
{
    source_say_unregister(peer, ram_addr, 0, 0);
    peer_expect(peer, RMIG_WIRE_UNREGISTER_FINISHED);
}

/* A write that rmig has asked for arrives, as everything does that follows it on the queue pair. */
static void write_some(struct peer *peer)
{
    source_get_key(peer);
    memset(peer->guest, 0x5a, 4096);
    if (peer_access(peer, IBV_WR_RDMA_WRITE, peer->base, peer->rkey, 4096))
        peer_fail(peer, "a write that is allowed has status %d", peer->failed_status);
}

void source_to_devices(struct peer *peer)
{
    source_to_pass(peer, 0);
    write_some(peer);
    peer_say_on_ready(peer, RMIG_WIRE_REGISTER_FINISHED, 1, NULL, 0);
    peer_file(peer, "EOS FOOT END EOS FOOT");
}
