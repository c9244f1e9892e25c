/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vm.h -- a guest for tests of whole moves: memory, a vCPU that is a thread and writes to it, a dirty
 * bitmap, one device, and the rule that of two it may run at one only.
 */
#ifndef TESTS_UNIT_VM_H
#define TESTS_UNIT_VM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <rmig/rmig.h>

#include "tests/unit/hooks_util.h"

#define VM_PAGES 2048u

struct vm {
    struct guest guest; /* one block */
    struct rmig_vm_ops ops;
    atomic_uchar dirty[VM_PAGES];
    atomic_bool tracking, running;
    atomic_uint throttle_percent;
    bool has_thread;
    pthread_t thread;
    uint64_t counter; /* the vCPU's only register: what it last wrote; moves as device "cpu" */
    unsigned step_us; /* between two writes */
    unsigned hot_pages;
    /* what the ops saw */
    unsigned npause, nresume, nsync, nthrottle;
    bool loaded;
    /* what the ops do */
    int fail_resume, fail_load, fail_pause, fail_save;
    void (*on_resume)(void *opaque), (*on_save)(void *opaque), (*on_sync)(void *opaque);
    void *opaque;
};

/* A guest that is stopped, its memory zero. */
void vm_init(struct vm *vm);
void vm_release(struct vm *vm);

/* Without a move: it runs; it stops. */
void vm_start(struct vm *vm);
void vm_stop(struct vm *vm);

/* How many of all guests run now. */
unsigned vm_count_running(void);

/* Stopped: each page holds what the vCPU last wrote to it, as the counter tells. */
void vm_assert_whole(const struct vm *vm);

#endif
