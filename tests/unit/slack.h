/* SPDX-License-Identifier: BSD-3-Clause */
/* slack.h -- what a machine that does other work, or a sanitizer, may add to a time limit. */
#ifndef TESTS_UNIT_SLACK_H
#define TESTS_UNIT_SLACK_H

#include <stdlib.h>

/* RMIG_TEST_SLACK_MS, 0 by default: the promises themselves are checked on a machine at rest, with
 * the optimiser's code. Elsewhere the slack lets a test tell a wait without an end from a slow one.
 */
static inline unsigned slack_ms(void)
{
    const char *text = getenv("RMIG_TEST_SLACK_MS");

    return text ? (unsigned)strtoul(text, NULL, 10) : 0;
}

#endif
