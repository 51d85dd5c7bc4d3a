#include "base/say_line.h"

#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/json_plain.h"
#include "base/json_read.h"

static const char *const names[] = {"debug", "info", "warn", "error"};
static const char priorities[] = {'7', '6', '4', '3'};       /* of syslog: debug, info, warning, err */

/* Some terminals obey the controls U+0080 to U+009F, too. */
static bool is_control(const unsigned char *p, int size)
{
    return size == 1 ? *p < 0x20 || *p == 0x7f : size == 2 && p[0] == 0xc2 && p[1] < 0xa0;
}

static void add_visible(struct buf *out, slice text)
{
    while (text.n > 0) {
        const unsigned char *p = (const unsigned char *)text.p;
        int size = utf8_step(text);
        bool odd = size < 0 || is_control(p, size);
        size_t n = (size_t)(size < 0 ? -size : size);
        for (size_t i = 0; odd && i < n; i++)
            buf_addf(out, "\\x%02x", p[i]);
        if (!odd)
            buf_add(out, text.p, n);
        text = slice_skip(text, n);
    }
}

/* ---- fields: the key=value words at the end of a text ---- */

struct field {
    slice key, value;       /* the value without its quotes */
};

static bool is_key_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
}

/* Where the value at the front ends. NULL: nowhere. In quotes, a backslash takes the next character with it. */
static const char *value_end(slice rest, bool quoted)
{
    if (!quoted)
        return rest.n == 0 ? NULL : memchr(rest.p, ' ', rest.n);
    for (size_t at = 0; at < rest.n; at++) {
        if (rest.p[at] == '"')
            return rest.p + at;
        at += rest.p[at] == '\\';
    }
    return NULL;
}

/* Takes `key=value ` or `key="value" ` from the front. False: there is none, and nothing is taken. */
static bool take_field(slice *text, struct field *out)
{
    size_t key = 0;
    while (key < text->n && is_key_char(text->p[key]))
        key++;
    if (key == 0 || key == text->n || text->p[key] != '=')
        return false;
    slice rest = slice_skip(*text, key + 1);
    bool quoted = rest.n > 0 && rest.p[0] == '"';
    if (quoted)
        rest = slice_skip(rest, 1);
    const char *end = value_end(rest, quoted);
    if (quoted && end == NULL)
        return false;
    *out = (struct field){slice_of(text->p, key), slice_of(rest.p, end == NULL ? rest.n : (size_t)(end - rest.p))};
    rest = slice_skip(rest, out->value.n + (quoted ? 1 : 0));
    if (rest.n > 0 && rest.p[0] != ' ')
        return false;
    *text = slice_skip(rest, rest.n > 0 ? 1 : 0);
    return true;
}

/* Where in `text` the fields begin: from there on, all words are fields. text.n: there are none. */
static size_t find_fields(slice text)
{
    for (size_t at = 0; at < text.n; at++) {
        slice rest = slice_skip(text, at);
        struct field field;
        while (rest.n > 0 && take_field(&rest, &field))
            ;
        if (rest.n == 0)
            return at;
        const char *space = memchr(text.p + at, ' ', text.n - at);
        if (space == NULL)
            break;
        at = (size_t)(space - text.p);
    }
    return text.n;
}

static void add_member(struct buf *out, const char *name, slice value)
{
    json_key(out, slice_from(name));
    json_string(out, value);
}

/* A value whose escapes are JSON's is what they stand for, any other is the text itself. */
static void add_value(struct buf *out, slice value)
{
    struct json_reader r = {.text = slice_of(value.p - 1, value.n + 2)};
    struct buf scratch = {0};
    bool escaped = value.n > 0 && memchr(value.p, '\\', value.n) != NULL;
    bool good = escaped && value.p[-1] == '"' && json_next(&r, &scratch) == JSON_STRING && r.at == r.text.n;
    json_string(out, good ? r.string : value);
    buf_fini(&scratch);
}

static void add_json(struct buf *out, enum say_level level, const char *area, slice text, ptrdiff_t fields_at)
{
    size_t at = fields_at == SAY_FIND_FIELDS ? find_fields(text) : (size_t)fields_at;
    slice fields = slice_skip(text, at);
    while (slice_starts(fields, SLICE(" ")))
        fields = slice_skip(fields, 1);
    while (at > 0 && text.p[at - 1] == ' ')
        at--;
    buf_add_slice(out, SLICE("{\"time\":\""));
    clock_format(out, clock_wall_ms());
    buf_add_char(out, '"');
    add_member(out, "level", slice_from(names[level]));
    add_member(out, "area", slice_from(area));
    add_member(out, "message", slice_of(text.p, at));
    if (fields.n > 0) {
        struct field field;
        json_key(out, SLICE("fields"));
        buf_add_char(out, '{');
        while (fields.n > 0 && take_field(&fields, &field)) {
            json_key(out, field.key);
            add_value(out, field.value);
        }
        buf_add_char(out, '}');
    }
    buf_add_slice(out, SLICE("}\n"));
}

/* A line of JSON cannot be cut at its end, so its text is, before it is escaped. */
static void add_json_within(struct buf *out, enum say_level level, const char *area, slice text, ptrdiff_t fields_at,
                            size_t size_max)
{
    size_t before = buf_size(out);
    add_json(out, level, area, text, fields_at);
    while (buf_size(out) - before > size_max) {
        struct buf shorter = {0};
        out->end = out->at + before;
        text.n /= 2;
        buf_add_slice(&shorter, text);
        buf_add_slice(&shorter, SLICE("..."));
        add_json(out, level, area, buf_slice(&shorter), (ptrdiff_t)buf_size(&shorter));
        buf_fini(&shorter);
    }
}

void say_line(struct buf *out, enum say_format format, enum say_level level, const char *area, slice text,
              ptrdiff_t fields_at, size_t size_max)
{
    size_t before = buf_size(out);
    if (format == SAY_JSON) {
        add_json_within(out, level, area, text, fields_at, size_max);
        return;
    }
    if (format == SAY_JOURNAL)
        buf_addf(out, "<%c>", priorities[level]);
    else {
        clock_format(out, clock_wall_ms());
        buf_add_char(out, ' ');
    }
    buf_addf(out, "%s %s: ", names[level], area);
    add_visible(out, text);
    slice end = SLICE("\n");
    if (buf_size(out) - before + end.n > size_max) {
        end = SLICE("...\n");
        out->end = out->at + before + size_max - end.n;
    }
    buf_add_slice(out, end);
}
