/* SPDX-License-Identifier: BSD-3-Clause */
/* unresolved.c -- a plugin that needs a symbol nobody has. */
void *rmig_transport_init(const void *host);
void *nobody_has_this_symbol(const void *host);

void *rmig_transport_init(const void *host)
{
    return nobody_has_this_symbol(host);
}
