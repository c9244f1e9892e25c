/* SPDX-License-Identifier: BSD-3-Clause */
/* rmig_scan.c -- reads a stream through one buffer, and keeps what a pipe gives only once. */
#include "tools/rmig_scan.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int scan_init(struct scan *scan, struct rmig_channel *ch, struct rmig_err *err)
{
    int64_t end;

    memset(scan, 0, offsetof(struct scan, buf));
    scan->ch = ch;
    scan->size = UINT64_MAX;
    if (!(ch->flags & RMIG_CHANNEL_SEEKABLE))
        return 0;
    scan->base = ch->ops->seek(ch, 0, SEEK_CUR, err);
    end = scan->base < 0 ? scan->base : ch->ops->seek(ch, 0, SEEK_END, err);
    if (end >= 0 && end < scan->base)
        end = scan->base; /* opened behind its end: an empty stream */
    if (end >= 0 && ch->ops->seek(ch, scan->base, SEEK_SET, err) >= 0) {
        scan->size = (uint64_t)(end - scan->base);
        scan->seekable = true;
        return 0;
    }
    scan_release(scan);
    return err->code;
}

void scan_release(struct scan *scan)
{
    (void)rmig_channel_close(scan->ch, NULL);
    scan->ch = NULL;
}

int scan_fail(struct scan *scan, uint64_t at, const char *fmt, ...)
{
    char text[RMIG_ERR_MSG_BYTES];
    va_list args;

    if (scan->err.code)
        return scan->err.code;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    for (char *c = text; *c; c++)
        if (*c < 0x20 || *c > 0x7e)
            *c = '?';
    scan->err_at = at;
    return rmig_err_set(&scan->err, -EPROTO, "byte %llu: %s", (unsigned long long)at, text);
}

/* --- filling ---------------------------------------------------------------------------------- */

static void make_room(struct scan *scan, size_t nbytes)
{
    if (SCAN_BUFFER_BYTES - scan->from >= nbytes)
        return;
    memmove(scan->buf, scan->buf + scan->from, scan->to - scan->from);
    scan->to -= scan->from;
    scan->from = 0;
}

/* One read behind what is buffered. Returns: is there more now? */
static bool fill(struct scan *scan)
{
    struct iovec iov = {scan->buf + scan->to, SCAN_BUFFER_BYTES - scan->to};
    struct rmig_err err = RMIG_ERR_INIT;
    ssize_t n = 0;

    if (!scan->broken)
        n = scan->ch->ops->readv(scan->ch, &iov, 1, &err);
    if (n < 0) {
        scan->broken = true;
        (void)scan_fail(scan, scan->at, "%s", err.msg);
        scan->err.code = (int)n;
        return false;
    }
    scan->to += (size_t)n;
    if (n == 0 && !scan->broken)
        scan->size = scan->at + (scan->to - scan->from);
    return n > 0;
}

size_t scan_peek(struct scan *scan, const uint8_t **data_p, size_t nbytes)
{
    size_t there;

    make_room(scan, nbytes);
    while (scan->to - scan->from < nbytes && fill(scan))
        ;
    there = scan->to - scan->from;
    *data_p = scan->buf + scan->from;
    return there < nbytes ? there : nbytes;
}

static void advance(struct scan *scan, size_t nbytes)
{
    scan->from += nbytes;
    scan->at += nbytes;
    if (scan->from == scan->to)
        scan->from = scan->to = 0;
}

/* --- getting ---------------------------------------------------------------------------------- */

static int too_short(struct scan *scan, const char *what, uint64_t wanted, uint64_t there)
{
    if (scan->broken)
        return scan->err.code;
    return scan_fail(scan, scan->at + there, "the stream ends in %s: %llu bytes of %llu are there",
                     what, (unsigned long long)there, (unsigned long long)wanted);
}

int scan_get(struct scan *scan, const char *what, void *buf, size_t nbytes)
{
    const uint8_t *data;
    size_t there = scan_peek(scan, &data, nbytes);

    if (there < nbytes)
        return too_short(scan, what, nbytes, there);
    if (nbytes > 0)
        memcpy(buf, data, nbytes);
    advance(scan, nbytes);
    return 0;
}

int scan_u8(struct scan *scan, const char *what, uint8_t *v_p)
{
    return scan_get(scan, what, v_p, 1);
}

int scan_be16(struct scan *scan, const char *what, uint16_t *v_p)
{
    uint8_t b[2];
    int rc = scan_get(scan, what, b, sizeof(b));

    if (rc == 0)
        *v_p = (uint16_t)(b[0] << 8 | b[1]);
    return rc;
}

int scan_be32(struct scan *scan, const char *what, uint32_t *v_p)
{
    uint8_t b[4];
    int rc = scan_get(scan, what, b, sizeof(b));

    if (rc == 0)
        *v_p = scan_load_be32(b);
    return rc;
}

