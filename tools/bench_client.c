/* bench_client.c -- the session of the source. */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/bench_client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include <rmig/rmig.h>

#include "tools/bench_move.h"
#include "tools/bench_proto.h"
#include "tools/bench_report.h"
#include "tools/bench_units.h"
#include "tools/bench_vm.h"
#include "tools/fifo.h"

#define READY_MS 10000

struct client {
    const struct bench_params *params;
    struct bench_ctl ctl;
    struct bench_ram ram;
    struct bench_source source;
    struct bench_result *results;
    uint32_t count, room;
    FILE *json;       /* NULL: none */
    off_t json_bytes; /* whole objects */
    FILE *text;       /* where people look */
    struct bench_stream stream;
    struct rmig_err why; /* what was complained of first */
};

static void note(struct client *c, const struct rmig_err *err)
{
    if (c->why.code == 0)
        c->why = *err;
}

static enum bench_exit complain(struct client *c, enum bench_exit status, const struct rmig_err *err)
{
    fprintf(stderr, "rdma_migrate_bench: %s\n", err->msg);
    note(c, err);
    return status;
}

static int open_json(struct client *c, struct rmig_cancel *stop, struct rmig_err *err)
{
    const struct bench_params *p = c->params;
    int rc;

    c->text = p->json_stream ? stderr : stdout;
    c->stream.to = p->json_stream ? stdout : NULL;
    if (!p->json)
        return 0;
    if (!p->json_file[0]) {
        c->json = stdout;
        c->text = stderr; /* standard output is for the program that reads the JSON */
        return 0;
    }
    rc = fifo_fopen(p->json_file, stop, &c->json, err);
    return rc < 0 ? rmig_err_prefix(err, "--json") : 0;
}

/* Of objects that are whole, or no file rather than one that is no JSON. */
static int close_json(const struct client *c, struct rmig_err *err)
{
    const char *path = c->params->json_file;
    struct stat st;
    bool regular;
    int rc = 0;

    if (!c->json || c->json == stdout)
        return 0;
    regular = fstat(fileno(c->json), &st) == 0 && S_ISREG(st.st_mode);
    if (fclose(c->json) == EOF)
        rc = rmig_err_set(err, -errno, "--json: %.128s: %s", path, strerror(errno));
    if (regular && c->json_bytes == 0)
        unlink(path);
    else if (regular && truncate(path, c->json_bytes) < 0 && rc == 0)
        rc = rmig_err_set(err, -errno, "--json: %.128s: %s", path, strerror(errno));
    return rc;
}

static int make_guest(struct client *c, struct rmig_err *err)
{
    const struct bench_params *p = c->params;
    int rc = bench_ram_map_guest(&c->ram, err);

    if (rc == 0)
        rc = bench_vm_check(p, &c->ram, err);
    if (rc < 0)
        return rc;
    return bench_guest_new(c->ram.guest, c->ram.nblocks, c->source.token, p->dirty_rate_bytes_per_s,
                           p->dirty_set_bytes, &c->source.guest, err);
}

/* Here, as only now the size of a --ram is known. */
static int check_pin_budget(const struct client *c, struct rmig_err *err)
{
    const struct bench_params *p = c->params;
    char budget[32], ram[32];

    if (!p->pin_all || p->pin_budget_bytes == 0 || p->pin_budget_bytes >= c->ram.total_bytes)
        return 0;
    return rmig_err_set(
        err, -EINVAL,
        "--pin-budget: %s is less than the RAM, %s, and --pin-all registers all of it: raise the "
        "budget, or do without one of the two",
        bench_format_size(budget, sizeof(budget), p->pin_budget_bytes),
        bench_format_size(ram, sizeof(ram), c->ram.total_bytes));
}

static int make_ram(struct client *c, struct rmig_err *err)
{
    int rc = bench_ram_source(&c->ram, c->params, err);

    if (rc == 0)
        rc = check_pin_budget(c, err);
    return rc < 0 || c->params->dirty_rate_bytes_per_s == 0 ? rc : make_guest(c, err);
}

static int fill_ram(struct client *c, struct rmig_cancel *stop, struct rmig_err *err)
{
    uint64_t began_ns = bench_now_ns();
    char took[32];
    int rc = bench_ram_fill(&c->ram, c->params, stop, err);

    if (rc < 0)
        return rc;
    fprintf(c->text, "RAM filled in %s\n",
            bench_format_ns(took, sizeof(took), bench_now_ns() - began_ns));
    fflush(c->text);
    return 0;
}

