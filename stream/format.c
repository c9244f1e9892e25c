/* SPDX-License-Identifier: BSD-3-Clause */
/* format.c -- encodes and decodes the words of the migration stream's container format. */
#include "stream/format.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/bytes.h"

/* Kinds that may stand in a stream we read. */
#define KINDS_ACCEPTED \
    (RMIG_RAM_ZERO | RMIG_RAM_MEM_SIZE | RMIG_RAM_PAGE | RMIG_RAM_EOS | RMIG_RAM_HOOK)
/* Kinds that QEMU knows and that need an option no stream of ours has. */
#define KINDS_REFUSED \
    (RMIG_RAM_FULL | RMIG_RAM_XBZRLE | RMIG_RAM_COMPRESS_PAGE | RMIG_RAM_MULTIFD_FLUSH)

static const char *const ram_flag_names[] = {
    "FULL",     "ZERO",   "MEM_SIZE", "PAGE",          "EOS",
    "CONTINUE", "XBZRLE", "HOOK",     "COMPRESS_PAGE", "MULTIFD_FLUSH",
};
#define NFLAGS (sizeof(ram_flag_names) / sizeof(ram_flag_names[0]))

void rmig_format_header_encode(uint8_t dst[RMIG_STREAM_HEADER_BYTES])
{
    rmig_store_be32(dst, RMIG_STREAM_MAGIC);
    rmig_store_be32(dst + 4, RMIG_STREAM_VERSION);
}

int rmig_format_header_decode(const uint8_t src[RMIG_STREAM_HEADER_BYTES], struct rmig_err *err)
{
    uint32_t magic = rmig_load_be32(src), version = rmig_load_be32(src + 4);

    if (magic != RMIG_STREAM_MAGIC)
        return rmig_err_set(err, -EPROTO,
                            "stream header: magic 0x%08x, not 0x%08x: not a migration stream",
                            magic, RMIG_STREAM_MAGIC);
    if (version == RMIG_STREAM_VERSION_OBSOLETE)
        return rmig_err_set(err, -EPROTO, "stream header: version 2 is obsolete, %u is needed",
                            RMIG_STREAM_VERSION);
    if (version != RMIG_STREAM_VERSION)
        return rmig_err_set(err, -EPROTO, "stream header: version %u, only %u is known", version,
                            RMIG_STREAM_VERSION);
    return 0;
}

int rmig_format_section_encode(uint8_t *dst, enum rmig_section type,
                               const struct rmig_section_head *head, struct rmig_err *err)
{
    size_t len = strnlen(head->name, RMIG_STR8_MAX + 1);
    uint8_t *p = dst;

    if (type != RMIG_SECTION_START && type != RMIG_SECTION_FULL)
        return rmig_err_set(err, -EINVAL, "section type %s has no name in its head",
                            rmig_format_section_name(type));
    if (len == 0 || len > RMIG_STR8_MAX)
        return rmig_err_set(err, -EINVAL, "section name: 1 to %u bytes are allowed", RMIG_STR8_MAX);
    *p++ = (uint8_t)type;
    rmig_store_be32(p, head->id);
    p += 4;
    *p++ = (uint8_t)len;
    memcpy(p, head->name, len);
    p += len;
    rmig_store_be32(p, head->instance);
    rmig_store_be32(p + 4, head->version);
    return (int)(p + 8 - dst);
}

/* What to switch off at the source to be rid of a kind of records. */
static const char *capability_of(uint32_t kind)
{
    return kind & RMIG_RAM_XBZRLE          ? "xbzrle"
           : kind & RMIG_RAM_COMPRESS_PAGE ? "compress"
           : kind & RMIG_RAM_MULTIFD_FLUSH ? "multifd"
                                           : "of an old kind";
}

int rmig_format_ram_decode(uint64_t word, struct rmig_ram_word *out_p, struct rmig_err *err)
{
    uint32_t flags = (uint32_t)(word & RMIG_RAM_FLAGS_MASK);
    uint32_t kind = flags & ~RMIG_RAM_CONTINUE;
    uint64_t value = word & ~(uint64_t)RMIG_RAM_FLAGS_MASK;
    char names[96];

    if (kind & KINDS_REFUSED)
        return rmig_err_set(err, -ENOTSUP,
                            "ram record %s at 0x%llx: not supported: capability %s is on at the "
                            "source; switch it off there",
                            rmig_format_ram_flags_name(word, names, sizeof(names)),
                            (unsigned long long)value, capability_of(kind));
    if ((kind & ~KINDS_ACCEPTED) || kind == 0 || (kind & (kind - 1)))
        return rmig_err_set(err, -EPROTO, "ram record: flags 0x%03x (%s) are not one record", flags,
                            rmig_format_ram_flags_name(word, names, sizeof(names)));
    if ((flags & RMIG_RAM_CONTINUE) && !(kind & (RMIG_RAM_PAGE | RMIG_RAM_ZERO)))
        return rmig_err_set(err, -EPROTO, "ram record: CONTINUE on %s, which names no page",
                            rmig_format_ram_flags_name(kind, names, sizeof(names)));
    if (value && (kind & (RMIG_RAM_EOS | RMIG_RAM_HOOK)))
        return rmig_err_set(err, -EPROTO, "ram record: %s with value 0x%llx, 0 is needed",
                            rmig_format_ram_flags_name(kind, names, sizeof(names)),
                            (unsigned long long)value);
    out_p->kind = kind;
    out_p->same = (flags & RMIG_RAM_CONTINUE) != 0;
    out_p->value = value;
    return 0;
}

const char *rmig_format_section_name(uint32_t type)
{
    static const char *const names[] = {
        "EOF",        "START",         "PART",          "END",     "FULL",
        "SUBSECTION", "VMDESCRIPTION", "CONFIGURATION", "COMMAND",
    };

    if (type == RMIG_SECTION_FOOTER)
        return "FOOTER";
    return type < sizeof(names) / sizeof(names[0]) ? names[type] : "unknown";
}

const char *rmig_format_command_name(uint32_t command)
{
    static const char *const names[] = {
        "OPEN_RETURN_PATH",     "PING",     "POSTCOPY_ADVISE", "POSTCOPY_LISTEN", "POSTCOPY_RUN",
        "POSTCOPY_RAM_DISCARD", "PACKAGED", "ENABLE_COLO",     "POSTCOPY_RESUME", "RECV_BITMAP",
        "SWITCHOVER_START",
    };

    if (command == 0 || command > sizeof(names) / sizeof(names[0]))
        return "unknown";
    return names[command - 1];
}

const char *rmig_format_ram_flags_name(uint64_t word, char *buf, size_t len_bytes)
{
    size_t used = 0;

    if (len_bytes)
        buf[0] = '\0';
    for (size_t i = 0; i < NFLAGS && used < len_bytes; i++)
        if (word & (UINT64_C(1) << i)) {
            int n =
                snprintf(buf + used, len_bytes - used, "%s%s", used ? "|" : "", ram_flag_names[i]);

            used += n > 0 ? (size_t)n : 0;
        }
    if (used == 0 && len_bytes)
        snprintf(buf, len_bytes, "none");
    return buf;
}
