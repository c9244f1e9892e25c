/* SPDX-License-Identifier: BSD-3-Clause */
/* compress.c -- blocks as a length word and a deflate stream, written straight into the buffer. */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <zlib.h>

#include "common/bytes.h"
#include "common/overflow.h"
#include "stream/in.h"
#include "stream/out.h"

#define LENGTH_BYTES 4u

/* Room for the length word and bound_bytes; a stream that leads somewhere makes it by flushing. */
static ssize_t need_room(struct rmig_out *out, size_t bound_bytes)
{
    size_t need = LENGTH_BYTES + bound_bytes;
    int rc = rmig_sticky_code(&out->error);

    if (rc == 0 && need > rmig_stream_out_room(out) && need <= RMIG_STREAM_BUFFER_BYTES)
        rc = rmig_out_flush(out);
    if (rc < 0)
        return rc;
    return need > rmig_stream_out_room(out) ? RMIG_OUT_NO_ROOM : 0;
}

/* The deflate stream is in its place: write the length before it and account for both. */
static ssize_t commit(struct rmig_out *out, size_t deflated_bytes)
{
    rmig_store_be32(out->pos, (uint32_t)deflated_bytes);
    rmig_stream_out_advance(out, LENGTH_BYTES + deflated_bytes);
    return (ssize_t)(LENGTH_BYTES + deflated_bytes);
}

ssize_t rmig_out_put_compressed(struct rmig_out *out, struct z_stream_s *zs, const void *buf,
                                size_t len_bytes)
{
    ssize_t rc;
    size_t room;

    if (len_bytes > INT_MAX || deflateReset(zs) != Z_OK)
        return -EINVAL;
    rc = need_room(out, deflateBound(zs, len_bytes));
    if (rc < 0)
        return rc;
    room = rmig_stream_out_room(out) - LENGTH_BYTES;
    zs->next_in = (Bytef *)buf;
    zs->avail_in = (uInt)len_bytes;
    zs->next_out = out->pos + LENGTH_BYTES;
    zs->avail_out = (uInt)room;
    /* A reader bounds the length by compressBound; odd settings of zs can go beyond that. */
    if (deflate(zs, Z_FINISH) != Z_STREAM_END || room - zs->avail_out > compressBound(len_bytes))
        return -EINVAL;
    return commit(out, room - zs->avail_out);
}

ssize_t rmig_out_put_compressed_level(struct rmig_out *out, int level, const void *buf,
                                      size_t len_bytes)
{
    uLongf deflated;
    ssize_t rc;
    int zrc;

    if (len_bytes > INT_MAX || level < Z_DEFAULT_COMPRESSION || level > Z_BEST_COMPRESSION)
        return -EINVAL;
    rc = need_room(out, compressBound(len_bytes));
    if (rc < 0)
        return rc;
    deflated = rmig_stream_out_room(out) - LENGTH_BYTES;
    zrc = compress2(out->pos + LENGTH_BYTES, &deflated, buf, len_bytes, level);
    if (zrc != Z_OK)
        return zrc == Z_MEM_ERROR ? -ENOMEM : -EINVAL;
    return commit(out, deflated);
}

static ssize_t corrupt(struct rmig_in *in, const char *what)
{
    rmig_in_set_error(in, -EPROTO, "input stream: compressed block: %s", what);
    return rmig_sticky_code(&in->error);
}

/* Inflates deflated_bytes of the stream as they come. Returns the bytes made, or the error. */
static ssize_t inflate_from(struct rmig_in *in, z_stream *zs, size_t deflated_bytes, void *buf,
                            size_t len_bytes)
{
    uint8_t none; /* zlib refuses a place that is NULL, even for nothing */
    int zrc = Z_OK;

    zs->next_out = len_bytes ? buf : &none;
    zs->avail_out = (uInt)len_bytes;
    while (deflated_bytes && zrc == Z_OK) {
        size_t n = rmig_min_u64(deflated_bytes, RMIG_STREAM_BUFFER_BYTES);
        int rc = rmig_stream_in_gather(in, n);

        if (rc < 0)
            return rc;
        zs->next_in = in->pos;
        zs->avail_in = (uInt)n;
        zrc = inflate(zs, n == deflated_bytes ? Z_FINISH : Z_NO_FLUSH);
        if (zrc == Z_MEM_ERROR) {
            rmig_in_set_error(in, -ENOMEM, "input stream: compressed block: out of memory");
            return rmig_sticky_code(&in->error);
        }
        if (zs->avail_in && zrc == Z_STREAM_END)
            return corrupt(in, "bytes are left behind its end");
        in->pos += n;
        deflated_bytes -= n;
    }
    if (zrc == Z_BUF_ERROR && zs->avail_out == 0)
        return corrupt(in, "it is longer than the room for it");
    if (zrc != Z_STREAM_END || deflated_bytes)
        return corrupt(in, zs->msg ? zs->msg : "it is cut short or not a deflate stream");
    return (ssize_t)(len_bytes - zs->avail_out);
}

ssize_t rmig_in_get_compressed(struct rmig_in *in, struct z_stream_s *zs, void *buf,
                               size_t len_bytes)
{
    z_stream own;
    uint32_t deflated;
    ssize_t n;
    int rc;

    if (!in->blocking)
        return -ENOTSUP;
    if (len_bytes > INT_MAX || (zs && inflateReset(zs) != Z_OK))
        return -EINVAL;
    rc = rmig_in_get_be32(in, &deflated);
    if (rc < 0)
        return rc;
    if (deflated > compressBound(len_bytes)) {
        rmig_in_set_error(
            in, -EPROTO,
            "input stream: compressed block of %u bytes: a block of %zu has at most %lu", deflated,
            len_bytes, compressBound(len_bytes));
        return rmig_sticky_code(&in->error);
    }
    if (zs)
        return inflate_from(in, zs, deflated, buf, len_bytes);
    memset(&own, 0, sizeof(own));
    if (inflateInit(&own) != Z_OK) {
        rmig_in_set_error(in, -ENOMEM, "input stream: compressed block: out of memory");
        return rmig_sticky_code(&in->error);
    }
    n = inflate_from(in, &own, deflated, buf, len_bytes);
    inflateEnd(&own);
    return n;
}
