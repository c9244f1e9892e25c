/* SPDX-License-Identifier: BSD-3-Clause */
/* semantics_error.c -- tests of what goes wrong: refusals, limits, ends that leave, refuse or die.
 */
#include "tests/fabric/semantics.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void expect_async(struct end *e, enum ibv_event_type want)
{
    struct pollfd p = {.fd = e->id->verbs->async_fd, .events = POLLIN};
    struct ibv_async_event a;

    if (poll(&p, 1, 3000) != 1 || ibv_get_async_event(e->id->verbs, &a)) {
        CHECK(!"an asynchronous event");
        return;
    }
    EQUAL(a.event_type, want);
    ibv_ack_async_event(&a);
}

static int state_of(struct end *e)
{
    struct ibv_qp_attr a;
    struct ibv_qp_init_attr i;
    ibv_query_qp(e->qp, &a, IBV_QP_STATE, &i);
    return a.qp_state;
}

/* One way to be refused; what follows is flushed, and the target fails where the rule says so. */
static void refused(int how, enum ibv_wc_status want, bool target_fails)
{
    struct options o = usual;
    struct end c, s;
    struct ibv_mr *other = NULL;
    struct ibv_pd *pd = NULL;

    if (how == 6)
        o.depth = 0;
    end_join(&c, &s, &o);
    struct ibv_sge sge = {.addr = (uint64_t)c.mem, .length = 4096, .lkey = c.mr->lkey};
    struct ibv_send_wr wr = {.wr_id = 1,
                             .opcode = IBV_WR_RDMA_WRITE,
                             .sg_list = &sge,
                             .num_sge = 1,
                             .wr.rdma = {.remote_addr = (uint64_t)s.mem, .rkey = s.mr->rkey}},
                       *bad;
    switch (how) {
    case 0:
        wr.wr.rdma.rkey ^= 0x100;
        break;
    case 1:
        wr.wr.rdma.remote_addr += SIZE - 4095;
        break;
    case 2:
        NEED(other = ibv_reg_mr(s.pd, s.mem, SIZE, IBV_ACCESS_LOCAL_WRITE));
        wr.wr.rdma.rkey = other->rkey;
        break;
    case 3:
        NEED(pd = ibv_alloc_pd(s.id->verbs));
        NEED(other = ibv_reg_mr(pd, s.mem, SIZE, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE));
        wr.wr.rdma.rkey = other->rkey;
        break;
    case 4:
        EQUAL(ibv_dereg_mr(s.mr), 0);
        s.mr = NULL;
        break;
    case 5:
        sge.lkey ^= 0x100;
        break;
    case 6:
        wr.opcode = IBV_WR_RDMA_READ;
        break;
    case 7:
        sge.addr += SIZE;
        break;
    case 8:
        wr.opcode = IBV_WR_ATOMIC_FETCH_AND_ADD;
        break;
    default:
        break;
    }
    memset(c.mem, 1, 4096);
    EQUAL(end_post_recv(&c, 50, 0, 64), 0);
    EQUAL(ibv_post_send(c.qp, &wr, &bad), 0);
    wr.wr_id = 2;
    int err = ibv_post_send(c.qp, &wr, &bad);
    CHECK(err == 0);
    struct ibv_wc wc = wait_wc(c.scq);
    EQUAL(wc.wr_id, 1);
    EQUAL(wc.status, want);
    wc = wait_wc(c.scq);
    EQUAL(wc.wr_id, 2);
    EQUAL(wc.status, IBV_WC_WR_FLUSH_ERR);
    EQUAL(wait_wc(c.rcq).status, IBV_WC_WR_FLUSH_ERR);
    EQUAL(state_of(&c), IBV_QPS_ERR);
    EQUAL(ibv_post_send(c.qp, &wr, &bad), 0); /* accepted, and flushed */
    EQUAL(wait_wc(c.scq).status, IBV_WC_WR_FLUSH_ERR);
    CHECK(!s.mem[0]);
    if (target_fails) {
        expect_async(&s, IBV_EVENT_QP_ACCESS_ERR);
        EQUAL(state_of(&s), IBV_QPS_ERR);
    }
    if (other)
        EQUAL(ibv_dereg_mr(other), 0);
    if (pd)
        EQUAL(ibv_dealloc_pd(pd), 0);
    end_drop(&c);
    end_drop(&s);
}

