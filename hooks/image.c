/* SPDX-License-Identifier: BSD-3-Clause */
/* image.c -- what writing and reading a RAM image share, and the hooks over both. */
#include "hooks/image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/overflow.h"
#include "hooks/guard.h"

/* Most that a call moves: between two of them a cancel is noticed. */
#define STEP_BYTES (4u << 20)

typedef ssize_t (*transfer)(struct rmig_channel *ch, void *buf, size_t len_bytes,
                            uint64_t offset_bytes, struct rmig_err *err);

static ssize_t pwrite_some(struct rmig_channel *ch, void *buf, size_t len_bytes,
                           uint64_t offset_bytes, struct rmig_err *err)
{
    return ch->ops->pwrite(ch, buf, len_bytes, offset_bytes, err);
}

static ssize_t pread_some(struct rmig_channel *ch, void *buf, size_t len_bytes,
                          uint64_t offset_bytes, struct rmig_err *err)
{
    return ch->ops->pread(ch, buf, len_bytes, offset_bytes, err);
}

/* end_code: the error where it ends before the last byte. */
static int all(const struct rmig_image *image, transfer some, const char *what, uint8_t *buf,
               uint64_t len_bytes, uint64_t at, int end_code, struct rmig_err *err)
{
    uint64_t done = 0;

    while (done < len_bytes) {
        struct rmig_err e = RMIG_ERR_INIT;
        ssize_t n = some(image->ch, buf + done, rmig_min_u64(len_bytes - done, STEP_BYTES),
                         at + done, &e);

        if (n == -EINTR)
            continue;
        if (n < 0 && e.code)
            return rmig_err_set(err, (int)n, "RAM image: %s %llu of %llu bytes at %llu: %s", what,
                                (unsigned long long)done, (unsigned long long)len_bytes,
                                (unsigned long long)at, e.msg);
        if (n <= 0)
            return rmig_err_set(err, n < 0 ? (int)n : end_code,
                                "RAM image: %s %llu of %llu bytes at %llu: %s", what,
                                (unsigned long long)done, (unsigned long long)len_bytes,
                                (unsigned long long)at, n < 0 ? strerror((int)-n) : "it ends there");
        done += (uint64_t)n;
    }
    return 0;
}

int rmig_image_pwrite(const struct rmig_image *image, const void *buf, uint64_t len_bytes,
                      uint64_t at, struct rmig_err *err)
{
    return all(image, pwrite_some, "wrote", (uint8_t *)(uintptr_t)buf, len_bytes, at, -EIO, err);
}

int rmig_image_pread(const struct rmig_image *image, void *buf, uint64_t len_bytes, uint64_t at,
                     int end_code, struct rmig_err *err)
{
    return all(image, pread_some, "read", buf, len_bytes, at, end_code, err);
}

int rmig_image_place(const struct rmig_image *image, const struct rmig_run *run, uint8_t **ptr_p,
                     uint64_t *at_p, struct rmig_err *err)
{
    uint32_t i = run->block_index;

    if (rmig_blocks_range(&image->blocks, i, run->offset_bytes, run->len_bytes, ptr_p) < 0 ||
        run->offset_bytes % RMIG_PAGE_BYTES || run->len_bytes % RMIG_PAGE_BYTES)
        return rmig_err_set(err, -EINVAL,
                            "RAM image: block %u, offset %llu, length %llu are not whole pages of a "
                            "block",
                            i, (unsigned long long)run->offset_bytes,
                            (unsigned long long)run->len_bytes);
    *at_p = image->data_at[image->index ? image->index[i] : i] + run->offset_bytes;
    return 0;
}

uint64_t rmig_image_bytes(const struct rmig_image *image)
{
    return image->header.image_bytes;
}

void rmig_image_free(struct rmig_image *image)
{
    if (!image)
        return;
    rmig_pages_release(&image->written);
    rmig_blocks_release(&image->blocks);
    free(image->index);
    free(image->listed);
    free(image->names);
    free(image->data_at);
    free(image->table);
    free(image);
}

/* --- hooks ------------------------------------------------------------------------------------ */

/* Writing: the driver has to have the blocks that the image was made for. */
static int same_blocks(const struct rmig_image *image, const struct rmig_block *blocks,
                       uint32_t nblocks, struct rmig_err *err)
{
    bool same = nblocks == image->blocks.count;

    for (uint32_t i = 0; same && i < nblocks; i++)
        same = blocks[i].host == image->blocks.items[i].host &&
               blocks[i].len_bytes == image->blocks.items[i].len_bytes &&
               strcmp(blocks[i].name, image->blocks.items[i].name) == 0;
    return same ? 0 : rmig_err_set(err, -EINVAL, "RAM image: it was made for other blocks");
}

static int set_blocks(void *opaque, const struct rmig_block *blocks, uint32_t nblocks,
                      struct rmig_err *err)
{
    struct rmig_image *image = opaque;

    if (image->writing)
        return same_blocks(image, blocks, nblocks, err);
    return rmig_image_use(image, blocks, nblocks, err);
}

static int save_page(void *opaque, const struct rmig_run *run, uint64_t *sent_bytes_p,
                     struct rmig_err *err)
{
    int rc = rmig_image_put_known(opaque, run, err);

    if (rc < 0)
        return rc;
    *sent_bytes_p = run->flags & RMIG_RUN_ZERO ? 0 : run->len_bytes;
    return RMIG_PUT_SENT;
}

/* That the source lists no other blocks was checked against the ones that use() got. */
static int load(void *opaque, enum rmig_hook_flag flag, const char *block_name,
                struct rmig_err *err)
{
    (void)block_name;
    return flag == RMIG_HOOK_HOOK ? rmig_image_get_all(opaque, err) : 0;
}

/* It is for its mark: a load without the image is refused by it, and would find zero pages otherwise. */
static int before_iterate(void *opaque, enum rmig_hook_flag flag, struct rmig_err *err)
{
    (void)opaque, (void)flag, (void)err;
    return 0;
}

static const struct rmig_hooks image_hooks = {
    .set_blocks = set_blocks,
    .before_iterate = before_iterate,
    .save_page = save_page,
    .load = load,
};

int rmig_out_attach_image(struct rmig_out *out, struct rmig_image *image, struct rmig_err *err)
{
    if (!image->writing)
        return rmig_err_set(err, -EINVAL, "RAM image: an output stream needs one that is written");
    return rmig_out_attach_hooks(out, &image_hooks, image, err);
}

int rmig_in_attach_image(struct rmig_in *in, struct rmig_image *image, struct rmig_err *err)
{
    if (image->writing)
        return rmig_err_set(err, -EINVAL, "RAM image: an input stream needs one that is read");
    return rmig_hook_in_attach(in, &image_hooks, image, true, err);
}
