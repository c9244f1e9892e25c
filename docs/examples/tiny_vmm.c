/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tiny_vmm.c -- the smallest hypervisor that can be migrated: its guest counts in each page of its RAM.
 * tiny_vmm URI runs a guest and moves it there after a second; tiny_vmm --incoming URI takes one in.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <rmig/rmig.h>

#define RAM_BYTES (64ull << 20)

static struct rmig_block ram = {.name = "ram", .len_bytes = RAM_BYTES, .page_bytes = 4096, .fd = -1};
static struct rmig_dirty *dirty;
static atomic_bool running;
static pthread_t vcpu;
static uint64_t counter; /* the vCPU's only register */

static void *vcpu_main(void *vm)
{
    while (atomic_load(&running)) {
        uint64_t at = ++counter * RMIG_PAGE_BYTES % RAM_BYTES;

        memcpy((char *)ram.host + at, &counter, sizeof(counter));
        if (rmig_dirty_map_mark(dirty, 0, at, sizeof(counter)) < 0) /* KVM's log does this by itself */
            abort();
        usleep(50);
    }
    return NULL;
}

static int list_blocks(void *vm, const struct rmig_block **blocks_p, uint32_t *nblocks_p,
                       struct rmig_err *err)
{
    *blocks_p = &ram;
    *nblocks_p = 1;
    return 0;
}

static int dirty_start(void *vm, struct rmig_err *err)
{
    return rmig_dirty_start(dirty, err);
}

static int dirty_sync(void *vm, rmig_dirty_fn fn, void *opaque, struct rmig_err *err)
{
    return rmig_dirty_sync(dirty, fn, opaque, err);
}

static void dirty_stop(void *vm)
{
    rmig_dirty_stop(dirty);
}

static int resume_vm(void *vm, struct rmig_err *err)
{
    printf("runs from %llu\n", (unsigned long long)counter);
    atomic_store(&running, true);
    return pthread_create(&vcpu, NULL, vcpu_main, vm) ? rmig_err_set(err, -EAGAIN, "no vCPU") : 0;
}

static int pause_vm(void *vm, struct rmig_err *err)
{
    atomic_store(&running, false);
    pthread_join(vcpu, NULL);
    printf("paused at %llu\n", (unsigned long long)counter);
    return 0;
}

static int save_devices(void *vm, struct rmig_save *save, struct rmig_err *err)
{
    return rmig_save_section(save, "vcpu", 0, 1, &counter, sizeof(counter), err);
}

static int load_device(void *vm, const char *name, uint32_t instance_id, uint32_t version,
                       const void *data, size_t len_bytes, struct rmig_err *err)
{
    if (strcmp(name, "vcpu") != 0 || version != 1 || len_bytes != sizeof(counter))
        return rmig_err_set(err, -EINVAL, "no state of this vCPU");
    memcpy(&counter, data, sizeof(counter));
    return 0;
}

int main(int argc, char **argv)
{
    const struct rmig_vm_ops ops = {sizeof(ops), list_blocks, dirty_start, dirty_sync, dirty_stop,
                                    pause_vm, resume_vm, save_devices, load_device, NULL};
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_source *source = NULL;
    struct rmig_dest *dest = NULL;
    int rc;

    ram.host = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    rc = rmig_dirty_map_open(&ram, 1, &dirty, &err);
    if (rc == 0 && argc == 3 && !strcmp(argv[1], "--incoming")) {
        rc = rmig_dest_new(&dest, argv[2], &ops, NULL, NULL, &err);
        if (rc == 0 && (rc = rmig_dest_run(dest, &err)) == 0)
            sleep(1); /* the guest's life here */
    } else if (rc == 0 && argc == 2 && (rc = resume_vm(NULL, &err)) == 0) {
        sleep(1);
        rc = rmig_source_new(&source, argv[1], &ops, NULL, NULL, &err);
        if (rc == 0)
            rc = rmig_source_run(source, &err);
    } else if (rc == 0)
        rc = rmig_err_set(&err, -EINVAL, "usage: tiny_vmm [--incoming] URI");
    if (rc < 0)
        fprintf(stderr, "tiny_vmm: %s\n", err.msg);
    rmig_source_free(source);
    rmig_dest_free(dest);
    return rc < 0;
}
