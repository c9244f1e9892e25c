/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * buffer.h -- a growable scatter buffer in memory: what a stream over memory reads and writes.
 *
 * Made of chunks of 1 KiB, of 16 KiB where the buffer is larger than that; growing never moves what
 * is there.
 *
 * Where a comment below does not say otherwise
 *   Ownership: the buffer stays the caller's; nothing is kept of an argument after the call returns.
 *   Blocks:    never.
 *   Threads:   one thread at a time per buffer.
 */
#ifndef RMIG_BUFFER_H
#define RMIG_BUFFER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <rmig/error.h>

#ifdef __cplusplus
extern "C" {
#endif

struct rmig_buffer;

/** Size of a chunk. */
#define RMIG_BUFFER_CHUNK_BYTES 1024u
/** Size of a chunk that is allocated when the buffer is larger than this. */
#define RMIG_BUFFER_CHUNK_MAX_BYTES 16384u

/**
 * rmig_buffer_new - make a buffer of length 0
 * @capacity_bytes: what to allocate at once, rounded up to chunks; 0 = one chunk
 * @buf_p:          receives the buffer
 *
 * Ownership: the caller frees it, or a channel does that it was given to.
 * Returns: 0; -ENOMEM.
 */
RMIG_MUST_CHECK int rmig_buffer_new(size_t capacity_bytes, struct rmig_buffer **buf_p,
                                    struct rmig_err *err);

/**
 * rmig_buffer_new_from - make a buffer that holds a copy of bytes
 * @bytes, @len_bytes: what to copy
 * @buf_p:             receives the buffer
 *
 * Ownership: the caller frees it, or a channel does that it was given to; @bytes stays the caller's.
 * Returns: 0; -ENOMEM.
 */
RMIG_MUST_CHECK int rmig_buffer_new_from(const void *bytes, size_t len_bytes,
                                         struct rmig_buffer **buf_p, struct rmig_err *err);

/**
 * rmig_buffer_clone - make a deep copy of a buffer
 * @clone_p: receives the copy
 *
 * Ownership: the caller frees the copy, or a channel does that it was given to.
 * Returns: 0; -ENOMEM.
 */
RMIG_MUST_CHECK int rmig_buffer_clone(const struct rmig_buffer *buf, struct rmig_buffer **clone_p,
                                      struct rmig_err *err);

/** rmig_buffer_free - free buffer and content; NULL is fine. Ownership: the buffer is gone. */
void rmig_buffer_free(struct rmig_buffer *buf);

/** rmig_buffer_length - how much is in a buffer. Returns: bytes. */
size_t rmig_buffer_length(const struct rmig_buffer *buf);

/** rmig_buffer_capacity - how much a buffer can hold without growing. Returns: bytes. */
size_t rmig_buffer_capacity(const struct rmig_buffer *buf);

/**
 * rmig_buffer_set_length - truncate a buffer, or lengthen it within what is allocated
 * @len_bytes: the length asked for; bytes that come in are zero
 *
 * Returns: what the length became: the smaller of @len_bytes and the capacity.
 */
size_t rmig_buffer_set_length(struct rmig_buffer *buf, size_t len_bytes);

/**
 * rmig_buffer_read - copy [start, start + count) of a buffer into flat memory, clipped at its length
 * @dst: room for count bytes
 *
 * Returns: bytes copied, 0 at or beyond the end.
 */
size_t rmig_buffer_read(const struct rmig_buffer *buf, size_t start_bytes, size_t count_bytes,
                        void *dst);

/**
 * rmig_buffer_write - write at any position of a buffer, growing as needed; a gap becomes zero
 * @start_bytes: 0 .. SSIZE_MAX - len_bytes
 *
 * Returns: @len_bytes; -ENOMEM or -EFBIG (the position is out of range), with the buffer as it was.
 */
RMIG_MUST_CHECK ssize_t rmig_buffer_write(struct rmig_buffer *buf, size_t start_bytes,
                                          const void *src, size_t len_bytes);

#ifdef __cplusplus
}
#endif
#endif
