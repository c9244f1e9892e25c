/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transport.h -- the plugin ABI: what a transport (rmig-transport-NAME.so) gives and gets, and the
 * host's side of it: load a plugin, connect, listen, attach.
 *
 * ABI rules. Each struct that crosses the boundary begins with `abi` and `struct_size` or with
 * `struct_size`; members are only appended. The host copies min(size), zero-fills the rest, refuses
 * an unknown abi or a missing mandatory op, and fills the optional ones with defaults. A plugin
 * exports one symbol, rmig_transport_init, and has no undefined rmig_* symbol: what it needs of the
 * host comes in as struct rmig_host.
 *
 * Life cycle of a connection
 *
 *   source:       connect -> [channel: stream] -> hooks (set_blocks, passes) -> finish -> close
 *   destination:  listen -> accept -> [channel: stream] -> hooks (set_blocks, load) -> finish -> close
 *
 * Where a comment below does not say otherwise
 *   Ownership: nothing is kept of an argument after the call returns.
 *   Blocks:    never.
 *   Threads:   any.
 */
#ifndef RMIG_TRANSPORT_H
#define RMIG_TRANSPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <rmig/cancel.h>
#include <rmig/channel.h>
#include <rmig/error.h>
#include <rmig/hooks.h>
#include <rmig/log.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Version of this ABI. */
#define RMIG_TRANSPORT_ABI 1u

/**
 * Make [offset_bytes, offset_bytes + len_bytes) of a block read as zero without allocating what was
 * never touched. The range is page-aligned and inside the block. Returns 0 or -errno.
 */
typedef int (*rmig_zero_range_fn)(const struct rmig_block *block, uint64_t offset_bytes,
                                  uint64_t len_bytes);

/** What the host offers a plugin. */
struct rmig_host {
    uint32_t abi;                      /**< RMIG_TRANSPORT_ABI of the host */
    uint32_t struct_size;              /**< sizeof(struct rmig_host) of the host */
    rmig_log_fn log;                   /**< never NULL */
    void *log_opaque;                  /**< for log */
    enum rmig_log_level log_threshold; /**< lines above this level are not wanted */
    rmig_zero_range_fn zero_range;     /**< never NULL */
};

/** Destination: all RAM reads zero and nobody has written to it; a source may be told. */
#define RMIG_TRANSPORT_RAM_IS_ZERO 1u
/** Do not pin guest RAM where the device can fault it in: slower per page, and no limit counts. */
#define RMIG_TRANSPORT_ON_DEMAND 2u

/** Options of a connection; zeroed memory (with struct_size set) is the default. */
struct rmig_transport_params {
    uint32_t struct_size;        /**< sizeof(struct rmig_transport_params) of the caller */
    bool pin_all;                /**< source: register all RAM at set-up instead of on demand */
    const char *host;            /**< name or address; NULL or "" for listen = any */
    const char *port;            /**< decimal */
    const char *device;          /**< RDMA device, NULL = the one the address chooses */
    uint32_t device_port;        /**< physical port, 0 = 1 */
    int32_t gid_index;           /**< GID to use with device, -1 = choose */
    uint32_t nqueue_pairs;       /**< source: queue pairs to spread writes over, 0 = 1; 8 at most */
    uint32_t connect_timeout_ms; /**< 0 = 3000 */
    uint32_t idle_timeout_ms;    /**< longest wait for the peer; 0 = 30000 */
    uint32_t dead_peer_ms;       /**< a peer that stopped answering is noticed; 0 = 2000 */
    uint64_t pin_budget_bytes;   /**< most bytes to have registered at once; 0 = no limit */
    struct rmig_cancel *cancel;  /**< may be NULL; borrowed until close */
    int cancel_fd;               /**< filled by the host from cancel; plugins use this one */
    uint64_t flags;              /**< RMIG_TRANSPORT_* */
};

/** Figures of a connection. */
struct rmig_transport_stats {
    uint32_t struct_size;       /**< sizeof(struct rmig_transport_stats) of the caller */
    uint64_t wire_bytes;        /**< payload bytes posted: writes and control messages */
    uint64_t write_wrs;         /**< RDMA writes posted */
    uint64_t write_bytes;       /**< bytes of these */
    uint64_t doorbells;         /**< post calls */
    uint64_t completions;       /**< work completions polled */
    uint64_t control_messages;  /**< sent */
    uint64_t registrations;     /**< memory regions registered by this side */
    uint64_t pinned_bytes;      /**< registered now, control buffers included */
    uint64_t peak_pinned_bytes; /**< most at any time */
    uint64_t zero_bytes;        /**< announced as zero instead of sent */
};

