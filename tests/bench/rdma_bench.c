/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rdma_bench.c -- what a move over RDMA costs, step by step; for tests/bench/rdma, which runs it.
 *
 *   rdma_bench dest RAM_MIB BLOCKS                  prints its port, takes one move, prints its figures
 *   rdma_bench source PORT RAM_MIB BLOCKS CONTENT SCATTERED WINDOW_MS   moves, then so many scattered pages
 *                                                   again and again; WINDOW_MS 0 is the default
 *   rdma_bench raw-copy RAM_MIB                     populates ahead and writes, nothing else
 *   rdma_bench raw-scatter RAM_MIB PAGES            writes scattered pages, nothing else
 *
 * CONTENT is what fill_ram of bench_common.h takes. source and raw-copy print "filled" once their RAM is, and begin when
 * their standard input ends. One line of JSON each.
 */
#include "bench_common.h"
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PIECE_BYTES MIB
#define SCATTER_IOVECS 64u
#define SCATTER_PASSES 15u /* of which the median counts */

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

/* --- zero pages ---------------------------------------------------------------------------- */

/* One core reads memory with the vectors that the library looks for zero pages with. */
__attribute__((target_clones("avx2", "default"))) static uint64_t
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

    if (read_all((const uint64_t *)ram.host, ram.len_bytes / sizeof(uint64_t)))
        check(-EIO, "zero");
    return now_s() - began;
}

/* --- destination ------------------------------------------------------------------------------ */

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
    check(rmig_load_new(&load, in, ram.blocks, ram.nblocks, NULL, &err), "load");
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

/* How many pages apart. Else the same ones would be marked again and again, and few be moved. */
static uint64_t stride_pages(uint64_t npages)
{
    if (npages > ram.len_bytes / PAGE / 2) {
        fprintf(stderr, "rdma_bench: %" PRIu64 " pages have no room between them in %" PRIu64 " MiB of RAM\n", npages,
                ram.len_bytes >> 20);
        exit(EXIT_FAILURE);
    }
    return ram.len_bytes / PAGE / npages;
}

/* As a late round has them: each page once, none beside another. */
static void mark_scattered(struct rmig_save *save, uint64_t npages)
{
    uint64_t each = ram.blocks[0].len_bytes / PAGE, stride = stride_pages(npages);

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
    struct rmig_transport_conn *conn;
    struct rmig_out *out = NULL;
    struct rmig_save *save = NULL;

    load_transport();
    params.port = port;
    began = now_s();
    check(rmig_transport_connect(transport, &params, &conn, &err), "connect");
    connected = now_s();
    check(rmig_out_new(ops->channel(conn), &out, &err), "stream");
    check(rmig_out_attach_hooks(out, ops->hooks(conn), conn, &err), "hooks");
    check(rmig_save_new(&save, out, ram.blocks, ram.nblocks, &opts, &err), "save");
    check(rmig_save_setup(save, &err), "setup");
    if (ops->peer_ram_is_zero(conn))
        check(rmig_save_ram_is_zero(save, &err), "zero");
    check(rmig_save_round(save, &err), "round");
    passed = now_s();
    first_messages = figures(conn).control_messages;
    for (unsigned i = 0; npages && i < SCATTER_PASSES; i++) {
        mark_scattered(save, npages);
        scattered_s[i] = now_s();
        check(rmig_save_round(save, &err), "round");
        scattered_s[i] = now_s() - scattered_s[i];
    }
    check(rmig_save_complete(save, &err), "complete");
    check(rmig_save_end(save, &err), "end");
    after_bytes = private_bytes();
    check(ops->finish(conn, &err), "finish");
    printf("{\"began_s\": %.6f, \"pass_s\": %.6f, \"total_s\": %.6f, "
           "\"scattered_pages\": %" PRIu64 ", \"scattered_s\": %.6f, \"cpu_s\": %.6f, "
           "\"control_messages\": %" PRIu64 ", \"private_bytes\": %" PRIu64 "}\n",
           began, passed - connected, now_s() - began, npages, median(scattered_s), cpu_s(RUSAGE_SELF) - cpu,
           first_messages, after_bytes - before_bytes);
    rmig_save_free(save);
    check(rmig_out_close(out, &err), "close");
    ops->close(conn);
}

/* --- raw loops -------------------------------------------------------------------------------- */

/* The other process of a raw loop, whose RAM nobody has touched. */
struct raw_end {
    pid_t pid;
    int populated_fd; /* a byte for each piece that is there */
    int done_fd;      /* it stays until this is closed */
    struct {
        uintptr_t base; /* of its RAM, from the first piece on */
        double cpu_s;   /* what it took until it was done; its end takes more, as that of any process */
    } *shared;
};

