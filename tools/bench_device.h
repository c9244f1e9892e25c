/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_device.h -- which RDMA devices this host has, and their addresses (sysfs). */
#ifndef TOOLS_BENCH_DEVICE_H
#define TOOLS_BENCH_DEVICE_H

#include <stddef.h>
#include <rmig/error.h>

#include "tools/bench_params.h"

/** Can params->device be used, where one is named? Returns: 0; -ENODEV naming it and those that there are;
 * what else rmig_transport_probe() finds. */
int bench_device_check(const struct bench_params *params, struct rmig_err *err);

/**
 * The IPv4 address of params->device (with gid_index: of that GID), without a name of the first
 * device that has one. Returns: 0; -ENODEV.
 */
int bench_device_address(const struct bench_params *params, char *buf, size_t len,
                         struct rmig_err *err);

#endif
