/* SPDX-License-Identifier: BSD-3-Clause */
/* source_write.c -- asks for keys ahead of use and keeps RDMA writes in flight. */
#include "rdma/source_write.h"

#include <errno.h>
#include <string.h>

#include "common/bitmap.h"
#include "common/clock.h"
#include "common/overflow.h"

/* Chunks that are asked for at once: enough to write while the next request is answered. */
#define ASK_CHUNKS 16u

/* Runs are queued up to this, on a slow link to less; beyond it put() waits. Twice what one request
 * covers. */
#define QUEUE_BYTES ((uint64_t)2 * ASK_CHUNKS * RMIG_WIRE_CHUNK_BYTES)

/* Writes are started once this much, or a whole chain of runs, is queued. */
#define START_BYTES RMIG_WIRE_CHUNK_BYTES

/* Bytes in flight on all queue pairs together: covers the link, and lets a request for keys get
 * through between the writes. */
#define FLIGHT_BYTES ((uint64_t)8 << 20)

/*
 * A destination hears nothing of writes: what is queued and in flight has to be through before its
 * idle time is over. A quarter and an eighth of that time are spent on them, which leaves as much for
 * a link that becomes slower. Until the rate is known half of the most is queued and in flight; it is
 * measured anew every so often.
 */
#define QUEUE_TIME_PART 4u
#define FLIGHT_TIME_PART 8u
#define MEASURE_LEAST_NS (100 * RMIG_NS_PER_MS)
#define MEASURE_MOST_NS (500 * RMIG_NS_PER_MS)

/* One completion for so many writes or this part of the flight, whichever comes first. */
#define SIGNAL_INTERVAL 16u
#define SIGNAL_FLIGHT_PART 4u

#define RING (sizeof(((struct rmig_rdma_source_lane *)0)->ring_bytes) / sizeof(uint64_t))

/* --- pace ------------------------------------------------------------------------------------- */

/* Writes of so many bytes have completed. They complete in bursts: a short time tells nothing. */
static void measure(struct rmig_rdma_source *source, uint64_t len_bytes)
{
    uint64_t now_ns = rmig_now_ns();
    uint64_t us = rmig_max_u64((now_ns - source->measured_from_ns) / 1000, 1);

    source->measured_bytes += len_bytes;
    if (source->measured_bytes == 0 || (source->bytes_per_s && us * 1000 < MEASURE_LEAST_NS))
        return;
    source->bytes_per_s = rmig_max_u64(source->measured_bytes * 1000 / us * 1000, 1);
    if (us * 1000 < MEASURE_MOST_NS)
        return;
    source->measured_from_ns = now_ns;
    source->measured_bytes = 0;
}

/* What the link moves in this part of the idle time: a chunk at least, most_bytes at most. */
static uint64_t paced_bytes(const struct rmig_rdma_source *source, unsigned time_part,
                            uint64_t most_bytes)
{
    uint64_t ms = source->conn->idle_timeout_ms / time_part;

    if (source->bytes_per_s == 0)
        return most_bytes / 2;
    return rmig_min_u64(rmig_max_u64(source->bytes_per_s / 1000 * ms, RMIG_WIRE_CHUNK_BYTES),
                        most_bytes);
}

static uint64_t queue_limit(const struct rmig_rdma_source *source)
{
    return paced_bytes(source, QUEUE_TIME_PART, QUEUE_BYTES);
}

static uint64_t flight_limit(const struct rmig_rdma_source *source)
{
    return paced_bytes(source, FLIGHT_TIME_PART, FLIGHT_BYTES);
}

/* --- completions ------------------------------------------------------------------------------ */

static int on_written(void *opaque, unsigned lane_index, const struct rmig_rdma_wc *wc,
                      struct rmig_err *err)
{
    struct rmig_rdma_source *source = opaque;
    struct rmig_rdma_source_lane *lane = &source->lanes[lane_index];

    uint64_t done_bytes = lane->ring_bytes[RMIG_RDMA_WR_VALUE(wc->wr_id) % RING];

