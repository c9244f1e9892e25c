/* SPDX-License-Identifier: BSD-3-Clause */
/* check_rdma_amid.c -- moves amid which the device, the connection or the peer fails: what is told of it. */
#include "tests/unit/rdma_move.h"

#include <errno.h>
#include <sys/mman.h>
#include <time.h>

#include "common/clock.h"

#define MIB ((uint64_t)1 << 20)
#define PAGE ((uint64_t)RMIG_PAGE_BYTES)

static struct move move;
static _Atomic uint64_t *ncases; /* of all processes */
static unsigned fds;

static const uint64_t lengths[] = { 3 * MIB, 4096, MIB };

/* All there is, or the sample of `make check`. */
static bool all(void)
{
    return suite_figure("RMIG_RDMA_FAULTS_ALL", 0);
}

/* --- a move ----------------------------------------------------------------------------------- */

/* When the thing happens. */
enum state { CONNECTED, IN_A_PASS, FINISHING, STATES };

static void (*strike)(void);
static enum state when;

static void touch_pages(struct move *m)
{
    ram_fill(&m->from, 0, 2 * MIB, MIB / 2, 7);
    ck_assert_int_eq(rmig_save_mark_dirty(m->save, 0, 2 * MIB, MIB / 2), 0);
}

static void connected(struct move *m)
{
    (void)m;
    if (when == CONNECTED)
        strike();
}

static void in_a_pass(struct move *m, unsigned round)
{
    touch_pages(m);
    if (when == IN_A_PASS && round == 0)
        strike();
}

static void finishing(struct move *m)
{
    (void)m;
    if (when == FINISHING)
        strike();
}

static void nothing(void)
{
}

static void prepare(enum state state, void (*fn)(void))
{
    fabric_reset();
    fds = count_fds();
    when = state;
    strike = fn ? fn : nothing;
    move_init(&move, 3, lengths);
    memset((uint8_t *)move.from.blocks[0].host + MIB, 0, MIB / 2);
    move.source_params.nqueue_pairs = 2;
    move.source_params.connect_timeout_ms += slack_ms();
    move.dest_params.connect_timeout_ms += slack_ms();
    move.nrounds = 2;
    move.connected = connected;
    move.touch = in_a_pass;
    move.before_end = finishing;
    fabric_set_delay_ms(1); /* a side that never has to wait may be done before it looks */
}

static bool is_good(void)
{
    return move.source_err.code == 0 && move.dest_err.code == 0;
}

static void finish(void)
{
    if (is_good())
        move_was_good(&move);
    else
        move_failed_cleanly(&move);
    move_release(&move);
    fabric_reset();
    ck_assert_uint_le(count_fds(), fds + (*ncases ? 0 : 64)); /* the fabric opens its own once */
    ++*ncases;
}

static const struct rmig_err *err_of(enum fabric_side side)
{
    return side == FABRIC_ACTIVE ? &move.source_err : &move.dest_err;
}

/* This side failed, says this, and amid what. */
static void told(enum fabric_side side, const char *what, const char *says)
{
    const struct rmig_err *err = err_of(side);

    ck_assert_msg(err->code < 0 && strstr(err->msg, says) &&
                      (strstr(err->msg, " while ") || strstr(err->msg, "RDMA connection ")),
                  "%s: the %s says %d \"%s\", not \"%s\" and its stage", what,
                  side == FABRIC_ACTIVE ? "source" : "destination", err->code, err->msg, says);
}

/* --- completion statuses ---------------------------------------------------------------------- */

#define NSTATUSES (IBV_WC_TM_RNDV_INCOMPLETE + 1)

