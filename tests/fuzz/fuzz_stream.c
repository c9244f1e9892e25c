/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_stream.c -- libFuzzer target: any bytes as what is done with an input stream, and as what
 * its channel gives; what is got is what the channel has, and an error is never data. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <rmig/stream.h>

#include "tests/fuzz/bytes_channel.h"
#include "tests/fuzz/target.h"

/* A stream is the largest allocation, of 33 KiB: malloc_limit_mb=1; max_len=512 */

/* What the channel has: bytes of the input, then others. */
#define CONTENT_BYTES (96u << 10)
/* Each is a few system calls. */
#define COPIES_MAX 2u
/* Reads in a row that give little: a byte at a time takes long. */
#define STEPS_MAX 40u

static uint8_t content[CONTENT_BYTES], others[CONTENT_BYTES], scratch[1u << 16];
static struct bytes_channel ch;
static struct rmig_in *in;

/* The model: where the next byte is, and what the stream's error is. */
static size_t at;
static int failed;
static bool blocking;
static unsigned ncopies;

/* What there is to get. */
static size_t left(void)
{
    size_t end = ch.size < ch.fail_at ? ch.size : ch.fail_at;

    return at < end ? end - at : 0;
}

/* Before a call and behind it: agrees what it answered with what the channel did, n bytes wanted?
 */
static unsigned agained_before;

static void begin(void)
{
    ch.failed = 0;
    agained_before = ch.agained;
}

/* Returns: were they got? */
static bool answered(int64_t rc, size_t n)
{
    if (failed) {
        need(rc == failed, "a failed stream");
        return false;
    }
    if (ch.failed) {
        need(ch.failed == ch.wait_code || n > left(), "read beyond what was asked for");
        need(rc == ch.failed, "a failure of the channel");
        failed = ch.failed;
        return false;
    }
    if (rc == -EAGAIN) {
        need(!blocking && ch.agained != agained_before, "would block");
        return false;
    }
    if (rc == -EINVAL) {
        need(!blocking && n > RMIG_STREAM_BUFFER_BYTES,
             "too large for a stream that does not wait");
        return false;
    }
    need(rc == 0 && n <= left(), "got");
    return true;
}

static void got(const void *p, size_t n)
{
    need(n == 0 || memcmp(p, content + at, n) == 0, "what was got");
    at += n;
}

/* --- what is done ----------------------------------------------------------------------------- */

static void get_number(struct program *p)
{
    unsigned log2_bytes = program_u8(p) % 4;
    union {
        uint8_t u8;
        uint16_t be16;
        uint32_t be32;
        uint64_t be64;
    } v;
    uint64_t value = 0, wanted = 0;
    size_t n = (size_t)1 << log2_bytes;
    int rc;

    begin();
    if (log2_bytes == 0)
        rc = rmig_in_get_u8(in, &v.u8), value = rc == 0 ? v.u8 : 0;
    else if (log2_bytes == 1)
        rc = rmig_in_get_be16(in, &v.be16), value = rc == 0 ? v.be16 : 0;
    else if (log2_bytes == 2)
        rc = rmig_in_get_be32(in, &v.be32), value = rc == 0 ? v.be32 : 0;
    else
        rc = rmig_in_get_be64(in, &v.be64), value = rc == 0 ? v.be64 : 0;
    if (!answered(rc, n))
        return;
    for (size_t i = 0; i < n; i++)
        wanted = wanted << 8 | content[at + i];
    need(value == wanted, "a number");
    at += n;
}

static void get_buffer(struct program *p)
{
    size_t n = program_length(p);

    begin();
    if (answered(rmig_in_get_buffer(in, scratch, n), n))
        got(scratch, n);
}

static void get_in_place(struct program *p)
{
    size_t n = program_length(p);
    const uint8_t *where = NULL;

    begin();
    if (!answered(rmig_in_get_in_place(in, scratch, n, &where), n))
        return;
    need(where != NULL && (where == scratch) == (n > RMIG_STREAM_BUFFER_BYTES), "in place");
    got(where, n);
}

static void skip(struct program *p)
{
    size_t n = program_length(p);

    begin();
    if (answered(rmig_in_skip(in, n), n))
        at += n;
}

