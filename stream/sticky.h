/* SPDX-License-Identifier: BSD-3-Clause */
/* sticky.h -- the error of a stream: the first one stays, from whichever thread it comes. */
#ifndef STREAM_STICKY_H
#define STREAM_STICKY_H

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <rmig/error.h>

struct rmig_sticky {
    atomic_int code; /* 0, then the first error's negative errno for good; set after the message */
    pthread_mutex_t lock;         /* guards the message until code is set */
    char msg[RMIG_ERR_MSG_BYTES]; /* "" = none was given */
};

void rmig_sticky_init(struct rmig_sticky *sticky);
void rmig_sticky_release(struct rmig_sticky *sticky);

/** The code; cheap. Any thread. */
static inline int rmig_sticky_code(const struct rmig_sticky *sticky)
{
    return atomic_load_explicit(&sticky->code, memory_order_acquire);
}

/**
 * Record an error; after the first the message is logged under the name instead. A code that is not
 * negative becomes -EIO; msg and fmt may be NULL. Any thread. Returns: the code that sticks.
 */
int rmig_sticky_set(struct rmig_sticky *sticky, const char *name, int code, const char *msg);
int rmig_sticky_vset(struct rmig_sticky *sticky, const char *name, int code, const char *fmt,
                     va_list ap) __attribute__((format(printf, 4, 0)));

/** Copy code and message (a default one that names the errno) to err. Returns: the code or 0. */
int rmig_sticky_get(const struct rmig_sticky *sticky, struct rmig_err *err);

/**
 * The error of a stream whose channel answered close_rc to being closed: its own comes first, and
 * what the channel says follows it, which may be the cause: how a child ended, say.
 * Returns: either's code, the stream's first; 0.
 */
int rmig_sticky_close(struct rmig_sticky *sticky, int close_rc, const struct rmig_err *close_err,
                      struct rmig_err *err);

#endif
