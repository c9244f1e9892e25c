/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_out.c -- libFuzzer target: any bytes as what is put in an output stream, whose channel takes
 * it in pieces or fails; what arrives is what was put, in order, and the figures agree with it. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <rmig/stream.h>

#include "tests/fuzz/target.h"

/* A stream is the largest allocation, of 41 KiB: malloc_limit_mb=1; max_len=512 */

/* The most that a program puts. */
#define WANT_BYTES (512u << 10)
#define SOURCE_BYTES (64u << 10)
/* Memory that is released behind a flush; each release is a system call and a page fault. */
#define ARENA_PAGES 4u
#define RELEASES_MAX 3u
/* Writes in a row that take little: a byte at a time takes long. */
#define STEPS_MAX 40u
#define PAGE 4096u

static uint8_t source[SOURCE_BYTES];
static uint8_t *arena;
static unsigned nreleases;

/* The model: all that was put, and how much of it has arrived; the private stream's likewise. */
static uint8_t want[WANT_BYTES], own[RMIG_STREAM_BUFFER_BYTES + SOURCE_BYTES];
static size_t nwant, narrived, nown, nown_copied;
static int failed, own_failed;
static uint64_t at_position;   /* bytes written by position */
static uint64_t position_base; /* position of the channel minus what has arrived */
static uint64_t credited;
static struct rmig_out *out, *from;
/* Where in want each page of the arena ends that is to be released; 0: it is not. */
static size_t released_at[ARENA_PAGES];
/* It is in use, but stays: it was put to be kept, or not the whole of it. */
static bool kept[ARENA_PAGES];

/* --- the channel ------------------------------------------------------------------------------ */

static struct {
    struct rmig_channel base;
    size_t step;     /* most that one write takes; 0: no limit */
    unsigned nsteps; /* so many times, then there is none */
    size_t fail_at;  /* narrived at which it fails */
    int code;        /* then: 0 or -errno */
    unsigned again, signals;
    int wait_code;
    int failed;            /* what it said that must be the stream's error, 0: none */
    const uint8_t *put_at; /* what is to come by position */
    size_t nput_at;
    uint64_t put_at_position;
    bool short_at;
} ch;

static int said(int code)
{
    ch.failed = code ? code : -EIO;
    return code;
}

static ssize_t sink_writev(struct rmig_channel *base, const struct iovec *iov, int niov,
                           struct rmig_err *err)
{
    size_t room = ch.step ? ch.step : SIZE_MAX, before = narrived;

    (void)base, (void)err;
    if (ch.signals)
        return ch.signals--, -EINTR;
    if (ch.again)
        return ch.again--, -EAGAIN;
    if (narrived >= ch.fail_at)
        return said(ch.code);
    room = room < ch.fail_at - narrived ? room : ch.fail_at - narrived;
    if (ch.step && --ch.nsteps == 0)
        ch.step = 0;
    need(niov > 0 && niov <= 1024, "a list that the system takes");
    for (int i = 0; i < niov && room > 0; i++) {
        size_t n = iov[i].iov_len < room ? iov[i].iov_len : room;

        need(n <= nwant - narrived, "more arrives than was put");
        need(memcmp(want + narrived, iov[i].iov_base, n) == 0, "what arrives");
        narrived += n;
        room -= n;
    }
    return (ssize_t)(narrived - before);
}

static int64_t sink_seek(struct rmig_channel *base, int64_t offset, int whence,
                         struct rmig_err *err)
{
    int64_t to = whence == SEEK_SET ? 0 : (int64_t)(position_base + narrived);

    (void)base, (void)err;
    need(narrived == nwant, "all arrives before the position changes");
    if (whence > SEEK_CUR || __builtin_add_overflow(to, offset, &to) || to < 0)
        return said(-EINVAL);
    position_base = (uint64_t)to - narrived;
    return to;
}

static ssize_t sink_pwrite(struct rmig_channel *base, const void *buf, size_t len_bytes,
                           uint64_t offset_bytes, struct rmig_err *err)
{
    (void)base, (void)err;
    need(narrived == nwant, "all arrives before what has a position of its own");
    need(len_bytes == ch.nput_at && offset_bytes == ch.put_at_position && buf == ch.put_at,
         "what is put at a position");
    if (narrived >= ch.fail_at && ch.code < 0)
        return said(ch.code);
    if (ch.short_at)
        said(-EIO);
    len_bytes /= ch.short_at ? 2 : 1;
    at_position += len_bytes;
    return (ssize_t)len_bytes;
}

static int sink_wait(struct rmig_channel *base, enum rmig_shut direction, struct rmig_err *err)
{
    (void)base, (void)err;
    need(direction == RMIG_SHUT_WRITE, "a wait");
    return ch.wait_code < 0 ? said(ch.wait_code) : 0;
}

