/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_guest.c -- a small guest between pages that fault, and loading any bytes into it. */
#include "tests/fuzz/fuzz_guest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "stream/format.h"

#define BLOCK_BYTES (2u * RMIG_PAGE_BYTES)

/* A test that cannot get its memory cannot go on. */
static void need(int ok, const char *what)
{
    if (ok)
        return;
    perror(what);
    abort();
}

static void *map_between_guards(int fd)
{
    uint8_t *p = mmap(NULL, BLOCK_BYTES + 2 * RMIG_PAGE_BYTES, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    need(p != MAP_FAILED, "mmap");
    p = mmap(p + RMIG_PAGE_BYTES, BLOCK_BYTES, PROT_READ | PROT_WRITE,
             MAP_FIXED | (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED), fd, 0);
    need(p != MAP_FAILED, "mmap");
    return p;
}

const struct rmig_block *fuzz_guest(void)
{
    static const char *const names[FUZZ_BLOCKS] = {"mem", "rom", "anonymous"};
    static struct rmig_block blocks[FUZZ_BLOCKS];

    if (blocks[0].host)
        return blocks;
    for (unsigned i = 0; i < FUZZ_BLOCKS; i++) {
        int fd = -1;

        if (i < 2) {
            fd = memfd_create(names[i], MFD_CLOEXEC);
            need(fd >= 0 && ftruncate(fd, BLOCK_BYTES) == 0, "memfd");
        }
        blocks[i] = (struct rmig_block){
            .name = names[i], .len_bytes = BLOCK_BYTES, .page_bytes = RMIG_PAGE_BYTES, .fd = fd};
        blocks[i].host = map_between_guards(fd);
    }
    return blocks;
}

/* --- a channel whose messages end at each hook mark ------------------------------------------- */

struct bytes_channel {
    struct rmig_channel base;
    const uint8_t *data;
    size_t size, pos;
};

static size_t message_end(const struct bytes_channel *bc)
{
    static const uint8_t mark[8] = {0, 0, 0, 0, 0, 0, 0, RMIG_RAM_HOOK};
    const uint8_t *at = memmem(bc->data + bc->pos, bc->size - bc->pos, mark, sizeof(mark));

    return at ? (size_t)(at - bc->data) + sizeof(mark) : bc->size;
}

static ssize_t bytes_readv(struct rmig_channel *ch, const struct iovec *iov, int niov,
                           struct rmig_err *err)
{
    struct bytes_channel *bc = (struct bytes_channel *)ch;
    size_t end = message_end(bc), begin = bc->pos;

    (void)err;
    for (int i = 0; i < niov; i++) {
        size_t n = end - bc->pos < iov[i].iov_len ? end - bc->pos : iov[i].iov_len;

        if (n > 0)
            memcpy(iov[i].iov_base, bc->data + bc->pos, n);
        bc->pos += n;
    }
    return (ssize_t)(bc->pos - begin);
}

static ssize_t bytes_writev(struct rmig_channel *ch, const struct iovec *iov, int niov,
                            struct rmig_err *err)
{
    (void)ch;
    (void)iov;
    (void)niov;
    return rmig_err_set(err, -9, "bytes: cannot be written");
}

static int bytes_close(struct rmig_channel *ch, struct rmig_err *err)
{
    (void)ch;
    (void)err;
    return 0;
}

static int load_hook(void *opaque, enum rmig_hook_flag flag, const char *name, struct rmig_err *err)
{
    (void)opaque;
    (void)err;
    need((flag == RMIG_HOOK_BLOCK_REG) == (name != NULL), "load hook");
    return 0;
}

static int take_section(void *opaque, const char *name, uint32_t instance_id, uint32_t version,
                        const void *data, size_t len, struct rmig_err *err)
{
    uint8_t sum = (uint8_t)(instance_id + version);

    (void)opaque;
    (void)err;
    need(len <= FUZZ_SECTION_BYTES && strnlen(name, 256) >= 1 && strnlen(name, 256) <= 255,
         "section");
    for (size_t i = 0; i < len; i++) /* each byte must be readable */
        sum ^= ((const uint8_t *)data)[i];
    return sum == 0xa5 ? -1 : 0; /* some are refused */
}

static int take_tail(void *opaque, const void *data, size_t len, struct rmig_err *err)
{
    return take_section(opaque, "tail", 0, 0, data, len, err);
}

int fuzz_load_bytes(const uint8_t *data, size_t size, unsigned mode, struct rmig_err *err)
{
    static const struct rmig_channel_ops ops = {
        .name = "bytes", .readv = bytes_readv, .writev = bytes_writev, .close = bytes_close};
    static const struct rmig_hooks set = {.load = load_hook};
    const struct rmig_load_opts opts = {.max_section_bytes = FUZZ_SECTION_BYTES,
                                        .section = take_section,
                                        .tail = mode & FUZZ_TAIL ? take_tail : NULL,
                                        .max_tail_bytes = FUZZ_SECTION_BYTES};
    struct bytes_channel bc = {{.ops = &ops, .flags = RMIG_CHANNEL_READABLE}, data, size, 0};
    struct rmig_load *load = NULL;
    struct rmig_in *in = NULL;
    int rc;

    need(rmig_in_new(&bc.base, &in, err) == 0, "rmig_in_new");
    if (mode & FUZZ_HOOKS)
        need(rmig_in_attach_hooks(in, &set, NULL, err) == 0, "attach");
    need(rmig_load_new(&load, in, fuzz_guest(), FUZZ_BLOCKS, &opts, err) == 0, "rmig_load_new");
    rc = rmig_load_run(load, err);
    need(rc <= 0 && (rc < 0) == (err->code < 0), "result");
    rmig_load_free(load);
    rmig_in_close(in, NULL);
    return rc;
}

/* --- seeds ------------------------------------------------------------------------------------ */

static int no_op(void *opaque, enum rmig_hook_flag flag, struct rmig_err *err)
{
    (void)opaque;
    (void)flag;
    (void)err;
    return 0;
}

/* Put content in the guest: of the pages whose bit is set, page i is filled with byte i + 1. */
static void fill(unsigned pages)
{
    const struct rmig_block *b = fuzz_guest();

    for (unsigned i = 0; i < 2 * FUZZ_BLOCKS; i++)
        memset((uint8_t *)b[i / 2].host + i % 2 * RMIG_PAGE_BYTES, pages >> i & 1 ? i + 1 : 0,
               RMIG_PAGE_BYTES);
}

static int put_sections(struct rmig_save *save, unsigned n)
{
    static const uint8_t state[300] = {1, 2, 3, 0, 5, 0, 0x7e};
    static const char *const names[] = {"cpu", "device with a longer name", "d"};
    int rc = 0;

    for (unsigned i = 0; i < n && rc == 0; i++)
        rc = rmig_save_section(save, names[i % 3], i, 1 + i, state, 100 * i, NULL);
    return rc;
}

static int write_stream(struct rmig_out *out, unsigned n)
{
    static const char *const machines[] = {NULL, "pc-q35-7.2", "m"};
    const struct rmig_save_opts opts = {.machine = machines[n % 3]};
    struct rmig_save *save = NULL;
    int rc = rmig_save_new(&save, out, fuzz_guest(), FUZZ_BLOCKS, &opts, NULL);

    if (rc == 0)
        rc = rmig_save_setup(save, NULL);
    for (unsigned round = 0; round < n / 2 && rc == 0; round++) {
        rc = rmig_save_round(save, NULL);
        if (rc == 0)
            rc = rmig_save_mark_dirty(save, round % FUZZ_BLOCKS, 0, RMIG_PAGE_BYTES);
    }
    if (rc == 0)
        rc = rmig_save_complete(save, NULL);
    if (rc == 0)
        rc = put_sections(save, n % 4);
    if (rc == 0)
        rc = rmig_save_end(save, NULL);
    rmig_save_free(save);
    return rc;
}

size_t fuzz_seed(unsigned n, uint8_t **bytes_p)
{
    static const struct rmig_hooks set = {.before_iterate = no_op, .after_iterate = no_op};
    struct rmig_buffer *buf = NULL;
    struct rmig_channel *ch = NULL;
    struct rmig_out *out = NULL;
    size_t len;

    fill(n % 3 == 0 ? 0 : 1u << n % 6 | 1u << (n + 2) % 6);
    need(rmig_buffer_new(0, &buf, NULL) == 0, "buffer");
    need(rmig_channel_from_buffer(buf, RMIG_OPEN_WRITE, &ch, NULL) == 0, "channel");
    need(rmig_out_new(ch, &out, NULL) == 0, "stream");
    if (n % 2)
        need(rmig_out_attach_hooks(out, &set, NULL, NULL) == 0, "attach");
    need(write_stream(out, n) == 0, "save");
    len = rmig_buffer_length(rmig_out_buffer(out));
    *bytes_p = malloc(len);
    need(*bytes_p != NULL, "malloc");
    need(rmig_buffer_read(rmig_out_buffer(out), 0, len, *bytes_p) == len, "read");
    need(rmig_out_close(out, NULL) == 0, "close");
    return len;
}
