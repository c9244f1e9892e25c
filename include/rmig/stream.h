/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * stream.h -- typed, buffered byte streams over a channel: rmig_out (write), rmig_in (read).
 *
 * Writes are void with a sticky error; rmig_out_flush() and rmig_out_error() report. Reads return
 * int (0 or more = success) and must be checked: nobody can mistake an error for data.
 *
 * Where a comment below does not say otherwise
 *   Ownership: nothing is kept of an argument after the call returns.
 *   Blocks:    may, inside the channel, within its idle deadline and until cancel.
 *   Threads:   one thread at a time per stream, and one for its return path; shutdown, error and
 *              set_error are for any thread.
 *   Errors:    the first error sticks; after it puts do nothing and reads return no data. Errors of
 *              the channel keep their errno: -EPIPE, -ECONNRESET peer gone; -ETIMEDOUT a deadline;
 *              -ECANCELED; -EIO end of stream, a short write, shut down.
 */
#ifndef RMIG_STREAM_H
#define RMIG_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <rmig/buffer.h>
#include <rmig/channel.h>
#include <rmig/error.h>

#ifdef __cplusplus
extern "C" {
#endif

struct rmig_out;
struct rmig_in;
struct z_stream_s; /* zlib's z_stream */

/** Copy buffer of a stream. */
#define RMIG_STREAM_BUFFER_BYTES 32768u
/** Most scatter entries that a stream queues. */
#define RMIG_STREAM_IOV_MAX 64

/** The window of a rate limit. */
#define RMIG_RATE_WINDOW_MS 100u

/** What a compressed put answers where the buffer has no room for the worst case. */
#define RMIG_OUT_NO_ROOM (-1)

/* --- life cycle ------------------------------------------------------------------------------- */

/**
 * rmig_out_new / rmig_in_new - make a stream over a channel
 * @ch:           channel that can be written (out) or read (in)
 * @out_p, @in_p: receives the stream
 *
 * Ownership: on success the stream owns @ch and closes it; on failure @ch stays the caller's. The
 *            caller closes the stream.
 * Blocks:    never.
 * Returns:   0; -EBADF @ch has not that direction; -ENOMEM.
 */
RMIG_MUST_CHECK int rmig_out_new(struct rmig_channel *ch, struct rmig_out **out_p,
                                 struct rmig_err *err);
RMIG_MUST_CHECK int rmig_in_new(struct rmig_channel *ch, struct rmig_in **in_p,
                                struct rmig_err *err);

/**
 * rmig_out_new_mode / rmig_in_new_mode - make a stream, with its direction given as a mode string
 * @ch:           channel that can be written (out) or read (in)
 * @mode:         "wb" (out) or "rb" (in); over a buffer channel "w" or "r"
 * @out_p, @in_p: receives the stream
 *
 * Ownership: on success the stream owns @ch and closes it; on failure @ch stays the caller's. The
 *            caller closes the stream.
 * Blocks:    never.
 * Returns:   0; -EINVAL naming the string and the one that is allowed; else as rmig_out_new.
 */
RMIG_MUST_CHECK int rmig_out_new_mode(struct rmig_channel *ch, const char *mode,
                                      struct rmig_out **out_p, struct rmig_err *err);
RMIG_MUST_CHECK int rmig_in_new_mode(struct rmig_channel *ch, const char *mode,
                                     struct rmig_in **in_p, struct rmig_err *err);

/**
 * rmig_out_new_private - make a buffer-only stream: no channel, at most RMIG_STREAM_BUFFER_BYTES
 * @out_p: receives the stream
 *
 * For worker threads that fill it, often with rmig_out_put_compressed(); rmig_out_put_stream()
 * collects it. A put beyond the buffer or the scatter list is the stream's error -ENOSPC.
 *
 * Ownership: the caller closes the stream.
 * Blocks:    never.
 * Returns:   0; -ENOMEM.
 */
RMIG_MUST_CHECK int rmig_out_new_private(struct rmig_out **out_p, struct rmig_err *err);

/**
 * rmig_out_return_path / rmig_in_return_path - make the stream of the other way over the same channel
 * @in_p, @out_p: receives the stream, or NULL where the channel is one-way
 *
 * Ownership: the caller closes the return path, before the first stream, with which the channel stays.
 * Blocks:    never.
 * Returns:   0; -ENOMEM.
 */
RMIG_MUST_CHECK int rmig_out_return_path(struct rmig_out *out, struct rmig_in **in_p,
                                         struct rmig_err *err);
RMIG_MUST_CHECK int rmig_in_return_path(struct rmig_in *in, struct rmig_out **out_p,
                                        struct rmig_err *err);

/**
 * rmig_out_close / rmig_in_close - flush a stream, close its channel, free
 * @out, @in: NULL is fine (0); a return path leaves the channel to its owner
 * @err:      receives the message of the error that is returned
 *
 * Ownership: the stream is gone whatever is returned; borrowed memory is given back.
 * Threads:   no other thread may be inside the stream.
 * Returns:   the first error the stream ever saw; else the close error; else what the channel's close
 *            gave, 0 or more.
 */
int rmig_out_close(struct rmig_out *out, struct rmig_err *err);
int rmig_in_close(struct rmig_in *in, struct rmig_err *err);

/* --- errors, shutdown ------------------------------------------------------------------------- */

/**
 * rmig_out_error / rmig_in_error - the sticky error of a stream
 * @err: receives code and message; without a stored message one that names the errno; may be NULL
 *
 * Blocks:  never.
 * Threads: any.
 * Returns: 0 none; else the first error's negative errno.
 */
int rmig_out_error(const struct rmig_out *out, struct rmig_err *err);
int rmig_in_error(const struct rmig_in *in, struct rmig_err *err);

/**
 * rmig_any_error / rmig_any_error_in_first - the error of two streams, forward and return path
 * @out, @in: either may be NULL
 * @err:      as for rmig_out_error()
 *
 * rmig_any_error_in_first() is for a side whose forward stream is the incoming one.
 *
 * Blocks:  never.
 * Threads: any.
 * Returns: the error of @out; else that of @in; else 0. rmig_any_error_in_first() asks @in first.
 */
int rmig_any_error(const struct rmig_out *out, const struct rmig_in *in, struct rmig_err *err);
int rmig_any_error_in_first(const struct rmig_in *in, const struct rmig_out *out,
                            struct rmig_err *err);

/**
 * rmig_out_set_error / rmig_in_set_error - record an error found by a user of the stream
 * @code: negative errno; any other value is recorded as -EIO
 * @fmt:  printf format of the message, or NULL for none
 *
 * The first error sticks; the message of a later one goes to the log (RMIG_LOG_WARNING).
 *
 * Blocks:  never.
 * Threads: any.
 */
void rmig_out_set_error(struct rmig_out *out, int code, const char *fmt, ...) RMIG_PRINTF(3, 4);
void rmig_in_set_error(struct rmig_in *in, int code, const char *fmt, ...) RMIG_PRINTF(3, 4);

/**
 * rmig_out_shutdown / rmig_in_shutdown - fail the stream (-EIO), then shut its channel down
 *
 * In this order, so that nobody can take a short read for good data. Both directions end.
 *
 * Blocks:  never.
 * Threads: any.
 * Returns: 0; -ENOSYS the channel cannot shut down (the stream has failed all the same); -EIO it
 *          failed to, with its message.
 */
int rmig_out_shutdown(struct rmig_out *out, struct rmig_err *err);
int rmig_in_shutdown(struct rmig_in *in, struct rmig_err *err);

/* --- queries and modes ------------------------------------------------------------------------ */

/**
 * rmig_out_channel / rmig_in_channel - the channel of a stream
 *
 * Ownership: stays the stream's.
 * Blocks:    never.
 * Returns:   the channel; NULL for a private stream.
 */
struct rmig_channel *rmig_out_channel(const struct rmig_out *out);
struct rmig_channel *rmig_in_channel(const struct rmig_in *in);

/**
 * rmig_out_is_writable / rmig_in_is_writable - does a flush lead anywhere?
 *
 * Blocks: never.
 * Returns: true for an output stream with a channel; false for a private and for an input stream.
 */
bool rmig_out_is_writable(const struct rmig_out *out);
bool rmig_in_is_writable(const struct rmig_in *in);

/**
 * rmig_out_is_seekable / rmig_in_is_seekable - has the channel of a stream positions?
 *
 * Blocks:  never.
 * Returns: whether it has.
 */
bool rmig_out_is_seekable(const struct rmig_out *out);
bool rmig_in_is_seekable(const struct rmig_in *in);

/**
 * rmig_out_fd / rmig_in_fd - the descriptor of a stream's channel
 *
 * Ownership: stays the channel's.
 * Blocks:    never.
 * Returns:   the descriptor; -1 where the channel has none.
 */
int rmig_out_fd(const struct rmig_out *out);
int rmig_in_fd(const struct rmig_in *in);

/**
 * rmig_out_set_blocking / rmig_in_set_blocking - choose blocking (the default) or non-blocking I/O
 *
 * Both directions of a socket share the channel's setting. A read of a stream that was itself made
 * non-blocking answers -EAGAIN where it would block, and consumes nothing; that does not stick. All
 * other streams over the channel wait, as does all writing: a put is whole or the stream fails.
 *
 * Blocks:  never.
 * Returns: 0; -ENOTSUP the channel has one mode only; a system errno.
 */
int rmig_out_set_blocking(struct rmig_out *out, bool blocking, struct rmig_err *err);
int rmig_in_set_blocking(struct rmig_in *in, bool blocking, struct rmig_err *err);

/* --- writing ---------------------------------------------------------------------------------- */

/**
 * rmig_out_put_u8 / _be16 / _be32 / _be64 - put one number in a stream, big-endian
 *
 * Blocks: where the buffer is full, as rmig_out_flush().
 */
void rmig_out_put_u8(struct rmig_out *out, uint8_t v);
void rmig_out_put_be16(struct rmig_out *out, uint16_t v);
void rmig_out_put_be32(struct rmig_out *out, uint32_t v);
void rmig_out_put_be64(struct rmig_out *out, uint64_t v);

/**
 * rmig_out_put_buffer - put bytes in a stream, copied
 * @buf:       first byte
 * @len_bytes: any; 0 does nothing
 */
void rmig_out_put_buffer(struct rmig_out *out, const void *buf, size_t len_bytes);

/**
 * rmig_out_put_ref - put bytes in a stream, by reference
 * @buf:       first byte
 * @len_bytes: any; 0 does nothing
 * @may_free:  release the range with madvise(MADV_DONTNEED) after the flush that wrote it, joined
 *             with neighbours; the whole pages of it, which must begin with one or the kernel
 *             refuses: that is logged and survived
 *
 * Queues one scatter entry, or grows the last one where the two touch in memory and agree in
 * @may_free. Flushes when RMIG_STREAM_IOV_MAX entries are queued; over a RMIG_CHANNEL_BULK channel
 * several such lists may go out by one write, at the latest with the next flush.
 *
 * Ownership: @buf is borrowed until the next rmig_out_flush() or rmig_out_close() returns; do not
 *            change it before, the peer may see either content.
 */
void rmig_out_put_ref(struct rmig_out *out, const void *buf, size_t len_bytes, bool may_free);

/**
 * rmig_out_put_counted_string - put one length byte and that many bytes in a stream
 * @s: NUL-terminated, 0..255 bytes; a longer one is refused: the stream's error is -EINVAL
 */
void rmig_out_put_counted_string(struct rmig_out *out, const char *s);

/**
 * rmig_out_put_compressed - put be32 length and the deflate stream of a block in a stream
 * @zs:        a z_stream after deflateInit, reset and reused here
 * @len_bytes: where compressBound() of it and the 4 of the length go beyond RMIG_STREAM_BUFFER_BYTES,
 *             which is from 32744 bytes on, there is never room, whatever the bytes are
 *
 * A stream with a channel flushes first where the worst case does not fit; a private one does not.
 *
 * Returns: bytes put, the 4 of the length included; RMIG_OUT_NO_ROOM, with the stream as it was;
 *          -EINVAL @zs cannot deflate, or is set so that the block came out larger than
 *          compressBound, or @len_bytes is beyond INT32_MAX (does not stick); the stream's error.
 * Source:  zlib's compressBound and deflate; the length word is that of the migration stream.
 */
ssize_t rmig_out_put_compressed(struct rmig_out *out, struct z_stream_s *zs, const void *buf,
                                size_t len_bytes);

/**
 * rmig_out_put_compressed_level - put be32 length and a block, deflated with a z_stream of its own
 * @level:     0..9, or -1 for zlib's default
 * @len_bytes: where compressBound() of it and the 4 of the length go beyond RMIG_STREAM_BUFFER_BYTES,
 *             which is from 32744 bytes on, there is never room, whatever the bytes are
 *
 * Returns: bytes put, the 4 of the length included; -EINVAL @level or @len_bytes (does not stick);
 *          -ENOMEM (does not stick); else as rmig_out_put_compressed.
 */
ssize_t rmig_out_put_compressed_level(struct rmig_out *out, int level, const void *buf,
                                      size_t len_bytes);

/**
 * rmig_out_put_stream - move what a private stream holds to the end of another, emptying it
 * @from: a private stream; what it holds by reference goes over by reference
 *
 * Returns: bytes moved, 0 or more; -EINVAL @from has a channel or is @out; the error of @from; the
 *          error of @out (@from is emptied then too).
 */
ssize_t rmig_out_put_stream(struct rmig_out *out, struct rmig_out *from);

/**
 * rmig_out_buffer_empty - is nothing queued in a stream, copied or by reference?
 *
 * Blocks:  never.
 * Returns: whether nothing is.
 */
bool rmig_out_buffer_empty(const struct rmig_out *out);

/**
 * rmig_out_flush - write everything queued, release the may-free ranges, give borrowed memory back
 *
 * Does nothing on a private or a failed stream.
 *
 * Returns: 0; the stream's error (-EIO: the channel took fewer bytes than it was given).
 */
int rmig_out_flush(struct rmig_out *out);

/**
 * rmig_out_put_buffer_at - flush a stream, then write at a position of its seekable channel
 * @offset_bytes: from the channel's beginning; the stream's own position stays
 *
 * Counted as transferred and against the rate limit.
 *
 * Returns: 0; the stream's error. New: -ENOTSUP no positions; -EAGAIN would block; -EIO a partial
 *          write, with both figures.
 */
int rmig_out_put_buffer_at(struct rmig_out *out, const void *buf, size_t len_bytes,
                           uint64_t offset_bytes);

/**
 * rmig_out_seek / rmig_in_seek - set the position of a stream; out flushes first, in drops its buffer
 * @offset_bytes: may be negative but from SEEK_SET
 * @whence: SEEK_SET, SEEK_CUR (from the position as tell gives it) or SEEK_END
 *
 * Returns: the new position in bytes; the stream's error. New: -ENOTSUP no positions; -EINVAL.
 */
int64_t rmig_out_seek(struct rmig_out *out, int64_t offset_bytes, int whence);
int64_t rmig_in_seek(struct rmig_in *in, int64_t offset_bytes, int whence);

/**
 * rmig_out_tell / rmig_in_tell - the position of a stream's next byte put or got; out flushes first
 *
 * Returns: the position in bytes; the stream's error. New: -ENOTSUP no positions.
 */
int64_t rmig_out_tell(struct rmig_out *out);
int64_t rmig_in_tell(struct rmig_in *in);

/**
 * rmig_out_buffer - flush a stream over a buffer channel and hand out its buffer
 *
 * Ownership: the buffer stays the stream's, whose close frees it; clone it to keep it.
 * Returns:   the buffer; NULL where the channel is none or the stream has failed.
 */
struct rmig_buffer *rmig_out_buffer(struct rmig_out *out);

/* --- reading: 0 or -errno; the value by out-param --------------------------------------------- */

/**
 * rmig_in_get_u8 / _be16 / _be32 / _be64 - get one number from a stream, big-endian
 * @v_p: receives the number
 *
 * Returns: 0; the stream's error (-EIO: it ends before the last byte); -EAGAIN non-blocking.
 */
RMIG_MUST_CHECK int rmig_in_get_u8(struct rmig_in *in, uint8_t *v_p);
RMIG_MUST_CHECK int rmig_in_get_be16(struct rmig_in *in, uint16_t *v_p);
RMIG_MUST_CHECK int rmig_in_get_be32(struct rmig_in *in, uint32_t *v_p);
RMIG_MUST_CHECK int rmig_in_get_be64(struct rmig_in *in, uint64_t *v_p);

/**
 * rmig_in_get_buffer - get exactly so many bytes from a stream
 * @buf: written even where the answer is an error: do not use it then
 *
 * What is buffered is copied; the rest is read straight into @buf where it is large.
 *
 * Returns: 0; the stream's error (-EIO: it ends before the last byte); -EAGAIN non-blocking; -EINVAL
 *          (does not stick) non-blocking, and more than RMIG_STREAM_BUFFER_BYTES, which could not be
 *          given back.
 */
RMIG_MUST_CHECK int rmig_in_get_buffer(struct rmig_in *in, void *buf, size_t len_bytes);

/**
 * rmig_in_get_in_place - get bytes from a stream, without a copy where they fit its buffer
 * @fallback: len_bytes of memory, used where they do not
 * @buf_p:    receives where the bytes are: in the stream's buffer, valid until the next call on it,
 *            or @fallback
 *
 * Returns: as rmig_in_get_buffer.
 */
RMIG_MUST_CHECK int rmig_in_get_in_place(struct rmig_in *in, void *fallback, size_t len_bytes,
                                         const uint8_t **buf_p);

/**
 * rmig_in_get_compressed - get a block that rmig_out_put_compressed() put
 * @zs:        a z_stream after inflateInit, reset and reused here, or NULL for one of its own
 * @len_bytes: room at @buf; at most INT32_MAX
 *
 * Returns: bytes of the block, 0..@len_bytes; -ENOTSUP (does not stick) on a non-blocking stream;
 *          -EINVAL (does not stick) @zs cannot be reset, or @len_bytes is beyond INT32_MAX; the
 *          stream's error. New: -EPROTO the length word is beyond what @len_bytes can deflate to, the
 *          block is longer than @len_bytes, or it is corrupt; -ENOMEM.
 */
RMIG_MUST_CHECK ssize_t rmig_in_get_compressed(struct rmig_in *in, struct z_stream_s *zs, void *buf,
                                               size_t len_bytes);

/**
 * rmig_in_get_counted_string - get one length byte and that many bytes from a stream
 * @str: 256 bytes; NUL-terminated whenever 0 or more is returned
 *
 * Returns: the length, 0..255; 0 where the stream ends inside the string (and then it has failed);
 *          the stream's error where it has failed before; -EAGAIN non-blocking.
 */
RMIG_MUST_CHECK int rmig_in_get_counted_string(struct rmig_in *in, char str[256]);

/**
 * rmig_in_get_buffer_at - read at a position of a stream's seekable channel
 * @offset_bytes: from the channel's beginning; the stream's own position and buffer stay
 *
 * Returns: 0; the stream's error. New: -ENOTSUP no positions; -EIO a partial read, with both
 *          figures.
 */
RMIG_MUST_CHECK int rmig_in_get_buffer_at(struct rmig_in *in, void *buf, size_t len_bytes,
                                          uint64_t offset_bytes);

/**
 * rmig_in_peek - look at bytes of a stream without getting them
 * @buf_p:        receives a pointer into the stream's buffer, valid until the next call on @in
 * @len_bytes:    how many
 * @offset_bytes: from the next byte; @offset_bytes + @len_bytes <= RMIG_STREAM_BUFFER_BYTES
 *
 * Gathers over short reads.
 *
 * Returns: @len_bytes; fewer, at least 1, where the stream ended (it has failed then) or a
 *          non-blocking one would block; -EAGAIN it would with none there; the stream's error;
 *          -EINVAL (does not stick) the range is beyond the buffer.
 */
RMIG_MUST_CHECK ssize_t rmig_in_peek(struct rmig_in *in, const uint8_t **buf_p, size_t len_bytes,
                                     size_t offset_bytes);

/**
 * rmig_in_peek_u8 - look at a byte of a stream without getting it
 * @offset_bytes: from the next byte; less than RMIG_STREAM_BUFFER_BYTES
 * @v_p:          receives the byte
 *
 * Returns: 0; else as rmig_in_peek.
 */
RMIG_MUST_CHECK int rmig_in_peek_u8(struct rmig_in *in, size_t offset_bytes, uint8_t *v_p);

/**
 * rmig_in_skip - drop the next bytes of a stream
 * @len_bytes: any number
 *
 * Returns: as rmig_in_get_buffer.
 */
RMIG_MUST_CHECK int rmig_in_skip(struct rmig_in *in, size_t len_bytes);

/**
 * rmig_in_copy_to_fd - copy the next bytes of a stream to a descriptor
 * @fd:        a descriptor that can be written; stays the caller's
 * @len_bytes: any number
 *
 * Blocks:  inside @in as every read; on @fd at most 30 s without a byte moving, and until shut down.
 * Returns: 0; the stream's error (-EIO: end of stream); the errno of the write, or -ETIMEDOUT: it does
 *          not stick, and what was not written is still there to be got; -EAGAIN non-blocking,
 *          likewise.
 */
RMIG_MUST_CHECK int rmig_in_copy_to_fd(struct rmig_in *in, int fd, uint64_t len_bytes);

/**
 * rmig_in_buffered_bytes - what can be got from a stream without a read
 *
 * Blocks:  never.
 * Returns: bytes.
 */
size_t rmig_in_buffered_bytes(const struct rmig_in *in);

/* --- accounting and rate limit ---------------------------------------------------------------- */

/**
 * rmig_out_transferred_bytes - bytes that a stream has written or was credited, exact: flushes first
 *
 * Returns: bytes; after an error those that were written before it.
 */
uint64_t rmig_out_transferred_bytes(struct rmig_out *out);

/**
 * rmig_out_transferred_fast_bytes - bytes that a stream has written or queued, or was credited
 *
 * Flushes nothing.
 *
 * Blocks:  never.
 * Returns: bytes; after an error those that were written before it.
 */
uint64_t rmig_out_transferred_fast_bytes(const struct rmig_out *out);

/**
 * rmig_out_credit_transferred - add bytes that a transport moved elsewhere to what was transferred
 *
 * Blocks: never.
 */
void rmig_out_credit_transferred(struct rmig_out *out, uint64_t nbytes);

/**
 * rmig_out_credit_rate - count bytes that a transport moved elsewhere in the window's rate
 *
 * Blocks: never.
 */
void rmig_out_credit_rate(struct rmig_out *out, uint64_t nbytes);

/**
 * rmig_out_set_rate_limit - limit what the stream may put
 * @bytes_per_window: in RMIG_RATE_WINDOW_MS; 0 = no limit; at most UINT64_MAX / 10
 *
 * The stream itself never waits. A caller either asks rmig_out_rate_reached() and begins a window
 * of its own with rmig_out_reset_rate_window(); or waits as long as rmig_out_rate_wait_ns() says,
 * which holds the rate evenly.
 *
 * Blocks: never.
 */
void rmig_out_set_rate_limit(struct rmig_out *out, uint64_t bytes_per_window);

/**
 * rmig_out_rate_limit - the rate limit of a stream
 *
 * Blocks:  never.
 * Returns: bytes per window; 0 = no limit.
 */
uint64_t rmig_out_rate_limit(const struct rmig_out *out);

/**
 * rmig_out_reset_rate_window - begin a new window of the rate limit
 *
 * Blocks: never.
 */
void rmig_out_reset_rate_window(struct rmig_out *out);

/**
 * rmig_out_rate_reached - has the window put more than the rate limit?
 *
 * Counts copied, referenced and credited bytes alike.
 *
 * Blocks:  never.
 * Returns: whether it has; true also when the stream has failed, so that a loop on it ends.
 */
bool rmig_out_rate_reached(const struct rmig_out *out);

/**
 * rmig_out_rate_wait_ns - how long to put nothing, to be within the limit
 *
 * A token bucket. A caller that puts pieces of at most 1 ms of the limit, asks after each and waits
 * as told, holds the rate within 3 % over any 200 ms (at a low limit: within a piece), and never
 * waits below it. Bytes that wait in the stream count as put: flush before it asks.
 *
 * Counts copied, referenced and credited bytes alike.
 *
 * Blocks: never.
 * Returns: nanoseconds; 0 also without a limit and on a failed stream.
 */
uint64_t rmig_out_rate_wait_ns(struct rmig_out *out);

/**
 * rmig_in_received_bytes - bytes that a stream has read, those still buffered included
 *
 * Blocks:  never.
 * Returns: bytes.
 */
uint64_t rmig_in_received_bytes(const struct rmig_in *in);

#ifdef __cplusplus
}
#endif
#endif
