/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image.h -- guest RAM in a file, each page at a place of its own: written in any order and any
 * number of times, by several threads, and read likewise. What is zero is a hole. A snapshot that is
 * taken while the guest runs is no larger than its RAM, however often pages change meanwhile.
 *
 *   write: create, put (any number), finish, free
 *   read:  open, layout, use, get (any number), free
 *
 * Or with the drivers of rmig/save_load.h: rmig_out_attach_image() and rmig_in_attach_image().
 * The stream, in another file or behind the image by a channel of its own, then has everything but the
 * pages. Keep the two together: nothing in them tells which belongs to which.
 *
 * The layout is that of rmig-format(7). A program may also map a block out of the file.
 *
 * Where a comment below does not say otherwise
 *   Ownership: the channel and the blocks stay the caller's and must outlive the image. The channel is the
 *              image's alone meanwhile: its position moves.
 *   Blocks:    for the file; the cancel of the options ends that within 100 ms, where the file does.
 *   Threads:   one at a time, and no other one inside the channel.
 */
#ifndef RMIG_IMAGE_H
#define RMIG_IMAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <rmig/cancel.h>
#include <rmig/channel.h>
#include <rmig/error.h>
#include <rmig/ram.h>
#include <rmig/save_load.h>
#include <rmig/stream.h>

