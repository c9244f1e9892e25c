/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_cpu.h -- CPU seconds of this process between two points. */
#ifndef TOOLS_BENCH_CPU_H
#define TOOLS_BENCH_CPU_H

#include <sys/resource.h>

struct bench_cpu {
    double user_s;
    double system_s;
};

static inline struct bench_cpu bench_cpu_now(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (struct bench_cpu){(double)u.ru_utime.tv_sec + (double)u.ru_utime.tv_usec / 1e6,
                              (double)u.ru_stime.tv_sec + (double)u.ru_stime.tv_usec / 1e6};
}

static inline struct bench_cpu bench_cpu_since(struct bench_cpu begin)
{
    struct bench_cpu now = bench_cpu_now();

    return (struct bench_cpu){now.user_s - begin.user_s, now.system_s - begin.system_s};
}

#endif
