/* bench_serve.c -- one client of the destination: memory, runs, verification. */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/bench_serve.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <rmig/rmig.h>

#include "tools/bench_cpu.h"
#include "tools/bench_hash.h"
#include "tools/bench_proto.h"
#include "tools/bench_units.h"
#include "tools/bench_vm.h"
#include "tools/bench_watch.h"

#define FIRST_IDLE_MS 10000
#define ACCEPT_MS 10000
/* How slowly a client may fill its memory, from a disk say, and hash it between two messages. */
#define IDLE_BYTES_PER_MS 20000u
#define IDLE_MS 30000

struct session {
    const struct bench_params *params;
    struct bench_ctl *ctl;
    bool quiet;
    struct bench_prepare prepare;
    enum bench_exit status;
    uint32_t progress_ms; /* --progress-deadline of the last run, 0 = not given */
    bool told; /* the last failure: a client that then hangs up is no news */
};

struct run {
    struct session *session;
    struct bench_run how;
    struct bench_ram ram;
    struct bench_vm vm;
    struct rmig_dest *engine;
    struct bench_watch watch;
    struct rmig_move_status status; /* at the end */
};

static void say(const struct session *s, const char *what)
{
    if (!s->quiet) {
        printf("%s: %s\n", s->ctl->peer, what);
        fflush(stdout);
    }
}

static void complain(struct session *s, const struct rmig_err *err)
{
    const char *peer = s->ctl->peer;
    bool named = !strncmp(err->msg, peer, strlen(peer));

    s->told = true;
    fprintf(stderr, "%s%s%s%s\n", s->quiet ? "destination: " : "", named ? "" : peer,
            named ? "" : ": ", err->msg);
}

static int idle_ms(const struct session *s)
{
    uint64_t ms = (s->progress_ms ? s->progress_ms : IDLE_MS) + s->prepare.total_bytes / IDLE_BYTES_PER_MS;

    return ms > INT32_MAX ? INT32_MAX : (int)ms;
}

/* The memory asked for is a stranger's number: it is bounded before anything is done with it. */
static int check_room(const struct session *s, struct rmig_err *err)
{
    uint64_t limit = s->params->max_ram_bytes, available = bench_ram_available_bytes();
    char need[32], have[32];

    if (limit == 0 || (available && available < limit))
        limit = available;
    if (limit == 0 || s->prepare.total_bytes <= limit)
        return 0;
    return rmig_err_set(err, -ENOMEM, "RAM of %s: this host gives at most %s%s",
                        bench_format_size(need, sizeof(need), s->prepare.total_bytes),
                        bench_format_size(have, sizeof(have), limit),
                        limit == s->params->max_ram_bytes ? " (--max-ram)" : "");
}

static int prepare(struct session *s, struct rmig_err *err)
{
    json_t *msg = NULL;
    int rc = bench_ctl_hello(s->ctl, BENCH_HELLO_MS, err);

    if (rc == 0)
        rc = bench_ctl_expect(s->ctl, "prepare", FIRST_IDLE_MS, &msg, err);
    if (rc == 0)
        rc = bench_prepare_decode(msg, &s->prepare, err);
    json_decref(msg);
    if (rc == 0)
        rc = check_room(s, err);
    if (rc == 0)
        rc = bench_ctl_send(s->ctl, json_pack("{s:s}", "op", "ready"), err);
    else
        bench_ctl_send_error(s->ctl, err);
    return rc;
}

/* The smaller one of both ends' budgets. */
static uint64_t pin_budget_bytes(const struct run *r)
{
    uint64_t ours = r->session->params->pin_budget_bytes, theirs = r->how.pin_budget_bytes;

    return ours && (theirs == 0 || ours < theirs) ? ours : theirs;
}

static int check_pin_budget(const struct run *r, struct rmig_err *err)
{
    char budget[32], ram[32];

    if (!r->how.pin_all || r->how.transport == BENCH_TCP || pin_budget_bytes(r) == 0 ||
        pin_budget_bytes(r) >= r->session->prepare.total_bytes)
        return 0;
    return rmig_err_set(err, -EDQUOT,
                        "--pin-all: the RAM, %s, is more than the --pin-budget of %s here: raise that, or do "
                        "without --pin-all",
                        bench_format_size(ram, sizeof(ram), r->session->prepare.total_bytes),
                        bench_format_size(budget, sizeof(budget), pin_budget_bytes(r)));
}

