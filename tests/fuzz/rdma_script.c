/* SPDX-License-Identifier: BSD-3-Clause */
/* rdma_script.c -- peers made of arbitrary bytes, and what must hold against them. */
#include "tests/fuzz/rdma_script.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <rmig/transport.h>

#include "common/bytes.h"
#include "rdma/conn.h"
#include "rdma/dest.h"
#include "rdma/source.h"
#include "tests/unit/raw_dest.h"
#include "tests/unit/raw_peer.h"
#include "tests/fabric/control.h"

#define NBLOCKS 3
#define SLOT_BYTES 16384u
#define GUARD_BYTES 4096u
#define GUARD 0xa5

static const uint64_t lengths[NBLOCKS] = { (1u << 20) + 8192, 4096, 65536 };
static const char *const names[NBLOCKS] = { "big", "page", "chunk" };

/* Ends the process where something does not hold. */
static void must(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "broken: %s\n", what);
    abort();
}

/* --- guest RAM between guards ----------------------------------------------------------------- */

struct guest {
    struct rmig_block blocks[NBLOCKS];
    uint8_t *memory;
};

static size_t guest_bytes(void)
{
    size_t n = GUARD_BYTES;

    for (int i = 0; i < NBLOCKS; i++)
        n += lengths[i] + GUARD_BYTES;
    return n;
}

/* Content of byte i: never 0 where seed is not. */
static void guest_init(struct guest *g, struct guest *reuse, uint8_t seed)
{
    uint8_t *p;

    if (!reuse->memory) {
        reuse->memory = aligned_alloc(4096, guest_bytes());
        must(reuse->memory != NULL, "memory");
        memset(reuse->memory, GUARD, guest_bytes());
    }
    g->memory = reuse->memory;
    p = g->memory + GUARD_BYTES;
    for (int i = 0; i < NBLOCKS; i++) {
        g->blocks[i] = (struct rmig_block){ .name = names[i], .host = p, .len_bytes = lengths[i],
                                            .page_bytes = RMIG_PAGE_BYTES, .fd = -1 };
        memset(p, seed, lengths[i]);
        p += lengths[i] + GUARD_BYTES;
    }
}

static void guards_hold(const struct guest *g)
{
    const uint8_t *p = g->memory;

    for (int i = 0; i <= NBLOCKS; i++) {
        uint8_t wrong = 0;

        for (size_t b = 0; b < GUARD_BYTES; b++)
            wrong |= p[b] ^ GUARD;
        must(!wrong, "a byte outside guest RAM was written");
        p += GUARD_BYTES + (i < NBLOCKS ? lengths[i] : 0);
    }
}

static int zero_range(const struct rmig_block *block, uint64_t offset_bytes, uint64_t len_bytes)
{
    memset((uint8_t *)block->host + offset_bytes, 0, len_bytes);
    return 0;
}

static void nothing_left(void)
{
    for (int side = FABRIC_ACTIVE; side < FABRIC_SIDES; side++) {
        struct fabric_counts c;

        fabric_get_counts((enum fabric_side)side, &c);
        must(c.endpoints == 0 && c.listeners == 0, "an endpoint is left");
        must(c.regions == 0, "a memory region is left");
    }
    must(fabric_breach() == NULL, fabric_breach());
}

static struct rmig_transport_params params_for(const char *port)
{
    return (struct rmig_transport_params){ .struct_size = sizeof(struct rmig_transport_params),
                                           .host = "127.0.0.1", .port = port, .gid_index = -1,
                                           .idle_timeout_ms = 1000, .connect_timeout_ms = 1000,
                                           .cancel_fd = -1 };
}

/* --- scripts ---------------------------------------------------------------------------------- */

struct script {
    const uint8_t *data;
    size_t size, at;
    bool over;
    struct raw_peer *peer;
    struct rmig_wire_block told[NBLOCKS];
    uint32_t key;
    uint64_t arms; /* how often the real side was about to wait */
};

static uint8_t next_byte(struct script *s)
{
    return s->at < s->size ? s->data[s->at++] : 0;
}

