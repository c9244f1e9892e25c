/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_server.h -- the destination: serves one client at a time. */
#ifndef TOOLS_BENCH_SERVER_H
#define TOOLS_BENCH_SERVER_H

#include <rmig/channel.h>

#include "tools/bench_params.h"

/**
 * Listen on address:port and serve until stop is triggered, or one client with params->once.
 * port_fd: -1, or where to write the bound port (uint16_t); nothing but failures is printed then.
 * Returns: the exit status.
 */
enum bench_exit bench_server(const struct bench_params *params, const char *address,
                             const char *port, int port_fd, struct rmig_cancel *stop);

#endif
