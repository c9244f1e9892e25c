/* SPDX-License-Identifier: BSD-3-Clause */
/* hostile_connect.c -- how a hostile source can ask for a connection, and what lanes can carry. */
#include "tests/interop/hostile.h"

#define SESSION 0x1122334455667788u

/* The one that was turned away was no hindrance: the next is let in and asked for a message. */
static void get_in(struct peer *peer)
{
    peer_connect(peer, 0);
    peer_expect(peer, RMIG_WIRE_READY);
    peer_hang_up(peer);
}

/* The bytes of the case as private data. */
static void private_data(struct peer *peer)
{
    struct bytes bytes = {0};

    bytes_put(&bytes, peer->hostile->bytes);
    peer_dial(peer, bytes.data, (uint8_t)bytes.len);
    bytes_release(&bytes);
    peer_expect_rejected(peer);
    get_in(peer);
}

static void first_lane(struct peer *peer, uint32_t nlanes)
{
    peer_connect_lane(peer, SESSION, 0, nlanes);
}

/* Session a, lane b of c, where lane 1 of 2 is awaited. */
static void other_lane(struct peer *peer)
{
    const struct hostile_case *c = peer->hostile;

    first_lane(peer, 2);
    peer_expect_established(peer);
    peer_connect_lane(peer, c->a, (uint32_t)c->b, (uint32_t)c->c);
    peer_expect_rejected(peer);
    peer_connect_lane(peer, SESSION, 1, 2);
    peer_expect_established(peer);
    peer_expect(peer, RMIG_WIRE_READY);
    peer_hang_up(peer);
}

static void two_lanes(struct peer *peer)
{
    first_lane(peer, 2);
    peer_expect_established(peer);
    peer_connect_lane(peer, SESSION, 1, 2);
    peer_expect_established(peer);
}

static void two_marks(struct peer *peer)
{
    two_lanes(peer);
    peer_expect(peer, RMIG_WIRE_READY);
    peer_send(peer, 1, NULL, 0);
    peer_send(peer, 1, NULL, 0);
}

static void mark_with_immediate(struct peer *peer)
{
    two_lanes(peer);
    peer_expect(peer, RMIG_WIRE_READY);
    peer_send_as(peer, IBV_WR_SEND_WITH_IMM, NULL, 0, 7);
}

static void mark_with_bytes(struct peer *peer)
{
    two_lanes(peer);
    peer_expect(peer, RMIG_WIRE_READY);
    peer_send(peer, 1, "mark", 4);
}

static void pass_without_mark(struct peer *peer)
{
    two_lanes(peer);
    peer_file(peer, "HEADER START LIST MARK");
    source_exchange(peer);
    peer_say_on_ready(peer, RMIG_WIRE_REGISTER_FINISHED, 1, NULL, 0);
    peer_file(peer, "EOS FOOT PART MARK");
    peer_say_on_ready(peer, RMIG_WIRE_REGISTER_FINISHED, 1, NULL, 0);
}

#define TURNED_AWAY "turned away: connection: "
#define HUNG_UP "hung up while waiting for QEMU_FILE"

static const struct hostile_case cases[] = {
    {"R1/private-none", "ECONNRESET", HUNG_UP, TURNED_AWAY ".* version 0, not 1",
     .play = private_data, .bytes = ""},
    {"R1/private-version-2", "ECONNRESET", HUNG_UP, TURNED_AWAY ".* version 2, not 1",
     .play = private_data, .bytes = ":2 :0"},
    {"R1/private-version-swapped", "ECONNRESET", HUNG_UP, TURNED_AWAY ".* version 16777216, not 1",
     .play = private_data, .bytes = "01 00 00 00 :0"},
    {"R1/private-no-lanes", "ECONNRESET", HUNG_UP, TURNED_AWAY "lane 0 of 0, at most 8",
     .play = private_data, .bytes = ":1 :0x20000 ::1 :0 :0"},
    {"R1/private-nine-lanes", "ECONNRESET", HUNG_UP, TURNED_AWAY "lane 0 of 9, at most 8",
     .play = private_data, .bytes = ":1 :0x20000 ::1 :0 :9"},
    {"R1/private-lane-beyond", "ECONNRESET", HUNG_UP, TURNED_AWAY "lane 2 of 2, at most 8",
     .play = private_data, .bytes = ":1 :0x20000 ::1 :2 :2"},
    {"R1/private-not-the-first", "ECONNRESET", HUNG_UP, "turned away: .*lane 1 instead of 0",
     .play = private_data, .bytes = ":1 :0x20000 ::1 :1 :2"},
    {"R2/lane-of-other-session", "ECONNRESET", HUNG_UP, "turned away: lane 1 of 2 of the session",
     .play = other_lane, .a = SESSION + 1, .b = 1, .c = 2},
    {"R2/lane-twice", "ECONNRESET", HUNG_UP, "turned away: lane 1 of 2 of the session",
     .play = other_lane, .a = SESSION, .b = 0, .c = 2},
    {"R2/lane-of-three", "ECONNRESET", HUNG_UP, "turned away: lane 1 of 2 of the session",
     .play = other_lane, .a = SESSION, .b = 1, .c = 3},
    {"R3/mark-without-pass", NULL, "ended a pass twice on queue pair 1", .play = two_marks},
    {"R3/mark-with-immediate", NULL, "immediate data.* on queue pair 1",
     .play = mark_with_immediate},
    {"R3/mark-with-bytes", "EIO", "mark to peer .* failed on queue pair 1 while .*: .*\\(status [12],",
     .play = mark_with_bytes},
    {"R3/pass-without-mark", "ETIMEDOUT", "timed out while waiting for the end of the pass",
     .option = "--progress-deadline=1", .play = pass_without_mark},
    {"R19/pin-all-against-budget", "ECONNRESET", HUNG_UP, "turned away: .*pin budget of 1.0 MiB",
     .option = "--pin-budget=1M", .play = private_data, .bytes = ":1 :1"},
};

const struct hostile_table hostile_connect = HOSTILE_TABLE(HOSTILE_RECEIVE, cases);
