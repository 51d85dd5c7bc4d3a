/*
 * The bytes of JSON strings, inline for both the writer and the reader.
 *
 * "Plain" bytes need neither an escape nor validation: ASCII without controls, quote and backslash. Nearly all bytes
 * are plain, so a stride of them is looked at at once.
 */
#ifndef BASE_JSON_PLAIN_H
#define BASE_JSON_PLAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/slice.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#else
#include <endian.h>
#endif

#if defined(__SSE2__)
enum { STRIDE = 16 };

/* The number of plain bytes at p before the first that is not, at most STRIDE. */
static inline size_t count_plain(const char *p)
{
    __m128i v = _mm_loadu_si128((const void *)p);
    __m128i low = _mm_cmplt_epi8(v, _mm_set1_epi8(' '));  /* signed, so bytes above 0x7f as well */
    __m128i quote = _mm_cmpeq_epi8(v, _mm_set1_epi8('"'));
    __m128i slash = _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'));
    int odd = _mm_movemask_epi8(_mm_or_si128(low, _mm_or_si128(quote, slash)));
    return odd ? (size_t)__builtin_ctz((unsigned)odd) : STRIDE;
}

#else

enum { STRIDE = 8 };

#define EACH_BYTE(b) (UINT64_C(0x0101010101010101) * (b))

/* The highest bit of each byte that is below `than`. A borrow makes only bytes after such a one wrong. */
static inline uint64_t bytes_below(uint64_t v, unsigned char than)
{
    return (v - EACH_BYTE(than)) & ~v & EACH_BYTE(0x80);
}

static inline size_t count_plain(const char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    v = le64toh(v);
    uint64_t odd = (v & EACH_BYTE(0x80)) | bytes_below(v, ' ') | bytes_below(v ^ EACH_BYTE('"'), 1)
        | bytes_below(v ^ EACH_BYTE('\\'), 1);
    return odd ? (size_t)__builtin_ctzll(odd) / 8 : STRIDE;
}

#endif

static inline bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* The size of the character at the front of s, which is not empty; or, when the bytes are ill-formed, minus the size of
 * the part that one U+FFFD stands for (the "maximal subpart" of the Unicode standard, section 3.9). */
static inline int utf8_step(slice s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    unsigned low = 0x80, high = 0xbf;  /* of the second byte: neither overlong, surrogate nor past 10FFFF */
    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return -1;
    if (p[0] == 0xe0 || p[0] == 0xf0)
        low = p[0] == 0xe0 ? 0xa0 : 0x90;
    if (p[0] == 0xed || p[0] == 0xf4)
        high = p[0] == 0xed ? 0x9f : 0x8f;
    int size = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    for (int i = 1; i < size; i++) {
        if ((size_t)i == s.n || p[i] < low || p[i] > high)
            return -i;
        low = 0x80, high = 0xbf;
    }
    return size;
}

#endif
