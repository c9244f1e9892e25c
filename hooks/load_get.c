/* SPDX-License-Identifier: BSD-3-Clause */
/* load_get.c -- reads numbers, names and footers for the load driver, with errors that name them.
 */
#include "hooks/load.h"

#include <errno.h>

int rmig_load_check_cancel(const struct rmig_load *load, struct rmig_err *err)
{
    if (rmig_cancel_triggered(load->opts.cancel))
        return rmig_err_set(err, -ECANCELED, "load: cancelled");
    return 0;
}

/* The stream's error with what was being read in front. */
static int result(const struct rmig_load *load, int rc, const char *what, struct rmig_err *err)
{
    struct rmig_err e = RMIG_ERR_INIT;

    if (rc >= 0)
        return 0;
    if (rmig_in_error(load->in, &e) == 0)
        rmig_err_set(&e, rc, "the stream gave error %d", -rc);
    return rmig_err_set(err, rc, "reading %s: %s", what, e.msg);
}

int rmig_load_get_u8(struct rmig_load *load, const char *what, uint8_t *v_p, struct rmig_err *err)
{
    return result(load, rmig_in_get_u8(load->in, v_p), what, err);
}

int rmig_load_get_be16(struct rmig_load *load, const char *what, uint16_t *v_p,
                       struct rmig_err *err)
{
    return result(load, rmig_in_get_be16(load->in, v_p), what, err);
}

int rmig_load_get_be32(struct rmig_load *load, const char *what, uint32_t *v_p,
                       struct rmig_err *err)
{
    return result(load, rmig_in_get_be32(load->in, v_p), what, err);
}

int rmig_load_get_be64(struct rmig_load *load, const char *what, uint64_t *v_p,
                       struct rmig_err *err)
{
    return result(load, rmig_in_get_be64(load->in, v_p), what, err);
}

int rmig_load_get_bytes(struct rmig_load *load, const char *what, void *buf, size_t len_bytes,
                        struct rmig_err *err)
{
    return result(load, rmig_in_get_buffer(load->in, buf, len_bytes), what, err);
}

int rmig_load_get_name(struct rmig_load *load, const char *what, char name[256],
                       struct rmig_err *err)
{
    uint8_t len;
    int rc = rmig_load_get_u8(load, what, &len, err);

    if (rc < 0)
        return rc;
    if (len == 0)
        return rmig_err_set(err, -EPROTO, "%s: length 0, 1 to %u are allowed", what, RMIG_STR8_MAX);
    rc = rmig_load_get_bytes(load, what, name, len, err);
    if (rc < 0)
        return rc;
    name[len] = '\0';
    for (unsigned i = 0; i < len; i++)
        if (name[i] < 0x20 || name[i] > 0x7e)
            return rmig_err_set(err, -EPROTO, "%s: byte %u is 0x%02x, which is not printable", what,
                                i, (uint8_t)name[i]);
    return 0;
}

int rmig_load_get_footer(struct rmig_load *load, uint32_t section_id, struct rmig_err *err)
{
    uint8_t type;
    uint32_t id;
    int rc = rmig_load_get_u8(load, "a section footer", &type, err);

    if (rc < 0)
        return rc;
    if (type != RMIG_SECTION_FOOTER)
        return rmig_err_set(err, -EPROTO,
                            "section %u: ends in byte 0x%02x, not in a footer (0x%02x)", section_id,
                            type, RMIG_SECTION_FOOTER);
    rc = rmig_load_get_be32(load, "a section footer's id", &id, err);
    if (rc < 0)
        return rc;
    if (id != section_id)
        return rmig_err_set(err, -EPROTO, "section %u: its footer has id %u", section_id, id);
    return 0;
}
