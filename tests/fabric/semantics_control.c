/* SPDX-License-Identifier: BSD-3-Clause */
/* semantics_control.c -- tests of what the fabric does for a test program, and of what it is strict
 * about. */
#include "tests/fabric/semantics.h"

#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "tests/fabric/control.h"

static uint64_t now_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000;
}

/* One poll: what can be there is there. */
static struct ibv_wc one(struct ibv_cq *cq)
{
    struct ibv_wc wc = {.status = IBV_WC_GENERAL_ERR};

    EQUAL(ibv_poll_cq(cq, 1, &wc), 1);
    return wc;
}

static bool nothing(struct ibv_cq *cq)
{
    struct ibv_wc wc;

    return ibv_poll_cq(cq, 1, &wc) == 0;
}

static void drop_both(struct end *c, struct end *s)
{
    end_drop(c);
    end_drop(s);
    CHECK(!fabric_breach());
    fabric_reset();
}

/* A call does all that can be done at once; whatever was sent before is found. */
static void at_once(void)
{
    struct fabric_counts active, passive;
    struct end c, s;

    end_join(&c, &s, &usual);
    fabric_get_counts(FABRIC_ACTIVE, &active);
    fabric_get_counts(FABRIC_PASSIVE, &passive);
    EQUAL(active.endpoints, 1);
    EQUAL(passive.endpoints, 1);
    EQUAL(passive.listeners, 0);
    EQUAL(active.regions, 1);
    EQUAL(passive.registered_bytes, SIZE);
    for (int i = 0; i < 100; i++) {
        EQUAL(end_post_recv(&s, (uint64_t)i, 4096, 100), 0);
        EQUAL(end_post(&c, &s, IBV_WR_RDMA_WRITE, 1, 0, 0, 100, 0), 0);
        EQUAL(end_post(&c, &s, IBV_WR_SEND, 2, 0, 0, 60, IBV_SEND_SIGNALED), 0);
        EQUAL(one(s.rcq).byte_len, 60);
        EQUAL(one(c.scq).wr_id, 2);
    }
    fabric_get_counts(FABRIC_ACTIVE, &active);
    EQUAL(active.sends, 100);
    EQUAL(active.writes, 100);
    EQUAL(active.signalled_writes, 0);
    EQUAL(active.write_bytes, 10000);
    EQUAL(active.doorbells, 200);
    EQUAL(rdma_disconnect(s.id), 0);
    NEED(fabric_inject(FABRIC_ACTIVE, 0, RDMA_CM_EVENT_ADDR_CHANGE, 7));
    CHECK(!fabric_inject(FABRIC_ACTIVE, 1, RDMA_CM_EVENT_ADDR_CHANGE, 7));
    expect_event(c.ch, RDMA_CM_EVENT_DISCONNECTED);
    expect_event(c.ch, RDMA_CM_EVENT_ADDR_CHANGE);
    drop_both(&c, &s);
}

/* Hosts do not share a protection domain, and a region's two keys are not the same. */
static void keys(void)
{
    struct end c, s;

    end_join(&c, &s, &usual);
    CHECK(c.id->verbs != s.id->verbs);
    CHECK(s.mr->lkey != s.mr->rkey);
    EQUAL(end_post(&c, &c, IBV_WR_RDMA_WRITE, 1, 0, 100, 10, 0), 0); /* its own key */
    EQUAL(one(c.scq).status, IBV_WC_REM_ACCESS_ERR);
    drop_both(&c, &s);
    end_join(&c, &s, &usual);
    s.mr->rkey = s.mr->lkey;
    EQUAL(end_post(&c, &s, IBV_WR_RDMA_WRITE, 1, 0, 100, 10, 0), 0);
    EQUAL(one(c.scq).status, IBV_WC_REM_ACCESS_ERR);
    drop_both(&c, &s);
    end_join(&c, &s, &usual);
    c.mr->lkey = c.mr->rkey;
    EQUAL(end_post(&c, &s, IBV_WR_RDMA_WRITE, 1, 0, 100, 10, 0), 0);
    EQUAL(one(c.scq).status, IBV_WC_LOC_PROT_ERR);
    drop_both(&c, &s);
    end_join(&c, &s, &usual);
    s.mr->rkey++; /* no bytes: no key is looked at */
    EQUAL(end_post(&c, &s, IBV_WR_RDMA_WRITE, 1, 0, 0, 0, IBV_SEND_SIGNALED), 0);
    EQUAL(one(c.scq).status, IBV_WC_SUCCESS);
    drop_both(&c, &s);
}

