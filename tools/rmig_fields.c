/* SPDX-License-Identifier: BSD-3-Clause */
/* rmig_fields.c -- goes over a device as the description has it, and reads what is in its fields.
 */
#include "tools/rmig_fields.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct visit {
    struct walk *walk;
    uint32_t *left_p;
    field_fn *fn;
    void *opaque;
    struct field field; /* its path is that of the struct which is being read */
};

/* A stranger's text, with nothing in it that a terminal would obey. */
static void put_text(char *dst, size_t room, const char *text)
{
    size_t n = strlen(dst);

    for (; *text && n + 1 < room; text++)
        dst[n++] = *text >= 0x20 && *text < 0x7f ? *text : '?';
    dst[n] = '\0';
}

static void put_index(char *dst, size_t room, uint64_t index)
{
    char text[32];

    snprintf(text, sizeof(text), "[%llu]", (unsigned long long)index);
    put_text(dst, room, text);
}

static int hand_out(struct visit *v, const char *type, uint64_t at, uint64_t size, uint64_t count)
{
    uint64_t all = size * count; /* the description's reader has bounded it */
    int rc;

    v->field.type[0] = '\0';
    put_text(v->field.type, sizeof(v->field.type), type);
    v->field.at = at;
    v->field.size = size;
    v->field.count = count;
    v->field.ndata = all < FIELD_DATA_MAX ? all : FIELD_DATA_MAX;
    rc = scan_goto(&v->walk->scan, at);
    if (rc == 0)
        rc = scan_get(&v->walk->scan, "a field", v->field.data, v->field.ndata);
    if (rc == 0)
        v->fn(v->opaque, &v->field);
    return rc;
}

static int visit_range(struct visit *v, uint32_t first, uint32_t next, uint64_t at);

static int visit_elements(struct visit *v, uint32_t index, uint64_t at)
{
    const struct vmdesc_node *node = &v->walk->desc.nodes[index];
    size_t len = strlen(v->field.path);
    int rc = 0;

    for (uint64_t i = 0; rc == 0 && *v->left_p > 0 && i < node->count; i++) {
        if (node->count > 1)
            put_index(v->field.path, sizeof(v->field.path), i);
        put_text(v->field.path, sizeof(v->field.path), ".");
        rc = visit_range(v, index + 1, node->next, at + i * node->size);
        v->field.path[len] = '\0';
        --*v->left_p; /* of elements with nothing in them there can be any number */
        if (*v->left_p == UINT32_MAX)
            *v->left_p = 0;
    }
    return rc;
}

static int visit_node(struct visit *v, uint32_t index, uint64_t at)
{
    const struct vmdesc_node *node = &v->walk->desc.nodes[index];
    uint64_t head = node->type ? 0 : VMDESC_SUBSECTION_BYTES(strlen(node->name));
    int rc = 0;

    put_text(v->field.path, sizeof(v->field.path), node->name);
    if (node->index >= 0)
        put_index(v->field.path, sizeof(v->field.path), (uint64_t)node->index);
    v->field.subsection = node->type ? NULL : node;
    if (!node->type)
        rc = hand_out(v, "subsection", at, head, 1);
    v->field.subsection = NULL;
    if (rc == 0 && node->next > index + 1 && node->whole)
        return visit_elements(v, index, at + head);
    return node->type && rc == 0 ? hand_out(v, node->type, at, node->size, node->count) : rc;
}

static int visit_range(struct visit *v, uint32_t first, uint32_t next, uint64_t at)
{
    size_t len = strlen(v->field.path);
    int rc = 0;

    for (uint32_t i = first; rc == 0 && *v->left_p > 0 && i < next;
         i = v->walk->desc.nodes[i].next) {
        --*v->left_p;
        rc = visit_node(v, i, at);
        at += v->walk->desc.nodes[i].size * v->walk->desc.nodes[i].count;
        v->field.path[len] = '\0';
    }
    return rc;
}

int fields_visit(struct walk *walk, const struct walk_device *device, uint32_t *left_p,
                 field_fn *fn, void *opaque)
{
    struct visit v = {.walk = walk, .left_p = left_p, .fn = fn, .opaque = opaque};
    const struct vmdesc_device *described = &walk->desc.devices[device->described];

    return visit_range(&v, described->first, described->next, device->body_at);
}

/* --- heads of subsections --------------------------------------------------------------------- */

static void check(void *opaque, const struct field *field)
{
    const struct vmdesc_node *node = field->subsection;
    struct scan *scan = opaque;
    size_t len = node ? strlen(node->name) : 0;

    if (!node)
        return;
    if (field->data[0] != WALK_SUBSECTION || field->data[1] != len ||
        memcmp(field->data + 2, node->name, len < field->ndata - 2 ? len : field->ndata - 2) != 0)
        (void)scan_fail(scan, field->at, "subsection %.64s should begin here, by the description",
                        node->name);
    else if (len + 6 <= field->ndata && scan_load_be32(field->data + 2 + len) != node->version)
        (void)scan_fail(scan, field->at + 2 + len,
                        "subsection %.64s has version %u, and %u by the "
                        "description",
                        node->name, scan_load_be32(field->data + 2 + len), node->version);
}

int fields_check(struct walk *walk, const struct walk_device *device)
{
    return fields_visit(walk, device, &walk->checks_left, check, &walk->scan);
}

/* --- as text ---------------------------------------------------------------------------------- */

static bool is_number(const struct field *field)
{
    return (field->size == 1 || field->size == 2 || field->size == 4 || field->size == 8) &&
           !strstr(field->type, "buffer");
}

char *fields_text(char *buf, size_t len, const struct field *field)
{
    size_t step = is_number(field) ? field->size : 1, n = 0;

    buf[0] = '\0';
    for (size_t at = 0; at + step <= field->ndata && n + 24 < len; at += step) {
        uint64_t value = 0;

        for (size_t i = 0; i < step; i++)
            value = value << 8 | field->data[at + i];
        if (is_number(field))
            n += (size_t)snprintf(buf + n, len - n, "%s0x%llx", at ? " " : "",
                                  (unsigned long long)value);
        else
            n += (size_t)snprintf(buf + n, len - n, "%02x", (unsigned)value);
    }
    if (field->size * field->count > FIELD_DATA_MAX)
        snprintf(buf + n, len - n, " ...");
    return buf;
}
