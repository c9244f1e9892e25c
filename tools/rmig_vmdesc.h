/* SPDX-License-Identifier: BSD-3-Clause */
/* rmig_vmdesc.h -- the description of device sections that ends a stream: JSON from a stranger. */
#ifndef TOOLS_RMIG_VMDESC_H
#define TOOLS_RMIG_VMDESC_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <rmig/error.h>

#define VMDESC_TEXT_MAX (16u << 20)  /* bytes of text */
#define VMDESC_DEPTH_MAX 32u         /* structs in structs */
#define VMDESC_NODES_MAX (1u << 19)  /* fields and subsections, and objects in the text */
#define VMDESC_VALUES_MAX (1u << 21) /* commas in the text */
#define VMDESC_DEVICES_MAX 16384u
#define VMDESC_BODY_MAX ((uint64_t)1 << 40) /* bytes of one device */

/** A field, or a subsection; what is in it follows it, up to next. */
struct vmdesc_node {
    const char *name; /* of a subsection its vmsd_name */
    const char *type; /* NULL: a subsection */
    uint64_t size;    /* of one element, bytes; of a subsection with its head */
    uint64_t count;   /* elements */
    int64_t index;    /* in an array that is written as several fields; -1: no array */
    uint32_t version; /* of a subsection */
    uint32_t next;    /* index of the node behind what is in it */
    bool whole;       /* what is in it adds up to its size */
};

struct vmdesc_device {
    const char *name, *vmsd_name;
    uint32_t instance, version;
    uint32_t first, next; /* its nodes: [first, next) */
    uint64_t body_bytes;
};

/** Zeroed memory is an empty one. */
struct vmdesc {
    json_t *root; /* owns all names */
    uint64_t page_bytes;
    struct vmdesc_device *devices; /* in the stream's order */
    uint32_t ndevices;
    struct vmdesc_node *nodes;
    uint32_t nnodes, room;
};

/** Bytes of a subsection's head: its mark, its name with a length byte, its version. */
#define VMDESC_SUBSECTION_BYTES(name_bytes) (1u + 1u + (name_bytes) + 4u)

/** Read it. Returns: 0; -EPROTO naming what is wrong; -ENOMEM. */
int vmdesc_parse(struct vmdesc *desc, const char *text, size_t len, struct rmig_err *err);

/** The first of a section's devices, looked for from device hint on. Returns: its index; -1. */
int64_t vmdesc_find(const struct vmdesc *desc, uint32_t hint, const char *name, uint32_t instance);

/** Fine on zeroed memory. */
void vmdesc_release(struct vmdesc *desc);

#endif
