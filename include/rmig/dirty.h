/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dirty.h -- which pages were written since the last look.
 *
 *   open, start, [sync, then read the pages]*, stop, free
 *
 * Which tracker, by who writes:
 *   rmig_dirty_kvm_ring_open()  vCPUs of a VM with dirty rings: a sync costs what was written
 *   rmig_dirty_kvm_log_open()   vCPUs of any VM of KVM: and a look at a bit for each page
 *   rmig_dirty_open()           threads of this process, vCPUs among them: the kernel protects the
 *                               blocks and notes each first write to a page
 *   rmig_dirty_map_open()       whoever says so: devices that the hypervisor emulates, DMA
 *
 * KVM logs what vCPUs write, and what it writes for them; not what a thread of the hypervisor, the
 * kernel (vhost) or a device writes. So a hypervisor that tracks by KVM has a map too, marks in it
 * what its devices write, and syncs both.
 *
 * sync() reports a page and protects it again before it returns, so that a page is read only after
 * the note of a later write to it is armed: mark what sync() reports, then send. The last sync of a
 * move is made with the writers stopped: vCPUs out of KVM_RUN, devices at rest. Before that a
 * processor may hold back writes that it has noted (page modification logging): they come with a
 * later sync.
 *
 * rmig_dirty_open() does not track writes through another mapping of the same memory, DMA, and
 * pages dropped by madvise(2). Give it the mapping that the guest writes through. A transport that
 * pins memory is better given a second mapping of the same memfd: kernels before 6.2 pin for
 * writing even what is only read, which fails on memory that userfaultfd protects.
 *
 * Where a comment below does not say otherwise
 *   Ownership: nothing is kept of an argument after the call returns.
 *   Blocks:    never.
 *   Threads:   one thread at a time per tracker; writers of the memory are free to run.
 */
#ifndef RMIG_DIRTY_H
#define RMIG_DIRTY_H

#include <stdint.h>
#include <rmig/error.h>
#include <rmig/ram.h>

