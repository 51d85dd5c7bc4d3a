/*
 * Which bytes are allowed where in a request (RFC 9110 section 5.6, RFC 3986 section 2), as one table of bit sets.
 */
#ifndef NET_HTTP_CHARS_H
#define NET_HTTP_CHARS_H

#include <stdbool.h>
#include <stddef.h>

enum {
    CHAR_TOKEN = 1,   /* method, header name */
    CHAR_PATH = 2,    /* path of a target, escapes included */
    CHAR_QUERY = 4,   /* query of a target */
    CHAR_HOST = 8,    /* name or IPv4 address */
    CHAR_HEX = 16,
    CHAR_TEXT = 32,   /* header value, chunk extension: no control byte except the tab */
    CHAR_DIGIT = 64,
};

extern const unsigned char http_chars[256];

static inline bool char_is(char c, unsigned char set)
{
    return (http_chars[(unsigned char)c] & set) != 0;
}

/* The position of the first byte from `at` on that is not CHAR_TEXT, or n. */
size_t chars_text(const char *p, size_t at, size_t n);

/* The value of a hexadecimal digit. */
static inline unsigned char_hex(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
}

#endif
