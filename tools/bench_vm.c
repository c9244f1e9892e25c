/* bench_vm.c -- answers what the library asks of a hypervisor. */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/bench_vm.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tools/bench_dirty_sigsegv.h"
#include "tools/bench_units.h"

static int open_tracker(struct bench_vm *vm, struct rmig_err *err)
{
    const struct bench_ram *ram = vm->ram;
    int rc;

    switch (vm->params->tracker) {
    case BENCH_TRACK_PAGEMAP:
        return rmig_dirty_open(RMIG_DIRTY_PAGEMAP, ram->guest, ram->nblocks, &vm->dirty, err);
    case BENCH_TRACK_UFFD:
        return rmig_dirty_open(RMIG_DIRTY_USERFAULTFD, ram->guest, ram->nblocks, &vm->dirty, err);
    case BENCH_TRACK_AUTO:
        rc = rmig_dirty_open(RMIG_DIRTY_AUTO, ram->guest, ram->nblocks, &vm->dirty, NULL);
        if (rc == 0)
            return 0;
        break;
    case BENCH_TRACK_MPROTECT:
        break;
    }
    return bench_dirty_sigsegv_open(ram->guest, ram->nblocks, &vm->dirty, err);
}

int bench_vm_check(const struct bench_params *params, const struct bench_ram *ram,
                   struct rmig_err *err)
{
    struct bench_vm vm = {.params = params, .ram = ram};
    int rc = open_tracker(&vm, err);

    rmig_dirty_free(vm.dirty);
    return rc;
}

void bench_vm_uri(char *buf, size_t len, bool rdma, const char *host, const char *port)
{
    bool v6 = strchr(host, ':') != NULL;

    snprintf(buf, len, "%s:%s%s%s:%s", rdma ? "rdma" : "tcp", v6 ? "[" : "", host, v6 ? "]" : "",
             port);
}

/* --- the ops ------------------------------------------------------------------------------------
 */

static int list_blocks(void *opaque, const struct rmig_block **blocks_p, uint32_t *nblocks_p,
                       struct rmig_err *err)
{
    struct bench_vm *vm = opaque;

    (void)err;
    *blocks_p = vm->ram->blocks;
    *nblocks_p = vm->ram->nblocks;
    return 0;
}

static void stop_guest(struct bench_vm *vm)
{
    if (vm->guest_ended_ns || !vm->guest)
        return;
    bench_guest_stop(vm->guest);
    vm->guest_ended_ns = bench_now_ns();
}

/* The guest runs from here on: before, nothing would tell of its writes. */
static int dirty_start(void *opaque, struct rmig_err *err)
{
    struct bench_vm *vm = opaque;
    int rc;

    if (!vm->guest)
        return 0;
    rc = open_tracker(vm, err);
    if (rc == 0)
        rc = rmig_dirty_start(vm->dirty, err);
    if (rc < 0)
        return rc;
    vm->tracker = rmig_dirty_name(vm->dirty);
    vm->written_before = bench_guest_written_pages(vm->guest);
    vm->guest_began_ns = bench_now_ns();
    return bench_guest_start(vm->guest, err);
}

struct count {
    struct bench_vm *vm;
    rmig_dirty_fn fn;
    void *opaque;
};

static int count_run(void *opaque, const struct rmig_run *run)
{
    struct count *count = opaque;

    count->vm->synced_pages += run->len_bytes / RMIG_PAGE_BYTES;
    return count->fn(count->opaque, run);
}

static int dirty_sync(void *opaque, rmig_dirty_fn fn, void *fn_opaque, struct rmig_err *err)
{
    struct bench_vm *vm = opaque;
    struct count count = {vm, fn, fn_opaque};

    return vm->dirty ? rmig_dirty_sync(vm->dirty, count_run, &count, err) : 0;
}

void bench_vm_end(struct bench_vm *vm)
{
    stop_guest(vm);
    rmig_dirty_free(vm->dirty);
    vm->dirty = NULL;
}

/* A move that failed leaves no guest running: it is the move that is measured. */
static void dirty_stop(void *opaque)
{
    bench_vm_end(opaque);
}

static int pause_guest(void *opaque, struct rmig_err *err)
{
    (void)err;
    stop_guest(opaque);
    return 0;
}

static int resume_guest(void *opaque, struct rmig_err *err)
{
    struct bench_vm *vm = opaque;

    if (!vm->guest)
        return 0;
    vm->guest_ended_ns = 0;
    return bench_guest_start(vm->guest, err);
}

static int save_devices(void *opaque, struct rmig_save *save, struct rmig_err *err)
{
    (void)opaque, (void)save, (void)err;
    return 0;
}

static int load_device(void *opaque, const char *name, uint32_t instance_id, uint32_t version,
                       const void *data, size_t len_bytes, struct rmig_err *err)
{
    (void)opaque, (void)instance_id, (void)version, (void)data, (void)len_bytes;
    return rmig_err_set(err, -ENODEV, "device %.64s: there are no devices here", name);
}

const struct rmig_vm_ops bench_vm_ops = {
    .struct_size = sizeof(bench_vm_ops),
    .list_blocks = list_blocks,
    .dirty_start = dirty_start,
    .dirty_sync = dirty_sync,
    .dirty_stop = dirty_stop,
    .pause = pause_guest,
    .resume = resume_guest,
    .save_devices = save_devices,
    .load_device = load_device,
};
