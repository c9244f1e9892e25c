/* SPDX-License-Identifier: BSD-3-Clause */
/* bytes_channel.h -- bytes in memory as a channel, with positions or as a pipe has them. */
#ifndef TESTS_FUZZ_BYTES_CHANNEL_H
#define TESTS_FUZZ_BYTES_CHANNEL_H

#include <stddef.h>
#include <stdint.h>
#include <rmig/channel.h>

/* step_bytes: most that one read gives; 0: no limit. Ownership: data stays the caller's. */
struct rmig_channel *bytes_channel(const uint8_t *data, size_t size, int seekable,
                                   size_t step_bytes);

#endif
