/* SPDX-License-Identifier: BSD-3-Clause */
/* wire_facts.c -- prints the protocol's numbers as the code has them, for check-wire-page.sh. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "hooks/return_path.h"
#include "rdma/wire.h"
#include "stream/format.h"
/* Made by the script: the headers that the page names; RECORDS(X), the structs of wire.h, and
 * FIELDS_<record>(X), the members of one. */
#include "wire_includes.h"
#include "wire_records.h"

/* Longer than any record. */
#define ROOM_BYTES 64

static void number(const char *name, uint64_t value)
{
    printf("constant\t%s\t%" PRIu64 "\n", name, value);
}

static void text(const char *name, const char *value)
{
    printf("constant\t%s\t%s\n", name, value);
}

#define CONSTANT(name, value) _Generic((value), char * : text, default : number)(name, value)

/* Give a member a value of distinct bytes: first + 1, first + 2, ... */
static void fill(void *member, size_t size, uint8_t first)
{
    uint64_t value = 0;
    uint32_t small;

    for (size_t i = 0; i < size; i++)
        value = value << 8 | (uint8_t)(first + 1 + i);
    small = (uint32_t)value;
    memcpy(member, size == sizeof(small) ? (void *)&small : (void *)&value, size);
}

/* Where the encoded record has changed the member lies, as big-endian bytes of second. */
static void find(const char *record, const char *member, size_t size, uint8_t second,
                 const uint8_t *before, const uint8_t *after, uint8_t *taken)
{
    size_t at = 0, last = ROOM_BYTES;

    while (at < ROOM_BYTES && before[at] == after[at])
        at++;
    while (last > at && before[last - 1] == after[last - 1])
        last--;
    for (size_t i = at; i < last; i++) {
        if (after[i] != second + 1 + (i - at))
            printf("fault\t%s.%s is not big-endian\n", record, member);
        taken[i] = 1;
    }
    if (last - at != size)
        printf("fault\t%s.%s has %zu bytes in memory\n", record, member, size);
    printf("layout\t%s\t%zu\t%zu\t%s\n", record, at, last - at, member);
}

/* What no member has taken, up to where the encoder stopped writing. */
static void find_padding(const char *record, const uint8_t *encoded, const uint8_t *taken)
{
    size_t end = ROOM_BYTES;

    while (end > 0 && encoded[end - 1] == 0xff)
        end--;
    for (size_t at = 0, n; at < end; at += n) {
        for (n = 0; at + n < end && !taken[at + n]; n++)
            if (encoded[at + n] != 0)
                printf("fault\t%s: byte %zu of no member is not 0\n", record, at + n);
        if (n > 0)
            printf("layout\t%s\t%zu\t%zu\tpadding\n", record, at, n);
        else
            n = 1;
    }
}

/* Both first bytes are such that flags has LANES and PIN_BUDGET: without them private data is shorter. */
#define FIRST 0x18
#define SECOND 0x28
#define FILL(record, member) fill(&s.member, sizeof(s.member), FIRST);
#define FIND(record, member)                                                \
    fill(&s.member, sizeof(s.member), SECOND);                              \
    memset(after, 0xff, sizeof(after));                                     \
    (void)rmig_wire_encode_##record(after, &s);                             \
    find(#record, #member, sizeof(s.member), SECOND, before, after, taken); \
    FILL(record, member)
#define PRINT_LAYOUT(record)                                                    \
    static void print_##record(void)                                            \
    {                                                                           \
        struct rmig_wire_##record s;                                            \
        uint8_t before[ROOM_BYTES], after[ROOM_BYTES], taken[ROOM_BYTES] = {0}; \
                                                                                \
        memset(before, 0xff, sizeof(before));                                   \
        FIELDS_##record(FILL)(void) rmig_wire_encode_##record(before, &s);      \
        FIELDS_##record(FIND) find_padding(#record, before, taken);             \
    }
RECORDS(PRINT_LAYOUT)

int main(void)
{
#include "wire_constants.h" /* a CONSTANT() for each one of the headers and of the page */
#define CALL(record) print_##record();
    RECORDS(CALL)
    return 0;
}
