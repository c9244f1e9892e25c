/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * migrate.h -- what a hypervisor takes up to move a running guest: fill struct rmig_vm_ops, make a
 * source or a destination, run it.
 *
 *   source:       rmig_source_new -> run -> free
 *   destination:  rmig_dest_new (listens) -> run -> free
 *
 * The move
 *   1. The source connects, the block lists are compared.
 *   2. Rounds: all RAM, then what the guest has dirtied meanwhile, until the expected downtime is
 *      within the limit. The guest runs.
 *   3. Switchover: the guest is paused, what is left of RAM and its device state are sent.
 *   4. The destination says that it holds everything. Until then any failure or cancel ends the
 *      move with the guest running on at the source, nothing lost.
 *   5. The source gives up its right to run and says so: the go-ahead. The destination resumes the
 *      guest, and says that it has.
 * At no time may both sides run the guest. If no answer to the go-ahead comes, nobody can tell
 * whether the guest runs there: the source keeps it paused, in state RMIG_MOVE_IN_DOUBT, until
 * somebody who knows that the destination is dead calls rmig_source_reclaim().
 *
 * Blocking or poll-driven
 *   run() does it all on the caller's thread, and calls the ops there. Who has a main loop polls
 *   fd() for reading instead and calls step() when it is: then the work is done by a thread of the
 *   library's, but every op and the progress callback is called inside step(), on the caller's.
 *
 * Where a comment below does not say otherwise
 *   Ownership: the ops table and the options are copied; what they point to stays the caller's and
 *              must outlive the object.
 *   Blocks:    never.
 *   Threads:   one at a time per object; cancel and status are for any thread.
 */
#ifndef RMIG_MIGRATE_H
#define RMIG_MIGRATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <rmig/dirty.h>
#include <rmig/error.h>
#include <rmig/ram.h>
#include <rmig/save_load.h>