/* A slot is free when its completion, or a later one, has been taken. */
static void slots(void)
{
    struct options o = usual;
    struct end c, s;
    struct ibv_wc wc;

    o.max_wr = 4;
    end_join(&c, &s, &o);
    for (int i = 0; i < 4; i++)
        EQUAL(end_post(&c, &s, IBV_WR_RDMA_WRITE, (uint64_t)i, 0, 0, 1,
                       i == 2 ? IBV_SEND_SIGNALED : 0),
              0);
    EQUAL(end_post(&c, &s, IBV_WR_RDMA_WRITE, 4, 0, 0, 1, 0), ENOMEM);
    EQUAL(one(c.scq).wr_id, 2);
    for (int i = 0; i < 3; i++)
        EQUAL(end_post(&c, &s, IBV_WR_RDMA_WRITE, 5, 0, 0, 1, 0), 0);
    EQUAL(end_post(&c, &s, IBV_WR_RDMA_WRITE, 6, 0, 0, 1, 0), ENOMEM);
    for (int i = 0; i < 4; i++)
        EQUAL(end_post_recv(&c, (uint64_t)i, 0, 10), 0);
    EQUAL(end_post(&s, &c, IBV_WR_SEND, 1, 0, 0, 1, 0), 0);
    EQUAL(end_post_recv(&c, 4, 0, 10), ENOMEM);
    EQUAL(one(c.rcq).wr_id, 0);
    EQUAL(end_post_recv(&c, 4, 0, 10), 0);
    EQUAL(rdma_disconnect(c.id), 0);
    wc = one(c.rcq); /* where the status is an error the rest means nothing */
    EQUAL(wc.status, IBV_WC_WR_FLUSH_ERR);
    EQUAL(wc.wr_id, 1);
    CHECK(wc.opcode != IBV_WC_RECV);
    CHECK(wc.byte_len);
    drop_both(&c, &s);
}

static void failing_calls(void)
{
    struct end c, s;

    end_join(&c, &s, &usual);
    EQUAL(fabric_calls(FABRIC_ACTIVE, API_reg_mr), 1);
    EQUAL(fabric_calls(FABRIC_PASSIVE, API_reg_mr), 1);
    EQUAL(fabric_calls(FABRIC_ANY, API_reg_mr), 2);
    fabric_fail_call(FABRIC_ACTIVE, API_reg_mr, 2, EPERM);
    fabric_fail_call(FABRIC_PASSIVE, API_post_send, 1, ENOSPC);
    fabric_fail_call(FABRIC_ANY, API_poll_cq, 2, EIO);
    struct ibv_mr *other = ibv_reg_mr(s.pd, s.mem, 1, 0), *mr = ibv_reg_mr(c.pd, c.mem, 1, 0);
    NEED(other && mr);
    CHECK(!ibv_reg_mr(c.pd, c.mem, 1, 0) && errno == EPERM);
    EQUAL(ibv_dereg_mr(mr), 0);
    EQUAL(end_post(&c, &s, IBV_WR_RDMA_WRITE, 1, 0, 0, 1, IBV_SEND_SIGNALED), 0);
    EQUAL(end_post(&s, &c, IBV_WR_RDMA_WRITE, 1, 0, 0, 1, 0), ENOSPC);
    CHECK(nothing(s.scq));
    CHECK(ibv_poll_cq(c.scq, 1, &(struct ibv_wc){0}) < 0);
    EQUAL(one(c.scq).wr_id, 1);
    EQUAL(fabric_calls(FABRIC_ACTIVE, API_reg_mr), 3);
    fabric_set_pin_limit(FABRIC_ACTIVE, SIZE + 4096);
    CHECK(!ibv_reg_mr(c.pd, c.mem, 4097, 0) && errno == ENOMEM);
    CHECK(!ibv_reg_mr(c.pd, NULL, 1, 0) && errno == EFAULT); /* nothing is mapped there */
    EQUAL(ibv_dereg_mr(other), 0);
    drop_both(&c, &s);
}

