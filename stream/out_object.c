/* SPDX-License-Identifier: BSD-3-Clause */
/* out_object.c -- the output stream as an object: made, asked, moved to a position, closed. */
#include "stream/out.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/overflow.h"
#include "stream/endpoint.h"
#include "stream/mode.h"

static struct rmig_out *allocate(struct rmig_err *err)
{
    /* Not calloc: 32 KiB of buffer need no zeroes. */
    struct rmig_out *out = malloc(sizeof(*out));

    if (!out) {
        rmig_err_set(err, -ENOMEM, "output stream: out of memory");
        return NULL;
    }
    memset(out, 0, offsetof(struct rmig_out, buf));
    out->pos = out->mark = out->buf;
    out->end = out->buf + sizeof(out->buf);
    rmig_sticky_init(&out->error);
    return out;
}

int rmig_out_new(struct rmig_channel *ch, struct rmig_out **out_p, struct rmig_err *err)
{
    struct rmig_out *out;

    if (!(ch->flags & RMIG_CHANNEL_WRITABLE))
        return rmig_err_set(err, -EBADF, "output stream: the %s channel cannot be written",
                            ch->ops->name);
    out = allocate(err);
    if (!out)
        return -ENOMEM;
    out->ch = ch;
    out->owns_channel = true;
    *out_p = out;
    return 0;
}

int rmig_out_new_mode(struct rmig_channel *ch, const char *mode, struct rmig_out **out_p,
                      struct rmig_err *err)
{
    int rc = rmig_stream_mode_check(ch, mode, 'w', err);

    return rc < 0 ? rc : rmig_out_new(ch, out_p, err);
}

int rmig_out_new_private(struct rmig_out **out_p, struct rmig_err *err)
{
    struct rmig_out *out = allocate(err);

    if (!out)
        return -ENOMEM;
    *out_p = out;
    return 0;
}

int rmig_in_return_path(struct rmig_in *in, struct rmig_out **out_p, struct rmig_err *err)
{
    struct rmig_channel *ch = rmig_in_channel(in);
    int rc;

    if (!(ch->flags & RMIG_CHANNEL_WRITABLE)) {
        *out_p = NULL;
        return 0;
    }
    rc = rmig_out_new(ch, out_p, err);
    if (rc == 0)
        (*out_p)->owns_channel = false;
    return rc;
}

int rmig_out_close(struct rmig_out *out, struct rmig_err *err)
{
    struct rmig_err close_err = RMIG_ERR_INIT;
    int rc, close_rc = 0;

    if (!out)
        return 0;
    rmig_out_flush(out);
    if (out->guard_release)
        out->guard_release(out->guard);
    if (out->owns_channel)
        close_rc = rmig_channel_close(out->ch, &close_err);
    rc = rmig_sticky_close(&out->error, close_rc, &close_err, err);
    rmig_sticky_release(&out->error);
    free(out);
    return rc;
}

int rmig_out_error(const struct rmig_out *out, struct rmig_err *err)
{
    return rmig_sticky_get(&out->error, err);
}

void rmig_out_set_error(struct rmig_out *out, int code, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    rmig_sticky_vset(&out->error, "output stream", code, fmt, ap);
    va_end(ap);
}

int rmig_out_shutdown(struct rmig_out *out, struct rmig_err *err)
{
    rmig_sticky_set(&out->error, "output stream", -EIO, "output stream: shut down");
    return rmig_stream_shut(out->ch, err);
}

struct rmig_channel *rmig_out_channel(const struct rmig_out *out)
{
    return out->ch;
}

bool rmig_out_is_writable(const struct rmig_out *out)
{
    return out->ch != NULL;
}

bool rmig_out_is_seekable(const struct rmig_out *out)
{
    return out->ch && (out->ch->flags & RMIG_CHANNEL_SEEKABLE);
}

int rmig_out_fd(const struct rmig_out *out)
{
    return out->ch ? rmig_channel_fd(out->ch) : -1;
}

int rmig_out_set_blocking(struct rmig_out *out, bool blocking, struct rmig_err *err)
{
    return rmig_stream_set_blocking(out->ch, blocking, err);
}

/* Fails the stream if its channel has no positions, or it is private. Returns its error. */
static int need_positions(struct rmig_out *out, const char *what)
{
    if (!rmig_out_is_seekable(out))
        rmig_out_set_error(out, -ENOTSUP, "output stream: %s: the %s channel has no positions",
                           what, out->ch ? out->ch->ops->name : "private");
    return rmig_out_flush(out);
}

int rmig_out_put_buffer_at(struct rmig_out *out, const void *buf, size_t len_bytes,
                           uint64_t offset_bytes)
{
    struct rmig_err err = RMIG_ERR_INIT;
    int rc = need_positions(out, "put at an offset");
    size_t done = 0;

    while (rc == 0 && done < len_bytes) {
        size_t piece = rmig_min_u64(len_bytes - done, RMIG_STREAM_POSITIONED_MAX);
        ssize_t n = out->ch->ops->pwrite(out->ch, (const char *)buf + done, piece,
                                         offset_bytes + done, &err);

        if (n < 0)
            return rmig_stream_out_fail(out, (int)n, &err);
        out->listed_bytes += (uint64_t)n;
        out->written_bytes += (uint64_t)n;
        done += (size_t)n;
        if ((size_t)n == piece)
            continue;
        rmig_out_set_error(out, -EIO, "%s: partial write at offset %llu: %zu of %zu bytes",
                           out->ch->ops->name, (unsigned long long)offset_bytes, done, len_bytes);
        return rmig_sticky_code(&out->error);
    }
    return rc < 0 ? rc : rmig_sticky_code(&out->error); /* another thread may have shut it down */
}

int64_t rmig_out_seek(struct rmig_out *out, int64_t offset_bytes, int whence)
{
    struct rmig_err err = RMIG_ERR_INIT;
    int rc = need_positions(out, "seek");
    int64_t at;

    if (rc < 0)
        return rc;
    at = out->ch->ops->seek(out->ch, offset_bytes, whence, &err);
    return at < 0 ? rmig_stream_out_fail(out, (int)at, &err) : at;
}

int64_t rmig_out_tell(struct rmig_out *out)
{
    return rmig_out_seek(out, 0, SEEK_CUR);
}

struct rmig_buffer *rmig_out_buffer(struct rmig_out *out)
{
    if (!out->ch || rmig_out_flush(out) < 0)
        return NULL;
    return rmig_endpoint_buffer(out->ch);
}

struct rmig_guard *rmig_stream_out_guard(const struct rmig_out *out)
{
    return out->guard;
}

void rmig_stream_out_set_guard(struct rmig_out *out, struct rmig_guard *guard,
                               rmig_guard_release_fn release)
{
    out->guard = guard;
    out->guard_release = release;
}