/* A figure: mostly small or near a limit, sometimes anything. */
static uint64_t next_figure(struct script *s, uint64_t limit)
{
    uint8_t how = next_byte(s);
    uint64_t value = 0;

    switch (how % 8) {
    case 0:
        return how >> 3;
    case 1:
        return (uint64_t)(how >> 3) << 12;
    case 2:
        return (uint64_t)(how >> 3) << 20;
    case 3:
        return limit - (how >> 3);
    case 4:
        return limit + (how >> 3);
    case 5:
        return (uint64_t)0 - (how >> 3);
    case 6:
        return limit - ((uint64_t)(how >> 3) << 12);
    default:
        for (int i = 0; i < 8; i++)
            value = value << 8 | next_byte(s);
        return value;
    }
}

static void hang_up(struct script *s)
{
    if (!s->over)
        (void)raw_disconnect(s->peer);
    s->over = true;
}

/* Takes what the destination said; keeps addresses and keys. */
static void hear_all(struct script *s)
{
    struct raw_msg msg;

    while (raw_hear(s->peer, 0, &msg) == 0) {
        if (msg.type == RMIG_WIRE_RAM_BLOCKS_RESULT)
            for (uint32_t i = 0; i < NBLOCKS && (i + 1) * RMIG_WIRE_BLOCK_BYTES <= msg.len_bytes; i++)
                rmig_wire_decode_block(msg.payload + (size_t)i * RMIG_WIRE_BLOCK_BYTES, &s->told[i]);
        if (msg.type == RMIG_WIRE_REGISTER_RESULT)
            s->key = rmig_load_be32(msg.payload);
    }
}

/* --- a source --------------------------------------------------------------------------------- */

static int say_register(struct script *s)
{
    uint8_t records[4 * RMIG_WIRE_REGISTER_BYTES];
    uint32_t n = 1 + next_byte(s) % 4, repeat = n;

    for (uint32_t i = 0; i < n; i++) {
        uint32_t index = next_byte(s) % (NBLOCKS + 1);
        uint64_t base = index < NBLOCKS ? s->told[index].ram_addr : 0;
        uint64_t limit = index < NBLOCKS ? lengths[index] : 0;
        struct rmig_wire_register reg = { base + next_figure(s, limit), index,
                                          next_figure(s, limit >> 20) };

        rmig_wire_encode_register(records + i * RMIG_WIRE_REGISTER_BYTES, &reg);
    }
    if (next_byte(s) % 8 == 7)
        repeat = (uint32_t)next_figure(s, RMIG_WIRE_REPEAT_MAX);
    return raw_say(s->peer, RMIG_WIRE_REGISTER_REQUEST, repeat, records,
                   n * RMIG_WIRE_REGISTER_BYTES);
}

static int say_compress(struct script *s)
{
    uint8_t record[RMIG_WIRE_COMPRESS_BYTES];
    uint32_t index = next_byte(s) % (NBLOCKS + 1);
    uint64_t base = index < NBLOCKS ? s->told[index].ram_addr : 0;
    uint64_t limit = index < NBLOCKS ? lengths[index] : 0;
    struct rmig_wire_compress c = { next_byte(s) % 32 == 31, index, base + next_figure(s, limit),
                                    next_figure(s, limit) };

    rmig_wire_encode_compress(record, &c);
    return raw_say(s->peer, RMIG_WIRE_COMPRESS, 1, record, sizeof(record));
}

static void write_somewhere(struct script *s)
{
    uint32_t index = next_byte(s) % NBLOCKS;
    uint32_t key = next_byte(s) % 4 ? (s->told[index].rkey ? s->told[index].rkey : s->key)
                                    : (uint32_t)next_figure(s, s->key);
    static const uint8_t bytes[8192] = { 1 };
    uint32_t len = (uint32_t)next_figure(s, 4096) % sizeof(bytes);

    (void)raw_write(s->peer, bytes, len, s->told[index].remote_addr + next_figure(s, lengths[index]),
                    key);
}

static int say_bytes(struct script *s, bool with_header)
{
    uint8_t bytes[300];
    uint32_t n = next_byte(s);

    for (uint32_t i = 0; i < n; i++)
        bytes[i] = next_byte(s);
    if (!with_header)
        return raw_send(s->peer, bytes, n);
    return raw_say(s->peer, next_byte(s) % 16, (uint32_t)next_figure(s, RMIG_WIRE_REPEAT_MAX), bytes,
                   n);
}