#ifdef __cplusplus
extern "C" {
#endif

struct rmig_image;

/** Of an image; zeroed memory is the default. */
struct rmig_image_opts {
    struct rmig_cancel *cancel; /**< ends any call within 100 ms; may be NULL */
    /**
     * Writing: have on disk first that an old image at this place is none any more, later the pages, and
     * then that they are complete: after a crash of the host the image is complete or none. Only where
     * the channel has a descriptor.
     */
    bool sync;
    uint64_t max_ram_bytes; /**< reading: bound on all blocks together; 0 = 64 GiB */
    /** Reading: the memory that rmig_image_use() gets reads zero, so that holes are passed over. */
    bool ram_is_zero;
};

/**
 * rmig_image_create - begin an image
 * @image_p: receives the image
 * @ch:      a file that can be written and has positions; the image begins at its position 0, and
 *           what is there is overwritten
 * @blocks:  1..RMIG_BLOCKS_MAX blocks, whose memory is what rmig_image_put() writes
 * @opts:    NULL is the default
 *
 * Puts the block table, and takes the length that the file will have.
 *
 * Returns: 0; -EINVAL a block, named; -E2BIG too many blocks; -EFBIG no file is that large; -ENOTSUP
 * the channel has no positions or cannot be written; -ENOMEM; -ECANCELED; the channel's error
 * (-ENOSPC, -EIO and others).
 */
RMIG_MUST_CHECK int rmig_image_create(struct rmig_image **image_p, struct rmig_channel *ch,
                                      const struct rmig_block *blocks, uint32_t nblocks,
                                      const struct rmig_image_opts *opts, struct rmig_err *err);

/**
 * rmig_image_put - write a run of pages to its place
 * @run: block_index is the one of the table given to create; with RMIG_RUN_ZERO the pages are not
 *       read
 *
 * Pages that are zero are not written; where they were before, they become a hole again, or zeros
 * where the file system has no holes.
 *
 * Threads: any number, but no two with the same page at once.
 * Returns: bytes written, 0 or more; -EINVAL no whole pages of a block, or an image that is read or
 * finished; -ENOSPC, -EIO and what else the channel says, with the block, the offset and both
 * figures; -ECANCELED. After any failure but -EINVAL the image cannot be finished.
 */
RMIG_MUST_CHECK ssize_t rmig_image_put(struct rmig_image *image, const struct rmig_run *run,
                                       struct rmig_err *err);

/**
 * rmig_image_finish - say in the file that it is complete
 *
 * Returns: 0; -EINVAL an image that is read, or finished, or one that a save was attached to which has
 * not come to the end of its RAM; the errno of a put that failed; -ECANCELED; the channel's or fsync's
 * error.
 */
RMIG_MUST_CHECK int rmig_image_finish(struct rmig_image *image, struct rmig_err *err);

/**
 * rmig_image_open - read an image's header and block table
 * @image_p: receives the image
 * @ch:      a file that can be read and has positions; the image begins at its position 0
 * @opts:    may be NULL
 *
 * Every figure is checked before it is used; a refusal names the field, its value and the limit.
 *
 * Returns: 0; -EPROTO it is no image, damaged, cut off, or was never finished; -ENOTSUP another
 * version or page size, or the channel cannot be read or has no positions; -E2BIG more RAM than allowed; -ENOMEM;
 * -ECANCELED; the channel's error.
 */
RMIG_MUST_CHECK int rmig_image_open(struct rmig_image **image_p, struct rmig_channel *ch,
                                    const struct rmig_image_opts *opts, struct rmig_err *err);

/**
 * rmig_image_layout - the blocks of an image that is read
 *
 * In the image's order, with name, len_bytes and page_bytes; fd_offset_bytes is where the block
 * begins in the channel. host is NULL and fd -1; the machine's name is "".
 *
 * Ownership: stays the image's, until free.
 * Blocks:    never.
 * Returns:   the layout; NULL for an image that is written.
 */
const struct rmig_layout *rmig_image_layout(const struct rmig_image *image);

/**
 * rmig_image_bytes - how long the image is in the file: what follows it begins there
 *
 * Blocks:  never.
 * Threads: any.
 * Returns: bytes, from its position 0.
 */
uint64_t rmig_image_bytes(const struct rmig_image *image);

/**
 * rmig_image_use - give the memory that rmig_image_get() reads into
 * @blocks: in any order; the image must have the same names and lengths
 *
 * Blocks:  never.
 * Returns: 0; -EINVAL a block, named, an image that is written, or a second call; -EPROTO the image
 * has other blocks; -ENOMEM.
 */
RMIG_MUST_CHECK int rmig_image_use(struct rmig_image *image, const struct rmig_block *blocks,
                                   uint32_t nblocks, struct rmig_err *err);

/**
 * rmig_image_get - read a run of pages from its place
 * @run: block_index is the one of the table given to use; flags are ignored
 *
 * What is a hole becomes zero in memory, where it is not.
 *
 * Threads: any number, but no two with the same page at once.
 * Returns: 0; -EINVAL no whole pages of a block, or no memory was given; -EIO the file ends too
 * early, with both figures; -ECANCELED; the channel's error.
 */
RMIG_MUST_CHECK int rmig_image_get(struct rmig_image *image, const struct rmig_run *run,
                                   struct rmig_err *err);

/**
 * rmig_out_attach_image / rmig_in_attach_image - have a driver's pages go to an image, or come from it
 *
 * As hooks, before the driver's set-up or run; rmig_out_detach_hooks() takes them off again. Output:
 * an image after create, of the driver's blocks; finish it after rmig_save_complete(). Input: an
 * image after open, without use; all of its pages are read when the load comes to the stream's
 * set-up.
 *
 * Ownership: the image is borrowed until detached, or the stream is closed.
 * Blocks:    never.
 * Threads:   the stream's.
 * Returns: 0; -EINVAL an image of the other direction; -EBUSY hooks are attached already; -ENOMEM.
 */
RMIG_MUST_CHECK int rmig_out_attach_image(struct rmig_out *out, struct rmig_image *image,
                                          struct rmig_err *err);
RMIG_MUST_CHECK int rmig_in_attach_image(struct rmig_in *in, struct rmig_image *image,
                                         struct rmig_err *err);

/** rmig_image_free - free the image, in any state; NULL is fine. The channel stays. Blocks: never. */
void rmig_image_free(struct rmig_image *image);

#ifdef __cplusplus
}
#endif
#endif