static const struct wr {
    enum fabric_side side;
    enum fabric_wr_kind kind;
    const char *name;
} wrs[] = {
    { FABRIC_ACTIVE, FABRIC_SEND, "send to peer" },
    { FABRIC_PASSIVE, FABRIC_SEND, "send to peer" },
    { FABRIC_ACTIVE, FABRIC_RECV, "receive to peer" },
    { FABRIC_PASSIVE, FABRIC_RECV, "receive to peer" },
    { FABRIC_ACTIVE, FABRIC_WRITE, "RDMA write to peer" },
    { FABRIC_ACTIVE, FABRIC_EMPTY_WRITE, "keepalive to peer" },
    { FABRIC_PASSIVE, FABRIC_EMPTY_WRITE, "keepalive to peer" },
    { FABRIC_ACTIVE, FABRIC_EMPTY_SEND, "mark to peer" },
    { FABRIC_PASSIVE, FABRIC_EMPTY_RECV, "mark to peer" },
};
#define NWRS ((int)(sizeof(wrs) / sizeof(wrs[0])))

static const struct wr *wr;

/* The source is busy until the destination has probed it. */
static void until_probed(void)
{
    struct fabric_counts counts = { 0 };
    uint64_t end_ns = rmig_now_ns() + 20000 * RMIG_NS_PER_MS;

    while (!counts.empty_writes && rmig_now_ns() < end_ns) {
        nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
        fabric_get_counts(FABRIC_PASSIVE, &counts);
    }
    ck_assert_uint_gt(counts.empty_writes, 0);
}

static void fail_with(enum ibv_wc_status status, uint64_t kth)
{
    bool probe = wr->kind == FABRIC_EMPTY_WRITE, gone = status == IBV_WC_WR_FLUSH_ERR;
    const char *text = ibv_wc_status_str(status);
    char what[128];

    snprintf(what, sizeof(what), "%s %llu with %s", wr->name, (unsigned long long)kth, text);
    prepare(IN_A_PASS, probe && wr->side == FABRIC_PASSIVE ? until_probed : NULL);
    if (probe)
        move.source_params.dead_peer_ms = move.dest_params.dead_peer_ms = 400;
    if (probe && wr->side == FABRIC_ACTIVE)
        fabric_set_pin_ms(FABRIC_PASSIVE, 150); /* the source waits, and probes */
    fabric_fail_wr(wr->side, wr->kind, kth, status, 0xbad);
    move_run(&move);
    /* Flushed without a reason: all that is known is that the connection is gone. */
    told(wr->side, what, gone ? "hung up while" : wr->name);
    if (!gone) {
        told(wr->side, what, text);
        told(wr->side, what, "0xbad");
    }
    ck_assert_int_lt(move.source_err.code, 0);
    ck_assert_int_lt(move.dest_err.code, 0);
    finish();
}

START_TEST(status__of_each_work_request_is_told)
{
    wr = &wrs[_i % NWRS];
    for (int status = 1; status < NSTATUSES; status++)
        if (all() || status % 12 == _i % 12)
            fail_with((enum ibv_wc_status)status, 1);
}
END_TEST

/* --- CM events -------------------------------------------------------------------------------- */

static const struct cm {
    enum rdma_cm_event_type type;
    int status;
    const char *says; /* NULL = it means nothing to a connection that is there */
    bool resets;      /* it makes the connection go, too */
} cms[] = {
    { RDMA_CM_EVENT_ADDR_RESOLVED, 0, NULL, false },
    { RDMA_CM_EVENT_ADDR_ERROR, -ENODEV, "address resolution: No such device", false },
    { RDMA_CM_EVENT_ROUTE_RESOLVED, 0, NULL, false },
    { RDMA_CM_EVENT_ROUTE_ERROR, -ENETUNREACH, "route resolution: Network is unreachable", false },
    { RDMA_CM_EVENT_CONNECT_REQUEST, 0, NULL, false },
    { RDMA_CM_EVENT_CONNECT_RESPONSE, 0, NULL, false },
    { RDMA_CM_EVENT_CONNECT_ERROR, -ECONNABORTED, "(CM event CONNECT_ERROR): Software caused", false },
    { RDMA_CM_EVENT_UNREACHABLE, -EHOSTUNREACH, "(CM event UNREACHABLE): No route to host", false },
    { RDMA_CM_EVENT_REJECTED, 28, "refused the RDMA connection (CM reject reason 28)", false },
    { RDMA_CM_EVENT_ESTABLISHED, 0, NULL, false },
    { RDMA_CM_EVENT_DISCONNECTED, 0, "hung up while", true },
    { RDMA_CM_EVENT_DEVICE_REMOVAL, 0, "was removed while", false },
    { RDMA_CM_EVENT_MULTICAST_JOIN, 0, NULL, false },
    { RDMA_CM_EVENT_MULTICAST_ERROR, -EINVAL, NULL, false },
    { RDMA_CM_EVENT_ADDR_CHANGE, 0, NULL, false },
    { RDMA_CM_EVENT_TIMEWAIT_EXIT, 0, NULL, false },
};
#define NCMS ((int)(sizeof(cms) / sizeof(cms[0])))
_Static_assert(sizeof(cms) / sizeof(cms[0]) == RDMA_CM_EVENT_TIMEWAIT_EXIT + 1, "all CM events");

