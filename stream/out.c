/* SPDX-License-Identifier: BSD-3-Clause */
/* out.c -- the output stream: copies small things, lists large ones, writes both with one writev.
 */
#include "stream/out.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/log.h"
#include "common/overflow.h"

static_assert(RMIG_STREAM_IOV_MAX <= 64, "the masks of the scatter list have 64 bits");
static_assert(RMIG_STREAM_STAGED_MAX <= 1024, "the system takes 1024 entries in a call");

int rmig_stream_out_fail(struct rmig_out *out, int code, const struct rmig_err *err)
{
    return rmig_sticky_set(&out->error, "output stream", code, err && err->code ? err->msg : NULL);
}

static bool failed(const struct rmig_out *out)
{
    return rmig_sticky_code(&out->error) != 0;
}

/* Forgets what is queued; the counters of bytes put keep it. */
static void empty(struct rmig_out *out)
{
    out->listed_bytes += (uint64_t)(out->pos - out->mark);
    out->pos = out->mark = out->buf;
    out->niov = out->nstaged = 0;
    out->ref_mask = out->free_mask = 0;
}

/* Enters one range in the list, or grows the last entry. Requires: the list is not full. */
static void list(struct rmig_out *out, const void *base, size_t len_bytes, bool is_ref,
                 bool may_free)
{
    int last = out->niov - 1;

    out->listed_bytes += len_bytes;
    if (last >= 0 && (const char *)out->iov[last].iov_base + out->iov[last].iov_len == base &&
        (out->ref_mask >> last & 1) == is_ref && (out->free_mask >> last & 1) == may_free) {
        out->iov[last].iov_len += len_bytes;
        return;
    }
    assert(out->niov < RMIG_STREAM_IOV_MAX);
    out->iov[out->niov] = (struct iovec){.iov_base = (void *)base, .iov_len = len_bytes};
    out->ref_mask |= (uint64_t)is_ref << out->niov;
    out->free_mask |= (uint64_t)may_free << out->niov;
    out->niov++;
}

/* Enters the pending copied bytes. Requires: the list is not full, or none are pending. */
static void list_pending(struct rmig_out *out)
{
    size_t n = (size_t)(out->pos - out->mark);

    if (n == 0)
        return;
    list(out, out->mark, n, false, false);
    out->mark = out->pos;
}

/* The system would take the whole of the last page, and with it what follows the range there. */
static void release_pages(const struct iovec *run)
{
    size_t len_bytes = run->iov_len - run->iov_len % (size_t)sysconf(_SC_PAGESIZE);

    if (len_bytes && madvise(run->iov_base, len_bytes, MADV_DONTNEED) < 0)
        rmig_log(RMIG_LOG_WARNING, "output stream: cannot release %zu bytes at %p: %s", len_bytes,
                 run->iov_base, strerror(errno));
}

/* Gives the may-free ranges back to the system, those that touch in one call. */
static void release_ranges(const struct rmig_out *out)
{
    struct iovec run = {NULL, 0};

    if (out->free_mask == 0)
        return;
    for (int i = 0; i <= out->niov; i++) {
        bool free_it = i < out->niov && (out->free_mask >> i & 1);

        if (free_it && run.iov_len && (char *)run.iov_base + run.iov_len == out->iov[i].iov_base) {
            run.iov_len += out->iov[i].iov_len;
            continue;
        }
        if (i < out->niov && !free_it)
            continue;
        release_pages(&run);
        if (free_it)
            run = out->iov[i];
    }
}

/* Everything queued, in order, by as few calls as can be. */
static int write_queued(struct rmig_out *out, struct rmig_err *err)
{
    if (out->nstaged == 0)
        return rmig_stream_write_counted(out->ch, out->iov, out->niov, &out->written_bytes, err);
    memcpy(out->staged + out->nstaged, out->iov, (size_t)out->niov * sizeof(out->iov[0]));
    return rmig_stream_write_counted(out->ch, out->staged, out->nstaged + out->niov,
                                     &out->written_bytes, err);
}

int rmig_out_flush(struct rmig_out *out)
{
    struct rmig_err err = RMIG_ERR_INIT;
    int rc;

    if (!out->ch || failed(out))
        goto out;
    list_pending(out);
    if (out->niov + out->nstaged == 0)
        return 0;
    rc = write_queued(out, &err);
    if (rc < 0)
        rmig_stream_out_fail(out, rc, &err);
    else
        release_ranges(out);
    empty(out);
out:
    rc = rmig_sticky_code(&out->error);
    if (rc < 0)
        empty(out);
    return rc;
}

/* Could the list wait for others? Not with ranges to release, and not without room for it all. */
static bool stageable(const struct rmig_out *out)
{
    return (out->ch->flags & RMIG_CHANNEL_BULK) && out->free_mask == 0 && out->pos == out->mark &&
           out->pos < out->end &&
           out->nstaged + out->niov + RMIG_STREAM_IOV_MAX <= RMIG_STREAM_STAGED_MAX;
}

/* Makes room after a put filled the list or the buffer. */
static void drain(struct rmig_out *out)
{
    if (!out->ch)
        return;
    if (!stageable(out)) {
        rmig_out_flush(out);
        return;
    }
    memcpy(out->staged + out->nstaged, out->iov, (size_t)out->niov * sizeof(out->iov[0]));
    out->nstaged += out->niov;
    out->niov = 0;
    out->ref_mask = 0;
}

static int entries_left(const struct rmig_out *out)
{
    int left = RMIG_STREAM_IOV_MAX - out->niov;

    return left > 0 && out->pos > out->mark ? left - 1 : left;
}

