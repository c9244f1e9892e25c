/* SPDX-License-Identifier: BSD-3-Clause */
/* rdma_fixture.c -- what the tests of rdma/ set up and take down. */
#include "tests/unit/rdma_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <regex.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/clock.h"

/* --- threads ---------------------------------------------------------------------------------- */

static void *task_main(void *arg)
{
    struct task *task = arg;

    task->rc = task->fn(task->arg, &task->err);
    task->ended_ns = rmig_now_ns();
    return NULL;
}

#define WATCH_NS (2 * RMIG_NS_PER_MS)

static void *watch_main(void *arg)
{
    struct task *task = arg;

    while (!atomic_load(&task->done)) {
        uint64_t before = rmig_now_ns(), took;

        nanosleep(&(struct timespec){ 0, WATCH_NS }, NULL);
        took = rmig_now_ns() - before;
        if (took > 2 * WATCH_NS)
            task->stalled_ns += took - WATCH_NS;
    }
    return NULL;
}

void task_start(struct task *task, int (*fn)(void *arg, struct rmig_err *err), void *arg)
{
    memset(task, 0, sizeof(*task));
    task->fn = fn;
    task->arg = arg;
    ck_assert_int_eq(pthread_create(&task->watch, NULL, watch_main, task), 0);
    ck_assert_int_eq(pthread_create(&task->thread, NULL, task_main, task), 0);
}

static struct timespec wall_clock_in(int ms)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    ts.tv_sec += ms / 1000;
    ts.tv_nsec += (long)(ms % 1000) * 1000000;
    if (ts.tv_nsec >= 1000000000) {
        ts.tv_sec++;
        ts.tv_nsec -= 1000000000;
    }
    return ts;
}

int task_join(struct task *task, int timeout_ms)
{
    struct timespec ts = wall_clock_in(timeout_ms + (int)slack_ms());
    int rc = pthread_timedjoin_np(task->thread, NULL, &ts);

    ck_assert_msg(rc == 0, "a call hangs: not back after %d ms", timeout_ms);
    atomic_store(&task->done, true);
    pthread_join(task->watch, NULL);
    return task->rc;
}

uint64_t task_took_ns(const struct task *task, uint64_t start_ns)
{
    uint64_t took = task->ended_ns - start_ns;
    uint64_t excused = task->stalled_ns + slack_ms() * RMIG_NS_PER_MS;

    return took > excused ? took - excused : 0;
}

bool task_runs(struct task *task, int for_ms)
{
    struct timespec ts = wall_clock_in(for_ms);

    return pthread_timedjoin_np(task->thread, NULL, &ts) == ETIMEDOUT;
}

/* --- guest RAM -------------------------------------------------------------------------------- */

void ram_init(struct ram *ram, uint32_t nblocks, const uint64_t *len_bytes)
{
    static const char *const names[RAM_BLOCKS_MAX] = { "block0", "block1", "block2", "block3",
                                                       "block4", "block5", "block6", "block7" };

    ck_assert_uint_le(nblocks, RAM_BLOCKS_MAX);
    memset(ram, 0, sizeof(*ram));
    ram->nblocks = nblocks;
    for (uint32_t i = 0; i < nblocks; i++) {
        void *host = mmap(NULL, len_bytes[i], PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                          -1, 0);

        ck_assert(host != MAP_FAILED);
        /* a page fault in a virtual machine may cost more than a test */
        (void)madvise(host, len_bytes[i], MADV_HUGEPAGE);
        ram->blocks[i] = (struct rmig_block){ .name = names[i], .host = host,
                                              .len_bytes = len_bytes[i],
                                              .page_bytes = RMIG_PAGE_BYTES, .fd = -1 };
    }
}

void ram_release(struct ram *ram)
{
    for (uint32_t i = 0; i < ram->nblocks; i++)
        munmap(ram->blocks[i].host, ram->blocks[i].len_bytes);
    ram->nblocks = 0;
}

