/* SPDX-License-Identifier: BSD-3-Clause */
/* wire.c -- encodes and decodes the control messages of QEMU's RDMA protocol, version 1. */
#include "rdma/wire.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "common/bytes.h"

/* What the payload of each type must look like. */
enum payload { NO_PAYLOAD, SOME_BYTES, ONE_RECORD, RECORDS, REPEAT_RECORDS };

static const struct {
    const char *name;
    enum payload payload;
    uint32_t record_bytes;
} types[RMIG_WIRE_TYPE_END] = {
    [RMIG_WIRE_NONE] = { "NONE", NO_PAYLOAD, 0 },
    [RMIG_WIRE_ERROR] = { "ERROR", NO_PAYLOAD, 0 },
    [RMIG_WIRE_READY] = { "READY", NO_PAYLOAD, 0 },
    [RMIG_WIRE_QEMU_FILE] = { "QEMU_FILE", SOME_BYTES, 0 },
    [RMIG_WIRE_RAM_BLOCKS_REQUEST] = { "RAM_BLOCKS_REQUEST", NO_PAYLOAD, 0 },
    [RMIG_WIRE_RAM_BLOCKS_RESULT] = { "RAM_BLOCKS_RESULT", RECORDS, RMIG_WIRE_BLOCK_BYTES },
    [RMIG_WIRE_COMPRESS] = { "COMPRESS", ONE_RECORD, RMIG_WIRE_COMPRESS_BYTES },
    [RMIG_WIRE_REGISTER_REQUEST] = { "REGISTER_REQUEST", REPEAT_RECORDS, RMIG_WIRE_REGISTER_BYTES },
    [RMIG_WIRE_REGISTER_RESULT] = { "REGISTER_RESULT", RECORDS, RMIG_WIRE_RESULT_BYTES },
    [RMIG_WIRE_REGISTER_FINISHED] = { "REGISTER_FINISHED", NO_PAYLOAD, 0 },
    [RMIG_WIRE_UNREGISTER_REQUEST] = { "UNREGISTER_REQUEST", REPEAT_RECORDS,
                                       RMIG_WIRE_REGISTER_BYTES },
    [RMIG_WIRE_UNREGISTER_FINISHED] = { "UNREGISTER_FINISHED", NO_PAYLOAD, 0 },
};

const char *rmig_wire_type_name(uint32_t type)
{
    return type < RMIG_WIRE_TYPE_END ? types[type].name : "unknown";
}

void rmig_wire_encode_header(uint8_t *buf, const struct rmig_wire_header *header)
{
    rmig_store_be32(buf, header->len_bytes);
    rmig_store_be32(buf + 4, header->type);
    rmig_store_be32(buf + 8, header->repeat);
    rmig_store_be32(buf + 12, 0);
}

/* Does len fit what the type carries? */
static bool payload_fits(uint32_t type, uint32_t len, uint32_t repeat)
{
    uint32_t record = types[type].record_bytes;

    switch (types[type].payload) {
    case NO_PAYLOAD:
        return len == 0;
    case SOME_BYTES:
        return len >= 1;
    case ONE_RECORD:
        return len == record;
    case RECORDS:
        return len >= record && len % record == 0;
    case REPEAT_RECORDS:
        return repeat >= 1 && repeat <= RMIG_WIRE_REPEAT_MAX && len == (uint64_t)record * repeat;
    }
    return false;
}

int rmig_wire_decode_header(const uint8_t *buf, size_t received_bytes,
                            struct rmig_wire_header *header_p, struct rmig_err *err)
{
    struct rmig_wire_header h;

