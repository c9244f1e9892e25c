/* SPDX-License-Identifier: BSD-3-Clause */
/* zero.c -- the all-zero test, portable and with SSE2, AVX2 or NEON. */
#include "hooks/zero.h"

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#define HAVE_X86 1
#elif defined(__aarch64__)
#include <arm_neon.h>
#define HAVE_NEON 1
#endif

typedef bool is_zero_fn(const void *buf, size_t n);

static inline uint64_t load_u64(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

static bool bytes_zero(const uint8_t *p, size_t n)
{
    uint8_t any = 0;

    for (size_t i = 0; i < n; i++)
        any |= p[i];
    return any == 0;
}

/* Both ends, 8 bytes each: decides nearly every page that is in use. Requires: n >= 8. */
static inline bool ends_zero(const uint8_t *p, size_t n)
{
    return (load_u64(p) | load_u64(p + n - 8)) == 0;
}

static bool is_zero_words(const void *buf, size_t n)
{
    const uint8_t *p = buf, *end = p + n;

    if (n < 8)
        return bytes_zero(p, n);
    for (; end - p >= 64; p += 64)
        if (load_u64(p) | load_u64(p + 8) | load_u64(p + 16) | load_u64(p + 24) | load_u64(p + 32) |
            load_u64(p + 40) | load_u64(p + 48) | load_u64(p + 56))
            return false;
    for (; end - p >= 8; p += 8)
        if (load_u64(p))
            return false;
    return load_u64(end - 8) == 0; /* the rest, some bytes for the second time */
}

static bool always(void)
{
    return true;
}

#ifdef HAVE_X86
#define LOAD_128(p) _mm_loadu_si128((const __m128i *)(const void *)(p))
#define LOAD_256(p) _mm256_loadu_si256((const __m256i *)(const void *)(p))

__attribute__((target("sse2"))) static bool is_zero_sse2(const void *buf, size_t n)
{
    const uint8_t *p = buf, *end = p + n;

    if (n < 64)
        return is_zero_words(buf, n);
    for (;; p += 64) {
        __m128i v;

        if (end - p < 64)
            p = end - 64; /* the rest, some bytes for the second time */
        v = _mm_or_si128(_mm_or_si128(LOAD_128(p), LOAD_128(p + 16)),
                         _mm_or_si128(LOAD_128(p + 32), LOAD_128(p + 48)));
        if (_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_setzero_si128())) != 0xffff)
            return false;
        if (end - p == 64)
            return true;
    }
}

static bool have_sse2(void)
{
    return __builtin_cpu_supports("sse2");
}

__attribute__((target("avx2"))) static bool is_zero_avx2(const void *buf, size_t n)
{
    const uint8_t *p = buf, *end = p + n;

    if (n < 128)
        return is_zero_words(buf, n);
    for (;; p += 128) {
        __m256i v;

        if (end - p < 128)
            p = end - 128;
        v = _mm256_or_si256(_mm256_or_si256(LOAD_256(p), LOAD_256(p + 32)),
                            _mm256_or_si256(LOAD_256(p + 64), LOAD_256(p + 96)));
        if (!_mm256_testz_si256(v, v))
            return false;
        if (end - p == 128)
            return true;
    }
}

static bool have_avx2(void)
{
    return __builtin_cpu_supports("avx2");
}
#endif

#ifdef HAVE_NEON
static bool is_zero_neon(const void *buf, size_t n)
{
    const uint8_t *p = buf, *end = p + n;

    if (n < 64)
        return is_zero_words(buf, n);
    for (;; p += 64) {
        uint8x16_t v;

        if (end - p < 64)
            p = end - 64;
        v = vorrq_u8(vorrq_u8(vld1q_u8(p), vld1q_u8(p + 16)),
                     vorrq_u8(vld1q_u8(p + 32), vld1q_u8(p + 48)));
        if (vmaxvq_u8(v))
            return false;
        if (end - p == 64)
            return true;
    }
}
#endif

const struct rmig_zero_variant rmig_zero_variants[] = {
#ifdef HAVE_X86
    {"avx2", is_zero_avx2, have_avx2}, {"sse2", is_zero_sse2, have_sse2},
#endif
#ifdef HAVE_NEON
    {"neon", is_zero_neon, always},
#endif
    {"words", is_zero_words, always},  {NULL, NULL, NULL},
};

static is_zero_fn *fastest(void)
{
    /* Every thread that chooses chooses the same, so a race to store it is harmless. */
    static _Atomic(is_zero_fn *) chosen;
    is_zero_fn *fn = atomic_load_explicit(&chosen, memory_order_relaxed);

    if (!fn) {
        const struct rmig_zero_variant *v = rmig_zero_variants;

        while (!v->supported())
            v++;
        fn = v->is_zero;
        atomic_store_explicit(&chosen, fn, memory_order_relaxed);
    }
    return fn;
}

bool rmig_is_zero(const void *buf, size_t len_bytes)
{
    return (len_bytes < 8 || ends_zero(buf, len_bytes)) && fastest()(buf, len_bytes);
}

uint64_t rmig_alike_pages(const uint8_t *ptr, uint64_t zero_pages, uint64_t data_pages, bool *zero_p)
{
    is_zero_fn *is_zero = fastest();
    uint64_t n = 1;

    *zero_p = rmig_is_zero(ptr, RMIG_PAGE_BYTES);
    if (*zero_p) /* straight on: to look at the end of each page first costs a fifth of the rate */
        while (n < zero_pages && is_zero(ptr + n * RMIG_PAGE_BYTES, RMIG_PAGE_BYTES))
            n++;
    else
        while (n < data_pages && !rmig_is_zero(ptr + n * RMIG_PAGE_BYTES, RMIG_PAGE_BYTES))
            n++;
    return n;
}
