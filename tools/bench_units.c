/* bench_units.c -- reads and writes figures with units. */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/bench_units.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t bench_now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * BENCH_NS_PER_S + (uint64_t)ts.tv_nsec;
}

static bool parse_digits(const char *text, uint64_t *value_p, const char **rest_p)
{
    char *end;

    if (!isdigit((unsigned char)text[0])) /* strtoull takes "-1" and " 1" */
        return false;
    errno = 0;
    *value_p = strtoull(text, &end, 10);
    *rest_p = end;
    return errno == 0;
}

bool bench_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *value_p)
{
    const char *rest;
    uint64_t value;

    if (!parse_digits(text, &value, &rest) || *rest || value < min || value > max)
        return false;
    *value_p = value;
    return true;
}

bool bench_parse_size(const char *text, uint64_t *bytes_p)
{
    static const char suffixes[] = "KMGT";
    const char *rest, *suffix;
    unsigned shift = 0;
    uint64_t value;

    if (!parse_digits(text, &value, &rest))
        return false;
    if (*rest) {
        suffix = strchr(suffixes, toupper((unsigned char)*rest));
        if (!suffix)
            return false;
        shift = 10 * (unsigned)(suffix - suffixes + 1);
        rest++;
        if (rest[0] == 'i' && rest[1] == 'B') /* "4GiB" is what people write, too */
            rest += 2;
    }
    if (*rest || value > UINT64_MAX >> shift)
        return false;
    *bytes_p = value << shift;
    return true;
}

bool bench_parse_double(const char *text, double min, double max, double *value_p)
{
    double value;
    char *end;

    if (!isdigit((unsigned char)text[0]) && text[0] != '.')
        return false;
    errno = 0;
    value = strtod(text, &end);
    if (errno || *end || !isfinite(value) || value < min || value > max)
        return false;
    *value_p = value;
    return true;
}

bool bench_parse_seconds(const char *text, uint32_t *ms_p)
{
    double seconds;

    if (!bench_parse_double(text, 0.001, BENCH_SECONDS_MAX, &seconds))
        return false;
    *ms_p = (uint32_t)(seconds * 1000 + 0.5);
    return true;
}

char *bench_format_size(char *buf, size_t len, uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    size_t unit = 0;

    while (value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        value /= 1024;
        unit++;
    }
    snprintf(buf, len, unit ? "%.2f %s" : "%.0f %s", value, units[unit]);
    return buf;
}

char *bench_format_rate(char *buf, size_t len, double bytes_per_s, bool gbits)
{
    if (gbits)
        snprintf(buf, len, "%.3f Gbit/s", bytes_per_s * 8 / 1e9);
    else
        snprintf(buf, len, "%.3f GB/s", bytes_per_s / 1e9);
    return buf;
}

char *bench_format_ns(char *buf, size_t len, uint64_t ns)
{
    if (ns < BENCH_NS_PER_S)
        snprintf(buf, len, "%.2f ms", (double)ns / 1e6);
    else
        snprintf(buf, len, "%.3f s", (double)ns / 1e9);
    return buf;
}

double bench_rate(uint64_t bytes, uint64_t ns)
{
    return ns ? (double)bytes * 1e9 / (double)ns : 0;
}
