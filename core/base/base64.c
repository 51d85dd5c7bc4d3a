#include "base/base64.h"

#include <errno.h>

static char *put_sextets(char *to, unsigned v)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    *to++ = alphabet[v >> 18];
    *to++ = alphabet[v >> 12 & 63];
    *to++ = alphabet[v >> 6 & 63];
    *to++ = alphabet[v & 63];
    return to;
}

void base64_add(struct buf *out, slice bytes)
{
    const unsigned char *p = (const unsigned char *)bytes.p;
    char *to = buf_reserve(out, (bytes.n + 2) / 3 * 4);
    size_t n = bytes.n;
    for (; n >= 3; n -= 3, p += 3)
        to = put_sextets(to, (unsigned)(p[0] << 16 | p[1] << 8 | p[2]));
    if (n > 0) {
        to = put_sextets(to, (unsigned)(p[0] << 16 | (n == 2 ? p[1] << 8 : 0)));
        to[-1] = '=';
        to[-2] = n == 2 ? to[-2] : '=';
    }
    out->end = (size_t)(to - out->data);
}

enum { NONE = 64 };

/* The value of a digit; NONE for any other character. */
static unsigned sextet(char c)
{
    static const unsigned char values['z' - '+' + 1] = {
        62, NONE, NONE, NONE, 63, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61,                       /* + to 9 */
        NONE, NONE, NONE, NONE, NONE, NONE, NONE,                                               /* : to @ */
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25,
        NONE, NONE, NONE, NONE, NONE, NONE,                                                     /* [ to ` */
        26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51,
    };
    size_t i = (size_t)((unsigned char)c - (unsigned)'+');
    return i < sizeof(values) ? values[i] : NONE;
}

int base64_decode(struct buf *out, slice text)
{
    if (text.n % 4 != 0)
        return -EINVAL;
    size_t digits = text.n;
    for (int padding = 0; padding < 2 && digits > 0 && text.p[digits - 1] == '='; padding++)
        digits--;

    char *to = buf_reserve(out, digits / 4 * 3 + 3);
    size_t at = 0;
    for (; at + 4 <= digits; at += 4) {
        const char *p = text.p + at;
        unsigned a = sextet(p[0]), b = sextet(p[1]), c = sextet(p[2]), d = sextet(p[3]);
        if ((a | b | c | d) >= NONE)
            return -EINVAL;
        *to++ = (char)(a << 2 | b >> 4);
        *to++ = (char)(b << 4 | c >> 2);
        *to++ = (char)(c << 6 | d);
    }
    if (at < digits) {     /* two or three digits, because four padded ones have at most two "=" */
        unsigned a = sextet(text.p[at]), b = sextet(text.p[at + 1]), c = at + 3 == digits ? sextet(text.p[at + 2]) : 0;
        if ((a | b | c) >= NONE || (at + 3 == digits ? c & 3 : b & 15) != 0)
            return -EINVAL;
        *to++ = (char)(a << 2 | b >> 4);
        if (at + 3 == digits)
            *to++ = (char)(b << 4 | c >> 2);
    }
    out->end = (size_t)(to - out->data);
    return 0;
}

void base64url_add(struct buf *out, slice bytes)
{
    size_t from = buf_size(out);
    base64_add(out, bytes);
    char *p = out->data + out->at;
    for (size_t i = from; i < buf_size(out); i++)
        p[i] = p[i] == '+' ? '-' : p[i] == '/' ? '_' : p[i];
    while (buf_size(out) > from && out->data[out->end - 1] == '=')
        out->end--;
}

/* The value of a digit of base64url. */
static unsigned url_sextet(char c)
{
    return c == '-' ? 62 : c == '_' ? 63 : c == '+' || c == '/' ? NONE : sextet(c);
}

int base64url_decode(struct buf *out, slice text)
{
    if (text.n % 4 == 1)
        return -EINVAL;
    char *to = buf_reserve(out, text.n / 4 * 3 + 3);
    unsigned bits = 0, held = 0;      /* held: the lowest bits, which are not written yet */
    for (size_t i = 0; i < text.n; i++) {
        unsigned v = url_sextet(text.p[i]);
        if (v >= NONE)
            return -EINVAL;
        bits = (bits << 6 | v) & 0xffff;
        held += 6;
        if (held >= 8) {
            held -= 8;
            *to++ = (char)(bits >> held);
        }
    }
    if ((bits & ((1u << held) - 1)) != 0)
        return -EINVAL;
    out->end = (size_t)(to - out->data);
    return 0;
}
