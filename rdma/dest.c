/* SPDX-License-Identifier: BSD-3-Clause */
/* dest.c -- answers the source's control messages between a hook mark and REGISTER_FINISHED. */
#include "rdma/dest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bitmap.h"
#include "common/clock.h"
#include "common/overflow.h"

/* Bases of the blocks in the offset space that the source addresses: far enough apart that an
 * offset outside its block is seen to be one. */
#define RAM_ADDR_GAP ((uint64_t)1 << 32)

/* Memory that is zeroed before cancel is looked at again: some 10 ms, for pages never touched too. */
#define ZERO_STEP_BYTES ((uint64_t)16 << 20)

/* Messages that a source may send in one pass: it has something to say of a page a few times at most,
 * and keeps this side busy for ever if nobody counts. */
#define PASS_MESSAGES_MIN 1024u
#define PASS_MESSAGES_A_PAGE 4u

void rmig_rdma_dest_init(struct rmig_rdma_dest *dest, struct rmig_rdma_conn *conn,
                         rmig_zero_range_fn zero_range)
{
    memset(dest, 0, sizeof(*dest));
    dest->conn = conn;
    dest->zero_range = zero_range;
}

int rmig_rdma_dest_revoke(struct rmig_rdma_dest *dest, struct rmig_err *err)
{
    return rmig_rdma_chunks_deregister_all(&dest->chunks, err);
}

void rmig_rdma_dest_release(struct rmig_rdma_dest *dest)
{
    rmig_rdma_chunks_release(&dest->chunks);
    free(dest->local_index);
    free(dest->listed);
    free(dest->ram_addrs);
    dest->local_index = NULL;
    dest->listed = NULL;
    dest->ram_addrs = NULL;
    rmig_blocks_release(&dest->table);
}

/* A chunk is the least that can be registered. The source was told so, where it asked. */
static uint64_t budget_bytes(const struct rmig_rdma_conn *conn)
{
    return conn->pin_budget_bytes ? rmig_max_u64(conn->pin_budget_bytes, RMIG_WIRE_CHUNK_BYTES) : 0;
}

int rmig_rdma_dest_set_blocks(struct rmig_rdma_dest *dest, const struct rmig_block *blocks,
                              uint32_t nblocks, struct rmig_err *err)
{
    uint64_t base = RAM_ADDR_GAP;
    int rc;

    if (dest->ram_addrs)
        return rmig_err_set(err, -EBUSY, "the RAM blocks of this connection are set already");
    rc = rmig_blocks_init(&dest->table, blocks, nblocks, err);
    if (rc < 0)
        return rc;
    dest->local_index = calloc(nblocks, sizeof(*dest->local_index));
    dest->ram_addrs = calloc(nblocks, sizeof(*dest->ram_addrs));
    dest->listed = rmig_bitmap_new(nblocks);
    if (!dest->local_index || !dest->ram_addrs || !dest->listed)
        return rmig_err_set(err, -ENOMEM, "destination: out of memory for %u RAM blocks", nblocks);
    for (uint32_t i = 0; i < nblocks; i++) {
        dest->ram_addrs[i] = base;
        base += (blocks[i].len_bytes / RAM_ADDR_GAP + 2) * RAM_ADDR_GAP;
    }
    return rmig_rdma_chunks_init(&dest->chunks, dest->conn->ctrl.verbs, &dest->table,
                                 RMIG_RDMA_WRITE_REMOTE |
                                     (dest->conn->on_demand ? RMIG_RDMA_ON_DEMAND : 0),
                                 budget_bytes(dest->conn), err);
}

int rmig_rdma_dest_list_block(struct rmig_rdma_dest *dest, const char *name, struct rmig_err *err)
{
    int64_t i = rmig_blocks_find(&dest->table, name);

    if (i < 0)
        return rmig_err_set(err, -EPROTO, "RAM block %.64s of the source is not known here", name);
    if (dest->blocks_exchanged)
        return rmig_err_set(err, -EPROTO, "RAM block %.64s listed after the block exchange", name);
    if (rmig_bitmap_test(dest->listed, (uint64_t)i))
        return rmig_err_set(err, -EPROTO, "RAM block %.64s listed twice", name);
    rmig_bitmap_set(dest->listed, (uint64_t)i, 1);
    dest->local_index[dest->nlisted++] = (uint32_t)i;
    return 0;
}

/* --- bounds ----------------------------------------------------------------------------------- */

/*
 * A peer's (index, address, length) to a block and an offset. len_bytes may be 1 to ask for the
 * start alone. This and the block table are all that stands between the peer and our memory.
 */