void ram_fill(struct ram *ram, uint32_t block, uint64_t offset_bytes, uint64_t len_bytes,
              uint64_t seed)
{
    uint64_t *word = (uint64_t *)((uint8_t *)ram->blocks[block].host + offset_bytes);

    for (uint64_t i = 0; i < len_bytes / sizeof(*word); i++)
        word[i] = (seed << 40 | (uint64_t)block << 36 | (offset_bytes / 8 + i)) + 1;
}

bool ram_equal(const struct ram *a, const struct ram *b)
{
    if (a->nblocks != b->nblocks)
        return false;
    for (uint32_t i = 0; i < a->nblocks; i++)
        if (a->blocks[i].len_bytes != b->blocks[i].len_bytes ||
            memcmp(a->blocks[i].host, b->blocks[i].host, a->blocks[i].len_bytes))
            return false;
    return true;
}

bool ram_is_zero(const struct ram *ram, uint32_t block, uint64_t offset_bytes, uint64_t len_bytes)
{
    const uint8_t *p = (const uint8_t *)ram->blocks[block].host + offset_bytes;

    return len_bytes == 0 || (p[0] == 0 && !memcmp(p, p + 1, len_bytes - 1));
}

int ram_zero_range(const struct rmig_block *block, uint64_t offset_bytes, uint64_t len_bytes)
{
    memset((uint8_t *)block->host + offset_bytes, 0, len_bytes);
    return 0;
}

/* --- connections ------------------------------------------------------------------------------ */

struct rmig_transport_params fixture_params(void)
{
    return (struct rmig_transport_params){ .struct_size = sizeof(struct rmig_transport_params),
                                           .host = "127.0.0.1",
                                           .port = "0",
                                           .gid_index = -1,
                                           .connect_timeout_ms = 2000,
                                           .idle_timeout_ms = 2000,
                                           .cancel_fd = -1 };
}

const void *stock_private(uint32_t flags)
{
    static uint8_t bytes[RMIG_WIRE_PRIVATE_MAX_BYTES];

    rmig_store_be32(bytes, RMIG_WIRE_VERSION);
    rmig_store_be32(bytes + 4, flags);
    return bytes;
}

void source_fixture_init(struct source_fixture *f)
{
    uint16_t port;

    memset(f, 0, sizeof(*f));
    ck_assert_int_eq(raw_listen(&f->listener, &port), 0);
    snprintf(f->port, sizeof(f->port), "%u", port);
    f->params = fixture_params();
    f->params.port = f->port;
    f->peer_opts.rnr_retry_count = 7;
    f->peer_opts.ack_timeout = 10; /* 4 ms a try */
}

struct accepting {
    struct source_fixture *f;
    uint32_t flags;
};

/* Accepts what has been asked for, as often as the source looks for an event. */
static void accept_requests(void *opaque)
{
    struct accepting *a = opaque;
    struct source_fixture *f = a->f;
    uint8_t answer[RMIG_WIRE_PRIVATE_MAX_BYTES];
    struct raw_peer *peer;

    while (raw_take_request(f->listener, &f->peer_opts, 0, &peer) == 0) {
        memcpy(answer, raw_private(peer)->private_data, sizeof(answer));
        rmig_store_be32(answer + 4, rmig_load_be32(answer + 4) & a->flags);
        if (a->flags & RMIG_WIRE_FLAG_PIN_BUDGET)
            rmig_store_be64(answer + (rmig_load_be32(answer + 4) & RMIG_WIRE_FLAG_LANES ? 24 : 8),
                            f->peer_pin_budget_bytes);
        if (!f->peer_opts.private_data)
            raw_set_private(peer, answer, sizeof(answer));
        ck_assert_int_eq(raw_accept_request(peer), 0);
        if (!f->peer)
            f->peer = peer;
        else
            f->lanes[f->nlanes++] = peer;
    }
    if (f->peer)
        raw_poll(f->peer);
    for (unsigned i = 0; i < f->nlanes; i++)
        raw_poll(f->lanes[i]);
}

void source_fixture_connect(struct source_fixture *f, uint32_t accepted_flags)
{
    struct accepting a = { f, accepted_flags };
    struct rmig_err err = RMIG_ERR_INIT;

    fabric_set_idle_hook(FABRIC_ACTIVE, accept_requests, &a);
    ck_assert_done(rmig_rdma_conn_connect(&f->conn, &f->params, &err), &err);
    fabric_set_idle_hook(FABRIC_ACTIVE, NULL, NULL);
    ck_assert_ptr_nonnull(f->peer);
    ck_assert_int_eq(raw_established(f->peer, 0), 0);
}

