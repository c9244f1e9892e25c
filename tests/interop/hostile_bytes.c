/* SPDX-License-Identifier: BSD-3-Clause */
/* hostile_bytes.c -- makes the bytes of a migration stream from a short text. */
#include "tests/interop/hostile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Parts of a stream, in the same words. The machine is "raw", the ram section has id 2. */
static const struct {
    const char *name, *text;
} parts[] = {
    {"HEADER", "51 45 56 4d :3 07 :3 72 61 77"},
    {"START", "01 :2 =ram :0 :4"},
    {"LIST", "::0x410004 =ram ::0x400000 =rom ::0x10000"},
    {"MARK", "::0x80"},
    {"EOS", "::0x10"},
    {"FOOT", "7e :2"},
    {"PART", "02 :2"},
    {"END", "03 :2"},
    {"DEVICE", "04 :3 =timer :0 :1 ~16 7e :3"},
    {"TAIL", "00 06 :15 7b 22 70 61 67 65 5f 73 69 7a 65 22 3a 31 7d"},
};

void bytes_add(struct bytes *bytes, const void *data, size_t len)
{
    if (bytes->len + len > bytes->room) {
        bytes->room = 2 * bytes->room + len;
        bytes->data = realloc(bytes->data, bytes->room);
        if (!bytes->data)
            abort();
    }
    memcpy(bytes->data + bytes->len, data, len);
    bytes->len += len;
}

void bytes_release(struct bytes *bytes)
{
    free(bytes->data);
    *bytes = (struct bytes){0};
}

/* Big-endian, the last nbytes of value. */
static void put_number(struct bytes *bytes, const char *text, int base, unsigned nbytes)
{
    uint64_t value = strtoull(text, NULL, base);

    for (unsigned i = nbytes; i-- > 0;)
        bytes_add(bytes, &(uint8_t){(uint8_t)(value >> 8 * i)}, 1);
}

static void put_filler(struct bytes *bytes, unsigned long n)
{
    while (n-- > 0)
        bytes_add(bytes, "x", 1);
}

static void put_word(struct bytes *bytes, const char *word)
{
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        if (strcmp(word, parts[i].name) == 0) {
            bytes_put(bytes, parts[i].text);
            return;
        }
    if (word[0] == '=') {
        bytes_add(bytes, &(uint8_t){(uint8_t)strlen(word + 1)}, 1);
        bytes_add(bytes, word + 1, strlen(word + 1));
    } else if (word[0] == '~') {
        put_filler(bytes, strtoul(word + 1, NULL, 0));
    } else if (word[0] == ':' && word[1] == ':') {
        put_number(bytes, word + 2, 0, 8);
    } else if (word[0] == ':') {
        put_number(bytes, word + 1, 0, 4);
    } else if (word[0] == '.') {
        put_number(bytes, word + 1, 0, 2);
    } else {
        put_number(bytes, word, 16, 1);
    }
}

void bytes_put(struct bytes *bytes, const char *text)
{
    char *copy = strdup(text), *rest = NULL;

    if (!copy)
        abort();
    for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        put_word(bytes, word);
    free(copy);
}
