/* SPDX-License-Identifier: BSD-3-Clause */
/* devices.h -- the description of the device sections that ends a stream: JSON, written by hand. */
#ifndef HOOKS_DEVICES_H
#define HOOKS_DEVICES_H

#include <stddef.h>
#include <stdint.h>
#include <rmig/error.h>

/** The text so far; zeroed memory is an empty one. */
struct rmig_devices {
    char *text;
    size_t used_bytes; /* without NUL */
    size_t room_bytes;
};

/** One device section, whose body is a u32 length and the data. */
struct rmig_device {
    const char *name; /* 1..255 printable bytes */
    uint32_t instance_id;
    uint32_t version;
    uint32_t data_bytes;
};

/** Fine on a zeroed object. */
void rmig_devices_release(struct rmig_devices *devices);

/** Describe one more section. Returns: 0; -E2BIG the text would pass its limit; -ENOMEM. */
int rmig_devices_add(struct rmig_devices *devices, const struct rmig_device *device,
                     struct rmig_err *err);

/** Finish the text; no add after it. Returns: 0; -ENOMEM. */
int rmig_devices_finish(struct rmig_devices *devices, struct rmig_err *err);

/** Check a section's name. Returns: 0; -EINVAL naming what is wrong. */
int rmig_device_name_check(const char *name, struct rmig_err *err);

#endif
