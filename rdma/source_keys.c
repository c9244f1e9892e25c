/* SPDX-License-Identifier: BSD-3-Clause */
/* source_keys.c -- which chunks want a key; asks the destination for keys and takes them. */
#include "rdma/source_keys.h"

#include <errno.h>
#include <string.h>

#include "common/bitmap.h"
#include "common/overflow.h"

/* The part of a pin budget that is asked for at once. */
#define BUDGET_PART 4u

/* --- places under the pin budget -------------------------------------------------------------- */

/* Has all of a chunk been written that was queued, and arrived? */
static bool may_go(void *arg, const struct rmig_rdma_pin *pin)
{
    const struct rmig_rdma_source *source = arg;
    const struct rmig_rdma_use *use = rmig_rdma_pins_use(&source->pins, pin->block_index, pin->chunk);
    unsigned lane = rmig_rdma_source_lane_of(source, pin->chunk);

    return use->queued_bytes == 0 && use->last_write <= source->lanes[lane].completed;
}

/* Toward a destination without a budget keys stay: this side's region alone is let go. */
static int let_go(struct rmig_rdma_source *source, const struct rmig_rdma_pin *pin,
                  struct rmig_err *err)
{
    struct rmig_rdma_peer_block *peer = &source->peers[pin->block_index];

    if (source->conn->unregister) {
        peer->rkeys[pin->chunk] = 0;
        rmig_bitmap_clear(peer->wanted, pin->chunk, 1);
        source->gone[source->ngone++] = *pin;
    }
    return rmig_rdma_chunks_deregister(&source->local, pin->block_index, pin->chunk, 1, err);
}

int rmig_rdma_source_admit(struct rmig_rdma_source *source, uint32_t block_index, uint64_t chunk,
                           struct rmig_err *err)
{
    struct rmig_rdma_pin pin = { block_index, chunk }, gone;
    const struct rmig_rdma_region *region;
    int rc;

    if (source->pins.nplaces == 0 || rmig_rdma_pins_use(&source->pins, block_index, chunk)->place)
        return 1;
    if (source->ngone == RMIG_SOURCE_ASK_MAX)
        return 0;
    rc = rmig_rdma_pins_place(&source->pins, &pin, may_go, source, &gone);
    if (rc == -EAGAIN)
        return 0;
    if (rc > 0)
        rc = let_go(source, &gone, err);
    if (rc == 0 && source->peers[block_index].rkeys[chunk])
        rc = rmig_rdma_chunks_register(&source->local, block_index, chunk, 1, &region, err);
    return rc < 0 ? rc : 1;
}

/* --- keys ------------------------------------------------------------------------------------- */

/*
 * Bytes that are worth a request, whatever the length of their blocks. At first those of a chunk, so that writing
 * begins at once, then twice as many with each request; with a budget a part of it, so that the rest is written
 * meanwhile.
 */
static uint64_t group_bytes(const struct rmig_rdma_source *source)
{
    uint64_t most = rmig_min_u64(UINT64_C(1) << source->nrequests, RMIG_SOURCE_ASK_CHUNKS);

    if (source->pins.nplaces)
        most = rmig_min_u64(rmig_max_u64(source->pins.nplaces / BUDGET_PART, 1), most);
    return most << RMIG_WIRE_CHUNK_SHIFT;
}

/* Of the chunks, which but for the last of a block are whole. */
static uint64_t want_bytes(const struct rmig_rdma_source *source, const struct rmig_rdma_want *want)
{
    uint64_t block_bytes = source->table.items[want->block_index].len_bytes;
    uint64_t at = want->first_chunk << RMIG_WIRE_CHUNK_SHIFT;

    return rmig_min_u64(want->nchunks << RMIG_WIRE_CHUNK_SHIFT, block_bytes - at);
}

/* With a budget chunks come and go one by one. */
static uint64_t want_max_chunks(const struct rmig_rdma_source *source)
{
    return source->pins.nplaces ? 1 : RMIG_SOURCE_ASK_CHUNKS;
}

bool rmig_rdma_source_want_keys(struct rmig_rdma_source *source, const struct rmig_run *run)
{
    struct rmig_rdma_peer_block *peer = &source->peers[run->block_index];
    uint64_t first = run->offset_bytes >> RMIG_WIRE_CHUNK_SHIFT;
    uint64_t end = rmig_chunk_count(run->offset_bytes + run->len_bytes);

    for (uint64_t c = rmig_bitmap_next_clear(peer->wanted, end, first); c < end;
         c = rmig_bitmap_next_clear(peer->wanted, end, c + 1)) {
        struct rmig_rdma_want *last = source->nwants ? &source->wants[source->nwants - 1] : NULL;

        if (last && last->block_index == run->block_index &&
            last->first_chunk + last->nchunks == c && last->nchunks < want_max_chunks(source)) {
            last->nchunks++;
        } else {
            if (source->nwants == RMIG_SOURCE_ASK_MAX)
                return false;
            source->wants[source->nwants++] = (struct rmig_rdma_want){ run->block_index, c, 1 };
        }
        rmig_bitmap_set(peer->wanted, c, 1);
        source->wanted_bytes += want_bytes(source, &(struct rmig_rdma_want){ run->block_index, c, 1 });
    }
    return true;
}

