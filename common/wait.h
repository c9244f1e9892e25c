/* SPDX-License-Identifier: BSD-3-Clause */
/* wait.h -- the one wait on a descriptor: it ends in an event, on cancel or at a deadline. */
#ifndef COMMON_WAIT_H
#define COMMON_WAIT_H

#include <stdint.h>

/**
 * Wait until fd has one of the poll(2) events (or an error or hang-up), cancel_fd polls readable,
 * or deadline_ns (of common/clock.h) has come. fd -1 waits for cancel and deadline alone; cancel_fd
 * -1 is none. Cancel wins over an event, an event over a deadline that has passed. Returns: the
 * events of fd, > 0; -ECANCELED; -ETIMEDOUT; -EBADF fd is not open; -errno of poll.
 */
int rmig_wait_fd(int fd, short events, int cancel_fd, uint64_t deadline_ns);

#endif
