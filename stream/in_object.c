/* SPDX-License-Identifier: BSD-3-Clause */
/* in_object.c -- the input stream as an object: made, asked, moved to a position, closed. */
#include "stream/in.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/overflow.h"
#include "stream/mode.h"

int rmig_in_new(struct rmig_channel *ch, struct rmig_in **in_p, struct rmig_err *err)
{
    struct rmig_in *in;

    if (!(ch->flags & RMIG_CHANNEL_READABLE))
        return rmig_err_set(err, -EBADF, "input stream: the %s channel cannot be read",
                            ch->ops->name);
    in = malloc(sizeof(*in));
    if (!in)
        return rmig_err_set(err, -ENOMEM, "input stream: out of memory");
    memset(in, 0, offsetof(struct rmig_in, buf));
    in->pos = in->end = in->buf;
    rmig_sticky_init(&in->error);
    in->ch = ch;
    in->owns_channel = true;
    in->blocking = true;
    *in_p = in;
    return 0;
}

int rmig_in_new_mode(struct rmig_channel *ch, const char *mode, struct rmig_in **in_p,
                     struct rmig_err *err)
{
    int rc = rmig_stream_mode_check(ch, mode, 'r', err);

    return rc < 0 ? rc : rmig_in_new(ch, in_p, err);
}

int rmig_out_return_path(struct rmig_out *out, struct rmig_in **in_p, struct rmig_err *err)
{
    struct rmig_channel *ch = rmig_out_channel(out);
    int rc;

    if (!ch || !(ch->flags & RMIG_CHANNEL_READABLE)) {
        *in_p = NULL;
        return 0;
    }
    rc = rmig_in_new(ch, in_p, err);
    if (rc == 0)
        (*in_p)->owns_channel = false;
    return rc;
}

int rmig_in_close(struct rmig_in *in, struct rmig_err *err)
{
    struct rmig_err close_err = RMIG_ERR_INIT;
    int rc, close_rc = 0;

    if (!in)
        return 0;
    if (in->guard_release)
        in->guard_release(in->guard);
    if (in->owns_channel)
        close_rc = rmig_channel_close(in->ch, &close_err);
    rc = rmig_sticky_close(&in->error, close_rc, &close_err, err);
    rmig_sticky_release(&in->error);
    free(in);
    return rc;
}

int rmig_in_error(const struct rmig_in *in, struct rmig_err *err)
{
    return rmig_sticky_get(&in->error, err);
}

int rmig_any_error(const struct rmig_out *out, const struct rmig_in *in, struct rmig_err *err)
{
    int rc = out ? rmig_out_error(out, err) : 0;

    return rc == 0 && in ? rmig_in_error(in, err) : rc;
}

int rmig_any_error_in_first(const struct rmig_in *in, const struct rmig_out *out,
                            struct rmig_err *err)
{
    int rc = in ? rmig_in_error(in, err) : 0;

    return rc == 0 && out ? rmig_out_error(out, err) : rc;
}

void rmig_in_set_error(struct rmig_in *in, int code, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    rmig_sticky_vset(&in->error, "input stream", code, fmt, ap);
    va_end(ap);
}

int rmig_in_shutdown(struct rmig_in *in, struct rmig_err *err)
{
    rmig_sticky_set(&in->error, "input stream", -EIO, "input stream: shut down");
    return rmig_stream_shut(in->ch, err);
}

struct rmig_channel *rmig_in_channel(const struct rmig_in *in)
{
    return in->ch;
}

bool rmig_in_is_writable(const struct rmig_in *in)
{
    (void)in;
    return false;
}

bool rmig_in_is_seekable(const struct rmig_in *in)
{
    return in->ch->flags & RMIG_CHANNEL_SEEKABLE;
}

int rmig_in_fd(const struct rmig_in *in)
{
    return rmig_channel_fd(in->ch);
}

int rmig_in_set_blocking(struct rmig_in *in, bool blocking, struct rmig_err *err)
{
    int rc = rmig_stream_set_blocking(in->ch, blocking, err);

    if (rc == 0)
        in->blocking = blocking;
    return rc;
}

/* Fails the stream if its channel has no positions. Returns its error. */
static int need_positions(struct rmig_in *in, const char *what)
{
    if (!rmig_in_is_seekable(in))
        rmig_in_set_error(in, -ENOTSUP, "input stream: %s: the %s channel has no positions", what,
                          in->ch->ops->name);
    return rmig_sticky_code(&in->error);
}

int rmig_in_get_buffer_at(struct rmig_in *in, void *buf, size_t len_bytes, uint64_t offset_bytes)
{
    struct rmig_err err = RMIG_ERR_INIT;
    int rc = need_positions(in, "get at an offset");
    size_t done = 0;

    while (rc == 0 && done < len_bytes) {
        size_t piece = rmig_min_u64(len_bytes - done, RMIG_STREAM_POSITIONED_MAX);
        ssize_t n = in->ch->ops->pread(in->ch, (char *)buf + done, piece, offset_bytes + done, &err);

        if (n < 0)
            return rmig_stream_in_fail(in, (int)n, &err);
        in->received_bytes += (uint64_t)n;
        done += (size_t)n;
        if ((size_t)n == piece)
            continue;
        rmig_in_set_error(in, -EIO, "%s: partial read at offset %llu: %zu of %zu bytes",
                          in->ch->ops->name, (unsigned long long)offset_bytes, done, len_bytes);
        return rmig_sticky_code(&in->error);
    }
    return rc < 0 ? rc : rmig_sticky_code(&in->error); /* another thread may have shut it down */
}

int64_t rmig_in_seek(struct rmig_in *in, int64_t offset_bytes, int whence)
{
    struct rmig_err err = RMIG_ERR_INIT;
    int rc = need_positions(in, "seek");
    int64_t at;

    if (rc < 0)
        return rc;
    /* The channel is ahead of the reader by what is buffered. */
    if (whence == SEEK_CUR &&
        __builtin_sub_overflow(offset_bytes, (int64_t)(in->end - in->pos), &offset_bytes)) {
        rmig_in_set_error(in, -EINVAL, "input stream: seek: the offset overflows");
        return rmig_sticky_code(&in->error);
    }
    in->pos = in->end = in->buf;
    at = in->ch->ops->seek(in->ch, offset_bytes, whence, &err);
    return at < 0 ? rmig_stream_in_fail(in, (int)at, &err) : at;
}

int64_t rmig_in_tell(struct rmig_in *in)
{
    struct rmig_err err = RMIG_ERR_INIT;
    int rc = need_positions(in, "tell");
    int64_t at;

    if (rc < 0)
        return rc;
    at = in->ch->ops->seek(in->ch, 0, SEEK_CUR, &err);
    return at < 0 ? rmig_stream_in_fail(in, (int)at, &err) : at - (in->end - in->pos);
}

struct rmig_guard *rmig_stream_in_guard(const struct rmig_in *in)
{
    return in->guard;
}

void rmig_stream_in_set_guard(struct rmig_in *in, struct rmig_guard *guard,
                              rmig_guard_release_fn release)
{
    in->guard = guard;
    in->guard_release = release;
}
