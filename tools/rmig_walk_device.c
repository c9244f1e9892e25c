/* SPDX-License-Identifier: BSD-3-Clause */
/* rmig_walk_device.c -- device sections, by the description at the stream's end or by their
 * footers. */
#include "tools/rmig_walk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/rmig_fields.h"

#define FOOTER_BYTES 5u
#define TAIL_BYTES 6u /* EOF, VMDESCRIPTION, length */
/* Enough to tell a section's head from chance: type, id, length of the name and some of it. */
#define HEAD_PEEK_BYTES 16u

/* --- the description -------------------------------------------------------------------------- */

static int get_all(struct walk *walk, const char *what, uint8_t *data, size_t len)
{
    int rc = 0;

    for (size_t done = 0, step; rc == 0 && done < len; done += step) {
        step = len - done < SCAN_PEEK_MAX ? len - done : SCAN_PEEK_MAX;
        rc = scan_get(&walk->scan, what, data + done, step);
    }
    return rc;
}

/* It is told by its length, which leads to the end of the stream. */
static void find_text(struct walk *walk, const uint8_t *data, size_t len, uint64_t begin)
{
    struct rmig_err err = RMIG_ERR_INIT;

    for (size_t i = 0; i + TAIL_BYTES < len; i++) {
        if (data[i] != WALK_EOF || data[i + 1] != WALK_VMDESCRIPTION ||
            scan_load_be32(data + i + 2) != len - i - TAIL_BYTES || data[i + TAIL_BYTES] != '{')
            continue;
        if (vmdesc_parse(&walk->desc, (const char *)data + i + TAIL_BYTES, len - i - TAIL_BYTES,
                         &err) < 0) {
            (void)scan_fail(&walk->scan, begin + i + TAIL_BYTES, "%s", err.msg);
            return;
        }
        walk->desc_at = begin + i + TAIL_BYTES;
        walk->desc_bytes = len - i - TAIL_BYTES;
        return;
    }
}

/* Look for it once, when the first device comes: it says where that ends. */
static int look_for_description(struct walk *walk)
{
    uint64_t here = walk->scan.at, left;
    uint8_t *data;
    size_t len;
    int rc = walk->looked_for_desc ? 0 : scan_keep(&walk->scan);

    if (rc < 0 || walk->looked_for_desc)
        return rc;
    walk->looked_for_desc = true;
    left = walk->scan.size - here;
    len = left < VMDESC_TEXT_MAX + TAIL_BYTES ? left : VMDESC_TEXT_MAX + TAIL_BYTES;
    data = malloc(len + 1);
    if (!data)
        return scan_fail(&walk->scan, here, "out of memory for %zu bytes", len);
    rc = scan_goto(&walk->scan, walk->scan.size - len);
    if (rc == 0)
        rc = get_all(walk, "the end of the stream", data, len);
    if (rc == 0)
        find_text(walk, data, len, walk->scan.size - len);
    free(data);
    return rc < 0 ? rc : scan_goto(&walk->scan, here);
}

/* --- where a device ends ---------------------------------------------------------------------- */

/* Does the footer with this id stand here, at the beginning of data? */
static bool is_footer(const uint8_t *data, size_t len, uint32_t id)
{
    return len >= FOOTER_BYTES && data[0] == WALK_FOOTER && scan_load_be32(data + 1) == id;
}

/* May this follow a device: another section, the end of sections, the end of the stream? */
static bool is_next(const uint8_t *data, size_t len)
{
    if (len == 0)
        return true;
    switch (data[0]) {
    case WALK_EOF:
        return len == 1 || data[1] == WALK_VMDESCRIPTION;
    case WALK_FULL:
    case WALK_START:
        for (size_t i = 6; i < len && i < 6 + (size_t)data[5]; i++)
            if (data[i] < 0x20 || data[i] > 0x7e)
                return false;
        return len < 6 || data[5] > 0;
    case WALK_PART:
    case WALK_END:
    case WALK_COMMAND:
        return true;
    default:
        return false;
    }
}