    if (received_bytes < RMIG_WIRE_HEADER_BYTES)
        return rmig_err_set(err, -EPROTO, "control message of %zu bytes: a header has %u",
                            received_bytes, RMIG_WIRE_HEADER_BYTES);
    h.len_bytes = rmig_load_be32(buf);
    h.type = rmig_load_be32(buf + 4);
    h.repeat = rmig_load_be32(buf + 8);
    if (h.type == RMIG_WIRE_NONE || h.type >= RMIG_WIRE_TYPE_END)
        return rmig_err_set(err, -EPROTO, "control message type %u: 1 to %d are known", h.type,
                            RMIG_WIRE_TYPE_END - 1);
    if (h.len_bytes > RMIG_WIRE_PAYLOAD_MAX_BYTES)
        return rmig_err_set(err, -EPROTO, "control message %s: len %u is above %u",
                            types[h.type].name, h.len_bytes, RMIG_WIRE_PAYLOAD_MAX_BYTES);
    if (h.len_bytes != received_bytes - RMIG_WIRE_HEADER_BYTES)
        return rmig_err_set(err, -EPROTO, "control message %s: len says %u, %zu bytes came",
                            types[h.type].name, h.len_bytes,
                            received_bytes - RMIG_WIRE_HEADER_BYTES);
    if (!payload_fits(h.type, h.len_bytes, h.repeat))
        return rmig_err_set(err, -EPROTO,
                            "control message %s: len %u with repeat %u does not fit its records",
                            types[h.type].name, h.len_bytes, h.repeat);
    *header_p = h;
    return 0;
}

/* Bytes of private data with these flags. */
static size_t private_bytes(uint32_t flags)
{
    return RMIG_WIRE_PRIVATE_DATA_BYTES +
           (flags & RMIG_WIRE_FLAG_LANES ? RMIG_WIRE_PRIVATE_LANES_BYTES : 0) +
           (flags & RMIG_WIRE_FLAG_PIN_BUDGET ? RMIG_WIRE_PRIVATE_BUDGET_BYTES : 0);
}

size_t rmig_wire_encode_private(uint8_t *buf, const struct rmig_wire_private *priv)
{
    uint8_t *at = buf + RMIG_WIRE_PRIVATE_DATA_BYTES;

    rmig_store_be32(buf, priv->version);
    rmig_store_be32(buf + 4, priv->flags);
    if (priv->flags & RMIG_WIRE_FLAG_LANES) {
        rmig_store_be64(at, priv->session);
        rmig_store_be32(at + 8, priv->lane);
        rmig_store_be32(at + 12, priv->nlanes);
        at += RMIG_WIRE_PRIVATE_LANES_BYTES;
    }
    if (priv->flags & RMIG_WIRE_FLAG_PIN_BUDGET)
        rmig_store_be64(at, priv->pin_budget_bytes);
    return private_bytes(priv->flags);
}

static int decode_lanes(const uint8_t *buf, struct rmig_wire_private *p, struct rmig_err *err)
{
    p->session = rmig_load_be64(buf);
    p->lane = rmig_load_be32(buf + 8);
    p->nlanes = rmig_load_be32(buf + 12);
    if (p->nlanes < 1 || p->nlanes > RMIG_WIRE_LANES_MAX || p->lane >= p->nlanes)
        return rmig_err_set(err, -EPROTO, "connection: lane %u of %u, at most %u are allowed",
                            p->lane, p->nlanes, RMIG_WIRE_LANES_MAX);
    return 0;
}

int rmig_wire_decode_private(const uint8_t *buf, size_t len_bytes,
                             struct rmig_wire_private *priv_p, struct rmig_err *err)
{
    struct rmig_wire_private p = { .nlanes = 1 };
    const uint8_t *at;

    if (!buf || len_bytes < RMIG_WIRE_PRIVATE_DATA_BYTES)
        return rmig_err_set(err, -EPROTO, "connection: %zu bytes of private data, %u are needed",
                            buf ? len_bytes : 0, RMIG_WIRE_PRIVATE_DATA_BYTES);
    p.version = rmig_load_be32(buf);
    if (p.version != RMIG_WIRE_VERSION)
        return rmig_err_set(err, -EPROTO, "connection: the peer speaks protocol version %u, not %u",
                            p.version, RMIG_WIRE_VERSION);
    p.flags = rmig_load_be32(buf + 4) & RMIG_WIRE_FLAGS_KNOWN;
    if (len_bytes < private_bytes(p.flags))
        return rmig_err_set(err, -EPROTO,
                            "connection: %zu bytes of private data, %zu are needed with flags 0x%x",
                            len_bytes, private_bytes(p.flags), p.flags);
    at = buf + RMIG_WIRE_PRIVATE_DATA_BYTES;
    if (p.flags & RMIG_WIRE_FLAG_LANES) {
        int rc = decode_lanes(at, &p, err);

        if (rc < 0)
            return rc;
        at += RMIG_WIRE_PRIVATE_LANES_BYTES;
    }
    if (p.flags & RMIG_WIRE_FLAG_PIN_BUDGET)
        p.pin_budget_bytes = rmig_load_be64(at);
    *priv_p = p;
    return 0;
}