void source_fixture_release(struct source_fixture *f)
{
    rmig_rdma_conn_release(&f->conn);
    raw_close(f->peer);
    for (unsigned i = 0; i < f->nlanes; i++)
        raw_close(f->lanes[i]);
    raw_listener_close(f->listener);
    memset(f, 0, sizeof(*f));
}

void dest_fixture_init(struct dest_fixture *f)
{
    struct rmig_err err = RMIG_ERR_INIT;

    memset(f, 0, sizeof(*f));
    f->params = fixture_params();
    f->peer_opts.rnr_retry_count = 7;
    f->peer_opts.ack_timeout = 10; /* 4 ms a try */
    ck_assert_done(rmig_rdma_listener_open(&f->params, &f->listener, &f->port, &err), &err);
}

static void poll_peer(void *opaque)
{
    raw_poll(opaque);
}

void dest_fixture_connect(struct dest_fixture *f, uint32_t flags)
{
    struct rmig_err err = RMIG_ERR_INIT;

    if (!f->peer_opts.private_data) {
        f->peer_opts.private_data = stock_private(flags);
        f->peer_opts.private_data_len_bytes =
            RMIG_WIRE_PRIVATE_DATA_BYTES +
            (flags & RMIG_WIRE_FLAG_PIN_BUDGET ? RMIG_WIRE_PRIVATE_BUDGET_BYTES : 0);
    }
    ck_assert_int_eq(raw_connect_start(f->port, &f->peer_opts, &f->peer), 0);
    fabric_set_idle_hook(FABRIC_PASSIVE, poll_peer, f->peer);
    ck_assert_done(rmig_rdma_conn_accept(&f->conn, f->listener, 1000, &f->params, &err), &err);
    fabric_set_idle_hook(FABRIC_PASSIVE, NULL, NULL);
}

void dest_fixture_release(struct dest_fixture *f)
{
    rmig_rdma_conn_release(&f->conn);
    raw_close(f->peer);
    rmig_rdma_listener_close(f->listener);
    memset(f, 0, sizeof(*f));
}

/* --- what went over the wire ------------------------------------------------------------------ */

static char letter_of(const uint8_t *bytes, uint32_t len_bytes)
{
    static const char letters[RMIG_WIRE_TYPE_END] = {
        [RMIG_WIRE_ERROR] = 'X',    [RMIG_WIRE_RAM_BLOCKS_REQUEST] = 'Q',
        [RMIG_WIRE_COMPRESS] = 'C', [RMIG_WIRE_REGISTER_REQUEST] = 'R',
        [RMIG_WIRE_REGISTER_FINISHED] = 'E',
    };
    uint32_t type = len_bytes >= RMIG_WIRE_HEADER_BYTES ? rmig_load_be32(bytes + 4) : 0;

    if (len_bytes == 0)
        return 'm';
    if (type == RMIG_WIRE_QEMU_FILE)
        return len_bytes >= RMIG_WIRE_HEADER_BYTES + 8 &&
                       rmig_load_be64(bytes + len_bytes - 8) == 0x80
                   ? 'H'
                   : 'F';
    return type < RMIG_WIRE_TYPE_END && letters[type] ? letters[type] : '?';
}

static void log_one(void *opaque, enum fabric_side from, enum fabric_wr_kind kind, const void *bytes,
                    uint32_t len_bytes, uint64_t remote_addr)
{
    struct message_log *log = opaque;
    char letter = kind == FABRIC_WRITE ? 'w' : letter_of(bytes, len_bytes);

    (void)remote_addr;
    if (from != FABRIC_ACTIVE)
        return;
    if (letter == 'w') {
        log->write_bytes += len_bytes;
        log->last_write_ns = rmig_now_ns();
        if (len_bytes > log->largest_write)
            log->largest_write = len_bytes;
    } else if (letter == 'E') {
        log->last_finished_ns = rmig_now_ns();
    }
    if (log->length < sizeof(log->text) - 1)
        log->text[log->length++] = letter;
}

