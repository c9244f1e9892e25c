/* SPDX-License-Identifier: BSD-3-Clause */
/* target.h -- what fuzz targets share: their entry, what must hold, and bytes read as a program. */
#ifndef TESTS_FUZZ_TARGET_H
#define TESTS_FUZZ_TARGET_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* A target is libFuzzer's, or one of many in a program that replays their seeds. */
#ifdef FUZZ_REPLAY
#define FUZZ_ENTRY(name) name
#else
#define FUZZ_ENTRY(name) LLVMFuzzerTestOneInput
#endif
#define FUZZ_TARGET(name)                                   \
    int FUZZ_ENTRY(name)(const uint8_t *data, size_t size); \
    int FUZZ_ENTRY(name)(const uint8_t *data, size_t size)

/* What must hold, whatever the input is. */
#define need(ok, what)                                                                       \
    do {                                                                                     \
        if (!(ok)) {                                                                         \
            fprintf(stderr, "%s:%d: %s: %s does not hold\n", __FILE__, __LINE__, what, #ok); \
            abort();                                                                         \
        }                                                                                    \
    } while (0)

/* Bytes as a program: operations with their arguments, as long as there are some; then zeroes. */
struct program {
    const uint8_t *at, *end;
};

static inline unsigned program_u8(struct program *p)
{
    return p->at < p->end ? *p->at++ : 0;
}

static inline unsigned program_u16(struct program *p)
{
    unsigned high = program_u8(p);

    return high << 8 | program_u8(p);
}

static inline uint64_t program_u64(struct program *p)
{
    uint64_t v = 0;

    for (int i = 0; i < 8; i++)
        v = v << 8 | program_u8(p);
    return v;
}

/* A length: mostly a small one, in one byte; or of two, or at a limit of the stream's. */
static inline size_t program_length(struct program *p)
{
    static const uint16_t limits[16] = {1023,  1024,  1025,  4095,  4096,  4097,  32743, 32764,
                                        32765, 32766, 32767, 32768, 32769, 32744, 40000, 65535};
    unsigned v = program_u8(p);

    if (v < 0xe0)
        return v;
    return v < 0xf0 ? program_u16(p) : limits[v - 0xf0];
}

/* Bytes that differ from their neighbours, the same in every run. */
static inline void fill_bytes(uint8_t *dst, size_t n, uint32_t seed)
{
    uint32_t x = seed * 2654435761u + 1;

    for (size_t i = 0; i < n; i++) {
        x = x * 1664525u + 1013904223u;
        dst[i] = (uint8_t)(x >> 24);
    }
}

#endif