static int bound(const struct rmig_rdma_dest *dest, const char *what, uint32_t peer_index,
                 uint64_t ram_addr, uint64_t len_bytes, uint32_t *index_p, uint64_t *offset_p,
                 struct rmig_err *err)
{
    const struct rmig_block *block;
    uint64_t base;

    if (peer_index >= dest->nlisted)
        return rmig_err_set(err, -EPROTO, "%s: block index %u, the source listed %u blocks", what,
                            peer_index, dest->nlisted);
    *index_p = dest->local_index[peer_index];
    block = &dest->table.items[*index_p];
    base = dest->ram_addrs[*index_p];
    if (len_bytes == 0)
        return rmig_err_set(err, -EPROTO, "%s: length 0 in RAM block %.64s", what, block->name);
    if (ram_addr < base || !rmig_range_within(ram_addr - base, len_bytes, block->len_bytes))
        return rmig_err_set(err, -EPROTO,
                            "%s: address 0x%llx, length 0x%llx is outside RAM block %.64s "
                            "(0x%llx, length 0x%llx)", what, (unsigned long long)ram_addr,
                            (unsigned long long)len_bytes, block->name, (unsigned long long)base,
                            (unsigned long long)block->len_bytes);
    *offset_p = ram_addr - base;
    return 0;
}

/* --- one handler a message type --------------------------------------------------------------- */

static int put_block(struct rmig_rdma_dest *dest, uint32_t index, uint8_t *record,
                     struct rmig_err *err)
{
    const struct rmig_block *block = &dest->table.items[index];
    struct rmig_wire_block wire = {
        .remote_addr = (uintptr_t)block->host,
        .ram_addr = dest->ram_addrs[index],
        .len_bytes = block->len_bytes,
    };

    if (dest->conn->pin_all) {
        const struct rmig_rdma_region *region;
        int rc = rmig_rdma_chunks_register(&dest->chunks, index, 0,
                                           rmig_chunk_count(block->len_bytes), &region, err);

        if (rc == 0) /* a block has one key, so cancel can be heard between blocks only */
            rc = rmig_rdma_pump_breathe(&dest->conn->pump, "pinning RAM", err);
        if (rc < 0)
            return rc;
        wire.rkey = region->mr.rkey;
    }
    rmig_wire_encode_block(record, &wire);
    return 0;
}

static int on_blocks_request(struct rmig_rdma_dest *dest, const struct rmig_rdma_msg *msg,
                             struct rmig_err *err)
{
    struct rmig_rdma_ctrl *ctrl = &dest->conn->ctrl;
    uint8_t *payload;
    int slot;

    (void)msg;
    if (dest->blocks_exchanged)
        return rmig_err_set(err, -EPROTO, "the source asked for the RAM blocks twice");
    if (dest->nlisted != dest->table.count)
        return rmig_err_set(err, -EPROTO, "the source listed %u RAM blocks, here are %u",
                            dest->nlisted, dest->table.count);
    slot = rmig_rdma_ctrl_reserve(ctrl, &payload, err);
    if (slot < 0)
        return slot;
    for (uint32_t i = 0; i < dest->nlisted; i++) {
        int rc = put_block(dest, dest->local_index[i],
                           payload + (size_t)i * RMIG_WIRE_BLOCK_BYTES, err);

        if (rc < 0)
            return rc;
    }
    dest->blocks_exchanged = true;
    return rmig_rdma_ctrl_post(ctrl, slot, RMIG_WIRE_RAM_BLOCKS_RESULT, 1,
                               dest->nlisted * RMIG_WIRE_BLOCK_BYTES, err);
}

/* Requires: the range is inside the block. It may be as long as RAM: cancel is heard meanwhile. */
static int zero(struct rmig_rdma_dest *dest, uint32_t index, uint64_t offset, uint64_t len_bytes,
                struct rmig_err *err)
{
    const struct rmig_block *block = &dest->table.items[index];
    int rc = 0;

    while (rc == 0 && len_bytes > 0) {
        uint64_t step_bytes = rmig_min_u64(len_bytes, ZERO_STEP_BYTES);

        rc = dest->zero_range(block, offset, step_bytes);
        if (rc < 0)
            return rmig_err_set(err, rc, "COMPRESS: RAM block %.64s cannot be zeroed: %s",
                                block->name, strerror(-rc));
        offset += step_bytes;
        len_bytes -= step_bytes;
        rc = rmig_rdma_pump_breathe(&dest->conn->pump, "zeroing RAM", err);
    }
    return rc;
}

static int on_compress(struct rmig_rdma_dest *dest, const struct rmig_rdma_msg *msg,
                       struct rmig_err *err)
{
    struct rmig_wire_compress compress;
    uint64_t offset;
    uint32_t index;
    int rc;

