/* SPDX-License-Identifier: BSD-3-Clause */
/* fdio.c -- reads, writes and waits on a non-blocking descriptor, with deadline and cancel. */
#include "stream/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/overflow.h"
#include "common/wait.h"

int rmig_fdio_init(struct rmig_fdio *io, int fd, mode_t type,
                   const struct rmig_channel_opts *opts, struct rmig_err *err)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ||
        fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return rmig_err_set(err, -errno, "%s: fcntl: %s", io->label, strerror(errno));
    io->fd = fd;
    io->type = type;
    io->saved_flags = flags;
    atomic_init(&io->blocking, true);
    io->cancel = opts ? opts->cancel : NULL;
    io->idle_timeout_ms =
        rmig_opt_ms(opts ? opts->idle_timeout_ms : 0, RMIG_IDLE_TIMEOUT_DEFAULT_MS);
    return 0;
}

int rmig_fdio_close(struct rmig_fdio *io, struct rmig_err *err)
{
    int fd = io->fd, rc;

    if (fd < 0)
        return 0;
    io->fd = -1;
    /* Others may share the open file description: a shell its terminal, a parent its pipe. */
    if (!(io->saved_flags & O_NONBLOCK))
        fcntl(fd, F_SETFL, io->saved_flags);
    rc = close(fd);
    if (rc < 0)
        return rmig_err_set(err, -errno, "%s: close: %s", io->label, strerror(errno));
    return 0;
}

/* Waits up to the idle deadline, looking at the peer from time to time. 0 or -errno. */
static int wait_and_watch(struct rmig_fdio *io, struct rmig_wait_watch *watch, struct rmig_err *err)
{
    short events = watch->direction == RMIG_SHUT_READ ? POLLIN : POLLOUT;
    uint64_t start = rmig_now_ns();
    uint64_t deadline = start + io->idle_timeout_ms * RMIG_NS_PER_MS;
    uint64_t until = deadline;

    for (;;) {
        int rc;

        if (io->check_peer)
            until = rmig_min_u64(deadline, rmig_now_ns() + io->tick_ms * RMIG_NS_PER_MS);
        rc = rmig_wait_fd(io->fd, events, rmig_cancel_fd(io->cancel), until);
        if (rc != -ETIMEDOUT || until == deadline)
            return rc < 0 ? rc : 0;
        watch->waited_ms = (rmig_now_ns() - start) / RMIG_NS_PER_MS;
        rc = io->check_peer(io, watch, err);
        if (rc < 0)
            return rc;
    }
}

int rmig_fdio_wait(struct rmig_fdio *io, enum rmig_shut direction, struct rmig_err *err)
{
    struct rmig_wait_watch watch = {.direction = direction};
    struct rmig_err cause = RMIG_ERR_INIT;
    int rc = wait_and_watch(io, &watch, &cause);

    if (io->after_wait)
        io->after_wait(io, &watch);
    if (rc >= 0)
        return 0;
    if (cause.code)
        return rmig_err_set(err, rc, "%s", cause.msg);
    if (rc == -ECANCELED)
        return rmig_err_set(err, rc, "%s: cancelled", io->label);
    if (rc == -ETIMEDOUT)
        return rmig_err_set(err, rc, "%s: %s for %u ms (idle timeout)", io->label,
                            direction == RMIG_SHUT_READ ? "nothing received" : "nothing taken",
                            io->idle_timeout_ms);
    return rmig_err_set(err, rc, "%s: poll: %s", io->label, strerror(-rc));
}

/* A pipe has no flag against the signal: hold it back in this thread, and eat the one we caused. */
static ssize_t write_pipe(int fd, const struct iovec *iov, int niov)
{
    const struct timespec now = {0, 0};
    sigset_t pipe_set, saved, pending;
    bool was_pending = false;
    ssize_t n;
    int e;

    sigemptyset(&pipe_set);
    sigaddset(&pipe_set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_set, &saved);
    if (sigismember(&saved, SIGPIPE) == 1) { /* else it would have been delivered */
        sigpending(&pending);
        was_pending = sigismember(&pending, SIGPIPE) == 1;
    }
    n = writev(fd, iov, niov);
    e = errno;
    if (n < 0 && e == EPIPE && !was_pending)
        while (sigtimedwait(&pipe_set, NULL, &now) < 0 && errno == EINTR)
            continue;
    pthread_sigmask(SIG_SETMASK, &saved, NULL);
    errno = e;
    return n;
}