void test_refusals(void)
{
    refused(0, IBV_WC_REM_ACCESS_ERR, true); /* unknown key */
    refused(1, IBV_WC_REM_ACCESS_ERR, true); /* beyond the end */
    refused(2, IBV_WC_REM_ACCESS_ERR, true); /* no right to write */
    refused(3, IBV_WC_REM_ACCESS_ERR, true); /* another protection domain */
    refused(4, IBV_WC_REM_ACCESS_ERR, true); /* deregistered */
    refused(5, IBV_WC_LOC_PROT_ERR, false);  /* unknown local key */
    refused(6, IBV_WC_LOC_QP_OP_ERR, false); /* no READ agreed on */
    refused(7, IBV_WC_LOC_PROT_ERR, false);  /* local range */
    refused(8, IBV_WC_REM_INV_REQ_ERR, true); /* atomic */
}

void test_receive_errors(void)
{
    struct options o = usual;
    struct end c, s;

    end_join(&c, &s, &o); /* too long for the receive */
    EQUAL(end_post_recv(&s, 1, 0, 100), 0);
    EQUAL(end_post(&c, &s, IBV_WR_SEND, 1, 0, 0, 101, 0), 0);
    EQUAL(wait_wc(s.rcq).status, IBV_WC_LOC_LEN_ERR);
    EQUAL(wait_wc(c.scq).status, IBV_WC_REM_INV_REQ_ERR);
    EQUAL(state_of(&s), IBV_QPS_ERR);
    expect_async(&s, IBV_EVENT_QP_REQ_ERR);
    end_drop(&c);
    end_drop(&s);
    end_join(&c, &s, &o); /* invalidates a region */
    EQUAL(end_post_recv(&s, 1, 0, 100), 0);
    EQUAL(end_post(&c, &s, IBV_WR_SEND_WITH_INV, 1, 0, 0, 1, 0), 0);
    EQUAL(wait_wc(s.rcq).status, IBV_WC_REM_INV_REQ_ERR);
    EQUAL(wait_wc(c.scq).status, IBV_WC_REM_OP_ERR);
    EQUAL(state_of(&s), IBV_QPS_ERR);
    expect_async(&s, IBV_EVENT_QP_REQ_ERR);
    end_drop(&c);
    end_drop(&s);
    o.rnr_retry = 0; /* nobody is ready */
    end_join(&c, &s, &o);
    EQUAL(end_post(&c, &s, IBV_WR_SEND, 1, 0, 0, 10, 0), 0);
    EQUAL(end_post(&c, &s, IBV_WR_RDMA_WRITE, 2, 0, 0, 10, 0), 0);
    EQUAL(wait_wc(c.scq).status, IBV_WC_RNR_RETRY_EXC_ERR);
    EQUAL(wait_wc(c.scq).status, IBV_WC_WR_FLUSH_ERR);
    EQUAL(state_of(&s), IBV_QPS_RTS);
    end_drop(&c);
    end_drop(&s);
    o.rnr_retry = 7; /* patient */
    end_join(&c, &s, &o);
    c.mem[0] = 42;
    EQUAL(end_post(&c, &s, IBV_WR_SEND, 1, 0, 0, 10, IBV_SEND_SIGNALED), 0);
    EQUAL(end_post(&c, &s, IBV_WR_RDMA_WRITE, 2, 0, 4096, 10, IBV_SEND_SIGNALED), 0);
    CHECK(cq_quiet(c.scq, 50));
    CHECK(!s.mem[4096]); /* not before the SEND ahead of it */
    EQUAL(end_post_recv(&s, 1, 0, 100), 0);
    EQUAL(wait_wc(s.rcq).status, IBV_WC_SUCCESS);
    EQUAL(wait_wc(c.scq).wr_id, 1);
    EQUAL(wait_wc(c.scq).wr_id, 2);
    CHECK(s.mem[0] == 42 && s.mem[4096] == 42);
    end_drop(&c);
    end_drop(&s);
}

