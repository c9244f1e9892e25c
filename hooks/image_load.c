/* SPDX-License-Identifier: BSD-3-Clause */
/* image_load.c -- reads a RAM image: header and table, every figure checked; then pages in any order. */
#include "hooks/image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/overflow.h"
#include "hooks/holes.h"

#define MAX_RAM_BYTES_DEFAULT (64ull << 30)

/* --- header and table ------------------------------------------------------------------------- */

/* Behind what came before it, inside the image, in whole pages. */
static int check_block(const struct rmig_image *image, const struct rmig_block *block,
                       uint64_t *end_p, struct rmig_err *err)
{
    const uint64_t at = block->fd_offset_bytes, room = image->header.image_bytes;

    if (block->page_bytes != RMIG_PAGE_BYTES && block->page_bytes != 2u << 20 &&
        block->page_bytes != 1u << 30)
        return rmig_err_set(err, -EPROTO,
                            "RAM image: block %.64s: pages of %llu bytes; 4 KiB, 2 MiB and 1 GiB are "
                            "allowed",
                            block->name, (unsigned long long)block->page_bytes);
    if (block->len_bytes == 0 || block->len_bytes % block->page_bytes)
        return rmig_err_set(err, -EPROTO,
                            "RAM image: block %.64s: length %llu is not a positive multiple of %llu",
                            block->name, (unsigned long long)block->len_bytes,
                            (unsigned long long)block->page_bytes);
    if (at % RMIG_PAGE_BYTES || at < *end_p || !rmig_range_within(at, block->len_bytes, room))
        return rmig_err_set(err, -EPROTO,
                            "RAM image: block %.64s of %llu bytes at %llu: its place is a multiple of "
                            "%u between %llu and %llu",
                            block->name, (unsigned long long)block->len_bytes,
                            (unsigned long long)at, RMIG_PAGE_BYTES, (unsigned long long)*end_p,
                            (unsigned long long)room);
    *end_p = at + block->len_bytes;
    return 0;
}

