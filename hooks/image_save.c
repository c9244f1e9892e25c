/* SPDX-License-Identifier: BSD-3-Clause */
/* image_save.c -- writes a RAM image: the table first, pages in any order, that it is complete last. */
#include "hooks/image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/overflow.h"
#include "hooks/zero.h"

/* Written where a file system has no holes, this much at once. */
static const uint8_t zeros[64u << 10];

/* --- begin ------------------------------------------------------------------------------------ */

/* Where each block goes, and the table that says so. */
static int lay_out(struct rmig_image *image, struct rmig_err *err)
{
    struct rmig_image_header *h = &image->header;
    uint64_t end = RMIG_IMAGE_HEADER_BYTES;

    for (uint32_t i = 0; i < h->nblocks; i++)
        end += 1 + strlen(image->blocks.items[i].name) + 24;
    h->table_bytes = (uint32_t)(end - RMIG_IMAGE_HEADER_BYTES);
    image->table = malloc(h->table_bytes);
    image->data_at = calloc(h->nblocks, sizeof(*image->data_at));
    if (!image->table || !image->data_at)
        return rmig_err_set(err, -ENOMEM, "RAM image: out of memory for a table of %u blocks",
                            h->nblocks);
    h->table_bytes = 0;
    for (uint32_t i = 0; i < h->nblocks; i++) {
        const struct rmig_block *block = &image->blocks.items[i];
        int64_t at = rmig_image_align(end);

        if (at < 0 || block->len_bytes > (uint64_t)INT64_MAX - RMIG_IMAGE_END_BYTES - (uint64_t)at)
            return rmig_err_set(err, -EFBIG, "RAM image: with block %.64s no file is that large",
                                block->name);
        image->data_at[i] = (uint64_t)at;
        end = (uint64_t)at + block->len_bytes;
        h->table_bytes += rmig_image_row_encode(image->table + h->table_bytes, block, (uint64_t)at);
    }
    h->ram_bytes = image->blocks.total_bytes;
    h->image_bytes = end + RMIG_IMAGE_END_BYTES;
    return 0;
}

static int write_zeros(const struct rmig_image *image, uint64_t len_bytes, uint64_t at,
                       struct rmig_err *err)
{
    int rc = 0;

    while (rc == 0 && len_bytes > 0) {
        uint64_t n = rmig_min_u64(len_bytes, sizeof(zeros));

        rc = rmig_image_pwrite(image, zeros, n, at, err);
        len_bytes -= n;
        at += n;
    }
    return rc;
}

/* A hole, or zeros where there are none. */
static int put_zero(const struct rmig_image *image, uint64_t len_bytes, uint64_t at,
                    struct rmig_err *err)
{
    struct rmig_err e = RMIG_ERR_INIT;
    int rc = rmig_image_check_cancel(image, err);

    if (rc < 0)
        return rc;
    do
        rc = image->ch->ops->zero_range
                 ? image->ch->ops->zero_range(image->ch, len_bytes, at, &e)
                 : -EOPNOTSUPP;
    while (rc == -EINTR);
    if (rc == -EOPNOTSUPP)
        return write_zeros(image, len_bytes, at, err);
    if (rc < 0)
        return rmig_err_set(err, rc, "RAM image: %llu bytes of zero at %llu: %s",
                            (unsigned long long)len_bytes, (unsigned long long)at,
                            e.code ? e.msg : strerror(-rc));
    return 0;
}

static int put_header(const struct rmig_image *image, struct rmig_err *err)
{
    uint8_t header[RMIG_IMAGE_HEADER_BYTES];

    rmig_image_header_encode(header, &image->header, image->table);
    return rmig_image_pwrite(image, header, sizeof(header), 0, err);
}

/* Where it is asked for. */
static int sync_channel(const struct rmig_image *image, struct rmig_err *err)
{
    int fd = rmig_channel_fd(image->ch), rc = 0;

    if (image->opts.sync && fd >= 0)
        while ((rc = fsync(fd)) < 0 && errno == EINTR)
            ;
    return rc < 0 ? rmig_err_set(err, -errno, "RAM image: fsync: %s", strerror(errno)) : 0;
}

