/* SPDX-License-Identifier: BSD-3-Clause */
/* devices.c -- builds the JSON description of the device sections. */
#include "hooks/devices.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <rmig/ram.h>

#include "stream/format.h"

/* Everything of one device but its names, with room for the figures. */
#define DEVICE_FRAME_BYTES 320
/* A name with each byte escaped. */
#define NAME_ESCAPED_BYTES (2 * RMIG_STR8_MAX + 1)
/* What may still follow the last device. */
#define TAIL_BYTES 4

void rmig_devices_release(struct rmig_devices *devices)
{
    free(devices->text);
    memset(devices, 0, sizeof(*devices));
}

static int make_room(struct rmig_devices *d, size_t nbytes, struct rmig_err *err)
{
    size_t room = d->room_bytes ? d->room_bytes : 1024;
    char *text;

    while (room - d->used_bytes < nbytes)
        room *= 2;
    if (room == d->room_bytes)
        return 0;
    text = realloc(d->text, room);
    if (!text)
        return rmig_err_set(err, -ENOMEM, "device description: out of memory for %zu bytes", room);
    d->text = text;
    d->room_bytes = room;
    return 0;
}

/* Put a string that fits; the frames are constants and the names have been bounded. */
static void append(struct rmig_devices *d, const char *s)
{
    size_t len = strlen(s);

    memcpy(d->text + d->used_bytes, s, len);
    d->used_bytes += len;
}

/* Names are printable ASCII, so only these two bytes need an escape. */
static void escape(char dst[NAME_ESCAPED_BYTES], const char *name)
{
    for (; *name; name++) {
        if (*name == '"' || *name == '\\')
            *dst++ = '\\';
        *dst++ = *name;
    }
    *dst = '\0';
}

int rmig_device_name_check(const char *name, struct rmig_err *err)
{
    size_t len = name ? strnlen(name, RMIG_STR8_MAX + 1) : 0;

    if (len == 0 || len > RMIG_STR8_MAX)
        return rmig_err_set(err, -EINVAL, "device section: a name of 1 to %u bytes is needed",
                            RMIG_STR8_MAX);
    for (size_t i = 0; i < len; i++)
        if (name[i] < 0x20 || name[i] > 0x7e)
            return rmig_err_set(err, -EINVAL,
                                "device section: byte %zu of the name is not printable", i);
    return 0;
}

static int begin(struct rmig_devices *d, struct rmig_err *err)
{
    char head[64];
    int rc;

    if (d->used_bytes)
        return 0;
    rc = make_room(d, sizeof(head), err);
    if (rc < 0)
        return rc;
    snprintf(head, sizeof(head), "{\"page_size\": %u, \"devices\": [", RMIG_PAGE_BYTES);
    append(d, head);
    return 0;
}

int rmig_devices_add(struct rmig_devices *devices, const struct rmig_device *device,
                     struct rmig_err *err)
{
    char name[NAME_ESCAPED_BYTES], text[DEVICE_FRAME_BYTES + 2 * NAME_ESCAPED_BYTES];
    int n, rc;

    rc = begin(devices, err);
    if (rc < 0)
        return rc;
    escape(name, device->name);
    n = snprintf(
        text, sizeof(text),
        "%s{\"name\": \"%s\", \"instance_id\": %u, \"vmsd_name\": \"%s\", \"version\": %u, "
        "\"fields\": [{\"name\": \"data_len\", \"type\": \"uint32\", \"size\": 4}, "
        "{\"name\": \"data\", \"type\": \"buffer\", \"size\": %u}]}",
        devices->text[devices->used_bytes - 1] == '[' ? "" : ", ", name, device->instance_id, name,
        device->version, device->data_bytes);
    if (n < 0 || (size_t)n >= sizeof(text))
        return rmig_err_set(err, -EINVAL, "device section %.64s: cannot be described",
                            device->name);
    if (devices->used_bytes + (size_t)n + TAIL_BYTES > RMIG_VMDESCRIPTION_MAX)
        return rmig_err_set(err, -E2BIG,
                            "device section %.64s: the description of all sections would pass %u "
                            "bytes; join sections",
                            device->name, RMIG_VMDESCRIPTION_MAX);
    rc = make_room(devices, (size_t)n, err);
    if (rc == 0)
        append(devices, text);
    return rc;
}

int rmig_devices_finish(struct rmig_devices *devices, struct rmig_err *err)
{
    int rc = begin(devices, err);

    if (rc == 0)
        rc = make_room(devices, TAIL_BYTES, err);
    if (rc == 0)
        append(devices, "]}");
    return rc;
}
