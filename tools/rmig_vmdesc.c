/* SPDX-License-Identifier: BSD-3-Clause */
/* rmig_vmdesc.c -- reads the description of devices, and bounds all that it says. */
#include "tools/rmig_vmdesc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Objects take much more memory than text; a description that is one has few of them for its
 * length. */
static int check_amount(const char *text, size_t len, struct rmig_err *err)
{
    size_t objects = 0, values = 0;

    if (len > VMDESC_TEXT_MAX)
        return rmig_err_set(err, -EPROTO, "description: %zu bytes, at most %u are read", len,
                            VMDESC_TEXT_MAX);
    for (size_t i = 0; i < len; i++) {
        objects += text[i] == '{';
        values += text[i] == ',';
    }
    if (objects > VMDESC_NODES_MAX || values > VMDESC_VALUES_MAX)
        return rmig_err_set(err, -EPROTO,
                            "description: %zu objects and %zu commas, at most %u and %u are read",
                            objects, values, VMDESC_NODES_MAX, VMDESC_VALUES_MAX);
    return 0;
}

/* --- members ---------------------------------------------------------------------------------- */

static int get_text(const json_t *object, const char *member, const char **text_p,
                    struct rmig_err *err)
{
    *text_p = json_string_value(json_object_get(object, member));
    if (!*text_p)
        return rmig_err_set(err, -EPROTO, "description: \"%s\" is missing or no text", member);
    return 0;
}

/* fallback: where the member is missing; negative: it is needed. */
static int get_number(const json_t *object, const char *member, uint64_t most, int64_t fallback,
                      uint64_t *value_p, struct rmig_err *err)
{
    const json_t *number = json_object_get(object, member);
    json_int_t value = number ? json_integer_value(number) : fallback;

    if ((number && !json_is_integer(number)) || value < 0)
        return rmig_err_set(err, -EPROTO, "description: \"%s\" is missing or no count", member);
    if ((uint64_t)value > most)
        return rmig_err_set(err, -EPROTO, "description: \"%s\" is %llu, at most %llu is read",
                            member, (unsigned long long)value, (unsigned long long)most);
    *value_p = (uint64_t)value;
    return 0;
}

static int get_u32(const json_t *object, const char *member, int64_t fallback, uint32_t *value_p,
                   struct rmig_err *err)
{
    uint64_t value;
    int rc = get_number(object, member, UINT32_MAX, fallback, &value, err);

    if (rc == 0)
        *value_p = (uint32_t)value;
    return rc;
}

static int get_list(const json_t *object, const char *member, const json_t **list_p,
                    struct rmig_err *err)
{
    *list_p = json_object_get(object, member);
    if (*list_p && !json_is_array(*list_p))
        return rmig_err_set(err, -EPROTO, "description: \"%s\" is no list", member);
    return 0;
}

/* --- fields and subsections ------------------------------------------------------------------- */

static int add_node(struct vmdesc *desc, uint32_t *index_p, struct rmig_err *err)
{
    if (desc->nnodes == VMDESC_NODES_MAX)
        return rmig_err_set(err, -EPROTO, "description: more than %u fields", VMDESC_NODES_MAX);
    if (desc->nnodes == desc->room) {
        uint32_t room = desc->room ? 2 * desc->room : 256;
        struct vmdesc_node *nodes = realloc(desc->nodes, room * sizeof(*nodes));

        if (!nodes)
            return rmig_err_set(err, -ENOMEM, "description: out of memory for %u fields", room);
        desc->nodes = nodes;
        desc->room = room;
    }
    *index_p = desc->nnodes++;
    desc->nodes[*index_p] = (struct vmdesc_node){.count = 1, .index = -1};
    return 0;
}

static int read_content(struct vmdesc *desc, const json_t *object, unsigned depth,
                        uint64_t *bytes_p, struct rmig_err *err);

/* Add size x count to a sum. */
static int add_bytes(uint64_t *sum, const char *name, uint64_t size, uint64_t count,
                     struct rmig_err *err)
{
    uint64_t bytes;

    if (__builtin_mul_overflow(size, count, &bytes) || bytes > VMDESC_BODY_MAX ||
        *sum + bytes > VMDESC_BODY_MAX)
        return rmig_err_set(err, -EPROTO,
                            "description: field %.64s: %llu times %llu bytes is beyond %llu", name,
                            (unsigned long long)count, (unsigned long long)size,
                            (unsigned long long)VMDESC_BODY_MAX);
    *sum += bytes;
    return 0;
}

static int read_field(struct vmdesc *desc, const json_t *object, unsigned depth, uint64_t *sum,
                      struct rmig_err *err)
{
    const json_t *inner = json_object_get(object, "struct");
    struct vmdesc_node node = {.index = -1};
    uint64_t index, inside = 0;
    uint32_t at;
    int rc = add_node(desc, &at, err);

    if (rc == 0)
        rc = get_text(object, "name", &node.name, err);
    if (rc == 0)
        rc = get_text(object, "type", &node.type, err);
    if (rc == 0)
        rc = get_number(object, "size", VMDESC_BODY_MAX, -1, &node.size, err);
    if (rc == 0)
        rc = get_number(object, "array_len", UINT32_MAX, 1, &node.count, err);
    if (rc == 0 && json_object_get(object, "index")) {
        rc = get_number(object, "index", UINT32_MAX, -1, &index, err);
        node.index = rc == 0 ? (int64_t)index : -1;
    }
    if (rc == 0)
        rc = add_bytes(sum, node.name, node.size, node.count, err);
    if (rc == 0)
        rc = read_content(desc, inner ? inner : object, depth + 1, &inside, err);
    node.next = desc->nnodes;
    node.whole = inside == node.size;
    if (rc == 0)
        desc->nodes[at] = node;
    return rc;
}