/* An old image there is none any more, then the file has its length, and all that is not put is zero. */
static int put_frame(const struct rmig_image *image, struct rmig_err *err)
{
    const struct rmig_image_header *h = &image->header;
    uint8_t end[RMIG_IMAGE_END_BYTES];
    int rc = rmig_image_pwrite(image, zeros, RMIG_IMAGE_HEADER_BYTES, 0, err);

    rmig_image_end_encode(end, h->image_bytes);
    if (rc == 0)
        rc = sync_channel(image, err);
    if (rc == 0)
        rc = rmig_image_pwrite(image, end, sizeof(end), h->image_bytes - sizeof(end), err);
    if (rc == 0)
        rc = put_zero(image, h->image_bytes - sizeof(end), 0, err);
    if (rc == 0)
        rc = rmig_image_pwrite(image, image->table, h->table_bytes, RMIG_IMAGE_HEADER_BYTES, err);
    return rc == 0 ? put_header(image, err) : rc;
}

int rmig_image_create(struct rmig_image **image_p, struct rmig_channel *ch,
                      const struct rmig_block *blocks, uint32_t nblocks,
                      const struct rmig_image_opts *opts, struct rmig_err *err)
{
    struct rmig_image *image;
    int rc;

    if (!ch->ops->pwrite || !(ch->flags & RMIG_CHANNEL_WRITABLE) ||
        !(ch->flags & RMIG_CHANNEL_SEEKABLE))
        return rmig_err_set(err, -ENOTSUP,
                            "RAM image: a file that can be written at any position is needed; %s is "
                            "none%s",
                            ch->ops->name,
                            ch->flags & RMIG_CHANNEL_SEEKABLE ? " that was opened for it" : "");
    image = calloc(1, sizeof(*image));
    if (!image)
        return rmig_err_set(err, -ENOMEM, "RAM image: out of memory");
    image->ch = ch;
    image->writing = true;
    if (opts)
        image->opts = *opts;
    image->header.nblocks = nblocks;
    rc = rmig_blocks_init(&image->blocks, blocks, nblocks, err);
    if (rc == 0)
        rc = lay_out(image, err);
    if (rc == 0)
        rc = rmig_pages_init(&image->written, &image->blocks, false, err);
    if (rc == 0)
        rc = put_frame(image, err);
    if (rc < 0) {
        rmig_image_free(image);
        return rc;
    }
    *image_p = image;
    return 0;
}

/* --- pages ------------------------------------------------------------------------------------ */

/* Pages that have become zero; those that never were anything else are holes already. */
static int put_zero_pages(struct rmig_image *image, const struct rmig_page_range *range,
                          uint64_t at, struct rmig_err *err)
{
    const uint64_t end = range->first + range->count;
    struct rmig_page_range was = {range->block_index, range->first, 0};
    int rc = 0;

    while (rc == 0) {
        was.first = rmig_pages_next_dirty(&image->written, was.block_index, was.first + was.count, end);
        if (was.first == end)
            break;
        was.count = rmig_pages_dirty_run(&image->written, was.block_index, was.first, end);
        rmig_pages_take(&image->written, &was);
        rc = put_zero(image, was.count << RMIG_PAGE_SHIFT,
                      at + ((was.first - range->first) << RMIG_PAGE_SHIFT), err);
    }
    return rc;
}

/* Pages of one kind. */
static int put_range(struct rmig_image *image, const struct rmig_page_range *range,
                     const uint8_t *ptr, uint64_t at, bool zero, struct rmig_err *err)
{
    if (zero)
        return put_zero_pages(image, range, at, err);
    rmig_pages_mark(&image->written, range);
    return rmig_image_pwrite(image, ptr, range->count << RMIG_PAGE_SHIFT, at, err);
}