static void put_record(const struct rmig_rdma_source *source, uint8_t *payload, unsigned i,
                       const struct rmig_rdma_want *want)
{
    struct rmig_wire_register record = {
        .ram_addr = source->peers[want->block_index].ram_addr +
                    (want->first_chunk << RMIG_WIRE_CHUNK_SHIFT),
        .block_index = want->block_index,
        .extra_chunks = want->nchunks - 1,
    };

    rmig_wire_encode_register(payload + (size_t)i * RMIG_WIRE_REGISTER_BYTES, &record);
}

/* The destination is to unregister what has lost its place. */
static int release_keys(struct rmig_rdma_source *source, struct rmig_err *err)
{
    struct rmig_rdma_ctrl *ctrl = &source->conn->ctrl;
    unsigned n = source->ngone;
    uint8_t *payload;
    int slot = rmig_rdma_ctrl_reserve(ctrl, &payload, err);

    if (slot < 0)
        return slot;
    for (unsigned i = 0; i < n; i++)
        put_record(source, payload, i,
                   &(struct rmig_rdma_want){ source->gone[i].block_index, source->gone[i].chunk, 1 });
    source->nreleased = n;
    source->ngone = 0;
    return rmig_rdma_ctrl_post(ctrl, slot, RMIG_WIRE_UNREGISTER_REQUEST, n,
                               n * RMIG_WIRE_REGISTER_BYTES, err);
}

static int request_keys(struct rmig_rdma_source *source, struct rmig_err *err)
{
    struct rmig_rdma_ctrl *ctrl = &source->conn->ctrl;
    unsigned n = source->conn->multi_register ? source->nwants : 1;
    uint8_t *payload;
    int slot = rmig_rdma_ctrl_reserve(ctrl, &payload, err);

    if (slot < 0)
        return slot;
    for (unsigned i = 0; i < n; i++) {
        put_record(source, payload, i, &source->wants[i]);
        source->asked[i] = source->wants[i];
        source->wanted_bytes -= want_bytes(source, &source->wants[i]);
    }
    source->nasked = n;
    source->nregistered = 0;
    source->nrequests = (unsigned)rmig_min_u64(source->nrequests + 1, RMIG_SOURCE_ASK_CHUNKS);
    source->nwants -= n;
    memmove(source->wants, source->wants + n, source->nwants * sizeof(source->wants[0]));
    return rmig_rdma_ctrl_post(ctrl, slot, RMIG_WIRE_REGISTER_REQUEST, n, n * RMIG_WIRE_REGISTER_BYTES, err);
}

int rmig_rdma_source_register_asked(struct rmig_rdma_source *source, struct rmig_err *err)
{
    for (; source->nregistered < source->nasked; source->nregistered++) {
        const struct rmig_rdma_want *asked = &source->asked[source->nregistered];
        const struct rmig_rdma_region *region;
        int rc = rmig_rdma_chunks_register(&source->local, asked->block_index, asked->first_chunk,
                                           asked->nchunks, &region, err);

        if (rc < 0)
            return rc;
    }
    return 0;
}

int rmig_rdma_source_ask_keys(struct rmig_rdma_source *source, struct rmig_err *err)
{
    return source->ngone ? release_keys(source, err) : request_keys(source, err);
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

static int take_released(struct rmig_rdma_source *source, const struct rmig_rdma_msg *msg,
                         struct rmig_err *err)
{
    if (msg->header.repeat != source->nreleased)
        return rmig_err_set(err, -EPROTO, "UNREGISTER_FINISHED: for %u chunks, %u were asked for",
                            msg->header.repeat, source->nreleased);
    source->nreleased = 0;
    return rmig_rdma_ctrl_done(&source->conn->ctrl, msg, err);
}

int rmig_rdma_source_take_keys(struct rmig_rdma_source *source, struct rmig_err *err)
{
    struct rmig_rdma_ctrl *ctrl = &source->conn->ctrl;
    uint32_t expected = source->nasked * RMIG_WIRE_RESULT_BYTES;
    enum rmig_wire_type reply = source->nreleased ? RMIG_WIRE_UNREGISTER_FINISHED
                                                  : RMIG_WIRE_REGISTER_RESULT;
    struct rmig_rdma_msg msg;
    int rc = rmig_rdma_ctrl_receive(ctrl, RMIG_WIRE_TYPE_BIT(reply), 0, &msg, err);

    if (rc < 0)
        return rc;
    if (source->nreleased)
        return take_released(source, &msg, err);
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
    return source->nwants && !rmig_rdma_source_is_asking(source) &&
           (all || source->wanted_bytes >= group_bytes(source) ||
            source->nwants == RMIG_SOURCE_ASK_MAX);
}