struct rmig_transport_conn;     /**< a plugin's connection */
struct rmig_transport_listener; /**< a plugin's listener */

/** Transport operations. (M) mandatory. */
struct rmig_transport_ops {
    uint32_t abi;         /**< (M) RMIG_TRANSPORT_ABI */
    uint32_t struct_size; /**< (M) sizeof(struct rmig_transport_ops) of the plugin */
    const char *name;     /**< (M) "rdma" */

    /**
     * Can this host use the transport for total_ram_bytes of guest RAM? 0, or -ENODEV (no device),
     * -ENOMEM (RLIMIT_MEMLOCK) ... with the reason and the cure. Quick, never blocks on a peer.
     */
    int (*probe)(const struct rmig_transport_params *params, uint64_t total_ram_bytes,
                 struct rmig_err *err);
    /** (M) Connect as source. Blocks at most connect_timeout_ms. */
    int (*connect)(const struct rmig_transport_params *params, struct rmig_transport_conn **conn_p,
                   struct rmig_err *err);
    /** (M) Listen; port "0" picks one; *port_p receives the bound port. */
    int (*listen)(const struct rmig_transport_params *params,
                  struct rmig_transport_listener **listener_p, uint16_t *port_p,
                  struct rmig_err *err);
    /** (M) Wait for one source; timeout_ms -1 = no deadline (cancel still ends it). */
    int (*accept)(struct rmig_transport_listener *listener, int timeout_ms,
                  const struct rmig_transport_params *params, struct rmig_transport_conn **conn_p,
                  struct rmig_err *err);
    /** (M) Close a listener; connections that it accepted stay. */
    void (*listener_close)(struct rmig_transport_listener *listener);
    /**
     * (M) The byte channel; owned by the connection, its close op does nothing. Its wait op, at a
     * source and for WRITE, returns once the destination asks for bytes: all that was written before
     * has been taken in there.
     */
    struct rmig_channel *(*channel)(struct rmig_transport_conn *conn);
    /** (M) The hooks; opaque is the connection. */
    const struct rmig_hooks *(*hooks)(struct rmig_transport_conn *conn);
    /**
     * End in order. Source: wait until the destination has read everything and hung up; a stock
     * QEMU, which has asked for the last message before it came, is hung up on after 3 s.
     * Destination: hang up, then give up every memory region: no peer can write to guest RAM after
     * it returns. The connection can only be asked for stats and closed afterwards.
     */
    int (*finish)(struct rmig_transport_conn *conn, struct rmig_err *err);
    /** Fill in what stats has room for by its struct_size. Returns 0 or -errno. */
    int (*stats)(struct rmig_transport_conn *conn, struct rmig_transport_stats *stats);
    /** (M) Release everything at once, in any state; NULL is fine. */
    void (*close)(struct rmig_transport_conn *conn);
    /** A descriptor that polls readable once accept has something to do; -1 = there is none. */
    int (*listener_fd)(struct rmig_transport_listener *listener);
    /**
     * Destination, when everything is loaded: give up every region of guest RAM. No peer can write
     * to it after 0 is returned; the channel goes on. Left out: -ENOTSUP.
     */
    int (*revoke)(struct rmig_transport_conn *conn, struct rmig_err *err);
    /** Source: did the destination say that all of its RAM reads zero? Left out: it did not. */
    bool (*peer_ram_is_zero)(const struct rmig_transport_conn *conn);
};

/**
 * rmig_transport_init - the one symbol that a plugin exports, called when it is loaded
 * @host: what the host offers
 *
 * Not a function of the library: each plugin has its own.
 *
 * Ownership: @host stays the host's, and may be used until the plugin is unloaded; the table is the
 *            plugin's, for as long.
 * Threads:   one at a time.
 * Returns:   the plugin's table; NULL where it cannot work with the abi of @host.
 */
const struct rmig_transport_ops *rmig_transport_init(const struct rmig_host *host);
/** Name of that symbol, for dlsym. */
#define RMIG_TRANSPORT_INIT_SYMBOL "rmig_transport_init"

/* --- the host's side (librmig) ---------------------------------------------------------------- */

struct rmig_transport; /**< a loaded plugin */

