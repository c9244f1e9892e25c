/* SPDX-License-Identifier: BSD-3-Clause */
/* rmig.h -- everything, and the library's version. */
#ifndef RMIG_RMIG_H
#define RMIG_RMIG_H

#include <rmig/buffer.h>
#include <rmig/cancel.h>
#include <rmig/channel.h>
#include <rmig/dirty.h>
#include <rmig/error.h>
#include <rmig/hooks.h>
#include <rmig/image.h>
#include <rmig/log.h>
#include <rmig/migrate.h>
#include <rmig/ram.h>
#include <rmig/save_load.h>
#include <rmig/stream.h>
#include <rmig/transport.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * rmig_version - version of the library in use
 *
 * Ownership: static storage.
 * Blocks:    never.
 * Threads:   any.
 * Returns:   "MAJOR.MINOR.PATCH".
 */
const char *rmig_version(void);

#ifdef __cplusplus
}
#endif
#endif
