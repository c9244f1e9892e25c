/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * format.h -- the migration stream's container format, version 3: names for its numbers, encoders
 * and decoders of its words. No I/O, no allocation. All integers on the wire are big-endian; a
 * "str8" is one length byte and that many bytes, without NUL.
 *
 *   stream   := magic u32, version u32, [CONFIGURATION], {section | COMMAND}, EOF, [VMDESCRIPTION]
 *   section  := START|FULL, id u32, idstr str8, instance u32, version u32, body, FOOTER, id u32
 *             | PART|END, id u32, body, FOOTER, id u32
 *   ram body := {ram record}, a record with RMIG_RAM_EOS; each record begins with one u64 word
 */
#ifndef STREAM_FORMAT_H
#define STREAM_FORMAT_H

#include <stddef.h>
#include <stdint.h>
#include <rmig/error.h>

#define RMIG_STREAM_MAGIC 0x5145564du      /* "QEVM" */
#define RMIG_STREAM_VERSION 3u             /* the one that is written and read */
#define RMIG_STREAM_VERSION_OBSOLETE 2u    /* refused, with a message of its own */
#define RMIG_STREAM_HEADER_BYTES 8u        /* magic and version */
#define RMIG_STR8_MAX 255u                 /* longest counted string, in bytes */
#define RMIG_MACHINE_NAME_MAX 255u         /* longest configuration name that is accepted */
#define RMIG_VMDESCRIPTION_MAX (16u << 20) /* longest description text that is accepted, bytes */

/** First byte of everything that follows the header. */
enum rmig_section {
    RMIG_SECTION_EOF = 0x00,           /* nothing follows but a VMDESCRIPTION */
    RMIG_SECTION_START = 0x01,         /* id, idstr, instance, version, body */
    RMIG_SECTION_PART = 0x02,          /* id, body */
    RMIG_SECTION_END = 0x03,           /* id, body */
    RMIG_SECTION_FULL = 0x04,          /* as START; device state, once */
    RMIG_SECTION_SUBSECTION = 0x05,    /* only inside a body: str8 name, version u32 */
    RMIG_SECTION_VMDESCRIPTION = 0x06, /* only after EOF: length u32, JSON text */
    RMIG_SECTION_CONFIGURATION = 0x07, /* only after the version: length u32, machine name */
    RMIG_SECTION_COMMAND = 0x08,       /* command u16, length u16, bytes; no footer */
    RMIG_SECTION_FOOTER = 0x7e         /* id u32, that of the section it ends */
};

/** Commands of RMIG_SECTION_COMMAND. */
enum rmig_command {
    RMIG_COMMAND_OPEN_RETURN_PATH = 1,
    RMIG_COMMAND_PING = 2,
    RMIG_COMMAND_POSTCOPY_ADVISE = 3,
    RMIG_COMMAND_POSTCOPY_LISTEN = 4,
    RMIG_COMMAND_POSTCOPY_RUN = 5,
    RMIG_COMMAND_POSTCOPY_RAM_DISCARD = 6,
    RMIG_COMMAND_PACKAGED = 7,
    RMIG_COMMAND_ENABLE_COLO = 8,
    RMIG_COMMAND_POSTCOPY_RESUME = 9,
    RMIG_COMMAND_RECV_BITMAP = 10,
    RMIG_COMMAND_SWITCHOVER_START = 11 /* length 0; the one a receiver may skip */
};

/** Subsections of the configuration, and the version that each has. */
#define RMIG_CONFIGURATION_PAGE_BITS "configuration/target-page-bits"   /* u32 bits */
#define RMIG_CONFIGURATION_CAPABILITIES "configuration/capabilities"    /* u32 count, str8 each */
#define RMIG_CONFIGURATION_UUID "configuration/uuid"                    /* 16 bytes */
#define RMIG_CONFIGURATION_VERSION 1u