static void get_counted_string(struct program *p)
{
    size_t n = left() > 0 ? 1u + content[at] : 1;
    char str[256];
    int rc;

    (void)p;
    memset(str, 'x', sizeof(str));
    begin();
    rc = rmig_in_get_counted_string(in, str);
    if (rc == 0 && ch.failed && !failed && left() > 0) {
        need(str[0] == '\0', "a string of a stream that ended in it");
        rc = ch.failed;
    }
    if (!answered(rc < 0 ? rc : 0, n))
        return;
    need((size_t)rc + 1 == n && str[rc] == '\0', "a string's length");
    at++;
    got(str, (size_t)rc);
}

static void peek(struct program *p)
{
    size_t n = program_length(p), offset = program_length(p);
    const uint8_t *where = NULL;
    ssize_t rc;

    begin();
    rc = rmig_in_peek(in, &where, n, offset);
    if (!failed && offset + n > RMIG_STREAM_BUFFER_BYTES) {
        need(rc == -EINVAL && !ch.failed, "a peek beyond the buffer");
        return;
    }
    if (rc < 0 || failed) {
        answered(rc, offset + n);
        return;
    }
    need((size_t)rc <= n && (n == 0 || rc > 0), "a peek's length");
    need(offset + (size_t)rc <= left(), "a peek beyond the end");
    need(rc == 0 || memcmp(where, content + at + offset, (size_t)rc) == 0, "what was peeked");
    if ((size_t)rc < n)
        need(ch.failed == -EIO || (!blocking && ch.agained != agained_before), "a short peek");
    if (ch.failed == -EIO)
        need(offset + (size_t)rc == left(), "a peek at the end of the stream");
    need(!ch.failed || ch.failed == -EIO, "data after a failure");
    failed = ch.failed;
}

static void peek_u8(struct program *p)
{
    size_t offset = program_length(p);
    uint8_t v;
    int rc;

    begin();
    rc = rmig_in_peek_u8(in, offset, &v);
    if (!failed && offset >= RMIG_STREAM_BUFFER_BYTES)
        need(rc == -EINVAL && !ch.failed, "a peek beyond the buffer");
    else if (answered(rc, offset + 1))
        need(v == content[at + offset], "the byte that was peeked");
}

static void get_at(struct program *p)
{
    size_t n = program_length(p);
    uint64_t offset = program_u8(p) % 16 ? program_length(p) : program_u64(p);
    int rc = rmig_in_get_buffer_at(in, scratch, n, offset);

    if (failed) {
        need(rc == failed, "a failed stream");
    } else if (!rmig_in_is_seekable(in)) {
        need(rc == -ENOTSUP, "got at a position of a pipe");
        failed = rc;
    } else if (n > 0 && (offset > ch.size || n > ch.size - offset)) {
        need(rc == -EIO, "got beyond the end");
        failed = rc;
    } else {
        need(rc == 0 && memcmp(scratch, content + (n ? offset : 0), n) == 0, "got at a position");
    }
}

static void seek(struct program *p)
{
    static const int whences[] = {SEEK_SET, SEEK_CUR, SEEK_END, 77};
    unsigned how = program_u8(p);
    int whence = whences[how % 4];
    int64_t offset = how & 0x10 ? (int64_t)program_u64(p) : (int16_t)program_u16(p);
    int64_t base = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? (int64_t)at : (int64_t)ch.size;
    int64_t to, rc = rmig_in_seek(in, offset, whence);

    if (failed) {
        need(rc == failed, "a failed stream");
    } else if (!rmig_in_is_seekable(in)) {
        need(rc == -ENOTSUP, "a position of a pipe");
        failed = (int)rc;
    } else if (whence == 77 || __builtin_add_overflow(base, offset, &to) || to < 0) {
        need(rc == -EINVAL, "a position before the beginning");
        failed = (int)rc;
    } else {
        need(rc == to && rmig_in_buffered_bytes(in) == 0, "a position");
        at = (size_t)to;
    }
}

static void tell(struct program *p)
{
    int64_t rc = rmig_in_tell(in);

    (void)p;
    if (!failed && !rmig_in_is_seekable(in))
        failed = -ENOTSUP;
    need(rc == (failed ? failed : (int64_t)at), "the position");
}

/* A file in memory, emptied never: what was written is before its position. */
static int sink(void)
{
    static int fd = -1;

    if (fd < 0)
        fd = memfd_create("copy", MFD_CLOEXEC);
    need(fd >= 0 && lseek(fd, 0, SEEK_SET) == 0, "a file");
    return fd;
}

