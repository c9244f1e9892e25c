/* SPDX-License-Identifier: BSD-3-Clause */
/* standard.h -- standard input, output and error: that they are there, and what else is the same. */
#ifndef TOOLS_STANDARD_H
#define TOOLS_STANDARD_H

#include <stdbool.h>
#include <sys/stat.h>

/**
 * Descriptors 0 to 2 that are closed would be given to the next files that are opened, and what is printed would go
 * into these: have them open on what can be neither read nor written. Requires: nothing was opened before.
 * Returns: false where that cannot be.
 */
bool standard_hold(void);

/** Is this what a standard descriptor is? Not /dev/null, which keeps nothing of what goes there. */
bool standard_is(int standard, const struct stat *st);

/** The same of what a path names. */
bool standard_is_path(int standard, const char *path);

#endif
