/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rdma_bench.c -- what a move over RDMA costs, step by step; for tests/bench/rdma, which runs it.
 *
 *   rdma_bench dest RAM_MIB BLOCKS                  prints its port, takes one move, prints its figures
 *   rdma_bench source PORT RAM_MIB BLOCKS CONTENT SCATTERED WINDOW_MS   moves, then so many scattered pages
 *                                                   again and again; WINDOW_MS 0 is the default
 *   rdma_bench raw-copy RAM_MIB                     populates ahead and writes, nothing else
 *   rdma_bench raw-scatter RAM_MIB PAGES            writes scattered pages, nothing else
 *   rdma_bench cancel RAM_MIB COUNT SEED            cancels so many moves, each at an instant of SEED's
 *
 * CONTENT: full, page (a word in each), chunk (a page in each MiB, and all of the first four), zero (touched),
 * none. One line of JSON each.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <rmig/rmig.h>

#define MIB ((uint64_t)1 << 20)
#define PAGE ((uint64_t)RMIG_PAGE_BYTES)
#define PIECE_BYTES MIB
#define SCATTER_IOVECS 64u
#define SCATTER_PASSES 15u /* of which the median counts */
#define FULL_BYTES (4 * MIB) /* a guest has something at the start of its RAM */
#define CANCEL_ACCEPT_MS 2000 /* for a source that was cancelled before it asked */

static struct rmig_err err;

static void check(int rc, const char *what)
{
    if (rc < 0) {
        fprintf(stderr, "rdma_bench: %s: %s\n", what, err.code ? err.msg : strerror(-rc));
        exit(EXIT_FAILURE);
    }
}

static double now_s(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static double cpu_s(int who)
{
    struct rusage usage;

    getrusage(who, &usage);
    return (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec / 1e6 +
           (double)usage.ru_stime.tv_sec + (double)usage.ru_stime.tv_usec / 1e6;
}

/* Private memory of this process that is there: guest RAM, which is shared, is none of it. */
static uint64_t private_bytes(void)
{
    char line[200];
    uint64_t kib = 0;
    FILE *f = fopen("/proc/self/status", "re");

    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "RssAnon: %" SCNu64, &kib) == 1)
            break;
    if (f)
        fclose(f);
    return kib << 10;
}

static uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    *state = x;
    return x;
}

/* --- guest RAM: one memfd, cut into blocks ---------------------------------------------------- */

static struct rmig_block *blocks;
static char (*names)[16];
static uint32_t nblocks;
static uint8_t *ram;
static uint64_t ram_bytes;

