/* SPDX-License-Identifier: BSD-3-Clause */
/* resolve.h -- host names to addresses, with a deadline and cancel; libc only. */
#ifndef COMMON_RESOLVE_H
#define COMMON_RESOLVE_H

#include <netdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <rmig/error.h>

/** Room for "[v6 address%scope]:port". */
#define RMIG_ADDRESS_TEXT_BYTES 96

/**
 * Resolve host and port for stream sockets. host NULL or "": any address if passive, else the
 * loopback. A numeric address never leaves the process. cancel_fd -1 is none.
 * Returns: 0, with a list for freeaddrinfo(); -EHOSTUNREACH no such host, with the resolver's
 * words; -EINVAL bad port; -ETIMEDOUT; -ECANCELED; -ENOMEM; -EAGAIN the name server failed for now.
 */
int rmig_resolve(const char *host, const char *port, bool passive, uint64_t deadline_ns,
                 int cancel_fd, struct addrinfo **list_p, struct rmig_err *err);

/** Address as text, "10.0.0.1:4444" or "[::1]:4444", for messages. Returns: text. */
const char *rmig_address_text(const struct sockaddr *addr, socklen_t addr_len,
                              char text[RMIG_ADDRESS_TEXT_BYTES]);

#endif