/* By the description: the device's length, if a footer, or without footers a part, is behind it. */
static bool by_description(struct walk *walk, struct walk_device *d)
{
    const struct vmdesc_device *described = &walk->desc.devices[d->described];
    uint64_t end = d->body_at + described->body_bytes;
    const uint8_t *data;
    size_t there = 0;

    if (end <= walk->scan.size && scan_goto(&walk->scan, end) == 0) {
        there = scan_peek(&walk->scan, &data, HEAD_PEEK_BYTES);
        if (walk->footers == WALK_NO_FOOTERS ? there > 0 && is_next(data, there)
                                             : is_footer(data, there, d->id)) {
            d->body_bytes = described->body_bytes;
            d->found = WALK_BY_DESCRIPTION;
            return true;
        }
    }
    (void)scan_fail(
        &walk->scan, end < walk->scan.size ? end : walk->scan.size,
        "%s of device %.64s, instance %u, should be here: it begins at byte %llu, and by "
        "the description it has %llu bytes",
        walk->footers == WALK_NO_FOOTERS ? "the end" : "the footer", d->name, d->instance,
        (unsigned long long)d->body_at, (unsigned long long)described->body_bytes);
    return false;
}

/* Without one: up to the first footer of its id with something behind it that may follow. */
static bool by_footer(struct walk *walk, struct walk_device *d)
{
    const uint8_t *data;
    size_t there;

    if (walk->footers == WALK_NO_FOOTERS || scan_goto(&walk->scan, d->body_at) < 0)
        return false;
    while ((there = scan_peek(&walk->scan, &data, SCAN_PEEK_MAX)) >= FOOTER_BYTES) {
        size_t last = there < SCAN_PEEK_MAX ? there : there - FOOTER_BYTES - HEAD_PEEK_BYTES;

        for (size_t i = 0; i < last; i++)
            if (is_footer(data + i, there - i, d->id) &&
                is_next(data + i + FOOTER_BYTES, there - i - FOOTER_BYTES < HEAD_PEEK_BYTES
                                                     ? there - i - FOOTER_BYTES
                                                     : HEAD_PEEK_BYTES)) {
                d->body_bytes = walk->scan.at + i - d->body_at;
                d->found = WALK_BY_FOOTER;
                return scan_goto(&walk->scan, walk->scan.at + i) == 0;
            }
        if (scan_skip(&walk->scan, "a device", last) < 0)
            break;
    }
    return false;
}

/* The state that the guest was in, where the device that says so is as it is known. */
static void run_state(struct walk *walk, const struct walk_device *d)
{
    const uint8_t *data;
    uint32_t len;

    if (strcmp(d->name, "globalstate") != 0 || d->body_bytes < 4 ||
        scan_goto(&walk->scan, d->body_at) < 0)
        return;
    if (scan_peek(&walk->scan, &data, 104) < 104 || d->body_bytes < 104)
        return;
    len = scan_load_be32(data);
    for (uint32_t i = 0; i < len && i < 100 && data[4 + i] >= 0x20 && data[4 + i] < 0x7f; i++)
        walk->run_state[i] = (char)data[4 + i];
}

/* --- sections --------------------------------------------------------------------------------- */

static int head(struct walk *walk, struct walk_device *d)
{
    char name[256];
    int rc = scan_be32(&walk->scan, "a device section's id", &d->id);

    if (rc == 0)
        rc = scan_name(&walk->scan, "a device section's name", name);
    if (rc < 0 || !(d->name = walk_copy(walk, name))) {
        walk->devices.count--; /* there is nothing to call it by */
        return -EPROTO;
    }
    rc = scan_be32(&walk->scan, "a device section's instance", &d->instance);
    if (rc == 0)
        rc = scan_be32(&walk->scan, "a device section's version", &d->version);
    d->body_at = walk->scan.at;
    return rc;
}