static void failing_requests(void)
{
    struct end c, s;
    struct ibv_wc wc;

    end_join(&c, &s, &usual);
    fabric_fail_wr(FABRIC_ACTIVE, FABRIC_WRITE, 2, IBV_WC_GENERAL_ERR, 0x77);
    EQUAL(end_post(&c, &s, IBV_WR_RDMA_WRITE, 1, 0, 0, 1, IBV_SEND_SIGNALED), 0);
    EQUAL(end_post(&c, &s, IBV_WR_RDMA_WRITE, 2, 0, 0, 1, 0), 0);
    EQUAL(one(c.scq).status, IBV_WC_SUCCESS);
    wc = one(c.scq);
    EQUAL(wc.status, IBV_WC_GENERAL_ERR);
    EQUAL(wc.vendor_err, 0x77);
    EQUAL(end_post(&c, &s, IBV_WR_RDMA_WRITE, 3, 0, 0, 1, 0), 0);
    EQUAL(one(c.scq).status, IBV_WC_WR_FLUSH_ERR);
    drop_both(&c, &s);
    end_join(&c, &s, &usual);
    fabric_fail_wr(FABRIC_PASSIVE, FABRIC_RECV, 1, IBV_WC_LOC_PROT_ERR, 5);
    fabric_set_immediate(FABRIC_PASSIVE, true);
    EQUAL(end_post_recv(&c, 0, 0, 10), 0);
    EQUAL(end_post(&s, &c, IBV_WR_SEND, 1, 0, 0, 1, 0), 0);
    wc = one(c.rcq);
    EQUAL(wc.wc_flags, IBV_WC_WITH_IMM);
    EQUAL(end_post_recv(&s, 0, 0, 10), 0);
    EQUAL(end_post(&c, &s, IBV_WR_SEND, 1, 0, 0, 1, 0), 0);
    wc = one(s.rcq);
    EQUAL(wc.status, IBV_WC_LOC_PROT_ERR);
    EQUAL(wc.vendor_err, 5);
    EQUAL(one(c.scq).status, IBV_WC_REM_OP_ERR);
    drop_both(&c, &s);
}

static void breaches(void)
{
    struct end c, s;

    end_join(&c, &s, &usual);
    EQUAL(end_post_recv(&s, 0, 0, 100), 0);
    EQUAL(end_post(&c, &s, IBV_WR_SEND, 1, 0, 0, 60, IBV_SEND_SIGNALED), 0);
    c.mem[59]++;
    EQUAL(one(c.scq).status, IBV_WC_SUCCESS);
    CHECK(fabric_breach() && strstr(fabric_breach(), "SEND of 60 bytes"));
    end_drop(&c);
    end_drop(&s);
    fabric_reset();
    CHECK(!fabric_breach());
    end_resolve(&c, 7600);
    NEED(c.pd = ibv_alloc_pd(c.id->verbs));
    NEED(c.mr = ibv_reg_mr(c.pd, &c, sizeof(c), 0));
    EQUAL(rdma_destroy_id(c.id), 0);
    CHECK(fabric_breach() && strstr(fabric_breach(), "1 regions"));
    EQUAL(ibv_dereg_mr(c.mr), 0);
    EQUAL(ibv_dealloc_pd(c.pd), 0);
    rdma_destroy_event_channel(c.ch);
    fabric_reset();
}

/* Half of the time for each way; a completion that comes late raises an event, an old one does not. */
static void delay(void)
{
    struct end c, s;
    struct pollfd p = {.events = POLLIN};
    struct ibv_cq *cq;
    void *context;
    uint64_t start;

    end_join(&c, &s, &usual);
    p.fd = c.cc->fd;
    EQUAL(end_post(&c, &s, IBV_WR_RDMA_WRITE, 1, 0, 0, 1, IBV_SEND_SIGNALED), 0);
    EQUAL(ibv_req_notify_cq(c.scq, 0), 0);
    EQUAL(poll(&p, 1, 0), 0);
    EQUAL(one(c.scq).wr_id, 1);
    fabric_set_delay_ms(30);
    start = now_us();
    EQUAL(end_post(&c, &s, IBV_WR_RDMA_WRITE, 2, 0, 0, 1, IBV_SEND_SIGNALED), 0);
    CHECK(nothing(c.scq));
    EQUAL(poll(&p, 1, 5000), 1);
    CHECK(now_us() - start >= 30000);
    EQUAL(ibv_get_cq_event(c.cc, &cq, &context), 0);
    ibv_ack_cq_events(cq, 1);
    EQUAL(one(c.scq).wr_id, 2);
    drop_both(&c, &s);
}

