/* SPDX-License-Identifier: BSD-3-Clause */
/* load_device.c -- reads device sections and the description that ends a stream. */
#include "hooks/load.h"

#include <errno.h>
#include <stdlib.h>

#include "common/log.h"
#include "common/overflow.h"

#define DEFAULT_SECTION_BYTES (64u << 20)

/* Read len bytes, growing the buffer as they come: a length that is a lie allocates little. */
static int read_data(struct rmig_load *load, uint32_t len, uint8_t **data_p, struct rmig_err *err)
{
    uint8_t *data = NULL;
    uint64_t room = 0, done = 0;
    int rc = 0;

    while (rc == 0 && done < len) {
        uint64_t step = rmig_min_u64(len - done, RMIG_SECTION_STEP_BYTES);

        if (done + step > room) {
            uint8_t *grown;

            room = rmig_min_u64(len, rmig_max_u64(2 * room, RMIG_SECTION_STEP_BYTES));
            grown = realloc(data, room);
            if (!grown) {
                rc = rmig_err_set(err, -ENOMEM, "device section: out of memory for %llu bytes",
                                  (unsigned long long)room);
                break;
            }
            data = grown;
        }
        rc = rmig_load_check_cancel(load, err);
        if (rc == 0)
            rc = rmig_load_get_bytes(load, "a device section's data", data + done, step, err);
        done += step;
    }
    if (rc < 0) {
        free(data);
        return rc;
    }
    *data_p = data;
    return 0;
}

static int hand_over(struct rmig_load *load, const struct rmig_section_head *head,
                     const uint8_t *data, uint32_t len, struct rmig_err *err)
{
    static const uint8_t nothing[1];
    int rc;

    if (!load->opts.section)
        return 0;
    rc = load->opts.section(load->opts.section_opaque, head->name, head->instance, head->version,
                            data ? data : nothing, len, err);
    if (rc < 0)
        return rmig_err_set(err, rc, "device section %.64s: refused with error %d", head->name,
                            -rc);
    return 0;
}

int rmig_load_device(struct rmig_load *load, const struct rmig_section_head *head,
                     struct rmig_err *err)
{
    uint64_t most =
        load->opts.max_section_bytes ? load->opts.max_section_bytes : DEFAULT_SECTION_BYTES;
    uint8_t *data = NULL;
    uint32_t len;
    int rc = rmig_load_get_be32(load, "a device section's length", &len, err);

    if (rc < 0)
        return rc;
    if (len > most)
        return rmig_err_set(err, -EPROTO,
                            "device section %.64s: %u bytes, at most %llu are allowed", head->name,
                            len, (unsigned long long)most);
    rc = read_data(load, len, &data, err);
    if (rc == 0)
        rc = rmig_load_get_footer(load, head->id, err);
    if (rc == 0)
        rc = hand_over(load, head, data, len, err);
    free(data);
    return rc;
}

int rmig_load_description(struct rmig_load *load, struct rmig_err *err)
{
    const uint8_t *peeked;
    uint8_t type;
    uint32_t len;
    int rc;

    /* A source may leave the description out; everything that counts has been read. */
    if (rmig_in_peek(load->in, &peeked, 1, 0) != 1 && rmig_in_error(load->in, NULL) == -EIO) {
        rmig_log(RMIG_LOG_INFO, "load: the stream ends without a description of its sections");
        return 0;
    }
    rc = rmig_load_get_u8(load, "what follows the end of sections", &type, err);
    if (rc == 0 && type != RMIG_SECTION_VMDESCRIPTION)
        rc = rmig_err_set(err, -EPROTO,
                          "byte 0x%02x follows the end of sections, not a description (0x%02x)",
                          type, RMIG_SECTION_VMDESCRIPTION);
    if (rc == 0)
        rc = rmig_load_get_be32(load, "the description's length", &len, err);
    if (rc < 0)
        return rc;
    if (len > RMIG_VMDESCRIPTION_MAX)
        return rmig_err_set(err, -EPROTO, "description of %u bytes, at most %u are allowed", len,
                            RMIG_VMDESCRIPTION_MAX);
    if (rmig_in_skip(load->in, len) < 0) {
        struct rmig_err e = RMIG_ERR_INIT;

        rc = rmig_in_error(load->in, &e);
        return rmig_err_set(err, rc, "reading the description: %s", e.msg);
    }
    return 0;
}
