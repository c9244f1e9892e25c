/* SPDX-License-Identifier: BSD-3-Clause */
/* sticky.c -- keeps a stream's first error; logs the later ones. */
#include "stream/sticky.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"

void rmig_sticky_init(struct rmig_sticky *sticky)
{
    atomic_init(&sticky->code, 0);
    pthread_mutex_init(&sticky->lock, NULL);
    sticky->msg[0] = '\0';
}

void rmig_sticky_release(struct rmig_sticky *sticky)
{
    pthread_mutex_destroy(&sticky->lock);
}

int rmig_sticky_set(struct rmig_sticky *sticky, const char *name, int code, const char *msg)
{
    int first;

    if (code >= 0)
        code = -EIO;
    pthread_mutex_lock(&sticky->lock);
    first = atomic_load(&sticky->code);
    if (first == 0) {
        snprintf(sticky->msg, sizeof(sticky->msg), "%s", msg ? msg : "");
        atomic_store_explicit(&sticky->code, code, memory_order_release);
    }
    pthread_mutex_unlock(&sticky->lock);
    if (first == 0)
        return code;
    rmig_log(RMIG_LOG_WARNING, "%s: a further error: %s", name, msg ? msg : strerror(-code));
    return first;
}

int rmig_sticky_vset(struct rmig_sticky *sticky, const char *name, int code, const char *fmt,
                     va_list ap)
{
    char msg[RMIG_ERR_MSG_BYTES];

    if (!fmt)
        return rmig_sticky_set(sticky, name, code, NULL);
    vsnprintf(msg, sizeof(msg), fmt, ap);
    return rmig_sticky_set(sticky, name, code, msg);
}

int rmig_sticky_get(const struct rmig_sticky *sticky, struct rmig_err *err)
{
    int code = rmig_sticky_code(sticky);

    /* The message was written before the code, and is never written again. */
    if (code < 0 && sticky->msg[0])
        rmig_err_set(err, code, "%s", sticky->msg);
    else if (code < 0)
        rmig_err_set(err, code, "stream: error %d: %s", -code, strerror(-code));
    return code;
}

int rmig_sticky_close(struct rmig_sticky *sticky, int close_rc, const struct rmig_err *close_err,
                      struct rmig_err *err)
{
    const char *close_msg = close_err->code ? close_err->msg : strerror(-close_rc);
    struct rmig_err first = RMIG_ERR_INIT;
    int rc = rmig_sticky_get(sticky, &first);

    if (rc < 0 && close_rc < 0)
        rmig_err_set(err, rc, "%s; %s", first.msg, close_msg);
    else if (rc < 0)
        rmig_err_set(err, rc, "%s", first.msg);
    else if (close_rc < 0)
        rmig_err_set(err, close_rc, "%s", close_msg);
    return rc < 0 ? rc : close_rc;
}