static int new_engine(struct run *r, struct rmig_err *err)
{
    const struct session *s = r->session;
    const struct bench_params *p = s->params;
    struct rmig_dest_opts opts = {
        .struct_size = sizeof(opts),
        .accept_timeout_ms = ACCEPT_MS,
        .tcp_fallback = r->how.transport == BENCH_AUTO,
        .device = p->device[0] ? p->device : NULL,
        .device_port = p->ib_port,
        .use_gid_index = p->gid_index >= 0,
        .gid_index = p->gid_index,
        .pin_budget_bytes = pin_budget_bytes(r),
        .dead_peer_ms = p->dead_peer_ms ? p->dead_peer_ms : r->how.dead_peer_ms,
        .idle_timeout_ms = p->idle_timeout_ms ? p->idle_timeout_ms : r->how.idle_timeout_ms,
        /* it was made for this run */
        .flags = RMIG_DEST_RAM_IS_ZERO | (p->odp || r->how.odp ? RMIG_DEST_ON_DEMAND : 0),
    };
    char uri[300];

    bench_vm_uri(uri, sizeof(uri), r->how.transport != BENCH_TCP, s->ctl->local, p->data_port);
    r->vm = (struct bench_vm){.params = p, .ram = &r->ram};
    return rmig_dest_new(&r->engine, uri, &bench_vm_ops, &r->vm, &opts, err);
}

static void give_up_move(void *opaque)
{
    (void)rmig_dest_cancel(opaque);
}

static int listen_for_data(struct run *r, struct rmig_err *err)
{
    const struct session *s = r->session;
    struct rmig_move_status status;
    int rc = new_engine(r, err);

    if (rc < 0)
        return rc;
    rmig_dest_status(r->engine, &status);
    rc = bench_ctl_send(s->ctl,
                        json_pack("{s:s, s:i, s:s}", "op", "listening", "port",
                                  (int)rmig_dest_port(r->engine), "no_rdma", status.fallback_reason),
                        err);
    if (rc == 0)
        rc = bench_watch_start(&r->watch, s->ctl, give_up_move, r->engine, NULL, err);
    return rc;
}

/* The move itself, as the destination sees it. */
static int receive(struct run *r, struct bench_loaded *loaded_p, struct rmig_err *err)
{
    struct bench_cpu began = bench_cpu_now(), cpu;
    int rc = listen_for_data(r, err);

    if (rc == 0)
        rc = rmig_dest_run(r->engine, err);
    if (rc < 0)
        return rc;
    cpu = bench_cpu_since(began);
    rmig_dest_status(r->engine, &r->status);
    *loaded_p = (struct bench_loaded){.user_cpu_s = cpu.user_s,
                                      .system_cpu_s = cpu.system_s,
                                      .peak_pinned_bytes = r->status.peak_pinned_bytes};
    return 0;
}

static int send_hashes(struct run *r, struct rmig_err *err)
{
    uint64_t total = bench_hash_count(r->ram.blocks, r->ram.nblocks);
    XXH128_hash_t *hashes = NULL;
    struct bench_stamps stamps;
    int rc = bench_hash_ram(&r->ram, r->session->ctl->stop, &hashes, err);

    for (uint64_t first = 0; rc == 0 && first < total;) {
        uint64_t count = total - first;

        if (count > BENCH_HASHES_PER_MSG)
            count = BENCH_HASHES_PER_MSG;
        rc = bench_ctl_send(r->session->ctl, bench_hashes_encode(hashes, first, count), err);
        first += count;
    }
    free(hashes);
    if (rc < 0)
        return rc;
    bench_stamps_read(&r->ram, r->session->prepare.token, &stamps);
    return bench_ctl_send(r->session->ctl, bench_stamps_encode(&stamps), err);
}

/* What the client found, said in one line. Returns 0, or -errno where no verdict came. */
static int take_verdict(struct run *r, struct rmig_err *err)
{
    struct session *s = r->session;
    uint64_t took_ns = r->status.elapsed_ns - r->status.setup_ns;
    char size[32], took[32], line[160];
    json_t *msg = NULL;
    bool verified;
    int rc = bench_ctl_expect(s->ctl, "verdict", idle_ms(s), &msg, err);

    if (rc < 0)
        return rc;
    verified = json_is_true(json_object_get(msg, "verified"));
    json_decref(msg);
    snprintf(line, sizeof(line), "%s by %s in %s, %.2f GB/s, %s",
             bench_format_size(size, sizeof(size), s->prepare.total_bytes),
             strcmp(r->status.transport, "rdma") ? "TCP" : "RDMA",
             bench_format_ns(took, sizeof(took), took_ns),
             bench_rate(s->prepare.total_bytes, took_ns) / 1e9,
             verified ? "verified" : "the memories DIFFER");
    say(s, line);
    s->status = verified ? BENCH_OK : BENCH_VERIFY;
    return 0;
}