static const char reason_begins[] = "rmig: ";
#define REASON_BEGINS_BYTES (sizeof(reason_begins) - 1)

size_t rmig_wire_encode_reason(uint8_t *buf, const char *why)
{
    size_t len = strnlen(why, RMIG_WIRE_REASON_MAX_BYTES - REASON_BEGINS_BYTES);

    memcpy(buf, reason_begins, REASON_BEGINS_BYTES);
    memcpy(buf + REASON_BEGINS_BYTES, why, len);
    return REASON_BEGINS_BYTES + len;
}

bool rmig_wire_decode_reason(const uint8_t *buf, size_t len_bytes,
                             char text[RMIG_WIRE_REASON_MAX_BYTES])
{
    size_t n = 0;

    if (len_bytes <= REASON_BEGINS_BYTES || memcmp(buf, reason_begins, REASON_BEGINS_BYTES) != 0)
        return false;
    for (size_t i = REASON_BEGINS_BYTES; i < len_bytes && i < RMIG_WIRE_REASON_MAX_BYTES && buf[i]; i++)
        text[n++] = buf[i] >= ' ' && buf[i] <= '~' ? (char)buf[i] : '?';
    text[n] = '\0';
    return n > 0;
}

void rmig_wire_encode_block(uint8_t *buf, const struct rmig_wire_block *block)
{
    rmig_store_be64(buf, block->remote_addr);
    rmig_store_be64(buf + 8, block->ram_addr);
    rmig_store_be64(buf + 16, block->len_bytes);
    rmig_store_be32(buf + 24, block->rkey);
    rmig_store_be32(buf + 28, 0);
}

void rmig_wire_decode_block(const uint8_t *buf, struct rmig_wire_block *block_p)
{
    block_p->remote_addr = rmig_load_be64(buf);
    block_p->ram_addr = rmig_load_be64(buf + 8);
    block_p->len_bytes = rmig_load_be64(buf + 16);
    block_p->rkey = rmig_load_be32(buf + 24);
}

void rmig_wire_encode_register(uint8_t *buf, const struct rmig_wire_register *reg)
{
    rmig_store_be64(buf, reg->ram_addr);
    rmig_store_be32(buf + 8, reg->block_index);
    rmig_store_be32(buf + 12, 0);
    rmig_store_be64(buf + 16, reg->extra_chunks);
}

void rmig_wire_decode_register(const uint8_t *buf, struct rmig_wire_register *reg_p)
{
    reg_p->ram_addr = rmig_load_be64(buf);
    reg_p->block_index = rmig_load_be32(buf + 8);
    reg_p->extra_chunks = rmig_load_be64(buf + 16);
}

void rmig_wire_encode_result(uint8_t *buf, const struct rmig_wire_result *result)
{
    rmig_store_be32(buf, result->rkey);
    rmig_store_be32(buf + 4, 0);
    rmig_store_be64(buf + 8, result->host_addr);
}

void rmig_wire_decode_result(const uint8_t *buf, struct rmig_wire_result *result_p)
{
    result_p->rkey = rmig_load_be32(buf);
    result_p->host_addr = rmig_load_be64(buf + 8);
}

void rmig_wire_encode_compress(uint8_t *buf, const struct rmig_wire_compress *compress)
{
    rmig_store_be32(buf, compress->value);
    rmig_store_be32(buf + 4, compress->block_index);
    rmig_store_be64(buf + 8, compress->ram_addr);
    rmig_store_be64(buf + 16, compress->len_bytes);
}

void rmig_wire_decode_compress(const uint8_t *buf, struct rmig_wire_compress *compress_p)
{
    compress_p->value = rmig_load_be32(buf);
    compress_p->block_index = rmig_load_be32(buf + 4);
    compress_p->ram_addr = rmig_load_be64(buf + 8);
    compress_p->len_bytes = rmig_load_be64(buf + 16);
}
