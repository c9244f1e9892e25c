/* SPDX-License-Identifier: BSD-3-Clause */
/* semantics_data.c -- tests of what is moved: memory, messages, one-sided requests, notification.
 */
#include "tests/fabric/semantics.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void test_registration(void)
{
    struct end c, s;
    long page = sysconf(_SC_PAGESIZE);
    uint8_t *hole =
        mmap(NULL, (size_t)page * 3, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint8_t *fixed = mmap(NULL, (size_t)page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct ibv_mr *mr;

    end_join(&c, &s, &usual);
    munmap(hole + page, (size_t)page);
    errno = 0;
    CHECK(!ibv_reg_mr(c.pd, hole, (size_t)page * 3, IBV_ACCESS_LOCAL_WRITE) && errno == EFAULT);
    CHECK(!ibv_reg_mr(c.pd, fixed, (size_t)page, IBV_ACCESS_LOCAL_WRITE) && errno == EFAULT);
    CHECK((mr = ibv_reg_mr(c.pd, fixed, (size_t)page, 0)) && ibv_dereg_mr(mr) == 0);
    CHECK(!ibv_reg_mr(c.pd, c.mem, 64, IBV_ACCESS_REMOTE_WRITE) && errno == EINVAL);
    CHECK(!ibv_reg_mr(c.pd, c.mem, 0, 0) && errno == EINVAL);
    setenv("RDMA_FABRIC_MEMLOCK", "1000", 1);
    CHECK(!ibv_reg_mr(c.pd, c.mem, 4096, 0) && errno == ENOMEM);
    unsetenv("RDMA_FABRIC_MEMLOCK");
    EQUAL(ibv_dealloc_pd(c.pd), EBUSY);
    EQUAL(ibv_destroy_cq(c.scq), EBUSY);
    EQUAL(ibv_destroy_comp_channel(c.cc), EBUSY);
    end_drop(&c);
    end_drop(&s);
    munmap(hole, (size_t)page);
    munmap(hole + 2 * page, (size_t)page);
    munmap(fixed, (size_t)page);
}

void test_messages(void)
{
    static const uint32_t sizes[] = {0, 1, 64, 4096, 4097, 65536, 1 << 20, 5 << 20};
    struct end c, s;
    struct ibv_wc wc;

    end_join(&c, &s, &usual);
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        fill_bytes(c.mem, sizes[i], i + 1);
        memset(s.mem, 0, SIZE);
        EQUAL(end_post_recv(&s, i, 0, 6 << 20), 0);
        EQUAL(end_post(&c, &s, i & 1 ? IBV_WR_SEND_WITH_IMM : IBV_WR_SEND, i, 0, 0, sizes[i],
                       IBV_SEND_SIGNALED),
              0);
        wc = wait_wc(s.rcq);
        EQUAL(wc.status, IBV_WC_SUCCESS);
        EQUAL(wc.opcode, IBV_WC_RECV);
        EQUAL(wc.byte_len, sizes[i]);
        EQUAL(wc.wr_id, i);
        EQUAL(wc.src_qp, c.qp->qp_num);
        EQUAL(wc.wc_flags & IBV_WC_WITH_IMM, i & 1 ? IBV_WC_WITH_IMM : 0);
        if (i & 1)
            EQUAL(ntohl(wc.imm_data), 0x1234);
        EQUAL(wait_wc(c.scq).status, IBV_WC_SUCCESS);
        CHECK(!memcmp(c.mem, s.mem, sizes[i]) && !s.mem[sizes[i]]);
    }
    /* Several entries on both sides, inline, unsignalled, and a chain. */
    struct ibv_sge in[3] = {{(uint64_t)c.mem, 10, c.mr->lkey},
                            {(uint64_t)c.mem + 100, 0, c.mr->lkey},
                            {(uint64_t)c.mem + 200, 20000, c.mr->lkey}};
    struct ibv_sge out[2] = {{(uint64_t)s.mem, 7, s.mr->lkey},
                             {(uint64_t)s.mem + 1000, 30000, s.mr->lkey}};
    struct ibv_recv_wr rw = {.wr_id = 1, .sg_list = out, .num_sge = 2}, *rbad;
    struct ibv_send_wr second = {.wr_id = 3,
                                 .opcode = IBV_WR_SEND,
                                 .sg_list =
                                     &(struct ibv_sge){.addr = (uint64_t) "inline", .length = 7},
                                 .num_sge = 1,
                                 .send_flags = IBV_SEND_INLINE | IBV_SEND_SIGNALED};
    struct ibv_send_wr first = {.wr_id = 2,
                                .next = &second,
                                .opcode = IBV_WR_SEND,
                                .sg_list = in,
                                .num_sge = 3},
                       *bad;
    fill_bytes(c.mem, 30000, 77);
    EQUAL(ibv_post_recv(s.qp, &rw, &rbad), 0);
    EQUAL(end_post_recv(&s, 2, 50000, 100), 0);
    EQUAL(ibv_post_send(c.qp, &first, &bad), 0);
    EQUAL(wait_wc(s.rcq).byte_len, 20010);
    EQUAL(wait_wc(s.rcq).byte_len, 7);
    CHECK(!memcmp(s.mem, c.mem, 7) && !memcmp(s.mem + 1000, c.mem + 7, 3) &&
          !memcmp(s.mem + 1003, c.mem + 200, 20000));
    CHECK(!strcmp((char *)s.mem + 50000, "inline"));
    EQUAL(wait_wc(c.scq).wr_id, 3); /* the unsignalled one left no completion */
    CHECK(cq_quiet(c.scq, 5));
    end_drop(&c);
    end_drop(&s);
}

void test_one_sided(void)
{
    struct end c, s;
    struct ibv_wc wc;

    end_join(&c, &s, &usual);
    fill_bytes(c.mem, SIZE, 5);
    EQUAL(end_post(&c, &s, IBV_WR_RDMA_WRITE, 1, 0, 0, SIZE, IBV_SEND_SIGNALED), 0);
    EQUAL(wait_wc(c.scq).opcode, IBV_WC_RDMA_WRITE);
    CHECK(!memcmp(c.mem, s.mem, SIZE));
    for (int i = 0; i < 60; i++) /* small ones, unsignalled but for the last */
        EQUAL(end_post(&c, &s, IBV_WR_RDMA_WRITE, (uint64_t)i, (size_t)i * 100,
                       4096 + (size_t)i * 64, 64, i == 59 ? IBV_SEND_SIGNALED : 0),
              0);
    EQUAL(wait_wc(c.scq).wr_id, 59);
    for (int i = 0; i < 60; i++)
        CHECK(!memcmp(s.mem + 4096 + i * 64, c.mem + i * 100, 64));
    memset(c.mem, 0, SIZE);
    EQUAL(end_post(&c, &s, IBV_WR_RDMA_READ, 2, 0, 0, SIZE, IBV_SEND_SIGNALED), 0);
    EQUAL(
        end_post(&c, &s, IBV_WR_RDMA_WRITE, 3, 0, 1 << 20, 64, IBV_SEND_SIGNALED | IBV_SEND_FENCE),
        0);
    wc = wait_wc(c.scq);
    EQUAL(wc.opcode, IBV_WC_RDMA_READ);
    EQUAL(wc.byte_len, SIZE);
    EQUAL(wait_wc(c.scq).wr_id, 3);
    CHECK(!memcmp(s.mem + (1 << 20), c.mem, 64));
    EQUAL(end_post_recv(&s, 9, 0, 0), 0);
    fill_bytes(c.mem, 70000, 6);
    EQUAL(end_post(&c, &s, IBV_WR_RDMA_WRITE_WITH_IMM, 4, 0, 100, 70000, IBV_SEND_SIGNALED), 0);
    wc = wait_wc(s.rcq);
    EQUAL(wc.opcode, IBV_WC_RECV_RDMA_WITH_IMM);
    EQUAL(wc.byte_len, 70000);
    EQUAL(ntohl(wc.imm_data), 0x1234);
    CHECK(!memcmp(s.mem + 100, c.mem, 70000));
    EQUAL(wait_wc(c.scq).wr_id, 4);
    end_drop(&c);
    end_drop(&s);
}

void test_notification(void)
{
    struct end c, s;
    struct ibv_cq *cq;
    void *ctx;

    end_join(&c, &s, &usual);
    NEED(fcntl(s.cc->fd, F_SETFL, O_NONBLOCK) == 0);
    CHECK(ibv_get_cq_event(s.cc, &cq, &ctx) == -1 && errno == EAGAIN);
    NEED(fcntl(s.ch->fd, F_SETFL, O_NONBLOCK) == 0);
    struct rdma_cm_event *e;
    CHECK(rdma_get_cm_event(s.ch, &e) == -1 && errno == EAGAIN);
    NEED(fcntl(s.ch->fd, F_SETFL, 0) == 0);
    EQUAL(ibv_req_notify_cq(s.rcq, 1), 0); /* solicited only */
    for (int i = 0; i < 3; i++)
        EQUAL(end_post_recv(&s, (uint64_t)i, 0, 100), 0);
    EQUAL(end_post(&c, &s, IBV_WR_SEND, 1, 0, 0, 10, IBV_SEND_SIGNALED), 0);
    EQUAL(wait_wc(s.rcq).status, IBV_WC_SUCCESS);
    CHECK(ibv_get_cq_event(s.cc, &cq, &ctx) == -1 && errno == EAGAIN);
    EQUAL(end_post(&c, &s, IBV_WR_SEND, 2, 0, 0, 10, IBV_SEND_SIGNALED | IBV_SEND_SOLICITED), 0);
    struct pollfd p = {.fd = s.cc->fd, .events = POLLIN};
    EQUAL(poll(&p, 1, 3000), 1);
    EQUAL(ibv_get_cq_event(s.cc, &cq, &ctx), 0);
    CHECK(cq == s.rcq);
    EQUAL(poll(&p, 1, 20), 0); /* one event for one request */
    ibv_ack_cq_events(cq, 1);
    EQUAL(ibv_req_notify_cq(s.rcq, 0), 0);
    EQUAL(end_post(&c, &s, IBV_WR_SEND, 3, 0, 0, 10, IBV_SEND_SIGNALED), 0);
    EQUAL(poll(&p, 1, 3000), 1); /* left pending: destroying the queue takes it away */
    end_drop(&c);
    end_drop(&s);
}

static atomic_bool hammering;
static atomic_int written;
static struct ibv_mr target; /* a copy: the region itself is to go */
static void *hammer(void *arg)
{
    struct end *c = ((struct end **)arg)[0], *s = ((struct end **)arg)[1];
    struct end to = {.mem = s->mem, .mr = &target};
    struct ibv_wc wc;

    for (uint64_t i = 0; hammering; i++) {
        end_post(c, &to, IBV_WR_RDMA_WRITE, i, 0, 0, 1 << 20, IBV_SEND_SIGNALED);
        while (ibv_poll_cq(c->scq, 1, &wc) > 0)
            written += wc.status == IBV_WC_SUCCESS;
    }
    return NULL;
}

void test_dereg_race(void)
{
    for (int round = 0; round < 10; round++) {
        struct end c, s, *both[2] = {&c, &s};
        pthread_t t;
        end_join(&c, &s, &usual);
        memset(c.mem, 0xee, SIZE);
        target = *s.mr;
        written = 0;
        hammering = true;
        pthread_create(&t, NULL, hammer, both);
        while (written < 3)
            usleep(100);
        EQUAL(ibv_dereg_mr(s.mr), 0);
        memset(s.mem, 0, SIZE); /* ours alone from here on */
        usleep(3000);
        hammering = false;
        pthread_join(t, NULL);
        int stray = 0;
        for (int i = 0; i < 1 << 20; i++)
            stray += s.mem[i] != 0;
        EQUAL(stray, 0);
        s.mr = NULL;
        end_drop(&c);
        end_drop(&s);
        struct ibv_async_event a; /* the refused WRITEs' event */
        struct ibv_context **devices = rdma_get_devices(NULL);
        fcntl(devices[0]->async_fd, F_SETFL, O_NONBLOCK);
        while (ibv_get_async_event(devices[0], &a) == 0)
            ibv_ack_async_event(&a);
        fcntl(devices[0]->async_fd, F_SETFL, 0);
        rdma_free_devices(devices);
    }
}

/* Random traffic both ways over several connections at once, every byte checked. */
static void *traffic(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    static pthread_mutex_t joining = PTHREAD_MUTEX_INITIALIZER;
    struct end e[2];

    pthread_mutex_lock(&joining);
    end_join(&e[0], &e[1], &usual);
    pthread_mutex_unlock(&joining);
    int wrong = 0;
    for (int i = 0; i < 300; i++) {
        struct end *a = &e[rand_r(&seed) & 1], *b = a == e ? e + 1 : e;
        uint32_t n = 1 + (uint32_t)rand_r(&seed) % (rand_r(&seed) % 4 ? 5000 : 300000),
                 at = (uint32_t)rand_r(&seed) % 100000;
        int op = rand_r(&seed) % 4;
        fill_bytes(a->mem, n, (unsigned)i * 7 + 1);
        fill_bytes(b->mem + at, n, (unsigned)i * 7 + 2);
        if (op < 2)
            wrong += end_post_recv(b, (uint64_t)i, at, 400000) != 0;
        wrong += end_post(a, b,
                          (enum ibv_wr_opcode[]){IBV_WR_SEND, IBV_WR_RDMA_WRITE_WITH_IMM,
                                                 IBV_WR_RDMA_WRITE, IBV_WR_RDMA_READ}[op],
                          (uint64_t)i, 0, at, n, IBV_SEND_SIGNALED) != 0;
        wrong += wait_wc(a->scq).status != IBV_WC_SUCCESS;
        if (op < 2) {
            struct ibv_wc wc = wait_wc(b->rcq);
            wrong += wc.status != IBV_WC_SUCCESS || wc.byte_len != n;
        }
        wrong += memcmp(a->mem, b->mem + at, n) != 0;
    }
    pthread_mutex_lock(&joining);
    EQUAL(wrong, 0);
    end_drop(&e[0]);
    end_drop(&e[1]);
    pthread_mutex_unlock(&joining);
    return NULL;
}

void test_traffic(void)
{
    pthread_t t[4];
    for (uintptr_t i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, traffic, (void *)(i + 1));
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
}
