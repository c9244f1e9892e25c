/* SPDX-License-Identifier: BSD-3-Clause */
/* version.c -- the library's version. */
#include "config.h"

#include <rmig/rmig.h>

const char *rmig_version(void)
{
    return PACKAGE_VERSION;
}
