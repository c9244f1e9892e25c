/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_inflate.c -- libFuzzer target: any bytes as a compressed block of a stream, for room of any
 * size; and any block compressed and got back. */
#include <errno.h>
#include <string.h>
#include <zlib.h>
#include <rmig/stream.h>

#include "common/bytes.h"
#include "tests/fuzz/bytes_channel.h"
#include "tests/fuzz/target.h"

/* The state of a deflate of its own is the largest allocation: malloc_limit_mb=1; max_len=1024 */

#define BLOCK_MAX 65535u
#define CANARY_BYTES 64u
#define TAIL_BYTES 5u

static uint8_t block[BLOCK_MAX], room[BLOCK_MAX + CANARY_BYTES], wanted[BLOCK_MAX];
static uint8_t noise[BLOCK_MAX];
static uint8_t stream[4 + BLOCK_MAX + 1024 + TAIL_BYTES];
static z_stream inflater, model, deflaters[3];

static void prepare(void)
{
    if (inflater.state)
        return;
    fill_bytes(noise, sizeof(noise), 1);
    need(inflateInit(&inflater) == Z_OK && inflateInit(&model) == Z_OK, "zlib");
    need(deflateInit(&deflaters[0], Z_DEFAULT_COMPRESSION) == Z_OK, "zlib");
    need(deflateInit(&deflaters[1], Z_BEST_SPEED) == Z_OK, "zlib");
    /* of blocks that have no pattern it makes more than compressBound says */
    need(deflateInit2(&deflaters[2], 1, Z_DEFLATED, 9, 1, Z_FIXED) == Z_OK, "zlib");
}

/* What zlib makes of the block that a stream begins with: its length, or -EPROTO, -EIO. */
static ssize_t inflate_at_once(size_t nstream, size_t nroom)
{
    uint32_t deflated;
    int zrc;

    if (nstream < 4)
        return -EIO;
    deflated = rmig_load_be32(stream);
    if (deflated > compressBound(nroom))
        return -EPROTO;
    inflateReset(&model);
    model.next_in = stream + 4;
    model.avail_in = (uInt)(deflated < nstream - 4 ? deflated : nstream - 4);
    model.next_out = wanted;
    model.avail_out = (uInt)nroom;
    zrc = deflated ? inflate(&model, Z_FINISH) : Z_DATA_ERROR;
    /* what is not there may have been needed, or be too much */
    if (deflated > nstream - 4)
        return -EIO;
    return zrc == Z_STREAM_END && model.avail_in == 0 ? (ssize_t)(nroom - model.avail_out)
                                                      : -EPROTO;
}

/* Get it, of a stream that gives step bytes at a time. Returns: what was got. */
static ssize_t get(size_t nstream, size_t nroom, size_t step, bool own)
{
    static const uint8_t canary[CANARY_BYTES] = {0x5a, 0xa5, 0x5a};
    const ssize_t n = inflate_at_once(nstream, nroom);
    struct bytes_channel ch;
    struct rmig_in *in;
    ssize_t rc;

    bytes_channel_init(&ch, stream, nstream, 0);
    ch.step = step;
    need(rmig_in_new(&ch.base, &in, NULL) == 0, "a stream");
    memcpy(room + nroom, canary, sizeof(canary));
    rc = rmig_in_get_compressed(in, own ? NULL : &inflater, room, nroom);
    need(memcmp(room + nroom, canary, sizeof(canary)) == 0, "memory behind the room");
    need(rmig_in_error(in, NULL) == (rc < 0 ? rc : 0), "a failure sticks");
    if (n == -EIO) { /* what is there may be wrong already */
        need(rc == -EIO || rc == -EPROTO, "a block that is cut off");
    } else {
        need(rc == n, "the length of a block, or that there is none");
    }
    if (rc >= 0) {
        const size_t end = 4 + rmig_load_be32(stream);

        need(memcmp(room, wanted, (size_t)rc) == 0, "the block");
        need(ch.pos - rmig_in_buffered_bytes(in) == end, "where the block ends");
    }
    need(rmig_in_close(in, NULL) == (rc < 0 ? rc : 0), "close");
    return rc;
}

/* A length, seldom one that takes long. */
static size_t block_length(struct program *p, bool any)
{
    const size_t n = program_length(p);

    return any || n < 2048 ? n : n % 2048;
}

/* The bytes, again and again; or such that cannot be compressed. */
static void make_block(const struct program *p, size_t n, bool plain)
{
    const size_t have = (size_t)(p->end - p->at);

    if (plain || have == 0) {
        memcpy(block, noise, n);
        return;
    }
    memcpy(block, p->at, have < n ? have : n);
    for (size_t done = have; done < n; done *= 2)
        memcpy(block + done, block, done < n - done ? done : n - done);
}

