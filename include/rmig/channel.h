/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * channel.h -- byte channels: what a stream reads from or writes to.
 *
 * An endpoint embeds struct rmig_channel first and fills an ops table. Channels never take a short
 * transfer for an error, and every wait inside one ends: in data, in an error, at the idle deadline
 * (-ETIMEDOUT) or on cancel (-ECANCELED).
 *
 * Where a comment below does not say otherwise
 *   Ownership: nothing is kept of an argument after the call returns.
 *   Blocks:    never.
 *   Threads:   one reader and one writer at a time per channel, one thread per listener.
 */
#ifndef RMIG_CHANNEL_H
#define RMIG_CHANNEL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <rmig/cancel.h>
#include <rmig/error.h>

#ifdef __cplusplus
extern "C" {
#endif

struct rmig_channel;

/** Shut-down direction, as shutdown(2) has it. */
enum rmig_shut {
    RMIG_SHUT_READ = 1,  /**< nothing more is read */
    RMIG_SHUT_WRITE = 2, /**< nothing more is written; the peer sees the end of stream */
    RMIG_SHUT_BOTH = 3   /**< both */
};

/**
 * Endpoint operations. readv, writev and close are mandatory (a one-way channel's missing direction
 * answers -EBADF); the rest may be NULL, which means "cannot".
 */
struct rmig_channel_ops {
    const char *name; /**< "tcp", "file", ...: for messages */
    /** Read 1 byte or more; 0 = end of stream; -EAGAIN only if non-blocking; else -errno. */
    ssize_t (*readv)(struct rmig_channel *ch, const struct iovec *iov, int niov,
                     struct rmig_err *err);
    /** Write 1 byte or more; -EAGAIN only if non-blocking; else -errno. */
    ssize_t (*writev)(struct rmig_channel *ch, const struct iovec *iov, int niov,
                      struct rmig_err *err);
    /** Close and free. Returns 0 or more, or -errno (an exec child's bad exit: -ECHILD). */
    int (*close)(struct rmig_channel *ch, struct rmig_err *err);
    /** Thread-safe, does not block: pending and later I/O in that direction ends. */
    int (*shutdown)(struct rmig_channel *ch, enum rmig_shut how, struct rmig_err *err);
    /** Choose between waiting and -EAGAIN where a transfer would block. Returns 0 or -errno. */
    int (*set_blocking)(struct rmig_channel *ch, bool blocking, struct rmig_err *err);
    /** The descriptor, which stays the channel's; -1 where there is none. */
    int (*get_fd)(struct rmig_channel *ch);
    /** Absolute position; as lseek(2), SEEK_DATA and SEEK_HOLE (Linux) included where it has holes. */
    int64_t (*seek)(struct rmig_channel *ch, int64_t offset_bytes, int whence,
                    struct rmig_err *err);
    /** As pread(2), at a position from the beginning; that of readv and writev stays. */
    ssize_t (*pread)(struct rmig_channel *ch, void *buf, size_t len_bytes, uint64_t offset_bytes,
                     struct rmig_err *err);
    /** As pwrite(2), likewise. */
    ssize_t (*pwrite)(struct rmig_channel *ch, const void *buf, size_t len_bytes,
                      uint64_t offset_bytes, struct rmig_err *err);
    /**
     * Wait until a transfer in that direction (READ or WRITE) would move a byte, whatever the
     * blocking mode is: 0, or -ETIMEDOUT, -ECANCELED ... NULL where readv and writev never answer
     * -EAGAIN.
     */
    int (*wait)(struct rmig_channel *ch, enum rmig_shut direction, struct rmig_err *err);
    /**
     * Make a range read zero, as a hole, the channel's length left as it is. -EOPNOTSUPP where it
     * has no holes. Any thread.
     */
    int (*zero_range)(struct rmig_channel *ch, uint64_t len_bytes, uint64_t offset_bytes,
                      struct rmig_err *err);
};

/** The channel can be read. */
#define RMIG_CHANNEL_READABLE 1u
/** The channel can be written. */
#define RMIG_CHANNEL_WRITABLE 2u
/** The channel has positions. */
#define RMIG_CHANNEL_SEEKABLE 4u
/** Few large writes are far cheaper than many: a stream may put several full lists in one. */
#define RMIG_CHANNEL_BULK 8u

/** Base of every channel; embedded first. */
struct rmig_channel {
    const struct rmig_channel_ops *ops; /**< what the endpoint can do */
    uint32_t flags;                     /**< RMIG_CHANNEL_*, fixed at open */
    const char *label;                  /**< what messages call this one, as long as it is there; NULL = its ops' name */
};

/** Options common to all endpoints; zeroed memory is the default. */
struct rmig_channel_opts {
    struct rmig_cancel *cancel;  /**< may be NULL; borrowed until close */
    uint32_t connect_timeout_ms; /**< name look-up and connecting together; 0 = 3000 */
    uint32_t idle_timeout_ms;    /**< longest wait without a byte moving; 0 = 30000 */
    /**
     * tcp: a peer that leaves data unacknowledged is given up; where nothing is in flight, or its
     * window is closed, after 2000 at least; 0 = 2000. One that is alive is not, however slow.
     */
    uint32_t dead_peer_ms;
    const char *label; /**< what messages call a descriptor, not kept; NULL = "fd:N" */
};

/** What a URI names. */
enum rmig_uri_kind {
    RMIG_URI_TCP = 1, /**< tcp:HOST:PORT */
    RMIG_URI_UNIX,    /**< unix:PATH, a socket */
    RMIG_URI_FD,      /**< fd:N, an open descriptor */
    RMIG_URI_FILE,    /**< file:PATH */
    RMIG_URI_EXEC,    /**< exec:COMMAND, for /bin/sh */
    RMIG_URI_RDMA     /**< rdma:HOST:PORT: a transport's, no channel */
};

/** A parsed URI. host, port: tcp and rdma; path: unix, file; command: exec (in path). */
struct rmig_uri {
    enum rmig_uri_kind kind; /**< which of the others count */
    char host[256];          /**< without brackets; "" = any address, to listen on */
    char port[6];            /**< decimal, 0..65535 */
    int fd;                  /**< fd:N, else -1 */
    char path[4096];         /**< path or command */
    uint64_t offset_bytes;   /**< file: where the channel begins in it, 0..INT64_MAX */
};

/**
 * rmig_uri_parse - parse a migration URI as QEMU writes them
 * @text:  tcp:HOST:PORT, tcp:[V6]:PORT, unix:PATH, fd:N, file:PATH, file:PATH,offset=N,
 *         exec:COMMAND, rdma:HOST:PORT, rdma:[V6]:PORT; N in bytes, decimal, or with K, M, G or T behind it
 *         in powers of 1024; no other option may follow
 * @uri_p: receives the parts
 *
 * Blocks:  never.
 * Threads: any.
 * Returns: 0; -EINVAL naming what is wrong; -ENAMETOOLONG the host or the path.
 * Source:  QEMU's migration documentation.
 */
RMIG_MUST_CHECK int rmig_uri_parse(const char *text, struct rmig_uri *uri_p, struct rmig_err *err);

/** Direction in which a one-way endpoint is opened. */
enum rmig_channel_mode {
    RMIG_OPEN_READ = 1, /**< to be read */
    RMIG_OPEN_WRITE = 2 /**< to be written */
};

/**
 * rmig_channel_open - open what a URI names
 * @uri:  tcp, unix: connect; fd: adopt; file: open, created (mode 0600) and emptied for writing,
 *        with an offset emptied from there on: the channel begins there, and so do its positions;
 *        exec: run by /bin/sh -c, its input (write) or output (read) being the channel
 * @mode: direction; tcp, unix and socket fds are two-way whatever it says
 * @opts: NULL is the default
 * @ch_p: receives the channel
 *
 * Ownership: the caller closes the channel; an adopted descriptor is the channel's from success on.
 * Blocks:    until connected, at most connect_timeout_ms, and until cancel.
 * Threads:   any.
 * Returns:   0; -EINVAL the mode, the kind of URI, no host or port 0 to connect to, an offset beyond a
 *            file that is read, or a listening socket as fd; -ENOTSUP for rdma
 *            (load a transport); -ECONNREFUSED, -EHOSTUNREACH; -ETIMEDOUT; -ECANCELED; -ENOMEM; a
 *            system errno.
 */
RMIG_MUST_CHECK int rmig_channel_open(const struct rmig_uri *uri, enum rmig_channel_mode mode,
                                      const struct rmig_channel_opts *opts,
                                      struct rmig_channel **ch_p, struct rmig_err *err);

/** A listening endpoint (tcp, unix). */
struct rmig_listener;

/**
 * rmig_listener_open - listen at a tcp or unix URI
 * @uri: port 0 lets the system choose; host "" is any address, IPv6 and IPv4; a unix socket file
 *       that a dead listener left is replaced
 * @l_p: receives the listener
 *
 * Ownership: the caller closes the listener.
 * Blocks:    for the look-up of a name, at most 3 s.
 * Threads:   any.
 * Returns:   0; -EINVAL not tcp or unix; -EADDRINUSE; -EADDRNOTAVAIL; -EHOSTUNREACH no such host;
 *            -ETIMEDOUT its name was not found in time; -ENOMEM; a system errno.
 */
RMIG_MUST_CHECK int rmig_listener_open(const struct rmig_uri *uri, struct rmig_listener **l_p,
                                       struct rmig_err *err);

/**
 * rmig_listener_accept - accept one connection
 * @timeout_ms: -1 = no deadline
 * @opts:       of the new channel; its cancel ends the wait as well; may be NULL
 * @ch_p:       receives the channel
 *
 * Ownership: the caller closes the channel.
 * Blocks:    until somebody connects, the deadline or cancel.
 * Threads:   one at a time per listener.
 * Returns:   0; -ETIMEDOUT nobody connected in time; -ECANCELED; -ENOMEM; -EMFILE; a system errno.
 */
RMIG_MUST_CHECK int rmig_listener_accept(struct rmig_listener *l, int timeout_ms,
                                         const struct rmig_channel_opts *opts,
                                         struct rmig_channel **ch_p, struct rmig_err *err);

/**
 * rmig_listener_fd - the descriptor of a listener, to poll for reading before accepting
 *
 * Ownership: stays the listener's.
 * Returns:   the descriptor.
 */
int rmig_listener_fd(const struct rmig_listener *l);

/** rmig_listener_port - the port a tcp listener is bound to. Returns: the port; 0 for unix. */
uint16_t rmig_listener_port(const struct rmig_listener *l);

/**
 * rmig_listener_close - stop listening, remove a unix socket's file, free; NULL is fine
 *
 * Ownership: the listener is gone; channels that it accepted stay.
 */
void rmig_listener_close(struct rmig_listener *l);

/**
 * rmig_channel_from_fd - make a channel of a descriptor: connected socket, pipe, file, terminal
 * @opts: NULL is the default
 * @ch_p: receives the channel
 *
 * The descriptor becomes close-on-exec; but for files it is non-blocking until close.
 *
 * Ownership: the descriptor is the channel's from success on; on failure the caller's. The caller
 *            closes the channel.
 * Blocks:    never.
 * Threads:   any.
 * Returns:   0; -EBADF not open, or for neither direction; -EINVAL a listening socket; -EISDIR;
 *            -ENOMEM.
 */
RMIG_MUST_CHECK int rmig_channel_from_fd(int fd, const struct rmig_channel_opts *opts,
                                         struct rmig_channel **ch_p, struct rmig_err *err);

struct rmig_buffer; /**< <rmig/buffer.h> */

/**
 * rmig_channel_from_buffer - a memory buffer as a channel, from its beginning
 * @mode: RMIG_OPEN_READ or RMIG_OPEN_WRITE (which overwrites and then extends)
 * @ch_p: receives the channel
 *
 * Ownership: on success the channel owns @buf and frees it on close. The caller closes the channel.
 * Blocks:    never.
 * Threads:   any.
 * Returns:   0; -EINVAL @mode; -ENOMEM.
 */
RMIG_MUST_CHECK int rmig_channel_from_buffer(struct rmig_buffer *buf, enum rmig_channel_mode mode,
                                             struct rmig_channel **ch_p, struct rmig_err *err);

/**
 * rmig_channel_null - make a channel that drops and counts bytes; reading it is end of stream
 * @ch_p: receives the channel
 *
 * Ownership: the caller closes the channel.
 * Blocks:    never.
 * Threads:   any.
 * Returns:   0; -ENOMEM.
 */
RMIG_MUST_CHECK int rmig_channel_null(struct rmig_channel **ch_p, struct rmig_err *err);

/** rmig_channel_null_bytes - what a null channel was given. Returns: bytes; 0 for another one. */
uint64_t rmig_channel_null_bytes(const struct rmig_channel *ch);

/**
 * rmig_channel_writev_all - write everything to a channel, whatever its blocking mode is
 * @iov: @niov entries, 0 or more, of any length; left as it is
 *
 * Ownership: the memory stays the caller's, borrowed until the call returns.
 * Blocks:    within the channel's idle deadline, until cancel.
 * Threads:   one writer at a time.
 * Returns:   0; -EIO the channel took fewer bytes than it was given; -EPIPE, -ECONNRESET the peer is
 *            gone; -ETIMEDOUT; -ECANCELED; -EAGAIN would block and has no way to wait; -EBADF not
 *            that direction; a system errno.
 */
RMIG_MUST_CHECK int rmig_channel_writev_all(struct rmig_channel *ch, const struct iovec *iov,
                                            int niov, struct rmig_err *err);

/**
 * rmig_channel_read_all - read exactly so many bytes of a channel, whatever its blocking mode is
 * @buf: @len_bytes of memory; what of it was written is unspecified on failure
 *
 * Blocks:  within the channel's idle deadline, until cancel.
 * Threads: one reader at a time.
 * Returns: 0; -EIO end of stream before the last byte, with both figures; else as
 *          rmig_channel_writev_all.
 */
RMIG_MUST_CHECK int rmig_channel_read_all(struct rmig_channel *ch, void *buf, size_t len_bytes,
                                          struct rmig_err *err);

/**
 * rmig_channel_wait - wait until a byte would move through a channel
 * @direction: RMIG_SHUT_READ or RMIG_SHUT_WRITE
 *
 * Blocks:  within the channel's idle deadline, until cancel.
 * Threads: one a direction.
 * Returns: 0; -ETIMEDOUT; -ECANCELED; -EAGAIN the channel has no way to wait; a system errno.
 */
RMIG_MUST_CHECK int rmig_channel_wait(struct rmig_channel *ch, enum rmig_shut direction,
                                      struct rmig_err *err);

/**
 * rmig_channel_fd - the descriptor of a channel
 *
 * Ownership: stays the channel's.
 * Returns:   the descriptor; -1 where the channel has none.
 */
int rmig_channel_fd(struct rmig_channel *ch);

/**
 * rmig_channel_shutdown - end pending and later I/O in a direction, the channel stays open
 *
 * Blocks:  never.
 * Threads: any.
 * Returns: 0; -ENOSYS the channel cannot; a system errno.
 */
int rmig_channel_shutdown(struct rmig_channel *ch, enum rmig_shut how, struct rmig_err *err);

/**
 * rmig_channel_close - close and free a channel
 * @ch: NULL is fine (0)
 *
 * Ownership: the channel is gone whatever is returned.
 * Blocks:    never, but for an exec channel: until its child has exited, at most the idle deadline, and 3 s
 *            more to end one that does not by itself.
 * Threads:   no other thread may be inside the channel.
 * Returns:   0 or more; -ECHILD the command of an exec channel ended badly; -ETIMEDOUT it did not
 *            end and was killed, or could not be; -ECANCELED likewise; a system errno.
 */
int rmig_channel_close(struct rmig_channel *ch, struct rmig_err *err);

#ifdef __cplusplus
}
#endif
#endif
