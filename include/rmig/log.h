/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * log.h -- where the library's log lines go. By default nowhere: the library never prints by itself.
 */
#ifndef RMIG_LOG_H
#define RMIG_LOG_H

#ifdef __cplusplus
extern "C" {
#endif

/** Severity; a smaller number is more severe. */
enum rmig_log_level {
    RMIG_LOG_ERROR = 0,   /**< something failed */
    RMIG_LOG_WARNING = 1, /**< something failed and was survived */
    RMIG_LOG_INFO = 2,    /**< worth to know: a fallback, say */
    RMIG_LOG_DEBUG = 3    /**< for developers */
};

/**
 * A log sink. @message is one line without newline, valid during the call only. May be called from
 * any thread that is inside the library, also from several at once; must not call back into rmig.
 */
typedef void (*rmig_log_fn)(void *opaque, enum rmig_log_level level, const char *message);

/**
 * rmig_log_set - install the process-wide log sink
 * @fn:        sink, or NULL for none (the default)
 * @opaque:    handed to @fn
 * @threshold: lines above this level are dropped before they are formatted
 *
 * Ownership: @opaque stays the caller's and must outlive the last call into the library.
 * Blocks:    never.
 * Threads:   call before other threads use the library.
 */
void rmig_log_set(rmig_log_fn fn, void *opaque, enum rmig_log_level threshold);

#ifdef __cplusplus
}
#endif
#endif
