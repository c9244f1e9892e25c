/* SPDX-License-Identifier: BSD-3-Clause */
/* hooks_pieces.h -- writes a stream piece by piece, of two blocks of 4 pages: block-0, block-1. */
#ifndef TESTS_HOOKS_PIECES_H
#define TESTS_HOOKS_PIECES_H

#include <stdint.h>
#include "tests/unit/hooks_util.h"

/* What the functions below append to; each call is a message. */
extern struct messages pieces;

void put_u8(uint8_t v);
void put_be16(uint16_t v);
void put_be32(uint32_t v);
void put_be64(uint64_t v);
void put_text(const char *s);
void put_str8(const char *s);
void put_header(void);
void put_configuration(void);
void put_head(uint8_t type, uint32_t id, const char *name, uint32_t instance, uint32_t version);
void put_footer(uint32_t id);
void put_ram_start(void);
void put_block_list(void);
void put_end_of(uint32_t id);
/* Everything up to the first PART. */
void put_up_to_start(void);
void put_part(uint8_t type);
void put_page_bytes(uint8_t v);
/* Everything up to device sections. */
void put_up_to_devices(void);
void put_description(void);

#endif
