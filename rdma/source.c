/* SPDX-License-Identifier: BSD-3-Clause */
/* source.c -- the source's four hooks: block exchange, page runs in, barrier at the end of a pass. */
#include "rdma/source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bitmap.h"
#include "common/clock.h"
#include "common/overflow.h"
#include "rdma/source_write.h"

/* A run of zero pages this long is worth a message of its own, which costs a round trip; shorter
 * ones go into the stream as records of 9 bytes a page. */
#define ZERO_MESSAGE_MIN_BYTES (4u << 20)

/* A longer run goes in several: the destination may have to read or write every page of one, and
 * says nothing meanwhile. */
#define ZERO_MESSAGE_MAX_BYTES ((uint64_t)64 << 20)

/* With all RAM pinned: chunks registered before cancel is looked at again, 1 GiB. */
#define PIN_STEP_CHUNKS ((uint64_t)1024)

void rmig_rdma_source_init(struct rmig_rdma_source *source, struct rmig_rdma_conn *conn)
{
    memset(source, 0, sizeof(*source));
    source->conn = conn;
    rmig_rdma_source_write_init(source);
}

void rmig_rdma_source_release(struct rmig_rdma_source *source)
{
    rmig_rdma_chunks_release(&source->local);
    rmig_rdma_pins_release(&source->pins);
    for (uint32_t i = 0; source->peers && i < source->table.count; i++) {
        free(source->peers[i].rkeys);
        free(source->peers[i].wanted);
    }
    free(source->peers);
    source->peers = NULL;
    rmig_blocks_release(&source->table);
}

/* What is registered is registered at both ends, and kept within the smaller of their budgets. */
static uint64_t pin_budget(const struct rmig_rdma_conn *conn)
{
    if (conn->on_demand) /* nothing is pinned here */
        return conn->peer_pin_budget_bytes;
    if (conn->pin_budget_bytes && conn->peer_pin_budget_bytes)
        return rmig_min_u64(conn->pin_budget_bytes, conn->peer_pin_budget_bytes);
    return rmig_max_u64(conn->pin_budget_bytes, conn->peer_pin_budget_bytes);
}

static int check_pin_all(const struct rmig_rdma_source *source, struct rmig_err *err)
{
    uint64_t budget_bytes = source->conn->pin_budget_bytes;

    if (!budget_bytes || source->conn->on_demand || source->table.total_bytes <= budget_bytes)
        return 0;
    return rmig_err_set(err, -EDQUOT,
                        "all RAM, %.1f MiB, is to be pinned, but the pin budget is %.1f MiB; pin it on "
                        "demand, or do without the budget",
                        (double)source->table.total_bytes / (1 << 20),
                        (double)budget_bytes / (1 << 20));
}

int rmig_rdma_source_set_blocks(struct rmig_rdma_source *source, const struct rmig_block *blocks,
                                uint32_t nblocks, struct rmig_err *err)
{
    int rc;

    if (source->peers)
        return rmig_err_set(err, -EBUSY, "the RAM blocks of this connection are set already");
    rc = rmig_blocks_init(&source->table, blocks, nblocks, err);
    if (rc < 0)
        return rc;
    source->peers = calloc(nblocks, sizeof(*source->peers));
    if (!source->peers)
        return rmig_err_set(err, -ENOMEM, "source: out of memory for %u RAM blocks", nblocks);
    for (uint32_t i = 0; i < nblocks; i++) {
        uint64_t n = rmig_chunk_count(blocks[i].len_bytes);

        source->peers[i].rkeys = calloc(n, sizeof(uint32_t));
        source->peers[i].wanted = rmig_bitmap_new(n);
        if (!source->peers[i].rkeys || !source->peers[i].wanted)
            return rmig_err_set(err, -ENOMEM, "source: out of memory for %llu chunks",
                                (unsigned long long)n);
    }
    rc = source->conn->pin_all
             ? check_pin_all(source, err)
             : rmig_rdma_pins_init(&source->pins, &source->table, pin_budget(source->conn), err);
    return rc < 0 ? rc
                  : rmig_rdma_chunks_init(&source->local, source->conn->ctrl.verbs, &source->table,
                                          RMIG_RDMA_READ_LOCAL |
                                              (source->conn->on_demand ? RMIG_RDMA_ON_DEMAND : 0),
                                          0, err);
}

