#include "base/json.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json_plain.h"
#include "base/limits.h"

/*
 * Copies the plain bytes at the front of *text, which began at `start`, and removes them from it. It may write more
 * bytes than it removes, but never more than text->n. A rest shorter than a stride is checked and copied together
 * with the bytes before it, if all of that last stride is plain.
 */
static inline char *copy_plain(char *to, slice *text, const char *start)
{
    const char *p = text->p, *end = p + text->n;
    for (; end - p >= STRIDE; p += STRIDE, to += STRIDE) {
        size_t n = count_plain(p);
        memcpy(to, p, STRIDE);
        if (n < STRIDE) {
            *text = slice_skip(*text, (size_t)(p - text->p) + n);
            return to + n;
        }
    }
    if (p < end && end - start >= STRIDE && count_plain(end - STRIDE) == STRIDE) {
        to += end - p;
        memcpy(to - STRIDE, end - STRIDE, STRIDE);
        p = end;
    }
    while (p < end && is_plain((unsigned char)*p))
        *to++ = *p++;
    *text = slice_skip(*text, (size_t)(p - text->p));
    return to;
}

static char *put(char *to, slice s)
{
    memcpy(to, s.p, s.n);
    return to + s.n;
}

static char *put_escape(char *to, unsigned char c)
{
    static const char letters[] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r', ['"'] = '"', ['\\'] = '\\',
    };
    *to++ = '\\';
    if (letters[c]) {
        *to++ = letters[c];
        return to;
    }
    to = put(to, SLICE("u00"));
    *to++ = "0123456789abcdef"[c >> 4];
    *to++ = "0123456789abcdef"[c & 15];
    return to;
}

/* Copies a run of characters beyond ASCII at the front of *text, or replaces one ill-formed part. */
static char *put_wide(char *to, slice *text)
{
    slice rest = *text;
    int size = 1;
    while (rest.n > 0 && (size = utf8_step(rest)) > 1)
        rest = slice_skip(rest, (size_t)size);
    to = put(to, (slice){text->p, text->n - rest.n});
    *text = rest;
    if (size > 0)
        return to;
    *text = slice_skip(rest, (size_t)-size);
    return put(to, SLICE("\xef\xbf\xbd"));
}

/* Writes what replaces the bytes at the front of *text that are not plain, at least one. */
static inline char *put_odd(char *to, slice *text)
{
    unsigned char c = (unsigned char)*text->p;
    if (c >= 0x80)
        return put_wide(to, text);
    *text = slice_skip(*text, 1);
    return put_escape(to, c);
}

enum { ODD_SIZE_MAX = 6, QUOTES = 2, ROOM = ODD_SIZE_MAX + QUOTES };

void json_string(struct buf *out, slice text)
{
    if (text.n == 0) {
        buf_add_slice(out, SLICE("\"\""));
        return;
    }
    const char *start = text.p;
    char *to = buf_reserve(out, text.n + ROOM);
    *to++ = '"';
    to = copy_plain(to, &text, start);
    while (text.n > 0) {
        to = put_odd(to, &text);
        out->end = (size_t)(to - out->data);
        to = buf_reserve(out, text.n + ROOM);
        to = copy_plain(to, &text, start);
    }
    *to++ = '"';
    out->end = (size_t)(to - out->data);
}

bool json_plain(struct buf *out, slice text)
{
    char *to = buf_reserve(out, text.n + QUOTES);
    slice rest = text;
    *to++ = '"';
    if (text.n > 0)
        to = copy_plain(to, &rest, text.p);
    if (rest.n > 0)
        return false;
    *to++ = '"';
    out->end = (size_t)(to - out->data);
    return true;
}

/* A decimal of up to 15 digits reads back as the same double, so fewer digits need not be tried. */
static void add_shortest(struct buf *out, double v)
{
    char text[32];
    int digits = isnormal(v) ? DBL_DIG : 1;
    do {
        snprintf(text, sizeof text, "%.*g", digits, v);
    } while (strtod(text, NULL) != v && digits++ < DBL_DECIMAL_DIG);
    char *point = text + strspn(text, "-0123456789");
    if (*point && *point != 'e')
        *point = '.';  /* a script may have set a locale with a decimal comma */
    buf_add_slice(out, slice_from(text));
}

void json_number(struct buf *out, double v)
{
    if (!isfinite(v)) {
        buf_add_slice(out, SLICE("null"));
    } else if (fabs(v) <= (double)JSON_INTEGER_MAX && v == (double)(int64_t)v) {
        if (signbit(v))
            buf_add_char(out, '-');
        buf_add_u64(out, (uint64_t)fabs(v));
    } else {
        add_shortest(out, v);
    }
}

void json_key(struct buf *out, slice name)
{
    char before = buf_size(out) > 0 ? out->data[out->end - 1] : '{';
    if (before != '{' && before != '[')
        buf_add_char(out, ',');
    json_string(out, name);
    buf_add_char(out, ':');
}

static bool is_ascii_word(const char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return (v & UINT64_C(0x8080808080808080)) == 0;
}

bool utf8_valid(slice text)
{
    const char *p = text.p, *end = slice_skip(text, text.n).p;
    while (p < end) {
        while (end - p >= 8 && is_ascii_word(p))
            p += 8;
        int size = p < end ? utf8_step(slice_of(p, (size_t)(end - p))) : 0;
        if (size < 0)
            return false;
        p += size;
    }
    return true;
}
