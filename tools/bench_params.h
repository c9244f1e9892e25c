/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_params.h -- the command line of rdma_migrate_bench, parsed and checked. */
#ifndef TOOLS_BENCH_PARAMS_H
#define TOOLS_BENCH_PARAMS_H

#include <stdbool.h>
#include <stdint.h>

/** Exit status, documented in rdma_migrate_bench(1). A larger one is not worse. */
enum bench_exit {
    BENCH_OK = 0,
    BENCH_USAGE = 2,     /* bad option, size, file or host name */
    BENCH_NO_DEVICE = 3, /* RDMA asked for and not to be had at one of the ends */
    BENCH_CONNECT = 4,   /* cannot listen, connect or agree with the peer */
    BENCH_TRANSFER = 5,  /* failed or cancelled half way */
    BENCH_VERIFY = 6,    /* the memories differ */
    BENCH_LIMIT = 7      /* moved and verified, but a stated limit was not met */
};

enum bench_transport { BENCH_AUTO, BENCH_RDMA, BENCH_TCP };

enum bench_tracker {
    BENCH_TRACK_AUTO,
    BENCH_TRACK_PAGEMAP,
    BENCH_TRACK_UFFD,
    BENCH_TRACK_MPROTECT
};

#define BENCH_DEFAULT_PORT "18516"

/* As many as the RDMA transport makes of what it is asked for. */
#define BENCH_QUEUE_PAIRS_MAX 8

struct bench_params {
    /* who and where */
    char host[256]; /* empty: server */
    char port[6];
    char bind[256];    /* server: address to listen on, empty = any */
    char data_port[6]; /* server: port of the data connection, "0" = any */
    char device[64];   /* RDMA device, empty = the one the address chooses */
    int32_t gid_index; /* -1 = choose */
    uint32_t ib_port;  /* 0 = 1 */
    uint64_t pin_budget_bytes; /* most guest RAM registered at once, 0 = no limit */
    bool odp;                  /* this end does not pin where its device can do without */
    uint32_t dead_peer_ms;     /* 0 = the library's default, as the next */
    uint32_t idle_timeout_ms;
    bool loopback;
    bool once;
    uint64_t max_ram_bytes; /* server: most memory to give a client, 0 = what is available */
    /* what to move */
    uint64_t size_bytes;
    char ram_file[4096]; /* empty: made-up content of size_bytes */
    uint32_t nblocks;
    double zero_fraction;
    bool zero_holes;
    bool shared;
    bool prealloc;
    uint64_t seed;
    /* how */
    enum bench_transport transport;
    enum bench_transport host_transport; /* that HOST names; BENCH_AUTO: none */
    bool pin_all;
    uint32_t nqueue_pairs;
    uint64_t max_bandwidth_bytes_per_s; /* 0 = no limit */
    uint32_t runs;
    bool compare;
    double min_bytes_per_s; /* median goodput that is asked for, 0 = none is */
    /* the guest that goes on writing */
    uint64_t dirty_rate_bytes_per_s; /* 0 = none */
    uint64_t dirty_set_bytes;        /* 0 = all RAM */
    enum bench_tracker tracker;
    uint64_t downtime_limit_ns;
    uint64_t time_limit_ns; /* until the guest is stopped */
    /* what to say */
    bool json;
    char json_file[4096]; /* empty: standard output */
    bool json_stream;     /* to standard output */
    uint64_t interval_ns; /* 0 = none */
    bool gbits;           /* rates for people in Gbit/s */
    /* long names of options seen that only one end has a use for, NULL = none */
    const char *server_option, *client_option;
};

/** The name that --transport takes. */
const char *bench_transport_name(enum bench_transport transport);

/**
 * Parse and check the command line. Prints one line and exits with BENCH_USAGE on a mistake, with
 * 0 after --help, --usage and --version.
 */
void bench_params_parse(struct bench_params *params, int argc, char **argv);

/** A wait of the client for a word of its server: who asks for less patience than ms has less here, too. */
static inline int bench_patience_ms(const struct bench_params *params, int ms)
{
    uint32_t asked_ms = params->idle_timeout_ms;

    return asked_ms && asked_ms < (uint32_t)ms ? (int)asked_ms : ms;
}

#endif
