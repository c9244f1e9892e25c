/* SPDX-License-Identifier: BSD-3-Clause */
/* raw_dest.c -- answers a source's messages, honestly unless told otherwise. */
#include "tests/unit/raw_dest.h"

#include <errno.h>
#include <string.h>

#define CHUNK_BYTES ((uint64_t)RMIG_WIRE_CHUNK_BYTES)

static void fail(struct raw_dest *dest, int rc)
{
    if (rc < 0 && !dest->failed)
        dest->failed = rc;
}

static void answer(struct raw_dest *dest, uint32_t type, uint32_t repeat, uint32_t len_bytes)
{
    struct raw_answer a = { type, repeat, len_bytes, dest->scratch };

    if (dest->silent || (dest->tamper && !dest->tamper(dest, &a)))
        return;
    dest->nanswers++;
    fail(dest, raw_say(dest->peer, a.type, a.repeat, a.payload, a.len_bytes));
}

static void ready(struct raw_dest *dest)
{
    dest->nready++;
    answer(dest, RMIG_WIRE_READY, 1, 0);
}

static void on_blocks_request(struct raw_dest *dest)
{
    for (uint32_t i = 0; i < dest->nblocks; i++) {
        const struct rmig_block *block = &dest->blocks[i];
        struct rmig_wire_block wire = { (uintptr_t)block->host, RAW_DEST_RAM_ADDR(i),
                                        block->len_bytes, 0 };

        if (dest->pin_all) {
            struct rmig_rdma_mr mr = { 0 };

            fail(dest, raw_register(dest->peer, block->host, block->len_bytes,
                                    RMIG_RDMA_WRITE_REMOTE, &mr));
            wire.rkey = mr.rkey;
        }
        rmig_wire_encode_block(dest->scratch + (size_t)i * RMIG_WIRE_BLOCK_BYTES, &wire);
    }
    answer(dest, RMIG_WIRE_RAM_BLOCKS_RESULT, 1, dest->nblocks * RMIG_WIRE_BLOCK_BYTES);
}

/* The chunks of a record. Returns: false if it makes no sense. */
static bool chunks_of(const struct raw_dest *dest, const struct rmig_wire_register *reg,
                      uint64_t *first_p, uint64_t *end_p)
{
    const struct rmig_block *block;
    uint64_t first, end;

    if (reg->block_index >= dest->nblocks)
        return false;
    block = &dest->blocks[reg->block_index];
    first = (reg->ram_addr - RAW_DEST_RAM_ADDR(reg->block_index)) / CHUNK_BYTES;
    end = first + reg->extra_chunks + 1;
    *first_p = first;
    *end_p = end;
    return reg->ram_addr >= RAW_DEST_RAM_ADDR(reg->block_index) &&
           first * CHUNK_BYTES < block->len_bytes && reg->extra_chunks < RAW_DEST_CHUNKS_MAX &&
           (end - 1) * CHUNK_BYTES < block->len_bytes && end <= RAW_DEST_CHUNKS_MAX;
}

/* Registers the chunks of one record. Returns: the key, 0 if the record makes no sense. */
static uint32_t register_chunks(struct raw_dest *dest, const struct rmig_wire_register *reg)
{
    struct rmig_rdma_mr mr = { 0 };
    const struct rmig_block *block;
    uint64_t first, end, len;

    if (!chunks_of(dest, reg, &first, &end) || dest->keys[reg->block_index][first])
        return 0; /* ours never asks twice */
    block = &dest->blocks[reg->block_index];
    len = (end - first) * CHUNK_BYTES;
    if (len > block->len_bytes - first * CHUNK_BYTES)
        len = block->len_bytes - first * CHUNK_BYTES;
    fail(dest, raw_register(dest->peer, (uint8_t *)block->host + first * CHUNK_BYTES, len,
                            RMIG_RDMA_WRITE_REMOTE, &mr));
    for (uint64_t c = first; c < end; c++)
        dest->keys[reg->block_index][c] = mr.rkey;
    dest->nchunks += (unsigned)(end - first);
    if (dest->nchunks > dest->most_chunks)
        dest->most_chunks = dest->nchunks;
    return mr.rkey;
}

