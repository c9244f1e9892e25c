/* SPDX-License-Identifier: BSD-3-Clause */
/* channel.c -- opens what a URI names; whole transfers over short I/O; wrappers of the operations.
 */
#include <rmig/channel.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/iov.h"
#include "stream/endpoint.h"
#include "stream/fdio.h"
#include "stream/stream_internal.h"

int rmig_channel_open(const struct rmig_uri *uri, enum rmig_channel_mode mode,
                      const struct rmig_channel_opts *opts, struct rmig_channel **ch_p,
                      struct rmig_err *err)
{
    if (mode != RMIG_OPEN_READ && mode != RMIG_OPEN_WRITE)
        return rmig_err_set(err, -EINVAL, "channel open: mode %d is neither read nor write", mode);
    switch (uri->kind) {
    case RMIG_URI_TCP:
    case RMIG_URI_UNIX:
        return rmig_endpoint_connect(uri, opts, ch_p, err);
    case RMIG_URI_FD:
        return rmig_channel_from_fd(uri->fd, opts, ch_p, err);
    case RMIG_URI_FILE:
        return rmig_endpoint_open_file(uri, mode, opts, ch_p, err);
    case RMIG_URI_EXEC:
        return rmig_endpoint_exec(uri->path, mode, opts, ch_p, err);
    case RMIG_URI_RDMA:
        return rmig_err_set(err, -ENOTSUP,
                            "rdma:%.64s:%s is no byte channel: load the rdma transport for it",
                            uri->host, uri->port);
    }
    return rmig_err_set(err, -EINVAL, "channel open: URI kind %d is unknown", (int)uri->kind);
}

int rmig_channel_from_fd(int fd, const struct rmig_channel_opts *opts, struct rmig_channel **ch_p,
                         struct rmig_err *err)
{
    static const uint32_t access_flags[] = {
        [O_RDONLY] = RMIG_CHANNEL_READABLE,
        [O_WRONLY] = RMIG_CHANNEL_WRITABLE,
        [O_RDWR] = RMIG_CHANNEL_READABLE | RMIG_CHANNEL_WRITABLE,
    };
    struct stat st;
    char label[RMIG_LABEL_BYTES];
    uint32_t flags;
    int status;

    if (opts && opts->label)
        snprintf(label, sizeof(label), "%s", opts->label);
    else
        snprintf(label, sizeof(label), "fd:%d", fd);
    status = fcntl(fd, F_GETFL);
    if (status < 0 || fstat(fd, &st) < 0)
        return rmig_err_set(err, -errno, "%s: %s", label, strerror(errno));
    if ((status & O_PATH) || (status & O_ACCMODE) == O_ACCMODE)
        return rmig_err_set(err, -EBADF, "%s: is open for neither reading nor writing", label);
    flags = access_flags[status & O_ACCMODE];
    if (S_ISSOCK(st.st_mode))
        return rmig_endpoint_socket(fd, label, opts, ch_p, err);
    if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) {
        /* What is written to a file open for appending goes to its end, whatever position is given. */
        if (!(status & O_APPEND) || (status & O_ACCMODE) == O_RDONLY)
            flags |= RMIG_CHANNEL_SEEKABLE;
        return rmig_endpoint_file(fd, flags, label, 0, opts, ch_p, err);
    }
    if (S_ISDIR(st.st_mode))
        return rmig_err_set(err, -EISDIR, "%s: is a directory", label);
    return rmig_endpoint_fd(fd, st.st_mode, flags, label, opts, ch_p, err);
}

int rmig_channel_wait(struct rmig_channel *ch, enum rmig_shut direction, struct rmig_err *err)
{
    if (!ch->ops->wait)
        return rmig_err_set(err, -EAGAIN, "%s: would block, and has no way to wait", ch->ops->name);
    return ch->ops->wait(ch, direction, err);
}

int rmig_stream_write_counted(struct rmig_channel *ch, const struct iovec *iov, int niov,
                              uint64_t *written_bytes_p, struct rmig_err *err)
{
    struct rmig_iov_cursor left;

    rmig_iov_cursor_init(&left, iov, niov);
    while (rmig_iov_cursor_next(&left)) {
        ssize_t n = ch->ops->writev(ch, left.window, left.nwindow, err);
        int rc;

        if (n > 0 && (uint64_t)n <= left.left_bytes) {
            rmig_iov_cursor_advance(&left, (size_t)n);
            *written_bytes_p += (uint64_t)n;
            continue;
        }
        if (n >= 0)
            return rmig_err_set(err, -EIO, "%s: short write: %llu of %llu bytes", ch->ops->name,
                                (unsigned long long)(left.total_bytes - left.left_bytes),
                                (unsigned long long)left.total_bytes);
        if (n == -EINTR)
            continue;
        if (n != -EAGAIN)
            return rmig_err_set(err, (int)n, "%s: write: %s", ch->ops->name, strerror((int)-n));
        rc = rmig_channel_wait(ch, RMIG_SHUT_WRITE, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int rmig_channel_writev_all(struct rmig_channel *ch, const struct iovec *iov, int niov,
                            struct rmig_err *err)
{
    uint64_t written_bytes = 0;

    return rmig_stream_write_counted(ch, iov, niov, &written_bytes, err);
}

int rmig_channel_read_all(struct rmig_channel *ch, void *buf, size_t len_bytes,
                          struct rmig_err *err)
{
    size_t done = 0;

    while (done < len_bytes) {
        struct iovec iov = {.iov_base = (char *)buf + done, .iov_len = len_bytes - done};
        ssize_t n = ch->ops->readv(ch, &iov, 1, err);
        int rc;

        if (n > 0 && (size_t)n <= len_bytes - done) {
            done += (size_t)n;
            continue;
        }
        if (n >= 0)
            return rmig_err_set(err, -EIO, "%s: end of stream after %zu of %zu bytes",
                                ch->ops->name, done, len_bytes);
        if (n == -EINTR)
            continue;
        if (n != -EAGAIN)
            return rmig_err_set(err, (int)n, "%s: read: %s", ch->ops->name, strerror((int)-n));
        rc = rmig_channel_wait(ch, RMIG_SHUT_READ, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int rmig_channel_fd(struct rmig_channel *ch)
{
    return ch->ops->get_fd ? ch->ops->get_fd(ch) : -1;
}

int rmig_channel_shutdown(struct rmig_channel *ch, enum rmig_shut how, struct rmig_err *err)
{
    if (!ch->ops->shutdown)
        return rmig_err_set(err, -ENOSYS, "%s: cannot be shut down", ch->ops->name);
    return ch->ops->shutdown(ch, how, err);
}

int rmig_channel_close(struct rmig_channel *ch, struct rmig_err *err)
{
    return ch ? ch->ops->close(ch, err) : 0;
}
