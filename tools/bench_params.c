/* bench_params.c -- the options of rdma_migrate_bench. */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/bench_params.h"

#include <argp.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <rmig/rmig.h>

#include "tools/bench_params_check.h"
#include "tools/bench_units.h"
#include "tools/standard.h"

enum group { BOTH_ENDS = 1, SERVER, CLIENT, GUEST, OUTPUT };

enum key {
    KEY_RAM = 0x100,
    KEY_BLOCKS,
    KEY_ZERO_FRACTION,
    KEY_ZERO_HOLES,
    KEY_SHARED,
    KEY_PREALLOC,
    KEY_SEED,
    KEY_DIRTY_RATE,
    KEY_DIRTY_SET,
    KEY_DIRTY_TRACKER,
    KEY_DOWNTIME_LIMIT,
    KEY_TIME_LIMIT,
    KEY_PIN_ALL,
    KEY_PIN_BUDGET,
    KEY_ODP,
    KEY_DEADLINE,
    KEY_PROGRESS_DEADLINE,
    KEY_TRANSPORT,
    KEY_MAX_BANDWIDTH,
    KEY_RUNS,
    KEY_COMPARE,
    KEY_MIN_GBPS,
    KEY_JSON,
    KEY_JSON_STREAM,
    KEY_REPORT_GBITS,
    KEY_IB_PORT,
    KEY_LOOPBACK,
    KEY_BIND,
    KEY_DATA_PORT,
    KEY_MAX_RAM
};

