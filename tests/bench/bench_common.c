/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_common.c -- guest RAM, clock and transport of the programs that tests/bench/rdma runs */
#include "bench_common.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define FULL_BYTES (4 * MIB) /* a guest has something at the start of its RAM */

struct rmig_err err;
struct ram ram;
const struct rmig_transport_ops *ops;
struct rmig_transport *transport;
struct rmig_transport_params params = {
    .struct_size = sizeof(params),
    .host = "127.0.0.1",
    .gid_index = -1,
    .idle_timeout_ms = 120000, /* under callgrind everything takes long */
    .dead_peer_ms = 60000,
};

void check(int rc, const char *what)
{
    if (rc < 0) {
        fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, err.code ? err.msg : strerror(-rc));
        exit(EXIT_FAILURE);
    }
}

double now_s(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    *state = x;
    return x;
}

uint8_t *map_ram(int fd, uint64_t len_bytes)
{
    void *at;

    if (fd < 0 || ftruncate(fd, (off_t)len_bytes) < 0)
        check(-errno, "memfd");
    at = mmap(NULL, len_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (at == MAP_FAILED)
        check(-errno, "RAM");
    return at;
}

void make_ram(const char *mib, const char *count)
{
    uint64_t each;
    char (*names)[16];
    int fd = memfd_create("rdma-bench", MFD_CLOEXEC);

    ram.len_bytes = strtoull(mib, NULL, 10) * MIB;
    ram.nblocks = (uint32_t)strtoul(count, NULL, 10);
    if (ram.len_bytes == 0 || ram.nblocks == 0 || ram.len_bytes / ram.nblocks < PAGE)
        check(-EINVAL, "RAM_MIB, BLOCKS");
    each = ram.len_bytes / ram.nblocks / PAGE * PAGE;
    ram.host = map_ram(fd, ram.len_bytes);
    ram.blocks = calloc(ram.nblocks, sizeof(*ram.blocks));
    names = calloc(ram.nblocks, sizeof(*names));
    if (!ram.blocks || !names)
        check(-ENOMEM, "RAM");
    for (uint32_t i = 0; i < ram.nblocks; i++) {
        snprintf(names[i], sizeof(names[i]), "block%u", i);
        ram.blocks[i] = (struct rmig_block){
            .name = names[i],
            .host = ram.host + i * each,
            .len_bytes = i + 1 < ram.nblocks ? each : ram.len_bytes - i * each,
            .page_bytes = PAGE,
            .fd = fd,
            .fd_offset_bytes = i * each,
        };
    }
}

void fill_ram(const char *content)
{
    uint64_t seed = 0x2545f4914f6cdd1d;
    uint64_t step = strcmp(content, "full") == 0    ? sizeof(uint64_t)
                    : strcmp(content, "page") == 0  ? PAGE
                    : strcmp(content, "chunk") == 0 ? MIB
                                                    : 0;

    if (strcmp(content, "zero") == 0)
        memset(ram.host, 0, ram.len_bytes);
    else if (step == 0 && strcmp(content, "none") != 0)
        check(-EINVAL, "CONTENT");
    for (uint64_t at = 0; step && at < ram.len_bytes; at += step == MIB && at < FULL_BYTES ? PAGE : step)
        memcpy(ram.host + at, &(uint64_t){ next_random(&seed) }, sizeof(uint64_t));
}

void load_transport(void)
{
    const char *address = getenv("RDMA_BENCH_ADDRESS");

    if (address)
        params.host = address;
    check(rmig_transport_load("rdma", &transport, &err), "transport");
    ops = rmig_transport_ops(transport);
}