/* What could not be put is missing: the image will not be said to be complete. */
static int fail(struct rmig_image *image, int rc, const struct rmig_run *run,
                const struct rmig_err *e, struct rmig_err *err)
{
    int none = 0;

    atomic_compare_exchange_strong(&image->failed, &none, rc);
    return rmig_err_set(err, rc, "block %.64s, offset 0x%llx: %s",
                        image->blocks.items[run->block_index].name,
                        (unsigned long long)run->offset_bytes, e->msg);
}

static int begin_put(struct rmig_image *image, const struct rmig_run *run, uint8_t **ptr_p,
                     uint64_t *at_p, struct rmig_err *err)
{
    if (!image->writing || image->finished)
        return rmig_err_set(err, -EINVAL, "RAM image: a page is put, but it is %s",
                            image->writing ? "finished" : "one that is read");
    return rmig_image_place(image, run, ptr_p, at_p, err);
}

static struct rmig_page_range pages_of(const struct rmig_run *run)
{
    return (struct rmig_page_range){run->block_index, run->offset_bytes >> RMIG_PAGE_SHIFT,
                                    run->len_bytes >> RMIG_PAGE_SHIFT};
}

int rmig_image_put_known(struct rmig_image *image, const struct rmig_run *run, struct rmig_err *err)
{
    const struct rmig_page_range range = pages_of(run);
    struct rmig_err e = RMIG_ERR_INIT;
    uint8_t *ptr;
    uint64_t at;
    int rc = begin_put(image, run, &ptr, &at, err);

    if (rc < 0)
        return rc;
    rc = put_range(image, &range, ptr, at, run->flags & RMIG_RUN_ZERO, &e);
    return rc < 0 ? fail(image, rc, run, &e, err) : 0;
}

ssize_t rmig_image_put(struct rmig_image *image, const struct rmig_run *run, struct rmig_err *err)
{
    const uint64_t count = run->len_bytes >> RMIG_PAGE_SHIFT;
    struct rmig_page_range range = pages_of(run);
    struct rmig_err e = RMIG_ERR_INIT;
    uint64_t at, written = 0;
    uint8_t *ptr;
    int rc = begin_put(image, run, &ptr, &at, err);

    if (rc == 0 && run->flags & RMIG_RUN_ZERO)
        return rmig_image_put_known(image, run, err);
    for (uint64_t done = 0; rc == 0 && done < count; done += range.count) {
        const uint64_t skip = done << RMIG_PAGE_SHIFT;
        bool zero;

        range.first = (run->offset_bytes >> RMIG_PAGE_SHIFT) + done;
        range.count = rmig_min_u64(count - done, RMIG_IMAGE_STEP_BYTES >> RMIG_PAGE_SHIFT);
        range.count = rmig_alike_pages(ptr + skip, range.count, range.count, &zero);
        rc = rmig_image_check_cancel(image, &e);
        if (rc == 0)
            rc = put_range(image, &range, ptr + skip, at + skip, zero, &e);
        written += zero ? 0 : range.count << RMIG_PAGE_SHIFT;
        if (rc < 0)
            fail(image, rc, run, &e, err);
    }
    return rc < 0 ? rc : (ssize_t)written;
}

/* --- the end ---------------------------------------------------------------------------------- */

int rmig_image_finish(struct rmig_image *image, struct rmig_err *err)
{
    int rc = atomic_load(&image->failed);

    if (!image->writing || image->finished)
        return rmig_err_set(err, -EINVAL, "RAM image: to be finished, but it is %s",
                            image->writing ? "that already" : "one that is read");
    if (rc < 0)
        return rmig_err_set(err, rc, "RAM image: cannot be finished, a page could not be put: %s",
                            strerror(-rc));
    if (image->attached && !image->pass_ended)
        return rmig_err_set(err, -EINVAL,
                            "RAM image: cannot be finished, the save has not put all of its pages");
    rc = sync_channel(image, err);
    if (rc < 0)
        return rc;
    image->header.complete = true;
    rc = put_header(image, err);
    if (rc == 0)
        rc = sync_channel(image, err);
    image->header.complete = image->finished = rc == 0;
    return rc;
}
