/* SPDX-License-Identifier: BSD-3-Clause */
/* fifo.c -- waits for the reader of a named pipe, which open(2) does for ever. */
#include "tools/fifo.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATIENCE_S 60
#define PATIENCE_CANCELLED_S 5
#define NAP_MS 20

static bool is_fifo(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISFIFO(st.st_mode);
}

/* Returns: a descriptor; -ENXIO no reader yet; -errno. */
static int try_open(const char *path, int flags)
{
    int fd = open(path, flags | O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666);

    if (fd < 0)
        return errno == ENXIO && !is_fifo(path) ? -ENODEV : -errno;
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK) == 0)
        return fd;
    close(fd);
    return -EIO;
}

int fifo_open(const char *path, int flags, struct rmig_cancel *cancel, struct rmig_err *err)
{
    bool cancelled = rmig_cancel_triggered(cancel);
    int patience_s = cancelled ? PATIENCE_CANCELLED_S : PATIENCE_S, fd = try_open(path, flags);
    struct pollfd stop = {.fd = cancelled ? -1 : rmig_cancel_fd(cancel), .events = POLLIN};

    for (int naps = patience_s * 1000 / NAP_MS; fd == -ENXIO && naps > 0; naps--) {
        if (poll(&stop, 1, NAP_MS) > 0)
            return rmig_err_set(err, -ECANCELED, "%.180s: cancelled", path);
        fd = try_open(path, flags);
    }
    if (fd == -ENXIO)
        return rmig_err_set(err, -ETIMEDOUT, "%.180s: nobody has opened this pipe for reading in %d s: start its "
                            "reader first", path, patience_s);
    return fd < 0 ? rmig_err_set(err, fd, "%.180s: %s", path, strerror(-fd)) : fd;
}

int fifo_fopen(const char *path, struct rmig_cancel *cancel, FILE **file_p, struct rmig_err *err)
{
    int fd = fifo_open(path, O_CREAT | O_TRUNC, cancel, err);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");

    if (fd < 0)
        return fd;
    if (!file) {
        close(fd);
        return rmig_err_set(err, -ENOMEM, "%.180s: out of memory", path);
    }
    *file_p = file;
    return 0;
}
