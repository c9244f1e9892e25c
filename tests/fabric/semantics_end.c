/* SPDX-License-Identifier: BSD-3-Clause */
/* semantics_end.c -- the two ends of a connection: set up, joined, used, and dropped. */
#include "tests/fabric/semantics.h"

#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

const struct options usual = {.rnr_retry = 7, .cqe = 256, .max_wr = 64, .depth = 4};

/* RDMA_TEST_ADDRESS: the address of a real device, when the program is built without the fabric
 * (README). */
struct sockaddr_in end_address(int port)
{
    const char *at = getenv("RDMA_TEST_ADDRESS");

    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = inet_addr(at ? at : "127.0.0.1")};
}

struct rdma_cm_event *next_event(struct rdma_event_channel *ch, enum rdma_cm_event_type want,
                                 int timeout_ms)
{
    struct pollfd p = {.fd = ch->fd, .events = POLLIN};
    struct rdma_cm_event *e;

    if (poll(&p, 1, timeout_ms) != 1) {
        printf("# FAIL %s: no event, %s expected\n", test_name, rdma_event_str(want));
        failed++;
        return NULL;
    }
    NEED(rdma_get_cm_event(ch, &e) == 0);
    if (e->event != want) {
        printf("# FAIL %s: event %s, %s expected\n", test_name, rdma_event_str(e->event),
               rdma_event_str(want));
        failed++;
    } else {
        passed++;
    }
    return e;
}

void expect_event(struct rdma_event_channel *ch, enum rdma_cm_event_type want)
{
    struct rdma_cm_event *e = next_event(ch, want, 5000);
    if (e)
        rdma_ack_cm_event(e);
}

void end_resources(struct end *e, const struct options *o)
{
    struct ibv_qp_init_attr a = {.qp_type = IBV_QPT_RC,
                                 .sq_sig_all = o->sig_all,
                                 .cap = {.max_send_wr = (uint32_t)o->max_wr,
                                         .max_recv_wr = (uint32_t)o->max_wr,
                                         .max_send_sge = 4,
                                         .max_recv_sge = 4,
                                         .max_inline_data = 64}};

    NEED(e->pd = ibv_alloc_pd(e->id->verbs));
    NEED(e->cc = ibv_create_comp_channel(e->id->verbs));
    NEED(a.send_cq = e->scq = ibv_create_cq(e->id->verbs, o->cqe, NULL, e->cc, 0));
    NEED(a.recv_cq = e->rcq = ibv_create_cq(e->id->verbs, 256, NULL, e->cc, 0));
    NEED(rdma_create_qp(e->id, e->pd, &a) == 0);
    e->qp = e->id->qp;
    NEED((e->mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) !=
         MAP_FAILED);
    NEED(e->mr =
             ibv_reg_mr(e->pd, e->mem, SIZE,
                        IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ));
}

void end_resolve(struct end *e, int port)
{
    struct sockaddr_in to = end_address(port);

    NEED(e->ch = rdma_create_event_channel());
    NEED(rdma_create_id(e->ch, &e->id, NULL, RDMA_PS_TCP) == 0);
    NEED(rdma_resolve_addr(e->id, NULL, (struct sockaddr *)&to, 1000) == 0);
    expect_event(e->ch, RDMA_CM_EVENT_ADDR_RESOLVED);
    NEED(rdma_resolve_route(e->id, 1000) == 0);
    expect_event(e->ch, RDMA_CM_EVENT_ROUTE_RESOLVED);
}

struct rdma_cm_id *listen_at(struct rdma_event_channel *ch, int port)
{
    struct sockaddr_in at = end_address(port);
    struct rdma_cm_id *id;

    NEED(rdma_create_id(ch, &id, NULL, RDMA_PS_TCP) == 0);
    NEED(rdma_bind_addr(id, (struct sockaddr *)&at) == 0);
    NEED(id->verbs);
    NEED(rdma_listen(id, 5) == 0);
    return id;
}