static const struct step {
    enum fabric_side side;
    enum api call;
    enum rdma_cm_event_type awaited;
    const char *says;
} steps[] = {
    { FABRIC_ACTIVE, API_resolve_addr, RDMA_CM_EVENT_ADDR_RESOLVED, "while resolving the address" },
    { FABRIC_ACTIVE, API_resolve_route, RDMA_CM_EVENT_ROUTE_RESOLVED, "while resolving the route" },
    { FABRIC_ACTIVE, API_connect, RDMA_CM_EVENT_ESTABLISHED, "while connecting" },
    { FABRIC_PASSIVE, API_accept, RDMA_CM_EVENT_ESTABLISHED, "while accepting" },
};
#define NSTEPS ((int)(sizeof(steps) / sizeof(steps[0])))

static const struct cm *cm;
static enum fabric_side struck;

/* In place of what is awaited while the connection is made; with none, it is awaited to the deadline. */
START_TEST(cm_event__while_a_connection_is_made)
{
    const struct step *step = &steps[_i];

    for (int i = -1; i < NCMS; i++) {
        bool means = i >= 0 && cms[i].says;

        if (i >= 0 && (cms[i].type == step->awaited || (!all() && i % 8 != _i)))
            continue;
        prepare(CONNECTED, NULL);
        move.source_params.dead_peer_ms = move.dest_params.dead_peer_ms = 200; /* probes are soon due */
        if (!means)
            *(step->side == FABRIC_ACTIVE ? &move.source_params.connect_timeout_ms
                                          : &move.dest_params.connect_timeout_ms) = slack_ms() ? 500 : 200;
        fabric_answer(step->side, step->call, 1, i < 0 ? FABRIC_NO_EVENT : (int)cms[i].type,
                      i < 0 ? 0 : cms[i].status);
        move_run(&move);
        told(step->side, step->says, step->says);
        told(step->side, step->says, means ? cms[i].says : "timed out while");
        finish();
    }
}
END_TEST

static void inject_cm(void)
{
    if (cm->resets) /* the event alone would be a contradiction */
        ck_assert(fabric_hang_up(struck, 0));
    else
        ck_assert(fabric_inject(struck, 0, cm->type, cm->status));
}

START_TEST(cm_event__while_moving)
{
    enum state state = (enum state)(_i / 2);

    struck = _i % 2 ? FABRIC_PASSIVE : FABRIC_ACTIVE;
    for (int i = 0; i < NCMS; i++) {
        char what[64];

        if (!all() && i % 6 != _i)
            continue;
        cm = &cms[i];
        prepare(state, inject_cm);
        move_run(&move);
        snprintf(what, sizeof(what), "%s", rdma_event_str(cm->type));
        if (!cm->says)
            move_was_good(&move);
        else if (state != FINISHING || !is_good()) /* everything may have arrived before it was seen */
            told(struck, what, cm->resets && !strstr(err_of(struck)->msg, "hung up") ? "failed on"
                                                                                      : cm->says);
        finish();
    }
}
END_TEST

static void remove_device(void *opaque)
{
    (void)opaque;
    ck_assert(fabric_inject_listener(FABRIC_PASSIVE, RDMA_CM_EVENT_DEVICE_REMOVAL, 0));
    fabric_set_idle_hook(FABRIC_ACTIVE, NULL, NULL);
}