/* A request without bytes has a count of its own; one that stalls holds nobody else; one cuts the link. */
static void chosen_requests(void)
{
    struct end c, s;

    end_join(&c, &s, &usual);
    fabric_fail_wr(FABRIC_ACTIVE, FABRIC_EMPTY_WRITE, 1, IBV_WC_RETRY_EXC_ERR, 9);
    EQUAL(end_post(&c, &s, IBV_WR_RDMA_WRITE, 1, 0, 0, 1, IBV_SEND_SIGNALED), 0);
    EQUAL(one(c.scq).status, IBV_WC_SUCCESS);
    EQUAL(end_post(&c, &s, IBV_WR_RDMA_WRITE, 2, 0, 0, 0, IBV_SEND_SIGNALED), 0);
    EQUAL(one(c.scq).status, IBV_WC_RETRY_EXC_ERR);
    drop_both(&c, &s);
    end_join(&c, &s, &usual);
    fabric_fail_wr(FABRIC_PASSIVE, FABRIC_EMPTY_RECV, 1, IBV_WC_LOC_QP_OP_ERR, 9);
    fabric_fail_wr(FABRIC_ACTIVE, FABRIC_EMPTY_SEND, 2, IBV_WC_GENERAL_ERR, 9);
    EQUAL(end_post_recv(&s, 1, 0, 10), 0);
    EQUAL(end_post(&c, &s, IBV_WR_SEND, 1, 0, 0, 0, IBV_SEND_SIGNALED), 0);
    EQUAL(one(s.rcq).status, IBV_WC_SUCCESS);
    EQUAL(one(c.scq).status, IBV_WC_SUCCESS);
    EQUAL(end_post(&c, &s, IBV_WR_SEND, 2, 0, 0, 0, 0), 0);
    EQUAL(one(c.scq).status, IBV_WC_GENERAL_ERR);
    drop_both(&c, &s);
    end_join(&c, &s, &usual);
    fabric_stall_wr(FABRIC_ACTIVE, FABRIC_SEND, 1);
    EQUAL(end_post_recv(&s, 1, 0, 10), 0);
    EQUAL(end_post(&c, &s, IBV_WR_SEND, 1, 0, 0, 1, IBV_SEND_SIGNALED), 0);
    CHECK(nothing(c.scq));
    CHECK(nothing(s.rcq));
    drop_both(&c, &s);
    end_join(&c, &s, &usual);
    fabric_cut_wr(FABRIC_ACTIVE, FABRIC_WRITE, 2);
    EQUAL(end_post(&c, &s, IBV_WR_RDMA_WRITE, 1, 0, 0, 1, IBV_SEND_SIGNALED), 0);
    EQUAL(one(c.scq).status, IBV_WC_SUCCESS);
    EQUAL(end_post(&c, &s, IBV_WR_RDMA_WRITE, 2, 0, 0, 1, IBV_SEND_SIGNALED), 0);
    CHECK(wait_wc(c.scq).status != IBV_WC_SUCCESS);
    expect_event(s.ch, RDMA_CM_EVENT_DISCONNECTED);
    drop_both(&c, &s);
}

static enum ibv_event_type next_async(struct end *e, void **element)
{
    struct ibv_async_event a;

    NEED(poll(&(struct pollfd){.fd = e->id->verbs->async_fd, .events = POLLIN}, 1, 0) == 1);
    EQUAL(ibv_get_async_event(e->id->verbs, &a), 0);
    *element = a.element.qp;
    ibv_ack_async_event(&a);
    return a.event_type;
}

/* Asynchronous events reach their host; the two fatal ones fail queue pairs; none outlives a reset. */
static void raised_events(void)
{
    static const enum ibv_event_type fatal[] = {IBV_EVENT_QP_FATAL, IBV_EVENT_DEVICE_FATAL};
    struct end c, s;
    void *element;

    for (int i = 0; i < 2; i++) {
        end_join(&c, &s, &usual);
        NEED(fabric_raise(FABRIC_ACTIVE, 0, IBV_EVENT_PORT_ERR));
        CHECK(!fabric_raise(FABRIC_ACTIVE, 1, IBV_EVENT_PORT_ERR));
        EQUAL(next_async(&c, &element), IBV_EVENT_PORT_ERR);
        EQUAL(end_post(&c, &s, IBV_WR_RDMA_WRITE, 1, 0, 0, 1, IBV_SEND_SIGNALED), 0);
        EQUAL(one(c.scq).status, IBV_WC_SUCCESS);
        NEED(fabric_raise(FABRIC_ACTIVE, 0, IBV_EVENT_CQ_ERR));
        EQUAL(next_async(&c, &element), IBV_EVENT_CQ_ERR);
        CHECK(element == c.scq);
        NEED(fabric_raise(FABRIC_ACTIVE, 0, fatal[i]));
        EQUAL(next_async(&c, &element), fatal[i]);
        CHECK(i || element == c.qp);
        EQUAL(end_post(&c, &s, IBV_WR_RDMA_WRITE, 2, 0, 0, 1, 0), 0);
        EQUAL(one(c.scq).status, IBV_WC_WR_FLUSH_ERR);
        NEED(fabric_raise(FABRIC_PASSIVE, 0, IBV_EVENT_GID_CHANGE));
        element = s.id->verbs;
        drop_both(&c, &s);
        struct pollfd p = {.fd = ((struct ibv_context *)element)->async_fd, .events = POLLIN};
        EQUAL(poll(&p, 1, 0), 0);
    }
}