/**
 * rmig_transport_load - load a transport plugin by name
 * @name: 1 to 32 of a-z 0-9 - _, beginning with a letter or digit. "rdma" is rmig-transport-rdma.so
 *        in the directory $RMIG_TRANSPORT_DIR, else in the one of the installation
 * @t_p:  receives the transport
 *
 * A plugin gets the log threshold that is set when it is loaded: call rmig_log_set() before.
 *
 * Ownership: the caller unloads it.
 * Blocks:    on the file system.
 * Threads:   one at a time.
 * Returns:   0; -EINVAL bad name; -ENOENT the plugin, or a library that it needs, is missing;
 *            -ENOEXEC not a shared object, not a plugin, an abi that is not ours, a mandatory member
 *            missing, or another name; -ENOMEM; a system errno.
 */
RMIG_MUST_CHECK int rmig_transport_load(const char *name, struct rmig_transport **t_p,
                                        struct rmig_err *err);

/**
 * rmig_transport_unload - let go of a transport plugin; NULL is fine
 *
 * Its connections and listeners must be closed. The code stays mapped under valgrind and in builds
 * with sanitizers, so that their reports keep symbols.
 *
 * Ownership: the transport is gone, and the table of its ops with it.
 * Blocks:    never.
 * Threads:   one at a time.
 */
void rmig_transport_unload(struct rmig_transport *t);

/**
 * rmig_transport_ops - the ops of a transport, complete: optional ones have defaults
 *
 * probe answers 0 where it was left out, finish does nothing, stats are all 0, there is no
 * listener_fd, revoke answers -ENOTSUP and peer_ram_is_zero false. For connections and listeners
 * that exist; they are made by rmig_transport_connect(), rmig_transport_listen() and
 * rmig_transport_accept(), which complete the parameters.
 *
 * Ownership: stays the plugin's; valid until unload.
 * Blocks:    never.
 * Threads:   any.
 * Returns:   the table, never NULL.
 */
const struct rmig_transport_ops *rmig_transport_ops(const struct rmig_transport *t);

/**
 * rmig_transport_probe - can this host use a transport?
 * @params:          struct_size must be set; other members as the plugin's connect takes them
 * @total_ram_bytes: what would have to be registered
 *
 * Blocks:  never on a peer.
 * Threads: any.
 * Returns: 0; -EINVAL struct_size; -ENODEV no device; -ENOMEM the limit on locked memory; else what
 *          the plugin found.
 */
RMIG_MUST_CHECK int rmig_transport_probe(const struct rmig_transport *t,
                                         const struct rmig_transport_params *params,
                                         uint64_t total_ram_bytes, struct rmig_err *err);

/**
 * rmig_transport_connect - connect as source, by a transport
 * @params: struct_size must be set; cancel_fd is filled here from cancel, whatever it holds
 * @conn_p: receives the connection
 *
 * Ownership: the caller closes it with the close op. @params is not kept, its cancel is until then.
 * Blocks:    at most connect_timeout_ms; cancel ends it.
 * Threads:   any.
 * Returns:   0; -EINVAL struct_size; else the plugin's error.
 */
RMIG_MUST_CHECK int rmig_transport_connect(const struct rmig_transport *t,
                                           const struct rmig_transport_params *params,
                                           struct rmig_transport_conn **conn_p,
                                           struct rmig_err *err);

/**
 * rmig_transport_listen - listen as destination, by a transport
 * @params:     struct_size must be set; cancel_fd is filled here from cancel, whatever it holds
 * @listener_p: receives the listener
 * @port_p:     receives the port it is bound to
 *
 * Ownership: the caller closes it with the listener_close op.
 * Blocks:    on name resolution; cancel ends it.
 * Threads:   any.
 * Returns:   0; -EINVAL struct_size; else the plugin's error.
 */
RMIG_MUST_CHECK int rmig_transport_listen(const struct rmig_transport *t,
                                          const struct rmig_transport_params *params,
                                          struct rmig_transport_listener **listener_p,
                                          uint16_t *port_p, struct rmig_err *err);

/**
 * rmig_transport_accept - wait for one source at a transport's listener
 * @timeout_ms: longest wait, -1 = no deadline
 * @params:     struct_size must be set; cancel_fd is filled here from cancel, whatever it holds
 * @conn_p:     receives the connection
 *
 * Ownership: the caller closes it with the close op. @params is not kept, its cancel is until then.
 * Blocks:    until a source has connected, @timeout_ms or cancel.
 * Threads:   one at a time per listener.
 * Returns:   0; -EINVAL struct_size; -ETIMEDOUT; -ECANCELED; else the plugin's error.
 */
RMIG_MUST_CHECK int rmig_transport_accept(const struct rmig_transport *t,
                                          struct rmig_transport_listener *listener, int timeout_ms,
                                          const struct rmig_transport_params *params,
                                          struct rmig_transport_conn **conn_p,
                                          struct rmig_err *err);

#ifdef __cplusplus
}
#endif
#endif