/* One step. Returns: has it said something? */
static bool source_acts(struct script *s)
{
    switch (next_byte(s) % 10) {
    case 0:
        return raw_say(s->peer, RMIG_WIRE_RAM_BLOCKS_REQUEST, 1, NULL, 0) == 0;
    case 1:
    case 2:
        return raw_say(s->peer, RMIG_WIRE_REGISTER_FINISHED, 1, NULL, 0) == 0;
    case 3:
    case 4:
        return say_register(s) == 0;
    case 5:
        return say_compress(s) == 0;
    case 6:
    case 7:
        write_somewhere(s);
        return false;
    case 8:
        return say_bytes(s, true) == 0;
    default:
        return say_bytes(s, next_byte(s) % 8) == 0;
    }
}

static void source_step(void *opaque)
{
    struct script *s = opaque;

    do {
        raw_poll(s->peer);
        hear_all(s);
        if (raw_status(s->peer) || s->at >= s->size)
            hang_up(s);
    } while (!s->over && !source_acts(s));
}

static void poll_peer(void *opaque)
{
    raw_poll(opaque);
}

/* The window 0 of an honest source, so that most scripts get past it. */
static void say_request(struct script *s)
{
    (void)raw_say(s->peer, RMIG_WIRE_RAM_BLOCKS_REQUEST, 1, NULL, 0);
}

void rdma_script_dest(const uint8_t *data, size_t size)
{
    static struct guest reuse;
    struct rmig_transport_params params = params_for("0");
    struct script s = { .data = data, .size = size };
    uint8_t private_data[RMIG_WIRE_PRIVATE_DATA_BYTES], first = next_byte(&s);
    struct raw_opts opts = { .private_data = private_data,
                             .private_data_len_bytes = sizeof(private_data),
                             .slot_bytes = SLOT_BYTES, .rnr_retry_count = 7, .ack_timeout = 1 };
    struct rmig_rdma_listener *listener;
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_rdma_conn conn;
    struct rmig_rdma_dest dest;
    struct fabric_counts counts;
    struct guest guest;
    uint16_t port;

    fabric_reset();
    guest_init(&guest, &reuse, 0x33);
    rmig_store_be32(private_data, RMIG_WIRE_VERSION);
    rmig_store_be32(private_data + 4, (first & 1 ? RMIG_WIRE_FLAG_PIN_ALL : 0) |
                                          (first & 2 ? RMIG_WIRE_FLAG_MULTI_REGISTER : 0));
    must(rmig_rdma_listener_open(&params, &listener, &port, &err) == 0, err.msg);
    must(raw_connect_start(port, &opts, &s.peer) == 0, "connect");
    fabric_set_idle_hook(FABRIC_PASSIVE, poll_peer, s.peer);
    must(rmig_rdma_conn_accept(&conn, listener, 1000, &params, &err) == 0, err.msg);
    rmig_rdma_dest_init(&dest, &conn, zero_range);
    must(rmig_rdma_dest_set_blocks(&dest, guest.blocks, NBLOCKS, &err) == 0, err.msg);
    for (int i = 0; i < NBLOCKS; i++)
        must(rmig_rdma_dest_list_block(&dest, names[(i + first) % NBLOCKS], &err) == 0, err.msg);
    if (first & 4)
        say_request(&s);
    fabric_set_idle_hook(FABRIC_PASSIVE, source_step, &s);
    while (rmig_rdma_dest_serve(&dest, &err) == 0) {
        fabric_get_counts(FABRIC_PASSIVE, &counts);
        must(counts.registered_bytes <= RMIG_CTRL_PINNED_BYTES + lengths[0] + lengths[1] + lengths[2],
             "more is registered than there is");
    }
    must(err.code < 0 && err.msg[0], "a failure without a word");
    fabric_set_idle_hook(FABRIC_PASSIVE, NULL, NULL);
    rmig_rdma_conn_tear_down(&conn, next_byte(&s) & 1);
    rmig_rdma_dest_release(&dest);
    rmig_rdma_conn_release(&conn);
    raw_close(s.peer);
    rmig_rdma_listener_close(listener);
    guards_hold(&guest);
    nothing_left();
}

/* --- a destination ---------------------------------------------------------------------------- */

