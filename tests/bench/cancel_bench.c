/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cancel_bench.c -- how long a move over RDMA takes to end once another thread cancels it; tests/bench/rdma runs it.
 *
 *   cancel_bench RAM_MIB COUNT SEED    cancels so many moves, each at an instant of SEED's; a line of JSON each
 */
#include "bench_common.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define ACCEPT_MS 2000 /* for a source that was cancelled before it asked */

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
static int cancelled_rounds(struct rmig_save *save, struct rmig_transport_conn *conn)
{
    int rc = rmig_save_setup(save, &err);

    if (rc == 0 && ops->peer_ram_is_zero(conn))
        rc = rmig_save_ram_is_zero(save, &err);
    begin_stage(FIRST_PASS);
    if (rc == 0)
        rc = rmig_save_round(save, &err);
    while (rc == 0) {
        begin_stage(LATER_PASS);
        if (scene->after_s < 0)
            return 0;
        check(rmig_save_mark_dirty(save, 0, 0, ram.len_bytes), "mark");
        rc = rmig_save_round(save, &err);
    }
    return rc;
}

static void cancelled_source(void)
{
    struct rmig_save_opts opts = { .cancel = token };
    struct rmig_out *out = NULL;
    struct rmig_save *save = NULL;
    struct rmig_transport_conn *conn;
    char port[16];
    int rc;

    while (!atomic_load(&scene->port))
        usleep(20);
    snprintf(port, sizeof(port), "%u", atomic_load(&scene->port));
    params.port = port;
    begin_stage(SET_UP);
    rc = rmig_transport_connect(transport, &params, &conn, &err);
    if (rc < 0) {
        returned(SOURCE, rc);
        return;
    }
    check(rmig_out_new(ops->channel(conn), &out, &err), "stream");
    check(rmig_out_attach_hooks(out, ops->hooks(conn), conn, &err), "hooks");
    check(rmig_save_new(&save, out, ram.blocks, ram.nblocks, &opts, &err), "save");
    rc = cancelled_rounds(save, conn);
    returned(SOURCE, rc);
    rmig_save_free(save);
    (void)rmig_out_close(out, NULL);
    ops->close(conn);
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
    rc = rmig_transport_accept(transport, listener, ACCEPT_MS, &params, &conn, &err);
    if (rc < 0) {
        returned(DESTINATION, rc);
        ops->listener_close(listener);
        return;
    }
    check(rmig_in_new(ops->channel(conn), &in, &err), "stream");
    check(rmig_in_attach_hooks(in, ops->hooks(conn), conn, &err), "hooks");
    check(rmig_load_new(&load, in, ram.blocks, ram.nblocks, &opts, &err), "load");
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
        ram.blocks[0].fd = memfd_create("rdma-bench", MFD_CLOEXEC);
        ram.blocks[0].host = ram.host = map_ram(ram.blocks[0].fd, ram.len_bytes);
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
        fprintf(stderr, "cancel_bench: cancelled at the %s in %s, which says \"%s\", its peer \"%s\"\n",
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

int main(int argc, char **argv)
{
    if (argc != 4) {
        fputs("usage: cancel_bench RAM_MIB COUNT SEED\n", stderr);
        return EXIT_FAILURE;
    }
    make_ram(argv[1], "1");
    fill_ram("full");
    cancels((unsigned)strtoul(argv[2], NULL, 10), strtoull(argv[3], NULL, 10));
    return EXIT_SUCCESS;
}