/* --- block exchange --------------------------------------------------------------------------- */

static int take_block(struct rmig_rdma_source *source, uint32_t i, const uint8_t *record,
                      struct rmig_err *err)
{
    const struct rmig_block *block = &source->table.items[i];
    struct rmig_wire_block wire;

    rmig_wire_decode_block(record, &wire);
    if (wire.len_bytes != block->len_bytes)
        return rmig_err_set(err, -EPROTO,
                            "RAM block %.64s: %llu bytes here, %llu at the destination", block->name,
                            (unsigned long long)block->len_bytes,
                            (unsigned long long)wire.len_bytes);
    if (UINT64_MAX - wire.remote_addr < wire.len_bytes || UINT64_MAX - wire.ram_addr < wire.len_bytes)
        return rmig_err_set(err, -EPROTO,
                            "RAM block %.64s: the destination's addresses 0x%llx and 0x%llx wrap around "
                            "within its %llu bytes", block->name,
                            (unsigned long long)wire.remote_addr, (unsigned long long)wire.ram_addr,
                            (unsigned long long)wire.len_bytes);
    if (source->conn->pin_all && wire.rkey == 0)
        return rmig_err_set(err, -EPROTO, "RAM block %.64s: no key came although all RAM is pinned",
                            block->name);
    source->peers[i].remote_addr = wire.remote_addr;
    source->peers[i].ram_addr = wire.ram_addr;
    if (source->conn->pin_all) {
        uint64_t n = rmig_chunk_count(block->len_bytes);

        for (uint64_t c = 0; c < n; c++)
            source->peers[i].rkeys[c] = wire.rkey;
        rmig_bitmap_set(source->peers[i].wanted, 0, n);
    }
    return 0;
}

/* The source's regions are its own affair: it pins part by part, and can be cancelled in between. */
static int pin_block(struct rmig_rdma_source *source, uint32_t index, struct rmig_err *err)
{
    uint64_t n = rmig_chunk_count(source->table.items[index].len_bytes);
    int rc = 0;

    for (uint64_t first = 0; rc == 0 && first < n; first += PIN_STEP_CHUNKS) {
        const struct rmig_rdma_region *region;

        rc = rmig_rdma_chunks_register(&source->local, index, first,
                                       rmig_min_u64(n - first, PIN_STEP_CHUNKS), &region, err);
        if (rc == 0)
            rc = rmig_rdma_pump_breathe(&source->conn->pump, "pinning RAM", err);
    }
    return rc;
}

static int pin_all_local(struct rmig_rdma_source *source, struct rmig_err *err)
{
    int rc = 0;

    for (uint32_t i = 0; rc == 0 && i < source->table.count; i++)
        rc = pin_block(source, i, err);
    return rc;
}

static int exchange_blocks(struct rmig_rdma_source *source, struct rmig_err *err)
{
    struct rmig_rdma_ctrl *ctrl = &source->conn->ctrl;
    uint32_t expected = source->table.count * RMIG_WIRE_BLOCK_BYTES;
    struct rmig_rdma_msg msg;
    int rc = rmig_rdma_ctrl_send_empty(ctrl, RMIG_WIRE_RAM_BLOCKS_REQUEST, err);

    if (rc == 0 && source->conn->pin_all)
        rc = pin_all_local(source, err); /* while the destination pins its side */
    if (rc == 0)
        rc = rmig_rdma_ctrl_receive(ctrl, RMIG_WIRE_TYPE_BIT(RMIG_WIRE_RAM_BLOCKS_RESULT),
                                    rmig_rdma_pin_time_ms(source->table.total_bytes), &msg, err);
    if (rc < 0)
        return rc;
    if (msg.header.len_bytes != expected)
        return rmig_err_set(err, -EPROTO,
                            "RAM_BLOCKS_RESULT: %u bytes came, %u blocks are %u bytes",
                            msg.header.len_bytes, source->table.count, expected);
    for (uint32_t i = 0; i < source->table.count; i++) {
        rc = take_block(source, i, msg.payload + (size_t)i * RMIG_WIRE_BLOCK_BYTES, err);
        if (rc < 0)
            return rc;
    }
    return rmig_rdma_ctrl_done(ctrl, &msg, err);
}

