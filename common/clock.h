/* SPDX-License-Identifier: BSD-3-Clause */
/* clock.h -- monotonic time and deadlines; a step of the wall clock changes nothing. */
#ifndef COMMON_CLOCK_H
#define COMMON_CLOCK_H

#include <stdint.h>
#include <time.h>

#define RMIG_NS_PER_MS 1000000ull
#define RMIG_NS_PER_S 1000000000ull

/** A deadline that never comes. */
#define RMIG_NEVER_NS UINT64_MAX

static inline uint64_t rmig_now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * RMIG_NS_PER_S + (uint64_t)ts.tv_nsec;
}

/** Deadline timeout_ms from now; negative = never. */
static inline uint64_t rmig_deadline_ns(int64_t timeout_ms)
{
    return timeout_ms < 0 ? RMIG_NEVER_NS : rmig_now_ns() + (uint64_t)timeout_ms * RMIG_NS_PER_MS;
}

/** Milliseconds until the deadline for poll(2): rounded up, 0 if passed, -1 for never. */
static inline int rmig_poll_ms(uint64_t deadline_ns)
{
    uint64_t now, ms;

    if (deadline_ns == RMIG_NEVER_NS)
        return -1;
    now = rmig_now_ns();
    if (now >= deadline_ns)
        return 0;
    ms = (deadline_ns - now + RMIG_NS_PER_MS - 1) / RMIG_NS_PER_MS;
    return ms > INT32_MAX ? INT32_MAX : (int)ms;
}

#endif
