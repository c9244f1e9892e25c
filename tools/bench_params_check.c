/* bench_params_check.c -- options of rdma_migrate_bench that contradict each other, or have no
 * effect. */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/bench_params_check.h"

#include <string.h>
#include <rmig/ram.h>

#include "tools/bench_units.h"
#include "tools/same_file.h"

#define COMPARE_RUNS 3 /* the first pays for memory that nothing has touched yet */

/* An option of the other end would have no effect, and nobody would notice. */
static void check_ends(struct argp_state *state, const struct bench_params *p)
{
    bool server = !p->host[0] && !p->loopback;

    if (server && p->client_option)
        argp_failure(state, BENCH_USAGE, 0,
                     "HOST is missing: --%s is for the client (or is it --loopback?)",
                     p->client_option);
    if (p->loopback && strcmp(p->port, BENCH_DEFAULT_PORT))
        argp_failure(state, BENCH_USAGE, 0, "--port: with --loopback a free one is taken: leave %s out", p->port);
    if (p->loopback && p->bind[0])
        argp_failure(state, BENCH_USAGE, 0, "--bind: with --loopback HOST is the address");
    if (p->host[0] && !p->loopback && p->server_option)
        argp_failure(state, BENCH_USAGE, 0, "--%s is for the server, which runs without HOST",
                     p->server_option);
}

/* What the transport is, and what would have no effect on it. */
static void check_transport(struct argp_state *state, struct bench_params *p)
{
    const char *of_rdma = p->pin_all            ? "pin-all"
                          : p->pin_budget_bytes ? "pin-budget"
                          : p->odp              ? "odp"
                          : p->nqueue_pairs > 1 ? "qp"
                          : p->device[0]        ? "device"
                          : p->gid_index >= 0   ? "gid-index"
                                                : NULL;

    if (p->host_transport != BENCH_AUTO) {
        if (p->transport != BENCH_AUTO && p->transport != p->host_transport)
            argp_failure(state, BENCH_USAGE, 0,
                         "--transport=%s: HOST says %s:", bench_transport_name(p->transport),
                         bench_transport_name(p->host_transport));
        p->transport = p->host_transport;
    }
    if (p->compare && p->transport != BENCH_AUTO)
        argp_failure(state, BENCH_USAGE, 0, "--compare moves by RDMA and by TCP: not with %s%s",
                     p->host_transport == BENCH_AUTO ? "--transport=" : "a HOST that says ",
                     bench_transport_name(p->transport));
    if (p->transport == BENCH_TCP && of_rdma)
        argp_failure(state, BENCH_USAGE, 0, "--%s is for RDMA, and the transport is tcp", of_rdma);
    if (!p->device[0] && (p->gid_index >= 0 || p->ib_port))
        argp_failure(state, BENCH_USAGE, 0, "--%s: of which --device?",
                     p->ib_port ? "ib-port" : "gid-index");
}

static void check_files(struct argp_state *state, const struct bench_params *p)
{
    const struct named_file files[] = {{"--ram", p->ram_file, false}, {"--json", p->json_file, true}};
    size_t a, b;

    if (same_file(files, 2, &a, &b))
        argp_failure(state, BENCH_USAGE, 0, "--ram and --json name one file, %s: it would be lost",
                     p->json_file);
}

static void check_content(struct argp_state *state, struct bench_params *p)
{
    if (p->ram_file[0] && p->size_bytes)
        argp_failure(state, BENCH_USAGE, 0, "--size: with --ram it is the size of the file");
    if (p->ram_file[0] && (p->zero_fraction > 0 || p->zero_holes))
        argp_failure(state, BENCH_USAGE, 0, "--%s: with --ram the zero pages are those of the file",
                     p->zero_holes ? "zero-holes" : "zero-fraction");
    if (p->size_bytes == 0)
        p->size_bytes = BENCH_GIB;
    if (!p->ram_file[0] && p->size_bytes / RMIG_PAGE_BYTES < p->nblocks)
        argp_failure(state, BENCH_USAGE, 0,
                     "--blocks: %u blocks of %llu bytes are less than a page each", p->nblocks,
                     (unsigned long long)(p->size_bytes / p->nblocks));
    if (p->zero_holes && p->zero_fraction == 0 && !p->ram_file[0])
        argp_failure(state, BENCH_USAGE, 0,
                     "--zero-holes: no page is zero without --zero-fraction");
    if ((p->dirty_set_bytes || p->tracker != BENCH_TRACK_AUTO) && p->dirty_rate_bytes_per_s == 0)
        argp_failure(state, BENCH_USAGE, 0, "--%s: nothing is written without --dirty-rate",
                     p->dirty_set_bytes ? "dirty-set" : "dirty-tracker");
    if (!p->ram_file[0] && p->dirty_set_bytes > p->size_bytes)
        argp_failure(state, BENCH_USAGE, 0, "--dirty-set: more than the RAM, which has %llu bytes (--size)",
                     (unsigned long long)p->size_bytes);
}

void bench_params_check(struct argp_state *state, struct bench_params *p)
{
    bool server = !p->host[0] && !p->loopback;

    check_ends(state, p);
    check_transport(state, p);
    check_files(state, p);
    check_content(state, p);
    if (p->json_stream && p->json && !p->json_file[0])
        argp_failure(state, BENCH_USAGE, 0,
                     "--json: standard output is for --json-stream: give --json a FILE");
    if (p->runs == 0)
        p->runs = p->compare ? COMPARE_RUNS : 1;
    if (!server && !p->loopback && !strcmp(p->port, "0"))
        argp_failure(state, BENCH_USAGE, 0, "--port: 0 is for the server, which picks one");
}
