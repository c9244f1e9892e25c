/* SPDX-License-Identifier: BSD-3-Clause */
/* log.c -- the process-wide log sink: the library's only global. */
#include "common/log.h"

#include <stdarg.h>
#include <stdio.h>

static struct {
    rmig_log_fn fn;
    void *opaque;
    enum rmig_log_level threshold;
} sink;

void rmig_log_set(rmig_log_fn fn, void *opaque, enum rmig_log_level threshold)
{
    sink.opaque = opaque;
    sink.threshold = threshold;
    sink.fn = fn;
}

void rmig_log_get(rmig_log_fn *fn_p, void **opaque_p, enum rmig_log_level *threshold_p)
{
    *fn_p = sink.fn;
    *opaque_p = sink.opaque;
    *threshold_p = sink.threshold;
}

void rmig_log(enum rmig_log_level level, const char *fmt, ...)
{
    char line[512];
    va_list ap;

    if (!sink.fn || level > sink.threshold)
        return;
    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    sink.fn(sink.opaque, level, line);
}
