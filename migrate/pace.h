/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pace.h -- what the rounds have shown, and what it means for the switchover: plain arithmetic, no
 * clock, no I/O.
 */
#ifndef MIGRATE_PACE_H
#define MIGRATE_PACE_H

#include <stdbool.h>
#include <stdint.h>

struct rmig_pace {
    double rate_bytes_per_s;       /* at which RAM moves */
    uint64_t pass_ns;              /* that a pass takes with nothing to send */
    uint64_t sync_ns;              /* that a look at the dirty log takes */
    double dirty_rate_bytes_per_s; /* of the last round */
    unsigned behind;               /* rounds in a row that did not get ahead */
    uint32_t throttle_percent;
};

/** A round is over: it sent so much in so long, and meanwhile so much was dirtied. */
void rmig_pace_round(struct rmig_pace *pace, uint64_t sent_bytes, uint64_t took_ns,
                     uint64_t dirtied_bytes, uint64_t since_last_look_ns, uint64_t sync_ns);

/** How long would the guest stand still, if it were paused with so much left to send? */
uint64_t rmig_pace_downtime_ns(const struct rmig_pace *pace, uint64_t remaining_bytes);

/** Is it time to take more of the vCPUs' time away? Then throttle_percent is the new figure. */
bool rmig_pace_throttle(struct rmig_pace *pace);

#endif
