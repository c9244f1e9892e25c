/* SPDX-License-Identifier: BSD-3-Clause */
/* mode.c -- mode strings, blocking mode and shut-down: what both directions of stream share. */
#include "stream/mode.h"

#include <errno.h>
#include <string.h>

#include "stream/endpoint.h"

int rmig_stream_mode_check(const struct rmig_channel *ch, const char *mode, char direction,
                           struct rmig_err *err)
{
    const char want[] = {direction, rmig_endpoint_buffer(ch) ? '\0' : 'b', '\0'};

    if (!mode || strcmp(mode, want) != 0)
        return rmig_err_set(err, -EINVAL,
                            "stream mode \"%.16s\": over a %s channel this direction is \"%s\"",
                            mode ? mode : "(null)", ch->ops->name, want);
    return 0;
}

int rmig_stream_shut(struct rmig_channel *ch, struct rmig_err *err)
{
    struct rmig_err cause = RMIG_ERR_INIT;
    int rc;

    if (!ch)
        return rmig_err_set(err, -ENOSYS, "stream: shut down: there is no channel");
    rc = rmig_channel_shutdown(ch, RMIG_SHUT_BOTH, &cause);
    if (rc >= 0)
        return 0;
    if (rc != -ENOSYS)
        rc = -EIO;
    return rmig_err_set(err, rc, "stream: shut down: %s", cause.code ? cause.msg : strerror(-rc));
}

int rmig_stream_set_blocking(struct rmig_channel *ch, bool blocking, struct rmig_err *err)
{
    if (!ch || !ch->ops->set_blocking)
        return rmig_err_set(err, -ENOTSUP, "stream: a %s channel has one blocking mode only",
                            ch ? ch->ops->name : "private");
    return ch->ops->set_blocking(ch, blocking, err);
}
