/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * error.h -- the one error object of rmig.
 *
 * Functions return 0 or more on success and a negative errno on failure. Control-path functions
 * take a `struct rmig_err *` as their last argument: the caller owns it, nothing is allocated,
 * NULL is allowed, and the first error wins: once code is non-zero later reports do not replace it.
 * The library never prints and never exits.
 *
 * Where a comment, of any header, does not say otherwise
 *   @err:       receives code and message of a failure, unless it holds one already; may be NULL
 *   -ECANCELED: cancelled
 *   -EMFILE:    no descriptor is left
 *   -ENOMEM:    no memory is left
 *   -ETIMEDOUT: a deadline passed
 */
#ifndef RMIG_ERROR_H
#define RMIG_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define RMIG_MUST_CHECK __attribute__((warn_unused_result))
#define RMIG_PRINTF(fmt_index, first_arg) __attribute__((format(printf, fmt_index, first_arg)))
#else
#define RMIG_MUST_CHECK
#define RMIG_PRINTF(fmt_index, first_arg)
#endif

/** Size of the message in bytes, terminating NUL included; longer messages are cut. */
#define RMIG_ERR_MSG_BYTES 256

/** An error: start it with RMIG_ERR_INIT (or zeroed memory). */
struct rmig_err {
    int code;                     /**< 0 = no error, else a negative errno */
    char msg[RMIG_ERR_MSG_BYTES]; /**< one line of text, no newline, NUL-terminated */
};

/** No error yet. */
#define RMIG_ERR_INIT { 0, "" }

/**
 * rmig_err_set - record an error unless one is recorded already
 * @err:  caller's error object, or NULL
 * @code: negative errno; a value that is not negative is recorded as -EIO
 * @fmt:  printf format of the message: stage, peer, figure, limit and cure, on one line
 *
 * Ownership: nothing is kept of @fmt or its arguments.
 * Blocks:    never.
 * Threads:   one thread at a time per @err.
 * Returns:   @code (or -EIO), always, so that a caller can return what this returns.
 */
int rmig_err_set(struct rmig_err *err, int code, const char *fmt, ...) RMIG_PRINTF(3, 4);

/**
 * rmig_err_prefix - put text in front of a recorded error message, once, at an API boundary
 * @err: caller's error object, or NULL; untouched if no error is recorded
 * @fmt: printf format of the text, without the ": " that is put behind it
 *
 * Ownership: nothing is kept of @fmt or its arguments.
 * Blocks:    never.
 * Threads:   one thread at a time per @err.
 * Returns:   the code of @err; 0 where @err is NULL.
 */
int rmig_err_prefix(struct rmig_err *err, const char *fmt, ...) RMIG_PRINTF(2, 3);

#ifdef __cplusplus
}
#endif
#endif