/** Identity of the ram section. */
#define RMIG_RAM_SECTION_NAME "ram"
#define RMIG_RAM_SECTION_INSTANCE 0u
#define RMIG_RAM_SECTION_VERSION 4u
#define RMIG_RAM_SECTION_ID 2u /* the id we write; a reader takes it from START */

/** Low bits of a ram record's word; the rest is a value that is a multiple of the target page. */
#define RMIG_RAM_FULL 0x001u          /* obsolete, refused */
#define RMIG_RAM_ZERO 0x002u          /* [str8 block unless CONTINUE], fill byte */
#define RMIG_RAM_MEM_SIZE 0x004u      /* block list; value = total bytes */
#define RMIG_RAM_PAGE 0x008u          /* [str8 block unless CONTINUE], one page of bytes */
#define RMIG_RAM_EOS 0x010u           /* ends the body */
#define RMIG_RAM_CONTINUE 0x020u      /* modifier: same block as the page record before */
#define RMIG_RAM_XBZRLE 0x040u        /* not supported */
#define RMIG_RAM_HOOK 0x080u          /* hook mark; the word is exactly this */
#define RMIG_RAM_COMPRESS_PAGE 0x100u /* not supported */
#define RMIG_RAM_MULTIFD_FLUSH 0x200u /* not supported */
#define RMIG_RAM_FLAGS_MASK 0xfffu    /* what is not value, with 4 KiB target pages */

/** What a ram record is, with CONTINUE taken off. */
struct rmig_ram_word {
    uint32_t kind;  /* one of MEM_SIZE, ZERO, PAGE, EOS, HOOK */
    uint32_t same;  /* 1 if CONTINUE was set, else 0 */
    uint64_t value; /* MEM_SIZE: total bytes; ZERO, PAGE: byte offset in the block; else 0 */
};

/** Encoded size of a START or FULL head with the longest name. */
#define RMIG_SECTION_HEAD_MAX (1u + 4u + 1u + RMIG_STR8_MAX + 4u + 4u)

/** Head of a START or FULL section. */
struct rmig_section_head {
    uint32_t id;
    const char *name; /* 1..255 bytes, NUL-terminated */
    uint32_t instance;
    uint32_t version;
};

/** Write magic and version. Requires: 8 bytes at dst. */
void rmig_format_header_encode(uint8_t dst[RMIG_STREAM_HEADER_BYTES]);

/** Check magic and version. Returns: 0; -EPROTO with the figure found. */
int rmig_format_header_decode(const uint8_t src[RMIG_STREAM_HEADER_BYTES], struct rmig_err *err);

/**
 * Write the head of a START or FULL section, type byte included. Requires: RMIG_SECTION_HEAD_MAX
 * bytes at dst. Returns: bytes written; -EINVAL type is neither, or a name of 0 or over 255 bytes.
 */
int rmig_format_section_encode(uint8_t *dst, enum rmig_section type,
                               const struct rmig_section_head *head, struct rmig_err *err);

/** Word of a ram record. Requires: value has no bit of RMIG_RAM_FLAGS_MASK; flags has no other. */
static inline uint64_t rmig_format_ram_word(uint64_t value, uint32_t flags)
{
    return value | flags;
}

/**
 * Take a ram record's word apart. The value is not bounded here: the block table does that.
 * Returns: 0; -ENOTSUP a record kind that is known and refused; -EPROTO no or more than one kind,
 * an unknown flag, CONTINUE on what is no page record, or a value with EOS or HOOK.
 */
int rmig_format_ram_decode(uint64_t word, struct rmig_ram_word *out_p, struct rmig_err *err);

/** Name of a section type for messages; "unknown" for none. Static storage. */
const char *rmig_format_section_name(uint32_t type);

/** Name of a command for messages; "unknown" for none. Static storage. */
const char *rmig_format_command_name(uint32_t command);

/** Names of the low bits of word, "PAGE|CONTINUE" style, into buf. Returns: buf. */
const char *rmig_format_ram_flags_name(uint64_t word, char *buf, size_t len_bytes);

#endif
