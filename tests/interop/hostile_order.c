/* SPDX-License-Identifier: BSD-3-Clause */
/* hostile_order.c -- messages of a hostile source where they are not allowed. */
#include "tests/interop/hostile.h"

#include <signal.h>
#include <sys/wait.h>

/* Of type a, with a payload of b bytes that this type can have, first of all. */
static void outside(struct peer *peer)
{
    static const uint8_t zeros[64];

    peer_connect(peer, 0);
    peer_say_on_ready(peer, (uint32_t)peer->hostile->a, 1, zeros, (uint32_t)peer->hostile->b);
}

static void before_exchange(struct peer *peer)
{
    static const uint8_t zeros[64];

    source_to_mark(peer, 0);
    peer_say_on_ready(peer, (uint32_t)peer->hostile->a, 1, zeros, (uint32_t)peer->hostile->b);
}

static void inside(struct peer *peer)
{
    static const uint8_t zeros[64];

    source_to_pass(peer, 0);
    peer_say_on_ready(peer, (uint32_t)peer->hostile->a, 1, zeros, (uint32_t)peer->hostile->b);
}

/* No READY is waited for. rmig stands still meanwhile, or one might come between each two. */
static void flood(struct peer *peer)
{
    siginfo_t stopped;

    peer_connect(peer, 0);
    peer_file(peer, "HEADER START :0 20");
    if (kill(peer->rmig_pid, SIGSTOP) < 0 || waitid(P_PID, (id_t)peer->rmig_pid, &stopped, WSTOPPED) < 0)
        peer_fail(peer, "rmig cannot be stopped");
    for (unsigned i = 0; i < 3; i++)
        peer_say(peer, RMIG_WIRE_QEMU_FILE, 1, "~", 1);
    kill(peer->rmig_pid, SIGCONT);
}

static void exchange_again(struct peer *peer)
{
    source_to_mark(peer, 0);
    source_exchange(peer);
    peer_say_on_ready(peer, RMIG_WIRE_RAM_BLOCKS_REQUEST, 1, NULL, 0);
}

#define ONLY_FILE "where only QEMU_FILE is allowed"
#define ONLY_PASS "where only COMPRESS or REGISTER_REQUEST or REGISTER_FINISHED is allowed"

static const struct hostile_case cases[] = {
    {"R8/request-outside", NULL, "sent RAM_BLOCKS_REQUEST " ONLY_FILE, .play = outside, .a = 4},
    {"R8/blocks-outside", NULL, "sent RAM_BLOCKS_RESULT " ONLY_FILE, .play = outside, .a = 5,
     .b = 32},
    {"R8/compress-outside", NULL, "sent COMPRESS " ONLY_FILE, .play = outside, .a = 6, .b = 24},
    {"R8/register-outside", NULL, "sent REGISTER_REQUEST " ONLY_FILE, .play = outside, .a = 7,
     .b = 24},
    {"R8/result-outside", NULL, "sent REGISTER_RESULT " ONLY_FILE, .play = outside, .a = 8,
     .b = 16},
    {"R8/finished-outside", NULL, "sent REGISTER_FINISHED " ONLY_FILE, .play = outside, .a = 9},
    {"R8/unregister-outside", NULL, "sent UNREGISTER_REQUEST " ONLY_FILE, .play = outside, .a = 10,
     .b = 24},
    {"R8/unregistered-outside", NULL, "sent UNREGISTER_FINISHED " ONLY_FILE, .play = outside,
     .a = 11},
    {"R9/ready", NULL, "a source, sent READY", .play = outside, .a = 2},
    {"R9/compress-before-exchange", NULL, "sent COMPRESS where only RAM_BLOCKS_REQUEST",
     .play = before_exchange, .a = 6, .b = 24},
    {"R9/register-before-exchange", NULL, "sent REGISTER_REQUEST where only RAM_BLOCKS_REQUEST",
     .play = before_exchange, .a = 7, .b = 24},
    {"R9/finished-before-exchange", NULL, "sent REGISTER_FINISHED where only RAM_BLOCKS_REQUEST",
     .play = before_exchange, .a = 9},
    {"R9/file-before-exchange", NULL, "sent QEMU_FILE where only RAM_BLOCKS_REQUEST",
     .play = before_exchange, .a = 3, .b = 8},
    {"R9/blocks-before-exchange", NULL, "sent RAM_BLOCKS_RESULT where only RAM_BLOCKS_REQUEST",
     .play = before_exchange, .a = 5, .b = 32},
    {"R9/unregister-before-exchange", NULL, "sent UNREGISTER_REQUEST where only RAM_BLOCKS_REQUEST",
     .play = before_exchange, .a = 10, .b = 24},
    {"R9/file-inside", NULL, "sent QEMU_FILE " ONLY_PASS, .play = inside, .a = 3, .b = 8},
    {"R9/blocks-inside", NULL, "sent RAM_BLOCKS_RESULT " ONLY_PASS, .play = inside, .a = 5,
     .b = 32},
    {"R9/result-inside", NULL, "sent REGISTER_RESULT " ONLY_PASS, .play = inside, .a = 8, .b = 16},
    {"R9/unregister-inside", NULL, "sent UNREGISTER_REQUEST " ONLY_PASS, .play = inside, .a = 10,
     .b = 24},
    {"R9/unregistered-inside", NULL, "sent UNREGISTER_FINISHED " ONLY_PASS, .play = inside,
     .a = 11},
    {"R9/ready-inside", NULL, "a source, sent READY", .play = inside, .a = 2},
    {"R10/flood", NULL, "sent QEMU_FILE without a READY for it", .play = flood},
    {"R16/request-twice", NULL, "sent RAM_BLOCKS_REQUEST " ONLY_PASS, .play = exchange_again},
    {"R16/request-in-a-later-pass", NULL, "sent RAM_BLOCKS_REQUEST " ONLY_PASS, .play = inside,
     .a = 4},
};

const struct hostile_table hostile_order = HOSTILE_TABLE(HOSTILE_RECEIVE, cases);