/* An unreachable peer is tried as long as the local ACK timeout and the retries say. */
static void silence(void)
{
    struct options o = usual;
    struct end c, s;
    uint64_t start;

    o.ack_timeout = 12; /* 17 ms a try, 6 tries */
    end_join(&c, &s, &o);
    fabric_black_hole();
    start = now_us();
    EQUAL(end_post(&c, &s, IBV_WR_RDMA_WRITE, 1, 0, 0, 1, 0), 0);
    EQUAL(wait_wc(c.scq).status, IBV_WC_RETRY_EXC_ERR);
    CHECK(now_us() - start >= 6 * (4096ull << 12) / 1000);
    EQUAL(rdma_disconnect(c.id), 0);
    CHECK(poll(&(struct pollfd){.fd = s.ch->fd, .events = POLLIN}, 1, 20) == 0);
    drop_both(&c, &s);
    end_join(&c, &s, &usual);
    NEED(fabric_hang_up(FABRIC_PASSIVE, 0));
    expect_event(c.ch, RDMA_CM_EVENT_DISCONNECTED);
    expect_event(s.ch, RDMA_CM_EVENT_DISCONNECTED);
    drop_both(&c, &s);
}

static struct end *hooked[2];

static void say(void *opaque)
{
    (void)opaque;
    EQUAL(end_post(hooked[0], hooked[1], IBV_WR_SEND, 1, 0, 0, 1, 0), 0);
}

static void hook(void)
{
    struct end c, s;

    end_join(&c, &s, &usual);
    hooked[0] = &c;
    hooked[1] = &s;
    EQUAL(end_post_recv(&s, 3, 0, 10), 0);
    CHECK(nothing(s.rcq));
    fabric_set_idle_hook(FABRIC_PASSIVE, say, NULL);
    CHECK(nothing(c.rcq));
    EQUAL(one(s.rcq).wr_id, 3);
    drop_both(&c, &s);
}

/* What a step is answered with in place of its event. */
static void answers(void)
{
    struct sockaddr_in to = end_address(7500);
    struct rdma_cm_event *e;
    struct end c = {0};

    NEED(c.ch = rdma_create_event_channel());
    NEED(rdma_create_id(c.ch, &c.id, NULL, RDMA_PS_TCP) == 0);
    fabric_answer(FABRIC_ACTIVE, API_resolve_addr, 1, RDMA_CM_EVENT_ADDR_ERROR, -ENODEV);
    NEED(rdma_resolve_addr(c.id, NULL, (struct sockaddr *)&to, 1000) == 0);
    NEED(e = next_event(c.ch, RDMA_CM_EVENT_ADDR_ERROR, 0));
    EQUAL(e->status, -ENODEV);
    rdma_ack_cm_event(e);
    fabric_answer(FABRIC_ACTIVE, API_resolve_route, 1, FABRIC_NO_EVENT, 0);
    NEED(rdma_resolve_route(c.id, 1000) == 0);
    CHECK(poll(&(struct pollfd){.fd = c.ch->fd, .events = POLLIN}, 1, 5) == 0);
    EQUAL(rdma_destroy_id(c.id), 0);
    rdma_destroy_event_channel(c.ch);
    fabric_reset();
}

void test_control(void)
{
    fabric_reset();
    at_once();
    keys();
    slots();
    failing_calls();
    failing_requests();
    breaches();
    chosen_requests();
    raised_events();
    delay();
    silence();
    hook();
    answers();
}
