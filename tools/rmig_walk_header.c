/* SPDX-License-Identifier: BSD-3-Clause */
/* rmig_walk_header.c -- the beginning of a stream: magic, version, configuration and its
 * subsections. */
#include "tools/rmig_walk.h"

#include <errno.h>
#include <string.h>

#define STREAM_MAGIC 0x5145564du /* "QEVM" */
#define STREAM_VERSION 3u
/* Ten bits of a RAM record's first word are flags; the rest counts in pages. */
#define PAGE_BITS_MIN 10u
#define PAGE_BITS_MAX 20u

static int page_bits(struct walk *walk)
{
    uint32_t bits;
    int rc = scan_be32(&walk->scan, "the target page bits", &bits);

    if (rc < 0)
        return rc;
    if (bits < PAGE_BITS_MIN || bits > PAGE_BITS_MAX)
        return scan_fail(&walk->scan, walk->scan.at - 4, "%u target page bits, %u to %u are known",
                         bits, PAGE_BITS_MIN, PAGE_BITS_MAX);
    walk->page_bits = bits;
    walk->has_page_bits = true;
    return 0;
}

static int capabilities(struct walk *walk)
{
    char name[256], **item;
    uint32_t count;
    int rc = scan_be32(&walk->scan, "the number of capabilities", &count);

    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        rc = scan_name(&walk->scan, "a capability's name", name);
        if (rc < 0)
            return rc;
        item = walk_add(walk, &walk->capabilities, WALK_PARTS_MAX, "capabilities");
        if (!item || !(*item = walk_copy(walk, name)))
            return -EPROTO;
        walk->ignore_shared = walk->ignore_shared || strcmp(name, "x-ignore-shared") == 0;
        walk->mapped_ram = walk->mapped_ram || strcmp(name, "mapped-ram") == 0;
    }
    return rc;
}

static int uuid(struct walk *walk)
{
    int rc = scan_get(&walk->scan, "the VM's uuid", walk->uuid, sizeof(walk->uuid));

    walk->has_uuid = rc == 0;
    return rc;
}

static int subsection(struct walk *walk)
{
    static const struct {
        const char *name;
        int (*read)(struct walk *walk);
    } known[] = {
        {"configuration/target-page-bits", page_bits},
        {"configuration/capabilities", capabilities},
        {"configuration/uuid", uuid},
    };
    struct walk_subsection *s;
    uint64_t at = walk->scan.at - 1;
    char name[256];
    int rc = scan_name(&walk->scan, "a configuration subsection's name", name);

    if (rc < 0)
        return rc;
    s = walk_add(walk, &walk->subsections, WALK_PARTS_MAX, "configuration subsections");
    if (!s || !(s->name = walk_copy(walk, name)))
        return -EPROTO;
    s->at = at;
    rc = scan_be32(&walk->scan, "a configuration subsection's version", &s->version);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strcmp(name, known[i].name) == 0 && s->version == 1)
            return known[i].read(walk);
    return scan_fail(&walk->scan, at,
                     "subsection %.64s, version %u, is not known, so what follows cannot be found",
                     name, s->version);
}

static int configuration(struct walk *walk)
{
    uint32_t len;
    int rc = scan_be32(&walk->scan, "the machine name's length", &len);

    if (rc < 0)
        return rc;
    if (len == 0 || len >= sizeof(walk->machine))
        return scan_fail(&walk->scan, walk->scan.at - 4,
                         "a machine name of %u bytes, 1 to %zu are needed", len,
                         sizeof(walk->machine) - 1);
    rc = scan_text(&walk->scan, "the machine name", walk->machine, len);
    if (rc < 0)
        walk->machine[0] = '\0';
    return rc;
}

/* The next byte, if it is this one, is got. */
static bool take(struct walk *walk, enum walk_type type)
{
    const uint8_t *data;
    uint8_t byte;

    return scan_peek(&walk->scan, &data, 1) == 1 && data[0] == type &&
           scan_u8(&walk->scan, "", &byte) == 0;
}

int walk_header(struct walk *walk)
{
    uint32_t magic;
    int rc = scan_be32(&walk->scan, "the magic", &magic);

    if (rc == 0 && magic != STREAM_MAGIC)
        rc = scan_fail(&walk->scan, 0, "no migration stream: 0x%08x, not 0x%08x (\"QEVM\")", magic,
                       STREAM_MAGIC);
    if (rc == 0)
        rc = scan_be32(&walk->scan, "the stream's version", &walk->version);
    if (rc == 0 && walk->version != STREAM_VERSION)
        rc = scan_fail(&walk->scan, 4, "version %u, only %u can be followed", walk->version,
                       STREAM_VERSION);
    if (rc == 0 && take(walk, WALK_CONFIGURATION))
        rc = configuration(walk);
    while (rc == 0 && walk->machine[0] && take(walk, WALK_SUBSECTION))
        rc = subsection(walk);
    return rc;
}
