/* SPDX-License-Identifier: BSD-3-Clause */
/* semantics.h -- checks, and what the tests do with the two ends of a connection. */
#ifndef TESTS_FABRIC_SEMANTICS_H
#define TESTS_FABRIC_SEMANTICS_H

#include <arpa/inet.h>
#include <errno.h>
#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Counts of this process; the name of the test that runs. */
extern atomic_int passed, failed;
extern const char *test_name;

#define CHECK(cond)                                                                           \
    do {                                                                                      \
        if (cond)                                                                             \
            passed++;                                                                         \
        else {                                                                                \
            failed++;                                                                         \
            printf("# FAIL %s: line %d: %s (errno %d)\n", test_name, __LINE__, #cond, errno); \
        }                                                                                     \
    } while (0)
#define EQUAL(got, want)                                                                           \
    do {                                                                                           \
        long g_ = (long)(got), w_ = (long)(want);                                                  \
        if (g_ == w_)                                                                              \
            passed++;                                                                              \
        else {                                                                                     \
            failed++;                                                                              \
            printf("# FAIL %s: line %d: %s is %ld, not %ld\n", test_name, __LINE__, #got, g_, w_); \
        }                                                                                          \
    } while (0)
#define NEED(cond)                                                                           \
    do {                                                                                     \
        if (!(cond)) {                                                                       \
            printf("# FAIL %s: line %d: %s (errno %d): cannot go on\n", test_name, __LINE__, \
                   #cond, errno);                                                            \
            exit(1);                                                                         \
        }                                                                                    \
    } while (0)

enum { SIZE = 8 << 20, PORT = 7500 };

struct end {
    struct rdma_event_channel *ch;
    struct rdma_cm_id *id;
    struct ibv_pd *pd;
    struct ibv_comp_channel *cc;
    struct ibv_cq *scq, *rcq;
    struct ibv_qp *qp;
    uint8_t *mem;
    struct ibv_mr *mr;
};
struct options {
    int rnr_retry, cqe, max_wr, sig_all, depth, ack_timeout;
};
extern const struct options usual;

struct sockaddr_in end_address(int port);
struct rdma_cm_event *next_event(struct rdma_event_channel *ch, enum rdma_cm_event_type want,
                                 int timeout_ms);
void expect_event(struct rdma_event_channel *ch, enum rdma_cm_event_type want);
void end_resources(struct end *e, const struct options *o);
void end_resolve(struct end *e, int port);
struct rdma_cm_id *listen_at(struct rdma_event_channel *ch, int port);
void end_join(struct end *c, struct end *s, const struct options *o);
void end_drop(struct end *e);
struct ibv_wc wait_wc(struct ibv_cq *cq);
bool cq_quiet(struct ibv_cq *cq, int ms);
int end_post(struct end *from, struct end *to, enum ibv_wr_opcode op, uint64_t id, size_t src,
             size_t dst, uint32_t length, unsigned flags);
int end_post_recv(struct end *e, uint64_t id, size_t at, uint32_t length);
void fill_bytes(uint8_t *p, size_t n, unsigned seed);

/* semantics_data.c, semantics_error.c, semantics_control.c: the tests */
void test_registration(void);
void test_messages(void);
void test_one_sided(void);
void test_notification(void);
void test_dereg_race(void);
void test_traffic(void);
void test_refusals(void);
void test_receive_errors(void);
void test_limits(void);
void test_disconnect(void);
void test_refused_connection(void);
void test_peer_death(void);
void test_control(void) __attribute__((weak)); /* not where a real device is tested */
int peer_process(int ready_fd); /* the other process of test_peer_death */

#endif