static void release_run(struct run *r)
{
    bench_watch_end(&r->watch);
    rmig_dest_free(r->engine);
    bench_ram_release(&r->ram);
}

/* The client is told at once, unless it said so first; it waits for our word that nothing of the run is
 * left, which may have to wait until its own error has come. */
static void give_up(struct run *r, struct rmig_err *err)
{
    struct session *s = r->session;
    bool theirs;

    if (!bench_watch_knows(&r->watch, err))
        bench_ctl_send_error(s->ctl, err);
    (void)bench_watch_reason(&r->watch, err);
    if (!s->quiet) /* the client of a loopback says it itself */
        complain(s, err);
    s->told = true;
    s->status = err->code == -ETIME ? BENCH_LIMIT : BENCH_TRANSFER;
    bench_watch_end(&r->watch);
    theirs = r->watch.peer_gave_up;
    release_run(r);
    if (theirs)
        (void)bench_ctl_send(s->ctl, json_pack("{s:s}", "op", "aborted"), NULL);
}

/* Returns 0 also where the run failed but the client may go on. */
static int serve_run(struct session *s, const json_t *msg, struct rmig_err *err)
{
    struct rmig_err run_err = RMIG_ERR_INIT;
    struct run r = {.session = s, .ram.fd = -1};
    struct bench_loaded loaded;
    int rc = bench_run_decode(msg, &r.how, err);

    if (rc < 0)
        return rc;
    s->told = false;
    s->progress_ms = s->params->idle_timeout_ms ? s->params->idle_timeout_ms : r.how.idle_timeout_ms;
    rc = check_pin_budget(&r, &run_err);
    if (rc == 0)
        rc = bench_ram_destination(&r.ram, s->prepare.lens_bytes, s->prepare.nblocks,
                               s->prepare.shared, &run_err);
    if (rc == 0 && s->prepare.prealloc)
        rc = bench_ram_populate(&r.ram, s->ctl->stop, &run_err);
    if (rc == 0)
        rc = receive(&r, &loaded, &run_err);
    if (rc < 0) {
        give_up(&r, &run_err);
        return 0;
    }
    bench_watch_end(&r.watch);
    rc = bench_ctl_send(s->ctl, bench_loaded_encode(&loaded), err);
    if (rc == 0)
        rc = send_hashes(&r, err);
    if (rc == 0)
        rc = take_verdict(&r, err);
    release_run(&r);
    return rc;
}

/* Before a run began, or crossed with an error of ours. */
static int client_gave_up(struct session *s, const json_t *msg, struct rmig_err *err)
{
    struct rmig_err theirs = RMIG_ERR_INIT;

    bench_ctl_remote_error(msg, &theirs);
    if (!s->quiet && !s->told)
        complain(s, &theirs);
    s->told = true;
    if (s->status != BENCH_TRANSFER && s->status != BENCH_LIMIT)
        s->status = BENCH_CONNECT; /* unless it goes on with another transport */
    return bench_ctl_send(s->ctl, json_pack("{s:s}", "op", "aborted"), err);
}

/* One message between two runs. Returns 1 to go on, 0 at the end, or -errno. */
static int serve_message(struct session *s, struct rmig_err *err)
{
    json_t *msg = NULL;
    int rc = bench_ctl_recv(s->ctl, idle_ms(s), &msg, err);

    if (rc < 0)
        return rc;
    if (bench_ctl_is(msg, "run"))
        rc = serve_run(s, msg, err);
    else if (bench_ctl_is(msg, "error"))
        rc = client_gave_up(s, msg, err);
    else if (!bench_ctl_is(msg, "bye"))
        rc = rmig_err_set(err, -EPROTO, "%s: sent a message out of turn", s->ctl->peer);
    rc = rc < 0 ? rc : !bench_ctl_is(msg, "bye");
    json_decref(msg);
    return rc;
}

enum bench_exit bench_serve(const struct bench_params *params, struct bench_ctl *ctl, bool quiet)
{
    struct session s = {.params = params, .ctl = ctl, .quiet = quiet, .status = BENCH_OK};
    struct rmig_err err = RMIG_ERR_INIT;
    int rc = prepare(&s, &err);

    if (rc < 0)
        s.status = BENCH_CONNECT;
    else
        while ((rc = serve_message(&s, &err)) > 0)
            continue;
    if (rc < 0) {
        if (!s.told || (rc != -ECONNRESET && rc != -ECANCELED))
            complain(&s, &err);
        bench_ctl_send_error(ctl, &err);
        if (s.status == BENCH_OK)
            s.status = BENCH_TRANSFER;
    }
    free(s.prepare.lens_bytes);
    return s.status;
}
