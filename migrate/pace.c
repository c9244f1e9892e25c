/* SPDX-License-Identifier: BSD-3-Clause */
/* pace.c -- rates, expected downtime, throttle. */
#include "migrate/pace.h"

#include "common/clock.h"
#include "common/overflow.h"

/* A round that sent less says more about latency than about the rate. */
#define SAMPLE_BYTES (8u << 20)
/* ... and one that sent less than this, how long a pass takes by itself. */
#define EMPTY_BYTES (256u << 10)

#define BEHIND_ROUNDS 2u
#define THROTTLE_FIRST_PERCENT 20u
#define THROTTLE_STEP_PERCENT 10u
#define THROTTLE_MOST_PERCENT 99u

static double rate(uint64_t nbytes, uint64_t ns)
{
    return (double)nbytes * (double)RMIG_NS_PER_S / (double)rmig_max_u64(ns, 1);
}

void rmig_pace_round(struct rmig_pace *pace, uint64_t sent_bytes, uint64_t took_ns,
                     uint64_t dirtied_bytes, uint64_t since_last_look_ns, uint64_t sync_ns)
{
    if (sent_bytes >= SAMPLE_BYTES || pace->rate_bytes_per_s <= 0)
        pace->rate_bytes_per_s = rate(sent_bytes, took_ns);
    if (sent_bytes <= EMPTY_BYTES)
        pace->pass_ns = took_ns;
    pace->sync_ns = sync_ns;
    pace->dirty_rate_bytes_per_s = rate(dirtied_bytes, since_last_look_ns);
    /* Less than half as much left as was sent: it gets ahead. */
    pace->behind = dirtied_bytes > sent_bytes / 2 ? pace->behind + 1 : 0;
}

uint64_t rmig_pace_downtime_ns(const struct rmig_pace *pace, uint64_t remaining_bytes)
{
    double ns = (double)pace->pass_ns + (double)pace->sync_ns;

    if (remaining_bytes > 0)
        ns += pace->rate_bytes_per_s > 0
                  ? (double)remaining_bytes / pace->rate_bytes_per_s * (double)RMIG_NS_PER_S
                  : (double)UINT64_MAX;
    return ns < (double)UINT64_MAX ? (uint64_t)ns : UINT64_MAX;
}

bool rmig_pace_throttle(struct rmig_pace *pace)
{
    if (pace->behind < BEHIND_ROUNDS || pace->throttle_percent >= THROTTLE_MOST_PERCENT)
        return false;
    pace->behind = 0;
    pace->throttle_percent =
        pace->throttle_percent == 0
            ? THROTTLE_FIRST_PERCENT
            : (uint32_t)rmig_min_u64(pace->throttle_percent + THROTTLE_STEP_PERCENT,
                                     THROTTLE_MOST_PERCENT);
    return true;
}