#ifdef __cplusplus
extern "C" {
#endif

/* --- what the hypervisor gives ---------------------------------------------------------------- */

/**
 * A guest, as the library asks for it. Each op answers 0 or more, or a negative errno with its
 * reason in err, which ends the move. (S) is needed by a source, (D) by a destination.
 */
struct rmig_vm_ops {
    uint32_t struct_size; /**< sizeof(struct rmig_vm_ops) of the caller */

    /**
     * (S, D) The RAM blocks: called once, by rmig_source_new() or rmig_dest_new(). Both sides must list
     * the same names and lengths. The array and the memory must outlive the source or destination.
     */
    int (*list_blocks)(void *vm, const struct rmig_block **blocks_p, uint32_t *nblocks_p,
                       struct rmig_err *err);

    /** (S) From here on writes to RAM are noted: the guest's, and those of devices. */
    int (*dirty_start)(void *vm, struct rmig_err *err);
    /**
     * (S) Report what was written since the last call, or the start, by calling fn for each run.
     * The rule of rmig_dirty_sync(): a write after the report must be in the next one.
     */
    int (*dirty_sync)(void *vm, rmig_dirty_fn fn, void *opaque, struct rmig_err *err);
    /** (S) Note no more. Called once for each start. */
    void (*dirty_stop)(void *vm);

    /**
     * (S) Stop all vCPUs and devices: no write to RAM after it returns. A guest that its user has
     * paused before stays so on either side: that is the hypervisor's to remember and to send.
     */
    int (*pause)(void *vm, struct rmig_err *err);
    /** (S, D) Let it run, if it ran: at a source after a failure, at a destination after the go-ahead. */
    int (*resume)(void *vm, struct rmig_err *err);

    /**
     * (S) Put the state of vCPUs and devices, paused, with rmig_save_section() for each. Names that
     * begin with "rmig." are the library's.
     */
    int (*save_devices)(void *vm, struct rmig_save *save, struct rmig_err *err);
    /** (D) Take one section. Bytes of a peer: trust nothing of them. */
    int (*load_device)(void *vm, const char *name, uint32_t instance_id, uint32_t version,
                       const void *data, size_t len_bytes, struct rmig_err *err);

    /** (S) Optional, for auto_converge: keep vCPUs from running percent of the time; 0 = not. */
    int (*throttle)(void *vm, uint32_t percent, struct rmig_err *err);
};

/* --- what the library tells ------------------------------------------------------------------- */

/** How far a move is. */
enum rmig_move_state {
    RMIG_MOVE_NEW = 0,        /**< nothing has happened */
    RMIG_MOVE_CONNECTING = 1, /**< source: until the block lists agree; destination: until a source came */
    RMIG_MOVE_ROUNDS = 2,     /**< RAM moves, the guest runs at the source */
    RMIG_MOVE_SWITCHOVER = 3, /**< the guest is paused; it can still go back */
    RMIG_MOVE_COMMITTED = 4,  /**< the go-ahead is given: cancel comes too late */
    RMIG_MOVE_DONE = 5,       /**< the guest runs at the destination, or lies whole in a file */
    RMIG_MOVE_FAILED = 6,     /**< ended; the source's guest runs on, the destination's never did */
    RMIG_MOVE_IN_DOUBT = 7    /**< source: no answer to the go-ahead; the guest stays paused */
};

/** Figures of a move. */
struct rmig_move_status {
    enum rmig_move_state state;         /**< how far it is */
    const char *transport;              /**< "rdma", "tcp", ...; NULL before; static storage */
    uint32_t round;                     /**< the one that is going on, from 1 */
    uint32_t throttle_percent;          /**< of the vCPUs' time that is taken away now */
    uint64_t total_ram_bytes;           /**< all blocks together */
    uint64_t remaining_bytes;           /**< RAM that is not yet sent, as of the last look */
    uint64_t sent_bytes;                /**< RAM sent, pages that were sent again included */
    uint64_t zero_bytes;                /**< RAM that was all zero, and announced only */
    uint64_t device_state_bytes;        /**< of the device sections */
    uint64_t dirty_rate_bytes_per_s;    /**< of the last round */
    uint64_t throughput_bytes_per_s;    /**< of RAM while it moved, last measured */
    uint64_t setup_ns;                  /**< until the first page could go */
    uint64_t elapsed_ns;                /**< since run or the first step, until it ended */
    uint64_t expected_downtime_ns;      /**< if the guest were paused now; then: as it was paused */
    uint64_t downtime_ns;               /**< source: from the pause to the destination's answer */
    uint64_t peak_pinned_bytes;         /**< RDMA: most memory registered on this side */
    char fallback_reason[256];          /**< why it goes by TCP instead of RDMA; "" */
    uint64_t fallback_ns;               /**< source: what the attempt at RDMA took; 0 = it did not fail */
    uint64_t transport_bytes;           /**< of sent_bytes: what a transport moved, not the stream */
    uint64_t hole_bytes;                /**< of zero_bytes: holes of the backing file, never read */
    uint64_t wire_bytes;                /**< source: all that went out, control messages included */
    uint64_t unsaid_bytes;              /**< source, of zero_bytes: unsaid (RMIG_DEST_RAM_IS_ZERO) */
};

/**
 * Called as the move goes on, on the thread that runs or steps it. It may ask for the status and
 * cancel, nothing else of the source or destination. The figures are valid during the call.
 */
typedef void (*rmig_progress_fn)(void *opaque, const struct rmig_move_status *status);

/* --- source ----------------------------------------------------------------------------------- */

struct rmig_source;

/** Options of a source; zeroed memory, with struct_size set, is the default. */
struct rmig_source_opts {
    uint32_t struct_size;               /**< sizeof(struct rmig_source_opts) of the caller */
    uint32_t downtime_limit_ms;         /**< longest downtime that may be expected; 0 = 300 */
    uint32_t deadline_ms;               /**< longest time until the switchover; 0 = no limit */
    bool auto_converge;                 /**< throttle vCPUs where the rounds do not get ahead */
    bool tcp_fallback;                  /**< rdma: where it cannot be had go on by tcp, same address */
    bool pin_all;                       /**< rdma: register all RAM at set-up, not as it is sent */
    uint32_t nqueue_pairs;              /**< rdma: 0 = 1; 8 at most */
    uint64_t pin_budget_bytes;          /**< rdma: most RAM registered at once; 0 = no limit */
    uint64_t max_bandwidth_bytes_per_s; /**< of the rounds; 0 = no limit; less than 40960 counts as that */
    uint32_t connect_timeout_ms;        /**< 0 = 3000 */
    uint32_t idle_timeout_ms;           /**< longest wait for the peer; 0 = 30000 */
    const char *machine;                /**< configuration name, 1..255 bytes; NULL = "rmig" */
    const char *device;                 /**< RDMA device; NULL = the one the address chooses */
    rmig_progress_fn progress;          /**< about ten times a second, and at each new state */
    void *progress_opaque;              /**< handed to progress */
    uint32_t device_port;               /**< rdma: physical port of device; 0 = 1 */
    bool use_gid_index;                 /**< rdma: gid_index counts; else one is chosen */
    int32_t gid_index;                  /**< rdma: GID to use with device */
    uint32_t dead_peer_ms;              /**< rdma, tcp: a peer that died is noticed; 0 = 2000 */
    bool on_demand;                     /**< rdma: do not pin RAM where the device can fault it in */
};

/**
 * rmig_source_new - make the source of a move of a guest
 * @source_p: receives it
 * @uri:      rdma:HOST:PORT, tcp:HOST:PORT, unix:PATH, fd:N: a destination. file:PATH, exec:COMMAND
 *            and one-way fds: the guest is paused and stored; it stays paused when that is done
 * @ops, @vm: the guest; @vm is handed to every op
 * @opts:     NULL is the default
 *
 * Nothing is opened yet; list_blocks is called.
 *
 * Blocks:  for the time that list_blocks takes.
 * Returns: 0; -EINVAL the URI, an option, a missing op or a block, named; -ENAMETOOLONG the URI;
 *          -E2BIG too many blocks; -ENOMEM; -EMFILE; what list_blocks said.
 */
RMIG_MUST_CHECK int rmig_source_new(struct rmig_source **source_p, const char *uri,
                                    const struct rmig_vm_ops *ops, void *vm,
                                    const struct rmig_source_opts *opts, struct rmig_err *err);

/**
 * rmig_source_run - do the move of a source, once, on this thread
 *
 * Blocks:  until it has ended: within the deadlines of its options, and until cancel.
 * Returns: 0 the guest runs at the destination and must never run here again (stored: it lies whole
 *          in the file). On failure it runs here again (if it ran), unless the state is
 *          RMIG_MOVE_IN_DOUBT: -EINVAL called twice; -ECANCELED; -ETIME not converged within
 *          deadline_ms; -EREMOTEIO the destination refused, with its reason; -ECONNREFUSED,
 *          -EHOSTUNREACH, -ETIMEDOUT, -ECONNRESET, -EPIPE, -ENODEV, -ENOMEM or another errno, of the
 *          connection; what an op said.
 */
RMIG_MUST_CHECK int rmig_source_run(struct rmig_source *source, struct rmig_err *err);

/**
 * rmig_source_fd - the descriptor to poll for reading before each rmig_source_step() but the first
 *
 * Ownership: stays the source's.
 * Threads:   any.
 * Returns:   the descriptor.
 */
int rmig_source_fd(const struct rmig_source *source);

/**
 * rmig_source_step - go on with a poll-driven move; the first call begins it
 *
 * Blocks:  for the time that the ops take.
 * Returns: 1 call again when rmig_source_fd() polls readable; 0 done; -EAGAIN no thread for it; else
 *          as rmig_source_run.
 */
RMIG_MUST_CHECK int rmig_source_step(struct rmig_source *source, struct rmig_err *err);

/**
 * rmig_source_cancel - end the move; the guest runs on here
 *
 * Blocks:  never; run and step end within 100 ms and the time that an op takes.
 * Threads: any.
 * Returns: 0 it ends, with -ECANCELED, unless it had ended by itself; -EALREADY the go-ahead was
 *          given.
 */
int rmig_source_cancel(struct rmig_source *source);

/**
 * rmig_source_status - the state and the figures of a source's move
 * @status_p: receives them
 *
 * Threads: any.
 */
void rmig_source_status(const struct rmig_source *source, struct rmig_move_status *status_p);

/**
 * rmig_source_reclaim - resume a guest in doubt, whose destination is dead
 *
 * For state RMIG_MOVE_IN_DOUBT only, on the word of somebody who has made sure: fenced the host,
 * killed the process. If the guest runs there after all, it runs twice.
 *
 * Blocks:  for the time that resume takes.
 * Returns: 0; -EINVAL the move is in another state; what resume said.
 */
RMIG_MUST_CHECK int rmig_source_reclaim(struct rmig_source *source, struct rmig_err *err);

/**
 * rmig_source_free - cancel the move of a source if need be, and free; NULL is fine
 *
 * A poll-driven move that goes on is stepped to its end, so that ops may be called. After the
 * go-ahead the destination's answer is waited for.
 *
 * Ownership: the source is gone; what was given to it is the caller's alone again.
 * Blocks:    until the move has ended.
 * Threads:   no other thread may be inside the source.
 */
void rmig_source_free(struct rmig_source *source);

/* --- destination ------------------------------------------------------------------------------ */

struct rmig_dest;

/**
 * All RAM reads zero and nobody has written to it, as new memory: a source of this library leaves the zero
 * pages of its first round out. Never for memory that a destination has used before, whatever came of it.
 */
#define RMIG_DEST_RAM_IS_ZERO 1u
/** rdma: do not pin RAM where the device can fault it in. */
#define RMIG_DEST_ON_DEMAND 2u

/** Options of a destination; zeroed memory, with struct_size set, is the default. */
struct rmig_dest_opts {
    uint32_t struct_size;       /**< sizeof(struct rmig_dest_opts) of the caller */
    uint32_t accept_timeout_ms; /**< longest wait for a source; 0 = no limit */
    bool tcp_fallback;          /**< rdma: listen by tcp too, at the same address */
    uint64_t pin_budget_bytes;  /**< rdma: most RAM registered at once; 0 = no limit */
    uint64_t max_section_bytes; /**< bound on one device section; 0 = 64 MiB */
    uint32_t idle_timeout_ms;   /**< longest wait for the peer; 0 = 30000 */
    const char *device;         /**< RDMA device; NULL = the one the address chooses */
    rmig_progress_fn progress;  /**< about ten times a second, and at each new state */
    void *progress_opaque;      /**< handed to progress */
    uint32_t device_port;       /**< rdma: physical port of device; 0 = 1 */
    bool use_gid_index;         /**< rdma: gid_index counts; else one is chosen */
    int32_t gid_index;          /**< rdma: GID to use with device */
    uint64_t flags;             /**< RMIG_DEST_* */
    uint32_t dead_peer_ms;      /**< rdma, tcp: a peer that died is noticed; 0 = 2000 */
};

/**
 * rmig_dest_new - make the destination of a move, which listens when this returns
 * @dest_p:   receives it
 * @uri:      as a source's; HOST may be empty, PORT 0; file:, exec: and one-way fds load a stored guest
 * @ops, @vm: list_blocks, load_device and resume are needed; @vm is handed to every op
 * @opts:     NULL is the default
 *
 * The RAM need not read zero. Where it does, RMIG_DEST_RAM_IS_ZERO spares the source to say what is zero.
 *
 * Blocks:  on the look-up of a name, at most 3 s.
 * Returns: 0; -EADDRINUSE; -EADDRNOTAVAIL; -ENODEV no RDMA device; -ENOENT no plugin; -ENOMEM also
 *          RLIMIT_MEMLOCK; else as rmig_source_new. With tcp_fallback what RDMA lacks is no error,
 *          but the fallback_reason of the status.
 */
RMIG_MUST_CHECK int rmig_dest_new(struct rmig_dest **dest_p, const char *uri,
                                  const struct rmig_vm_ops *ops, void *vm,
                                  const struct rmig_dest_opts *opts, struct rmig_err *err);

/**
 * rmig_dest_port - the port at which a destination listens
 *
 * Threads: any.
 * Returns: the port; 0 where there is none.
 */
uint16_t rmig_dest_port(const struct rmig_dest *dest);

/**
 * rmig_dest_run - wait for a source and take its guest in, once, on this thread
 *
 * A connection that fails before it has listed the RAM blocks is dropped, and the wait goes on.
 *
 * Blocks:  until it has ended: within the deadlines of its options, and until cancel.
 * Returns: 0 the guest has been resumed here. Else it was not, and its memory is of no use: -EINVAL
 *          called twice; -ECANCELED; -ETIMEDOUT nobody came, or the source fell silent; -EPROTO what
 *          came is no such guest; -ECONNRESET, -EIO or another errno, of the connection; what an op
 *          said.
 */
RMIG_MUST_CHECK int rmig_dest_run(struct rmig_dest *dest, struct rmig_err *err);

/**
 * rmig_dest_fd - the descriptor to poll for reading before each rmig_dest_step() but the first
 *
 * Ownership: stays the destination's.
 * Threads:   any.
 * Returns:   the descriptor.
 */
int rmig_dest_fd(const struct rmig_dest *dest);

/**
 * rmig_dest_step - go on with a poll-driven move into this host; the first call begins it
 *
 * Blocks:  for the time that the ops take.
 * Returns: 1 call again when rmig_dest_fd() polls readable; 0 done; -EAGAIN no thread for it; else as
 *          rmig_dest_run.
 */
RMIG_MUST_CHECK int rmig_dest_step(struct rmig_dest *dest, struct rmig_err *err);

/**
 * rmig_dest_cancel - give up waiting for a guest, or taking it in
 *
 * Blocks:  never; run and step end within 100 ms and the time that an op takes.
 * Threads: any.
 * Returns: 0; -EALREADY the go-ahead was taken.
 */
int rmig_dest_cancel(struct rmig_dest *dest);

/**
 * rmig_dest_status - the state and the figures that a destination has of its move
 * @status_p: receives them; what only a source knows is 0
 *
 * Threads: any.
 */
void rmig_dest_status(const struct rmig_dest *dest, struct rmig_move_status *status_p);

/**
 * rmig_dest_free - cancel the move of a destination if need be, and free; NULL is fine
 *
 * A poll-driven move that goes on is stepped to its end, so that ops may be called.
 *
 * Ownership: the destination is gone; what was given to it is the caller's alone again.
 * Blocks:    until the move has ended.
 * Threads:   no other thread may be inside the destination.
 */
void rmig_dest_free(struct rmig_dest *dest);

#ifdef __cplusplus
}
#endif
#endif