static int prepare(struct client *c, struct rmig_err *err)
{
    json_t *msg = NULL;
    int rc = bench_ctl_hello(&c->ctl, bench_patience_ms(c->params, BENCH_HELLO_MS), err);

    if (rc == 0)
        rc = bench_ctl_send(&c->ctl,
                            bench_prepare_encode(c->ram.blocks, c->ram.nblocks, c->source.token,
                                                 c->params->shared, c->params->prealloc),
                            err);
    if (rc == 0)
        rc = bench_ctl_expect(&c->ctl, "ready", bench_patience_ms(c->params, READY_MS), &msg, err);
    json_decref(msg);
    return rc;
}

static void header(const struct client *c, const char *host, const char *port)
{
    const struct bench_params *p = c->params;
    char size[32];

    fprintf(c->text, "rdma_migrate_bench %s: %s in %u block%s to %s port %s, transport %s",
            rmig_version(), bench_format_size(size, sizeof(size), c->ram.total_bytes),
            c->ram.nblocks, c->ram.nblocks == 1 ? "" : "s", host, port,
            p->compare ? "rdma and tcp" : bench_transport_name(p->transport));
    if (p->dirty_rate_bytes_per_s)
        fprintf(c->text, ", guest writing %.0f MB/s", (double)p->dirty_rate_bytes_per_s / 1e6);
    fputc('\n', c->text);
    fflush(c->text);
}

/* No session: what may be wrong at the server is not in the error. */
static enum bench_exit no_session(struct client *c, const struct rmig_err *err)
{
    const char *cure = "";

    if (err->code == -ECONNREFUSED)
        cure = "; start rdma_migrate_bench without HOST there";
    else if (err->code == -ETIMEDOUT && c->ctl.ch)
        cure = "; it serves one client at a time: is it busy?";
    fprintf(stderr, "rdma_migrate_bench: %s%s\n", err->msg, cure);
    note(c, err);
    return BENCH_CONNECT;
}

/* One run; its status. */
static enum bench_exit run_once(struct client *c, enum bench_transport transport, uint32_t number)
{
    struct bench_result *r = &c->results[c->count++];
    struct rmig_err err = RMIG_ERR_INIT;

    *r = (struct bench_result){.run = number, .requested = transport};
    bench_move(&c->source, r);
    if (r->err.code)
        complain(c, r->status, &r->err);
    bench_stream_run(&c->stream, c->params, r);
    if (c->json && bench_report_json(c->json, c->params, r, &err) < 0)
        return complain(c, BENCH_USAGE, &err);
    if (c->json && c->json != stdout)
        c->json_bytes = ftello(c->json); /* -1 of a pipe, which keeps nothing */
    return r->status;
}

/* A run whose memories differ or whose limit was missed is a result; one that failed ends it all.
 */
static bool goes_on(enum bench_exit status)
{
    return status == BENCH_OK || status == BENCH_VERIFY || status == BENCH_LIMIT;
}

/* What the program ends with: the first failure that says more than the ones before. */
static enum bench_exit worse(enum bench_exit a, enum bench_exit b)
{
    static const int rank[] = {
        [BENCH_OK] = 0,      [BENCH_LIMIT] = 1,    [BENCH_USAGE] = 2, [BENCH_NO_DEVICE] = 3,
        [BENCH_CONNECT] = 4, [BENCH_TRANSFER] = 5, [BENCH_VERIFY] = 6};

    return rank[b] > rank[a] ? b : a;
}

static enum bench_exit run_all(struct client *c)
{
    const struct bench_params *p = c->params;
    enum bench_exit status = BENCH_OK, last = BENCH_OK;

    for (uint32_t i = 1; i <= p->runs && goes_on(last); i++) {
        last = run_once(c, p->transport, i);
        status = worse(status, last);
    }
    bench_report_table(c->text, p, c->results, c->count);
    return status;
}

/* RDMA and TCP in turn, each going first in every other run. Where RDMA cannot be had, TCP is
 * measured. */
static enum bench_exit compare(struct client *c)
{
    enum bench_exit status = BENCH_OK;
    bool over = false;

    for (uint32_t i = 0; i < 2 * c->params->runs && !over; i++) {
        bool rdma = i % 4 == 0 || i % 4 == 3;
        enum bench_exit last = run_once(c, rdma ? BENCH_RDMA : BENCH_TCP, i / 2 + 1);

        status = worse(status, last);
        over = c->results[i].session_over || last == BENCH_TRANSFER;
    }
    bench_report_table(c->text, c->params, c->results, c->count);
    bench_report_ratio(c->text, c->results, c->count);
    return status;
}