/* Honest for even first bytes; else something of the answer is changed. */
static bool spoil(struct raw_dest *dest, struct raw_answer *answer)
{
    struct script *s = dest->opaque;
    uint8_t how;

    if (s->at >= s->size)
        return true;
    how = next_byte(s);
    switch (how % 12) {
    case 6:
        answer->type = next_byte(s) % 16;
        break;
    case 7:
        answer->len_bytes = (uint32_t)next_figure(s, answer->len_bytes) % (SLOT_BYTES - 16);
        break;
    case 8:
        if (answer->len_bytes)
            answer->payload[next_byte(s) % answer->len_bytes] ^= (uint8_t)(1u << next_byte(s) % 8);
        break;
    case 9:
        if (answer->len_bytes >= 8)
            rmig_store_be64(answer->payload + (next_byte(s) % (answer->len_bytes / 8)) * 8,
                            next_figure(s, lengths[0]));
        break;
    case 10:
        (void)say_bytes(s, next_byte(s) & 1); /* one more message, before it */
        break;
    case 11:
        if (how & 0x80) {
            hang_up(s);
            dest->silent = true;
            return false;
        }
        answer->repeat = (uint32_t)next_figure(s, 1);
        break;
    default:
        break;
    }
    return true;
}

static void dest_step(void *opaque)
{
    struct raw_dest *dest = opaque;
    struct script *s = dest->opaque;
    uint64_t arms = fabric_calls(FABRIC_ACTIVE, API_req_notify_cq);
    unsigned answered = dest->nanswers;

    raw_dest_step(dest);
    /* About to wait for what will never come, or broken: hang up, as a destination would. */
    if (raw_status(s->peer) || dest->failed || (arms != s->arms && answered == dest->nanswers))
        hang_up(s);
    s->arms = arms;
}

static int move_all(struct rmig_rdma_source *source, uint32_t nrounds, struct rmig_err *err)
{
    int rc = rmig_rdma_source_before(source, RMIG_HOOK_SETUP, err);

    if (rc == 0)
        rc = rmig_rdma_source_after(source, RMIG_HOOK_SETUP, err);
    for (uint32_t round = 0; rc == 0 && round < nrounds; round++) {
        rc = rmig_rdma_source_before(source, RMIG_HOOK_ROUND, err);
        for (uint32_t b = 0; rc >= 0 && b < NBLOCKS; b++) {
            struct rmig_run run = { .block_index = b, .len_bytes = lengths[b] };

            if (round == 0 || b == round % NBLOCKS)
                rc = rmig_rdma_source_save(source, &run, err);
        }
        if (rc >= 0)
            rc = rmig_rdma_source_after(source, RMIG_HOOK_ROUND, err);
    }
    if (rc == 0)
        rc = rmig_rdma_ctrl_wait_credit(&source->conn->ctrl, err);
    return rc;
}

struct accepting {
    struct raw_listener *listener;
    struct script *script;
    uint32_t flags;
};

static void accept_step(void *opaque)
{
    static const struct raw_opts opts = { .slot_bytes = SLOT_BYTES, .rnr_retry_count = 7,
                                          .ack_timeout = 1 };
    struct accepting *a = opaque;
    uint8_t answer[RMIG_WIRE_PRIVATE_DATA_BYTES];

    if (!a->script->peer && raw_take_request(a->listener, &opts, 0, &a->script->peer) == 0) {
        rmig_store_be32(answer, RMIG_WIRE_VERSION);
        rmig_store_be32(answer + 4, a->flags);
        raw_set_private(a->script->peer, answer, sizeof(answer));
        must(raw_accept_request(a->script->peer) == 0, "accept");
    }
    if (a->script->peer)
        raw_poll(a->script->peer);
}

