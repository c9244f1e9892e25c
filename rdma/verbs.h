/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * verbs.h -- the narrow waist to libibverbs and librdmacm.
 *
 * verbs.c and verbs_device.c alone include their headers; they turn each of their conventions (positive
 * errno, -1 and errno, NULL and errno) into a negative errno once. Nothing here waits: what can be
 * waited for is a file descriptor, and rdma/pump.c is the one that polls. Unit tests run
 * it on the RDMA fabric of tests/fabric/.
 */
#ifndef RDMA_VERBS_H
#define RDMA_VERBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <rmig/error.h>

struct rmig_rdma_verbs;          /* an endpoint: CM identifier and, once made, PD, CQ, queue pair */
struct rmig_rdma_verbs_listener; /* a listening CM identifier */

/* Private data of a CM message: IB and RoCE deliver up to 196 bytes, zero padded. */
#define RMIG_RDMA_PRIVATE_DATA_MAX_BYTES 196

enum rmig_rdma_cm_event_type {
    RMIG_RDMA_CM_ADDR_RESOLVED = 1,
    RMIG_RDMA_CM_ADDR_ERROR,
    RMIG_RDMA_CM_ROUTE_RESOLVED,
    RMIG_RDMA_CM_ROUTE_ERROR,
    RMIG_RDMA_CM_CONNECT_REQUEST,
    RMIG_RDMA_CM_CONNECT_ERROR,
    RMIG_RDMA_CM_UNREACHABLE,
    RMIG_RDMA_CM_REJECTED,
    RMIG_RDMA_CM_ESTABLISHED,
    RMIG_RDMA_CM_DISCONNECTED,
    RMIG_RDMA_CM_DEVICE_REMOVAL,
    RMIG_RDMA_CM_ADDR_CHANGE,
    RMIG_RDMA_CM_TIMEWAIT_EXIT,
    RMIG_RDMA_CM_OTHER
};

struct rmig_rdma_cm_event {
    enum rmig_rdma_cm_event_type type;
    int status; /* 0, a negative errno, or a CM reject reason (REJECTED) */
    size_t private_data_len_bytes;
    uint8_t private_data[RMIG_RDMA_PRIVATE_DATA_MAX_BYTES];
};

/* What rdma_connect and rdma_accept take. */
struct rmig_rdma_conn_param {
    const void *private_data; /* copied */
    uint8_t private_data_len_bytes;
    uint8_t responder_resources;
    uint8_t initiator_depth;
    uint8_t retry_count;
    uint8_t rnr_retry_count;
};

/* What the device allows; asked once it is known (address resolved, or a request received). */
struct rmig_rdma_device_attr {
    char name[64];
    uint32_t max_qp_wr;
    uint32_t max_cqe;
    uint64_t max_mr_bytes;
};

struct rmig_rdma_qp_attr {
    uint32_t max_send_wr;
    uint32_t max_recv_wr;
};

enum rmig_rdma_wc_opcode {
    RMIG_RDMA_WC_SEND = 1,
    RMIG_RDMA_WC_WRITE,
    RMIG_RDMA_WC_RECV,
    RMIG_RDMA_WC_RECV_WITH_IMM_OR_INV, /* a receive that carries what this protocol has not */
    RMIG_RDMA_WC_OTHER
};

/* A work completion. */
struct rmig_rdma_wc {
    uint64_t wr_id;
    int status; /* 0 = success, else the provider's number; text by rmig_rdma_verbs_status_text() */
    bool flushed; /* the failure is "flushed": the queue pair had failed or been torn down before */
    bool refused; /* the failure is that the peer's device would not have it: it may be going away */
    enum rmig_rdma_wc_opcode opcode; /* meaningless where status is not 0 */
    uint32_t len_bytes;              /* receives: bytes received */
    uint32_t vendor_error;
};

/* A memory region. */
struct rmig_rdma_mr {
    void *handle; /* NULL = none */
    uint32_t lkey;
    uint32_t rkey;
};

