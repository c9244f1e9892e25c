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

    return result(f, "seek", lseek(f->fd, offset_bytes, whence), err);
}

static ssize_t file_pread(struct rmig_channel *ch, void *buf, size_t len_bytes,
                          uint64_t offset_bytes, struct rmig_err *err)
{
    struct file_channel *f = file_of(ch);
    ssize_t n;

    do {
        n = check_cancel(f, err);
        if (n < 0)
            return n;
        n = pread(f->fd, buf, len_bytes, (off_t)offset_bytes);
    } while (interrupted(n));
    return result(f, "pread", n, err);
}

static ssize_t file_pwrite(struct rmig_channel *ch, const void *buf, size_t len_bytes,
                           uint64_t offset_bytes, struct rmig_err *err)
{
    struct file_channel *f = file_of(ch);
    ssize_t n;

    do {
        n = check_cancel(f, err);
        if (n < 0)
            return n;
        n = pwrite(f->fd, buf, len_bytes, (off_t)offset_bytes);
    } while (interrupted(n));
    return result(f, "pwrite", n, err);
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
};

int rmig_endpoint_file(int fd, uint32_t flags, const char *label,
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
    f->base.flags = flags;
    f->fd = fd;
    f->cancel = opts ? opts->cancel : NULL;
    *ch_p = &f->base;
    return 0;
}

int rmig_endpoint_open_file(const char *path, enum rmig_channel_mode mode,
                            const struct rmig_channel_opts *opts, struct rmig_channel **ch_p,
                            struct rmig_err *err)
{
    int flags = mode == RMIG_OPEN_READ ? O_RDONLY : O_WRONLY | O_CREAT | O_TRUNC;
    struct stat st;
    int fd, rc;

    do
        fd = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, S_IRUSR | S_IWUSR);
    while (interrupted(fd) && !rmig_cancel_triggered(opts ? opts->cancel : NULL));
    if (fd < 0)
        return rmig_err_set(err, -errno, "file:%.100s: open for %s: %s", path,
                            mode == RMIG_OPEN_READ ? "reading" : "writing", strerror(errno));
    /* The path may name a terminal or /dev/null: the descriptor decides, not the URI. A named pipe
     * could only be opened here by waiting without cancel. */
    if (fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode))
        rc = rmig_err_set(err, -EINVAL, "is a named pipe; open it and give its descriptor as fd:N");
    else
        rc = rmig_channel_from_fd(fd, opts, ch_p, err);
    if (rc < 0) {
        rmig_err_prefix(err, "file:%.100s", path);
        close(fd);
        return rc;
    }
    if ((*ch_p)->ops == &file_ops)
        snprintf(file_of(*ch_p)->label, RMIG_LABEL_BYTES, "file:%.100s", path);
    return rc;
}
