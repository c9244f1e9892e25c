/* SPDX-License-Identifier: BSD-3-Clause */
/* source_write.c -- keeps RDMA writes in flight, and has keys asked for ahead of use. */
#include "rdma/source_write.h"

#include <errno.h>
#include <string.h>

#include "common/clock.h"
#include "common/overflow.h"
#include "rdma/source_keys.h"

/* Runs are queued up to this, on a slow link to less; beyond it put() waits. Twice what one request
 * covers. */
#define QUEUE_BYTES ((uint64_t)2 * RMIG_SOURCE_ASK_CHUNKS * RMIG_WIRE_CHUNK_BYTES)

/* Writes are started once this much, or a whole chain of runs, is queued. */
#define START_BYTES RMIG_WIRE_CHUNK_BYTES

/* Bytes in flight on all queue pairs together: covers the link, and lets a request for keys get
 * through between the writes. */
#define FLIGHT_BYTES ((uint64_t)8 << 20)

/*
 * A destination hears nothing of writes: what is queued and in flight has to be through before its
 * idle time is over. A quarter and an eighth of that time at most are spent on them, which leaves as
 * much for a link that becomes slower. And the caller, who limits the time and shows the rate, is to
 * be back several times a second. Until the rate is known two chunks are queued and in flight; it
 * is measured anew every so often.
 */
#define UNKNOWN_BYTES (2 * RMIG_WIRE_CHUNK_BYTES)
#define QUEUE_MOST_MS 250u
#define QUEUE_TIME_PART 4u
#define FLIGHT_MOST_MS 125u
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

/* What the link moves in so many ms: a chunk at least, most_bytes at most. */
static uint64_t paced_bytes(const struct rmig_rdma_source *source, uint64_t ms, uint64_t most_bytes)
{
    if (source->bytes_per_s == 0)
        return rmig_min_u64(most_bytes, UNKNOWN_BYTES);
    return rmig_min_u64(rmig_max_u64(source->bytes_per_s / 1000 * ms, RMIG_WIRE_CHUNK_BYTES),
                        most_bytes);
}

static uint64_t queue_limit(const struct rmig_rdma_source *source)
{
    uint64_t part_ms = source->conn->idle_timeout_ms / QUEUE_TIME_PART;

    return paced_bytes(source, rmig_min_u64(part_ms, QUEUE_MOST_MS), QUEUE_BYTES);
}

static uint64_t flight_limit(const struct rmig_rdma_source *source)
{
    uint64_t part_ms = source->conn->idle_timeout_ms / FLIGHT_TIME_PART;

    return paced_bytes(source, rmig_min_u64(part_ms, FLIGHT_MOST_MS), FLIGHT_BYTES);
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

/* Under a pin budget: a part of a run was handed to the queue pair. */
static void note_write(struct rmig_rdma_source *source, uint32_t block_index, uint64_t chunk,
                       uint64_t len_bytes)
{
    struct rmig_rdma_use *use;

    if (source->pins.nplaces == 0)
        return;
    use = rmig_rdma_pins_use(&source->pins, block_index, chunk);
    use->queued_bytes -= (uint32_t)len_bytes;
    use->last_write = source->lanes[rmig_rdma_source_lane_of(source, chunk)].posted;
}

/* Start as many queued writes as have keys and room. */
static int start_writes(struct rmig_rdma_source *source, struct rmig_err *err)
{
    const struct rmig_run *run;

    while ((run = rmig_rdma_batch_head(&source->batch))) {
        uint64_t chunk = run->offset_bytes >> RMIG_WIRE_CHUNK_SHIFT;
        struct rmig_rdma_peer_block *peer = &source->peers[run->block_index];
        unsigned lane_index = rmig_rdma_source_lane_of(source, chunk);
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
        note_write(source, run->block_index, chunk, len_bytes);
        rmig_rdma_batch_consume(&source->batch, len_bytes);
    }
    return post_chains(source, err);
}

/* --- progress --------------------------------------------------------------------------------- */

/*
 * Take keys that have come, ask for more, start writes. all: also ask for less than a full group.
 * The request goes before the writes: it reaches the destination while they are on their way. This
 * side's regions for it are made after them: pinning takes a while.
 */
static int progress(struct rmig_rdma_source *source, bool all, struct rmig_err *err)
{
    struct rmig_rdma_ctrl *ctrl = &source->conn->ctrl;
    int rc = rmig_rdma_pump_once(&source->conn->pump, err);

    if (rc == 0 && rmig_rdma_ctrl_has_message(ctrl))
        rc = rmig_rdma_source_take_keys(source, err);
    if (rc == 0 && ctrl->credits && rmig_rdma_source_is_ask_due(source, all))
        rc = rmig_rdma_source_ask_keys(source, err);
    if (rc == 0)
        rc = start_writes(source, err);
    return rc < 0 ? rc : rmig_rdma_source_register_asked(source, err);
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
        .wants_credit = rmig_rdma_source_is_ask_due(source, all),
    };

    return rmig_rdma_pump_until(&source->conn->pump, has_changed, &change,
                                rmig_deadline_ns(source->conn->idle_timeout_ms),
                                "waiting for RDMA writes", err);
}

