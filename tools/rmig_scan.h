/* SPDX-License-Identifier: BSD-3-Clause */
/* rmig_scan.h -- reads a stream and knows at which byte it is; goes back where there are positions.
 */
#ifndef TOOLS_RMIG_SCAN_H
#define TOOLS_RMIG_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <rmig/channel.h>

/** Most bytes that can be looked at without getting them. */
#define SCAN_PEEK_MAX 4096u
#define SCAN_BUFFER_BYTES 65536u
/** A stream without positions is kept in memory from where it must be read twice, so much of it. */
#define SCAN_KEEP_MAX ((uint64_t)256 << 20)

/** What is read, and the first thing that is wrong with it. */
struct scan {
    struct rmig_channel *ch;
    uint64_t at;         /* position of the next byte in the stream */
    uint64_t size;       /* of the stream; without positions UINT64_MAX until its end is seen */
    int64_t base;        /* of the stream's first byte in the channel, may be below 0 */
    bool seekable;       /* scan_goto() can be used */
    bool broken;         /* the channel has failed: nothing more comes */
    struct rmig_err err; /* the first thing that was wrong */
    uint64_t err_at;     /* the byte that it names */
    size_t from, to;     /* what is buffered and not got yet */
    uint8_t buf[SCAN_BUFFER_BYTES];
};

/** The channel is the scan's from now on. Returns: 0; -errno, and the channel is closed. */
int scan_init(struct scan *scan, struct rmig_channel *ch, struct rmig_err *err);

/** Close the channel; fine on zeroed memory. */
void scan_release(struct scan *scan);

/**
 * Record what is wrong at a byte, unless something is recorded already; what a terminal would obey
 * becomes '?'. Returns: the error that is recorded, -EPROTO but for those of the channel.
 */
int scan_fail(struct scan *scan, uint64_t at, const char *fmt, ...) RMIG_PRINTF(3, 4);

/** Look at up to nbytes <= SCAN_PEEK_MAX. Returns: how many there are; fewer only at the end. */
size_t scan_peek(struct scan *scan, const uint8_t **data_p, size_t nbytes);

/** Get exactly nbytes; what: for the message. Returns: 0; -EPROTO the stream ends; -errno. */
int scan_get(struct scan *scan, const char *what, void *buf, size_t nbytes);

/** Get a big-endian number. Returns: as scan_get. */
int scan_u8(struct scan *scan, const char *what, uint8_t *v_p);
int scan_be16(struct scan *scan, const char *what, uint16_t *v_p);
int scan_be32(struct scan *scan, const char *what, uint32_t *v_p);
int scan_be64(struct scan *scan, const char *what, uint64_t *v_p);

/** Get len bytes of printable text, NUL-terminated. Returns: as scan_get; -EPROTO it is none. */
int scan_text(struct scan *scan, const char *what, char *text, size_t len);

/** Get a length byte and 1 to 255 bytes of text. Returns: as scan_text. */
int scan_name(struct scan *scan, const char *what, char name[256]);

/** Pass over nbytes. Returns: as scan_get. */
int scan_skip(struct scan *scan, const char *what, uint64_t nbytes);

/** Make sure that scan_goto() works from here on. Returns: 0; -EPROTO too much follows,
 * or the errno of the channel. */
int scan_keep(struct scan *scan);

/** Go to a position, at most to the end. Requires: seekable. Returns: 0; -errno. */
int scan_goto(struct scan *scan, uint64_t at);

/** A big-endian u32 in memory. */
static inline uint32_t scan_load_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

#endif
