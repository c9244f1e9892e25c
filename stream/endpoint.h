/* SPDX-License-Identifier: BSD-3-Clause */
/* endpoint.h -- how rmig_channel_open() and rmig_channel_from_fd() make each kind of endpoint. */
#ifndef STREAM_ENDPOINT_H
#define STREAM_ENDPOINT_H

#include <sys/un.h>
#include <rmig/channel.h>

/** Connect a tcp or unix URI. Returns: 0; -errno. */
int rmig_endpoint_connect(const struct rmig_uri *uri, const struct rmig_channel_opts *opts,
                          struct rmig_channel **ch_p, struct rmig_err *err);

/** Address of a unix socket. Returns: 0; -ENAMETOOLONG. */
int rmig_endpoint_unix_address(const char *path, struct sockaddr_un *addr_p, struct rmig_err *err);

/**
 * Take over a connected socket, a pipe or other descriptor, a seekable file. On failure the
 * descriptor stays the caller's. label: what messages call it; origin_bytes: where position 0 of
 * the channel is in the file. Returns: 0; -errno.
 */
int rmig_endpoint_socket(int fd, const char *label, const struct rmig_channel_opts *opts,
                         struct rmig_channel **ch_p, struct rmig_err *err);
int rmig_endpoint_fd(int fd, mode_t type, uint32_t flags, const char *label, const struct rmig_channel_opts *opts,
                     struct rmig_channel **ch_p, struct rmig_err *err);
int rmig_endpoint_file(int fd, uint32_t flags, const char *label, uint64_t origin_bytes,
                       const struct rmig_channel_opts *opts, struct rmig_channel **ch_p,
                       struct rmig_err *err);

/** Open a file, created and emptied from its offset on for writing. Returns: 0; -errno. */
int rmig_endpoint_open_file(const struct rmig_uri *uri, enum rmig_channel_mode mode,
                            const struct rmig_channel_opts *opts, struct rmig_channel **ch_p,
                            struct rmig_err *err);

/** Run a shell command, its input (WRITE) or output (READ) being the channel. Returns: 0; -errno.
 */
int rmig_endpoint_exec(const char *command, enum rmig_channel_mode mode,
                       const struct rmig_channel_opts *opts, struct rmig_channel **ch_p,
                       struct rmig_err *err);

/** Returns: the buffer of a buffer channel; NULL for any other channel. */
struct rmig_buffer *rmig_endpoint_buffer(const struct rmig_channel *ch);

#endif
