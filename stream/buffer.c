/* SPDX-License-Identifier: BSD-3-Clause */
/* buffer.c -- a growable scatter buffer: chunks that never move. */
#include <rmig/buffer.h>

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "common/overflow.h"

/* A chunk: bytes [start_bytes, start_bytes + len_bytes) of the buffer. */
struct chunk {
    uint8_t *data;
    size_t start_bytes;
    size_t len_bytes;
};

struct rmig_buffer {
    struct chunk *chunks;
    size_t nchunks;
    size_t max_chunks; /* entries that the array has room for */
    size_t capacity_bytes;
    size_t length_bytes;
};

/* The chunk that holds a position. Requires: position < capacity. */
static size_t chunk_at(const struct rmig_buffer *buf, size_t position_bytes)
{
    size_t low = 0, high = buf->nchunks - 1;

    while (low < high) {
        size_t mid = low + (high - low + 1) / 2;

        if (buf->chunks[mid].start_bytes <= position_bytes)
            low = mid;
        else
            high = mid - 1;
    }
    return low;
}

/* Makes room in the chunk array, which may move: the chunks themselves do not. */
static int reserve_chunks(struct rmig_buffer *buf, size_t nmore)
{
    size_t want = buf->nchunks + nmore, max = buf->max_chunks ? buf->max_chunks : 8;
    struct chunk *moved;

    if (want <= buf->max_chunks)
        return 0;
    while (max < want)
        max *= 2;
    if (max > SIZE_MAX / sizeof(*moved))
        return -ENOMEM;
    moved = realloc(buf->chunks, max * sizeof(*moved));
    if (!moved)
        return -ENOMEM;
    buf->chunks = moved;
    buf->max_chunks = max;
    return 0;
}

/* Gives the buffer room for capacity_bytes, all of it or none. New chunks are zero. */
static int grow(struct rmig_buffer *buf, size_t capacity_bytes)
{
    size_t chunk_bytes = capacity_bytes > RMIG_BUFFER_CHUNK_MAX_BYTES ? RMIG_BUFFER_CHUNK_MAX_BYTES
                                                                      : RMIG_BUFFER_CHUNK_BYTES;
    size_t old_nchunks = buf->nchunks, old_capacity = buf->capacity_bytes;
    size_t nmore;
    int rc;

    if (capacity_bytes <= buf->capacity_bytes)
        return 0;
    nmore = rmig_div_round_up_u64(capacity_bytes - buf->capacity_bytes, chunk_bytes);
    rc = reserve_chunks(buf, nmore);
    if (rc < 0)
        return rc;
    for (; nmore; nmore--) {
        uint8_t *data = calloc(1, chunk_bytes);

        if (!data)
            goto err_chunks;
        buf->chunks[buf->nchunks++] = (struct chunk){data, buf->capacity_bytes, chunk_bytes};
        buf->capacity_bytes += chunk_bytes;
    }
    return 0;

err_chunks:
    while (buf->nchunks > old_nchunks)
        free(buf->chunks[--buf->nchunks].data);
    buf->capacity_bytes = old_capacity;
    return -ENOMEM;
}

int rmig_buffer_new(size_t capacity_bytes, struct rmig_buffer **buf_p, struct rmig_err *err)
{
    struct rmig_buffer *buf = calloc(1, sizeof(*buf));

    if (!buf)
        return rmig_err_set(err, -ENOMEM, "buffer: out of memory");
    if (capacity_bytes > SSIZE_MAX || grow(buf, capacity_bytes ? capacity_bytes : 1) < 0) {
        rmig_buffer_free(buf);
        return rmig_err_set(err, -ENOMEM, "buffer: out of memory for %zu bytes", capacity_bytes);
    }
    *buf_p = buf;
    return 0;
}

int rmig_buffer_new_from(const void *bytes, size_t len_bytes, struct rmig_buffer **buf_p,
                         struct rmig_err *err)
{
    struct rmig_buffer *buf;
    int rc = rmig_buffer_new(len_bytes, &buf, err);
    ssize_t n;

