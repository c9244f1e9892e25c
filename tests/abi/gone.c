/* SPDX-License-Identifier: BSD-3-Clause */
/* gone.c -- a library that is not where the plugin that needs it looks. */
void *gone_from_here(const void *host);

void *gone_from_here(const void *host)
{
    return (void *)host;
}