static const struct argp_option options[] = {
    {.doc = "Both ends:", .group = BOTH_ENDS},
    {"port", 'p', "PORT", 0,
     "Control port (default " BENCH_DEFAULT_PORT "; server: 0 = pick one and print it)", BOTH_ENDS},
    {"device", 'd', "NAME", 0, "RDMA device to use (default: the one the address chooses)",
     BOTH_ENDS},
    {"gid-index", 'x', "N", 0, "GID index to use with --device", BOTH_ENDS},
    {"ib-port", KEY_IB_PORT, "N", 0, "Port of the RDMA device (default 1)", BOTH_ENDS},
    {"odp", KEY_ODP, NULL, 0,
     "Do not pin RAM where the device can page on demand", BOTH_ENDS},
    {"pin-budget", KEY_PIN_BUDGET, "SIZE", 0,
     "Most RAM to have registered at once, at both ends (default: all)", BOTH_ENDS},
    {"deadline", KEY_DEADLINE, "SECONDS", 0,
     "Longest wait for a peer that died or cannot be reached any more (default 2)", BOTH_ENDS},
    {"progress-deadline", KEY_PROGRESS_DEADLINE, "SECONDS", 0,
     "Longest wait for a peer that lives and does nothing (default 30)", BOTH_ENDS},
    {.doc = "Server, which is what runs without HOST:", .group = SERVER},
    {"bind", KEY_BIND, "ADDRESS", 0, "Address to listen on (default: all)", SERVER},
    {"data-port", KEY_DATA_PORT, "PORT", 0, "Port of the data connection (default: any free one)",
     SERVER},
    {"max-ram", KEY_MAX_RAM, "SIZE", 0, "Most memory to give a client (default: what is available)",
     SERVER},
    {"once", '1', NULL, 0, "Serve one client and exit with its result", SERVER},
    {.doc = "Client, which pushes its parameters to the server:", .group = CLIENT},
    {"size", 's', "SIZE", 0, "RAM to move, with K, M, G or T (default 1G)", CLIENT},
    {"ram", KEY_RAM, "FILE", 0, "Move the content of FILE; its holes are kept", CLIENT},
    {"blocks", KEY_BLOCKS, "N", 0, "Split the RAM into N blocks (default 1)", CLIENT},
    {"zero-fraction", KEY_ZERO_FRACTION, "F", 0,
     "Fraction of the pages that are zero, 0 to 1 (default 0)", CLIENT},
    {"shared", KEY_SHARED, NULL, 0,
     "Shared memory for the destination's RAM (default: private, in huge pages)", CLIENT},
    {"prealloc", KEY_PREALLOC, NULL, 0,
     "Allocate the destination's memory before the move (default: as pages arrive)", CLIENT},
    {"zero-holes", KEY_ZERO_HOLES, NULL, 0,
     "Leave zero pages untouched, as memory a guest never used", CLIENT},
    {"seed", KEY_SEED, "N", 0, "Seed of the content (default 1)", CLIENT},
    {"transport", KEY_TRANSPORT, "NAME", 0,
     "rdma, tcp or auto: RDMA, and TCP where it cannot be had (default)", CLIENT},
    {"qp", 'q', "N", 0, "Queue pairs to spread the writes over (default 1)", CLIENT},
    {"pin-all", KEY_PIN_ALL, NULL, 0, "Register all RAM at set-up instead of on demand", CLIENT},
    {"max-bandwidth", KEY_MAX_BANDWIDTH, "MB/s", 0, "Limit of the transfer (default: none)",
     CLIENT},
    {"loopback", KEY_LOOPBACK, NULL, 0,
     "Run the server too, as a second process; HOST: a local address", CLIENT},
    {"runs", KEY_RUNS, "N", 0, "Move N times (default 1; with --compare 3)", CLIENT},
    {"compare", KEY_COMPARE, NULL, 0,
     "Move by RDMA and by TCP, a run of each in turn, and print the ratio of their medians",
     CLIENT},
    {"min-gbps", KEY_MIN_GBPS, "N", 0,
     "Exit status 7 where the median goodput of the runs is below N Gbit/s", CLIENT},
    {.doc = "A guest that runs on while it is moved:", .group = GUEST},
    {"dirty-rate", KEY_DIRTY_RATE, "MB/s", 0,
     "Write to pages at this rate while they are moved (default 0)", GUEST},
    {"dirty-set", KEY_DIRTY_SET, "SIZE", 0, "Write to this much of the RAM only (default: all)",
     GUEST},
    {"dirty-tracker", KEY_DIRTY_TRACKER, "NAME", 0,
     "pagemap, userfaultfd, mprotect or auto (default)", GUEST},
    {"downtime-limit", KEY_DOWNTIME_LIMIT, "MS", 0, "Longest downtime (default 300)", GUEST},
    {"time-limit", KEY_TIME_LIMIT, "SEC", 0,
     "Longest time until so little is left; then the move is given up (default 300)", GUEST},
    {.doc = "Output:", .group = OUTPUT},
    {"json", KEY_JSON, "FILE", OPTION_ARG_OPTIONAL,
     "One JSON object a run, to FILE or to standard output", OUTPUT},
    {"json-stream", KEY_JSON_STREAM, NULL, 0,
     "A JSON object for each thing that happens to standard output, as it happens", OUTPUT},
    {"interval", 'i', "SECONDS", 0,
     "Report the progress every SECONDS, such as 0.5 (default 0: not)", OUTPUT},
    {"report_gbits", KEY_REPORT_GBITS, NULL, 0, "Rates in Gbit/s, but for JSON", OUTPUT},
    {"report-gbits", 0, NULL, OPTION_ALIAS, NULL, OUTPUT},
    {0},
};

static const char doc[] =
    "Move memory as a live migration does, by RDMA or TCP, and measure it.\v"
    "Without HOST and without --loopback it is the server. HOST is a name or an address, or "
    "tcp:HOST:PORT or rdma:HOST:PORT. A rate's MB is 10^6 bytes.\n\n"
    "Exit status: 0 ok, 2 usage, 3 no RDMA device, 4 cannot connect or listen, 5 transfer failed "
    "or cancelled, 6 memories differ, 7 a stated limit was not met.";

const char *bench_transport_name(enum bench_transport transport)
{
    static const char *const names[] = {"auto", "rdma", "tcp"};

    return names[transport];
}