/* While nobody is connected: the source's first wait is when it happens. */
START_TEST(cm_event__removal_while_listening)
{
    prepare(CONNECTED, NULL);
    fabric_answer(FABRIC_ACTIVE, API_connect, 1, FABRIC_NO_EVENT, 0);
    move.source_params.connect_timeout_ms = 300;
    fabric_set_idle_hook(FABRIC_ACTIVE, remove_device, NULL);
    move_run(&move);
    told(FABRIC_PASSIVE, "removal", "device was removed while waiting for a source to connect");
    finish();
}
END_TEST

/* --- asynchronous events ---------------------------------------------------------------------- */

static const struct async {
    enum ibv_event_type type;
    bool fatal;
} asyncs[] = {
    { IBV_EVENT_CQ_ERR, true },
    { IBV_EVENT_QP_FATAL, true },
    { IBV_EVENT_COMM_EST, false },
    { IBV_EVENT_SQ_DRAINED, false },
    { IBV_EVENT_PATH_MIG, false },
    { IBV_EVENT_PATH_MIG_ERR, false },
    { IBV_EVENT_DEVICE_FATAL, true },
    { IBV_EVENT_PORT_ACTIVE, false },
    { IBV_EVENT_PORT_ERR, false },
    { IBV_EVENT_LID_CHANGE, false },
    { IBV_EVENT_PKEY_CHANGE, false },
    { IBV_EVENT_SM_CHANGE, false },
    { IBV_EVENT_SRQ_ERR, false }, /* we have none */
    { IBV_EVENT_SRQ_LIMIT_REACHED, false },
    { IBV_EVENT_QP_LAST_WQE_REACHED, false },
    { IBV_EVENT_CLIENT_REREGISTER, false },
    { IBV_EVENT_GID_CHANGE, false },
};
#define NASYNCS ((int)(sizeof(asyncs) / sizeof(asyncs[0])))

static const struct async *async;

static void raise_async(void)
{
    ck_assert(fabric_raise(struck, 0, async->type));
}

START_TEST(async_event__while_moving)
{
    enum state state = (enum state)(_i / 2);

    struck = _i % 2 ? FABRIC_PASSIVE : FABRIC_ACTIVE;
    for (int i = 0; i < NASYNCS; i++) {
        const char *text = ibv_event_type_str(asyncs[i].type);

        if (!all() && i % 6 != _i)
            continue;
        async = &asyncs[i];
        prepare(state, raise_async);
        move_run(&move);
        if (!async->fatal)
            move_was_good(&move);
        else if (state != FINISHING || !is_good())
            told(struck, text, text);
        finish();
    }
}
END_TEST

/* The port goes down, and what is sent then does not arrive. */
static void port_goes_down(void)
{
    ck_assert(fabric_raise(struck, 0, IBV_EVENT_PORT_ERR));
    fabric_black_hole();
}

START_TEST(async_event__port_down_and_nothing_arrives)
{
    struck = _i % 2 ? FABRIC_PASSIVE : FABRIC_ACTIVE;
    prepare((enum state)(_i / 2), port_goes_down);
    move.source_params.dead_peer_ms = move.dest_params.dead_peer_ms = 400;
    move_run(&move);
    told(struck, "port down", "the port of this host's RDMA device is down");
    finish();
}
END_TEST

/* --- stalls and cuts -------------------------------------------------------------------------- */

static const struct wr sent[] = {
    { FABRIC_ACTIVE, FABRIC_SEND, "message of the source" },
    { FABRIC_PASSIVE, FABRIC_SEND, "message of the destination" },
    { FABRIC_ACTIVE, FABRIC_WRITE, "write of the source" },
};
#define NSENT ((int)(sizeof(sent) / sizeof(sent[0])))

static uint64_t posted(const struct wr *one)
{
    struct fabric_counts c;

    fabric_get_counts(one->side, &c);
    return one->kind == FABRIC_SEND ? c.sends : c.writes + c.empty_writes;
}

