/* bench_watch.c -- the thread that listens to the peer while the data moves. */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/bench_watch.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define REASON_MS 500

static void raise_fd(int fd)
{
    const uint64_t one = 1;
    ssize_t n = write(fd, &one, sizeof(one));

    (void)n; /* an eventfd takes a 1 whenever it is not raised already */
}

static void *listen_to_peer(void *opaque)
{
    struct bench_watch *watch = opaque;
    bool is_end = false;
    json_t *msg = NULL;
    int rc =
        bench_ctl_recv(watch->ctl, INT_MAX, &msg, &watch->err); /* until end_fd at the latest */

    if (rc == 0 && watch->op && bench_ctl_is(msg, watch->op)) {
        watch->msg = msg;
    } else if (rc != -EINTR) {
        is_end = true;
        watch->peer_gave_up = rc == 0 && bench_ctl_is(msg, "error");
        watch->aborted = rc == 0 && bench_ctl_is(msg, "aborted");
        if (watch->peer_gave_up)
            bench_ctl_remote_error(msg, &watch->err);
        else if (rc == 0)
            rmig_err_set(&watch->err, -EPROTO, "%s: sent a message out of turn", watch->ctl->peer);
        json_decref(msg);
    }
    atomic_store(&watch->done, true);
    raise_fd(watch->done_fd);
    if (is_end) /* the last: whoever sees the move end finds the reason here */
        watch->end(watch->opaque);
    return NULL;
}

int bench_watch_start(struct bench_watch *watch, struct bench_ctl *ctl, void (*end)(void *opaque),
                      void *opaque, const char *op, struct rmig_err *err)
{
    sigset_t all, old;
    int rc;

    *watch = (struct bench_watch){.ctl = ctl, .end = end, .opaque = opaque, .op = op};
    watch->end_fd = eventfd(0, EFD_CLOEXEC);
    watch->done_fd = eventfd(0, EFD_CLOEXEC);
    if (watch->end_fd < 0 || watch->done_fd < 0) {
        rc = errno;
        bench_watch_end(watch);
        return rmig_err_set(err, -rc, "eventfd: %s", strerror(rc));
    }
    ctl->end_fd = watch->end_fd;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    rc = pthread_create(&watch->thread, NULL, listen_to_peer, watch);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc) {
        bench_watch_end(watch);
        return rmig_err_set(err, -rc, "no thread: %s", strerror(rc));
    }
    watch->running = true;
    return 0;
}

static bool wait_done(struct bench_watch *watch, int timeout_ms)
{
    struct pollfd fd = {.fd = watch->done_fd, .events = POLLIN};
    int n;

    do
        n = poll(&fd, 1, timeout_ms);
    while (n < 0 && errno == EINTR);
    return n > 0 && atomic_load(&watch->done);
}

int bench_watch_wait(struct bench_watch *watch, int timeout_ms, json_t **msg_p,
                     struct rmig_err *err)
{
    if (!wait_done(watch, timeout_ms))
        return rmig_err_set(err, -ETIMEDOUT, "%s: did not say '%s' within %d ms", watch->ctl->peer,
                            watch->op, timeout_ms);
    if (!watch->msg)
        return rmig_err_set(err, watch->err.code, "%s", watch->err.msg);
    *msg_p = watch->msg;
    watch->msg = NULL;
    return 0;
}

/* What an end meets because the other one has failed, or refuses; it explains nothing. */
static bool is_consequence(int code)
{
    return code == -ECANCELED || code == -ECONNRESET || code == -ECONNABORTED ||
           code == -ECONNREFUSED || code == -EREMOTEIO || code == -EPIPE || code == -EIO ||
           code == -ETIMEDOUT;
}

int bench_watch_reason(struct bench_watch *watch, struct rmig_err *err)
{
    if (!is_consequence(err->code) || !watch->running || !wait_done(watch, REASON_MS) ||
        watch->err.code == 0)
        return err->code;
    /* That it was cancelled there is a cause: who only follows repeats what was said to him. */
    if (err->code != -ECANCELED &&
        (watch->aborted || (watch->err.code != -ECANCELED && is_consequence(watch->err.code))))
        return err->code;
    *err = watch->err;
    return err->code;
}

bool bench_watch_knows(struct bench_watch *watch, const struct rmig_err *err)
{
    return watch->running && atomic_load(&watch->done) && watch->peer_gave_up &&
           is_consequence(err->code);
}

void bench_watch_end(struct bench_watch *watch)
{
    if (!watch->ctl)
        return;
    if (watch->running) {
        raise_fd(watch->end_fd);
        pthread_join(watch->thread, NULL);
    }
    watch->ctl->end_fd = -1;
    json_decref(watch->msg);
    if (watch->end_fd >= 0)
        close(watch->end_fd);
    if (watch->done_fd >= 0)
        close(watch->done_fd);
    *watch = (struct bench_watch){.end_fd = -1,
                                  .done_fd = -1,
                                  .peer_gave_up = watch->peer_gave_up,
                                  .aborted = watch->aborted};
}
