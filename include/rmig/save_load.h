/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * save_load.h -- the save and load drivers: guest RAM and named device sections over a stream, in
 * QEMU's migration stream format, version 3. Works over any channel; with hooks attached to the
 * stream, pages go through them.
 *
 *   save: new, setup, round (any number), complete, section (any number), end, free
 *                                                   or tail instead of section and end
 *   load: new, run, free
 *
 * A device section is a FULL section whose body is a big-endian u32 length and that many bytes; the
 * description that ends the stream names these two fields, data_len and data.
 *
 * Another hypervisor's device sections, QEMU's say, have bodies that only it can take apart. They
 * move as one opaque tail: all that follows the ram section's end, description included. The load
 * side hands it over, and rmig_save_tail() puts it back.
 *
 * Where a comment below does not say otherwise
 *   Ownership: the stream, the blocks (with the memory, name and fd of each) and what the options
 *              point to stay the caller's and must outlive the driver; options are copied.
 *   Blocks:    inside the channel and the hooks, within their deadlines. Cancel ends a call within
 *              100 ms where the channel and the transport have the same cancel token.
 *   Threads:   one thread at a time per driver, the one that uses its stream.
 *   Errors:    the first error of the work sticks: it becomes the stream's, and later calls answer
 *              with it. A failed save has changed nothing in guest memory; after a failed load the
 *              memory holds no usable guest.
 *
 * A block with an fd is mapped shared from it, so that a hole of the file is memory that reads
 * zero. Asking for holes moves the file position of the fd.
 */
#ifndef RMIG_SAVE_LOAD_H
#define RMIG_SAVE_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <rmig/cancel.h>
#include <rmig/error.h>
#include <rmig/ram.h>
#include <rmig/stream.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Figures of a driver, readable between calls and in the progress callback. Each page that a pass
 * comes to counts in one of normal, hook and zero.
 */
struct rmig_ram_stats {
    uint64_t rounds;          /**< save: passes finished */
    uint64_t windows;         /**< sections (PART, END) written or read */
    uint64_t normal_pages;    /**< pages put in, or read from, the stream */
    uint64_t hook_pages;      /**< save: pages a hook took, zero ones left out */
    uint64_t zero_pages;      /**< pages that were all zero: announced, not sent */
    uint64_t hole_pages;      /**< of these, never read: holes of the backing file */
    uint64_t remaining_pages; /**< save: dirty pages not yet sent, as of the last section */
    uint64_t total_ram_bytes; /**< sum of the blocks */
    uint64_t unsaid_pages;    /**< save, of zero_pages: not even announced: rmig_save_ram_is_zero() */
};

/** What a stream's configuration may say besides the machine's name; zeroed memory says nothing. */
struct rmig_configuration {
    /** Target pages are RMIG_PAGE_BYTES: said where a machine's could be smaller, as on Arm. */
    bool says_page_bits;
    bool has_uuid;    /**< uuid counts */
    uint8_t uuid[16]; /**< of the VM; QEMU compares it with capability validate-uuid */
};

/* --- save ------------------------------------------------------------------------------------- */

struct rmig_save;

/** Options of a save; zeroed memory is the default. */
struct rmig_save_opts {
    const char *machine;                /**< configuration name, 1..255 bytes; NULL = "rmig" */
    struct rmig_configuration configuration; /**< what else it says */
    /** Of the rounds, not of the last pass; 0 = no limit; less than 40960 counts as that. */
    uint64_t max_bandwidth_bytes_per_s;
    uint32_t window_ms;                 /**< longest section of a round, or pass of the hooks; 0 = 1000 */
    /**
     * Have the destination say, over a channel that leads both ways (tcp, unix), that it has loaded
     * everything: the end of the move waits for it. Channels that lead one way go without.
     */
    bool acknowledge;
    struct rmig_cancel *cancel; /**< may be NULL */
    /** Called at the end of each section, on the driver's thread; may mark pages dirty. */
    void (*progress)(void *opaque, const struct rmig_ram_stats *stats);
    void *progress_opaque; /**< handed to progress */
};

/**
 * rmig_save_new - make a save driver; all pages start dirty
 * @save_p:  receives the driver
 * @out:     stream, nothing put in it yet
 * @blocks:  1..RMIG_BLOCKS_MAX blocks; their order is the one of the block list
 * @opts:    NULL is the default
 *
 * Blocks:  never.
 * Returns: 0; -EINVAL a block or an option, named; -E2BIG too many blocks; -ENOMEM.
 */
RMIG_MUST_CHECK int rmig_save_new(struct rmig_save **save_p, struct rmig_out *out,
                                  const struct rmig_block *blocks, uint32_t nblocks,
                                  const struct rmig_save_opts *opts, struct rmig_err *err);

/**
 * rmig_save_setup - put header, configuration and START of the ram section; call the set-up hooks
 *
 * Hooks that are to be used must be attached before.
 *
 * Returns: 0; -EINVAL out of order; -ECANCELED; the stream's or the hooks' error.
 * Source:  the migration stream format, version 3.
 */
RMIG_MUST_CHECK int rmig_save_setup(struct rmig_save *save, struct rmig_err *err);