static int sink_close(struct rmig_channel *base, struct rmig_err *err)
{
    (void)base, (void)err;
    return 0;
}

/* --- the model -------------------------------------------------------------------------------- */

/* To be called behind every call that may have flushed. */
static void settle(void)
{
    if (!failed)
        failed = ch.failed;
    need(!ch.failed || failed, "a failure of the channel");
}

static bool room_for(size_t n)
{
    return nwant + n <= sizeof(want);
}

/* It will be put, unless the stream has failed. */
static void expect(const void *p, size_t n)
{
    if (failed || n == 0)
        return;
    memcpy(want + nwant, p, n);
    nwant += n;
}

static const uint8_t *take(struct program *p, size_t *n_p)
{
    size_t n = program_length(p);
    size_t offset = program_u8(p) * 64u;

    *n_p = n < sizeof(source) - offset ? n : sizeof(source) - offset;
    return source + offset;
}

static void flushed(int rc)
{
    settle();
    need(rc == failed, "a flush");
    need(rmig_out_buffer_empty(out), "a flush leaves nothing");
    if (rc == 0)
        need(narrived == nwant, "a flush writes all");
}

/* What may be released was, when all of it had arrived, and not before. */
static void check_released(bool all)
{
    for (unsigned i = 0; i < ARENA_PAGES; i++) {
        const uint8_t *page = arena + i * PAGE;

        if (!released_at[i])
            continue;
        if (page[0] || page[PAGE - 1] || kept[i]) {
            need(!all || failed || kept[i], "memory that was to be released");
            need(memcmp(page, source + i * PAGE, PAGE) == 0, "memory that was not released");
            continue;
        }
        need(narrived >= released_at[i], "released before it was written");
    }
}

static void refill_arena(void)
{
    for (unsigned i = 0; i < ARENA_PAGES; i++)
        if (released_at[i]) {
            memcpy(arena + i * PAGE, source + i * PAGE, PAGE);
            released_at[i] = 0;
        }
}

/* --- what is done ----------------------------------------------------------------------------- */

static void put_number(struct program *p)
{
    unsigned log2_bytes = program_u8(p) % 4;
    size_t n = (size_t)1 << log2_bytes;
    uint8_t bytes[8];
    uint64_t v = 0;

    for (size_t i = 0; i < n; i++) {
        bytes[i] = (uint8_t)program_u8(p);
        v = v << 8 | bytes[i];
    }
    if (!room_for(n))
        return;
    expect(bytes, n);
    if (log2_bytes == 0)
        rmig_out_put_u8(out, (uint8_t)v);
    else if (log2_bytes == 1)
        rmig_out_put_be16(out, (uint16_t)v);
    else if (log2_bytes == 2)
        rmig_out_put_be32(out, (uint32_t)v);
    else
        rmig_out_put_be64(out, v);
}

static void put_buffer(struct program *p)
{
    size_t n;
    const uint8_t *bytes = take(p, &n);

    if (!room_for(n))
        return;
    expect(bytes, n);
    rmig_out_put_buffer(out, bytes, n);
}

static void put_ref(struct program *p)
{
    size_t n;
    const uint8_t *bytes = take(p, &n);

    if (!room_for(n))
        return;
    expect(bytes, n);
    rmig_out_put_ref(out, bytes, n, false);
}

/* So many of the same, next to each other or not: what fills a list. */
static void put_refs(struct program *p)
{
    unsigned count = program_u8(p) % 96, apart = program_u8(p);
    const uint8_t *bytes = source;

    for (unsigned i = 0; i < count && room_for(16); i++) {
        expect(bytes, 16);
        rmig_out_put_ref(out, bytes, 16, false);
        settle();
        bytes += 16 + apart % 64;
    }
}

static void put_and_release(struct program *p)
{
    unsigned how = program_u8(p), first = how % ARENA_PAGES, count = 1 + (how >> 2) % 4;
    const bool keep = how & 0x10, in_part = how & 0x20; /* the last page */

    count = count < ARENA_PAGES - first ? count : ARENA_PAGES - first;
    for (unsigned i = first; i < first + count; i++)
        if (released_at[i] || failed || nreleases >= RELEASES_MAX || !room_for(PAGE))
            return;
    nreleases++;
    for (unsigned i = first; i < first + count && !failed; i++) {
        const bool last = i + 1 == first + count;
        const size_t n = last && in_part ? PAGE - 100 : PAGE;

        if (!room_for(PAGE))
            return;
        expect(arena + i * PAGE, n);
        released_at[i] = nwant;
        kept[i] = last && (keep || in_part);
        rmig_out_put_ref(out, arena + i * PAGE, n, !(last && keep));
        settle();
    }
}

