/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_units.h -- figures with units, read from and written to text; the clock. */
#ifndef TOOLS_BENCH_UNITS_H
#define TOOLS_BENCH_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BENCH_NS_PER_S 1000000000ull
#define BENCH_NS_PER_MS 1000000ull
#define BENCH_MB 1000000ull
#define BENCH_MIB (1ull << 20)
#define BENCH_GIB (1ull << 30)
#define BENCH_SECONDS_MAX 86400

/** CLOCK_MONOTONIC in nanoseconds. */
uint64_t bench_now_ns(void);

/** A whole number in [min, max], nothing behind it. Returns false if text is not one. */
bool bench_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *value_p);

/** A size: a number and K, M, G or T (powers of 1024). Returns false if it is none or overflows. */
bool bench_parse_size(const char *text, uint64_t *bytes_p);

/** A finite number in [min, max]. Returns false if text is not one. */
bool bench_parse_double(const char *text, double min, double max, double *value_p);

/** Seconds, with a fraction or none, of 1 ms to a day, as milliseconds. Returns false if text is
 * not such. */
bool bench_parse_seconds(const char *text, uint32_t *ms_p);

/** "1.5 GiB" into buf. Returns buf. */
char *bench_format_size(char *buf, size_t len, uint64_t bytes);

/** "1.234 GB/s" or, in bits, "9.872 Gbit/s" into buf. Returns buf. */
char *bench_format_rate(char *buf, size_t len, double bytes_per_s, bool gbits);

/** "12.3 ms" into buf. Returns buf. */
char *bench_format_ns(char *buf, size_t len, uint64_t ns);

/** bytes / time, 0 where no time has passed. */
double bench_rate(uint64_t bytes, uint64_t ns);

#endif