    if (rc < 0)
        return rc;
    n = rmig_buffer_write(buf, 0, bytes, len_bytes);
    if (n < 0) {
        rmig_buffer_free(buf);
        return rmig_err_set(err, (int)n, "buffer: %s", strerror((int)-n));
    }
    *buf_p = buf;
    return 0;
}

int rmig_buffer_clone(const struct rmig_buffer *buf, struct rmig_buffer **clone_p,
                      struct rmig_err *err)
{
    struct rmig_buffer *clone;
    int rc = rmig_buffer_new(buf->length_bytes, &clone, err);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < buf->nchunks && buf->chunks[i].start_bytes < buf->length_bytes; i++) {
        const struct chunk *c = &buf->chunks[i];
        size_t len = rmig_min_u64(c->len_bytes, buf->length_bytes - c->start_bytes);
        ssize_t n = rmig_buffer_write(clone, c->start_bytes, c->data, len);

        if (n < 0) {
            rmig_buffer_free(clone);
            return rmig_err_set(err, (int)n, "buffer: clone: %s", strerror((int)-n));
        }
    }
    *clone_p = clone;
    return 0;
}

void rmig_buffer_free(struct rmig_buffer *buf)
{
    if (!buf)
        return;
    for (size_t i = 0; i < buf->nchunks; i++)
        free(buf->chunks[i].data);
    free(buf->chunks);
    free(buf);
}

size_t rmig_buffer_length(const struct rmig_buffer *buf)
{
    return buf->length_bytes;
}

size_t rmig_buffer_capacity(const struct rmig_buffer *buf)
{
    return buf->capacity_bytes;
}

/* The piece of [position, position + len) that lies in one chunk. */
static uint8_t *piece(const struct rmig_buffer *buf, size_t position_bytes, size_t len_bytes,
                      size_t *piece_bytes_p)
{
    const struct chunk *c = &buf->chunks[chunk_at(buf, position_bytes)];
    size_t within = position_bytes - c->start_bytes;

    *piece_bytes_p = rmig_min_u64(len_bytes, c->len_bytes - within);
    return c->data + within;
}

static void fill_zero(struct rmig_buffer *buf, size_t from_bytes, size_t to_bytes)
{
    while (from_bytes < to_bytes) {
        size_t n;
        uint8_t *p = piece(buf, from_bytes, to_bytes - from_bytes, &n);

        memset(p, 0, n);
        from_bytes += n;
    }
}

size_t rmig_buffer_set_length(struct rmig_buffer *buf, size_t len_bytes)
{
    size_t length = rmig_min_u64(len_bytes, buf->capacity_bytes);

    fill_zero(buf, buf->length_bytes, length);
    buf->length_bytes = length;
    return length;
}

size_t rmig_buffer_read(const struct rmig_buffer *buf, size_t start_bytes, size_t count_bytes,
                        void *dst)
{
    size_t done = 0, count;

    if (start_bytes >= buf->length_bytes)
        return 0;
    count = rmig_min_u64(count_bytes, buf->length_bytes - start_bytes);
    while (done < count) {
        size_t n;
        const uint8_t *p = piece(buf, start_bytes + done, count - done, &n);

        memcpy((uint8_t *)dst + done, p, n);
        done += n;
    }
    return count;
}

ssize_t rmig_buffer_write(struct rmig_buffer *buf, size_t start_bytes, const void *src,
                          size_t len_bytes)
{
    size_t done = 0, end;
    int rc;

    if (len_bytes > SSIZE_MAX || start_bytes > SSIZE_MAX - len_bytes)
        return -EFBIG;
    if (len_bytes == 0)
        return 0;
    end = start_bytes + len_bytes;
    rc = grow(buf, end);
    if (rc < 0)
        return rc;
    fill_zero(buf, buf->length_bytes, start_bytes);
    while (done < len_bytes) {
        size_t n;
        uint8_t *p = piece(buf, start_bytes + done, len_bytes - done, &n);

        memcpy(p, (const uint8_t *)src + done, n);
        done += n;
    }
    if (end > buf->length_bytes)
        buf->length_bytes = end;
    return (ssize_t)len_bytes;
}