static uint64_t number(struct argp_state *state, const char *option, const char *arg, uint64_t min,
                       uint64_t max)
{
    uint64_t value = 0;

    if (!bench_parse_u64(arg, min, max, &value))
        argp_failure(state, BENCH_USAGE, 0, "--%s: '%s' is not a number from %llu to %llu", option,
                     arg, (unsigned long long)min, (unsigned long long)max);
    return value;
}

static uint64_t size(struct argp_state *state, const char *option, const char *arg)
{
    uint64_t value = 0;

    if (!bench_parse_size(arg, &value))
        argp_failure(state, BENCH_USAGE, 0, "--%s: '%s' is not a size such as 512M or 4G", option,
                     arg);
    if (value == 0 || value % RMIG_PAGE_BYTES)
        argp_failure(state, BENCH_USAGE, 0,
                     "--%s: %s is not a positive multiple of the page size, %u bytes", option, arg,
                     RMIG_PAGE_BYTES);
    return value;
}

static double real(struct argp_state *state, const char *option, const char *arg, double max)
{
    double value = 0;

    if (!bench_parse_double(arg, 0, max, &value))
        argp_failure(state, BENCH_USAGE, 0, "--%s: '%s' is not a number from 0 to %g", option, arg,
                     max);
    return value;
}

/* Less than a page per window is not kept, as a peer would hear too little. */
static uint64_t bandwidth(struct argp_state *state, const char *arg)
{
    const uint64_t least = RMIG_PAGE_BYTES * (1000 / RMIG_RATE_WINDOW_MS);
    double bytes_per_s = real(state, "max-bandwidth", arg, 1e9) * (double)BENCH_MB;

    if (bytes_per_s > 0 && bytes_per_s < (double)least)
        argp_failure(state, BENCH_USAGE, 0, "--max-bandwidth: %s MB/s is less than can be kept: %g is the least", arg,
                     (double)least / (double)BENCH_MB);
    return (uint64_t)bytes_per_s;
}

static uint32_t seconds(struct argp_state *state, const char *option, const char *arg)
{
    uint32_t ms = 0;

    if (!bench_parse_seconds(arg, &ms))
        argp_failure(state, BENCH_USAGE, 0,
                     "--%s: '%s' is not a number of seconds from 0.001 to %u", option, arg,
                     BENCH_SECONDS_MAX);
    return ms;
}

static void text(struct argp_state *state, const char *option, const char *arg, char *buf,
                 size_t len)
{
    if (arg[0] == '\0' || strlen(arg) >= len)
        argp_failure(state, BENCH_USAGE, 0, "--%s: a text of 1 to %zu bytes is needed", option,
                     len - 1);
    snprintf(buf, len, "%s", arg);
}

static unsigned choice(struct argp_state *state, const char *option, const char *arg,
                       const char *const *names)
{
    char all[64] = "";

    for (unsigned i = 0; names[i]; i++) {
        if (!strcmp(arg, names[i]))
            return i;
        snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s", i ? ", " : "", names[i]);
    }
    argp_failure(state, BENCH_USAGE, 0, "--%s: '%s' is none of %s", option, arg, all);
    return 0;
}

static error_t parse_ends(int key, char *arg, struct argp_state *state, struct bench_params *p)
{
    switch (key) {
    case 'p':
        snprintf(p->port, sizeof(p->port), "%u", (unsigned)number(state, "port", arg, 0, 65535));
        return 0;
    case 'd':
        text(state, "device", arg, p->device, sizeof(p->device));
        return 0;
    case 'x':
        p->gid_index = (int32_t)number(state, "gid-index", arg, 0, 65535);
        return 0;
    case KEY_IB_PORT:
        p->ib_port = (uint32_t)number(state, "ib-port", arg, 1, 255);
        return 0;
    case KEY_ODP:
        p->odp = true;
        return 0;
    case KEY_PIN_BUDGET:
        p->pin_budget_bytes = size(state, "pin-budget", arg);
        return 0;
    case KEY_DEADLINE:
        p->dead_peer_ms = seconds(state, "deadline", arg);
        return 0;
    case KEY_PROGRESS_DEADLINE:
        p->idle_timeout_ms = seconds(state, "progress-deadline", arg);
        return 0;
    case '1':
        p->once = true;
        return 0;
    case KEY_BIND:
        text(state, "bind", arg, p->bind, sizeof(p->bind));
        return 0;
    case KEY_DATA_PORT:
        snprintf(p->data_port, sizeof(p->data_port), "%u",
                 (unsigned)number(state, "data-port", arg, 0, 65535));
        return 0;
    case KEY_MAX_RAM:
        p->max_ram_bytes = size(state, "max-ram", arg);
        return 0;
    case KEY_LOOPBACK:
        p->loopback = true;
        return 0;
    }
    return ARGP_ERR_UNKNOWN;
}