int walk_device(struct walk *walk)
{
    struct walk_device *d = walk_add(walk, &walk->devices, WALK_LIST_MAX, "devices");
    int rc;

    if (!d)
        return -EPROTO;
    d->at = walk->scan.at - 1;
    d->described = -1;
    rc = head(walk, d);
    if (rc == 0)
        rc = look_for_description(walk);
    if (rc < 0)
        return rc;
    d->described = vmdesc_find(&walk->desc, walk->devices.count - 1, d->name, d->instance);
    if (!(d->described >= 0 && by_description(walk, d)) && !by_footer(walk, d))
        return scan_fail(&walk->scan, walk->scan.size,
                         "the stream ends in device %.64s, instance %u, whose state begins at byte "
                         "%llu: %s",
                         d->name, d->instance, (unsigned long long)d->body_at,
                         walk->footers == WALK_NO_FOOTERS
                             ? "without footers and a description it has no length"
                             : "there is no footer of it up to here");
    if (d->found == WALK_BY_DESCRIPTION)
        (void)fields_check(walk, d);
    run_state(walk, d);
    if (scan_goto(&walk->scan, d->body_at + d->body_bytes) < 0)
        return -EIO;
    return walk_footer(walk, d->name, d->id);
}

/* --- the end ---------------------------------------------------------------------------------- */

/* Each device that is described has its section. */
static int all_there(struct walk *walk)
{
    uint8_t *met = calloc(walk->desc.ndevices + 1, 1);
    int rc = 0;

    if (!met)
        return scan_fail(&walk->scan, walk->scan.at, "out of memory");
    for (uint32_t i = 0; i < walk->devices.count; i++)
        if (walk->devices.items[i].described >= 0)
            met[walk->devices.items[i].described] = 1;
    for (uint32_t i = 0; rc == 0 && i < walk->desc.ndevices; i++)
        if (!met[i])
            rc = scan_fail(&walk->scan, walk->desc_at,
                           "the description has a device %.64s, instance %u, the stream has none",
                           walk->desc.devices[i].name, walk->desc.devices[i].instance);
    free(met);
    return rc;
}

/* The text, unless it has been read before. */
static int text(struct walk *walk, uint32_t len)
{
    struct rmig_err err = RMIG_ERR_INIT;
    uint64_t at = walk->scan.at;
    uint8_t *data;
    int rc = walk->desc_at == at ? 0 : scan_keep(&walk->scan);

    if (rc < 0)
        return rc;
    if (walk->desc_at == at || walk->scan.size - at < len)
        return scan_skip(&walk->scan, "the description", len);
    if (len > VMDESC_TEXT_MAX)
        return scan_fail(&walk->scan, at - 4, "a description of %u bytes, at most %u are read", len,
                         VMDESC_TEXT_MAX);
    data = malloc((size_t)len + 1);
    if (!data)
        return scan_fail(&walk->scan, at, "out of memory for a description of %u bytes", len);
    rc = get_all(walk, "the description", data, len);
    if (rc == 0 && !walk->desc.root && vmdesc_parse(&walk->desc, (char *)data, len, &err) < 0)
        rc = scan_fail(&walk->scan, at, "%s", err.msg);
    free(data);
    if (rc == 0) {
        walk->desc_at = at;
        walk->desc_bytes = len;
    }
    return rc;
}

int walk_description(struct walk *walk)
{
    const uint8_t *data;
    uint8_t type;
    uint32_t len;
    int rc;

    if (scan_peek(&walk->scan, &data, 1) == 0) /* a stream may have none */
        return walk->scan.broken ? walk->scan.err.code : 0;
    rc = scan_u8(&walk->scan, "the description", &type);
    if (rc == 0 && type != WALK_VMDESCRIPTION)
        return scan_fail(&walk->scan, walk->scan.at - 1,
                         "0x%02x, where the description (0x06) or the end of the stream should be",
                         type);
    if (rc == 0)
        rc = scan_be32(&walk->scan, "the description's length", &len);
    if (rc == 0)
        rc = text(walk, len);
    if (rc == 0)
        rc = all_there(walk);
    if (rc == 0 && scan_peek(&walk->scan, &data, 1) > 0)
        rc = scan_fail(&walk->scan, walk->scan.at, "the stream ends here, and more bytes follow");
    return rc;
}
