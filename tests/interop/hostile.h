/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hostile.h -- peers of rmig over real verbs that send what no peer may, one named case each.
 *
 * A case is played by a struct peer: a connection without any rule of its own. Its first failure is
 * kept and makes all later steps do nothing, so that cases need not look at each step. No step
 * waits longer than STEP_MS.
 */
#ifndef TESTS_INTEROP_HOSTILE_H
#define TESTS_INTEROP_HOSTILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>

#include "rdma/wire.h"

#define NS_PER_MS UINT64_C(1000000)
#define STEP_MS 10000 /* an emulated machine is slow, and busy */
#define LIMIT_MS 2000 /* from the last thing that a case sends to the end of rmig */
#define PEER_LANES_MAX 3u
#define PEER_RECVS 4u
#define PEER_SENDS 4u
#define PEER_RECV_BYTES RMIG_WIRE_MESSAGE_MAX_BYTES
#define PEER_SEND_BYTES (RMIG_WIRE_MESSAGE_MAX_BYTES + 4096u)

/* The guest of all cases: two blocks, named and as long as here. */
#define RAM_BYTES 0x400000u
#define ROM_BYTES 0x10000u
#define GUEST_BYTES (RAM_BYTES + ROM_BYTES)

struct peer;

/* What of rmig a case is against. A relay has an honest peer at its other end. */
enum hostile_role { HOSTILE_RECEIVE, HOSTILE_SEND, HOSTILE_RELAY_IN, HOSTILE_RELAY_OUT };

/* How rmig has to end. */
enum hostile_end {
    END_REFUSED = 0, /* status 5, the code and the words */
    END_UNCONNECTED, /* status 4 and the words: what is wrong came with the connection */
    END_GOOD,        /* status 0: shows that only the hostile part is wrong with the others */
};

struct hostile_case {
    const char *name;   /* ROW/what, a row of docs/rdma-checks.md */
    const char *code;   /* name of the error; NULL = EPROTO */
    const char *says;   /* extended regular expression: the field and its value */
    const char *also;   /* another that must match, or NULL */
    const char *option; /* one more option of rmig, or NULL */
    enum hostile_end end;
    bool relay; /* against a relay, too */
    void (*play)(struct peer *peer);
    uint64_t a, b, c;  /* for play */
    const char *bytes; /* for play: see bytes_put() */
};

struct hostile_table {
    enum hostile_role role; /* HOSTILE_RECEIVE or HOSTILE_SEND */
    const struct hostile_case *cases;
    size_t n;
};

#define HOSTILE_TABLE(role, cases) {role, cases, sizeof(cases) / sizeof((cases)[0])}

/* hostile_NAME.c has hostile_NAME. */
extern const struct hostile_table hostile_connect, hostile_message, hostile_order, hostile_pass,
    hostile_stream, hostile_end, hostile_budget, hostile_send, hostile_send_end, hostile_send_message,
    hostile_send_budget;

/* --- bytes ------------------------------------------------------------------------------------ */

struct bytes {
    uint8_t *data;
    size_t len, room;
};

/*
 * Appends what a text says, words apart by blanks: 7e a byte, .N a u16, :N a u32, ::N a u64, =name
 * a counted string, ~N as many bytes 'x', and these parts of a stream: HEADER START LIST MARK EOS
 * FOOT PART END DEVICE TAIL.
 */
void bytes_put(struct bytes *bytes, const char *text);
void bytes_add(struct bytes *bytes, const void *data, size_t len);
void bytes_release(struct bytes *bytes);

/* --- the peer --------------------------------------------------------------------------------- */

struct lane {
    struct rdma_cm_id *id;
    bool established, rejected, disconnected;
};

struct peer {
    const struct hostile_case *hostile;
    char why[256]; /* the first step that failed, or "" */
    struct rdma_event_channel *channel;
    struct rdma_cm_id *listener;
    const char *address;
    pid_t rmig_pid;
    uint16_t port; /* rmig's where it listens, else ours */
    struct lane lanes[PEER_LANES_MAX];
    unsigned nlanes;
    struct ibv_pd *pd;
    struct ibv_cq *cq;
    uint8_t *memory; /* receives, sends */
    uint8_t *guest;  /* what a source may write to: GUEST_BYTES */
    struct ibv_mr *mr, *guest_mr;
    bool sending[PEER_SENDS];
    unsigned inbox[PEER_RECVS]; /* slots, the oldest first */
    unsigned ninbox;
    int heard_slot; /* to be posted again before the next is heard */
    /* the last message heard */
    uint32_t type, repeat, len;
    const uint8_t *payload;
    int failed_status;     /* of the first work request that failed, 0 = none */
    uint64_t acted_ns;     /* when the case last sent something, or hung up */
    bool hung_up;
    struct bytes out;      /* for the next message */
    uint64_t ram_addr[2], remote_addr[2]; /* of the two blocks, as RAM_BLOCKS_RESULT said */
    uint32_t rkey;                        /* the last that rmig has told */
    uint64_t base;                        /* of the block that it is for */
};

uint64_t now_ns(void);

