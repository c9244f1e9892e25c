/* SPDX-License-Identifier: BSD-3-Clause */
/* err.c -- records and prefixes errors in the caller's error object. */
#include <rmig/error.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int rmig_err_set(struct rmig_err *err, int code, const char *fmt, ...)
{
    if (code >= 0)
        code = -EIO;
    if (err && err->code == 0) {
        va_list ap;

        err->code = code;
        va_start(ap, fmt);
        vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
        va_end(ap);
    }
    return code;
}

int rmig_err_prefix(struct rmig_err *err, const char *fmt, ...)
{
    char old[RMIG_ERR_MSG_BYTES];
    size_t used;
    va_list ap;
    int n;

    if (!err || err->code == 0)
        return 0;
    memcpy(old, err->msg, sizeof(old));
    va_start(ap, fmt);
    n = vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
    va_end(ap);
    used = n < 0 ? 0 : (size_t)n;
    if (used < sizeof(err->msg))
        snprintf(err->msg + used, sizeof(err->msg) - used, ": %.*s",
                 (int)(sizeof(err->msg) - used), old);
    return err->code;
}
