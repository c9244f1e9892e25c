/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_vm.h -- the bench as a hypervisor: its RAM, and the guest that writes to it, as the library's
 * sources and destinations ask for them.
 */
#ifndef TOOLS_BENCH_VM_H
#define TOOLS_BENCH_VM_H

#include <rmig/dirty.h>
#include <rmig/migrate.h>

#include "tools/bench_guest.h"
#include "tools/bench_params.h"
#include "tools/bench_ram.h"

/** What the ops are called with. Zeroed memory but for the first three is where a move begins. */
struct bench_vm {
    const struct bench_params *params; /* which tracker */
    const struct bench_ram *ram;
    struct bench_guest *guest; /* NULL: nothing is written while the RAM moves */
    struct rmig_dirty *dirty;
    /* results */
    const char *tracker;        /* NULL: none */
    uint64_t guest_began_ns;    /* when the guest was started ... */
    uint64_t guest_ended_ns;    /* ... and stopped */
    uint64_t written_before;    /* pages that it had written when it was started */
    uint64_t synced_pages;      /* pages that the tracker told of */
};

/** The ops of both ends. */
extern const struct rmig_vm_ops bench_vm_ops;

/** Is the tracker that params ask for to be had for ram's guest view? Returns: 0; an errno. */
int bench_vm_check(const struct bench_params *params, const struct bench_ram *ram,
                   struct rmig_err *err);

/** Stop the guest and free the tracker, whatever became of the move. */
void bench_vm_end(struct bench_vm *vm);

/** "rdma:HOST:PORT" or "tcp:HOST:PORT", an IPv6 address in brackets. */
void bench_vm_uri(char *buf, size_t len, bool rdma, const char *host, const char *port);

#endif