    (void)err;
    measure(source, done_bytes - lane->bytes_completed);
    /* Completions of one queue pair are in order: all earlier writes are done as well. */
    lane->completed = RMIG_RDMA_WR_VALUE(wc->wr_id) + 1;
    lane->bytes_completed = done_bytes;
    source->completions_seen++;
    return 0;
}

void rmig_rdma_source_write_init(struct rmig_rdma_source *source)
{
    rmig_rdma_pump_set_handler(&source->conn->pump, RMIG_RDMA_WR_WRITE, on_written, source);
}

/* --- keys ------------------------------------------------------------------------------------- */

/* Put the chunks of a run that have no key on the list of wants. Returns: false if it is full. */
static bool want_keys(struct rmig_rdma_source *source, const struct rmig_run *run)
{
    struct rmig_rdma_peer_block *peer = &source->peers[run->block_index];
    uint64_t first = run->offset_bytes >> RMIG_WIRE_CHUNK_SHIFT;
    uint64_t end = rmig_chunk_count(run->offset_bytes + run->len_bytes);

    for (uint64_t c = rmig_bitmap_next_clear(peer->wanted, end, first); c < end;
         c = rmig_bitmap_next_clear(peer->wanted, end, c + 1)) {
        struct rmig_rdma_want *last = source->nwants ? &source->wants[source->nwants - 1] : NULL;

        if (last && last->block_index == run->block_index &&
            last->first_chunk + last->nchunks == c && last->nchunks < ASK_CHUNKS) {
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

/* Send one request for the first wants: one record to a stock peer, as many as there are else. */
static int ask_keys(struct rmig_rdma_source *source, struct rmig_err *err)
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

static int take_keys(struct rmig_rdma_source *source, struct rmig_err *err)
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

/* --- writes ----------------------------------------------------------------------------------- */

static uint64_t bytes_in_flight(const struct rmig_rdma_source *source)
{
    uint64_t bytes = 0;

    for (unsigned i = 0; i < source->conn->pump.nlanes; i++)
        bytes += source->lanes[i].bytes_posted - source->lanes[i].bytes_completed;
    return bytes;
}

static int post_chain(struct rmig_rdma_source *source, unsigned lane_index, struct rmig_err *err)
{
    struct rmig_rdma_source_lane *lane = &source->lanes[lane_index];
    const struct rmig_rdma_pump *pump = &source->conn->pump;
    unsigned n = lane->nchain;
    int rc;

    if (n == 0)
        return 0;
    lane->nchain = 0;
    source->doorbells++;
    rc = rmig_rdma_verbs_post_writes(pump->lanes[lane_index].verbs, lane->chain, n, err);
    if (rc < 0)
        rmig_err_prefix(err, "RDMA write to peer %s", pump->peer);
    return rc;
}

static int post_chains(struct rmig_rdma_source *source, struct rmig_err *err)
{
    for (unsigned i = 0; i < source->conn->pump.nlanes; i++) {
        int rc = post_chain(source, i, err);

        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Is this lane's last write to be signalled? Always before the queue or the flight could fill up. */
static bool wants_signal(const struct rmig_rdma_source *source,
                         const struct rmig_rdma_source_lane *lane)
{
    return lane->posted - lane->signalled >=
               rmig_min_u64(SIGNAL_INTERVAL, source->conn->max_writes / 2) ||
           lane->bytes_posted - lane->bytes_signalled >=
               flight_limit(source) / SIGNAL_FLIGHT_PART / source->conn->pump.nlanes ||
           bytes_in_flight(source) >= flight_limit(source);
}

/* Append one write to a lane's chain. Requires: room in the send queue. */
static int add_write(struct rmig_rdma_source *source, unsigned lane_index,
                     struct rmig_rdma_write write, struct rmig_err *err)
{
    struct rmig_rdma_source_lane *lane = &source->lanes[lane_index];

    if (bytes_in_flight(source) == 0) { /* the link was idle until now */
        source->measured_from_ns = rmig_now_ns();
        source->measured_bytes = 0;
    }
    write.wr_id = RMIG_RDMA_WR_ID(RMIG_RDMA_WR_WRITE, lane->posted);
    lane->bytes_posted += write.len_bytes;
    lane->ring_bytes[lane->posted % RING] = lane->bytes_posted;
    lane->posted++;
    write.signalled = write.signalled || wants_signal(source, lane);
    if (write.signalled) {
        lane->signalled = lane->posted;
        lane->bytes_signalled = lane->bytes_posted;
    }
    lane->chain[lane->nchain++] = write;
    source->write_wrs++;
    source->write_bytes += write.len_bytes;
    return lane->nchain == RMIG_RDMA_POST_MAX ? post_chain(source, lane_index, err) : 0;
}

static bool lane_has_room(const struct rmig_rdma_source *source,
                          const struct rmig_rdma_source_lane *lane)
{
    return lane->posted - lane->completed < source->conn->max_writes;
}

static bool awaits_completion(const struct rmig_rdma_source *source)
{
    for (unsigned i = 0; i < source->conn->pump.nlanes; i++)
        if (source->lanes[i].completed < source->lanes[i].signalled)
            return true;
    return false;
}

/* The limit sinks with the rate of the link, below what is in flight unsignalled even: then one more
 * write goes out, which is signalled, or no completion would ever make room. */
static bool flight_is_full(const struct rmig_rdma_source *source)
{
    return bytes_in_flight(source) >= flight_limit(source) && awaits_completion(source);
}

/* Start as many queued writes as have keys and room. A chunk stays on one queue pair. */
static int start_writes(struct rmig_rdma_source *source, struct rmig_err *err)
{
    const struct rmig_run *run;

    while ((run = rmig_rdma_batch_head(&source->batch))) {
        uint64_t chunk = run->offset_bytes >> RMIG_WIRE_CHUNK_SHIFT;
        struct rmig_rdma_peer_block *peer = &source->peers[run->block_index];
        unsigned lane_index = chunk % source->conn->pump.nlanes;
        uint64_t len_bytes = rmig_min_u64(
            run->len_bytes, RMIG_WIRE_CHUNK_BYTES - run->offset_bytes % RMIG_WIRE_CHUNK_BYTES);
        const struct rmig_rdma_region *region;
        int rc;

        if (!peer->rkeys[chunk] || !lane_has_room(source, &source->lanes[lane_index]) ||
            flight_is_full(source))
            break;
        region = rmig_rdma_chunks_find(&source->local, run->block_index, chunk);
        rc = add_write(source, lane_index,
                       (struct rmig_rdma_write){
                           .local = (uint8_t *)source->table.items[run->block_index].host +
                                    run->offset_bytes,
                           .remote_addr = peer->remote_addr + run->offset_bytes,
                           .len_bytes = (uint32_t)len_bytes,
                           .lkey = region->mr.lkey,
                           .rkey = peer->rkeys[chunk],
                       },
                       err);
        if (rc < 0)
            return rc;
        rmig_rdma_batch_consume(&source->batch, len_bytes);
    }
    return post_chains(source, err);
}

/* --- progress --------------------------------------------------------------------------------- */

/* Is a request due as soon as there is a READY for it? all: also one for less than a full group. */
static bool is_ask_due(const struct rmig_rdma_source *source, bool all)
{
    return source->nwants && source->nasked == 0 &&
           (all || source->wanted_chunks >= ASK_CHUNKS || source->nwants == RMIG_SOURCE_ASK_MAX);
}

/*
 * Take keys that have come, ask for more, start writes. all: also ask for less than a full group.
 * The request goes before the writes: it reaches the destination while they are on their way.
 */
static int progress(struct rmig_rdma_source *source, bool all, struct rmig_err *err)
{
    struct rmig_rdma_ctrl *ctrl = &source->conn->ctrl;
    int rc = rmig_rdma_pump_once(&source->conn->pump, err);

    if (rc == 0 && rmig_rdma_ctrl_has_message(ctrl))
        rc = take_keys(source, err);
    if (rc == 0 && ctrl->credits && is_ask_due(source, all))
        rc = ask_keys(source, err);
    return rc < 0 ? rc : start_writes(source, err);
}

struct change {
    const struct rmig_rdma_source *source;
    uint64_t completions_seen;
    bool wants_credit;
};

static bool has_changed(void *arg)
{
    const struct change *change = arg;
    const struct rmig_rdma_source *source = change->source;

    return source->completions_seen != change->completions_seen ||
           rmig_rdma_ctrl_has_message(&source->conn->ctrl) ||
           (change->wants_credit && source->conn->ctrl.credits);
}

/* Wait for a completed write, an answer, or the READY that the next request needs. all: as progress
 * gets it next; a READY that it would leave unused ends no wait. */
static int wait_change(struct rmig_rdma_source *source, bool all, struct rmig_err *err)
{
    struct change change = {
        .source = source,
        .completions_seen = source->completions_seen,
        .wants_credit = is_ask_due(source, all),
    };

    return rmig_rdma_pump_until(&source->conn->pump, has_changed, &change,
                                rmig_deadline_ns(source->conn->idle_timeout_ms),
                                "waiting for RDMA writes", err);
}

/* Does the oldest run wait for a key that nobody has asked for? */
static bool is_starved(const struct rmig_rdma_source *source)
{
    const struct rmig_run *run = rmig_rdma_batch_head(&source->batch);

    return run && source->nasked == 0 &&
           !source->peers[run->block_index].rkeys[run->offset_bytes >> RMIG_WIRE_CHUNK_SHIFT];
}

int rmig_rdma_source_put(struct rmig_rdma_source *source, const struct rmig_run *run,
                         struct rmig_err *err)
{
    int rc = 0;

    while (rc == 0 && !want_keys(source, run)) {
        rc = progress(source, true, err);
        if (rc == 0 && source->nwants == RMIG_SOURCE_ASK_MAX)
            rc = wait_change(source, true, err);
    }
    while (rc == 0 && !rmig_rdma_batch_add(&source->batch, run)) {
        rc = progress(source, true, err);
        if (rc == 0 && source->batch.count == RMIG_BATCH_RUNS_MAX)
            rc = wait_change(source, true, err);
    }
    if (rc == 0 && (source->batch.count >= RMIG_RDMA_POST_MAX || source->batch.bytes >= START_BYTES))
        rc = progress(source, false, err);
    while (rc == 0 && source->batch.bytes >= queue_limit(source)) {
        rc = wait_change(source, is_starved(source), err);
        if (rc == 0)
            rc = progress(source, is_starved(source), err);
    }
    return rc;
}

static bool keys_settled(void *arg)
{
    const struct rmig_rdma_source *source = arg;

    return rmig_rdma_ctrl_has_message(&source->conn->ctrl);
}

int rmig_rdma_source_wait_keys(struct rmig_rdma_source *source, struct rmig_err *err)
{
    int rc;

    if (source->nasked == 0)
        return 0;
    rc = rmig_rdma_pump_until(&source->conn->pump, keys_settled, source,
                              rmig_deadline_ns(source->conn->idle_timeout_ms),
                              "waiting for REGISTER_RESULT", err);
    return rc < 0 ? rc : take_keys(source, err);
}

static bool all_complete(const struct rmig_rdma_source *source)
{
    for (unsigned i = 0; i < source->conn->pump.nlanes; i++)
        if (source->lanes[i].completed != source->lanes[i].posted)
            return false;
    return true;
}

/* Have a completion behind the last write of each queue pair: a signalled write of no bytes. */
static int fence(struct rmig_rdma_source *source, struct rmig_err *err)
{
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < source->conn->pump.nlanes; i++) {
        struct rmig_rdma_source_lane *lane = &source->lanes[i];

        if (lane->signalled == lane->posted)
            continue;
        while (rc == 0 && !lane_has_room(source, lane))
            rc = wait_change(source, true, err);
        if (rc == 0)
            rc = add_write(source, i, (struct rmig_rdma_write){ .signalled = true }, err);
    }
    return rc < 0 ? rc : post_chains(source, err);
}

int rmig_rdma_source_drain(struct rmig_rdma_source *source, struct rmig_err *err)
{
    int rc = progress(source, true, err);

    while (rc == 0 && (source->batch.count || source->nwants || source->nasked)) {
        rc = wait_change(source, true, err);
        if (rc == 0)
            rc = progress(source, true, err);
    }
    if (rc == 0)
        rc = fence(source, err);
    while (rc == 0 && !all_complete(source))
        rc = wait_change(source, true, err);
    return rc;
}
