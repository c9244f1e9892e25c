/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * verbs_fake.h -- controls of the fake verbs, an in-process loopback that stands in for rdma/verbs.c.
 *
 * Linked in place of verbs.c, endpoints of one process reach each other by the port of a listener,
 * whatever the address. What the fake keeps to, because a real device does:
 *
 * - One protection domain a side: a key of the other side, of a region that is gone, without the
 *   access that is needed or short of the range fails the work request and the queue pair. lkeys
 *   and rkeys are different numbers; no key is ever given twice.
 * - The send queue executes in order. A SEND takes the peer's oldest receive. With none posted it
 *   fails at once (rnr_retry_count below 7) or waits (7); the count that governs a queue pair is the
 *   one the peer gave.
 * - A slot of the send queue is free again when a completion at or behind it has been polled.
 *   Unsignalled work requests complete only if they fail.
 * - After a failure the queue pair is in the error state: everything outstanding and everything
 *   posted later is flushed. The peer learns nothing but from its own work requests: those that
 *   find nobody answering fail with "retries exceeded" after 4.096 us * 2^ack_timeout * (retries + 1).
 * - wc.opcode and wc.len_bytes hold garbage where the status is not 0.
 * - A completion event comes for a completion that arrives after arming, never for an older one.
 * - Private data arrives zero-padded: 56 bytes with a request, 196 with a reply, 148 with a rejection.
 * - The active side is connected once it has taken ESTABLISHED; the passive side gets its own then.
 * - disconnect flushes the own queue pair and tells the peer; closing does the same.
 *
 * Everything here may be called from any thread. Figures start again with fake_reset().
 */
#ifndef TESTS_FAKE_VERBS_FAKE_H
#define TESTS_FAKE_VERBS_FAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rdma/verbs.h"

/* Endpoints made by open, and those made by get_request (listeners count as passive). */
enum fake_side { FAKE_ANY = 0, FAKE_ACTIVE = 1, FAKE_PASSIVE = 2, FAKE_SIDES = 3 };

/* The functions of verbs.h that can fail. */
enum fake_call {
    FAKE_COUNT_DEVICES,
    FAKE_DEVICE_ADDRESS,
    FAKE_OPEN,
    FAKE_RESOLVE_ADDR,
    FAKE_RESOLVE_ROUTE,
    FAKE_QUERY_DEVICE,
    FAKE_SET_ACK_TIMEOUT,
    FAKE_CREATE_QP,
    FAKE_CONNECT,
    FAKE_ACCEPT,
    FAKE_REJECT,
    FAKE_DISCONNECT,
    FAKE_LISTEN,
    FAKE_GET_REQUEST,
    FAKE_GET_CM_EVENT,
    FAKE_ARM,
    FAKE_TAKE_CQ_EVENTS,
    FAKE_POLL,
    FAKE_REG_MR,
    FAKE_POST_RECV,
    FAKE_POST_SEND,
    FAKE_POST_WRITES,
    FAKE_CALLS
};

const char *fake_call_name(enum fake_call call);

enum fake_wr_kind { FAKE_WR_SEND, FAKE_WR_WRITE, FAKE_WR_RECV, FAKE_WR_KINDS };

/* Completion statuses, by the numbers that libibverbs uses. */
enum fake_status {
    FAKE_WC_SUCCESS = 0,
    FAKE_WC_LOC_LEN_ERR = 1,
    FAKE_WC_LOC_QP_OP_ERR = 2,
    FAKE_WC_LOC_PROT_ERR = 4,
    FAKE_WC_WR_FLUSH_ERR = 5,
    FAKE_WC_REM_INV_REQ_ERR = 9,
    FAKE_WC_REM_ACCESS_ERR = 10,
    FAKE_WC_REM_OP_ERR = 11,
    FAKE_WC_RETRY_EXC_ERR = 12,
    FAKE_WC_RNR_RETRY_EXC_ERR = 13,
    FAKE_WC_GENERAL_ERR = 21,
    FAKE_WC_END
};

/* CM reject reasons. */
#define FAKE_REJECT_NO_LISTENER 8
#define FAKE_REJECT_BY_CONSUMER 28