static void no_room(struct rmig_out *out, size_t len_bytes)
{
    rmig_out_set_error(
        out, -ENOSPC,
        "private output stream: no room for %zu bytes: %zu of %u bytes and %d of %d entries are left",
        len_bytes, rmig_stream_out_room(out), RMIG_STREAM_BUFFER_BYTES,
        entries_left(out), RMIG_STREAM_IOV_MAX);
    empty(out);
}

void rmig_stream_out_advance(struct rmig_out *out, size_t n)
{
    out->pos += n;
    if (out->pos == out->end)
        drain(out);
}

/* The quick way is a store; a failed stream and the end of the buffer take the other one. */
static inline bool quick(const struct rmig_out *out, size_t n)
{
    return __builtin_expect((size_t)(out->end - out->pos) > n &&
                                atomic_load_explicit(&out->error.code, memory_order_relaxed) == 0,
                            1);
}

/* As much as fits, over and over. */
static __attribute__((noinline)) void put_slowly(struct rmig_out *out, const void *buf,
                                                 size_t len_bytes)
{
    const uint8_t *src = buf;

    if (!out->ch && len_bytes > rmig_stream_out_room(out) && !failed(out)) {
        no_room(out, len_bytes);
        return;
    }
    while (len_bytes && !failed(out)) {
        size_t n = rmig_min_u64(len_bytes, rmig_stream_out_room(out));

        memcpy(out->pos, src, n);
        rmig_stream_out_advance(out, n);
        src += n;
        len_bytes -= n;
    }
}

void rmig_out_put_buffer(struct rmig_out *out, const void *buf, size_t len_bytes)
{
    uint8_t *to = out->pos;

    if (len_bytes == 0 || !quick(out, len_bytes)) {
        put_slowly(out, buf, len_bytes);
        return;
    }
    out->pos = to + len_bytes;
    memcpy(to, buf, len_bytes); /* last: a jump, not a call */
}

void rmig_out_put_u8(struct rmig_out *out, uint8_t v)
{
    if (!quick(out, sizeof(v))) {
        put_slowly(out, &v, sizeof(v));
        return;
    }
    *out->pos++ = v;
}

void rmig_out_put_be16(struct rmig_out *out, uint16_t v)
{
    if (!quick(out, sizeof(v))) {
        v = htobe16(v);
        put_slowly(out, &v, sizeof(v));
        return;
    }
    rmig_store_be16(out->pos, v);
    out->pos += sizeof(v);
}

void rmig_out_put_be32(struct rmig_out *out, uint32_t v)
{
    if (!quick(out, sizeof(v))) {
        v = htobe32(v);
        put_slowly(out, &v, sizeof(v));
        return;
    }
    rmig_store_be32(out->pos, v);
    out->pos += sizeof(v);
}

static __attribute__((noinline)) void put_be64_slowly(struct rmig_out *out, uint64_t v)
{
    v = htobe64(v);
    put_slowly(out, &v, sizeof(v));
}

void rmig_out_put_be64(struct rmig_out *out, uint64_t v)
{
    if (!quick(out, sizeof(v))) {
        put_be64_slowly(out, v);
        return;
    }
    rmig_store_be64(out->pos, v);
    out->pos += sizeof(v);
}

/* Is there an entry for the pending bytes and one more? Only a private stream can lack it. */
static bool list_has_room(const struct rmig_out *out)
{
    return out->niov + (out->pos > out->mark) < RMIG_STREAM_IOV_MAX;
}

void rmig_out_put_ref(struct rmig_out *out, const void *buf, size_t len_bytes, bool may_free)
{
    if (len_bytes == 0 || failed(out))
        return;
    if (!out->ch && !list_has_room(out)) {
        no_room(out, len_bytes);
        return;
    }
    list_pending(out);
    if (out->niov == RMIG_STREAM_IOV_MAX)
        drain(out);
    if (failed(out))
        return;
    list(out, buf, len_bytes, true, may_free);
    if (out->niov == RMIG_STREAM_IOV_MAX)
        drain(out);
}

void rmig_out_put_counted_string(struct rmig_out *out, const char *s)
{
    size_t len = strnlen(s, UINT8_MAX + 1);

    if (len > UINT8_MAX) {
        rmig_out_set_error(out, -EINVAL,
                           "output stream: counted string \"%.32s...\" is longer than %d bytes", s,
                           UINT8_MAX);
        return;
    }
    rmig_out_put_u8(out, (uint8_t)len);
    rmig_out_put_buffer(out, s, len);
}

ssize_t rmig_out_put_stream(struct rmig_out *out, struct rmig_out *from)
{
    uint64_t moved = 0;
    int rc = rmig_sticky_code(&from->error);

    if (from->ch || from == out)
        return -EINVAL;
    if (rc < 0)
        return rc;
    for (int i = 0; i < from->niov; i++) {
        const struct iovec *v = &from->iov[i];

        if (from->ref_mask >> i & 1)
            rmig_out_put_ref(out, v->iov_base, v->iov_len, from->free_mask >> i & 1);
        else
            rmig_out_put_buffer(out, v->iov_base, v->iov_len);
        moved += v->iov_len;
    }
    rmig_out_put_buffer(out, from->mark, (size_t)(from->pos - from->mark));
    moved += (uint64_t)(from->pos - from->mark);
    empty(from);
    rc = rmig_sticky_code(&out->error);
    return rc < 0 ? rc : (ssize_t)moved;
}

bool rmig_out_buffer_empty(const struct rmig_out *out)
{
    return out->niov + out->nstaged == 0 && out->pos == out->mark;
}