static int read_subsection(struct vmdesc *desc, const json_t *object, unsigned depth, uint64_t *sum,
                           struct rmig_err *err)
{
    struct vmdesc_node node = {.count = 1, .index = -1, .whole = true};
    uint32_t at;
    int rc = add_node(desc, &at, err);

    if (rc == 0)
        rc = get_text(object, "vmsd_name", &node.name, err);
    if (rc == 0 && strlen(node.name) > 255)
        rc = rmig_err_set(err, -EPROTO, "description: subsection %.64s...: a name of %zu bytes",
                          node.name, strlen(node.name));
    if (rc == 0)
        rc = get_u32(object, "version", 0, &node.version, err);
    if (rc == 0)
        rc = read_content(desc, object, depth + 1, &node.size, err);
    if (rc < 0)
        return rc;
    node.size += VMDESC_SUBSECTION_BYTES(strlen(node.name));
    node.next = desc->nnodes;
    desc->nodes[at] = node;
    return add_bytes(sum, node.name, node.size, 1, err);
}

static int read_content(struct vmdesc *desc, const json_t *object, unsigned depth,
                        uint64_t *bytes_p, struct rmig_err *err)
{
    const json_t *fields, *subsections;
    int rc = get_list(object, "fields", &fields, err);

    if (rc == 0)
        rc = get_list(object, "subsections", &subsections, err);
    if (rc == 0 && depth > VMDESC_DEPTH_MAX && (fields || subsections))
        rc = rmig_err_set(err, -EPROTO, "description: more than %u structs in each other",
                          VMDESC_DEPTH_MAX);
    *bytes_p = 0;
    for (size_t i = 0; rc == 0 && i < json_array_size(fields); i++)
        rc = read_field(desc, json_array_get(fields, i), depth, bytes_p, err);
    for (size_t i = 0; rc == 0 && i < json_array_size(subsections); i++)
        rc = read_subsection(desc, json_array_get(subsections, i), depth, bytes_p, err);
    return rc;
}

/* --- devices ---------------------------------------------------------------------------------- */

static int read_device(struct vmdesc *desc, const json_t *object, struct rmig_err *err)
{
    struct vmdesc_device device = {.first = desc->nnodes};
    int rc = get_text(object, "name", &device.name, err);

    if (rc == 0)
        rc = get_u32(object, "instance_id", -1, &device.instance, err);
    if (rc == 0)
        rc = get_u32(object, "version", 0, &device.version, err);
    if (rc == 0)
        rc = read_content(desc, object, 0, &device.body_bytes, err);
    if (rc < 0) {
        struct rmig_err why = *err;

        *err = (struct rmig_err)RMIG_ERR_INIT;
        return rmig_err_set(err, rc, "%.180s, in device %.40s", why.msg,
                            device.name ? device.name : "without a name");
    }
    device.vmsd_name = json_string_value(json_object_get(object, "vmsd_name"));
    device.next = desc->nnodes;
    desc->devices[desc->ndevices++] = device;
    return 0;
}

static int read_root(struct vmdesc *desc, struct rmig_err *err)
{
    const json_t *devices = json_object_get(desc->root, "devices");
    int rc = get_number(desc->root, "page_size", (uint64_t)1 << 30, 0, &desc->page_bytes, err);

    if (rc < 0)
        return rc;
    if (!json_is_array(devices))
        return rmig_err_set(err, -EPROTO, "description: \"devices\" is missing or no list");
    if (json_array_size(devices) > VMDESC_DEVICES_MAX)
        return rmig_err_set(err, -EPROTO, "description: %zu devices, at most %u are read",
                            json_array_size(devices), VMDESC_DEVICES_MAX);
    desc->devices = calloc(json_array_size(devices) + 1, sizeof(*desc->devices));
    if (!desc->devices)
        return rmig_err_set(err, -ENOMEM, "description: out of memory");
    for (size_t i = 0; rc == 0 && i < json_array_size(devices); i++)
        rc = read_device(desc, json_array_get(devices, i), err);
    return rc;
}

int vmdesc_parse(struct vmdesc *desc, const char *text, size_t len, struct rmig_err *err)
{
    struct rmig_err e = RMIG_ERR_INIT;
    json_error_t bad;
    int rc = check_amount(text, len, &e);

    *desc = (struct vmdesc){0};
    if (rc == 0) {
        desc->root = json_loadb(text, len, 0, &bad);
        if (!desc->root)
            rc = rmig_err_set(&e, -EPROTO, "description: no JSON from its byte %d on: %.120s",
                              bad.position, bad.text);
    }
    if (rc == 0)
        rc = read_root(desc, &e);
    if (rc < 0) {
        vmdesc_release(desc);
        return rmig_err_set(err, rc, "%s", e.msg);
    }
    return 0;
}

int64_t vmdesc_find(const struct vmdesc *desc, uint32_t hint, const char *name, uint32_t instance)
{
    for (uint32_t i = 0; i < desc->ndevices; i++) {
        uint32_t at = (hint + i) % desc->ndevices;

        if (desc->devices[at].instance == instance && strcmp(desc->devices[at].name, name) == 0)
            return at;
    }
    return -1;
}

void vmdesc_release(struct vmdesc *desc)
{
    json_decref(desc->root);
    free(desc->devices);
    free(desc->nodes);
    *desc = (struct vmdesc){0};
}