static int decode_table(struct rmig_image *image, struct rmig_err *err)
{
    const struct rmig_image_header *h = &image->header;
    const uint8_t *src = image->table, *src_end = src + h->table_bytes;
    uint64_t end = RMIG_IMAGE_HEADER_BYTES + (uint64_t)h->table_bytes, total = 0;
    char *names = image->names;

    for (uint32_t i = 0; i < h->nblocks; i++) {
        struct rmig_block *block = &image->listed[i];
        int rc = rmig_image_row_decode(&src, src_end, &names, block, err);

        if (rc == 0)
            rc = check_block(image, block, &end, err);
        if (rc < 0)
            return rc;
        image->data_at[i] = block->fd_offset_bytes;
        total += block->len_bytes; /* each is inside the image: no overflow */
    }
    if (src != src_end)
        return rmig_err_set(err, -EPROTO, "RAM image: %td bytes follow the last row of the table",
                            src_end - src);
    if (total != h->ram_bytes || end + RMIG_IMAGE_END_BYTES != h->image_bytes)
        return rmig_err_set(err, -EPROTO,
                            "RAM image: %llu bytes of RAM up to byte %llu, the header has %llu, and its "
                            "end at %llu",
                            (unsigned long long)total, (unsigned long long)end,
                            (unsigned long long)h->ram_bytes, (unsigned long long)h->image_bytes);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A block that is there twice has two memories. */
static int check_names(const struct rmig_image *image, struct rmig_err *err)
{
    const uint32_t n = image->header.nblocks;
    const char **names = malloc(n * sizeof(*names));
    int rc = 0;

    if (!names)
        return rmig_err_set(err, -ENOMEM, "RAM image: out of memory for %u names", n);
    for (uint32_t i = 0; i < n; i++)
        names[i] = image->listed[i].name;
    qsort(names, n, sizeof(*names), by_name);
    for (uint32_t i = 1; rc == 0 && i < n; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            rc = rmig_err_set(err, -EPROTO, "RAM image: block %.64s is there twice", names[i]);
    free(names);
    return rc;
}

static int read_table(struct rmig_image *image, const uint8_t header[RMIG_IMAGE_HEADER_BYTES],
                      struct rmig_err *err)
{
    const struct rmig_image_header *h = &image->header;
    int rc;

    image->table = malloc(h->table_bytes + 1u);
    image->data_at = calloc(h->nblocks, sizeof(*image->data_at));
    image->listed = calloc(h->nblocks, sizeof(*image->listed));
    image->names = malloc(h->table_bytes + 1u); /* a name takes a byte more in its row */
    if (!image->table || !image->data_at || !image->listed || !image->names)
        return rmig_err_set(err, -ENOMEM, "RAM image: out of memory for a table of %u blocks",
                            h->nblocks);
    rc = rmig_image_pread(image, image->table, h->table_bytes, RMIG_IMAGE_HEADER_BYTES,
                          -EPROTO, err);
    if (rc == 0)
        rc = rmig_image_check_crc(header, h, image->table, err);
    if (rc == 0)
        rc = decode_table(image, err);
    return rc == 0 ? check_names(image, err) : rc;
}

/* Whole? A copy that was cut off has no end; one that was not finished does not say so. */
static int check_whole(const struct rmig_image *image, struct rmig_err *err)
{
    const struct rmig_image_header *h = &image->header;
    uint8_t end[RMIG_IMAGE_END_BYTES];
    struct rmig_err e = RMIG_ERR_INIT;
    int rc;

    if (!h->complete)
        return rmig_err_set(err, -EPROTO,
                            "RAM image: it was never finished, pages may be missing: save it again");
    rc = rmig_image_pread(image, end, sizeof(end), h->image_bytes - sizeof(end), -EPROTO, &e);
    if (rc == -EPROTO)
        return rmig_err_set(err, -EPROTO, "RAM image: cut off before byte %llu, where its end is",
                            (unsigned long long)h->image_bytes);
    if (rc < 0)
        return rmig_err_set(err, rc, "%s", e.msg);
    return rmig_image_end_decode(end, h->image_bytes, err);
}

static int read_frame(struct rmig_image *image, struct rmig_err *err)
{
    const uint64_t max = image->opts.max_ram_bytes ? image->opts.max_ram_bytes
                                                   : MAX_RAM_BYTES_DEFAULT;
    uint8_t header[RMIG_IMAGE_HEADER_BYTES];
    int rc = rmig_image_pread(image, header, sizeof(header), 0, -EPROTO, err);

    if (rc == 0)
        rc = rmig_image_header_decode(header, &image->header, err);
    if (rc == 0)
        rc = read_table(image, header, err);
    if (rc == 0 && image->header.ram_bytes > max)
        rc = rmig_err_set(err, -E2BIG, "RAM image: %llu bytes of RAM, at most %llu are allowed",
                          (unsigned long long)image->header.ram_bytes, (unsigned long long)max);
    return rc == 0 ? check_whole(image, err) : rc;
}

int rmig_image_open(struct rmig_image **image_p, struct rmig_channel *ch,
                    const struct rmig_image_opts *opts, struct rmig_err *err)
{
    struct rmig_image *image;
    int rc;

    if (!ch->ops->pread || !ch->ops->seek || !(ch->flags & RMIG_CHANNEL_READABLE) ||
        !(ch->flags & RMIG_CHANNEL_SEEKABLE))
        return rmig_err_set(err, -ENOTSUP,
                            "RAM image: a file that can be read at any position is needed; %s is "
                            "none%s",
                            ch->ops->name,
                            ch->flags & RMIG_CHANNEL_SEEKABLE ? " that was opened for it" : "");
    image = calloc(1, sizeof(*image));
    if (!image)
        return rmig_err_set(err, -ENOMEM, "RAM image: out of memory");
    image->ch = ch;
    if (opts)
        image->opts = *opts;
    rc = read_frame(image, err);
    if (rc < 0) {
        rmig_image_free(image);
        return rc;
    }
    image->layout = (struct rmig_layout){
        .machine = "", .nblocks = image->header.nblocks, .blocks = image->listed};
    *image_p = image;
    return 0;
}

const struct rmig_layout *rmig_image_layout(const struct rmig_image *image)
{
    return image->writing ? NULL : &image->layout;
}

/* --- memory ----------------------------------------------------------------------------------- */

/* Each block of the image has one here, of its length, and the other way round. */
static int match(struct rmig_image *image, struct rmig_err *err)
{
    if (image->blocks.count != image->header.nblocks)
        return rmig_err_set(err, -EPROTO, "RAM image: it has %u blocks, %u are here",
                            image->header.nblocks, image->blocks.count);
    for (uint32_t i = 0; i < image->header.nblocks; i++) {
        const struct rmig_block *listed = &image->listed[i];
        int64_t here = rmig_blocks_find(&image->blocks, listed->name);

        if (here < 0)
            return rmig_err_set(err, -EPROTO, "RAM image: block %.64s does not exist here",
                                listed->name);
        if (listed->len_bytes != image->blocks.items[here].len_bytes)
            return rmig_err_set(err, -EPROTO, "RAM image: block %.64s has %llu bytes, %llu here",
                                listed->name, (unsigned long long)listed->len_bytes,
                                (unsigned long long)image->blocks.items[here].len_bytes);
        image->index[here] = i;
    }
    return 0;
}

int rmig_image_use(struct rmig_image *image, const struct rmig_block *blocks, uint32_t nblocks,
                   struct rmig_err *err)
{
    int rc;

    if (image->writing || image->index)
        return rmig_err_set(err, -EINVAL, "RAM image: given memory, but it %s",
                            image->writing ? "is one that is written" : "has got some before");
    rc = rmig_blocks_init(&image->blocks, blocks, nblocks, err);
    if (rc < 0)
        return rc;
    image->index = malloc(nblocks * sizeof(*image->index));
    if (image->index) {
        rc = match(image, err);
    } else {
        rc = rmig_err_set(err, -ENOMEM, "RAM image: out of memory for %u blocks", nblocks);
    }
    if (rc < 0) {
        free(image->index);
        image->index = NULL;
        rmig_blocks_release(&image->blocks);
    }
    return rc;
}

/* --- pages ------------------------------------------------------------------------------------ */

/* Where data, or the next hole, begins at or behind a position, at most end; a file system that cannot
 * tell, or answers what cannot be, is not believed: 0. */
static uint64_t seek_next(const struct rmig_image *image, uint64_t at, uint64_t end, int whence)
{
    int64_t next = image->ch->ops->seek(image->ch, (int64_t)at, whence, NULL);

    if (next < 0 || (uint64_t)next < at || (uint64_t)next > image->header.image_bytes)
        return 0;
    return rmig_min_u64(end, (uint64_t)next);
}

/*
 * Is there a hole of a whole page? And up to where is it that, or what may be data? That no data follows
 * at all cannot be: the image's end does.
 */
static bool is_hole(const struct rmig_image *image, uint64_t at, uint64_t end, uint64_t *up_to_p)
{
    uint64_t next = seek_next(image, at, end, SEEK_DATA);

    next -= next % RMIG_PAGE_BYTES;
    if (next > at) {
        *up_to_p = next;
        return true;
    }
    next = seek_next(image, at, end, SEEK_HOLE);
    next = rmig_div_round_up_u64(next, RMIG_PAGE_BYTES) * RMIG_PAGE_BYTES;
    *up_to_p = next > at ? rmig_min_u64(next, end) : end;
    return false;
}

/* In steps, as memory that is not zero takes its time. */
static int make_zero(const struct rmig_image *image, const struct rmig_block *block,
                     uint64_t offset_bytes, uint64_t len_bytes, struct rmig_err *err)
{
    int rc = 0;

    while (rc == 0 && len_bytes > 0) {
        uint64_t n = rmig_min_u64(len_bytes, RMIG_IMAGE_STEP_BYTES);

        rc = rmig_image_check_cancel(image, err);
        if (rc == 0)
            rc = rmig_zero_range(block, offset_bytes, n);
        offset_bytes += n;
        len_bytes -= n;
    }
    return rc;
}

int rmig_image_get(struct rmig_image *image, const struct rmig_run *run, struct rmig_err *err)
{
    uint64_t begin, at, up_to;
    uint8_t *ptr;
    int rc;

    if (!image->index)
        return rmig_err_set(err, -EINVAL, "RAM image: a page is got, but no memory was given");
    rc = rmig_image_place(image, run, &ptr, &begin, err);
    for (at = begin; rc == 0 && at < begin + run->len_bytes; at = up_to) {
        const uint64_t done = at - begin;

        if (!is_hole(image, at, begin + run->len_bytes, &up_to))
            rc = rmig_image_pread(image, ptr + done, up_to - at, at, -EIO, err);
        else if (image->opts.ram_is_zero)
            rc = rmig_image_check_cancel(image, err);
        else
            rc = make_zero(image, &image->blocks.items[run->block_index], run->offset_bytes + done,
                           up_to - at, err);
    }
    return rc;
}

int rmig_image_get_all(struct rmig_image *image, struct rmig_err *err)
{
    int rc = 0;

    for (uint32_t i = 0; rc == 0 && !image->loaded && i < image->blocks.count; i++) {
        const struct rmig_run run = {i, 0, 0, image->blocks.items[i].len_bytes};

        rc = rmig_image_get(image, &run, err);
    }
    image->loaded = rc == 0;
    return rc;
}