static void put_counted_string(struct program *p)
{
    unsigned len = program_u8(p) | (program_u8(p) == 0xff ? 0x100 : 0);
    uint8_t string[1 + 0x200];

    string[0] = (uint8_t)len;
    memset(string + 1, 'a' + len % 26, len);
    string[1 + len] = '\0';
    if (!room_for(1 + len))
        return;
    if (len <= UINT8_MAX)
        expect(string, 1 + len);
    rmig_out_put_counted_string(out, (char *)string + 1);
    if (len > UINT8_MAX && !failed)
        failed = -EINVAL;
}

static void put_at(struct program *p)
{
    size_t n;
    int rc;

    ch.put_at = take(p, &n);
    ch.nput_at = n;
    ch.put_at_position = program_u16(p);
    rc = rmig_out_put_buffer_at(out, ch.put_at, n, ch.put_at_position);
    settle();
    if (!failed && !rmig_out_is_seekable(out))
        failed = -ENOTSUP;
    need(rc == failed, "a put at a position");
}

static void seek(struct program *p)
{
    static const int whences[] = {SEEK_SET, SEEK_CUR, SEEK_END};
    unsigned how = program_u8(p);
    int64_t offset = how & 0x10 ? (int64_t)program_u64(p) : (int16_t)program_u16(p);
    int64_t base = how % 3 == 0 ? 0 : (int64_t)(position_base + nwant), rc;

    if (how & 0x20)
        rc = rmig_out_tell(out), offset = 0, base = (int64_t)(position_base + nwant);
    else
        rc = rmig_out_seek(out, offset, whences[how % 3]);
    settle();
    if (!failed && !rmig_out_is_seekable(out))
        failed = -ENOTSUP;
    need(rc == (failed ? failed : base + offset), "a position");
}

static void flush(struct program *p)
{
    (void)p;
    flushed(rmig_out_flush(out));
    check_released(true);
    refill_arena();
}

static void transferred(struct program *p)
{
    uint64_t n = rmig_out_transferred_bytes(out);

    (void)p;
    flushed(rmig_out_error(out, NULL));
    if (!failed)
        need(n == narrived + at_position + credited, "what was transferred");
}

static void credit(struct program *p)
{
    unsigned n = program_u16(p);

    rmig_out_credit_transferred(out, n);
    credited += n;
}

/* The window's rate against the limit. */
static void rate(struct program *p)
{
    unsigned limit = program_u8(p), put = program_u8(p), credit_bytes = program_u8(p);

    if (!room_for(put))
        return;
    rmig_out_reset_rate_window(out);
    rmig_out_set_rate_limit(out, limit);
    rmig_out_credit_rate(out, credit_bytes);
    expect(source, put);
    rmig_out_put_buffer(out, source, put);
    settle();
    need(rmig_out_rate_limit(out) == limit, "the limit");
    need(rmig_out_rate_reached(out) == (failed || (limit && put + credit_bytes > limit)),
         "the limit is reached");
    rmig_out_set_rate_limit(out, 0);
}

/* --- the private stream ----------------------------------------------------------------------- */

static bool have_private(void)
{
    if (!from) {
        need(rmig_out_new_private(&from, NULL) == 0, "a private stream");
        nown = nown_copied = 0;
        own_failed = 0;
    }
    return nown + SOURCE_BYTES <= sizeof(own);
}

/* Too much for it? copied: bytes of its buffer. */
static void expect_private(const void *p, size_t n, bool copied)
{
    int rc = rmig_out_error(from, NULL);

    if (own_failed) {
        need(rc == own_failed, "the private stream's error");
        return;
    }
    if (rc < 0) {
        need(rc == -ENOSPC, "the private stream's error");
        need(!copied || nown_copied + n > RMIG_STREAM_BUFFER_BYTES, "no room");
        own_failed = rc;
        return;
    }
    nown_copied += copied ? n : 0;
    need(nown_copied <= RMIG_STREAM_BUFFER_BYTES, "more than there is room for");
    memcpy(own + nown, p, n);
    nown += n;
    need(rmig_out_transferred_fast_bytes(from) >= nown, "what a private stream holds");
}

static void put_private(struct program *p)
{
    unsigned how = program_u8(p);
    size_t n;
    const uint8_t *bytes = take(p, &n);

    if (!have_private())
        return;
    if (how & 1)
        rmig_out_put_ref(from, bytes, n, false);
    else
        rmig_out_put_buffer(from, bytes, n);
    expect_private(bytes, n, !(how & 1));
    need(rmig_out_flush(from) == own_failed, "a flush of a private stream");
}

static void put_refs_private(struct program *p)
{
    unsigned count = program_u8(p) % 96;

    for (unsigned i = 0; i < count && have_private(); i++) {
        rmig_out_put_ref(from, source + 64 * i, 8, false);
        expect_private(source + 64 * i, 8, false);
        need(own_failed || i < RMIG_STREAM_IOV_MAX, "a list that is too long");
    }
}