void message_log_start(struct message_log *log)
{
    memset(log, 0, sizeof(*log));
    fabric_set_tap(log_one, log);
}

bool message_log_matches(const struct message_log *log, const char *pattern)
{
    regex_t regex;
    char whole[256];
    bool matches;

    snprintf(whole, sizeof(whole), "^(%s)$", pattern);
    ck_assert_int_eq(regcomp(&regex, whole, REG_EXTENDED | REG_NOSUB), 0);
    matches = regexec(&regex, log->text, 0, NULL, 0) == 0;
    regfree(&regex);
    return matches;
}

unsigned message_log_count(const struct message_log *log, char letter)
{
    unsigned n = 0;

    for (size_t i = 0; i < log->length; i++)
        n += log->text[i] == letter;
    return n;
}

const struct cm_case cm_cases[CM_CASES] = {
    { FABRIC_NO_EVENT, 0, -ETIMEDOUT },
    { RDMA_CM_EVENT_ADDR_ERROR, -ENODEV, -ENODEV },
    { RDMA_CM_EVENT_ROUTE_ERROR, -ENETUNREACH, -ENETUNREACH },
    { RDMA_CM_EVENT_CONNECT_ERROR, -ECONNABORTED, -ECONNABORTED },
    { RDMA_CM_EVENT_UNREACHABLE, -EHOSTUNREACH, -EHOSTUNREACH },
    { RDMA_CM_EVENT_UNREACHABLE, -110, -ETIMEDOUT },
    { RDMA_CM_EVENT_REJECTED, 8, -ECONNREFUSED },
    { RDMA_CM_EVENT_REJECTED, 28, -ECONNREFUSED },
    { RDMA_CM_EVENT_DISCONNECTED, 0, -ECONNRESET },
    { RDMA_CM_EVENT_DEVICE_REMOVAL, 0, -ENODEV },
    { RDMA_CM_EVENT_ADDR_CHANGE, 0, -ETIMEDOUT },
    { RDMA_CM_EVENT_TIMEWAIT_EXIT, 0, -ETIMEDOUT },
    { RDMA_CM_EVENT_MULTICAST_JOIN, 0, -ETIMEDOUT },
    { RDMA_CM_EVENT_CONNECT_REQUEST, 0, -ETIMEDOUT },
};

void private_of(uint8_t *bytes, uint32_t version, uint32_t flags, uint64_t session, uint32_t lane,
                uint32_t nlanes)
{
    rmig_store_be32(bytes, version);
    rmig_store_be32(bytes + 4, flags);
    rmig_store_be64(bytes + 8, session);
    rmig_store_be32(bytes + 16, lane);
    rmig_store_be32(bytes + 20, nlanes);
    rmig_store_be64(bytes + 24, 0);
}

struct call_failure failure_of(enum api api)
{
    struct call_failure failure = { -ENOSPC, fabric_api_name(api) };

    switch (api) {
    case API_poll_cq: /* gives no reason */
        failure.rc = -EIO;
        break;
    case API_open_device:
        failure = (struct call_failure){ -ENODEV, "cannot be opened" };
        break;
    case API_alloc_pd:
    case API_create_qp:
    case API_modify_qp:
        failure.says = "rdma_create_qp";
        break;
    default:
        break;
    }
    return failure;
}

bool is_release(enum api api)
{
    return api == API_dealloc_pd || api == API_dereg_mr || api == API_destroy_cq ||
           api == API_destroy_qp;
}

/* --- what is left ----------------------------------------------------------------------------- */

void assert_nothing_left(enum fabric_side side)
{
    struct fabric_counts counts;

    fabric_get_counts(side, &counts);
    ck_assert_uint_eq(counts.endpoints, 0);
    ck_assert_uint_eq(counts.listeners, 0);
    ck_assert_uint_eq(counts.regions, 0);
    ck_assert_uint_eq(counts.registered_bytes, 0);
    ck_assert_msg(fabric_breach() == NULL, "breach: %s", fabric_breach());
}

unsigned count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;

    ck_assert_ptr_nonnull(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}