/**
 * rmig_save_ram_is_zero - leave zero pages out, as the destination's RAM reads zero
 *
 * For a destination that has said so. The first pass leaves zero pages out, in the stream and of the
 * hooks alike. Later ones announce them as ever: a page that has become zero since it was sent is
 * always said. Between rmig_save_setup() and the first pass.
 *
 * Blocks:  never.
 * Returns: 0; -EINVAL out of order.
 */
RMIG_MUST_CHECK int rmig_save_ram_is_zero(struct rmig_save *save, struct rmig_err *err);

/**
 * rmig_save_mark_dirty - mark pages that have changed, so that they are sent again
 * @offset_bytes, @len_bytes: multiples of RMIG_PAGE_BYTES, inside the block; len_bytes > 0
 *
 * A page that a pass has still to come to is sent by it, any other by the next one. Mark after the
 * write; a mark before it can be lost.
 *
 * Blocks:  never.
 * Threads: any, also while another one is inside a round.
 * Returns: 0; -EINVAL not whole pages; -ERANGE outside.
 */
RMIG_MUST_CHECK int rmig_save_mark_dirty(struct rmig_save *save, uint32_t block_index,
                                         uint64_t offset_bytes, uint64_t len_bytes);

/**
 * rmig_save_round - one pass over the dirty pages while the guest runs; one or more PART sections
 *
 * Pages become clean before they are read. A section ends after window_ms, or when so much was
 * declined by a hook that it has to be put in the stream.
 *
 * Blocks:  also to hold max_bandwidth_bytes_per_s, within 3 %, or a page, over any 200 ms;
 *          cancel ends that.
 * Returns: 0; -EINVAL out of order; -ECANCELED; the stream's or the hooks' error.
 */
RMIG_MUST_CHECK int rmig_save_round(struct rmig_save *save, struct rmig_err *err);

/**
 * rmig_save_complete - the last pass, guest stopped: one END section, no rate limit
 *
 * With hooks, window_ms cuts it into several passes of theirs: keep it well below the time that the
 * transport's destination waits for the source (idle_timeout_ms in rmig/transport.h).
 *
 * Returns: as rmig_save_round.
 */
RMIG_MUST_CHECK int rmig_save_complete(struct rmig_save *save, struct rmig_err *err);

/**
 * rmig_save_section - put one device section (FULL)
 * @name:                  1..255 printable bytes
 * @instance_id, @version: the hypervisor's; handed to the load side as they are
 * @data:                  copied; may be NULL where @len_bytes is 0
 * @len_bytes:             0..UINT32_MAX; the load side has a bound of its own
 *
 * Returns: 0; -EINVAL out of order, or @name; -E2BIG @len_bytes, or so many sections that their
 *          description passes 16 MiB; -ENOMEM; -ECANCELED; the stream's error.
 */
RMIG_MUST_CHECK int rmig_save_section(struct rmig_save *save, const char *name,
                                      uint32_t instance_id, uint32_t version, const void *data,
                                      size_t len_bytes, struct rmig_err *err);

/**
 * rmig_save_end - end a save: put the end of sections and their description, flush
 *
 * The end of sections is flushed first. Over RDMA its acknowledgement says that the other side
 * accepted every section; from then on the move cannot be undone.
 *
 * Returns: 0; -EINVAL out of order; -ENOMEM; -ECANCELED; the stream's error. With acknowledge also
 *          -EREMOTEIO the destination says that it failed; -EPROTO it says what makes no sense.
 */
RMIG_MUST_CHECK int rmig_save_end(struct rmig_save *save, struct rmig_err *err);

/**
 * rmig_save_tail - put a tail that a load handed over, instead of sections and end; flush
 * @data, @len_bytes: the whole tail, from the first section to the last byte of the description
 *
 * The end of sections is flushed apart, as rmig_save_end() does it.
 *
 * Returns: 0; -EINVAL also for what is no whole tail; else as rmig_save_end.
 */
RMIG_MUST_CHECK int rmig_save_tail(struct rmig_save *save, const void *data, size_t len_bytes,
                                   struct rmig_err *err);

/**
 * rmig_save_handed_over - may the other side have taken the guest?
 *
 * Whatever fails once rmig_save_end() or rmig_save_tail() has sent the end of sections, a timeout say, the
 * other side may have all that it needs, unless it says that it failed.
 *
 * Returns: true from then on.
 */
bool rmig_save_handed_over(const struct rmig_save *save);

/**
 * rmig_save_stats - the figures of a save
 *
 * Ownership: they stay the driver's.
 * Blocks:    never.
 * Returns:   the figures, never NULL.
 */
const struct rmig_ram_stats *rmig_save_stats(const struct rmig_save *save);

/**
 * rmig_save_free - free a save driver, in any state; NULL is fine
 *
 * Ownership: the driver is gone, the stream stays.
 * Blocks:    never.
 */
void rmig_save_free(struct rmig_save *save);

/* --- load ------------------------------------------------------------------------------------- */

struct rmig_load;

