/* SPDX-License-Identifier: BSD-3-Clause */
/* channel_file.c -- regular files and block devices: positions, and no waiting. */
#include "stream/endpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "stream/fdio.h"

struct file_channel {
    struct rmig_channel base;
    int fd;
    off_t origin_bytes;         /* position 0 of the channel, in the file; 0 or more */
    struct rmig_cancel *cancel; /* may be NULL */
    char label[RMIG_LABEL_BYTES];
};

static struct file_channel *file_of(struct rmig_channel *ch)
{
    return (struct file_channel *)ch;
}

/* Files do not wait, but a long save to a slow disk is cancelled between two calls. */
static int check_cancel(const struct file_channel *f, struct rmig_err *err)
{
    if (rmig_cancel_triggered(f->cancel))
        return rmig_err_set(err, -ECANCELED, "%s: cancelled", f->label);
    return 0;
}

/* A signal, which network file systems let through: the call is made again. */
static bool interrupted(ssize_t n)
{
    return n < 0 && errno == EINTR;
}

static ssize_t result(const struct file_channel *f, const char *what, ssize_t n,
                      struct rmig_err *err)
{
    if (n >= 0)
        return n;
    return rmig_err_set(err, -errno, "%s: %s: %s", f->label, what, strerror(errno));
}

static ssize_t file_readv(struct rmig_channel *ch, const struct iovec *iov, int niov,
                          struct rmig_err *err)
{
    struct file_channel *f = file_of(ch);
    ssize_t n;

    do {
        n = check_cancel(f, err);
        if (n < 0)
            return n;
        n = readv(f->fd, iov, niov);
    } while (interrupted(n));
    return result(f, "read", n, err);
}

static ssize_t file_writev(struct rmig_channel *ch, const struct iovec *iov, int niov,
                           struct rmig_err *err)
{
    struct file_channel *f = file_of(ch);
    ssize_t n;

    do {
        n = check_cancel(f, err);
        if (n < 0)
            return n;
        n = writev(f->fd, iov, niov);
    } while (interrupted(n));
    return result(f, "write", n, err);
}

static int file_close(struct rmig_channel *ch, struct rmig_err *err)
{
    struct file_channel *f = file_of(ch);
    int rc = (int)result(f, "close", close(f->fd), err);

    free(f);
    return rc;
}

static int file_get_fd(struct rmig_channel *ch)
{
    return file_of(ch)->fd;
}

static int64_t file_seek(struct rmig_channel *ch, int64_t offset_bytes, int whence,
                         struct rmig_err *err)
{
    struct file_channel *f = file_of(ch);
    const bool relative = whence == SEEK_CUR || whence == SEEK_END;
    const off_t was = relative ? lseek(f->fd, 0, SEEK_CUR) : 0;
    off_t to = offset_bytes, at = -1;

    if (!relative && (to < 0 || __builtin_add_overflow(to, f->origin_bytes, &to)))
        errno = EINVAL;
    else if (was >= 0)
        at = lseek(f->fd, to, whence);
    if (at >= 0 && at < f->origin_bytes) {
        (void)lseek(f->fd, was, SEEK_SET); /* where it just was */
        at = -1;
        errno = EINVAL;
    }
    if (at < 0 && errno == EINVAL)
        return rmig_err_set(err, -EINVAL, "%s: seek by %lld, whence %d: no position of the file%s", f->label,
                            (long long)offset_bytes, whence,
                            f->origin_bytes ? " from the offset of its URI on" : "");
    return result(f, "seek", at < 0 ? at : at - f->origin_bytes, err);
}

/* A position as the file has it. Returns: -EINVAL no file has it. */
static off_t absolute(const struct file_channel *f, uint64_t offset_bytes, struct rmig_err *err)
{
    off_t at;

    if (__builtin_add_overflow(offset_bytes, f->origin_bytes, &at))
        return rmig_err_set(err, -EINVAL, "%s: no file has a position %llu", f->label,
                            (unsigned long long)offset_bytes);
    return at;
}

static ssize_t file_pread(struct rmig_channel *ch, void *buf, size_t len_bytes,
                          uint64_t offset_bytes, struct rmig_err *err)
{
    struct file_channel *f = file_of(ch);
    off_t at = absolute(f, offset_bytes, err);
    ssize_t n;

    do {
        n = at < 0 ? at : check_cancel(f, err);
        if (n < 0)
            return n;
        n = pread(f->fd, buf, len_bytes, at);
    } while (interrupted(n));
    return result(f, "pread", n, err);
}

static ssize_t file_pwrite(struct rmig_channel *ch, const void *buf, size_t len_bytes,
                           uint64_t offset_bytes, struct rmig_err *err)
{
    struct file_channel *f = file_of(ch);
    off_t at = absolute(f, offset_bytes, err);
    ssize_t n;

    do {
        n = at < 0 ? at : check_cancel(f, err);
        if (n < 0)
            return n;
        n = pwrite(f->fd, buf, len_bytes, at);
    } while (interrupted(n));
    return result(f, "pwrite", n, err);
}

static int file_zero_range(struct rmig_channel *ch, uint64_t len_bytes, uint64_t offset_bytes,
                           struct rmig_err *err)
{
    struct file_channel *f = file_of(ch);
    off_t at = absolute(f, offset_bytes, err);
    int rc;

