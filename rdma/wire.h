/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wire.h -- the control protocol's bytes: QEMU's RDMA migration protocol, version 1.
 *
 * Encoders write whole messages; decoders take (bytes, length) and answer -EPROTO, naming the field
 * and the value, for whatever the protocol does not allow. What depends on the RAM (index, offset,
 * length of a block) is bounded by the block table afterwards, never here.
 *
 * A message is one SEND: a 16-byte header {len, type, repeat, padding}, then len bytes. All
 * integers are big-endian.
 */
#ifndef RDMA_WIRE_H
#define RDMA_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <rmig/error.h>

#define RMIG_WIRE_VERSION 1u
#define RMIG_WIRE_HEADER_BYTES 16u
#define RMIG_WIRE_MESSAGE_MAX_BYTES 524288u
#define RMIG_WIRE_PAYLOAD_MAX_BYTES (RMIG_WIRE_MESSAGE_MAX_BYTES - RMIG_WIRE_HEADER_BYTES)
#define RMIG_WIRE_REPEAT_MAX 4096u
#define RMIG_WIRE_CHUNK_SHIFT 20
#define RMIG_WIRE_CHUNK_BYTES (1u << RMIG_WIRE_CHUNK_SHIFT)
#define RMIG_WIRE_PRIVATE_DATA_BYTES 8u
#define RMIG_WIRE_LANES_MAX 8u

/* Private data flags. A stock QEMU knows PIN_ALL alone and masks the others away. */
#define RMIG_WIRE_FLAG_PIN_ALL 0x00000001u
/* Both sides answer a REGISTER_REQUEST of n records with n records. */
#define RMIG_WIRE_FLAG_MULTI_REGISTER 0x00010000u
/* More queue pairs follow the first; see struct rmig_wire_private. */
#define RMIG_WIRE_FLAG_LANES 0x00020000u
/* Source: it can make use of what the destination's flag says: all RAM there reads zero. */
#define RMIG_WIRE_FLAG_RAM_ZERO 0x00040000u
/* Source: it unregisters what it does not use. Destination: it has a budget, and takes that. */
#define RMIG_WIRE_FLAG_PIN_BUDGET 0x00080000u
#define RMIG_WIRE_FLAGS_KNOWN                                                                      \
    (RMIG_WIRE_FLAG_PIN_ALL | RMIG_WIRE_FLAG_MULTI_REGISTER | RMIG_WIRE_FLAG_LANES |               \
     RMIG_WIRE_FLAG_RAM_ZERO | RMIG_WIRE_FLAG_PIN_BUDGET)

enum rmig_wire_type {
    RMIG_WIRE_NONE = 0,
    RMIG_WIRE_ERROR = 1,
    RMIG_WIRE_READY = 2,
    RMIG_WIRE_QEMU_FILE = 3,
    RMIG_WIRE_RAM_BLOCKS_REQUEST = 4,
    RMIG_WIRE_RAM_BLOCKS_RESULT = 5,
    RMIG_WIRE_COMPRESS = 6,
    RMIG_WIRE_REGISTER_REQUEST = 7,
    RMIG_WIRE_REGISTER_RESULT = 8,
    RMIG_WIRE_REGISTER_FINISHED = 9,
    RMIG_WIRE_UNREGISTER_REQUEST = 10,
    RMIG_WIRE_UNREGISTER_FINISHED = 11,
    RMIG_WIRE_TYPE_END
};

#define RMIG_WIRE_TYPE_BIT(type) (1u << (type))

/* Name of a type for messages; "unknown" beyond the table. Static storage. */
const char *rmig_wire_type_name(uint32_t type);

struct rmig_wire_header {
    uint32_t len_bytes;
    uint32_t type;
    uint32_t repeat;
};

/* Writes 16 bytes. */
void rmig_wire_encode_header(uint8_t *buf, const struct rmig_wire_header *header);
/*
 * Checks a received message as a whole: at least a header, len equal to the rest, a known type, a
 * payload that the type can have (none, whole records, 1 byte or more). received_bytes: as the
 * completion says. repeat is not judged for QEMU_FILE. Returns: 0, -EPROTO.
 */
int rmig_wire_decode_header(const uint8_t *buf, size_t received_bytes,
                            struct rmig_wire_header *header_p, struct rmig_err *err);