/** The RAM of a guest as its source lists it. */
struct rmig_layout {
    const char *machine; /**< configuration name; "" where the stream has none */
    struct rmig_configuration configuration; /**< what else it says */
    uint32_t nblocks;    /**< 1..RMIG_BLOCKS_MAX */
    /** In the source's order: name and len_bytes are set, page_bytes is RMIG_PAGE_BYTES (of a RAM
     * image: what it was saved from), fd -1. */
    const struct rmig_block *blocks;
};

/** What a load expects; zeroed memory is the default. */
struct rmig_load_opts {
    uint64_t max_section_bytes; /**< bound on one device section; 0 = 64 MiB */
    struct rmig_cancel *cancel; /**< may be NULL */
    /** Called at the end of each ram section, on the driver's thread. */
    void (*progress)(void *opaque, const struct rmig_ram_stats *stats);
    void *progress_opaque; /**< handed to progress */
    /**
     * A device section has arrived (name and bytes valid during the call, data never NULL); a
     * negative errno refuses it and ends the load. NULL: sections are read and dropped.
     */
    int (*section)(void *opaque, const char *name, uint32_t instance_id, uint32_t version,
                   const void *data, size_t len_bytes, struct rmig_err *err);
    void *section_opaque; /**< handed to section */
    /**
     * Set where the source's device sections are not ours: the whole tail, once, unparsed; section
     * is not called then. The bytes are valid during the call; a negative errno refuses them.
     */
    int (*tail)(void *opaque, const void *data, size_t len_bytes, struct rmig_err *err);
    void *tail_opaque;       /**< handed to tail */
    uint64_t max_tail_bytes; /**< bound on the tail; 0 = 256 MiB, max_ram_bytes if that is less */
    /**
     * For a load without blocks of its own: the source's list was read, with sum and names checked
     * and at most max_ram_bytes in all. Answers with a table of the same blocks in the same order,
     * each with memory that reads zero; a negative errno refuses them.
     * Ownership: the layout is valid during the call; the table, with what it points to, is the
     * caller's and must outlive the driver and the stream.
     */
    int (*layout)(void *opaque, const struct rmig_layout *layout,
                  const struct rmig_block **blocks_p, struct rmig_err *err);
    void *layout_opaque; /**< handed to layout */
    uint64_t max_ram_bytes; /**< for layout: bound on all blocks together; 0 = 64 GiB */
    /**
     * Page content was read from the stream, or zeroed where it was not zero: this range of a block
     * is written. What a transport writes by itself is not told.
     */
    void (*wrote)(void *opaque, uint32_t block_index, uint64_t offset_bytes, uint64_t len_bytes);
    void *wrote_opaque; /**< handed to wrote */
    /**
     * The guest is stopped and all of its RAM is in place; what comes next is device state. Nothing
     * more has been asked of the source: over RDMA it waits. A negative errno ends the load.
     */
    int (*ram_placed)(void *opaque, struct rmig_err *err);
    void *ram_placed_opaque; /**< handed to ram_placed */
};

/**
 * rmig_load_new - make a load driver
 * @load_p: receives the driver
 * @in:     stream, nothing read from it yet
 * @blocks: 1..RMIG_BLOCKS_MAX blocks, in any order; the peer's list must have the same names and
 *          lengths. Memory that reads zero is best: a zero page is then neither written nor read.
 *          NULL with @nblocks 0 where opts->layout makes them as the source lists them
 * @opts:   NULL is the default
 *
 * Blocks:  never.
 * Returns: 0; -EINVAL a block, named; -E2BIG too many blocks; -ENOMEM.
 */
RMIG_MUST_CHECK int rmig_load_new(struct rmig_load **load_p, struct rmig_in *in,
                                  const struct rmig_block *blocks, uint32_t nblocks,
                                  const struct rmig_load_opts *opts, struct rmig_err *err);

/**
 * rmig_load_run - read a whole stream into guest RAM, once
 *
 * Every field is checked before it is used; a refusal names the field, its value and the limit.
 * A source that asks for it is told when everything has been loaded, the callbacks included.
 *
 * Returns: 0 only if the stream was complete: the ram section's END and the end of sections were
 *          read (of a tail: the description too). -EPROTO the stream breaks the format or does not
 *          fit the blocks; -ENOTSUP it needs a capability that we have not; -EINVAL a hook mark
 *          without hooks, or called twice; -ENOMEM; -ECANCELED; the stream's error (-EIO: it ends too
 *          early); what a hook or a callback said.
 * Source:  the migration stream format, version 3.
 */
RMIG_MUST_CHECK int rmig_load_run(struct rmig_load *load, struct rmig_err *err);

/**
 * rmig_load_stats - the figures of a load
 *
 * Ownership: they stay the driver's.
 * Blocks:    never.
 * Returns:   the figures, never NULL.
 */
const struct rmig_ram_stats *rmig_load_stats(const struct rmig_load *load);

/**
 * rmig_load_free - free a load driver, in any state; NULL is fine
 *
 * Ownership: the driver is gone, the stream stays.
 */
void rmig_load_free(struct rmig_load *load);

#ifdef __cplusplus
}
#endif
#endif