void test_limits(void)
{
    struct options o = usual;
    struct end c, s;
    struct ibv_send_wr wr = {.opcode = IBV_WR_SEND, .num_sge = 5}, *bad = NULL;
    int n;

    o.max_wr = 4;
    o.cqe = 3;
    o.sig_all = 1;
    end_join(&c, &s, &o);
    for (n = 0; end_post(&c, &s, IBV_WR_SEND, (uint64_t)n, 0, 0, 1, 0) == 0; n++)
        ;
    EQUAL(n, 4);
    EQUAL(end_post(&c, &s, IBV_WR_SEND, 0, 0, 0, 1, 0), ENOMEM);
    EQUAL(ibv_post_send(c.qp, &wr, &bad), EINVAL);
    CHECK(bad == &wr);
    for (n = 0; n < 4; n++)
        EQUAL(end_post_recv(&c, (uint64_t)n, 0, 10),
              0); /* nobody sends to this end: none is used up */
    EQUAL(end_post_recv(&c, 5, 0, 10), ENOMEM);
    for (n = 0; n < 4; n++)
        EQUAL(end_post_recv(&s, (uint64_t)n, 0, 10), 0);
    for (n = 0; n < 4; n++)
        EQUAL(wait_wc(s.rcq).status, IBV_WC_SUCCESS);
    expect_async(&c, IBV_EVENT_CQ_ERR); /* 4 completions into a queue for 3 */
    end_drop(&c);
    end_drop(&s);
}

void test_disconnect(void)
{
    struct end c, s;

    setenv("RDMA_FABRIC_TIMEWAIT_MS", "50", 1);
    end_join(&c, &s, &usual);
    for (int i = 0; i < 3; i++) {
        EQUAL(end_post_recv(&c, (uint64_t)i, 0, 100), 0);
        EQUAL(end_post_recv(&s, (uint64_t)i, 0, 100), 0);
    }
    EQUAL(rdma_disconnect(c.id), 0);
    for (int i = 0; i < 3; i++)
        EQUAL(wait_wc(c.rcq).status, IBV_WC_WR_FLUSH_ERR);
    expect_event(s.ch, RDMA_CM_EVENT_DISCONNECTED);
    CHECK(cq_quiet(s.rcq, 5)); /* the other end keeps its receives until it disconnects too */
    EQUAL(end_post(&s, &c, IBV_WR_RDMA_WRITE, 8, 0, 0, 10, 0), 0);
    EQUAL(wait_wc(s.scq).status, IBV_WC_RETRY_EXC_ERR);
    EQUAL(rdma_disconnect(s.id), 0);
    for (int i = 0; i < 3; i++)
        EQUAL(wait_wc(s.rcq).status, IBV_WC_WR_FLUSH_ERR);
    expect_event(c.ch, RDMA_CM_EVENT_DISCONNECTED);
    expect_event(c.ch, RDMA_CM_EVENT_TIMEWAIT_EXIT);
    expect_event(s.ch, RDMA_CM_EVENT_TIMEWAIT_EXIT);
    end_drop(&c);
    end_drop(&s);
}

void test_refused_connection(void)
{
    struct rdma_conn_param p = {.private_data = "no", .private_data_len = 57};
    struct rdma_event_channel *ch = rdma_create_event_channel();
    struct rdma_cm_id *l = listen_at(ch, 7400), *twice;
    struct rdma_cm_event *e;
    struct sockaddr_in at = end_address(7400);
    struct end c = {0};

    NEED(rdma_create_id(ch, &twice, NULL, RDMA_PS_TCP) == 0);
    CHECK(rdma_bind_addr(twice, (struct sockaddr *)&at) == -1 && errno == EADDRINUSE);
    EQUAL(rdma_destroy_id(twice), 0);
    end_resolve(&c, 7400);
    end_resources(&c, &usual);
    CHECK(rdma_connect(c.id, &p) == -1 && errno == EINVAL); /* more private data than a REQ holds */
    p.private_data_len = 3;
    EQUAL(rdma_connect(c.id, &p), 0);
    NEED(e = next_event(ch, RDMA_CM_EVENT_CONNECT_REQUEST, 3000));
    struct rdma_cm_id *child = e->id;
    rdma_ack_cm_event(e);
    EQUAL(rdma_reject(child, "go away", 8), 0);
    EQUAL(rdma_destroy_id(child), 0);
    NEED(e = next_event(c.ch, RDMA_CM_EVENT_REJECTED, 3000));
    EQUAL(e->status, 28);
    EQUAL(e->param.conn.private_data_len, 148);
    CHECK(!strcmp(e->param.conn.private_data, "go away"));
    rdma_ack_cm_event(e);
    end_drop(&c);
    EQUAL(rdma_destroy_id(l), 0);
    rdma_destroy_event_channel(ch);
    end_resolve(&c, 7400); /* nobody there any more */
    end_resources(&c, &usual);
    EQUAL(rdma_connect(c.id, &p), 0);
    NEED(e = next_event(c.ch, RDMA_CM_EVENT_REJECTED, 3000));
    EQUAL(e->status, 8);
    rdma_ack_cm_event(e);
    end_drop(&c);
}

