/* SPDX-License-Identifier: BSD-3-Clause */
/* vm.c -- a guest whose vCPU writes its counter to one page after the other. */
#include "tests/unit/vm.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "common/bytes.h"

static atomic_uint nrunning;

/* --- the vCPU --------------------------------------------------------------------------------- */

/* The n-th write goes to this page. */
static uint32_t page_of(const struct vm *vm, uint64_t n)
{
    return (uint32_t)(n % vm->hot_pages);
}

/* A guest writes to a page while it is sent; that it is sent again is what the move is about. */
__attribute__((no_sanitize_thread)) static void fill_page(uint64_t *words, uint64_t n)
{
    for (unsigned i = 0; i < RMIG_PAGE_BYTES / sizeof(*words); i++)
        words[i] = n * (i + 1);
}

static void write_one(struct vm *vm)
{
    uint64_t n = ++vm->counter;
    uint32_t page = page_of(vm, n);

    fill_page((uint64_t *)guest_page(&vm->guest, 0, page), n);
    if (atomic_load(&vm->tracking))
        atomic_store(&vm->dirty[page], 1);
}

static void *vcpu_main(void *arg)
{
    struct vm *vm = arg;

    while (atomic_load(&vm->running)) {
        unsigned share = 100 - atomic_load(&vm->throttle_percent);

        write_one(vm);
        if (vm->step_us)
            nanosleep(&(struct timespec){.tv_nsec = vm->step_us * 1000L * 100 / share}, NULL);
    }
    return NULL;
}

void vm_start(struct vm *vm)
{
    ck_assert_uint_eq(atomic_fetch_add(&nrunning, 1), 0); /* never two at once */
    atomic_store(&vm->running, true);
    ck_assert_int_eq(pthread_create(&vm->thread, NULL, vcpu_main, vm), 0);
    vm->has_thread = true;
}

void vm_stop(struct vm *vm)
{
    if (!vm->has_thread)
        return;
    atomic_store(&vm->running, false);
    pthread_join(vm->thread, NULL);
    vm->has_thread = false;
    atomic_fetch_sub(&nrunning, 1);
}

unsigned vm_count_running(void)
{
    return atomic_load(&nrunning);
}

/* --- the ops ---------------------------------------------------------------------------------- */

static int list_blocks(void *opaque, const struct rmig_block **blocks_p, uint32_t *nblocks_p,
                       struct rmig_err *err)
{
    struct vm *vm = opaque;

    (void)err;
    *blocks_p = vm->guest.blocks;
    *nblocks_p = vm->guest.count;
    return 0;
}

static int dirty_start(void *opaque, struct rmig_err *err)
{
    struct vm *vm = opaque;

    (void)err;
    ck_assert(!atomic_exchange(&vm->tracking, true));
    return 0;
}

static int dirty_sync(void *opaque, rmig_dirty_fn fn, void *fn_opaque, struct rmig_err *err)
{
    struct vm *vm = opaque;

    (void)err;
    ck_assert(atomic_load(&vm->tracking));
    vm->nsync++;
    for (uint32_t i = 0; i < VM_PAGES; i++) {
        const struct rmig_run run = {.offset_bytes = (uint64_t)i * RMIG_PAGE_BYTES,
                                     .len_bytes = RMIG_PAGE_BYTES};

        if (atomic_exchange(&vm->dirty[i], 0))
            ck_assert_int_eq(fn(fn_opaque, &run), 0);
    }
    if (vm->on_sync)
        vm->on_sync(vm->opaque);
    return 0;
}

static void dirty_stop(void *opaque)
{
    struct vm *vm = opaque;

    ck_assert(atomic_exchange(&vm->tracking, false));
}

static int pause_vm(void *opaque, struct rmig_err *err)
{
    struct vm *vm = opaque;

    vm->npause++;
    if (vm->fail_pause)
        return rmig_err_set(err, vm->fail_pause, "a vCPU is stuck");
    vm_stop(vm);
    return 0;
}

static int resume_vm(void *opaque, struct rmig_err *err)
{
    struct vm *vm = opaque;

    vm->nresume++;
    if (vm->on_resume)
        vm->on_resume(vm->opaque);
    if (vm->fail_resume)
        return rmig_err_set(err, vm->fail_resume, "no vCPU would start");
    if (!vm->has_thread)
        vm_start(vm);
    return 0;
}

static int save_devices(void *opaque, struct rmig_save *save, struct rmig_err *err)
{
    struct vm *vm = opaque;
    uint8_t data[8];

    ck_assert(!vm->has_thread);
    if (vm->on_save)
        vm->on_save(vm->opaque);
    if (vm->fail_save)
        return rmig_err_set(err, vm->fail_save, "a device has no state");
    rmig_store_be64(data, vm->counter);
    return rmig_save_section(save, "cpu", 0, 1, data, sizeof(data), err);
}

static int load_device(void *opaque, const char *name, uint32_t instance_id, uint32_t version,
                       const void *data, size_t len_bytes, struct rmig_err *err)
{
    struct vm *vm = opaque;

    if (vm->fail_load)
        return rmig_err_set(err, vm->fail_load, "no such device here");
    if (strcmp(name, "cpu") != 0 || instance_id != 0 || version != 1 || len_bytes != 8)
        return -EPROTO;
    vm->counter = rmig_load_be64(data);
    vm->loaded = true;
    return 0;
}

static int throttle(void *opaque, uint32_t percent, struct rmig_err *err)
{
    struct vm *vm = opaque;

    (void)err;
    ck_assert_uint_lt(percent, 100);
    vm->nthrottle++;
    atomic_store(&vm->throttle_percent, percent);
    return 0;
}

/* --- life cycle ------------------------------------------------------------------------------- */

void vm_init(struct vm *vm)
{
    *vm = (struct vm){
        .step_us = 200,
        .hot_pages = 64,
        .ops = {.struct_size = sizeof(vm->ops),
                .list_blocks = list_blocks,
                .dirty_start = dirty_start,
                .dirty_sync = dirty_sync,
                .dirty_stop = dirty_stop,
                .pause = pause_vm,
                .resume = resume_vm,
                .save_devices = save_devices,
                .load_device = load_device,
                .throttle = throttle},
    };
    guest_init(&vm->guest, 1, (uint64_t)VM_PAGES * RMIG_PAGE_BYTES);
}

void vm_release(struct vm *vm)
{
    vm_stop(vm);
    guest_release(&vm->guest);
}

void vm_assert_whole(const struct vm *vm)
{
    ck_assert(!vm->has_thread);
    for (uint32_t page = 0; page < vm->hot_pages; page++) {
        const uint64_t *words = (const uint64_t *)guest_page(&vm->guest, 0, page);
        uint64_t n = vm->counter;

        while (n > 0 && page_of(vm, n) != page)
            n--;
        for (unsigned i = 0; i < RMIG_PAGE_BYTES / sizeof(*words); i++)
            ck_assert_msg(words[i] == n * (i + 1), "page %u holds %llu at word %u, written was %llu",
                          page, (unsigned long long)words[i], i,
                          (unsigned long long)(n * (i + 1)));
    }
}