    rmig_wire_decode_compress(msg->payload, &compress);
    if (compress.value != 0)
        return rmig_err_set(err, -EPROTO, "COMPRESS: fill value 0x%x, only 0 is defined",
                            compress.value);
    rc = bound(dest, "COMPRESS", compress.block_index, compress.ram_addr, compress.len_bytes, &index,
               &offset, err);
    if (rc < 0)
        return rc;
    if ((offset | compress.len_bytes) % RMIG_PAGE_BYTES)
        return rmig_err_set(err, -EPROTO, "COMPRESS: offset 0x%llx, length 0x%llx are not whole pages",
                            (unsigned long long)offset, (unsigned long long)compress.len_bytes);
    dest->zero_bytes += compress.len_bytes;
    return zero(dest, index, offset, compress.len_bytes, err);
}

/* A record of either request to the chunks of a block that it names. */
static int bound_chunks(const struct rmig_rdma_dest *dest, const char *what,
                        const struct rmig_wire_register *reg, uint32_t *index_p, uint64_t *first_p,
                        uint64_t *count_p, struct rmig_err *err)
{
    uint64_t offset, left;
    int rc = bound(dest, what, reg->block_index, reg->ram_addr, 1, index_p, &offset, err);

    if (rc < 0)
        return rc;
    *first_p = offset >> RMIG_WIRE_CHUNK_SHIFT;
    left = rmig_chunk_count(dest->table.items[*index_p].len_bytes) - *first_p;
    if (reg->extra_chunks >= left)
        return rmig_err_set(err, -EPROTO, "%s: %llu chunks after chunk %llu, RAM block %.64s has %llu",
                            what, (unsigned long long)reg->extra_chunks,
                            (unsigned long long)*first_p, dest->table.items[*index_p].name,
                            (unsigned long long)(left - 1));
    *count_p = reg->extra_chunks + 1;
    return 0;
}

/* One record of a registration request to its result. */
static int register_one(struct rmig_rdma_dest *dest, const uint8_t *record, uint8_t *result_record,
                        struct rmig_err *err)
{
    struct rmig_wire_register reg;
    const struct rmig_rdma_region *region;
    struct rmig_err cause = RMIG_ERR_INIT;
    struct rmig_wire_result result;
    uint64_t first, count;
    uint32_t index;
    int rc;

    rmig_wire_decode_register(record, &reg);
    rc = bound_chunks(dest, "REGISTER_REQUEST", &reg, &index, &first, &count, err);
    if (rc < 0)
        return rc;
    rc = rmig_rdma_chunks_register(&dest->chunks, index, first, count, &region, &cause);
    /* To ask for a part again is the source's mistake, and for more than the budget that it agreed to. */
    if (rc == -EEXIST || (rc == -EDQUOT && dest->conn->unregister))
        rc = -EPROTO;
    if (rc < 0)
        return rmig_err_set(err, rc, "REGISTER_REQUEST: %s", cause.msg);
    result.rkey = region->mr.rkey;
    result.host_addr = (uintptr_t)dest->table.items[index].host;
    rmig_wire_encode_result(result_record, &result);
    return 0;
}

static int on_register(struct rmig_rdma_dest *dest, const struct rmig_rdma_msg *msg,
                       struct rmig_err *err)
{
    struct rmig_rdma_ctrl *ctrl = &dest->conn->ctrl;
    uint32_t n = msg->header.repeat;
    uint8_t *payload;
    int slot, rc;

    if (dest->conn->pin_all)
        return rmig_err_set(err, -EPROTO, "REGISTER_REQUEST although all RAM is pinned");
    if (n > 1 && !dest->conn->multi_register)
        return rmig_err_set(err, -EPROTO, "REGISTER_REQUEST of %u records: 1 was agreed", n);
    slot = rmig_rdma_ctrl_reserve(ctrl, &payload, err);
    if (slot < 0)
        return slot;
    for (uint32_t i = 0; i < n; i++) {
        rc = register_one(dest, msg->payload + (size_t)i * RMIG_WIRE_REGISTER_BYTES,
                          payload + (size_t)i * RMIG_WIRE_RESULT_BYTES, err);
        if (rc < 0)
            return rc;
    }
    return rmig_rdma_ctrl_post(ctrl, slot, RMIG_WIRE_REGISTER_RESULT, n, n * RMIG_WIRE_RESULT_BYTES,
                               err);
}