int scan_be64(struct scan *scan, const char *what, uint64_t *v_p)
{
    uint8_t b[8];
    int rc = scan_get(scan, what, b, sizeof(b));

    if (rc == 0)
        *v_p = (uint64_t)scan_load_be32(b) << 32 | scan_load_be32(b + 4);
    return rc;
}

int scan_text(struct scan *scan, const char *what, char *text, size_t len)
{
    uint64_t begin = scan->at;
    int rc = scan_get(scan, what, text, len);

    if (rc < 0)
        return rc;
    text[len] = '\0';
    for (size_t i = 0; i < len; i++)
        if (text[i] < 0x20 || text[i] > 0x7e)
            return scan_fail(scan, begin + i, "%s: 0x%02x is not printable", what,
                             (uint8_t)text[i]);
    return 0;
}

int scan_name(struct scan *scan, const char *what, char name[256])
{
    uint8_t len = 0;
    int rc = scan_u8(scan, what, &len);

    if (rc == 0 && len == 0)
        return scan_fail(scan, scan->at - 1, "%s: length 0, 1 to 255 is needed", what);
    return rc < 0 ? rc : scan_text(scan, what, name, len);
}

/* Leave what is buffered and go on elsewhere. */
static int jump(struct scan *scan, uint64_t at)
{
    struct rmig_err err = RMIG_ERR_INIT;
    int64_t rc = scan->ch->ops->seek(scan->ch, (int64_t)at + scan->base, SEEK_SET, &err);

    if (rc < 0) {
        scan->broken = true;
        (void)scan_fail(scan, scan->at, "%s", err.msg);
        return scan->err.code = (int)rc;
    }
    scan->from = scan->to = 0;
    scan->at = at;
    return 0;
}

int scan_skip(struct scan *scan, const char *what, uint64_t nbytes)
{
    uint64_t left = nbytes;

    if (scan->seekable && nbytes > scan->size - scan->at)
        return too_short(scan, what, nbytes, scan->size - scan->at);
    if (scan->seekable && nbytes > SCAN_BUFFER_BYTES)
        return jump(scan, scan->at + nbytes);
    while (left > 0) {
        size_t there = scan->to - scan->from;

        if (there == 0 && !fill(scan)) {
            scan->at -= nbytes - left; /* the message counts from where it begins */
            return too_short(scan, what, nbytes, nbytes - left);
        }
        there = scan->to - scan->from;
        advance(scan, left < there ? (size_t)left : there);
        left -= left < there ? left : there;
    }
    return 0;
}

int scan_goto(struct scan *scan, uint64_t at)
{
    if (at >= scan->at && at - scan->at <= scan->to - scan->from) {
        advance(scan, (size_t)(at - scan->at));
        return 0;
    }
    if (at < scan->at && scan->at - at <= scan->from) {
        scan->from -= (size_t)(scan->at - at);
        scan->at = at;
        return 0;
    }
    return jump(scan, at < scan->size ? at : scan->size);
}

/* --- what comes only once --------------------------------------------------------------------- */

/* All that follows into a file in memory. Returns: 0; -errno. */
static int copy_rest(struct scan *scan, int fd)
{
    uint64_t done = 0;

    while (scan->to - scan->from > 0 || fill(scan)) {
        ssize_t n = write(fd, scan->buf + scan->from, scan->to - scan->from);

        if (n < 0)
            return scan_fail(scan, scan->at, "cannot keep what follows: %s", strerror(errno));
        advance(scan, (size_t)n);
        done += (uint64_t)n;
        if (done > SCAN_KEEP_MAX)
            return scan_fail(
                scan, scan->at - done,
                "from here on the stream is read twice, and more than %llu MiB follow: "
                "too much to keep of a pipe; give it as a file",
                (unsigned long long)(SCAN_KEEP_MAX >> 20));
    }
    return scan->broken ? scan->err.code : 0;
}

int scan_keep(struct scan *scan)
{
    struct rmig_channel *kept = NULL;
    uint64_t begin = scan->at;
    struct rmig_err err = RMIG_ERR_INIT;
    int fd, rc;

    if (scan->seekable)
        return 0;
    fd = memfd_create("rmig-inspect", MFD_CLOEXEC);
    if (fd < 0)
        return scan_fail(scan, begin, "cannot keep what follows: %s", strerror(errno));
    rc = copy_rest(scan, fd);
    if (rc == 0 && rmig_channel_from_fd(fd, NULL, &kept, &err) < 0)
        rc = scan_fail(scan, begin, "%s", err.msg);
    if (rc < 0) {
        close(fd);
        scan->broken = true;
        return rc;
    }
    (void)rmig_channel_close(scan->ch, NULL);
    scan->ch = kept;
    scan->base = -(int64_t)begin;
    scan->seekable = true;
    return jump(scan, begin);
}
