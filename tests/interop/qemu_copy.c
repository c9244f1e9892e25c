/* SPDX-License-Identifier: BSD-3-Clause */
/* qemu_copy.c -- copies a QEMU migration stream from file to file through both drivers, or compares
 * two. */
#include <rmig/rmig.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/bytes.h"
#include "stream/format.h"

/* A guest as its stream describes it. */
struct vm {
    char machine[256];
    struct rmig_block *blocks;
    uint32_t nblocks;
    uint8_t *tail;
    size_t tail_len;
};

static int fail(const char *what, const struct rmig_err *err)
{
    fprintf(stderr, "qemu_copy: %s: %s\n", what, err->code ? err->msg : "not as expected");
    return -1;
}

static int open_file(const char *path, enum rmig_channel_mode mode, struct rmig_channel **ch_p,
                     struct rmig_err *err)
{
    struct rmig_uri uri;
    char text[4200];
    int rc;

    snprintf(text, sizeof(text), "file:%s", path);
    rc = rmig_uri_parse(text, &uri, err);
    return rc < 0 ? rc : rmig_channel_open(&uri, mode, NULL, ch_p, err);
}

/* --- the head of a stream: what a hypervisor would know, a copier has to look up ---------------
 */

static int add_block(struct vm *vm, const char *name, uint64_t len_bytes)
{
    struct rmig_block *grown = realloc(vm->blocks, (vm->nblocks + 1) * sizeof(*grown));
    void *host = mmap(NULL, len_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (!grown || host == MAP_FAILED)
        return -ENOMEM;
    vm->blocks = grown;
    vm->blocks[vm->nblocks++] = (struct rmig_block){.name = strdup(name),
                                                    .host = host,
                                                    .len_bytes = len_bytes,
                                                    .page_bytes = RMIG_PAGE_BYTES,
                                                    .fd = -1};
    return 0;
}

static int read_blocks(struct rmig_in *in, struct vm *vm)
{
    uint64_t left, len;
    char name[256];
    int rc = rmig_in_get_be64(in, &left);

    if (rc < 0 || (left & RMIG_RAM_FLAGS_MASK) != RMIG_RAM_MEM_SIZE)
        return -EPROTO;
    for (left &= ~(uint64_t)RMIG_RAM_FLAGS_MASK; left > 0; left -= len) {
        if (rmig_in_get_counted_string(in, name) <= 0 || rmig_in_get_be64(in, &len) < 0 ||
            len == 0 || len > left)
            return -EPROTO;
        rc = add_block(vm, name, len);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int read_head(const char *path, struct vm *vm, struct rmig_err *err)
{
    struct rmig_channel *ch = NULL;
    struct rmig_in *in = NULL;
    uint32_t len = 0;
    int rc = open_file(path, RMIG_OPEN_READ, &ch, err);

    if (rc < 0)
        return rc;
    rc = rmig_in_new(ch, &in, err);
    if (rc < 0)
        return rc;
    /* magic, version, CONFIGURATION; name; START, id, "ram", instance, version */
    rc = rmig_in_skip(in, RMIG_STREAM_HEADER_BYTES + 1);
    if (rc == 0)
        rc = rmig_in_get_be32(in, &len);
    if (rc == 0 && len >= sizeof(vm->machine))
        rc = -EPROTO;
    if (rc == 0)
        rc = rmig_in_get_buffer(in, vm->machine, len);
    if (rc == 0)
        rc = rmig_in_skip(in, 1 + 4 + 4 + 4 + 4);
    if (rc == 0)
        rc = read_blocks(in, vm);
    rmig_in_close(in, NULL);
    return rc;
}

/* --- load and save ---------------------------------------------------------------------------- */

static int take_tail(void *opaque, const void *data, size_t len_bytes, struct rmig_err *err)
{
    struct vm *vm = opaque;

    (void)err;
    vm->tail = malloc(len_bytes);
    if (!vm->tail)
        return -ENOMEM;
    memcpy(vm->tail, data, len_bytes);
    vm->tail_len = len_bytes;
    return 0;
}

static int load_vm(const char *path, struct vm *vm)
{
    const struct rmig_load_opts opts = {.tail = take_tail, .tail_opaque = vm};
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_channel *ch = NULL;
    struct rmig_load *load = NULL;
    struct rmig_in *in = NULL;
    int rc = read_head(path, vm, &err);

    if (rc == 0)
        rc = open_file(path, RMIG_OPEN_READ, &ch, &err);
    if (rc == 0)
        rc = rmig_in_new(ch, &in, &err);
    if (rc == 0)
        rc = rmig_load_new(&load, in, vm->blocks, vm->nblocks, &opts, &err);
    if (rc == 0)
        rc = rmig_load_run(load, &err);
    if (rc < 0)
        return fail(path, &err);
    printf("%s: %s, %u blocks, %llu bytes of RAM, %llu pages, %llu zero, tail %zu bytes\n", path,
           vm->machine, vm->nblocks, (unsigned long long)rmig_load_stats(load)->total_ram_bytes,
           (unsigned long long)rmig_load_stats(load)->normal_pages,
           (unsigned long long)rmig_load_stats(load)->zero_pages, vm->tail_len);
    rmig_load_free(load);
    rmig_in_close(in, NULL);
    return 0;
}

static int save_vm(const char *path, const struct vm *vm)
{
    const struct rmig_save_opts opts = {.machine = vm->machine};
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_channel *ch = NULL;
    struct rmig_save *save = NULL;
    struct rmig_out *out = NULL;
    int rc = open_file(path, RMIG_OPEN_WRITE, &ch, &err);

    if (rc == 0)
        rc = rmig_out_new(ch, &out, &err);
    if (rc == 0)
        rc = rmig_save_new(&save, out, vm->blocks, vm->nblocks, &opts, &err);
    if (rc == 0)
        rc = rmig_save_setup(save, &err);
    if (rc == 0)
        rc = rmig_save_round(save, &err);
    if (rc == 0)
        rc = rmig_save_complete(save, &err);
    if (rc == 0)
        rc = rmig_save_tail(save, vm->tail, vm->tail_len, &err);
    if (rc < 0)
        return fail(path, &err);
    rmig_save_free(save);
    return rmig_out_close(out, &err) < 0 ? fail(path, &err) : 0;
}

/* RAM of both, block by block. */
static int compare_vms(const struct vm *a, const struct vm *b)
{
    struct rmig_err err = RMIG_ERR_INIT;

    if (a->nblocks != b->nblocks)
        return fail("number of blocks", &err);
    for (uint32_t i = 0; i < a->nblocks; i++) {
        if (strcmp(a->blocks[i].name, b->blocks[i].name) != 0 ||
            a->blocks[i].len_bytes != b->blocks[i].len_bytes ||
            memcmp(a->blocks[i].host, b->blocks[i].host, a->blocks[i].len_bytes) != 0)
            return fail(a->blocks[i].name, &err);
    }
    printf("the RAM is the same\n");
    return 0;
}

static void release_vm(struct vm *vm)
{
    for (uint32_t i = 0; i < vm->nblocks; i++) {
        munmap(vm->blocks[i].host, vm->blocks[i].len_bytes);
        free((char *)(uintptr_t)vm->blocks[i].name);
    }
    free(vm->blocks);
    free(vm->tail);
}

int main(int argc, char **argv)
{
    struct vm first = {.nblocks = 0}, second = {.nblocks = 0};
    int rc;

    if (argc != 4 || (strcmp(argv[1], "copy") != 0 && strcmp(argv[1], "compare") != 0)) {
        fprintf(stderr, "usage: qemu_copy copy FROM TO | qemu_copy compare A B\n");
        return EXIT_FAILURE;
    }
    rc = load_vm(argv[2], &first);
    if (rc == 0 && argv[1][3] == 'y')
        rc = save_vm(argv[3], &first);
    else if (rc == 0)
        rc = load_vm(argv[3], &second);
    if (rc == 0 && argv[1][3] == 'p')
        rc = compare_vms(&first, &second);
    release_vm(&first);
    release_vm(&second);
    return rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
