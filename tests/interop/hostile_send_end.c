/* SPDX-License-Identifier: BSD-3-Clause */
/* hostile_send_end.c -- destinations that reach for memory, fall silent, or hang up. */
#include "tests/interop/hostile.h"

#include <string.h>

/* As opcode a, with whatever address and key. */
static void reach_into(struct peer *peer)
{
    dest_to(peer, 0, RMIG_WIRE_RAM_BLOCKS_REQUEST);
    if (peer_access(peer, (enum ibv_wr_opcode)peer->hostile->a, 0x10000, 0x100, 8) ==
        IBV_WC_SUCCESS)
        peer_fail(peer, "it was not refused");
}

static void silent(struct peer *peer)
{
    peer_accept(peer, 0);
}

static void silent_when_asked(struct peer *peer)
{
    dest_to(peer, 0, (uint32_t)peer->hostile->a);
}

static void hang_up_when_asked(struct peer *peer)
{
    silent_when_asked(peer);
    peer_hang_up(peer);
}

static void error_when_asked(struct peer *peer)
{
    silent_when_asked(peer);
    peer_say(peer, RMIG_WIRE_ERROR, 1, NULL, 0);
}

/* The device state has come; what would ask for the description does not. */
static void to_devices(struct peer *peer)
{
    peer_accept(peer, 0);
    do
        dest_serve_until(peer, RMIG_WIRE_QEMU_FILE);
    while (peer_ok(peer) && !memmem(peer->payload, peer->len, "timer", 5));
}

static void hang_up_before_the_last(struct peer *peer)
{
    to_devices(peer);
    peer_hang_up(peer);
}

static void error_before_the_last(struct peer *peer)
{
    to_devices(peer);
    peer_say(peer, RMIG_WIRE_ERROR, 1, NULL, 0);
}

static void error_instead_of_the_end(struct peer *peer)
{
    dest_to(peer, RMIG_WIRE_FLAG_MULTI_REGISTER, RMIG_WIRE_NONE);
    peer_say(peer, RMIG_WIRE_ERROR, 1, NULL, 0);
}

static void never_the_end(struct peer *peer)
{
    dest_to(peer, RMIG_WIRE_FLAG_MULTI_REGISTER, RMIG_WIRE_NONE);
}

static const struct hostile_case cases[] = {
    {"S7/write", "ECONNRESET", "hung up while", .play = reach_into, .a = IBV_WR_RDMA_WRITE},
    {"S7/read", "ECONNRESET", "hung up while", .play = reach_into, .a = IBV_WR_RDMA_READ},
    {"S7/atomic", "ECONNRESET", "hung up while", .play = reach_into,
     .a = IBV_WR_ATOMIC_FETCH_AND_ADD},
    {"S8/silent", "ETIMEDOUT", "timed out while waiting for READY", .option = "--progress-deadline=1",
     .play = silent},
    {"S8/silent-for-result", "ETIMEDOUT", "timed out while waiting for", .option = "--progress-deadline=1",
     .relay = true, .play = silent_when_asked, .a = 7},
    {"S8/hang-up-for-blocks", "ECONNRESET", "hung up while waiting for RAM_BLOCKS_RESULT",
     .play = hang_up_when_asked, .a = 4},
    {"S8/hang-up-for-result", "ECONNRESET", "hung up while waiting for", .relay = true,
     .play = hang_up_when_asked, .a = 7},
    {"S8/error-for-blocks", "ECONNABORTED", "reported that it failed \\(ERROR message\\)",
     .play = error_when_asked, .a = 4},
    {"S8/error-for-result", "ECONNABORTED", "reported that it failed \\(ERROR message\\)",
     .play = error_when_asked, .a = 7},
    {"S9/hang-up-before-the-last", "ECONNRESET", "hung up while waiting for READY",
     .play = hang_up_before_the_last},
    {"S9/error-before-the-last", "ECONNABORTED", "reported that it failed \\(ERROR message\\)",
     .relay = true, .play = error_before_the_last},
    {"S9/error-instead-of-the-end", "ECONNABORTED", "reported that it failed \\(ERROR message\\)",
     .play = error_instead_of_the_end},
    {"S9/never-the-end", "ETIMEDOUT", "timed out while waiting for the destination to say",
     .option = "--progress-deadline=1", .play = never_the_end},
};

const struct hostile_table hostile_send_end = HOSTILE_TABLE(HOSTILE_SEND, cases);