/* Connects client c to server s through a listener that is gone afterwards. */
void end_join(struct end *c, struct end *s, const struct options *o)
{
    static int port = PORT;
    struct rdma_conn_param p = {.responder_resources = (uint8_t)o->depth,
                                .initiator_depth = (uint8_t)o->depth,
                                .retry_count = 5,
                                .rnr_retry_count = (uint8_t)o->rnr_retry,
                                .private_data = "hello",
                                .private_data_len = 6};
    struct rdma_cm_event *e;

    memset(c, 0, sizeof(*c));
    memset(s, 0, sizeof(*s));
    NEED(s->ch = rdma_create_event_channel());
    struct rdma_cm_id *l = listen_at(s->ch, ++port);
    end_resolve(c, port);
    if (o->ack_timeout) {
        uint8_t exponent = (uint8_t)o->ack_timeout;
        NEED(rdma_set_option(c->id, RDMA_OPTION_ID, RDMA_OPTION_ID_ACK_TIMEOUT, &exponent, 1) == 0);
    }
    end_resources(c, o);
    NEED(rdma_connect(c->id, &p) == 0);
    NEED(e = next_event(s->ch, RDMA_CM_EVENT_CONNECT_REQUEST, 5000));
    s->id = e->id;
    CHECK(e->listen_id == l);
    EQUAL(e->param.conn.private_data_len, 56);
    CHECK(!memcmp(e->param.conn.private_data, "hello\0\0\0", 8));
    EQUAL(e->param.conn.responder_resources, o->depth);
    EQUAL(e->param.conn.rnr_retry_count, o->rnr_retry);
    rdma_ack_cm_event(e);
    end_resources(s, o);
    p.private_data = "welcome";
    p.private_data_len = 8;
    NEED(rdma_accept(s->id, &p) == 0);
    NEED(e = next_event(c->ch, RDMA_CM_EVENT_ESTABLISHED, 5000));
    EQUAL(e->param.conn.private_data_len, 196);
    CHECK(!memcmp(e->param.conn.private_data, "welcome\0\0", 9));
    rdma_ack_cm_event(e);
    expect_event(s->ch, RDMA_CM_EVENT_ESTABLISHED);
    EQUAL(rdma_destroy_id(l), 0);
    EQUAL(ntohs(rdma_get_dst_port(c->id)), port);
    EQUAL(rdma_get_src_port(c->id), rdma_get_dst_port(s->id));
}

void end_drop(struct end *e)
{
    rdma_destroy_qp(e->id);
    if (e->mr)
        EQUAL(ibv_dereg_mr(e->mr), 0);
    EQUAL(ibv_destroy_cq(e->scq), 0);
    EQUAL(ibv_destroy_cq(e->rcq), 0);
    EQUAL(ibv_destroy_comp_channel(e->cc), 0);
    EQUAL(ibv_dealloc_pd(e->pd), 0);
    EQUAL(rdma_destroy_id(e->id), 0);
    rdma_destroy_event_channel(e->ch);
    munmap(e->mem, SIZE);
}

struct ibv_wc wait_wc(struct ibv_cq *cq)
{
    struct ibv_wc wc = {.status = IBV_WC_GENERAL_ERR, .wr_id = 999};
    time_t end = time(NULL) + 10;
    int n;

    while (!(n = ibv_poll_cq(cq, 1, &wc)) && time(NULL) < end)
        ;
    if (n != 1) {
        printf("# FAIL %s: no completion\n", test_name);
        failed++;
    }
    return wc;
}

bool cq_quiet(struct ibv_cq *cq, int ms)
{
    struct ibv_wc wc;
    for (; ms; ms--, usleep(1000))
        if (ibv_poll_cq(cq, 1, &wc))
            return false;
    return true;
}

int end_post(struct end *from, struct end *to, enum ibv_wr_opcode op, uint64_t id, size_t src,
             size_t dst, uint32_t length, unsigned flags)
{
    struct ibv_sge sge = {
        .addr = (uint64_t)from->mem + src, .length = length, .lkey = from->mr->lkey};
    struct ibv_send_wr wr = {.wr_id = id,
                             .opcode = op,
                             .send_flags = flags,
                             .sg_list = &sge,
                             .num_sge = 1,
                             .imm_data = htonl(0x1234),
                             .wr.rdma = {.remote_addr = (uint64_t)to->mem + dst,
                                         .rkey = to->mr->rkey}},
                       *bad;
    return ibv_post_send(from->qp, &wr, &bad);
}

int end_post_recv(struct end *e, uint64_t id, size_t at, uint32_t length)
{
    struct ibv_sge sge = {.addr = (uint64_t)e->mem + at, .length = length, .lkey = e->mr->lkey};
    struct ibv_recv_wr wr = {.wr_id = id, .sg_list = &sge, .num_sge = 1}, *bad;
    return ibv_post_recv(e->qp, &wr, &bad);
}

void fill_bytes(uint8_t *p, size_t n, unsigned seed)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)((seed = seed * 1664525u + 1013904223u) >> 24);
}
