/* SPDX-License-Identifier: BSD-3-Clause */
/* log.h -- the library's side of <rmig/log.h>: formats a line for the installed sink. */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include <rmig/error.h>
#include <rmig/log.h>

/** Send one line to the sink, if there is one and level is within its threshold. Any thread. */
void rmig_log(enum rmig_log_level level, const char *fmt, ...) RMIG_PRINTF(2, 3);

/** The installed sink, to hand it on to a plugin. fn_p receives NULL if there is none. */
void rmig_log_get(rmig_log_fn *fn_p, void **opaque_p, enum rmig_log_level *threshold_p);

#endif