void rdma_script_source(const uint8_t *data, size_t size)
{
    static struct guest reuse_from, reuse_to;
    static struct raw_dest dest;
    struct script s = { .data = data, .size = size };
    uint8_t first = next_byte(&s);
    struct accepting a = { .script = &s, .flags = (first & 1 ? RMIG_WIRE_FLAG_PIN_ALL : 0) |
                                                  (first & 2 ? RMIG_WIRE_FLAG_MULTI_REGISTER : 0) };
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_transport_params params;
    struct rmig_rdma_source source;
    struct rmig_rdma_conn conn;
    struct guest from, to;
    uint16_t port;
    char text[8];
    int rc;

    fabric_reset();
    guest_init(&from, &reuse_from, 0x44);
    guest_init(&to, &reuse_to, 0x55);
    must(raw_listen(&a.listener, &port) == 0, "listen");
    snprintf(text, sizeof(text), "%u", port);
    params = params_for(text);
    params.pin_all = first & 1;
    fabric_set_idle_hook(FABRIC_ACTIVE, accept_step, &a);
    must(rmig_rdma_conn_connect(&conn, &params, &err) == 0, err.msg);
    rmig_rdma_source_init(&source, &conn);
    must(rmig_rdma_source_set_blocks(&source, from.blocks, NBLOCKS, &err) == 0, err.msg);
    memset(&dest, 0, sizeof(dest));
    dest.peer = s.peer;
    dest.blocks = to.blocks;
    dest.nblocks = NBLOCKS;
    dest.pin_all = first & 1;
    dest.multi = first & 2;
    dest.tamper = spoil;
    dest.opaque = &s;
    fabric_set_idle_hook(FABRIC_ACTIVE, dest_step, &dest);
    rc = move_all(&source, 1 + first / 4 % 3, &err);
    must(rc < 0 || memcmp(from.memory, to.memory, guest_bytes()) == 0 || size > 1,
         "an honest move came out wrong");
    must(rc == 0 || (err.code == rc && err.msg[0]), "a failure without a word");
    fabric_set_idle_hook(FABRIC_ACTIVE, NULL, NULL);
    rmig_rdma_conn_tear_down(&conn, false);
    rmig_rdma_source_release(&source);
    rmig_rdma_conn_release(&conn);
    raw_close(s.peer);
    raw_listener_close(a.listener);
    guards_hold(&from);
    guards_hold(&to);
    must(!memcmp(from.blocks[0].host, (uint8_t *)from.blocks[0].host + 1, lengths[0] - 1),
         "the source's RAM was written");
    nothing_left();
}

/* --- decoders --------------------------------------------------------------------------------- */

void rdma_script_wire(const uint8_t *data, size_t size)
{
    struct rmig_err err = RMIG_ERR_INIT, perr = RMIG_ERR_INIT;
    struct rmig_wire_header header;
    struct rmig_wire_private priv;
    uint8_t again[RMIG_WIRE_BLOCK_BYTES];
    uint8_t *exact = malloc(size ? size : 1); /* so that reading beyond it is seen */
    char reason[RMIG_WIRE_REASON_MAX_BYTES];

    must(exact != NULL, "memory");
    memcpy(exact, data, size);
    if (rmig_wire_decode_header(exact, size, &header, &err) == 0) {
        must(size == (size_t)header.len_bytes + RMIG_WIRE_HEADER_BYTES, "length");
        rmig_wire_encode_header(again, &header);
        must(!memcmp(again, exact, 12), "header does not round-trip");
    } else {
        must(err.code == -EPROTO && err.msg[0], "no word");
    }
    if (rmig_wire_decode_private(exact, size, &priv, &perr) == 0)
        must(priv.lane < priv.nlanes && priv.nlanes <= RMIG_WIRE_LANES_MAX, "lanes");
    if (rmig_wire_decode_reason(exact, size, reason))
        must(reason[0] && strlen(reason) < sizeof(reason), "reason");
    if (size >= RMIG_WIRE_BLOCK_BYTES) {
        struct rmig_wire_block block;
        struct rmig_wire_register reg;
        struct rmig_wire_compress compress;
        struct rmig_wire_result result;

        rmig_wire_decode_block(exact, &block);
        rmig_wire_encode_block(again, &block);
        must(!memcmp(again, exact, 28), "block does not round-trip");
        rmig_wire_decode_register(exact, &reg);
        rmig_wire_encode_register(again, &reg);
        must(!memcmp(again, exact, 12) && !memcmp(again + 16, exact + 16, 8), "register");
        rmig_wire_decode_compress(exact, &compress);
        rmig_wire_encode_compress(again, &compress);
        must(!memcmp(again, exact, RMIG_WIRE_COMPRESS_BYTES), "compress");
        rmig_wire_decode_result(exact, &result);
        rmig_wire_encode_result(again, &result);
        must(!memcmp(again, exact, 4) && !memcmp(again + 8, exact + 8, 8), "result");
    }
    free(exact);
}