/*
 * Forget every control, count and contract breach; devices and limits are the default again.
 * Requires: no endpoint and no listener is open, no region registered.
 */
void fake_reset(void);

/* --- the host --------------------------------------------------------------------------------- */

void fake_set_devices(unsigned ndevices);
void fake_set_limits(enum fake_side side, uint32_t max_qp_wr, uint64_t max_mr_bytes);
/* Most bytes that a side can have registered, as RLIMIT_MEMLOCK has it; beyond is -ENOMEM. */
void fake_set_pin_limit(enum fake_side side, uint64_t limit_bytes);
/* How long a registration of guest RAM takes; 999 at most. */
void fake_set_pin_ms(enum fake_side side, uint32_t each_ms);

/* --- failures --------------------------------------------------------------------------------- */

/* The kth call of a function from now on (1 = the next) fails with error (a positive errno). */
void fake_fail_call(enum fake_side side, enum fake_call call, uint64_t kth, int error);
/* The kth work request posted from now on completes with status; the queue pair then fails. */
void fake_fail_wr(enum fake_side side, enum fake_wr_kind kind, uint64_t kth, int status,
                  uint32_t vendor_error);
/*
 * What the kth resolve_addr, resolve_route, connect or accept from now on is answered with in
 * place of its usual event; type 0 = with nothing at all.
 */
void fake_answer(enum fake_side side, enum fake_call call, uint64_t kth,
                 enum rmig_rdma_cm_event_type type, int status);
/* Queue a CM event at the side's index-th open endpoint, in order of making. Returns: is there one? */
bool fake_inject(enum fake_side side, unsigned index, enum rmig_rdma_cm_event_type type,
                 int status);
/* The peer of that endpoint hangs up, as if its process had died. Returns: is there such an endpoint? */
bool fake_hang_up(enum fake_side side, unsigned index);
/* Receives of a side complete as if messages had immediate data. */
void fake_set_immediate(enum fake_side side, bool on);
/* From now on nothing that one endpoint sends reaches another, and nothing is answered. */
void fake_black_hole(void);
/* Completions of work requests posted from now on arrive this much later. */
void fake_set_delay_ms(uint32_t delay_ms);

/* --- watching --------------------------------------------------------------------------------- */

struct fake_counts {
    unsigned endpoints; /* open now */
    unsigned listeners;
    unsigned regions;        /* registered now */
    unsigned remote_regions; /* of these, writable by the peer */
    uint64_t registered_bytes;
    uint64_t peak_registered_bytes;
    uint64_t registrations; /* ever */
    uint64_t doorbells;     /* post_send and post_writes calls */
    uint64_t sends;         /* work requests posted */
    uint64_t recvs;
    uint64_t writes; /* zero-length ones not counted */
    uint64_t signalled_writes;
    uint64_t write_bytes;
    uint64_t empty_writes;  /* zero-length ones */
    uint64_t completions;   /* polled */
    unsigned largest_poll;  /* most completions by one poll */
    unsigned largest_post;  /* most writes by one post */
    unsigned deepest_queue; /* most slots of a send queue in use */
};

void fake_get_counts(enum fake_side side, struct fake_counts *counts_p);
/* Calls of a function so far, failed ones included. */
uint64_t fake_calls(enum fake_side side, enum fake_call call);
/* Posts of sends that a side had made, the failed one included, when a call last failed. */
uint64_t fake_sends_at_failure(enum fake_side side);
/*
 * What the code under test did that a real device answers with silent damage (the buffer of a SEND
 * changed before its completion, ...): the first such thing, or NULL. Static storage.
 */
const char *fake_breach(void);

/* Sees each SEND and RDMA write when it is executed. The fake's lock is held: call nothing of it. */
typedef void (*fake_tap_fn)(void *opaque, enum fake_side from, enum fake_wr_kind kind,
                            const void *bytes, uint32_t len_bytes, uint64_t remote_addr);
void fake_set_tap(fake_tap_fn fn, void *opaque);

/*
 * Single-threaded tests: called whenever an endpoint of this side is polled and has nothing, so that
 * the other side can do its next step; it is polled once more afterwards.
 */
void fake_set_idle_hook(enum fake_side side, void (*fn)(void *opaque), void *opaque);

#endif