/*
 * Private data of connect and accept. The first 8 bytes are QEMU's; behind them, only with
 * FLAG_LANES: u64 session, u32 lane (0 = the first connection), u32 number of lanes; then, only with
 * FLAG_PIN_BUDGET: u64 the destination's budget, a chunk at least.
 */
struct rmig_wire_private {
    uint32_t version;
    uint32_t flags;
    uint64_t session;
    uint32_t lane;
    uint32_t nlanes;
    uint64_t pin_budget_bytes; /* of guest RAM at the destination; 0 in a request */
};
#define RMIG_WIRE_PRIVATE_LANES_BYTES 16u
#define RMIG_WIRE_PRIVATE_BUDGET_BYTES 8u
#define RMIG_WIRE_PRIVATE_MAX_BYTES                                                                \
    (RMIG_WIRE_PRIVATE_DATA_BYTES + RMIG_WIRE_PRIVATE_LANES_BYTES + RMIG_WIRE_PRIVATE_BUDGET_BYTES)
/* Writes RMIG_WIRE_PRIVATE_MAX_BYTES at most. Returns: the bytes written. */
size_t rmig_wire_encode_private(uint8_t *buf, const struct rmig_wire_private *priv);
/*
 * Private data of a rejection: "rmig: " and a sentence for people, not terminated, cut at the length that
 * InfiniBand allows. A stock QEMU sends none and looks at none.
 */
#define RMIG_WIRE_REASON_MAX_BYTES 148u
/* Writes RMIG_WIRE_REASON_MAX_BYTES at most. Returns: the bytes written. */
size_t rmig_wire_encode_reason(uint8_t *buf, const char *why);
/* What cannot be printed is a question mark in text, which is terminated. Returns: is it such a reason? */
bool rmig_wire_decode_reason(const uint8_t *buf, size_t len_bytes,
                             char text[RMIG_WIRE_REASON_MAX_BYTES]);

/* Unknown flags are masked away. Returns: 0; -EPROTO too short, other version, bad lane figures. */
int rmig_wire_decode_private(const uint8_t *buf, size_t len_bytes,
                             struct rmig_wire_private *priv_p, struct rmig_err *err);

/* RAM_BLOCKS_RESULT: one record a block, in index order. */
#define RMIG_WIRE_BLOCK_BYTES 32u
struct rmig_wire_block {
    uint64_t remote_addr;   /* address of the block's first byte, base of writes */
    uint64_t ram_addr;      /* base of the block in the destination's own offset space */
    uint64_t len_bytes;
    uint32_t rkey;          /* key of the whole block if pin-all, else 0 */
};
void rmig_wire_encode_block(uint8_t *buf, const struct rmig_wire_block *block);
void rmig_wire_decode_block(const uint8_t *buf, struct rmig_wire_block *block_p);

/* REGISTER_REQUEST, UNREGISTER_REQUEST */
#define RMIG_WIRE_REGISTER_BYTES 24u
struct rmig_wire_register {
    uint64_t ram_addr; /* ram_addr of the block + offset in the block */
    uint32_t block_index;
    uint64_t extra_chunks; /* chunks after the first */
};
void rmig_wire_encode_register(uint8_t *buf, const struct rmig_wire_register *reg);
void rmig_wire_decode_register(const uint8_t *buf, struct rmig_wire_register *reg_p);

/* REGISTER_RESULT */
#define RMIG_WIRE_RESULT_BYTES 16u
struct rmig_wire_result {
    uint32_t rkey;
    uint64_t host_addr; /* of the block's first byte */
};
void rmig_wire_encode_result(uint8_t *buf, const struct rmig_wire_result *result);
void rmig_wire_decode_result(const uint8_t *buf, struct rmig_wire_result *result_p);

/* COMPRESS */
#define RMIG_WIRE_COMPRESS_BYTES 24u
struct rmig_wire_compress {
    uint32_t value;
    uint32_t block_index;
    uint64_t ram_addr;
    uint64_t len_bytes;
};
void rmig_wire_encode_compress(uint8_t *buf, const struct rmig_wire_compress *compress);
void rmig_wire_decode_compress(const uint8_t *buf, struct rmig_wire_compress *compress_p);

#endif
