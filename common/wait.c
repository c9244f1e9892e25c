/* SPDX-License-Identifier: BSD-3-Clause */
/* wait.c -- polls one descriptor together with the cancel descriptor, up to a deadline. */
#include "common/wait.h"

#include <errno.h>
#include <poll.h>

#include "common/clock.h"

int rmig_wait_fd(int fd, short events, int cancel_fd, uint64_t deadline_ns)
{
    struct pollfd set[2] = {
        {.fd = fd, .events = events},
        {.fd = cancel_fd, .events = POLLIN},
    };

    for (;;) {
        int n = poll(set, 2, rmig_poll_ms(deadline_ns));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (set[1].revents)
            return -ECANCELED;
        if (set[0].revents & POLLNVAL)
            return -EBADF;
        if (set[0].revents)
            return set[0].revents;
        if (rmig_poll_ms(deadline_ns) == 0)
            return -ETIMEDOUT;
    }
}
