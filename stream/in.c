/* SPDX-License-Identifier: BSD-3-Clause */
/* in.c -- the input stream: fills its buffer, hands out bytes, and never an error for data. */
#include "stream/in.h"

#include <errno.h>
#include <string.h>

#include "common/bytes.h"
#include "common/overflow.h"

/* From here on, what a get lacks is read into the caller's memory, the buffer taking the rest. */
#define DIRECT_BYTES 1024u

int rmig_stream_in_fail(struct rmig_in *in, int code, const struct rmig_err *err)
{
    return rmig_sticky_set(&in->error, "input stream", code, err && err->code ? err->msg : NULL);
}

static size_t buffered(const struct rmig_in *in)
{
    return (size_t)(in->end - in->pos);
}

/* Reads 1 byte or more. -EAGAIN does not stick; all else does, the end of the stream as -EIO. */
static ssize_t read_some(struct rmig_in *in, const struct iovec *iov, int niov)
{
    for (;;) {
        struct rmig_err err = RMIG_ERR_INIT;
        int rc = rmig_sticky_code(&in->error);
        ssize_t n;

        if (rc < 0)
            return rc;
        n = in->ch->ops->readv(in->ch, iov, niov, &err);
        /* Shut down meanwhile: what came may be cut short. */
        rc = rmig_sticky_code(&in->error);
        if (rc < 0)
            return rc;
        if (n > 0) {
            in->received_bytes += (uint64_t)n;
            return n;
        }
        if (n == 0) {
            in->ended = true;
            rmig_in_set_error(in, -EIO, "input stream: %.120s ended after %llu bytes",
                              in->ch->label ? in->ch->label : in->ch->ops->name,
                              (unsigned long long)in->received_bytes);
            return rmig_sticky_code(&in->error);
        }
        if (n == -EINTR)
            continue;
        if (n != -EAGAIN)
            return rmig_stream_in_fail(in, (int)n, &err);
        if (!in->blocking)
            return -EAGAIN;
        rc = rmig_channel_wait(in->ch, RMIG_SHUT_READ, &err);
        if (rc < 0)
            return rmig_stream_in_fail(in, rc, &err);
    }
}

/* One read into the buffer, behind what is pending. Requires: fewer bytes than it holds are. */
static int fill(struct rmig_in *in)
{
    size_t pending = buffered(in);
    struct iovec iov;
    ssize_t n;

    if (in->pos != in->buf)
        memmove(in->buf, in->pos, pending);
    in->pos = in->buf;
    in->end = in->buf + pending;
    iov.iov_base = in->end;
    iov.iov_len = sizeof(in->buf) - pending;
    n = read_some(in, &iov, 1);
    if (n < 0)
        return (int)n;
    in->end += n;
    return 0;
}

int rmig_stream_in_gather(struct rmig_in *in, size_t len_bytes)
{
    int rc = rmig_sticky_code(&in->error);

    while (rc == 0 && buffered(in) < len_bytes)
        rc = fill(in);
    return rc;
}

/* Reads what a large get lacks into the caller's memory, and ahead into the empty buffer. */
static ssize_t read_direct(struct rmig_in *in, uint8_t *dst, size_t len_bytes)
{
    const struct iovec iov[2] = {
        {.iov_base = dst, .iov_len = len_bytes},
        {.iov_base = in->buf, .iov_len = sizeof(in->buf)},
    };
    ssize_t n;

    in->pos = in->end = in->buf;
    n = read_some(in, iov, 2);
    if (n <= 0 || (size_t)n <= len_bytes)
        return n;
    in->end = in->buf + ((size_t)n - len_bytes);
    return (ssize_t)len_bytes;
}

/* A get that could not be given back must not begin on a stream that does not wait. */
static bool too_large_unless_blocking(const struct rmig_in *in, size_t len_bytes)
{
    return !in->blocking && len_bytes > sizeof(in->buf);
}

int rmig_in_get_buffer(struct rmig_in *in, void *buf, size_t len_bytes)
{
    uint8_t *dst = buf;
    int rc = rmig_sticky_code(&in->error);

    if (rc == 0 && !in->blocking)
        rc = too_large_unless_blocking(in, len_bytes) ? -EINVAL
                                                      : rmig_stream_in_gather(in, len_bytes);
    if (rc < 0)
        return rc;
    for (;;) {
        size_t n = rmig_min_u64(len_bytes, buffered(in));
        ssize_t got = 0;

        if (n)
            memcpy(dst, in->pos, n);
        in->pos += n;
        dst += n;
        len_bytes -= n;
        if (len_bytes == 0)
            return 0;
        if (len_bytes >= DIRECT_BYTES)
            got = read_direct(in, dst, len_bytes);
        else
            rc = fill(in);
        if (rc < 0 || got < 0)
            return rc < 0 ? rc : (int)got;
        dst += got;
        len_bytes -= (size_t)got;
    }
}

