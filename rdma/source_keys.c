/* SPDX-License-Identifier: BSD-3-Clause */
/* source_keys.c -- which chunks want a key; asks the destination for keys and takes them. */
#include "rdma/source_keys.h"

#include <errno.h>
#include <string.h>

#include "common/bitmap.h"

bool rmig_rdma_source_want_keys(struct rmig_rdma_source *source, const struct rmig_run *run)
{
    struct rmig_rdma_peer_block *peer = &source->peers[run->block_index];
    uint64_t first = run->offset_bytes >> RMIG_WIRE_CHUNK_SHIFT;
    uint64_t end = rmig_chunk_count(run->offset_bytes + run->len_bytes);

    for (uint64_t c = rmig_bitmap_next_clear(peer->wanted, end, first); c < end;
         c = rmig_bitmap_next_clear(peer->wanted, end, c + 1)) {
        struct rmig_rdma_want *last = source->nwants ? &source->wants[source->nwants - 1] : NULL;

        if (last && last->block_index == run->block_index &&
            last->first_chunk + last->nchunks == c && last->nchunks < RMIG_SOURCE_ASK_CHUNKS) {
            last->nchunks++;
        } else {
            if (source->nwants == RMIG_SOURCE_ASK_MAX)
                return false;
            source->wants[source->nwants++] = (struct rmig_rdma_want){ run->block_index, c, 1 };
        }
        rmig_bitmap_set(peer->wanted, c, 1);
        source->wanted_chunks++;
    }
    return true;
}

int rmig_rdma_source_ask_keys(struct rmig_rdma_source *source, struct rmig_err *err)
{
    struct rmig_rdma_ctrl *ctrl = &source->conn->ctrl;
    unsigned n = source->conn->multi_register ? source->nwants : 1;
    uint8_t *payload;
    int slot = rmig_rdma_ctrl_reserve(ctrl, &payload, err);
    int rc;

    if (slot < 0)
        return slot;
    for (unsigned i = 0; i < n; i++) {
        const struct rmig_rdma_want *want = &source->wants[i];
        struct rmig_wire_register record = {
            .ram_addr = source->peers[want->block_index].ram_addr +
                        (want->first_chunk << RMIG_WIRE_CHUNK_SHIFT),
            .block_index = want->block_index,
            .extra_chunks = want->nchunks - 1,
        };

        rmig_wire_encode_register(payload + (size_t)i * RMIG_WIRE_REGISTER_BYTES, &record);
        source->asked[i] = *want;
        source->wanted_chunks -= want->nchunks;
    }
    source->nasked = n;
    source->nwants -= n;
    memmove(source->wants, source->wants + n, source->nwants * sizeof(source->wants[0]));
    rc = rmig_rdma_ctrl_post(ctrl, slot, RMIG_WIRE_REGISTER_REQUEST, n,
                             n * RMIG_WIRE_REGISTER_BYTES, err);
    /* This side's regions, while the destination makes its own. */
    for (unsigned i = 0; rc == 0 && i < n; i++) {
        const struct rmig_rdma_region *region;

        rc = rmig_rdma_chunks_register(&source->local, source->asked[i].block_index,
                                       source->asked[i].first_chunk, source->asked[i].nchunks,
                                       &region, err);
    }
    return rc;
}

static int take_key(struct rmig_rdma_source *source, const struct rmig_rdma_want *asked,
                    const uint8_t *record, struct rmig_err *err)
{
    struct rmig_rdma_peer_block *peer = &source->peers[asked->block_index];
    struct rmig_wire_result result;

    rmig_wire_decode_result(record, &result);
    if (result.rkey == 0)
        return rmig_err_set(err, -EPROTO, "REGISTER_RESULT: key 0 for RAM block %.64s",
                            source->table.items[asked->block_index].name);
    if (result.host_addr != peer->remote_addr)
        return rmig_err_set(err, -EPROTO,
                            "REGISTER_RESULT: RAM block %.64s is at 0x%llx now, 0x%llx before",
                            source->table.items[asked->block_index].name,
                            (unsigned long long)result.host_addr,
                            (unsigned long long)peer->remote_addr);
    for (uint64_t c = 0; c < asked->nchunks; c++)
        peer->rkeys[asked->first_chunk + c] = result.rkey;
    return 0;
}

int rmig_rdma_source_take_keys(struct rmig_rdma_source *source, struct rmig_err *err)
{
    struct rmig_rdma_ctrl *ctrl = &source->conn->ctrl;
    uint32_t expected = source->nasked * RMIG_WIRE_RESULT_BYTES;
    struct rmig_rdma_msg msg;
    int rc = rmig_rdma_ctrl_receive(ctrl, RMIG_WIRE_TYPE_BIT(RMIG_WIRE_REGISTER_RESULT), 0, &msg,
                                    err);

    if (rc < 0)
        return rc;
    if (source->nasked == 0 || msg.header.len_bytes != expected)
        return rmig_err_set(err, -EPROTO, "REGISTER_RESULT: %u bytes came, %u were asked for",
                            msg.header.len_bytes, expected);
    for (unsigned i = 0; i < source->nasked; i++) {
        rc = take_key(source, &source->asked[i],
                      msg.payload + (size_t)i * RMIG_WIRE_RESULT_BYTES, err);
        if (rc < 0)
            return rc;
    }
    source->nasked = 0;
    return rmig_rdma_ctrl_done(ctrl, &msg, err);
}

bool rmig_rdma_source_is_ask_due(const struct rmig_rdma_source *source, bool all)
{
    return source->nwants && source->nasked == 0 &&
           (all || source->wanted_chunks >= RMIG_SOURCE_ASK_CHUNKS ||
            source->nwants == RMIG_SOURCE_ASK_MAX);
}