/* Does the oldest run wait for a key that nobody has asked for? */
static bool is_starved(const struct rmig_rdma_source *source)
{
    const struct rmig_run *run = rmig_rdma_batch_head(&source->batch);

    return run && !rmig_rdma_source_is_asking(source) &&
           !source->peers[run->block_index].rkeys[run->offset_bytes >> RMIG_WIRE_CHUNK_SHIFT];
}

/* Queue a run whose chunks have places, if there is a budget. */
static int put_placed(struct rmig_rdma_source *source, const struct rmig_run *run,
                      struct rmig_err *err)
{
    int rc = 0;

    while (rc == 0 && !rmig_rdma_source_want_keys(source, run)) {
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

/* Wait until a chunk has a place under the pin budget. What is written unsignalled holds places too. */
static int await_place(struct rmig_rdma_source *source, uint32_t block_index, uint64_t chunk,
                       struct rmig_err *err)
{
    int rc = rmig_rdma_source_admit(source, block_index, chunk, err);

    while (rc == 0) {
        rc = progress(source, true, err);
        if (rc == 0)
            rc = rmig_rdma_source_admit(source, block_index, chunk, err);
        if (rc == 0 && !awaits_completion(source))
            rc = fence(source, err);
        if (rc == 0)
            rc = wait_change(source, true, err);
    }
    return rc < 0 ? rc : 0;
}

/* Chunk by chunk: one run may be longer than the budget. The batch joins them again. */
static int put_in_places(struct rmig_rdma_source *source, const struct rmig_run *run,
                         struct rmig_err *err)
{
    struct rmig_run part = *run;
    uint64_t end_bytes = run->offset_bytes + run->len_bytes;
    int rc = 0;

    for (; rc == 0 && part.offset_bytes < end_bytes; part.offset_bytes += part.len_bytes) {
        uint64_t chunk = part.offset_bytes >> RMIG_WIRE_CHUNK_SHIFT;

        part.len_bytes = rmig_min_u64((chunk + 1) << RMIG_WIRE_CHUNK_SHIFT, end_bytes) -
                         part.offset_bytes;
        rc = await_place(source, part.block_index, chunk, err);
        if (rc < 0)
            return rc;
        rmig_rdma_pins_use(&source->pins, part.block_index, chunk)->queued_bytes +=
            (uint32_t)part.len_bytes;
        rc = put_placed(source, &part, err);
    }
    return rc;
}

int rmig_rdma_source_put(struct rmig_rdma_source *source, const struct rmig_run *run,
                         struct rmig_err *err)
{
    return source->pins.nplaces ? put_in_places(source, run, err) : put_placed(source, run, err);
}

static bool keys_settled(void *arg)
{
    const struct rmig_rdma_source *source = arg;

    return rmig_rdma_ctrl_has_message(&source->conn->ctrl);
}

int rmig_rdma_source_wait_keys(struct rmig_rdma_source *source, struct rmig_err *err)
{
    int rc;

    if (!rmig_rdma_source_is_asking(source))
        return 0;
    rc = rmig_rdma_pump_until(&source->conn->pump, keys_settled, source,
                              rmig_deadline_ns(source->conn->idle_timeout_ms),
                              "waiting for REGISTER_RESULT", err);
    return rc < 0 ? rc : rmig_rdma_source_take_keys(source, err);
}

static bool all_complete(const struct rmig_rdma_source *source)
{
    for (unsigned i = 0; i < source->conn->pump.nlanes; i++)
        if (source->lanes[i].completed != source->lanes[i].posted)
            return false;
    return true;
}

int rmig_rdma_source_drain(struct rmig_rdma_source *source, struct rmig_err *err)
{
    int rc = progress(source, true, err);

    while (rc == 0 && (source->batch.count || source->nwants || rmig_rdma_source_is_asking(source))) {
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