/* At each of its occurrences: who waits says for what, and who hangs up is heard. */
static void at_each(const struct wr *one, void (*arrange)(enum fabric_side, enum fabric_wr_kind, uint64_t),
                    uint32_t idle_ms, const char *const says[2])
{
    uint64_t k = 1, n;

    do {
        bool said = false;

        prepare(CONNECTED, NULL);
        move.source_params.idle_timeout_ms = move.dest_params.idle_timeout_ms = idle_ms;
        arrange(one->side, one->kind, k);
        move_run(&move);
        n = posted(one);
        for (int i = 0; i < 2; i++)
            said |= strstr(move.source_err.msg, says[i]) || strstr(move.dest_err.msg, says[i]);
        /* of the last message nobody need hear */
        ck_assert_msg(said || n < k || (is_good() && k >= n), "%s %llu of %llu: \"%s\", \"%s\"",
                      one->name, (unsigned long long)k, (unsigned long long)n, move.source_err.msg,
                      move.dest_err.msg);
        finish();
        k += all() ? 1 : 9;
    } while (k <= n);
}

START_TEST(stall__of_each_message_and_write)
{
    static const char *const says[] = { "timed out while", "hung up while" };

    at_each(&sent[_i], fabric_stall_wr, 300, says);
}
END_TEST

START_TEST(cut__at_each_message_and_write)
{
    static const char *const says[] = { "hung up while", "failed on queue pair" };

    at_each(&sent[_i], fabric_cut_wr, 10000, says);
}
END_TEST

static void wait_for(const atomic_bool *done)
{
    uint64_t end_ns = rmig_now_ns() + 20000 * RMIG_NS_PER_MS;

    while (!atomic_load(done) && rmig_now_ns() < end_ns)
        nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
    ck_assert(atomic_load(done));
}

/* Its device answers, it does not: until the other end has given it up. */
static void source_stops(void)
{
    wait_for(&move.dest_done);
}

static void destination_stops(struct move *m)
{
    wait_for(&m->source_done);
}

START_TEST(stop__of_either_end)
{
    enum fabric_side waits = _i < STATES ? FABRIC_PASSIVE : FABRIC_ACTIVE;

    prepare((enum state)(_i % STATES), waits == FABRIC_PASSIVE ? source_stops : NULL);
    if (waits == FABRIC_ACTIVE)
        move.received = destination_stops;
    move.source_params.idle_timeout_ms = move.dest_params.idle_timeout_ms = 300;
    move_run(&move);
    told(waits, "stopped", "timed out while");
    ck_assert_int_lt(move.source_err.code, 0);
    finish();
}
END_TEST

/* --- all -------------------------------------------------------------------------------------- */

START_TEST(amid__that_were_all)
{
    printf("# rdma: %llu moves amid which something happened\n", (unsigned long long)*ncases);
    fflush(stdout);
    ck_assert_uint_gt(*ncases, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rdma/amid");
    TCase *status = tcase_create("status"), *events = tcase_create("events");
    TCase *stalls = tcase_create("stalls"), *end = tcase_create("end");
    TCase *each[] = { status, events, stalls, end };

    ncases = mmap(NULL, sizeof(*ncases), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (ncases == MAP_FAILED)
        return EXIT_FAILURE;
    for (size_t i = 0; i < sizeof(each) / sizeof(each[0]); i++) {
        suite_add_tcase(suite, each[i]);
        tcase_set_timeout(each[i], 120);
    }
    tcase_add_loop_test(status, status__of_each_work_request_is_told, 0, NWRS);
    tcase_add_loop_test(events, cm_event__while_a_connection_is_made, 0, NSTEPS);
    tcase_add_loop_test(events, cm_event__while_moving, 0, 2 * STATES);
    tcase_add_test(events, cm_event__removal_while_listening);
    tcase_add_loop_test(events, async_event__while_moving, 0, 2 * STATES);
    tcase_add_loop_test(events, async_event__port_down_and_nothing_arrives, 0, all() ? 4 : 2);
    tcase_add_loop_test(stalls, stall__of_each_message_and_write, 0, NSENT);
    tcase_add_loop_test(stalls, cut__at_each_message_and_write, 0, NSENT);
    tcase_add_loop_test(stalls, stop__of_either_end, all() ? 0 : 2, STATES + 1);
    tcase_add_test(end, amid__that_were_all);
    return suite_run(suite);
}
