/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_inspect.c -- libFuzzer target: any bytes as a stream that is inspected; what is said of them
 * lies within them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/bytes_channel.h"
#include "tests/fuzz/target.h"
#include "tools/rmig_fields.h"
#include "tools/rmig_inspect.h"

static void check_field(void *opaque, const struct field *field)
{
    const struct walk_device *d = opaque;

    need(field->at >= d->body_at && field->at - d->body_at <= d->body_bytes, "where a field is");
    need(field->ndata <= d->body_bytes - (field->at - d->body_at), "where a field ends");
    need(field->ndata <= FIELD_DATA_MAX && strlen(field->path) < sizeof(field->path), "a field");
}

static void check(struct walk *walk, size_t size)
{
    uint32_t left = 4096;

    need(walk->scan.at <= size && walk->scan.err_at <= size, "a position");
    need((walk->scan.err.code < 0) == (walk->scan.err.msg[0] != '\0'), "an error without words");
    need(walk->complete || walk->scan.err.code < 0, "neither an end nor an error");
    for (uint32_t i = 0; i < walk->devices.count; i++) {
        struct walk_device *d = &walk->devices.items[i];

        if (d->found == WALK_NOT_FOUND)
            continue;
        need(d->body_at <= size && d->body_bytes <= size - d->body_at, "a device");
        if (d->found == WALK_BY_DESCRIPTION)
            need(fields_visit(walk, d, &left, check_field, d) == 0, "the fields of a device");
    }
}

/* Of a pipe the same is said. */
static void check_pipe(const struct walk *file, const uint8_t *data, size_t size)
{
    static struct walk walk;

    (void)walk_run(&walk, bytes_channel(data, size, 0, 1 + size % 977));
    need(strcmp(walk.scan.err.msg, file->scan.err.msg) == 0, "a pipe ends otherwise");
    need(walk.devices.count == file->devices.count, "a pipe has other devices");
    walk_release(&walk);
}

FUZZ_TARGET(fuzz_inspect)
{
    static struct walk walk;
    int rc = walk_run(&walk, bytes_channel(data, size, 1, 0));

    need(rc <= 0 && rc == walk.scan.err.code, "result");
    check(&walk, size);
    json_decref(inspect_json(&walk, "fuzz"));
    if (size % 8 == 0)
        check_pipe(&walk, data, size);
    walk_release(&walk);
    return 0;
}
