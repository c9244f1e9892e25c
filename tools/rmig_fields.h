/* SPDX-License-Identifier: BSD-3-Clause */
/* rmig_fields.h -- the fields of a device that was found by the description, with what is in them.
 */
#ifndef TOOLS_RMIG_FIELDS_H
#define TOOLS_RMIG_FIELDS_H

#include <stddef.h>
#include <stdint.h>

#include "tools/rmig_walk.h"

#define FIELD_DATA_MAX 64u
/** So many fields are shown of a stream at most: arrays of structs can make a lot of few bytes. */
#define FIELDS_MAX (1u << 18)

/** One field that is no struct, or the head of a subsection. All text is printable. */
struct field {
    char path[512]; /* names of the structs it is in, and its own */
    char type[64];
    const struct vmdesc_node *subsection; /* of which it is the head; NULL */
    uint64_t at;                          /* first byte in the stream */
    uint64_t size;                        /* of one element */
    uint64_t count;                       /* elements */
    size_t ndata; /* bytes of data: of the first elements, where there are many */
    uint8_t data[FIELD_DATA_MAX];
};

/** Takes a field, which is gone when it returns. */
typedef void field_fn(void *opaque, const struct field *field);

/**
 * Hand out the fields of a device in their order; *left_p is how many may be shown, and counts
 * down. Requires: the device was found by the description. Returns: 0; -errno.
 */
int fields_visit(struct walk *walk, const struct walk_device *device, uint32_t *left_p,
                 field_fn *fn, void *opaque);

/** Is the head of each subsection where the description has it? Returns: 0; -EPROTO; -errno. */
int fields_check(struct walk *walk, const struct walk_device *device);

/** A field's content as numbers, where it is of numbers, or as bytes. Returns: buf. */
char *fields_text(char *buf, size_t len, const struct field *field);

#endif
