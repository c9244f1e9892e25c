/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rdma_fixture.h -- one real side of a connection against a peer played by hand, guest RAM to move,
 * and threads that are noticed when they hang. Failures end the test.
 */
#ifndef TESTS_UNIT_RDMA_FIXTURE_H
#define TESTS_UNIT_RDMA_FIXTURE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <rmig/ram.h>
#include <rmig/transport.h>

#include "rdma/conn.h"
#include "tests/unit/raw_peer.h"
#include "tests/fabric/control.h"
#include "tests/unit/rdma_suite.h"

/* --- a call in a thread of its own ------------------------------------------------------------ */

struct task {
    pthread_t thread;
    int (*fn)(void *arg, struct rmig_err *err);
    void *arg;
    int rc;
    struct rmig_err err;
    uint64_t ended_ns;
    pthread_t watch; /* sleeps a little, over and over: how late it wakes is the machine's doing */
    atomic_bool done;
    uint64_t stalled_ns;
};

void task_start(struct task *task, int (*fn)(void *arg, struct rmig_err *err), void *arg);
/* Waits for its end; still running after timeout_ms and the slack is a hang and ends the test. Returns: rc. */
int task_join(struct task *task, int timeout_ms);
/* From start_ns to its end, less what the machine kept its threads waiting meanwhile, and the slack
 * (slack.h). After join. */
uint64_t task_took_ns(const struct task *task, uint64_t start_ns);
/* Is it still running after so long? */
bool task_runs(struct task *task, int for_ms);

/* --- guest RAM -------------------------------------------------------------------------------- */

#define RAM_BLOCKS_MAX 8

struct ram {
    struct rmig_block blocks[RAM_BLOCKS_MAX];
    uint32_t nblocks;
};

/* Zeroed blocks "block0", "block1", ... of these lengths. */
void ram_init(struct ram *ram, uint32_t nblocks, const uint64_t *len_bytes);
void ram_release(struct ram *ram);
/* Fills pages so that each differs and none is zero. */
void ram_fill(struct ram *ram, uint32_t block, uint64_t offset_bytes, uint64_t len_bytes,
              uint64_t seed);
bool ram_equal(const struct ram *a, const struct ram *b);
bool ram_is_zero(const struct ram *ram, uint32_t block, uint64_t offset_bytes, uint64_t len_bytes);
int ram_zero_range(const struct rmig_block *block, uint64_t offset_bytes, uint64_t len_bytes);

/* --- connections ------------------------------------------------------------------------------ */

/* Options with short deadlines; host and port are those of the fixture's listener. */
struct rmig_transport_params fixture_params(void);

/* A source under test, connected to a destination played by hand. */
struct source_fixture {
    struct rmig_transport_params params; /* set before connecting */
    struct raw_opts peer_opts;
    struct rmig_rdma_conn conn;
    uint64_t peer_pin_budget_bytes; /* what the peer says, where it has that flag */
    struct raw_listener *listener;
    struct raw_peer *peer;
    struct raw_peer *lanes[RMIG_WIRE_LANES_MAX]; /* beyond the first */
    unsigned nlanes;
    char port[8];
};

void source_fixture_init(struct source_fixture *f);
/* Connects; the peer accepts every request with the flags asked for that accepted_flags has. */
void source_fixture_connect(struct source_fixture *f, uint32_t accepted_flags);
void source_fixture_release(struct source_fixture *f);

/* A destination under test, connected to a source played by hand. */
struct dest_fixture {
    struct rmig_transport_params params;
    struct raw_opts peer_opts;
    struct rmig_rdma_conn conn;
    struct rmig_rdma_listener *listener;
    struct raw_peer *peer;
    uint16_t port;
};

void dest_fixture_init(struct dest_fixture *f);
void dest_fixture_connect(struct dest_fixture *f, uint32_t flags);
void dest_fixture_release(struct dest_fixture *f);

/* --- what went over the wire ------------------------------------------------------------------ */

/* A letter a message of the source, in order: H = FILE ending in the hook mark, F = other FILE,
 * Q = RAM_BLOCKS_REQUEST, R = REGISTER_REQUEST, C = COMPRESS, w = RDMA write, E = REGISTER_FINISHED,
 * X = ERROR, m = the mark of another queue pair, ? = anything else. */
struct message_log {
    char text[1 << 15];
    size_t length;
    uint64_t write_bytes;
    uint32_t largest_write;
    uint64_t last_write_ns, last_finished_ns;
};

/* From now on. */
void message_log_start(struct message_log *log);
/* Is the whole log what this extended regular expression says? */
bool message_log_matches(const struct message_log *log, const char *pattern);
/* How many of this letter. */
unsigned message_log_count(const struct message_log *log, char letter);

/* How verbs.c tells that a call failed with ENOSPC. */
struct call_failure {
    int rc;
    const char *says;
};
struct call_failure failure_of(enum api api);
/* Does the call give something up? That it fails is of no use to anybody, and is not looked at. */
bool is_release(enum api api);

/* Nothing is open or registered on this side, and no contract was breached. */
void assert_nothing_left(enum fabric_side side);
/* Open file descriptors of this process. */
unsigned count_fds(void);

/* RMIG_WIRE_PRIVATE_MAX_BYTES of private data, as they are on the wire with lanes and a budget of 0. */
void private_of(uint8_t *bytes, uint32_t version, uint32_t flags, uint64_t session, uint32_t lane,
                uint32_t nlanes);

/* A CM event in place of the one that is waited for, and what has to follow from it. */
struct cm_case {
    int type; /* enum rdma_cm_event_type, FABRIC_NO_EVENT */
    int status, rc;
};
#define CM_CASES 14
extern const struct cm_case cm_cases[CM_CASES];

/* A version-1 private data block with these flags and zeros behind them, in static storage. */
const void *stock_private(uint32_t flags);

#endif
