/* SPDX-License-Identifier: BSD-3-Clause */
/* cancel.c -- a one-way flag with an eventfd, so that every poll set can have it. */
#include <rmig/cancel.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct rmig_cancel {
    atomic_bool triggered;
    int fd;
};

int rmig_cancel_new(struct rmig_cancel **cancel_p, struct rmig_err *err)
{
    struct rmig_cancel *cancel = malloc(sizeof(*cancel));

    if (!cancel)
        return rmig_err_set(err, -ENOMEM, "cancel token: out of memory");
    atomic_init(&cancel->triggered, false);
    cancel->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (cancel->fd < 0) {
        int e = errno;

        free(cancel);
        return rmig_err_set(err, -e, "cancel token: eventfd: %s", strerror(e));
    }
    *cancel_p = cancel;
    return 0;
}

void rmig_cancel_free(struct rmig_cancel *cancel)
{
    if (!cancel)
        return;
    close(cancel->fd);
    free(cancel);
}

void rmig_cancel_trigger(struct rmig_cancel *cancel)
{
    const uint64_t one = 1;
    int saved_errno = errno;
    ssize_t n;

    if (!cancel)
        return;
    atomic_store(&cancel->triggered, true);
    n = write(cancel->fd, &one, sizeof(one));
    (void)n; /* EAGAIN: the counter is full, so the descriptor is readable already */
    errno = saved_errno;
}

bool rmig_cancel_triggered(const struct rmig_cancel *cancel)
{
    return cancel && atomic_load(&cancel->triggered);
}

int rmig_cancel_fd(const struct rmig_cancel *cancel)
{
    return cancel ? cancel->fd : -1;
}
