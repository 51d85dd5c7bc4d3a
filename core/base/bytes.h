/*
 * Several bytes looked at together: a stride is 16 of them in a vector register, or 8 in a word.
 *
 * A test of a stride marks bytes by their highest bit. Only the first mark is always right: in a word, a borrow makes
 * bytes after a marked one wrong. bytes_before therefore asks for the first.
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define EACH_BYTE(b) (UINT64_C(0x0101010101010101) * (b))

/* Eight bytes, the one at the lowest address lowest. */
static inline uint64_t word_load(const char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return le64toh(v);
}

/* With its ASCII letters in lower case. */
static inline uint64_t word_lower(uint64_t v)
{
    uint64_t low = v & EACH_BYTE(0x7f);
    uint64_t upper = (low + EACH_BYTE(0x80 - 'A')) & ~(low + EACH_BYTE(0x7f - 'Z')) & ~v & EACH_BYTE(0x80);
    return v | upper >> 2;
}

#if defined(__SSE2__)
#include <emmintrin.h>

enum { STRIDE = 16 };
typedef __m128i stride;

static inline stride stride_load(const char *p)
{
    return _mm_loadu_si128((const void *)p);
}

static inline stride bytes_below(stride v, char than)
{
    return _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8((char)(than - 1))), v);
}

static inline stride bytes_equal(stride v, char to)
{
    return _mm_cmpeq_epi8(v, _mm_set1_epi8(to));
}

static inline stride bytes_or(stride a, stride b)
{
    return _mm_or_si128(a, b);
}

/* The number of bytes before the first that is marked, or STRIDE. */
static inline size_t bytes_before(stride marks)
{
    unsigned bits = (unsigned)_mm_movemask_epi8(marks);
    return bits == 0 ? STRIDE : (size_t)__builtin_ctz(bits);
}

#else

enum { STRIDE = 8 };
typedef uint64_t stride;

static inline stride stride_load(const char *p)
{
    return word_load(p);
}

static inline stride bytes_below(stride v, char than)
{
    return (v - EACH_BYTE((unsigned char)than)) & ~v;
}

static inline stride bytes_equal(stride v, char to)
{
    return bytes_below(v ^ EACH_BYTE((unsigned char)to), 1);
}

static inline stride bytes_or(stride a, stride b)
{
    return a | b;
}

static inline size_t bytes_before(stride marks)
{
    marks &= EACH_BYTE(0x80);
    return marks == 0 ? STRIDE : (size_t)__builtin_ctzll(marks) / 8;
}

#endif

#endif