#ifdef __cplusplus
extern "C" {
#endif

struct rmig_dirty;

/**
 * One run of pages that were written; no run crosses a block. It must neither write to the memory
 * nor call the tracker. Returns 0, or a negative errno, which ends the sync and is its result.
 */
typedef int (*rmig_dirty_fn)(void *opaque, const struct rmig_run *run);

/** What a tracker implements. All are mandatory. */
struct rmig_dirty_ops {
    const char *name; /**< "pagemap", "kvm-ring", ...: for messages and reports */
    /** What rmig_dirty_start() does. */
    int (*start)(struct rmig_dirty *dirty, struct rmig_err *err);
    /** What rmig_dirty_sync() does. */
    int (*sync)(struct rmig_dirty *dirty, rmig_dirty_fn fn, void *opaque, struct rmig_err *err);
    /** What rmig_dirty_stop() does; called once more before free. */
    void (*stop)(struct rmig_dirty *dirty);
    /** Free the tracker, which is stopped. */
    void (*free)(struct rmig_dirty *dirty);
};

/** Base of every tracker; embedded first. */
struct rmig_dirty {
    const struct rmig_dirty_ops *ops; /**< what the tracker does */
    const struct rmig_block *blocks;  /**< the caller's array */
    uint32_t nblocks;                 /**< its length */
};

/** How rmig_dirty_open() is to track. */
enum rmig_dirty_kind {
    RMIG_DIRTY_AUTO = 0,       /**< the first of the following that works here */
    RMIG_DIRTY_PAGEMAP = 1,    /**< PAGEMAP_SCAN, without a handler: Linux 6.7 */
    RMIG_DIRTY_USERFAULTFD = 2 /**< with a handler thread: Linux 5.7, shared memory 5.19 */
};

/**
 * rmig_dirty_open - make a tracker of writes to RAM blocks, by the kernel
 * @kind:    which, or RMIG_DIRTY_AUTO
 * @blocks:  the blocks; @nblocks of them, at least 1
 * @dirty_p: receives the tracker; rmig_dirty_name() says which it is
 *
 * Ownership: @blocks and their memory stay the caller's and must outlive the tracker. While it is
 *            open, the blocks must be neither unmapped nor given to another userfaultfd.
 * Blocks:    never.
 * Threads:   one at a time per tracker; writers of the memory are free to run at any time.
 * Returns:   0; -ENOTSUP the kernel or the memory's kind does not allow it; -EPERM no right to
 *            userfaultfd; -EINVAL no block, or the kind; -EBUSY a block has another userfaultfd;
 *            -EMFILE; -ENOMEM. For RMIG_DIRTY_AUTO the message has the reason of each.
 * Source:    ioctl_userfaultfd(2), Documentation/admin-guide/mm/pagemap.rst of Linux
 */
RMIG_MUST_CHECK int rmig_dirty_open(enum rmig_dirty_kind kind, const struct rmig_block *blocks,
                                    uint32_t nblocks, struct rmig_dirty **dirty_p,
                                    struct rmig_err *err);

/* --- a map that the hypervisor marks ---------------------------------------------------------- */

/**
 * rmig_dirty_map_open - make a tracker that reports what rmig_dirty_map_mark() was told
 * @blocks:  the blocks; @nblocks of them, at least 1; their memory is never touched
 * @dirty_p: receives the tracker; its name is "map"
 *
 * Ownership: @blocks stay the caller's and must outlive the tracker.
 * Blocks:    never; nor do its start and sync.
 * Threads:   one at a time per tracker, but for rmig_dirty_map_mark().
 * Returns:   0; -EINVAL no block; -ENOMEM.
 */
RMIG_MUST_CHECK int rmig_dirty_map_open(const struct rmig_block *blocks, uint32_t nblocks,
                                        struct rmig_dirty **dirty_p, struct rmig_err *err);

/**
 * rmig_dirty_map_mark - bytes of a block were written: the next sync reports their pages
 * @dirty:                    an open map; what is marked before its start is dropped by it
 * @offset_bytes, @len_bytes: any bytes inside the block; len_bytes > 0
 *
 * Mark after the write; a mark before it can be lost. A mark costs an atomic operation for 64
 * pages.
 *
 * Blocks:  never; takes no lock, and may be called from a signal handler.
 * Threads: any, also while another one is inside a sync.
 * Returns: 0; -EINVAL no map, or no bytes; -ERANGE outside.
 */
RMIG_MUST_CHECK int rmig_dirty_map_mark(struct rmig_dirty *dirty, uint32_t block_index,
                                        uint64_t offset_bytes, uint64_t len_bytes);

/* --- KVM -------------------------------------------------------------------------------------- */

/**
 * One memory slot of a VM, all of it as KVM_SET_USER_MEMORY_REGION was given it: a difference would
 * change the VM. A block may be several slots, with any gaps, and a slot may show again what
 * another one shows.
 */
struct rmig_dirty_kvm_slot {
    uint32_t slot;               /**< its number; the address space in bits 16 to 31 */
    uint32_t flags;              /**< 0 or KVM_MEM_READONLY */
    uint64_t guest_phys_bytes;   /**< guest_phys_addr */
    uint64_t len_bytes;          /**< memory_size */
    void *host;                  /**< userspace_addr; NULL = the block's, at block_offset_bytes */
    uint32_t block_index;        /**< the block that it shows */
    uint32_t reserved_0;         /**< 0 */
    uint64_t block_offset_bytes; /**< from the block's first byte to the slot's */
    uint64_t reserved[2];        /**< 0 */
};

/** A VM whose vCPUs are tracked; zero the rest. */
struct rmig_dirty_kvm_params {
    uint32_t struct_size;                    /**< sizeof(struct rmig_dirty_kvm_params) */
    int vm_fd;                               /**< what KVM_CREATE_VM gave */
    const struct rmig_dirty_kvm_slot *slots; /**< all that show one of the blocks */
    uint32_t nslots;                         /**< at least 1 */
    uint32_t nvcpus;                         /**< rings: how many vCPUs the VM has */
    const int *vcpu_fds;                     /**< rings: all of them, else writes are lost */
    uint64_t ring_bytes;                     /**< rings: of one, as KVM_ENABLE_CAP was told */
};

/**
 * rmig_dirty_kvm_log_open - make a tracker of KVM's dirty log, a bit for each page
 * @params:  the VM and its slots
 * @blocks:  the blocks; @nblocks of them, at least 1; what no slot shows is not tracked
 * @dirty_p: receives the tracker; its name is "kvm-log"
 *
 * Its start turns the log of the slots on, with KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 as it needs it,
 * which stays so in the VM; its stop turns it off. While it is started nobody else may change these
 * slots or clear their log. A sync clears only ranges that were written, so that vCPUs wait for it
 * no longer than for 64 MiB.
 *
 * Ownership: what @params points to is copied, and the host memory of the slots not touched.
 *            @blocks and the descriptors stay the caller's and must outlive the tracker.
 * Blocks:    never; its start and sync while KVM changes memory slots.
 * Threads:   one at a time per tracker; vCPUs may run at any time.
 * Returns:   0; -ENOTSUP not Linux 5.1, or no pages of 4 KiB; -EINVAL naming the slot; -ENOMEM.
 *            Its start: -ENXIO for a VM with dirty rings; -EINVAL or -EEXIST for a slot that the
 *            VM has otherwise, named.
 * Source:    Documentation/virt/kvm/api.rst of Linux
 */
RMIG_MUST_CHECK int rmig_dirty_kvm_log_open(const struct rmig_dirty_kvm_params *params,
                                            const struct rmig_block *blocks, uint32_t nblocks,
                                            struct rmig_dirty **dirty_p, struct rmig_err *err);

/**
 * rmig_dirty_kvm_ring_open - make a tracker of KVM's dirty rings, one for each vCPU
 * @params:  the VM, its slots and all its vCPUs
 * @blocks:  the blocks; @nblocks of them, at least 1; what no slot shows is not tracked
 * @dirty_p: receives the tracker; its name is "kvm-ring"
 *
 * The hypervisor has enabled KVM_CAP_DIRTY_LOG_RING_ACQ_REL (or KVM_CAP_DIRTY_LOG_RING) before it
 * made the first vCPU. From then on KVM_RUN can return KVM_EXIT_DIRTY_RING_FULL: the vCPU's thread
 * calls rmig_dirty_kvm_ring_reap() and goes on.
 *
 * Its start turns the log of the slots on and KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 off, its stop turns
 * the log off. While the tracker is open nobody else may read or reset the rings, and no vCPU may
 * be added; while it is started nobody else may change these slots, and no other slot may have its
 * log on: a sync that finds another slot's page fails with -EPROTO.
 *
 * Where KVM emulates what the guest runs it can write over entries before it stops the vCPU. A sync
 * that sees this protects all slots anew and reports all pages.
 *
 * Ownership: what @params points to is copied, and the host memory of the slots not touched.
 *            @blocks and the descriptors stay the caller's and must outlive the tracker.
 * Blocks:    never; its start, sync and stop while KVM changes memory slots, or while another
 *            thread reaps.
 * Threads:   one at a time per tracker, but for rmig_dirty_kvm_ring_reap(); vCPUs may run at any
 *            time.
 * Returns:   0; -ENOTSUP the kernel or this VM has no rings, or no pages of 4 KiB; -EINVAL naming
 *            the slot, the vCPU or the size that is not the rings'; -EMFILE; -ENOMEM. Its start:
 *            -ENOTSUP for a VM with a bitmap beside its rings; -EINVAL or -EEXIST for a slot that
 *            the VM has otherwise, named.
 * Source:    Documentation/virt/kvm/api.rst of Linux
 */
RMIG_MUST_CHECK int rmig_dirty_kvm_ring_open(const struct rmig_dirty_kvm_params *params,
                                             const struct rmig_block *blocks, uint32_t nblocks,
                                             struct rmig_dirty **dirty_p, struct rmig_err *err);

/**
 * rmig_dirty_kvm_ring_reap - empty the rings, so that a vCPU whose ring was full can run again
 * @dirty: an open tracker of dirty rings, started or not
 *
 * What was in the rings comes with the next sync, as does the report of an entry that is none of
 * the slots given.
 *
 * Blocks:  while another thread reaps or syncs: for a reset of the rings, not for the callback.
 * Threads: any, at any time from open to free; not from the callback of a sync.
 * Returns: 0; -EINVAL another kind of tracker; an errno of the kernel: the rings are as full as
 *          before, and nothing is lost.
 */
RMIG_MUST_CHECK int rmig_dirty_kvm_ring_reap(struct rmig_dirty *dirty, struct rmig_err *err);

/* --- every tracker ---------------------------------------------------------------------------- */

/**
 * rmig_dirty_start - from here on a tracker notes writes
 * @dirty: an open tracker that is not started
 *
 * Blocks:  for the time to walk the page tables.
 * Threads: the tracker's; writers may run: what they write while this call runs may or may not be
 *          noted, so start before the first pass reads its first page.
 * Returns: 0; -ENOMEM; -ENOTSUP; -EAGAIN no thread for the faults; another errno of the kernel; what
 *          the tracker's open says of its start.
 */
RMIG_MUST_CHECK int rmig_dirty_start(struct rmig_dirty *dirty, struct rmig_err *err);

/**
 * rmig_dirty_sync - report what was written since the start or the last sync, and protect it again
 * @fn, @opaque: called for each run; block_index is an index in the table given to open
 *
 * Each page written comes in this sync or, where the write races with it, in the next one: never
 * in none. A page that nobody wrote may be reported, and costs a needless send.
 *
 * Blocks:  for the time to walk the page tables.
 * Threads: the tracker's; writers may run.
 * Returns: 0; what @fn gave; an errno of the kernel, after which pages may have been lost: the
 *          caller must count everything as written.
 */
RMIG_MUST_CHECK int rmig_dirty_sync(struct rmig_dirty *dirty, rmig_dirty_fn fn, void *opaque,
                                    struct rmig_err *err);

/**
 * rmig_dirty_stop - note no more writes, lift the protection; the tracker may be started again
 * @dirty: not started is fine
 *
 * Blocks: for the time to walk the page tables.
 */
void rmig_dirty_stop(struct rmig_dirty *dirty);

/**
 * rmig_dirty_free - stop and free a tracker; NULL is fine
 *
 * Ownership: the tracker is gone; the blocks are the caller's alone again.
 * Blocks:    for the time to walk the page tables.
 * Threads:   no other thread may be inside the tracker.
 */
void rmig_dirty_free(struct rmig_dirty *dirty);

/**
 * rmig_dirty_name - which kind of tracker it is
 *
 * Ownership: static storage.
 * Returns:   its name: "pagemap", "userfaultfd", "map", "kvm-log", "kvm-ring" of ours.
 */
const char *rmig_dirty_name(const struct rmig_dirty *dirty);

#ifdef __cplusplus
}
#endif
#endif
