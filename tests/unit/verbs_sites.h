/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * verbs_sites.h -- each place where rdma/verbs*.c call libibverbs, librdmacm or calloc, and a way to
 * have it fail. verbs_sites.c is rdma/verbs*.c with these calls turned away; nothing in the library
 * knows of it. Counts are shared with the processes that Check makes.
 */
#ifndef TESTS_UNIT_VERBS_SITES_H
#define TESTS_UNIT_VERBS_SITES_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/fabric/control.h"

enum verbs_site_kind {
    VERBS_CAN_FAIL,
    VERBS_RELEASE, /* gives something up, and has done so even when it fails */
    VERBS_CANNOT_FAIL
};

struct verbs_site {
    const char *call;
    const char *file;
    int line;
    enum verbs_site_kind kind;
};

/* Before Check makes processes. */
void verbs_sites_init(void);
unsigned verbs_sites_count(void);
const struct verbs_site *verbs_site_at(unsigned site);

/* The next time that this host's threads come to the site it fails with error, once. With
 * releases_fail each VERBS_RELEASE behind that fails, too. */
void verbs_site_arm(unsigned site, enum fabric_side side, int error, bool releases_fail);
/* Each VERBS_RELEASE of both hosts fails from now on; counted like the rest. */
void verbs_sites_fail_releases(void);
void verbs_sites_disarm(void);
/* Has it failed since it was armed? */
bool verbs_site_fired(void);

/* How often a host's threads came by, and how often it has failed, in all processes. */
uint64_t verbs_site_reached(unsigned site, enum fabric_side side);
uint64_t verbs_site_failed(unsigned site);

#endif