static int unregister_one(struct rmig_rdma_dest *dest, const uint8_t *record, struct rmig_err *err)
{
    struct rmig_wire_register reg;
    struct rmig_err cause = RMIG_ERR_INIT;
    uint64_t first, count;
    uint32_t index;
    int rc;

    rmig_wire_decode_register(record, &reg);
    rc = bound_chunks(dest, "UNREGISTER_REQUEST", &reg, &index, &first, &count, err);
    if (rc < 0)
        return rc;
    rc = rmig_rdma_chunks_deregister(&dest->chunks, index, first, count, &cause);
    return rc < 0 ? rmig_err_set(err, rc == -ENOENT ? -EPROTO : rc, "UNREGISTER_REQUEST: %s", cause.msg) : 0;
}

static int on_unregister(struct rmig_rdma_dest *dest, const struct rmig_rdma_msg *msg,
                         struct rmig_err *err)
{
    struct rmig_rdma_ctrl *ctrl = &dest->conn->ctrl;
    uint8_t *payload;
    int slot, rc;

    for (uint32_t i = 0; i < msg->header.repeat; i++) {
        rc = unregister_one(dest, msg->payload + (size_t)i * RMIG_WIRE_REGISTER_BYTES, err);
        if (rc < 0)
            return rc;
    }
    slot = rmig_rdma_ctrl_reserve(ctrl, &payload, err);
    return slot < 0 ? slot
                    : rmig_rdma_ctrl_post(ctrl, slot, RMIG_WIRE_UNREGISTER_FINISHED,
                                          msg->header.repeat, 0, err);
}

/* --- the service ------------------------------------------------------------------------------ */

typedef int (*message_fn)(struct rmig_rdma_dest *dest, const struct rmig_rdma_msg *msg,
                          struct rmig_err *err);

/* The handler table: every message that a source may send inside a pass. REGISTER_FINISHED ends it. */
static const message_fn handlers[RMIG_WIRE_TYPE_END] = {
    [RMIG_WIRE_RAM_BLOCKS_REQUEST] = on_blocks_request,
    [RMIG_WIRE_COMPRESS] = on_compress,
    [RMIG_WIRE_REGISTER_REQUEST] = on_register,
    [RMIG_WIRE_UNREGISTER_REQUEST] = on_unregister,
};

static uint32_t allowed_types(const struct rmig_rdma_dest *dest)
{
    if (!dest->blocks_exchanged)
        return RMIG_WIRE_TYPE_BIT(RMIG_WIRE_RAM_BLOCKS_REQUEST);
    return RMIG_WIRE_TYPE_BIT(RMIG_WIRE_REGISTER_FINISHED) |
           RMIG_WIRE_TYPE_BIT(RMIG_WIRE_COMPRESS) | RMIG_WIRE_TYPE_BIT(RMIG_WIRE_REGISTER_REQUEST) |
           (dest->conn->unregister ? RMIG_WIRE_TYPE_BIT(RMIG_WIRE_UNREGISTER_REQUEST) : 0);
}

/* Time granted to the source for its next message, beyond the idle timeout: it pins its side from
 * its request for the blocks on, and says nothing before it is done. */
static uint32_t extra_ms(const struct rmig_rdma_dest *dest, const struct rmig_rdma_msg *last)
{
    return dest->conn->pin_all && last->header.type == RMIG_WIRE_RAM_BLOCKS_REQUEST
               ? rmig_rdma_pin_time_ms(dest->table.total_bytes)
               : 0;
}

static uint64_t messages_allowed(const struct rmig_rdma_dest *dest)
{
    return PASS_MESSAGES_MIN + dest->table.total_bytes / RMIG_PAGE_BYTES * PASS_MESSAGES_A_PAGE;
}

int rmig_rdma_dest_serve(struct rmig_rdma_dest *dest, struct rmig_err *err)
{
    struct rmig_rdma_ctrl *ctrl = &dest->conn->ctrl;
    struct rmig_rdma_msg msg = { .payload = NULL };
    bool has_writes = dest->blocks_exchanged; /* the pass of the exchange has none */

    if (!dest->ram_addrs)
        return rmig_err_set(err, -EINVAL, "destination: no RAM blocks set");
    for (uint64_t n = 0;; n++) {
        int rc = rmig_rdma_ctrl_pull(ctrl, allowed_types(dest), extra_ms(dest, &msg), &msg, err);
        bool finished;

        if (rc < 0)
            return rc;
        finished = msg.header.type == RMIG_WIRE_REGISTER_FINISHED;
        if (!finished && n == messages_allowed(dest))
            return rmig_err_set(err, -EPROTO,
                                "the source sent more than %llu messages in one pass",
                                (unsigned long long)n);
        if (!finished)
            rc = handlers[msg.header.type](dest, &msg, err);
        if (rc == 0)
            rc = rmig_rdma_ctrl_done(ctrl, &msg, err);
        if (rc == 0 && finished && has_writes)
            rc = rmig_rdma_conn_wait_marks(dest->conn, err);
        if (rc < 0 || finished)
            return rc;
    }
}
