/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_client.h -- the source: makes the RAM, moves it as often as asked, reports. */
#ifndef TOOLS_BENCH_CLIENT_H
#define TOOLS_BENCH_CLIENT_H

#include <rmig/cancel.h>

#include "tools/bench_params.h"

/** Run the client against host:port. Returns: the exit status. */
enum bench_exit bench_client(const struct bench_params *params, const char *host, const char *port,
                             struct rmig_cancel *stop);

/** Where it does not come to a session: of --json-stream the last event. Returns: status, or a graver one. */
enum bench_exit bench_client_none(const struct bench_params *params, enum bench_exit status, const char *why);

#endif
