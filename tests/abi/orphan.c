/* SPDX-License-Identifier: BSD-3-Clause */
/* orphan.c -- a plugin whose library is not installed. */
void *rmig_transport_init(const void *host);
void *gone_from_here(const void *host);

void *rmig_transport_init(const void *host)
{
    return gone_from_here(host);
}