static void copy_to_fd(struct program *p)
{
    unsigned how = program_u8(p);
    size_t n = program_length(p), written;
    int rc, fd;

    if (ncopies++ >= COPIES_MAX)
        return;
    if (ch.step && n > 4 * ch.step)
        n = 4 * ch.step;
    if (how == 0xff) {
        need(rmig_in_copy_to_fd(in, -1, n) == -EBADF, "copied to no descriptor");
        return;
    }
    fd = sink();
    begin();
    rc = rmig_in_copy_to_fd(in, fd, n);
    written = (size_t)lseek(fd, 0, SEEK_CUR);
    need(written <= n && written <= sizeof(scratch) && (failed == 0 || written == 0), "copied");
    need(pread(fd, scratch, written, 0) == (ssize_t)written, "what was copied");
    if (!failed) {
        got(scratch, written);
        need(rc < 0 || written == n, "copied all");
    }
    if (rc == -EINVAL && !failed)
        need(0, "a copy has no limit");
    answered(rc, n - written);
}

/* --- what the channel does, and others with the stream ---------------------------------------- */

static void set_step(struct program *p)
{
    ch.step = program_length(p);
    ch.nsteps = ch.step ? STEPS_MAX : 0;
}

static void set_interruptions(struct program *p)
{
    unsigned how = program_u8(p);

    ch.again = how & 3;
    ch.signals = how >> 2 & 3;
    ch.wait_code = how >> 4 == 15 ? -ETIMEDOUT : 0;
}

static void set_failure(struct program *p)
{
    size_t n = program_length(p);

    /* what was read before is not lost */
    if (!failed)
        ch.fail_at = (ch.pos > at ? ch.pos : at) + n;
}

static void set_blocking(struct program *p)
{
    blocking = program_u8(p) & 1;
    need(rmig_in_set_blocking(in, blocking, NULL) == 0, "blocking mode");
}

static void set_error(struct program *p)
{
    static const int codes[] = {-EPROTO, -EAGAIN, 0, 7};
    unsigned how = program_u8(p);
    int code = codes[how % 4];

    if (how & 0x10) {
        need(rmig_in_shutdown(in, NULL) == -ENOSYS, "shut down");
        code = -EIO;
    } else {
        rmig_in_set_error(in, code, how & 0x20 ? "a user's" : NULL);
    }
    if (!failed)
        failed = code < 0 ? code : -EIO;
}

/* --- all of it -------------------------------------------------------------------------------- */

static void (*const operations[])(struct program *) = {
    get_number,        get_buffer,  get_in_place, skip,       get_counted_string, peek,
    peek_u8,           get_at,      seek,         tell,       copy_to_fd,         set_step,
    set_interruptions, set_failure, set_blocking, get_buffer, set_error,          peek,
};
#define NOPERATIONS (sizeof(operations) / sizeof(operations[0]))

static void check(void)
{
    struct rmig_err err = RMIG_ERR_INIT;

    need(rmig_in_error(in, failed ? &err : NULL) == failed, "the stream's error");
    need((failed != 0) == (err.msg[0] != '\0'), "an error without words");
    need(rmig_in_received_bytes(in) == ch.given, "bytes received");
    if (!failed)
        need(ch.pos == at + rmig_in_buffered_bytes(in), "bytes buffered");
}

/* A byte of flags, one that says how many are the program, these, what the channel gives. */
FUZZ_TARGET(fuzz_stream)
{
    size_t nprogram, nrest;
    struct program p;

    if (size < 2)
        return 0;
    if (!others[0]) {
        fill_bytes(others, sizeof(others), 2);
        others[0] = 1;
        memcpy(content, others, sizeof(content));
    }
    nprogram = data[1] < size - 2 ? data[1] : size - 2;
    nrest = size - 2 - nprogram < sizeof(content) ? size - 2 - nprogram : sizeof(content);
    p = (struct program){data + 2, data + 2 + nprogram};
    memcpy(content, data + 2 + nprogram, nrest);
    bytes_channel_init(&ch, content, data[0] & 2 ? nrest : sizeof(content) - data[0], data[0] & 1);
    at = 0, failed = 0, blocking = true, ncopies = 0;
    need(rmig_in_new(&ch.base, &in, NULL) == 0, "a stream");
    while (p.at < p.end) {
        operations[program_u8(&p) % NOPERATIONS](&p);
        check();
    }
    need(rmig_in_close(in, NULL) == failed, "close");
    memcpy(content, others, nrest);
    return 0;
}
