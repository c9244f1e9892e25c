/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fdio.h -- I/O on a descriptor that can make us wait: what the socket, fd and exec endpoints
 * share. The descriptor is non-blocking inside; waits end in data, in an error, at the idle
 * deadline or on cancel. No SIGPIPE, ever.
 */
#ifndef STREAM_FDIO_H
#define STREAM_FDIO_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <rmig/channel.h>

#define RMIG_CONNECT_TIMEOUT_DEFAULT_MS 3000u
#define RMIG_IDLE_TIMEOUT_DEFAULT_MS 30000u
#define RMIG_DEAD_PEER_DEFAULT_MS 2000u

/** Longest text by which messages name an endpoint. */
#define RMIG_LABEL_BYTES 128

struct rmig_fdio;

/** One wait, as the check of the peer sees it; both directions may wait at once. */
struct rmig_wait_watch {
    enum rmig_shut direction;
    uint64_t waited_ms;
    bool suspect; /* the check's: the last look found the peer silent for nearly too long */
    bool probing; /* the check's: the probe timer is held short */
};

/** A descriptor with its options. Filled by rmig_fdio_init(). */
struct rmig_fdio {
    int fd;
    mode_t type;                /* as fstat has it: S_IFSOCK, S_IFIFO, ... */
    int saved_flags;            /* fcntl status flags before O_NONBLOCK, put back by close */
    atomic_bool blocking;       /* what the user of the channel sees; true at first */
    struct rmig_cancel *cancel; /* may be NULL */
    uint32_t idle_timeout_ms;
    uint32_t tick_ms; /* how often a wait calls check_peer */
    /* Has the peer died? 0, or -errno with a message, which ends the wait. NULL: nobody asks. */
    int (*check_peer)(struct rmig_fdio *io, struct rmig_wait_watch *watch, struct rmig_err *err);
    /* With check_peer: the wait is over, whatever its end was. */
    void (*after_wait)(struct rmig_fdio *io, struct rmig_wait_watch *watch);
    uint64_t flow_bytes;          /* read since the last wait for something to read */
    char label[RMIG_LABEL_BYTES]; /* "tcp 10.0.0.1:4444" */
};

/** Take fd over. Requires: *io is otherwise zeroed; label set. Returns: 0; -errno of fcntl. */
int rmig_fdio_init(struct rmig_fdio *io, int fd, mode_t type,
                   const struct rmig_channel_opts *opts, struct rmig_err *err);

/** As the channel operations of the same names. */
ssize_t rmig_fdio_readv(struct rmig_fdio *io, const struct iovec *iov, int niov,
                        struct rmig_err *err);
ssize_t rmig_fdio_writev(struct rmig_fdio *io, const struct iovec *iov, int niov,
                         struct rmig_err *err);
int rmig_fdio_wait(struct rmig_fdio *io, enum rmig_shut direction, struct rmig_err *err);

/** Close the descriptor, its status flags as they were; again is fine. Returns: 0; -errno. */
int rmig_fdio_close(struct rmig_fdio *io, struct rmig_err *err);

/**
 * writev(2) without SIGPIPE on a descriptor of any type; a socket does not block. Returns: as writev,
 * with errno.
 */
ssize_t rmig_fdio_writev_nosignal(int fd, mode_t type, const struct iovec *iov, int niov);

/** The option, or its default for 0 and for no options. */
static inline uint32_t rmig_opt_ms(uint32_t value_ms, uint32_t default_ms)
{
    return value_ms ? value_ms : default_ms;
}

#endif
