/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * control.h -- the fabric inside a test program: what the test makes go wrong, and what it watches.
 *
 * The program links the fabric's objects: its own ibv_* and rdma_* come before those of the shared
 * libraries. The first fabric_reset() makes it a network of its own with two hosts in it:
 *
 * - An identifier is of the active host once it resolves an address, of the passive one if it listens
 *   or came with a connection request; before that, as the thread that made it has said
 *   (fabric_set_thread_side). Each host has its own context of the device, so its own protection domain.
 * - What can be done at once is done by the call that asks for it: when a post returns, whatever it
 *   set going has arrived; rdma_get_cm_event finds what was sent before. The fabric's own threads
 *   are left with what takes time. So a test that plays both ends in one thread sees the same every
 *   time.
 * - Nothing is pinned and nothing is faulted in; that a registered range is mapped is checked.
 *
 * Everything here may be called from any thread. A test program calls fabric_reset() in the process
 * that uses the fabric, not before fork.
 */
#ifndef TESTS_FABRIC_CONTROL_H
#define TESTS_FABRIC_CONTROL_H

#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

/* The calls that can be made to fail, and the errno that they usually fail with. */
/* clang-format off */
#define API_LIST(X) \
    X(open_device, ENODEV) \
    X(query_device, EIO) \
    X(query_port, EIO) \
    X(query_gid, EIO) \
    X(alloc_pd, ENOMEM) \
    X(dealloc_pd, EBUSY) \
    X(reg_mr, ENOMEM) \
    X(dereg_mr, EBUSY) \
    X(create_comp_channel, EMFILE) \
    X(create_cq, ENOMEM) \
    X(destroy_cq, EBUSY) \
    X(create_qp, ENOMEM) \
    X(modify_qp, EINVAL) \
    X(query_qp, EIO) \
    X(destroy_qp, EBUSY) \
    X(post_send, ENOMEM) \
    X(post_recv, ENOMEM) \
    X(poll_cq, EIO) \
    X(req_notify_cq, EIO) \
    X(get_cq_event, EIO) \
    X(create_event_channel, EMFILE) \
    X(create_id, ENOMEM) \
    X(bind_addr, EADDRINUSE) \
    X(resolve_addr, EHOSTUNREACH) \
    X(resolve_route, ENETUNREACH) \
    X(rdma_create_qp, ENOMEM) \
    X(connect, ECONNREFUSED) \
    X(listen, EADDRINUSE) \
    X(accept, ECONNABORTED) \
    X(reject, EINVAL) \
    X(establish, EINVAL) \
    X(disconnect, EINVAL) \
    X(get_cm_event, EIO) \
    X(set_option, EINVAL) \
    X(migrate_id, EINVAL) \
    X(getaddrinfo, EAGAIN)
/* clang-format on */
enum api {
#define X(name, err) API_##name,
    API_LIST(X)
#undef X
        API_COUNT
};

const char *fabric_api_name(enum api api);

enum fabric_side { FABRIC_ANY, FABRIC_ACTIVE, FABRIC_PASSIVE, FABRIC_SIDES };
/* The empty ones are those without bytes; they count among the others as well. */
enum fabric_wr_kind {
    FABRIC_SEND,
    FABRIC_WRITE,
    FABRIC_RECV,
    FABRIC_EMPTY_SEND,
    FABRIC_EMPTY_WRITE,
    FABRIC_EMPTY_RECV,
    FABRIC_WR_KINDS
};

/*
 * Forget every control, count and breach; devices and limits are the default again.
 * Requires: no identifier is open, no region registered.
 */
void fabric_reset(void);
/* What this thread creates from now on (event channels, identifiers) is of this host. */
void fabric_set_thread_side(enum fabric_side side);

/* --- the hosts -------------------------------------------------------------------------------- */

void fabric_set_devices(unsigned ndevices); /* 0 or 1, fab0 */
void fabric_set_limits(enum fabric_side side, uint32_t max_qp_wr, uint64_t max_mr_bytes);
/* Most bytes that a host can have registered, as RLIMIT_MEMLOCK has it; beyond is ENOMEM. */
void fabric_set_pin_limit(enum fabric_side side, uint64_t limit_bytes);
/* How long a registration takes; 999 at most. */
void fabric_set_pin_ms(enum fabric_side side, uint32_t each_ms);

