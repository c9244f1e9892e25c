/* SPDX-License-Identifier: BSD-3-Clause */
/* verbs_errno.h -- how libibverbs and librdmacm say that a call has failed, turned into -errno. */
#ifndef RDMA_VERBS_ERRNO_H
#define RDMA_VERBS_ERRNO_H

#include <errno.h>
#include <string.h>
#include <rmig/error.h>

/* rdma_* functions: -1 and errno. */
static inline int cm_error(struct rmig_err *err, const char *what)
{
    int e = errno ? errno : EIO;

    return rmig_err_set(err, -e, "%s: %s", what, strerror(e));
}

/* ibv_post_*, ibv_req_notify_cq and the like: a positive errno, from old providers -1. */
static inline int verbs_error(struct rmig_err *err, int rc, const char *what)
{
    int e = rc > 0 ? rc : errno ? errno : EIO;

    return rmig_err_set(err, -e, "%s: %s", what, strerror(e));
}

#endif