/* A peer process that accepts, posts one receive, tells where its memory is, and waits to be
 * killed. */
int peer_process(int ready_fd)
{
    struct end s = {0};
    struct rdma_conn_param p = {
        .responder_resources = 4, .initiator_depth = 4, .rnr_retry_count = 7};
    struct rdma_cm_event *e;

    s.ch = rdma_create_event_channel();
    listen_at(s.ch, 7300);
    NEED(write(ready_fd, "", 1) == 1);
    NEED(e = next_event(s.ch, RDMA_CM_EVENT_CONNECT_REQUEST, 10000));
    s.id = e->id;
    rdma_ack_cm_event(e);
    end_resources(&s, &usual);
    uint64_t where[2] = {(uint64_t)s.mem, s.mr->rkey};
    p.private_data = where;
    p.private_data_len = sizeof(where);
    NEED(rdma_accept(s.id, &p) == 0);
    pause();
    return 0;
}

void test_peer_death(void)
{
    struct end c = {0}, s = {0};
    struct rdma_conn_param p = {
        .responder_resources = 4, .initiator_depth = 4, .rnr_retry_count = 7};
    struct rdma_cm_event *e;
    struct ibv_mr mr;
    uint64_t where[2];
    int ready[2];
    char fd_text[16], byte;

    NEED(pipe(ready) == 0);
    snprintf(fd_text, sizeof(fd_text), "%d", ready[1]);
    pid_t pid = fork();
    if (!pid) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl("/proc/self/exe", "semantics", "peer", fd_text, (char *)NULL);
        _exit(127);
    }
    close(ready[1]);
    NEED(read(ready[0], &byte, 1) == 1); /* it listens now */
    close(ready[0]);
    end_resolve(&c, 7300);
    end_resources(&c, &usual);
    EQUAL(rdma_connect(c.id, &p), 0);
    NEED(e = next_event(c.ch, RDMA_CM_EVENT_ESTABLISHED, 10000));
    memcpy(where, e->param.conn.private_data, sizeof(where));
    rdma_ack_cm_event(e);
    s.mem = (uint8_t *)where[0];
    mr.rkey = (uint32_t)where[1];
    s.mr = &mr;
    fill_bytes(c.mem, SIZE, 9);
    EQUAL(end_post(&c, &s, IBV_WR_RDMA_WRITE, 1, 0, 0, SIZE / 2, IBV_SEND_SIGNALED), 0);
    EQUAL(end_post(&c, &s, IBV_WR_RDMA_READ, 2, SIZE / 2, 0, SIZE / 2, IBV_SEND_SIGNALED), 0);
    EQUAL(wait_wc(c.scq).status, IBV_WC_SUCCESS);
    EQUAL(wait_wc(c.scq).status, IBV_WC_SUCCESS);
    CHECK(!memcmp(c.mem, c.mem + SIZE / 2, SIZE / 2)); /* there and back again */
    EQUAL(end_post(&c, &s, IBV_WR_SEND, 3, 0, 0, 10, IBV_SEND_SIGNALED),
          0); /* waits for a receive that never comes */
    EQUAL(end_post(&c, &s, IBV_WR_RDMA_WRITE, 4, 0, 0, 10, IBV_SEND_SIGNALED), 0);
    CHECK(cq_quiet(c.scq, 20));
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    expect_event(c.ch, RDMA_CM_EVENT_DISCONNECTED);
    EQUAL(wait_wc(c.scq).status, IBV_WC_RETRY_EXC_ERR);
    EQUAL(wait_wc(c.scq).status, IBV_WC_WR_FLUSH_ERR);
    end_drop(&c);
}