static error_t parse_move(int key, char *arg, struct argp_state *state, struct bench_params *p)
{
    static const char *const transports[] = {"auto", "rdma", "tcp", NULL};

    switch (key) {
    case 's':
        p->size_bytes = size(state, "size", arg);
        return 0;
    case 'q':
        p->nqueue_pairs = (uint32_t)number(state, "qp", arg, 1, BENCH_QUEUE_PAIRS_MAX);
        return 0;
    case KEY_RAM:
        text(state, "ram", arg, p->ram_file, sizeof(p->ram_file));
        return 0;
    case KEY_BLOCKS:
        p->nblocks = (uint32_t)number(state, "blocks", arg, 1, RMIG_BLOCKS_MAX);
        return 0;
    case KEY_ZERO_FRACTION:
        p->zero_fraction = real(state, "zero-fraction", arg, 1);
        return 0;
    case KEY_SHARED:
        p->shared = true;
        return 0;
    case KEY_PREALLOC:
        p->prealloc = true;
        return 0;
    case KEY_ZERO_HOLES:
        p->zero_holes = true;
        return 0;
    case KEY_SEED:
        p->seed = number(state, "seed", arg, 0, UINT64_MAX);
        return 0;
    case KEY_PIN_ALL:
        p->pin_all = true;
        return 0;
    case KEY_TRANSPORT:
        p->transport = (enum bench_transport)choice(state, "transport", arg, transports);
        return 0;
    case KEY_MAX_BANDWIDTH:
        p->max_bandwidth_bytes_per_s = bandwidth(state, arg);
        return 0;
    case KEY_RUNS:
        p->runs = (uint32_t)number(state, "runs", arg, 1, 1000000);
        return 0;
    case KEY_COMPARE:
        p->compare = true;
        return 0;
    case KEY_MIN_GBPS:
        p->min_bytes_per_s = real(state, "min-gbps", arg, 1e6) * 1e9 / 8;
        return 0;
    }
    return ARGP_ERR_UNKNOWN;
}

static error_t parse_guest(int key, char *arg, struct argp_state *state, struct bench_params *p)
{
    static const char *const trackers[] = {"auto", "pagemap", "userfaultfd", "mprotect", NULL};

    switch (key) {
    case KEY_DIRTY_RATE:
        p->dirty_rate_bytes_per_s =
            (uint64_t)(real(state, "dirty-rate", arg, 1e9) * (double)BENCH_MB);
        return 0;
    case KEY_DIRTY_SET:
        p->dirty_set_bytes = size(state, "dirty-set", arg);
        return 0;
    case KEY_DIRTY_TRACKER:
        p->tracker = (enum bench_tracker)choice(state, "dirty-tracker", arg, trackers);
        return 0;
    case KEY_DOWNTIME_LIMIT:
        p->downtime_limit_ns = number(state, "downtime-limit", arg, 1, 1000000) * BENCH_NS_PER_MS;
        return 0;
    case KEY_TIME_LIMIT:
        p->time_limit_ns = number(state, "time-limit", arg, 1, 1000000) * BENCH_NS_PER_S;
        return 0;
    case KEY_JSON:
        p->json = true;
        if (arg && !standard_is_path(STDOUT_FILENO, arg))
            text(state, "json", arg, p->json_file, sizeof(p->json_file));
        return 0;
    case KEY_JSON_STREAM:
        p->json_stream = true;
        return 0;
    case KEY_REPORT_GBITS:
        p->gbits = true;
        return 0;
    case 'i':
        p->interval_ns = (uint64_t)(real(state, "interval", arg, 1e6) * (double)BENCH_NS_PER_S);
        return 0;
    }
    return ARGP_ERR_UNKNOWN;
}