/* In the other process: populates, stays, ends. */
static void populate(const struct raw_end *end, int populated_fd, int done_fd)
{
    uint8_t *at = mmap(NULL, ram.len_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE,
                       -1, 0);
    char byte = 0;

    if (at == MAP_FAILED)
        check(-errno, "mmap");
    end->shared->base = (uintptr_t)at;
    for (uint64_t offset = 0; offset < ram.len_bytes; offset += PIECE_BYTES) {
        if (madvise(at + offset, PIECE_BYTES, MADV_POPULATE_WRITE) < 0)
            check(-errno, "populate");
        if (write(populated_fd, &byte, 1) != 1)
            check(-errno, "pipe");
    }
    if (read(done_fd, &byte, 1) != 0)
        check(-EIO, "pipe");
    end->shared->cpu_s = cpu_s(RUSAGE_SELF);
    _exit(EXIT_SUCCESS);
}

static struct raw_end start_end(void)
{
    struct raw_end end;
    int populated[2], done[2];

    end.shared = mmap(NULL, sizeof(*end.shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (end.shared == MAP_FAILED || pipe(populated) < 0 || pipe(done) < 0)
        check(-errno, "start");
    end.populated_fd = populated[0];
    end.done_fd = done[1];
    end.pid = fork();
    if (end.pid < 0)
        check(-errno, "fork");
    if (end.pid == 0) {
        close(end.done_fd);
        populate(&end, populated[1], done[0]);
    }
    close(populated[1]);
    close(done[0]);
    return end;
}

static void wait_piece(const struct raw_end *end)
{
    char byte;

    if (read(end->populated_fd, &byte, 1) != 1)
        check(-ECHILD, "destination");
}

/* Returns: the CPU seconds that it took. */
static double stop_end(const struct raw_end *end)
{
    int status;

    close(end->done_fd);
    if (waitpid(end->pid, &status, 0) != end->pid || status != 0)
        check(-ECHILD, "destination");
    return end->shared->cpu_s;
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
    double cpu = cpu_s(RUSAGE_SELF), began = now_s(), took;
    struct raw_end end = start_end();

    for (uint64_t at = 0; at < ram.len_bytes; at += PIECE_BYTES) {
        struct iovec local = { ram.host + at, PIECE_BYTES }, remote;

        wait_piece(&end);
        remote = (struct iovec){ (void *)(end.shared->base + at), PIECE_BYTES };
        write_to(end.pid, &local, &remote, 1);
    }
    took = now_s() - began;
    cpu = cpu_s(RUSAGE_SELF) - cpu;
    printf("{\"total_s\": %.6f, \"cpu_s\": %.6f}\n", took, cpu + stop_end(&end));
}

static double write_scattered(pid_t pid, uintptr_t base, uint64_t npages)
{
    struct iovec local[SCATTER_IOVECS], remote[SCATTER_IOVECS];
    uint64_t stride = stride_pages(npages) * PAGE;
    double began = now_s();
    unsigned n = 0;

    for (uint64_t i = 0; i < npages; i++) {
        local[n] = (struct iovec){ ram.host + i * stride, PAGE };
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
    struct raw_end end = start_end();
    double took_s[SCATTER_PASSES];

    for (uint64_t at = 0; at < ram.len_bytes; at += PIECE_BYTES)
        wait_piece(&end);
    (void)write_scattered(end.pid, end.shared->base, npages);
    for (unsigned i = 0; i < SCATTER_PASSES; i++)
        took_s[i] = write_scattered(end.pid, end.shared->base, npages);
    (void)stop_end(&end);
    printf("{\"scattered_pages\": %" PRIu64 ", \"scattered_s\": %.6f}\n", npages, median(took_s));
}

static void wait_begin(void)
{
    puts("filled");
    fflush(stdout);
    while (getchar() != EOF)
        ;
}

static int usage(void)
{
    fputs("usage: rdma_bench dest RAM_MIB BLOCKS | source PORT RAM_MIB BLOCKS CONTENT SCATTERED WINDOW_MS | "
          "raw-copy RAM_MIB | raw-scatter RAM_MIB PAGES\n", stderr);
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
        fill_ram(argv[5]);
        have_threads();
        zero = strcmp(argv[5], "zero") == 0;
        if (zero)
            (void)read_zero();
        wait_begin();
        source(argv[2], strtoull(argv[6], NULL, 10), (uint32_t)strtoul(argv[7], NULL, 10));
        if (zero)
            printf("{\"total_s\": %.6f}\n", read_zero());
    } else if (argc == 3 && strcmp(what, "raw-copy") == 0) {
        make_ram(argv[2], "1");
        fill_ram("full");
        wait_begin();
        raw_copy();
    } else if (argc == 4 && strcmp(what, "raw-scatter") == 0) {
        make_ram(argv[2], "1");
        fill_ram("page");
        raw_scatter(strtoull(argv[3], NULL, 10));
    } else {
        return usage();
    }
    return EXIT_SUCCESS;
}