ssize_t rmig_fdio_writev_nosignal(int fd, mode_t type, const struct iovec *iov, int niov)
{
    if (S_ISSOCK(type)) {
        struct msghdr msg = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)niov};

        return sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    /* No device sends the signal, nor does a file. */
    return S_ISFIFO(type) ? write_pipe(fd, iov, niov) : writev(fd, iov, niov);
}

/*
 * A sender in full flow that has to wake its receiver for every segment does little else. So a
 * receiver that got much since it last waited lets it run ahead for a moment, a few times, before
 * it asks to be woken.
 */
#define FLOW_BYTES 65536u
#define NAP_NS 50000
#define NAPS_MAX 4u

static bool nap(struct rmig_fdio *io, unsigned *naps)
{
    const struct timespec moment = {.tv_nsec = NAP_NS};

    if (io->flow_bytes < FLOW_BYTES || *naps == NAPS_MAX) {
        io->flow_bytes = 0;
        return false;
    }
    ++*naps;
    nanosleep(&moment, NULL);
    return true;
}

/* A socket does not block whatever its flags are; readv has no such option. */
static ssize_t read_now(const struct rmig_fdio *io, const struct iovec *iov, int niov)
{
    struct msghdr msg = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)niov};

    return S_ISSOCK(io->type) ? recvmsg(io->fd, &msg, MSG_DONTWAIT) : readv(io->fd, iov, niov);
}

/* The flag belongs to the open file description: who shares it, another channel that was closed or
 * a shell, may have taken it off, and a call that blocks would hear neither cancel nor deadline. */
static void keep_nonblocking(const struct rmig_fdio *io)
{
    int flags = S_ISSOCK(io->type) ? O_NONBLOCK : fcntl(io->fd, F_GETFL);

    if (flags >= 0 && !(flags & O_NONBLOCK))
        fcntl(io->fd, F_SETFL, flags | O_NONBLOCK);
}

/* One attempt after another until bytes move; what and direction say which way. */
static ssize_t transfer(struct rmig_fdio *io, enum rmig_shut direction, const struct iovec *iov,
                        int niov, struct rmig_err *err)
{
    bool reading = direction == RMIG_SHUT_READ;
    unsigned naps = 0;

    for (;;) {
        ssize_t n;
        int rc;

        if (rmig_cancel_triggered(io->cancel))
            return rmig_err_set(err, -ECANCELED, "%s: cancelled", io->label);
        keep_nonblocking(io);
        n = reading ? read_now(io, iov, niov)
                    : rmig_fdio_writev_nosignal(io->fd, io->type, iov, niov);
        if (n >= 0) {
            if (reading)
                io->flow_bytes += (uint64_t)n;
            return n;
        }
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            return rmig_err_set(err, -errno, "%s: %s: %s", io->label, reading ? "read" : "write",
                                strerror(errno));
        if (!atomic_load_explicit(&io->blocking, memory_order_relaxed))
            return -EAGAIN;
        if (reading && nap(io, &naps))
            continue;
        rc = rmig_fdio_wait(io, direction, err);
        if (rc < 0)
            return rc;
    }
}

ssize_t rmig_fdio_readv(struct rmig_fdio *io, const struct iovec *iov, int niov,
                        struct rmig_err *err)
{
    return transfer(io, RMIG_SHUT_READ, iov, niov, err);
}

ssize_t rmig_fdio_writev(struct rmig_fdio *io, const struct iovec *iov, int niov,
                         struct rmig_err *err)
{
    return transfer(io, RMIG_SHUT_WRITE, iov, niov, err);
}