/* Is there nothing wrong so far? */
bool peer_ok(const struct peer *peer);
void peer_fail(struct peer *peer, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Takes completions and events that are there. */
void peer_poll(struct peer *peer);
/* Waits a little. */
void peer_nap(void);
void peer_close(struct peer *peer);
/* For hostile_cm.c and hostile_peer.c: memory of the slots, a receive, an event if there is one. */
#define PEER_MEMORY_BYTES                                                                          \
    ((size_t)PEER_RECVS * PEER_RECV_BYTES + (size_t)PEER_SENDS * PEER_SEND_BYTES)
void peer_post_recv(struct peer *peer, unsigned slot);
int peer_take_event(struct peer *peer, int timeout_ms);

/* Towards a receiver. private_data may be NULL; flags are of its 8 bytes, lanes of the 24. */
void peer_dial(struct peer *peer, const void *private_data, uint8_t len);
void peer_connect(struct peer *peer, uint32_t flags);
void peer_connect_lane(struct peer *peer, uint64_t session, uint32_t lane, uint32_t nlanes);
void peer_expect_established(struct peer *peer);
/* The last lane was turned away. It is forgotten. */
void peer_expect_rejected(struct peer *peer);
/* As a destination: wait for rmig and answer it. */
void peer_listen(struct peer *peer);
void peer_await(struct peer *peer);
void peer_answer(struct peer *peer, const void *private_data, uint8_t len);
void peer_accept(struct peer *peer, uint32_t flags);
/* Waits until all that was posted has its completion. */
void peer_await_sent(struct peer *peer);
void peer_hang_up(struct peer *peer);

/* Whatever it is, on a lane. */
void peer_send(struct peer *peer, unsigned lane, const void *bytes, uint32_t len);
/* With an opcode of its own, on the last lane; extra is its immediate data or key. */
void peer_send_as(struct peer *peer, enum ibv_wr_opcode opcode, const void *bytes, uint32_t len,
                  uint32_t extra);
/* A message with a header that says len, of len_sent payload bytes. */
void peer_say_len(struct peer *peer, uint32_t type, uint32_t repeat, const void *payload,
                  uint32_t len, uint32_t len_sent);
void peer_say(struct peer *peer, uint32_t type, uint32_t repeat, const void *payload, uint32_t len);
/* Waits for the next message; it must be of this type, if type is not NONE. */
void peer_expect(struct peer *peer, uint32_t type);
/* READY, then the message. */
void peer_say_on_ready(struct peer *peer, uint32_t type, uint32_t repeat, const void *payload,
                       uint32_t len);
/* READY, then stream bytes: those that text says. */
void peer_file(struct peer *peer, const char *text);
/* A read, write or atomic of rmig's memory; waits for its end. Returns its status. */
int peer_access(struct peer *peer, enum ibv_wr_opcode opcode, uint64_t remote_addr, uint32_t rkey,
                uint32_t len);

/* --- an honest source, as far as a case wants it ---------------------------------------------- */

/* Connects, and is in the first pass: the block list and the mark are sent. */
void source_to_mark(struct peer *peer, uint32_t flags);
/* Asks to have chunks unregistered, as it asked for their keys; waits for the answer. */
void source_say_unregister(struct peer *peer, uint64_t ram_addr, uint32_t index,
                           uint64_t extra_chunks);
void source_unregister(struct peer *peer, uint64_t ram_addr);
/* Asks for the blocks; keeps where they are, and of the first the key. */
void source_exchange(struct peer *peer);
/* All that, and is in the second pass. */
void source_to_pass(struct peer *peer, uint32_t flags);
void source_put_register(uint8_t *record, uint64_t ram_addr, uint32_t index, uint64_t extra_chunks);
void source_ask_keys(struct peer *peer, uint64_t ram_addr, uint32_t index, uint64_t extra_chunks);
/* Gets the key of the first chunk. */
void source_get_key(struct peer *peer);
void source_say_zero(struct peer *peer, uint32_t value, uint32_t index, uint64_t ram_addr,
                     uint64_t len);
/* All up to the end of the ram section; what is left are devices. */
void source_to_devices(struct peer *peer);

/* --- an honest destination, likewise ---------------------------------------------------------- */

#define DEST_NBLOCKS 2u
#define DEST_BLOCKS_BYTES (DEST_NBLOCKS * RMIG_WIRE_BLOCK_BYTES)

void dest_say_ready(struct peer *peer);
void dest_put_blocks(const struct peer *peer, uint8_t records[DEST_BLOCKS_BYTES]);
/* Answers record i of the request heard last. The key is the same for all. */
void dest_put_result(const struct peer *peer, uint32_t i, uint8_t record[RMIG_WIRE_RESULT_BYTES]);
/* Accepts with flags, and answers all until a message of this type has come; NONE: the last. */
void dest_to(struct peer *peer, uint32_t flags, uint32_t type);
/* The same with a pin budget, which is agreed on. */
void dest_to_with_budget(struct peer *peer, uint64_t budget_bytes, uint32_t type);
/* Goes on from there. */
void dest_serve_until(struct peer *peer, uint32_t type);

#endif