/* One RDMA write. len_bytes 0 writes nothing: the peer's device answers, which proves it alive. */
struct rmig_rdma_write {
    uint64_t wr_id;
    const void *local;
    uint64_t remote_addr;
    uint32_t len_bytes;
    uint32_t lkey;
    uint32_t rkey;
    bool signalled;
};

/* --- devices ---------------------------------------------------------------------------------- */

/* Returns: how many RDMA devices there are; -ENODEV none, with the reason; -errno. */
int rmig_rdma_verbs_count_devices(struct rmig_err *err);

/*
 * The address to bind for (device, port, gid_index); gid_index -1 = the best IPv4, else IPv6 one.
 * Returns: 0; -ENODEV no such device, naming those there are; -EADDRNOTAVAIL no usable GID.
 */
int rmig_rdma_verbs_device_address(const char *device, uint32_t port, int gid_index,
                                   struct sockaddr_storage *addr_p, struct rmig_err *err);

/* --- connection: each returns 0 or -errno, the outcome of a request comes as a CM event -------- */

int rmig_rdma_verbs_open(struct rmig_rdma_verbs **v_p, struct rmig_err *err);
/* Destroys the queue pair: from its return on no peer can reach memory through it. None is fine. */
void rmig_rdma_verbs_destroy_qp(struct rmig_rdma_verbs *v);
/* Destroys the queue pair and the rest. NULL is fine. Requires: the regions registered through it are
 * deregistered: librdmacm frees the protection domain with the last identifier of a device. */
void rmig_rdma_verbs_close(struct rmig_rdma_verbs *v);
int rmig_rdma_verbs_resolve_addr(struct rmig_rdma_verbs *v, const struct sockaddr *src,
                                 const struct sockaddr *dst, int timeout_ms, struct rmig_err *err);
int rmig_rdma_verbs_resolve_route(struct rmig_rdma_verbs *v, int timeout_ms, struct rmig_err *err);
int rmig_rdma_verbs_query_device(struct rmig_rdma_verbs *v, struct rmig_rdma_device_attr *attr_p,
                                 struct rmig_err *err);
/* Can the device fault pages in, for RDMA writes from and to them? */
bool rmig_rdma_verbs_has_on_demand(const struct rmig_rdma_verbs *v);
/* Local ACK timeout of the queue pair: 4.096 us * 2^exponent. Before connect or accept. */
int rmig_rdma_verbs_set_ack_timeout(struct rmig_rdma_verbs *v, uint8_t exponent,
                                    struct rmig_err *err);
/* Requires: query_device has succeeded. */
int rmig_rdma_verbs_create_qp(struct rmig_rdma_verbs *v, const struct rmig_rdma_qp_attr *attr,
                              struct rmig_err *err);
int rmig_rdma_verbs_connect(struct rmig_rdma_verbs *v, const struct rmig_rdma_conn_param *param,
                            struct rmig_err *err);
int rmig_rdma_verbs_accept(struct rmig_rdma_verbs *v, const struct rmig_rdma_conn_param *param,
                           struct rmig_err *err);
int rmig_rdma_verbs_reject(struct rmig_rdma_verbs *v, const void *private_data, uint8_t len_bytes,
                           struct rmig_err *err);
int rmig_rdma_verbs_disconnect(struct rmig_rdma_verbs *v, struct rmig_err *err);
/* Address of the other end, for messages; family 0 where it is not known. */
void rmig_rdma_verbs_peer_address(const struct rmig_rdma_verbs *v, struct sockaddr_storage *addr_p);

int rmig_rdma_verbs_listen(const struct sockaddr *addr, int backlog,
                           struct rmig_rdma_verbs_listener **l_p, uint16_t *port_p,
                           struct rmig_err *err);
