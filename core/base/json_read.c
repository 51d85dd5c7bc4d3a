#include "base/json_read.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/json.h"
#include "base/json_plain.h"

static enum json_event fail(struct json_reader *r, const char *what)
{
    r->error = -ERR_BAD_JSON;
    snprintf(r->why, sizeof(r->why), "%s at byte %zu", what, r->at + 1);
    return JSON_BAD;
}

static enum json_event fail_limit(struct json_reader *r, uint32_t limit, const char *what)
{
    r->error = -ERR_TOO_LARGE;
    r->limit = limit;
    snprintf(r->why, sizeof(r->why), "the text has %s than the limit of %u", what, limit);
    return JSON_BAD;
}

/* The byte at `at`, or a NUL at the end; the text itself may contain NULs, which are allowed nowhere. */
static char peek(const struct json_reader *r)
{
    return r->at < r->text.n ? r->text.p[r->at] : '\0';
}

static void skip_space(struct json_reader *r)
{
    char c;
    while ((c = peek(r)) == ' ' || c == '\n' || c == '\r' || c == '\t')
        r->at++;
}

/* ---- strings ---- */

/* Four hexadecimal digits from `at` on, or -1. */
static int hex4(const struct json_reader *r, size_t at)
{
    int value = 0;
    if (at + 4 > r->text.n)
        return -1;
    for (size_t i = at; i < at + 4; i++) {
        char c = r->text.p[i];
        if (c >= '0' && c <= '9')
            value = value * 16 + (c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            value = value * 16 + ((c | 0x20) - 'a' + 10);
        else
            return -1;
    }
    return value;
}

static void add_utf8(struct buf *out, unsigned c)
{
    char bytes[4];
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char leads[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        bytes[i] = (char)(0x80 | (c & 0x3f));
    bytes[0] = (char)(leads[n] | c);
    buf_add(out, bytes, n);
}

/* \uXXXX, or two of them that are a pair of surrogates; `at` is behind the u. */
static bool unescape_unicode(struct json_reader *r, struct buf *out)
{
    int c = hex4(r, r->at);
    if (c < 0 || (c >= 0xdc00 && c <= 0xdfff))
        return false;
    r->at += 4;
    if (c >= 0xd800 && c <= 0xdbff) {
        bool pair = r->at + 2 <= r->text.n && r->text.p[r->at] == '\\' && r->text.p[r->at + 1] == 'u';
        int low = pair ? hex4(r, r->at + 2) : -1;
        if (low < 0xdc00 || low > 0xdfff)
            return false;
        r->at += 6;
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    add_utf8(out, (unsigned)c);
    return true;
}

/* `at` is on the backslash. */
static bool unescape(struct json_reader *r, struct buf *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (r->at + 1 == r->text.n)
        return false;
    char c = r->text.p[r->at + 1];
    if (c == 'u') {
        r->at += 2;
        return unescape_unicode(r, out);
    }
    const char *found = memchr(from, c, sizeof(from) - 1);
    if (found == NULL)
        return false;
    r->at += 2;
    buf_add_char(out, to[found - from]);
    return true;
}

/* Moves `at` to the next quote, backslash or byte that a string must not have. */
static void skip_characters(struct json_reader *r)
{
    const char *p = r->text.p + r->at, *end = r->text.p + r->text.n;
    int size = 1;
    while (p < end && size > 0) {
        if (end - p >= STRIDE && is_plain((unsigned char)*p))
            size = (int)count_plain(p);
        else if ((unsigned char)*p < 0x80)
            size = is_plain((unsigned char)*p);
        else
            size = utf8_step(slice_of(p, (size_t)(end - p)));
        p += size > 0 ? size : 0;
    }
    r->at = (size_t)(p - r->text.p);
}

/* `at` is on the opening quote. */
static enum json_event read_string(struct json_reader *r, struct buf *scratch)
{
    size_t from = ++r->at;
    bool escaped = false;
    buf_clear(scratch);
    for (;;) {
        skip_characters(r);
        char c = peek(r);
        slice run = slice_of(r->text.p + from, r->at - from);
        if (c == '"') {
            if (escaped)
                buf_add_slice(scratch, run);
            r->string = escaped ? buf_slice(scratch) : run;
            r->at++;
            return JSON_STRING;
        }
        if (r->at == r->text.n)
            return fail(r, "the text ends within a string");
        if (c != '\\')
            return fail(r, (unsigned char)c < 0x20 ? "a string has a control character that is not escaped"
                                                   : "the text is not UTF-8");
        buf_add_slice(scratch, run);
        escaped = true;
        if (!unescape(r, scratch))
            return fail(r, "a string has an invalid escape");
        from = r->at;
    }
}

/* ---- numbers ---- */

static size_t skip_digits(struct json_reader *r)
{
    size_t from = r->at;
    while (peek(r) >= '0' && peek(r) <= '9')
        r->at++;
    return r->at - from;
}

/* Moves behind a number. False: it is malformed. *whole: it has neither a fraction nor an exponent. */
static bool skip_number(struct json_reader *r, bool *whole)
{
    r->at += peek(r) == '-';
    bool zero = peek(r) == '0';
    size_t digits = skip_digits(r);
    *whole = true;
    if (digits == 0 || (zero && digits > 1))
        return false;
    if (peek(r) == '.') {
        *whole = false;
        r->at++;
        if (skip_digits(r) == 0)
            return false;
    }
    if (peek(r) == 'e' || peek(r) == 'E') {
        *whole = false;
        r->at++;
        r->at += peek(r) == '+' || peek(r) == '-';
        return skip_digits(r) > 0;
    }
    return true;
}

/* Digits with a sign. False: 64 bits do not hold them. */
static bool parse_integer(slice text, int64_t *out)
{
    bool negative = text.p[0] == '-';
    uint64_t v, most = negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX;
    if (slice_u64(slice_skip(text, negative), &v) < 0 || v > most)
        return false;
    *out = (int64_t)(negative ? 0 - v : v);
    return true;
}

static enum json_event read_number(struct json_reader *r, struct buf *scratch)
{
    size_t from = r->at;
    bool whole;
    if (!skip_number(r, &whole))
        return fail(r, "a number is malformed");
    slice text = slice_of(r->text.p + from, r->at - from);
    if (whole && parse_integer(text, &r->integer))
        return JSON_INTEGER;
    buf_clear(scratch);
    buf_add_slice(scratch, text);
    buf_add_char(scratch, '\0');
    char *point = strchr(scratch->data, '.');
    if (point != NULL)
        *point = localeconv()->decimal_point[0];   /* a library that a script loads may have set a locale */
    r->number = strtod(scratch->data, NULL);
    if (!isfinite(r->number)) {
        r->at = from;
        return fail(r, "a number is too large");
    }
    if (fabs(r->number) > (double)JSON_INTEGER_MAX || r->number != floor(r->number))
        return JSON_NUMBER;
    r->integer = (int64_t)r->number;
    return JSON_INTEGER;
}

/* ---- events ---- */

static bool take_word(struct json_reader *r, slice word)
{
    if (!slice_starts(slice_skip(r->text, r->at), word))
        return false;
    r->at += word.n;
    return true;
}

static enum json_event open_bracket(struct json_reader *r, bool object)
{
    if (r->depth == JSON_DEPTH_MAX)
        return fail_limit(r, JSON_DEPTH_MAX, "objects or lists that are nested deeper");
    uint64_t bit = UINT64_C(1) << r->depth++;
    r->objects = object ? r->objects | bit : r->objects & ~bit;
    r->state = object ? JSON_NAME_FIRST : JSON_FIRST;
    r->at++;
    return object ? JSON_OPEN_OBJECT : JSON_OPEN_LIST;
}

static enum json_event close_bracket(struct json_reader *r)
{
    r->at++;
    r->depth--;
    r->state = JSON_AFTER;
    return JSON_CLOSE;
}

static enum json_event read_value(struct json_reader *r, struct buf *scratch)
{
    char c = peek(r);
    uint32_t most = r->values_max == 0 ? (uint32_t)JSON_VALUES_MAX : r->values_max;
    if (r->values == most)
        return fail_limit(r, most, "more values");
    r->values++;
    r->from = r->at;
    if (c == '{' || c == '[')
        return open_bracket(r, c == '{');
    r->state = JSON_AFTER;
    if (c == '"')
        return read_string(r, scratch);
    if (c == '-' || (c >= '0' && c <= '9'))
        return read_number(r, scratch);
    if (take_word(r, SLICE("true")))
        return JSON_TRUE;
    if (take_word(r, SLICE("false")))
        return JSON_FALSE;
    if (take_word(r, SLICE("null")))
        return JSON_NULL;
    return fail(r, r->at == r->text.n ? "the text ends where a value is due" : "there is no value");
}

static enum json_event read_name(struct json_reader *r, struct buf *scratch)
{
    if (peek(r) != '"')
        return fail(r, r->at == r->text.n ? "the text ends within an object" : "a name in quotes is due");
    if (read_string(r, scratch) == JSON_BAD)
        return JSON_BAD;
    skip_space(r);
    if (peek(r) != ':')
        return fail(r, "a colon is due");
    r->at++;
    r->state = JSON_VALUE;
    return JSON_MEMBER;
}

enum json_event json_next(struct json_reader *r, struct buf *scratch)
{
    skip_space(r);
    char end = json_in_object(r) ? '}' : ']';
    if (r->state == JSON_AFTER && r->depth == 0)
        return r->at == r->text.n ? JSON_END : fail(r, "the text goes on after its value");
    if (r->state == JSON_AFTER && peek(r) == ',') {
        r->at++;
        r->state = end == '}' ? JSON_NAME : JSON_VALUE;
        skip_space(r);
    } else if (r->state == JSON_AFTER && peek(r) != end) {
        return fail(r, end == '}' ? "a comma or } is due" : "a comma or ] is due");
    }
    switch (r->state) {
    case JSON_AFTER:
        return close_bracket(r);
    case JSON_FIRST:
    case JSON_NAME_FIRST:
        if (peek(r) == end)
            return close_bracket(r);
        return end == '}' ? read_name(r, scratch) : read_value(r, scratch);
    case JSON_NAME:
        return read_name(r, scratch);
    default:
        return read_value(r, scratch);
    }
}

/* ---- copies ---- */

void json_squeeze(struct buf *out, slice text)
{
    char *to = buf_reserve(out, text.n);
    bool quoted = false;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (!quoted && (c == ' ' || c == '\n' || c == '\r' || c == '\t'))
            continue;
        *to++ = c;
        if (c == '"')
            quoted = !quoted;
        else if (c == '\\')
            *to++ = text.p[++i];
    }
    out->end = (size_t)(to - out->data);
}

bool json_copy(struct buf *out, slice text)
{
    struct json_reader reader = {.text = text};
    struct buf scratch = {0};
    enum json_event event;
    do
        event = json_next(&reader, &scratch);
    while (event != JSON_END && event != JSON_BAD);
    buf_fini(&scratch);
    if (event == JSON_END)
        json_squeeze(out, text);
    return event == JSON_END;
}
