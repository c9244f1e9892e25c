/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_buffer.c -- libFuzzer target: any bytes as what is done with a buffer that grows; it has
 * what a flat array would have. */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <rmig/buffer.h>

#include "tests/fuzz/target.h"

/* A chunk is the largest allocation, of 16 KiB: malloc_limit_mb=1; max_len=256 */

#define FLAT_BYTES (256u << 10)
/* Positions are below this but for a few: what grows a buffer by much takes long. */
#define NEAR_BYTES (20u << 10)
#define FAR_MAX 1u
#define COPIES_MAX 2u

static uint8_t source[1u << 16], scratch[FLAT_BYTES];
static struct rmig_buffer *buf;

/* The model; what is beyond dirty_bytes is zero. */
static uint8_t flat[FLAT_BYTES];
static size_t length, dirty_bytes;
static unsigned nfar;

static size_t position(struct program *p)
{
    unsigned how = program_u8(p);
    size_t at = program_u16(p);

    if (how < 0x40)
        return length + at % 64 >= 32 ? length + at % 64 - 32 : 0;
    if (how < 0x80)
        return at % 17 * RMIG_BUFFER_CHUNK_BYTES + how % 3 - (at % 17 && how & 8);
    if (how >= 0xfc && nfar < FAR_MAX)
        return nfar++, at * 4;
    return at % (how < 0xf0 ? 4 * RMIG_BUFFER_CHUNK_BYTES : NEAR_BYTES);
}

static size_t few(struct program *p)
{
    size_t n = program_length(p);

    return n < 1024 ? n : 1000 + n % 4096;
}

static size_t capped(size_t at, size_t n)
{
    return at >= length ? 0 : n < length - at ? n : length - at;
}

/* --- what is done ----------------------------------------------------------------------------- */

static void write_at(struct program *p)
{
    size_t at = position(p), n = few(p);
    const uint8_t *bytes = source + program_u8(p);

    if (at > sizeof(flat) - n)
        return;
    need(rmig_buffer_write(buf, at, bytes, n) == (ssize_t)n, "a write");
    memcpy(flat + at, bytes, n);
    if (n && at + n > length)
        length = at + n;
    if (n && length > dirty_bytes)
        dirty_bytes = length;
}

static void write_nowhere(struct program *p)
{
    size_t at = (size_t)SSIZE_MAX - program_u8(p), n = few(p);

    if (at <= (size_t)SSIZE_MAX - n)
        return;
    need(rmig_buffer_write(buf, at, source, n) == -EFBIG, "a write beyond what there is");
    need(rmig_buffer_write(buf, 0, source, (size_t)at + n) == -EFBIG, "a write that is too long");
}

static void set_length(struct program *p)
{
    size_t n = program_u8(p) == 0xff ? SIZE_MAX - program_u8(p) : position(p);
    size_t capacity = rmig_buffer_capacity(buf);
    size_t wanted = n < capacity ? n : capacity;

    need(rmig_buffer_set_length(buf, n) == wanted, "a length");
    need(rmig_buffer_capacity(buf) == capacity, "a capacity that a length left alone");
    if (wanted > sizeof(flat)) { /* the last chunk may end beyond the model */
        wanted = sizeof(flat);
        need(rmig_buffer_set_length(buf, wanted) == wanted, "a length");
    }
    if (wanted < length)
        memset(flat + wanted, 0, length - wanted);
    length = wanted;
}

static void read_at(struct program *p)
{
    size_t at = program_u8(p) == 0xff ? SIZE_MAX - program_u8(p) : position(p);
    size_t n = few(p), wanted = capped(at, n);

    scratch[wanted] = 0x5a;
    need(rmig_buffer_read(buf, at, n, scratch) == wanted, "a read");
    need(wanted == 0 || memcmp(scratch, flat + at, wanted) == 0, "what was read");
    need(scratch[wanted] == 0x5a, "no more than was read");
}

static void read_all(const struct rmig_buffer *of)
{
    need(rmig_buffer_length(of) == length, "a length");
    need(rmig_buffer_read(of, 0, SIZE_MAX, scratch) == length, "a read of all");
    need(memcmp(scratch, flat, length) == 0, "all that was read");
}

/* The copy stays when the original goes, or the other way round. */
static void clone(struct program *p)
{
    unsigned how = program_u8(p);
    struct rmig_buffer *copy, *other;

    need(rmig_buffer_clone(buf, &copy, NULL) == 0, "a clone");
    other = how & 1 ? buf : copy;
    buf = how & 1 ? copy : buf;
    if (how & 2)
        need(rmig_buffer_write(other, 0, source, 7) == 7, "a write");
    rmig_buffer_free(other);
    read_all(buf);
}

static void new_from(struct program *p)
{
    size_t n = few(p);

    rmig_buffer_free(buf);
    need(rmig_buffer_new_from(source, n, &buf, NULL) == 0, "a buffer of bytes");
    memset(flat, 0, dirty_bytes);
    memcpy(flat, source, n);
    length = dirty_bytes = n;
}

/* --- all of it -------------------------------------------------------------------------------- */

static void (*const operations[])(struct program *) = {
    write_at, write_at, read_at, set_length, clone, write_nowhere, new_from,
};
#define NOPERATIONS (sizeof(operations) / sizeof(operations[0]))

/* A capacity, then the program. */
FUZZ_TARGET(fuzz_buffer)
{
    struct program p = {data, data + size};
    size_t capacity = program_u8(&p) * 20u, had;
    unsigned ncopies = 0;

    if (!source[0]) {
        fill_bytes(source, sizeof(source), 1);
        source[0] = 1;
    }
    nfar = 0;
    need(rmig_buffer_new(capacity, &buf, NULL) == 0, "a buffer");
    need((had = rmig_buffer_capacity(buf)) >= capacity && had > 0, "a capacity");
    while (p.at < p.end) {
        void (*operation)(struct program *) = operations[program_u8(&p) % NOPERATIONS];

        if ((operation == clone || operation == new_from) && ncopies++ >= COPIES_MAX)
            continue;
        operation(&p);
        need(rmig_buffer_length(buf) == length, "the length");
        need(rmig_buffer_capacity(buf) >= length, "the capacity");
        need(rmig_buffer_capacity(buf) % RMIG_BUFFER_CHUNK_BYTES == 0, "whole chunks");
    }
    read_all(buf);
    rmig_buffer_free(buf);
    memset(flat, 0, dirty_bytes);
    length = dirty_bytes = 0;
    return 0;
}