/* --- failures --------------------------------------------------------------------------------- */

/* The kth call from now on (1 = the next) fails with error; post_send and post_recv count requests. */
void fabric_fail_call(enum fabric_side side, enum api api, uint64_t kth, int error);
/* The kth work request posted from now on completes with status; the queue pair then fails. */
void fabric_fail_wr(enum fabric_side side, enum fabric_wr_kind kind, uint64_t kth,
                    enum ibv_wc_status status, uint32_t vendor_error);
/* It is never executed and never completes. Requires: no receive. */
void fabric_stall_wr(enum fabric_side side, enum fabric_wr_kind kind, uint64_t kth);
/* The connection is cut when it is to be executed, as if a process had died. Requires: no receive. */
void fabric_cut_wr(enum fabric_side side, enum fabric_wr_kind kind, uint64_t kth);
/*
 * What the kth resolve_addr, resolve_route, connect or accept from now on is answered with in
 * place of its usual event; FABRIC_NO_EVENT = with nothing at all.
 */
#define FABRIC_NO_EVENT (-1)
void fabric_answer(enum fabric_side side, enum api api, uint64_t kth, int event, int status);
/* Queue a CM event at the side's index-th open identifier, in order of making. Returns: is there one? */
bool fabric_inject(enum fabric_side side, unsigned index, enum rdma_cm_event_type type, int status);
/* The same at the side's identifier that listens. */
bool fabric_inject_listener(enum fabric_side side, enum rdma_cm_event_type type, int status);
/* The connection of that identifier is cut, as if the peer's process had died. Returns: as above. */
bool fabric_hang_up(enum fabric_side side, unsigned index);
/*
 * An asynchronous event of that identifier's device, port, queue pair or completion queue, as the type
 * has it. DEVICE_FATAL fails all queue pairs of the host, QP_FATAL that one, too.
 * Returns: is there such an identifier, with a queue pair?
 */
bool fabric_raise(enum fabric_side side, unsigned index, enum ibv_event_type type);
/* SENDs of a side posted from now on carry immediate data. */
void fabric_set_immediate(enum fabric_side side, bool on);
/* From now on nothing that one host sends reaches the other, and nothing is answered. */
void fabric_black_hole(void);
/* How long a work request takes from its post to its completion: half of it each way. */
void fabric_set_delay_ms(uint32_t delay_ms);

/* --- watching --------------------------------------------------------------------------------- */

struct fabric_counts {
    unsigned endpoints; /* identifiers that do not listen, open now */
    unsigned listeners;
    unsigned regions;        /* registered now */
    unsigned remote_regions; /* of these, writable by the peer */
    uint64_t registered_bytes;
    uint64_t peak_registered_bytes;
    uint64_t registrations; /* ever */
    uint64_t doorbells;     /* ibv_post_send calls */
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

void fabric_get_counts(enum fabric_side side, struct fabric_counts *counts_p);
/* Calls of a function so far, failed ones included. */
uint64_t fabric_calls(enum fabric_side side, enum api api);
/* SENDs that a side had posted when a call of it last failed as fabric_fail_call said. */
uint64_t fabric_sends_at_failure(enum fabric_side side);
/*
 * What the code under test did that a real device answers with silent damage: the buffer of a SEND
 * changed before its completion was taken, regions that outlived the last identifier. The first such
 * thing, or NULL. Static storage.
 */
const char *fabric_breach(void);

/* Sees each SEND and RDMA write when it is posted. Call nothing of the fabric from it. */
typedef void (*fabric_tap_fn)(void *opaque, enum fabric_side from, enum fabric_wr_kind kind,
                              const void *bytes, uint32_t len_bytes, uint64_t remote_addr);
void fabric_set_tap(fabric_tap_fn fn, void *opaque);

/*
 * Single-threaded tests: called whenever a completion queue of this side is polled and has nothing,
 * so that the other side can do its next step; it is polled once more afterwards.
 */
void fabric_set_idle_hook(enum fabric_side side, void (*fn)(void *opaque), void *opaque);

#endif
