/*
 * Messages as text, straight from the stored bytes into the answer (doc/http.md, section 2).
 *
 * What JSON cannot hold: a payload that is not UTF-8 becomes "base64" in the formats json and ndjson, and its bad bytes
 * U+FFFD in the format api, which has no word for bytes. A key that is not UTF-8 becomes "key_base64"; bad bytes in
 * headers become U+FFFD.
 */
#include "base/clock.h"
#include "base/json.h"
#include "script/message/batch.h"

enum { PER_MESSAGE = 96 };   /* bytes of JSON around a payload, about */

/* What all messages of one stored batch have in common: ,"epoch":1,"time":"..."
 * And their offsets, which follow each other: the digits of the last one are counted up. */
struct common {
    struct buf text;
    uint64_t first;
    struct buf digits;
    uint64_t offset;
};

static void add_offset(struct buf *out, struct common *common, uint64_t offset)
{
    struct buf *digits = &common->digits;
    bool next = buf_size(digits) > 0 && offset == common->offset + 1;
    if (next && digits->data[digits->end - 1] != '9') {
        digits->data[digits->end - 1]++;
    } else {
        buf_clear(digits);
        buf_add_u64(digits, offset);
    }
    common->offset = offset;
    buf_add_slice(out, buf_slice(digits));
}

static void common_make(struct common *common, const struct batch_head *head)
{
    struct buf *out = &common->text;
    if (buf_size(out) > 0 && common->first == head->first)
        return;
    common->first = head->first;
    buf_clear(out);
    buf_add_slice(out, SLICE(",\"epoch\":"));
    buf_add_u64(out, head->epoch);
    buf_add_slice(out, SLICE(",\"time\":\""));
    clock_format(out, head->time_ms);
    buf_add_char(out, '"');
}

static void add_base64(struct buf *out, slice name, slice bytes)
{
    buf_add_slice(out, name);
    buf_add_char(out, '"');
    base64_add(out, bytes);
    buf_add_char(out, '"');
}

static void add_headers(struct buf *out, slice rest)
{
    slice name;
    slice value;
    buf_add_slice(out, SLICE(",\"headers\":{"));
    while (header_read(&rest, &name, &value)) {
        json_key(out, name);
        json_string(out, value);
    }
    buf_add_char(out, '}');
}

static void add_key(struct buf *out, slice key)
{
    if (!utf8_valid(key)) {
        add_base64(out, SLICE(",\"key_base64\":"), key);
        return;
    }
    buf_add_slice(out, SLICE(",\"key\":"));
    json_string(out, key);
}

static void add_payload(struct buf *out, slice payload)
{
    size_t end = buf_size(out);
    buf_add_slice(out, SLICE(",\"data\":"));
    if (json_plain(out, payload))
        return;
    out->end = out->at + end;
    if (!utf8_valid(payload)) {
        add_base64(out, SLICE(",\"base64\":"), payload);
        return;
    }
    buf_add_slice(out, SLICE(",\"data\":"));
    json_string(out, payload);
}

static void add_message(struct buf *out, const struct cursor *c, const struct message *m, struct common *common)
{
    common_make(common, &c->head);
    buf_add_slice(out, SLICE("{\"offset\":"));
    add_offset(out, common, c->offset);
    buf_add_slice(out, buf_slice(&common->text));
    if (m->key.p != NULL)
        add_key(out, m->key);
    if (m->headers.n > 0)
        add_headers(out, m->headers);
    add_payload(out, m->payload);
    buf_add_char(out, '}');
}

static void add_api(struct buf *out, const struct cursor *c, const struct message *m)
{
    buf_add_slice(out, SLICE("{\"Id\":"));
    buf_add_u64(out, c->offset);
    buf_add_slice(out, SLICE(",\"Data\":"));
    json_string(out, m->payload);
    buf_add_char(out, '}');
}

/* Lines end in LF, CR or both: in an event each becomes a line of its own. */
static void add_data_lines(struct buf *out, slice text)
{
    buf_add_slice(out, SLICE("data: "));
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] != '\r' && text.p[i] != '\n') {
            buf_add_char(out, text.p[i]);
            continue;
        }
        i += text.p[i] == '\r' && i + 1 < text.n && text.p[i + 1] == '\n';
        buf_add_slice(out, SLICE("\ndata: "));
    }
}