int rmig_rdma_verbs_listener_fd(const struct rmig_rdma_verbs_listener *l);
/* Takes one connection request. Returns: 1 with a new endpoint, 0 none there now, -errno. */
int rmig_rdma_verbs_get_request(struct rmig_rdma_verbs_listener *l, struct rmig_rdma_verbs **v_p,
                                struct rmig_rdma_cm_event *event_p, struct rmig_err *err);
void rmig_rdma_verbs_listener_close(struct rmig_rdma_verbs_listener *l);

/* --- events ----------------------------------------------------------------------------------- */

int rmig_rdma_verbs_cm_fd(const struct rmig_rdma_verbs *v);
/* -1 before the queue pair is made. */
int rmig_rdma_verbs_cq_fd(const struct rmig_rdma_verbs *v);
/* Returns: 1 with an event, 0 none there now, -errno. */
int rmig_rdma_verbs_get_cm_event(struct rmig_rdma_verbs *v, struct rmig_rdma_cm_event *event_p,
                                 struct rmig_err *err);
/* Asks for a completion event: cq_fd polls readable at the next completion. Poll once more after. */
int rmig_rdma_verbs_arm(struct rmig_rdma_verbs *v, struct rmig_err *err);
/* Takes the completion events that made cq_fd readable, if any. */
int rmig_rdma_verbs_take_cq_events(struct rmig_rdma_verbs *v, struct rmig_err *err);
/* Polls up to nwc completions. Returns: how many, or -errno. */
int rmig_rdma_verbs_poll(struct rmig_rdma_verbs *v, struct rmig_rdma_wc *wc, int nwc,
                         struct rmig_err *err);
/* -1 before the queue pair is made. Readable: the device has asynchronous events. */
int rmig_rdma_verbs_async_fd(const struct rmig_rdma_verbs *v);
/*
 * Takes them, for all endpoints: librdmacm opens a device once for a process. Returns: what of those
 * so far has ended this endpoint, static text, or NULL; whether its port has failed and not come back.
 */
const char *rmig_rdma_verbs_take_async(struct rmig_rdma_verbs *v, bool *port_is_down_p);
/* Static text of a completion status. */
const char *rmig_rdma_verbs_status_text(int status);

/* --- memory and work requests ----------------------------------------------------------------- */

/*
 * Registers [addr, addr + len_bytes). remote_write: the peer may write to it; else no access is
 * granted but to this side's own sends, receives (local_write) and writes. With RMIG_RDMA_ON_DEMAND
 * it is not pinned: the device faults pages in.
 */
enum rmig_rdma_access { RMIG_RDMA_READ_LOCAL, RMIG_RDMA_WRITE_LOCAL, RMIG_RDMA_WRITE_REMOTE };
#define RMIG_RDMA_ON_DEMAND 0x100u
int rmig_rdma_verbs_reg_mr(struct rmig_rdma_verbs *v, void *addr, uint64_t len_bytes,
                           unsigned access, struct rmig_rdma_mr *mr_p, struct rmig_err *err);
/* Deregisters; a region without handle is fine. Returns: 0; -errno, and the region is there still. */
int rmig_rdma_verbs_dereg_mr(struct rmig_rdma_mr *mr, struct rmig_err *err);
int rmig_rdma_verbs_post_recv(struct rmig_rdma_verbs *v, uint64_t wr_id, void *addr,
                              uint32_t len_bytes, uint32_t lkey, struct rmig_err *err);
/* One SEND, signalled. */
int rmig_rdma_verbs_post_send(struct rmig_rdma_verbs *v, uint64_t wr_id, const void *addr,
                              uint32_t len_bytes, uint32_t lkey, struct rmig_err *err);
/* A chain of writes in one post (one doorbell). Requires: 1 <= nwrites <= RMIG_RDMA_POST_MAX. */
#define RMIG_RDMA_POST_MAX 32
int rmig_rdma_verbs_post_writes(struct rmig_rdma_verbs *v, const struct rmig_rdma_write *writes,
                                unsigned nwrites, struct rmig_err *err);

#endif