static void on_register(struct raw_dest *dest, const struct raw_msg *msg)
{
    uint32_t n = dest->multi ? msg->repeat : 1;

    if (msg->repeat == 0 || msg->len_bytes != msg->repeat * RMIG_WIRE_REGISTER_BYTES ||
        (!dest->multi && msg->repeat != 1)) {
        fail(dest, -EPROTO);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        struct rmig_wire_register reg;
        struct rmig_wire_result result;

        rmig_wire_decode_register(msg->payload + (size_t)i * RMIG_WIRE_REGISTER_BYTES, &reg);
        result.rkey = register_chunks(dest, &reg);
        if (result.rkey == 0) {
            fail(dest, -ERANGE);
            return;
        }
        result.host_addr = (uintptr_t)dest->blocks[reg.block_index].host;
        rmig_wire_encode_result(dest->scratch + (size_t)i * RMIG_WIRE_RESULT_BYTES, &result);
    }
    dest->nregister++;
    answer(dest, RMIG_WIRE_REGISTER_RESULT, msg->repeat, n * RMIG_WIRE_RESULT_BYTES);
}

/* Forgets the keys; the device would still take them. */
static void on_unregister(struct raw_dest *dest, const struct raw_msg *msg)
{
    if (!dest->unregisters || msg->repeat == 0 ||
        msg->len_bytes != msg->repeat * RMIG_WIRE_REGISTER_BYTES) {
        fail(dest, -EPROTO);
        return;
    }
    for (uint32_t i = 0; i < msg->repeat; i++) {
        struct rmig_wire_register reg;
        uint64_t first, end;

        rmig_wire_decode_register(msg->payload + (size_t)i * RMIG_WIRE_REGISTER_BYTES, &reg);
        if (!chunks_of(dest, &reg, &first, &end) || !dest->keys[reg.block_index][first]) {
            fail(dest, -ERANGE);
            return;
        }
        for (uint64_t c = first; c < end; c++)
            dest->keys[reg.block_index][c] = 0;
        dest->nchunks -= (unsigned)(end - first);
    }
    dest->nunregister++;
    answer(dest, RMIG_WIRE_UNREGISTER_FINISHED, msg->repeat, 0);
}

static void on_compress(struct raw_dest *dest, const struct raw_msg *msg)
{
    struct rmig_wire_compress c;
    const struct rmig_block *block;
    uint64_t offset;

    rmig_wire_decode_compress(msg->payload, &c);
    dest->ncompress++;
    if (msg->len_bytes != RMIG_WIRE_COMPRESS_BYTES || c.block_index >= dest->nblocks || c.value) {
        fail(dest, -EPROTO);
        return;
    }
    block = &dest->blocks[c.block_index];
    offset = c.ram_addr - RAW_DEST_RAM_ADDR(c.block_index);
    if (offset > block->len_bytes || c.len_bytes > block->len_bytes - offset)
        fail(dest, -ERANGE);
    else
        memset((uint8_t *)block->host + offset, 0, c.len_bytes);
}

static void on_message(struct raw_dest *dest, const struct raw_msg *msg)
{
    switch (msg->type) {
    case RMIG_WIRE_QEMU_FILE:
        dest->nfile++;
        dest->file_bytes += msg->len_bytes;
        break;
    case RMIG_WIRE_RAM_BLOCKS_REQUEST:
        on_blocks_request(dest);
        break;
    case RMIG_WIRE_REGISTER_REQUEST:
        on_register(dest, msg);
        break;
    case RMIG_WIRE_UNREGISTER_REQUEST:
        on_unregister(dest, msg);
        break;
    case RMIG_WIRE_COMPRESS:
        on_compress(dest, msg);
        break;
    case RMIG_WIRE_REGISTER_FINISHED:
        dest->nfinished++;
        break;
    case RMIG_WIRE_ERROR:
        dest->got_error = true;
        return;
    default:
        fail(dest, -EPROTO);
    }
    ready(dest);
}

void raw_dest_step(struct raw_dest *dest)
{
    struct raw_msg msg;

    if (!dest->started) {
        dest->started = true;
        ready(dest);
    }
    while (!dest->failed && raw_hear(dest->peer, 0, &msg) == 0)
        on_message(dest, &msg);
}