/* Of text/event-stream. */
static void add_event(struct buf *out, const struct batch *b, const struct cursor *c, const struct message *m,
                      struct common *common)
{
    buf_add_slice(out, SLICE("id: "));
    buf_add_u64(out, c->head.epoch);
    buf_add_char(out, ':');
    buf_add_u64(out, c->offset);
    buf_add_char(out, '\n');
    if (b->format == FORMAT_RAW_EVENTS) {
        add_data_lines(out, m->payload);
    } else {
        buf_add_slice(out, SLICE("data: "));
        add_message(out, c, m, common);
    }
    buf_add_char(out, '\n');
}

static void add_head(struct buf *out, const struct batch *b)
{
    if (b->format == FORMAT_JSON) {
        buf_add_slice(out, SLICE("{\"topic\":"));
        json_string(out, slice_from(b->topic));
        buf_add_slice(out, SLICE(",\"messages\":["));
    } else if (b->format == FORMAT_API) {
        buf_add_slice(out, SLICE("{\"messages\":["));
    }
}

static void add_tail(struct buf *out, const struct batch *b)
{
    if (b->format == FORMAT_JSON) {
        buf_add_slice(out, SLICE("],\"next\":"));
        buf_add_u64(out, b->to);
        buf_add_slice(out, SLICE(",\"epoch\":"));
        buf_add_u64(out, b->epoch);
        buf_add_char(out, '}');
    } else if (b->format == FORMAT_API) {
        buf_add_slice(out, SLICE("],\"count\":"));
        buf_add_u64(out, b->count);
        buf_add_char(out, '}');
    }
}

static void add_one(struct buf *out, const struct batch *b, const struct cursor *c, const struct message *m,
                    struct common *common)
{
    bool listed = b->format == FORMAT_JSON || b->format == FORMAT_API;
    if (listed && c->offset > b->from && out->data[out->end - 1] != '[')
        buf_add_char(out, ',');
    if (b->format == FORMAT_RAW)
        buf_add_slice(out, m->payload);
    else if (b->format == FORMAT_API)
        add_api(out, c, m);
    else if (b->format == FORMAT_EVENTS || b->format == FORMAT_RAW_EVENTS)
        add_event(out, b, c, m, common);
    else
        add_message(out, c, m, common);
    if (!listed)
        buf_add_char(out, '\n');
}

void batch_render(struct buf *out, const struct batch *b)
{
    struct cursor c = {.rest = buf_slice(&b->raw)};
    struct common common = {0};
    struct message m;
    size_t size = buf_size(&b->raw);
    buf_reserve(out, size + size / 8 + (size_t)b->count * PER_MESSAGE + PER_MESSAGE);
    add_head(out, b);
    while (cursor_next(&c, &m) && c.offset < b->to)
        if (c.offset >= b->from)
            add_one(out, b, &c, &m, &common);
    add_tail(out, b);
    buf_fini(&common.text);
    buf_fini(&common.digits);
}

static const struct {
    slice name, type;
} forms[] = {
    [FORMAT_JSON] = {SLICE("json"), SLICE("application/json")},
    [FORMAT_API] = {SLICE("api"), SLICE("application/json")},
    [FORMAT_LINES] = {SLICE("ndjson"), SLICE("application/x-ndjson")},
    [FORMAT_RAW] = {SLICE("raw"), SLICE("application/octet-stream")},
    [FORMAT_EVENTS] = {SLICE("events"), SLICE("text/event-stream")},
    [FORMAT_RAW_EVENTS] = {SLICE("raw_events"), SLICE("text/event-stream")},
};

bool batch_format_named(slice name, enum batch_format *out)
{
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
        if (slice_eq(name, forms[i].name)) {
            *out = (enum batch_format)i;
            return true;
        }
    return false;
}

slice batch_form(const struct batch *b)
{
    return forms[b->format].name;
}

slice batch_type(const struct batch *b)
{
    return forms[b->format].type;
}