int rmig_in_get_in_place(struct rmig_in *in, void *fallback, size_t len_bytes,
                         const uint8_t **buf_p)
{
    int rc;

    if (len_bytes > sizeof(in->buf)) {
        rc = rmig_in_get_buffer(in, fallback, len_bytes);
        if (rc == 0)
            *buf_p = fallback;
        return rc;
    }
    rc = rmig_stream_in_gather(in, len_bytes);
    if (rc < 0)
        return rc;
    *buf_p = in->pos;
    in->pos += len_bytes;
    return 0;
}

/* Numbers: the quick way is a load; what is not buffered yet, and a failed stream, take the other one. */
static inline bool quick(const struct rmig_in *in, size_t len_bytes)
{
    return __builtin_expect(buffered(in) >= len_bytes && rmig_sticky_code(&in->error) == 0, 1);
}

/* A big-endian number of 1 to 8 bytes, of which the buffer lacks some. */
static __attribute__((noinline)) int get_slowly(struct rmig_in *in, void *v_p, size_t len_bytes)
{
    int rc = rmig_stream_in_gather(in, len_bytes);

    if (rc < 0)
        return rc;
    switch (len_bytes) {
    case 1:
        *(uint8_t *)v_p = *in->pos;
        break;
    case 2:
        *(uint16_t *)v_p = rmig_load_be16(in->pos);
        break;
    case 4:
        *(uint32_t *)v_p = rmig_load_be32(in->pos);
        break;
    default:
        *(uint64_t *)v_p = rmig_load_be64(in->pos);
    }
    in->pos += len_bytes;
    return 0;
}

int rmig_in_get_u8(struct rmig_in *in, uint8_t *v_p)
{
    if (!quick(in, sizeof(*v_p)))
        return get_slowly(in, v_p, sizeof(*v_p));
    *v_p = *in->pos++;
    return 0;
}

int rmig_in_get_be16(struct rmig_in *in, uint16_t *v_p)
{
    if (!quick(in, sizeof(*v_p)))
        return get_slowly(in, v_p, sizeof(*v_p));
    *v_p = rmig_load_be16(in->pos);
    in->pos += sizeof(*v_p);
    return 0;
}

int rmig_in_get_be32(struct rmig_in *in, uint32_t *v_p)
{
    if (!quick(in, sizeof(*v_p)))
        return get_slowly(in, v_p, sizeof(*v_p));
    *v_p = rmig_load_be32(in->pos);
    in->pos += sizeof(*v_p);
    return 0;
}

int rmig_in_get_be64(struct rmig_in *in, uint64_t *v_p)
{
    if (!quick(in, sizeof(*v_p)))
        return get_slowly(in, v_p, sizeof(*v_p));
    *v_p = rmig_load_be64(in->pos);
    in->pos += sizeof(*v_p);
    return 0;
}

int rmig_in_get_counted_string(struct rmig_in *in, char str[256])
{
    bool begun = false;
    uint8_t len = 0;
    int rc = rmig_stream_in_gather(in, 1);

    if (rc == 0) {
        len = *in->pos;
        begun = true;
        rc = rmig_stream_in_gather(in, 1u + len);
    }
    if (rc == -EAGAIN || (rc < 0 && !begun))
        return rc;
    if (rc < 0) {
        str[0] = '\0';
        return 0;
    }
    memcpy(str, in->pos + 1, len);
    str[len] = '\0';
    in->pos += 1u + len;
    return len;
}

ssize_t rmig_in_peek(struct rmig_in *in, const uint8_t **buf_p, size_t len_bytes,
                     size_t offset_bytes)
{
    size_t got;
    int rc = rmig_sticky_code(&in->error);

    if (rc < 0)
        return rc;
    if (!rmig_range_within(offset_bytes, len_bytes, sizeof(in->buf)))
        return -EINVAL;
    rc = rmig_stream_in_gather(in, offset_bytes + len_bytes);
    got = buffered(in) > offset_bytes ? buffered(in) - offset_bytes : 0;
    /* Of a failure, the plain end of the stream alone leaves data that is good. */
    if (rc < 0 && (got == 0 || !(rc == -EAGAIN || in->ended)))
        return rc;
    *buf_p = in->pos + offset_bytes;
    return (ssize_t)rmig_min_u64(got, len_bytes);
}

int rmig_in_peek_u8(struct rmig_in *in, size_t offset_bytes, uint8_t *v_p)
{
    const uint8_t *p;
    ssize_t n = rmig_in_peek(in, &p, 1, offset_bytes);

    if (n < 0)
        return (int)n;
    *v_p = *p;
    return 0;
}

int rmig_in_skip(struct rmig_in *in, size_t len_bytes)
{
    int rc = rmig_sticky_code(&in->error);

    if (rc == 0 && !in->blocking)
        rc = too_large_unless_blocking(in, len_bytes) ? -EINVAL
                                                      : rmig_stream_in_gather(in, len_bytes);
    while (rc == 0) {
        size_t n = rmig_min_u64(len_bytes, buffered(in));

        in->pos += n;
        len_bytes -= n;
        if (len_bytes == 0)
            return 0;
        rc = fill(in);
    }
    return rc;
}

size_t rmig_in_buffered_bytes(const struct rmig_in *in)
{
    return buffered(in);
}

uint64_t rmig_in_received_bytes(const struct rmig_in *in)
{
    return in->received_bytes;
}