/* --- hooks ------------------------------------------------------------------------------------ */

int rmig_rdma_source_before(struct rmig_rdma_source *source, enum rmig_hook_flag flag,
                            struct rmig_err *err)
{
    if (!source->peers)
        return rmig_err_set(err, -EINVAL, "source: no RAM blocks set");
    if (flag == RMIG_HOOK_SETUP)
        return 0;
    /* READY behind the hook mark: the destination has dealt with every record of the stream, so no
     * write of this pass can be undone by a zero page of an earlier one. */
    return rmig_rdma_ctrl_wait_credit(&source->conn->ctrl, err);
}

/* One message that a range is all zero. */
static int say_zero(struct rmig_rdma_source *source, uint32_t block_index, uint64_t offset_bytes,
                    uint64_t len_bytes, struct rmig_err *err)
{
    struct rmig_rdma_ctrl *ctrl = &source->conn->ctrl;
    struct rmig_wire_compress compress = {
        .block_index = block_index,
        .ram_addr = source->peers[block_index].ram_addr + offset_bytes,
        .len_bytes = len_bytes,
    };
    uint8_t *payload;
    int slot = rmig_rdma_ctrl_reserve(ctrl, &payload, err);

    if (slot < 0)
        return slot;
    rmig_wire_encode_compress(payload, &compress);
    return rmig_rdma_ctrl_post(ctrl, slot, RMIG_WIRE_COMPRESS, 1, RMIG_WIRE_COMPRESS_BYTES, err);
}

static int save_zero(struct rmig_rdma_source *source, const struct rmig_run *run,
                     struct rmig_err *err)
{
    uint64_t done_bytes = 0;
    int rc = rmig_rdma_source_wait_keys(source, err); /* its reply must not be taken for READY */

    while (rc == 0 && done_bytes < run->len_bytes) {
        uint64_t len_bytes = rmig_min_u64(run->len_bytes - done_bytes, ZERO_MESSAGE_MAX_BYTES);

        rc = say_zero(source, run->block_index, run->offset_bytes + done_bytes, len_bytes, err);
        done_bytes += len_bytes;
    }
    if (rc < 0)
        return rc;
    source->zero_bytes += run->len_bytes;
    return RMIG_PUT_DELAYED;
}

int rmig_rdma_source_save(struct rmig_rdma_source *source, const struct rmig_run *run,
                          struct rmig_err *err)
{
    int rc;

    if (run->flags & RMIG_RUN_ZERO)
        return run->len_bytes < ZERO_MESSAGE_MIN_BYTES ? RMIG_PUT_NOT_SUPPORTED
                                                       : save_zero(source, run, err);
    rc = rmig_rdma_source_put(source, run, err);
    return rc < 0 ? rc : RMIG_PUT_DELAYED;
}

int rmig_rdma_source_after(struct rmig_rdma_source *source, enum rmig_hook_flag flag,
                           struct rmig_err *err)
{
    int rc = flag == RMIG_HOOK_SETUP ? exchange_blocks(source, err)
                                     : rmig_rdma_source_drain(source, err);

    if (rc == 0 && flag != RMIG_HOOK_SETUP)
        rc = rmig_rdma_conn_send_marks(source->conn, err);
    if (rc < 0)
        return rc;
    return rmig_rdma_ctrl_send_empty(&source->conn->ctrl, RMIG_WIRE_REGISTER_FINISHED, err);
}
