/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_vmdesc.c -- libFuzzer target: any text as a description of device sections; what is taken of
 * it is within its bounds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/target.h"
#include "tools/rmig_vmdesc.h"

/* Nodes lie in each other, and no sum has run over. */
static void check_nodes(const struct vmdesc *desc, const struct vmdesc_device *device)
{
    uint64_t sum = 0;

    for (uint32_t i = device->first; i < device->next; i = desc->nodes[i].next) {
        need(desc->nodes[i].next > i && desc->nodes[i].next <= device->next, "a node's end");
        sum += desc->nodes[i].size * desc->nodes[i].count;
        need(sum <= VMDESC_BODY_MAX, "a sum");
    }
    need(sum == device->body_bytes, "a device's length");
    for (uint32_t i = device->first; i < device->next; i++)
        need(desc->nodes[i].name && strlen(desc->nodes[i].name) < VMDESC_TEXT_MAX, "a name");
}

FUZZ_TARGET(fuzz_vmdesc)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct vmdesc desc;
    int rc = vmdesc_parse(&desc, (const char *)data, size, &err);

    need(rc <= 0 && (rc < 0) == (err.code < 0) && (rc < 0) == (err.msg[0] != '\0'), "result");
    need((rc < 0) == !desc.root, "content after a failure");
    for (uint32_t i = 0; i < desc.ndevices; i++) {
        check_nodes(&desc, &desc.devices[i]);
        need(vmdesc_find(&desc, i, desc.devices[i].name, desc.devices[i].instance) == i, "found");
    }
    vmdesc_release(&desc);
    return 0;
}
