/* SPDX-License-Identifier: BSD-3-Clause */
/* copy.c -- copies from an input stream to a descriptor. */
#include "stream/in.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>

#include "common/clock.h"
#include "common/overflow.h"
#include "common/wait.h"
#include "stream/fdio.h"

/* How often a wait for the descriptor looks whether the stream was shut down. */
#define SLICE_MS 50

/* Waits until fd takes bytes. Shutting the stream down ends the wait. */
static int wait_for_room(struct rmig_in *in, int fd)
{
    uint64_t deadline = rmig_deadline_ns(RMIG_IDLE_TIMEOUT_DEFAULT_MS);

    for (;;) {
        int rc = rmig_wait_fd(fd, POLLOUT, -1, rmig_min_u64(deadline, rmig_deadline_ns(SLICE_MS)));

        if (rc > 0)
            return rmig_sticky_code(&in->error);
        if (rc != -ETIMEDOUT || rmig_poll_ms(deadline) == 0)
            return rc;
        rc = rmig_sticky_code(&in->error);
        if (rc < 0)
            return rc;
    }
}

int rmig_in_copy_to_fd(struct rmig_in *in, int fd, uint64_t len_bytes)
{
    size_t most = RMIG_STREAM_BUFFER_BYTES;
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -errno;
    if (S_ISFIFO(st.st_mode))
        most = PIPE_BUF; /* what a pipe takes without blocking once it polls writable */
    while (len_bytes) {
        struct iovec iov;
        ssize_t n;
        int rc = rmig_stream_in_gather(in, 1);

        if (rc == 0)
            rc = wait_for_room(in, fd);
        if (rc < 0)
            return rc;
        iov.iov_base = in->pos;
        iov.iov_len = rmig_min_u64(rmig_min_u64(len_bytes, most), (uint64_t)(in->end - in->pos));
        n = rmig_fdio_writev_nosignal(fd, st.st_mode, &iov, 1);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n < 0)
            return -errno;
        in->pos += n;
        len_bytes -= (uint64_t)n;
    }
    return rmig_sticky_code(&in->error);
}