/* A bare name or address, or the same with scheme and port. */
static void parse_host(struct argp_state *state, const char *arg, struct bench_params *p)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_uri uri;
    bool rdma = !strncmp(arg, "rdma:", 5);

    if (p->host[0])
        argp_failure(state, BENCH_USAGE, 0, "'%s': one HOST is enough, and '%s' was given already",
                     arg, p->host);
    if (!rdma && strncmp(arg, "tcp:", 4)) {
        size_t len = strlen(arg);
        bool brackets = len > 2 && arg[0] == '[' && arg[len - 1] == ']';

        if (!len || len >= sizeof(p->host) || strpbrk(arg, " \t\n/"))
            argp_failure(state, BENCH_USAGE, 0, "'%s' is not the name or address of a host", arg);
        if (strchr(arg, ':') && strchr(arg, ':') == strrchr(arg, ':'))
            argp_failure(state, BENCH_USAGE, 0, "'%s': with a port it is rdma:%s or tcp:%s; or give --port", arg, arg,
                         arg);
        snprintf(p->host, sizeof(p->host), "%.*s", (int)len - 2 * brackets, arg + brackets);
        return;
    }
    if (rmig_uri_parse(arg, &uri, &err) < 0)
        argp_failure(state, BENCH_USAGE, 0, "%s", err.msg);
    if (!uri.host[0])
        argp_failure(state, BENCH_USAGE, 0, "'%s': the host is missing", arg);
    memcpy(p->host, uri.host, sizeof(p->host));
    memcpy(p->port, uri.port, sizeof(p->port));
    p->host_transport = rdma ? BENCH_RDMA : BENCH_TCP;
}

/* For bench_params_check(): which end the option is for. */
static void note_end(int key, struct bench_params *p)
{
    for (const struct argp_option *o = options; o->name || o->doc; o++)
        if (o->name && o->key == key && o->group == SERVER)
            p->server_option = o->name;
        else if (o->name && o->key == key && o->group > SERVER && key != KEY_LOOPBACK)
            p->client_option = o->name;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct bench_params *p = state->input;
    error_t rc;

    switch (key) {
    case ARGP_KEY_ARG:
        parse_host(state, arg, p);
        return 0;
    case ARGP_KEY_END:
        bench_params_check(state, p);
        return 0;
    }
    note_end(key, p);
    rc = parse_ends(key, arg, state, p);
    if (rc == ARGP_ERR_UNKNOWN)
        rc = parse_move(key, arg, state, p);
    if (rc == ARGP_ERR_UNKNOWN)
        rc = parse_guest(key, arg, state, p);
    return rc;
}

static void print_version(FILE *stream, struct argp_state *state)
{
    (void)state;
    fprintf(stream, "rdma_migrate_bench %s\n", rmig_version());
}

void bench_params_parse(struct bench_params *params, int argc, char **argv)
{
    static const struct argp argp = {
        .options = options, .parser = parse_option, .args_doc = "[HOST]", .doc = doc};

    *params = (struct bench_params){
        .port = BENCH_DEFAULT_PORT,
        .data_port = "0",
        .gid_index = -1,
        .nblocks = 1,
        .seed = 1,
        .transport = BENCH_AUTO,
        .host_transport = BENCH_AUTO,
        .nqueue_pairs = 1,
        .downtime_limit_ns = 300 * BENCH_NS_PER_MS,
        .time_limit_ns = 300 * BENCH_NS_PER_S,
    };
    argv[0] = program_invocation_short_name; /* in front of messages, as everywhere else */
    argp_err_exit_status = BENCH_USAGE;
    argp_program_version_hook = print_version;
    argp_parse(&argp, argc, argv, 0, NULL, params);
}
