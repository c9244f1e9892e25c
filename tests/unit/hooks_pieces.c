/* SPDX-License-Identifier: BSD-3-Clause */
/* hooks_pieces.c -- writes a stream piece by piece, to see what the load driver says to it. */
#include "tests/unit/hooks_pieces.h"

#include <string.h>

#include "common/bytes.h"
#include "stream/format.h"

struct messages pieces;

void put_u8(uint8_t v)
{
    messages_append(&pieces, &v, 1);
}

void put_be16(uint16_t v)
{
    uint8_t b[2];

    rmig_store_be16(b, v);
    messages_append(&pieces, b, sizeof(b));
}

void put_be32(uint32_t v)
{
    uint8_t b[4];

    rmig_store_be32(b, v);
    messages_append(&pieces, b, sizeof(b));
}

void put_be64(uint64_t v)
{
    uint8_t b[8];

    rmig_store_be64(b, v);
    messages_append(&pieces, b, sizeof(b));
}

void put_text(const char *s)
{
    messages_append(&pieces, s, strlen(s));
}

void put_str8(const char *s)
{
    put_u8((uint8_t)strlen(s));
    put_text(s);
}

void put_header(void)
{
    put_be32(RMIG_STREAM_MAGIC);
    put_be32(3);
}

void put_configuration(void)
{
    put_header();
    put_u8(RMIG_SECTION_CONFIGURATION);
    put_be32(4);
    put_text("test");
}

void put_head(uint8_t type, uint32_t id, const char *name, uint32_t instance, uint32_t version)
{
    put_u8(type);
    put_be32(id);
    put_str8(name);
    put_be32(instance);
    put_be32(version);
}

void put_footer(uint32_t id)
{
    put_u8(RMIG_SECTION_FOOTER);
    put_be32(id);
}

void put_ram_start(void)
{
    put_head(RMIG_SECTION_START, 2, "ram", 0, 4);
}

void put_block_list(void)
{
    put_be64(8 * RMIG_PAGE_BYTES | RMIG_RAM_MEM_SIZE);
    put_str8("block-0");
    put_be64(4 * RMIG_PAGE_BYTES);
    put_str8("block-1");
    put_be64(4 * RMIG_PAGE_BYTES);
}

void put_end_of(uint32_t id)
{
    put_be64(RMIG_RAM_EOS);
    put_footer(id);
}

/* Everything up to the first PART. */
void put_up_to_start(void)
{
    put_configuration();
    put_ram_start();
    put_block_list();
    put_end_of(2);
}

void put_part(uint8_t type)
{
    put_u8(type);
    put_be32(2);
}

void put_page_bytes(uint8_t v)
{
    uint8_t page[RMIG_PAGE_BYTES];

    memset(page, v, sizeof(page));
    messages_append(&pieces, page, sizeof(page));
}

/* Everything up to device sections. */
void put_up_to_devices(void)
{
    put_up_to_start();
    put_part(RMIG_SECTION_END);
    put_end_of(2);
}

void put_description(void)
{
    put_u8(RMIG_SECTION_EOF);
    put_u8(RMIG_SECTION_VMDESCRIPTION);
    put_be32(2);
    put_text("{}");
}