static uint8_t *map_ram(int fd)
{
    void *at;

    if (fd < 0 || ftruncate(fd, (off_t)ram_bytes) < 0)
        check(-errno, "memfd");
    at = mmap(NULL, ram_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (at == MAP_FAILED)
        check(-errno, "RAM");
    return at;
}

static void make_ram(const char *mib, const char *count)
{
    uint64_t each;
    int fd = memfd_create("rdma-bench", MFD_CLOEXEC);

    ram_bytes = strtoull(mib, NULL, 10) * MIB;
    nblocks = (uint32_t)strtoul(count, NULL, 10);
    if (ram_bytes == 0 || nblocks == 0 || ram_bytes / nblocks < PAGE)
        check(-EINVAL, "RAM_MIB, BLOCKS");
    each = ram_bytes / nblocks / PAGE * PAGE;
    ram = map_ram(fd);
    blocks = calloc(nblocks, sizeof(*blocks));
    names = calloc(nblocks, sizeof(*names));
    if (!blocks || !names)
        check(-ENOMEM, "RAM");
    for (uint32_t i = 0; i < nblocks; i++) {
        snprintf(names[i], sizeof(names[i]), "block%u", i);
        blocks[i] = (struct rmig_block){
            .name = names[i],
            .host = ram + i * each,
            .len_bytes = i + 1 < nblocks ? each : ram_bytes - i * each,
            .page_bytes = PAGE,
            .fd = fd,
            .fd_offset_bytes = i * each,
        };
    }
}

static void fill(const char *content)
{
    uint64_t seed = 0x2545f4914f6cdd1d;
    uint64_t step = strcmp(content, "full") == 0    ? sizeof(uint64_t)
                    : strcmp(content, "page") == 0  ? PAGE
                    : strcmp(content, "chunk") == 0 ? MIB
                                                    : 0;

    if (strcmp(content, "zero") == 0)
        memset(ram, 0, ram_bytes);
    else if (step == 0 && strcmp(content, "none") != 0)
        check(-EINVAL, "CONTENT");
    for (uint64_t at = 0; step && at < ram_bytes; at += step == MIB && at < FULL_BYTES ? PAGE : step)
        memcpy(ram + at, &(uint64_t){ next_random(&seed) }, sizeof(uint64_t));
}

/* One core reads memory with the vectors that the library looks for zero pages with. */
__attribute__((target_clones("avx2", "default"), noinline)) static uint64_t
read_all(const uint64_t *p, uint64_t nwords)
{
    uint64_t all = 0;

    for (uint64_t i = 0; i < nwords; i++)
        all |= p[i];
    return all;
}

/* Seconds that one core takes to read all RAM, which is zero. The first time after RAM was written a virtual machine
 * can take much longer, as page tables of its host are made then: that time counts for nobody. */
static double read_zero(void)
{
    double began = now_s();

    if (read_all((const uint64_t *)ram, ram_bytes / sizeof(uint64_t)))
        check(-EIO, "zero");
    return now_s() - began;
}

/* --- connections ------------------------------------------------------------------------------ */

static struct rmig_transport *transport;
static const struct rmig_transport_ops *ops;
static struct rmig_transport_params params = {
    .struct_size = sizeof(params),
    .host = "127.0.0.1",
    .gid_index = -1,
    .idle_timeout_ms = 120000, /* under callgrind everything takes long */
    .dead_peer_ms = 60000,
};

static void load_transport(void)
{
    check(rmig_transport_load("rdma", &transport, &err), "transport");
    ops = rmig_transport_ops(transport);
}

static struct rmig_transport_stats figures(struct rmig_transport_conn *conn)
{
    struct rmig_transport_stats stats = { .struct_size = sizeof(stats) };

    check(ops->stats(conn, &stats), "stats");
    return stats;
}

static void destination(void)
{
    struct rmig_transport_listener *listener;
    struct rmig_transport_conn *conn;
    struct rmig_in *in = NULL;
    struct rmig_load *load = NULL;
    uint64_t before_bytes, after_bytes;
    uint16_t port;

    load_transport();
    params.port = "0";
    params.flags = RMIG_TRANSPORT_RAM_IS_ZERO;
    check(rmig_transport_listen(transport, &params, &listener, &port, &err), "listen");
    printf("%u\n", port);
    fflush(stdout);
    before_bytes = private_bytes();
    check(rmig_transport_accept(transport, listener, 120000, &params, &conn, &err), "accept");
    ops->listener_close(listener);
    check(rmig_in_new(ops->channel(conn), &in, &err), "stream");
    check(rmig_in_attach_hooks(in, ops->hooks(conn), conn, &err), "hooks");
    check(rmig_load_new(&load, in, blocks, nblocks, NULL, &err), "load");
    check(rmig_load_run(load, &err), "load");
    after_bytes = private_bytes();
    check(ops->finish(conn, &err), "finish");
    printf("{\"cpu_s\": %.6f, \"private_bytes\": %" PRIu64 ", \"registrations\": %" PRIu64 "}\n",
           cpu_s(RUSAGE_SELF), after_bytes - before_bytes, figures(conn).registrations);
    rmig_load_free(load);
    check(rmig_in_close(in, &err), "close");
    ops->close(conn);
}

/* --- source ----------------------------------------------------------------------------------- */

/* The plugin's hooks, and when the first page was on the wire. */
static struct {
    const struct rmig_hooks *hooks;
    struct rmig_transport_conn *conn;
    double first_s;
} seen;

static int save_page(void *opaque, const struct rmig_run *run, uint64_t *sent_bytes_p,
                     struct rmig_err *e)
{
    int rc = seen.hooks->save_page(opaque, run, sent_bytes_p, e);

    if (seen.first_s == 0 && figures(seen.conn).write_bytes)
        seen.first_s = now_s();
    return rc;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* One pass takes some 50 ms, which is little where another guest of the host may take a processor away. */
static double median(double took_s[SCATTER_PASSES])
{
    qsort(took_s, SCATTER_PASSES, sizeof(*took_s), compare_doubles);
    return took_s[SCATTER_PASSES / 2];
}

/* As a late round has them: each page once, none beside another. */
static void mark_scattered(struct rmig_save *save, uint64_t npages)
{
    uint64_t each = blocks[0].len_bytes / PAGE, stride = ram_bytes / PAGE / npages;

    for (uint64_t i = 0; i < npages; i++) {
        uint64_t page = i * stride;

        check(rmig_save_mark_dirty(save, (uint32_t)(page / each), page % each * PAGE, PAGE), "mark");
    }
}

static void *nothing(void *unused)
{
    return unused;
}

/* A hypervisor has threads before it moves; the first of a process with much memory takes some systems long. */
static void have_threads(void)
{
    pthread_t thread;

    check(-pthread_create(&thread, NULL, nothing, NULL), "thread");
    check(-pthread_join(thread, NULL), "thread");
}

/* By this name callgrind is told what counts. */
__attribute__((noinline)) static void source(const char *port, uint64_t npages, uint32_t window_ms)
{
    const struct rmig_save_opts opts = { .window_ms = window_ms };
    double began, connected, passed, scattered_s[SCATTER_PASSES] = { 0 };
    uint64_t before_bytes = private_bytes(), after_bytes, first_messages;
    double cpu = cpu_s(RUSAGE_SELF);
    struct rmig_hooks hooks;
    struct rmig_out *out = NULL;
    struct rmig_save *save = NULL;

    load_transport();
    params.port = port;
    began = now_s();
    check(rmig_transport_connect(transport, &params, &seen.conn, &err), "connect");
    connected = now_s();
    seen.hooks = ops->hooks(seen.conn);
    hooks = *seen.hooks;
    hooks.save_page = save_page;
    check(rmig_out_new(ops->channel(seen.conn), &out, &err), "stream");
    check(rmig_out_attach_hooks(out, &hooks, seen.conn, &err), "hooks");
    check(rmig_save_new(&save, out, blocks, nblocks, &opts, &err), "save");
    check(rmig_save_setup(save, &err), "setup");
    if (ops->peer_ram_is_zero(seen.conn))
        check(rmig_save_ram_is_zero(save, &err), "zero");
    check(rmig_save_round(save, &err), "round");
    passed = now_s();
    first_messages = figures(seen.conn).control_messages;
    for (unsigned i = 0; npages && i < SCATTER_PASSES; i++) {
        mark_scattered(save, npages);
        scattered_s[i] = now_s();
        check(rmig_save_round(save, &err), "round");
        scattered_s[i] = now_s() - scattered_s[i];
    }
    check(rmig_save_complete(save, &err), "complete");
    check(rmig_save_end(save, &err), "end");
    after_bytes = private_bytes();
    check(ops->finish(seen.conn, &err), "finish");
    printf("{\"connect_s\": %.6f, \"first_s\": %.6f, \"pass_s\": %.6f, \"total_s\": %.6f, "
           "\"scattered_pages\": %" PRIu64 ", \"scattered_s\": %.6f, \"cpu_s\": %.6f, "
           "\"control_messages\": %" PRIu64 ", \"private_bytes\": %" PRIu64 "}\n",
           connected - began, seen.first_s ? seen.first_s - began : 0, passed - connected,
           now_s() - began, npages, median(scattered_s), cpu_s(RUSAGE_SELF) - cpu, first_messages,
           after_bytes - before_bytes);
    rmig_save_free(save);
    check(rmig_out_close(out, &err), "close");
    ops->close(seen.conn);
}

/* --- raw loops -------------------------------------------------------------------------------- */

/* What the two processes of a raw loop share. */
struct shared {
    _Atomic(uintptr_t) base;         /* of the destination's RAM, once it is there */
    _Atomic uint64_t populated_bytes;
    atomic_bool done;
};

static struct shared *share(void)
{
    struct shared *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                            -1, 0);

    if (s == MAP_FAILED)
        check(-errno, "mmap");
    return s;
}

/* The destination of a raw loop: maps, populates, stays until it is told. */
static pid_t raw_destination(struct shared *s, bool at_once)
{
    pid_t pid = fork();

    if (pid < 0)
        check(-errno, "fork");
    if (pid > 0)
        return pid;
    ram = mmap(NULL, ram_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1,
               0);
    if (ram == MAP_FAILED)
        check(-errno, "mmap");
    if (!at_once)
        atomic_store(&s->base, (uintptr_t)ram);
    for (uint64_t at = 0; at < ram_bytes; at += PIECE_BYTES) {
        if (madvise(ram + at, PIECE_BYTES, MADV_POPULATE_WRITE) < 0)
            check(-errno, "populate");
        atomic_store(&s->populated_bytes, at + PIECE_BYTES);
    }
    atomic_store(&s->base, (uintptr_t)ram);
    while (!atomic_load(&s->done))
        usleep(1000);
    _exit(EXIT_SUCCESS);
}

static uintptr_t wait_base(struct shared *s)
{
    while (!atomic_load(&s->base))
        usleep(100);
    return atomic_load(&s->base);
}

static void end_destination(struct shared *s, pid_t pid)
{
    int status;

    atomic_store(&s->done, true);
    if (waitpid(pid, &status, 0) != pid || status != 0)
        check(-ECHILD, "destination");
}

static void write_to(pid_t pid, struct iovec *local, struct iovec *remote, unsigned n)
{
    ssize_t done = process_vm_writev(pid, local, n, remote, n, 0);

    if (done != (ssize_t)(n * local[0].iov_len))
        check(done < 0 ? -errno : -EIO, "process_vm_writev");
}

/* A copy of every byte into memory that is populated a step ahead. */
static void raw_copy(void)
{
    struct shared *s = share();
    double cpu = cpu_s(RUSAGE_SELF), began = now_s(), took;
    pid_t pid = raw_destination(s, false);
    uintptr_t base = wait_base(s);

    for (uint64_t at = 0; at < ram_bytes; at += PIECE_BYTES) {
        struct iovec local = { ram + at, PIECE_BYTES }, remote = { (void *)(base + at), PIECE_BYTES };

        while (atomic_load(&s->populated_bytes) < at + PIECE_BYTES)
            sched_yield();
        write_to(pid, &local, &remote, 1);
    }
    took = now_s() - began;
    end_destination(s, pid);
    printf("{\"total_s\": %.6f, \"cpu_s\": %.6f}\n", took,
           cpu_s(RUSAGE_SELF) - cpu + cpu_s(RUSAGE_CHILDREN));
}

static double write_scattered(pid_t pid, uintptr_t base, uint64_t npages)
{
    struct iovec local[SCATTER_IOVECS], remote[SCATTER_IOVECS];
    uint64_t stride = ram_bytes / PAGE / npages * PAGE;
    double began = now_s();
    unsigned n = 0;

    for (uint64_t i = 0; i < npages; i++) {
        local[n] = (struct iovec){ ram + i * stride, PAGE };
        remote[n++] = (struct iovec){ (void *)(base + i * stride), PAGE };
        if (n == SCATTER_IOVECS || i + 1 == npages) {
            write_to(pid, local, remote, n);
            n = 0;
        }
    }
    return now_s() - began;
}

/* As in a late round, both ends have been at each page before: what that costs is not measured. */
static void raw_scatter(uint64_t npages)
{
    struct shared *s = share();
    pid_t pid = raw_destination(s, true);
    uintptr_t base = wait_base(s);
    double took_s[SCATTER_PASSES];

    (void)write_scattered(pid, base, npages);
    for (unsigned i = 0; i < SCATTER_PASSES; i++)
        took_s[i] = write_scattered(pid, base, npages);
    end_destination(s, pid);
    printf("{\"scattered_pages\": %" PRIu64 ", \"scattered_s\": %.6f}\n", npages, median(took_s));
}

/* --- cancel ----------------------------------------------------------------------------------- */

enum stage { SET_UP, FIRST_PASS, LATER_PASS, STAGES };
enum side { SOURCE, DESTINATION };

static const char *const stage_names[STAGES] = { "set-up", "first pass", "later pass" };
static const char *const side_names[] = { "source", "destination" };

/* A move between two children, one of which is cancelled. */
struct scene {
    enum side cancelled;
    enum stage stage;              /* in which it is cancelled, */
    double after_s;                /* so long after its begin; below 0: never, it is measured */
    atomic_uint port;              /* of the destination, once it listens */
    _Atomic double began_s[STAGES]; /* 0 = not yet */
    double cancelled_s;
    struct {
        double returned_s, closed_s;
        int rc;
        char said[256];
    } ends[2];
};

static struct scene *scene;
static struct rmig_cancel *token;

static void begin_stage(enum stage stage)
{
    if (atomic_load(&scene->began_s[stage]) == 0)
        atomic_store(&scene->began_s[stage], now_s());
}

static void *cancel_later(void *unused)
{
    double began, left;

    while ((began = atomic_load(&scene->began_s[scene->stage])) == 0)
        usleep(20);
    while ((left = began + scene->after_s - now_s()) > 0)
        usleep((useconds_t)(left * 1e6) + 1);
    scene->cancelled_s = now_s();
    rmig_cancel_trigger(token);
    return unused;
}

/* The call that a side is in has returned; what it had is given back by the caller, who says when. */
static void returned(enum side side, int rc)
{
    scene->ends[side].returned_s = now_s();
    scene->ends[side].rc = rc;
    snprintf(scene->ends[side].said, sizeof(scene->ends[side].said), "%s", err.msg);
}

/* Rounds without end, each of all RAM; where the move is only measured, two. */
static int cancelled_rounds(struct rmig_save *save)
{
    int rc = rmig_save_setup(save, &err);

    if (rc == 0 && ops->peer_ram_is_zero(seen.conn))
        rc = rmig_save_ram_is_zero(save, &err);
    begin_stage(FIRST_PASS);
    if (rc == 0)
        rc = rmig_save_round(save, &err);
    while (rc == 0) {
        begin_stage(LATER_PASS);
        if (scene->after_s < 0)
            return 0;
        check(rmig_save_mark_dirty(save, 0, 0, ram_bytes), "mark");
        rc = rmig_save_round(save, &err);
    }
    return rc;
}

static void cancelled_source(void)
{
    struct rmig_save_opts opts = { .cancel = token };
    struct rmig_out *out = NULL;
    struct rmig_save *save = NULL;
    char port[16];
    int rc;

    while (!atomic_load(&scene->port))
        usleep(20);
    snprintf(port, sizeof(port), "%u", atomic_load(&scene->port));
    params.port = port;
    begin_stage(SET_UP);
    rc = rmig_transport_connect(transport, &params, &seen.conn, &err);
    if (rc < 0) {
        returned(SOURCE, rc);
        return;
    }
    check(rmig_out_new(ops->channel(seen.conn), &out, &err), "stream");
    check(rmig_out_attach_hooks(out, ops->hooks(seen.conn), seen.conn, &err), "hooks");
    check(rmig_save_new(&save, out, blocks, nblocks, &opts, &err), "save");
    rc = cancelled_rounds(save);
    returned(SOURCE, rc);
    rmig_save_free(save);
    (void)rmig_out_close(out, NULL);
    ops->close(seen.conn);
}

static void cancelled_destination(void)
{
    struct rmig_load_opts opts = { .cancel = token };
    struct rmig_transport_listener *listener;
    struct rmig_transport_conn *conn;
    struct rmig_load *load = NULL;
    struct rmig_in *in = NULL;
    uint16_t port;
    int rc;

    params.port = "0";
    params.flags = RMIG_TRANSPORT_RAM_IS_ZERO;
    check(rmig_transport_listen(transport, &params, &listener, &port, &err), "listen");
    atomic_store(&scene->port, port);
    rc = rmig_transport_accept(transport, listener, CANCEL_ACCEPT_MS, &params, &conn, &err);
    if (rc < 0) {
        returned(DESTINATION, rc);
        ops->listener_close(listener);
        return;
    }
    check(rmig_in_new(ops->channel(conn), &in, &err), "stream");
    check(rmig_in_attach_hooks(in, ops->hooks(conn), conn, &err), "hooks");
    check(rmig_load_new(&load, in, blocks, nblocks, &opts, &err), "load");
    rc = rmig_load_run(load, &err);
    returned(DESTINATION, rc);
    rmig_load_free(load);
    (void)rmig_in_close(in, NULL);
    ops->close(conn);
    ops->listener_close(listener);
}

/* One side in a process of its own. The source's RAM is there; a destination's is new. */
static pid_t start_side(enum side side)
{
    pthread_t thread;
    pid_t pid = fork();

    if (pid < 0)
        check(-errno, "fork");
    if (pid > 0)
        return pid;
    if (side == DESTINATION) {
        blocks[0].fd = memfd_create("rdma-bench", MFD_CLOEXEC);
        blocks[0].host = ram = map_ram(blocks[0].fd);
    }
    check(rmig_cancel_new(&token, &err), "cancel");
    params.cancel = token;
    load_transport();
    if (side == scene->cancelled && scene->after_s >= 0)
        check(-pthread_create(&thread, NULL, cancel_later, NULL), "thread");
    if (side == SOURCE)
        cancelled_source();
    else
        cancelled_destination();
    scene->ends[side].closed_s = now_s();
    _exit(EXIT_SUCCESS);
}

static void play(enum side cancelled, enum stage stage, double after_s)
{
    pid_t pids[2];
    int status;

    memset(scene, 0, sizeof(*scene));
    scene->cancelled = cancelled;
    scene->stage = stage;
    scene->after_s = after_s;
    for (unsigned i = 0; i < 2; i++)
        pids[i] = start_side((enum side)i);
    for (unsigned i = 0; i < 2; i++)
        if (waitpid(pids[i], &status, 0) != pids[i] || status != 0)
            check(-ECHILD, side_names[i]);
}

/* In which stage the move was when it was cancelled: the draw may have come too late for its own. */
static const char *stage_cancelled(void)
{
    unsigned stage = LATER_PASS;

    while (stage > SET_UP && (scene->began_s[stage] == 0 || scene->began_s[stage] > scene->cancelled_s))
        stage--;
    return stage_names[stage];
}

static void report_cancel(void)
{
    enum side self = scene->cancelled, peer = self == SOURCE ? DESTINATION : SOURCE;
    char peer_ms[32] = "null"; /* nobody had asked it yet */

    if (scene->ends[self].rc != -ECANCELED || scene->ends[peer].rc >= 0) {
        fprintf(stderr, "rdma_bench: cancelled at the %s in %s, which says \"%s\", its peer \"%s\"\n",
                side_names[self], stage_cancelled(), scene->ends[self].said, scene->ends[peer].said);
        exit(EXIT_FAILURE);
    }
    if (scene->ends[peer].rc != -ETIMEDOUT)
        snprintf(peer_ms, sizeof(peer_ms), "%.3f",
                 (scene->ends[peer].returned_s - scene->cancelled_s) * 1e3);
    printf("{\"side\": \"%s\", \"stage\": \"%s\", \"after_ms\": %.3f, \"cancel_ms\": %.3f, "
           "\"closed_ms\": %.3f, \"peer_ms\": %s}\n",
           side_names[self], stage_cancelled(), scene->after_s * 1e3,
           (scene->ends[self].returned_s - scene->cancelled_s) * 1e3,
           (scene->ends[self].closed_s - scene->cancelled_s) * 1e3, peer_ms);
    fflush(stdout);
}

/* Each side and stage in turn. How long the stages are a move says that nobody cancels. */
static void cancels(unsigned count, uint64_t seed)
{
    double length_s[STAGES];
    uint64_t random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;

    scene = mmap(NULL, sizeof(*scene), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (scene == MAP_FAILED)
        check(-errno, "mmap");
    for (unsigned i = 0; i < 2; i++) { /* the first warms up */
        play(SOURCE, SET_UP, -1);
        check(scene->ends[SOURCE].rc, scene->ends[SOURCE].said);
    }
    length_s[SET_UP] = scene->began_s[FIRST_PASS] - scene->began_s[SET_UP];
    length_s[FIRST_PASS] = scene->began_s[LATER_PASS] - scene->began_s[FIRST_PASS];
    length_s[LATER_PASS] = length_s[FIRST_PASS];
    for (unsigned i = 0; i < count; i++) {
        enum stage stage = (enum stage)(i / 2 % STAGES);
        double part = (double)(next_random(&random) >> 11) / (double)(UINT64_C(1) << 53);

        play((enum side)(i % 2), stage, part * length_s[stage]);
        report_cancel();
    }
}

static int usage(void)
{
    fputs("usage: rdma_bench dest RAM_MIB BLOCKS | source PORT RAM_MIB BLOCKS CONTENT SCATTERED WINDOW_MS | "
          "raw-copy RAM_MIB | raw-scatter RAM_MIB PAGES | cancel RAM_MIB COUNT SEED\n", stderr);
    return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    bool zero;

    if (argc == 4 && strcmp(what, "dest") == 0) {
        make_ram(argv[2], argv[3]);
        destination();
    } else if (argc == 8 && strcmp(what, "source") == 0) {
        make_ram(argv[3], argv[4]);
        fill(argv[5]);
        have_threads();
        zero = strcmp(argv[5], "zero") == 0;
        if (zero)
            (void)read_zero();
        puts("filled");
        fflush(stdout);
        source(argv[2], strtoull(argv[6], NULL, 10), (uint32_t)strtoul(argv[7], NULL, 10));
        if (zero)
            printf("{\"total_s\": %.6f}\n", read_zero());
    } else if (argc == 3 && strcmp(what, "raw-copy") == 0) {
        make_ram(argv[2], "1");
        fill("full");
        raw_copy();
    } else if (argc == 4 && strcmp(what, "raw-scatter") == 0) {
        make_ram(argv[2], "1");
        fill("page");
        raw_scatter(strtoull(argv[3], NULL, 10));
    } else if (argc == 5 && strcmp(what, "cancel") == 0) {
        make_ram(argv[2], "1");
        fill("full");
        cancels((unsigned)strtoul(argv[3], NULL, 10), strtoull(argv[4], NULL, 10));
    } else {
        return usage();
    }
    return EXIT_SUCCESS;
}