    do {
        rc = at < 0 ? (int)at : check_cancel(f, err);
        if (rc < 0)
            return rc;
        rc = fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, (off_t)len_bytes);
    } while (interrupted(rc));
    if (rc < 0 && (errno == EOPNOTSUPP || errno == ENOSYS || errno == ENODEV || errno == EINVAL))
        return -EOPNOTSUPP;
    return (int)result(f, "fallocate", rc, err);
}

static const struct rmig_channel_ops file_ops = {
    .name = "file",
    .readv = file_readv,
    .writev = file_writev,
    .close = file_close,
    .get_fd = file_get_fd,
    .seek = file_seek,
    .pread = file_pread,
    .pwrite = file_pwrite,
    .zero_range = file_zero_range,
};

int rmig_endpoint_file(int fd, uint32_t flags, const char *label, uint64_t origin_bytes,
                       const struct rmig_channel_opts *opts, struct rmig_channel **ch_p,
                       struct rmig_err *err)
{
    struct file_channel *f = calloc(1, sizeof(*f));

    if (!f)
        return rmig_err_set(err, -ENOMEM, "%.80s: out of memory", label);
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
        free(f);
        return rmig_err_set(err, -errno, "%.80s: fcntl: %s", label, strerror(errno));
    }
    snprintf(f->label, sizeof(f->label), "%.100s", label);
    f->base.ops = &file_ops;
    f->base.label = f->label;
    f->base.flags = flags;
    f->fd = fd;
    f->origin_bytes = (off_t)origin_bytes;
    f->cancel = opts ? opts->cancel : NULL;
    *ch_p = &f->base;
    return 0;
}

static int cut_off(int fd, off_t len_bytes)
{
    int rc;

    do
        rc = ftruncate(fd, len_bytes);
    while (interrupted(rc));
    return rc;
}

/* What is before the offset stays, what is behind it goes. Only files have one. */
static int begin_at(int fd, const struct stat *st, uint64_t offset_bytes,
                    enum rmig_channel_mode mode, struct rmig_err *err)
{
    if (!S_ISREG(st->st_mode) && !S_ISBLK(st->st_mode))
        return rmig_err_set(err, -ESPIPE, "no file, so that it has no offset %llu",
                            (unsigned long long)offset_bytes);
    if (mode == RMIG_OPEN_READ && S_ISREG(st->st_mode) && offset_bytes > (uint64_t)st->st_size)
        return rmig_err_set(err, -EINVAL, "offset %llu is beyond its %llu bytes",
                            (unsigned long long)offset_bytes, (unsigned long long)st->st_size);
    if ((mode == RMIG_OPEN_WRITE && S_ISREG(st->st_mode) && cut_off(fd, (off_t)offset_bytes) < 0) ||
        lseek(fd, (off_t)offset_bytes, SEEK_SET) < 0)
        return rmig_err_set(err, -errno, "offset %llu: %s", (unsigned long long)offset_bytes,
                            strerror(errno));
    return 0;
}

/* The path may name a terminal or /dev/null: the descriptor decides, not the URI. A named pipe could
 * only be opened here by waiting without cancel. */
static int adopt(int fd, const struct rmig_uri *uri, enum rmig_channel_mode mode,
                 const struct rmig_channel_opts *opts, struct rmig_channel **ch_p,
                 struct rmig_err *err)
{
    const uint32_t way = mode == RMIG_OPEN_READ ? RMIG_CHANNEL_READABLE : RMIG_CHANNEL_WRITABLE;
    char label[RMIG_LABEL_BYTES];
    struct stat st;
    int rc;

    if (fstat(fd, &st) < 0)
        return rmig_err_set(err, -errno, "fstat: %s", strerror(errno));
    if (S_ISFIFO(st.st_mode))
        return rmig_err_set(err, -EINVAL,
                            "is a named pipe; open it and give its descriptor as fd:N");
    rc = uri->offset_bytes ? begin_at(fd, &st, uri->offset_bytes, mode, err) : 0;
    if (rc < 0)
        return rc;
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return rmig_channel_from_fd(fd, opts, ch_p, err);
    snprintf(label, sizeof(label), "file:%.100s", uri->path);
    rc = rmig_endpoint_file(fd, way | RMIG_CHANNEL_SEEKABLE, label, uri->offset_bytes, opts, ch_p, NULL);
    return rc < 0 ? rmig_err_set(err, rc, "%s", strerror(-rc)) : 0;
}

int rmig_endpoint_open_file(const struct rmig_uri *uri, enum rmig_channel_mode mode,
                            const struct rmig_channel_opts *opts, struct rmig_channel **ch_p,
                            struct rmig_err *err)
{
    int flags = mode == RMIG_OPEN_READ ? O_RDONLY : O_WRONLY | O_CREAT;
    int fd, rc;

    if (mode == RMIG_OPEN_WRITE && uri->offset_bytes == 0)
        flags |= O_TRUNC;
    do
        fd = open(uri->path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, S_IRUSR | S_IWUSR);
    while (interrupted(fd) && !rmig_cancel_triggered(opts ? opts->cancel : NULL));
    if (fd < 0)
        return rmig_err_set(err, -errno, "file:%.100s: open for %s: %s", uri->path,
                            mode == RMIG_OPEN_READ ? "reading" : "writing", strerror(errno));
    rc = adopt(fd, uri, mode, opts, ch_p, err);
    if (rc < 0) {
        rmig_err_prefix(err, "file:%.100s", uri->path);
        close(fd);
    }
    return rc;
}