static void put_stream(struct program *p)
{
    ssize_t rc;

    (void)p;
    need(rmig_out_put_stream(out, out) == -EINVAL, "a stream into itself");
    if (!from || !room_for(nown))
        return;
    if (!own_failed)
        expect(own, nown);
    rc = rmig_out_put_stream(out, from);
    settle();
    need(rc == (own_failed ? own_failed : failed ? failed : (ssize_t)nown), "bytes moved");
    if (!own_failed)
        need(rmig_out_buffer_empty(from), "a stream that was moved is empty");
    nown = own_failed ? nown : 0;
    nown_copied = own_failed ? nown_copied : 0;
}

/* --- what the channel does, and others with the stream ---------------------------------------- */

static void set_channel(struct program *p)
{
    static const int codes[] = {-EPIPE, -EIO, 0, -ECONNRESET};
    unsigned how = program_u8(p);

    ch.again = how & 1;
    ch.signals = how >> 1 & 1;
    ch.wait_code = (how >> 2 & 3) == 3 ? -ETIMEDOUT : 0;
    ch.short_at = (how & 0x30) == 0x30;
    if (how & 0x40)
        ch.step = program_length(p), ch.nsteps = STEPS_MAX;
    if (how & 0x80) {
        ch.fail_at = narrived + program_length(p);
        ch.code = codes[program_u8(p) % 4];
    }
}

static void set_error(struct program *p)
{
    unsigned how = program_u8(p);

    if (how & 1)
        need(rmig_out_shutdown(out, NULL) == -ENOSYS, "shut down");
    else
        rmig_out_set_error(out, -EPROTO, how & 2 ? "a user's" : NULL);
    if (!failed)
        failed = how & 1 ? -EIO : -EPROTO;
}

/* --- all of it -------------------------------------------------------------------------------- */

static void (*const operations[])(struct program *) = {
    put_number,      put_buffer,         put_ref,    put_refs,
    put_and_release, put_counted_string, put_at,     seek,
    flush,           transferred,        credit,     rate,
    put_private,     put_refs_private,   put_stream, set_channel,
    put_buffer,      set_error,
};
#define NOPERATIONS (sizeof(operations) / sizeof(operations[0]))

static void check(void)
{
    uint64_t fast = rmig_out_transferred_fast_bytes(out);

    settle();
    need(rmig_out_error(out, NULL) == failed, "the stream's error");
    if (failed) {
        need(fast <= narrived + at_position + credited, "more than has arrived");
        return;
    }
    need(fast == nwant + at_position + credited, "what is queued or transferred");
    need(narrived <= nwant && (narrived == nwant) == rmig_out_buffer_empty(out), "what is queued");
}

static void open_stream(unsigned flags)
{
    static const struct rmig_channel_ops ops = {.name = "sink",
                                                .writev = sink_writev,
                                                .pwrite = sink_pwrite,
                                                .seek = sink_seek,
                                                .wait = sink_wait,
                                                .close = sink_close};

    if (!arena) {
        fill_bytes(source, sizeof(source), 1);
        for (unsigned i = 0; i < ARENA_PAGES; i++)
            source[i * PAGE] = source[(i + 1) * PAGE - 1] = 0xa5;
        arena = mmap(NULL, (size_t)ARENA_PAGES * PAGE, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        need(arena != MAP_FAILED, "memory");
        memcpy(arena, source, (size_t)ARENA_PAGES * PAGE);
    }
    memset(&ch, 0, sizeof(ch));
    ch.base.ops = &ops;
    ch.base.flags = RMIG_CHANNEL_WRITABLE | (flags & 1 ? RMIG_CHANNEL_SEEKABLE : 0) |
                    (flags & 2 ? RMIG_CHANNEL_BULK : 0);
    ch.fail_at = SIZE_MAX;
    nwant = narrived = 0;
    failed = 0;
    at_position = position_base = credited = 0;
    nreleases = 0;
    from = NULL;
    need(rmig_out_new(&ch.base, &out, NULL) == 0, "a stream");
}

/* A byte of flags, then the program. */
FUZZ_TARGET(fuzz_out)
{
    struct program p = {data + 1, data + size};
    int rc;

    if (size < 1)
        return 0;
    open_stream(data[0]);
    while (p.at < p.end) {
        operations[program_u8(&p) % NOPERATIONS](&p);
        check();
    }
    if (from)
        need(rmig_out_close(from, NULL) == own_failed, "close of a private stream");
    rc = rmig_out_close(out, NULL);
    settle();
    need(rc == failed, "close");
    need(failed || narrived == nwant, "close writes all");
    check_released(true);
    refill_arena();
    return 0;
}