static enum bench_exit check_goodput(struct client *c)
{
    double wanted = c->params->min_bytes_per_s;
    double got = bench_report_goodput(c->params, c->results, c->count);
    struct rmig_err err = RMIG_ERR_INIT;

    if (wanted == 0 || got == 0 || got >= wanted) /* none that moved: something graver was said */
        return BENCH_OK;
    fflush(c->text); /* the table is the reason, and goes before */
    rmig_err_set(&err, -ETIME,
                 "goodput of %.3f Gbit/s, the median%s, is below the %g Gbit/s of --min-gbps",
                 got * 8 / 1e9, c->params->compare ? " by RDMA" : "", wanted * 8 / 1e9);
    return complain(c, BENCH_LIMIT, &err);
}

static enum bench_exit session(struct client *c, const char *host, const char *port,
                               struct rmig_cancel *stop)
{
    struct rmig_err err = RMIG_ERR_INIT;
    enum bench_exit status;
    int rc;

    if (getrandom(&c->source.token, sizeof(c->source.token), 0) != sizeof(c->source.token)) {
        rmig_err_set(&err, -errno, "getrandom: %s", strerror(errno));
        return complain(c, BENCH_USAGE, &err);
    }
    if (make_ram(c, &err) < 0)
        return complain(c, BENCH_USAGE, &err);
    c->room = c->params->runs * (c->params->compare ? 2 : 1);
    c->results = calloc(c->room, sizeof(*c->results));
    if (!c->results) {
        rmig_err_set(&err, -ENOMEM, "--runs: out of memory for %u results", c->room);
        return complain(c, BENCH_USAGE, &err);
    }
    /* Before the RAM is filled, which takes its time: a server may not be there, or not have the
     * room. */
    if (bench_ctl_connect(&c->ctl, host, port, c->params->dead_peer_ms, stop, &err) < 0 ||
        prepare(c, &err) < 0)
        return rmig_cancel_triggered(stop) ? complain(c, BENCH_TRANSFER, &err)
                                           : no_session(c, &err);
    c->source.host = host;
    header(c, host, port);
    bench_stream_start(&c->stream, c->params, host, port, c->ram.total_bytes, c->ram.nblocks,
                       c->room);
    rc = fill_ram(c, stop, &err);
    if (rc < 0) {
        bench_ctl_send_error(&c->ctl, &err);
        return complain(c, rc == -ECANCELED ? BENCH_TRANSFER : BENCH_USAGE, &err);
    }
    status = c->params->compare ? compare(c) : run_all(c);
    status = worse(status, check_goodput(c));
    if (!c->results[c->count - 1].session_over)
        (void)bench_ctl_send(&c->ctl, json_pack("{s:s}", "op", "bye"), NULL); /* a courtesy */
    return status;
}

static int flush_text(const struct client *c, struct rmig_err *err)
{
    if (c->text != stdout || (fflush(stdout) == 0 && !ferror(stdout)))
        return 0;
    return rmig_err_set(err, -EIO, "standard output: cannot write: %s", strerror(errno));
}

enum bench_exit bench_client(const struct bench_params *params, const char *host, const char *port,
                             struct rmig_cancel *stop)
{
    struct client c = {.params = params, .ctl.fd = -1, .ram.fd = -1};
    struct rmig_err err = RMIG_ERR_INIT;
    enum bench_exit status;

    c.source =
        (struct bench_source){.params = params, .ctl = &c.ctl, .ram = &c.ram, .stream = &c.stream};
    status = open_json(&c, stop, &err) < 0 ? complain(&c, BENCH_USAGE, &err)
                                     : session(&c, host, port, stop);
    if (flush_text(&c, &err) < 0)
        status = worse(status, complain(&c, BENCH_USAGE, &err));
    bench_stream_final(&c.stream, params, c.results, c.count, status, &c.why);
    if (c.stream.err.code)
        status = worse(status, complain(&c, BENCH_USAGE, &c.stream.err));
    bench_ctl_close(&c.ctl);
    bench_guest_free(c.source.guest);
    bench_ram_release(&c.ram);
    free(c.results);
    if (close_json(&c, &err) < 0 && status == BENCH_OK)
        status = complain(&c, BENCH_USAGE, &err);
    return status;
}

enum bench_exit bench_client_none(const struct bench_params *params, enum bench_exit status, const char *why)
{
    struct client c = {.params = params, .stream.to = params->json_stream ? stdout : NULL};

    rmig_err_set(&c.why, -ECANCELED, "%s", why);
    bench_stream_final(&c.stream, params, NULL, 0, status, &c.why);
    return c.stream.err.code ? worse(status, complain(&c, BENCH_USAGE, &c.stream.err)) : status;
}
