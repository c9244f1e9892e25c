/* SPDX-License-Identifier: BSD-3-Clause */
/* return_path.c -- writes and reads what a destination says to its source. */
#include "hooks/return_path.h"

#include <errno.h>

#define VALUE_BYTES 4u

/* One that sends other messages without end is no destination. */
#define MESSAGES_MAX 65536u

int rmig_return_put(struct rmig_out *back, enum rmig_return_type type, uint32_t value,
                    struct rmig_err *err)
{
    rmig_out_put_be16(back, (uint16_t)type);
    rmig_out_put_be16(back, VALUE_BYTES);
    rmig_out_put_be32(back, value);
    rmig_out_flush(back);
    return rmig_out_error(back, err);
}

static int get_head(struct rmig_in *back, uint16_t *type_p, uint16_t *len_p, struct rmig_err *err)
{
    int rc = rmig_in_get_be16(back, type_p);

    if (rc == 0)
        rc = rmig_in_get_be16(back, len_p);
    if (rc < 0) {
        (void)rmig_in_error(back, err);
        rmig_err_prefix(err, "waiting for the destination to have loaded everything");
        return rc;
    }
    if (*len_p > RMIG_RETURN_MAX_BYTES || (*type_p == RMIG_RETURN_SHUT && *len_p != VALUE_BYTES))
        return rmig_err_set(err, -EPROTO, "return path: message %u of %u bytes, %s%u are allowed",
                            *type_p, *len_p, *type_p == RMIG_RETURN_SHUT ? "" : "at most ",
                            *type_p == RMIG_RETURN_SHUT ? VALUE_BYTES : RMIG_RETURN_MAX_BYTES);
    return 0;
}

static int get_shut(struct rmig_in *back, struct rmig_err *err)
{
    uint32_t status;
    int rc = rmig_in_get_be32(back, &status);

    if (rc < 0)
        return rmig_in_error(back, err);
    if (status != 0)
        return rmig_err_set(err, -EREMOTEIO, "the destination says that it failed (status %u)",
                            status);
    return 0;
}

int rmig_return_await_shut(struct rmig_in *back, struct rmig_err *err)
{
    for (unsigned i = 0; i < MESSAGES_MAX; i++) {
        uint16_t type, len;
        int rc = get_head(back, &type, &len, err);

        if (rc < 0)
            return rc;
        if (type == RMIG_RETURN_SHUT)
            return get_shut(back, err);
        if (rmig_in_skip(back, len) < 0)
            return rmig_in_error(back, err);
    }
    return rmig_err_set(err, -EPROTO, "return path: %u messages, and none that the load has ended",
                        MESSAGES_MAX);
}
