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

#include "base/bytes.h"
#include "base/slice.h"

/* The number of plain bytes at p before the first that is not, at most STRIDE. A byte above 0x7f is its own mark. */
static inline size_t count_plain(const char *p)
{
    stride v = stride_load(p);
    stride quoting = bytes_or(bytes_equal(v, '"'), bytes_equal(v, '\\'));
    return bytes_before(bytes_or(v, bytes_or(bytes_below(v, ' '), quoting)));
}

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
