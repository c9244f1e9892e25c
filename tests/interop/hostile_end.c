/* SPDX-License-Identifier: BSD-3-Clause */
/* hostile_end.c -- sources that fall silent, hang up, or go on after the end. */
#include "tests/interop/hostile.h"

static void send_all(struct peer *peer)
{
    source_to_devices(peer);
    peer_file(peer, "DEVICE TAIL");
}

/* A source hangs up when its last message has been taken. */
static void honest(struct peer *peer)
{
    send_all(peer);
    peer_await_sent(peer);
    peer_hang_up(peer);
}

/* The key still is what it was; what it stood for is not. */
static void write_after_end(struct peer *peer)
{
    uint64_t deadline_ns = now_ns() + STEP_MS * UINT64_C(1000000);

    send_all(peer);
    while (peer_ok(peer) && !peer->lanes[0].disconnected) {
        if (now_ns() > deadline_ns)
            peer_fail(peer, "rmig does not hang up");
        peer_poll(peer);
    }
    if (peer_access(peer, IBV_WR_RDMA_WRITE, peer->base, peer->rkey, 8) == IBV_WC_SUCCESS)
        peer_fail(peer, "a write after the end was not refused");
}

static void silent(struct peer *peer)
{
    peer_connect(peer, 0);
    peer_expect(peer, RMIG_WIRE_READY);
}

static void silent_in_pass(struct peer *peer)
{
    source_to_pass(peer, 0);
    peer_expect(peer, RMIG_WIRE_READY);
}

static void say_error(struct peer *peer)
{
    source_to_pass(peer, 0);
    peer_say(peer, RMIG_WIRE_ERROR, 1, NULL, 0);
}

static void hang_up_at_once(struct peer *peer)
{
    silent(peer);
    peer_hang_up(peer);
}

static void hang_up_in_pass(struct peer *peer)
{
    silent_in_pass(peer);
    peer_hang_up(peer);
}

static void hang_up_in_tail(struct peer *peer)
{
    source_to_devices(peer);
    peer_file(peer, "DEVICE");
    peer_expect(peer, RMIG_WIRE_READY);
    peer_hang_up(peer);
}

#define HUNG_UP "hung up while waiting for QEMU_FILE"

static const struct hostile_case cases[] = {
    {"R23/honest", .says = "\"machine\": \"raw\"", .end = END_GOOD, .relay = true, .play = honest},
    {"R23/write-after-end", .says = "\"machine\": \"raw\"", .end = END_GOOD,
     .play = write_after_end},
    {"R26/silent", "ETIMEDOUT", "timed out while waiting for QEMU_FILE", .option = "--progress-deadline=1",
     .play = silent},
    {"R26/silent-in-pass", "ETIMEDOUT", "timed out while waiting for COMPRESS or",
     .option = "--progress-deadline=1", .relay = true, .play = silent_in_pass},
    {"R28/error", "ECONNABORTED", "reported that it failed \\(ERROR message\\)", .relay = true,
     .play = say_error},
    {"R28/hang-up", "ECONNRESET", HUNG_UP, .play = hang_up_at_once},
    {"R28/hang-up-in-pass", "ECONNRESET", "hung up while waiting for COMPRESS or", .relay = true,
     .play = hang_up_in_pass},
    {"R28/hang-up-in-tail", "ECONNRESET", HUNG_UP, .play = hang_up_in_tail},
};

const struct hostile_table hostile_end = HOSTILE_TABLE(HOSTILE_RECEIVE, cases);