/* What the stream put, behind a few bytes that fill its buffer to some degree. */
static size_t take_stream(struct rmig_out *out, size_t nbefore)
{
    struct rmig_buffer *buf = rmig_out_buffer(out);
    size_t n;

    need(buf != NULL, "a buffer");
    n = rmig_buffer_read(buf, nbefore, sizeof(stream), stream);
    need(rmig_buffer_length(buf) == nbefore + n, "what was put");
    return n;
}

/* It answers no room exactly where the worst case has none. */
static bool put(struct rmig_out *out, int which, int level, size_t n, size_t *nput_p)
{
    const bool own = which == 3;
    const uLong bound = own ? compressBound(n) : deflateBound(&deflaters[which], n);
    ssize_t rc = own ? rmig_out_put_compressed_level(out, level, block, n)
                     : rmig_out_put_compressed(out, &deflaters[which], block, n);

    need(rmig_out_error(out, NULL) == 0, "a put that fails leaves the stream as it was");
    if (own && (level < -1 || level > 9)) {
        need(rc == -EINVAL, "a level that there is not");
        return false;
    }
    if (4 + bound > RMIG_STREAM_BUFFER_BYTES) {
        need(rc == RMIG_OUT_NO_ROOM, "no room");
        return false;
    }
    if (which == 2 && rc == -EINVAL)
        return false;
    need(rc > 4 && (uLong)rc - 4 <= compressBound(n), "bytes put");
    *nput_p = (size_t)rc;
    return true;
}

static void there_and_back(struct program *p, unsigned how)
{
    /* a deflate of the stream's own costs a large allocation */
    const int which = (how & 0x38) == 0x38 ? 3 : (int)(how >> 3) % 3;
    const int level = (int)(program_u8(p) % 13) - 2;
    const size_t nbefore = program_length(p) % RMIG_STREAM_BUFFER_BYTES;
    const size_t n = block_length(p, (how & 0x80) && nbefore % 4 == 0);
    struct rmig_buffer *buf;
    struct rmig_channel *ch;
    struct rmig_out *out;
    size_t nput = 0;
    bool done;

    make_block(p, n, how & 0x40);
    need(rmig_buffer_new(0, &buf, NULL) == 0, "a buffer");
    need(rmig_channel_from_buffer(buf, RMIG_OPEN_WRITE, &ch, NULL) == 0, "a channel");
    need(rmig_out_new(ch, &out, NULL) == 0, "a stream");
    rmig_out_put_buffer(out, room, nbefore);
    done = put(out, which, level, n, &nput);
    need(take_stream(out, nbefore) == nput, "bytes put");
    need(rmig_out_close(out, NULL) == 0, "close");
    if (!done)
        return;
    need(get(nput, n, 0, how & 0x04) == (ssize_t)n, "there and back");
    need(memcmp(room, block, n) == 0, "the same block");
}

/* A block that may be longer than the stream's buffer, with a byte changed. */
static void damaged(struct program *p, unsigned how)
{
    const size_t at = program_u16(p), step = program_u16(p);
    const uint8_t flip = (uint8_t)program_u8(p);
    const size_t n = block_length(p, flip < 8), nroom = n - (how & 0x08 && n ? 1 : 0);
    uLongf deflated = sizeof(stream) - 4;

    make_block(p, n, how & 0x40);
    need(compress2(stream + 4, &deflated, block, n, how & 0x20 ? 0 : 1) == Z_OK, "zlib");
    rmig_store_be32(stream, (uint32_t)deflated);
    stream[at % (4 + deflated)] ^= flip;
    get(4 + deflated - (how & 0x10 ? at % 3 : 0), nroom, step, how & 0x04);
}

/* How, then what it is about. */
FUZZ_TARGET(fuzz_inflate)
{
    struct program p = {data, data + size};
    unsigned how = program_u8(&p);
    size_t nroom, step, n;

    prepare();
    if ((how & 3) == 2) {
        there_and_back(&p, how);
        return 0;
    }
    if ((how & 0x83) == 0x83) {
        damaged(&p, how);
        return 0;
    }
    nroom = program_length(&p);
    step = program_u8(&p);
    n = (size_t)(p.end - p.at) < BLOCK_MAX ? (size_t)(p.end - p.at) : BLOCK_MAX;
    if (how & 1) { /* its length is right */
        rmig_store_be32(stream, (uint32_t)n);
        memcpy(stream + 4, p.at, n);
        memset(stream + 4 + n, 0x11, TAIL_BYTES);
        n += 4 + (how & 8 ? TAIL_BYTES : 0);
    } else {
        memcpy(stream, p.at, n);
    }
    get(n, nroom, step, how & 0x04);
    return 0;
}
