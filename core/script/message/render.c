#include "script/message/render.h"

#include "base/base64.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/json_read.h"
#include "script/message/token.h"

enum { PER_MESSAGE = 96 };   /* estimate of the bytes of JSON around a payload */

static const struct {
    slice name, type;
    enum batch_format shape;          /* what is around the payloads */
    bool values;                      /* a payload that is JSON is written as that value, not as a string */
} formats[] = {
    [FORMAT_JSON] = {SLICE("json"), SLICE("application/json"), FORMAT_JSON, false},
    [FORMAT_API] = {SLICE("api"), SLICE("application/json"), FORMAT_API, false},
    [FORMAT_LINES] = {SLICE("ndjson"), SLICE("application/x-ndjson"), FORMAT_LINES, false},
    [FORMAT_RAW] = {SLICE("raw"), SLICE("application/octet-stream"), FORMAT_RAW, false},
    [FORMAT_EVENTS] = {SLICE("events"), SLICE("text/event-stream"), FORMAT_EVENTS, false},
    [FORMAT_RAW_EVENTS] = {SLICE("raw_events"), SLICE("text/event-stream"), FORMAT_RAW_EVENTS, false},
    [FORMAT_ARRAY] = {SLICE("array"), SLICE("application/json"), FORMAT_ARRAY, false},
    [FORMAT_BYTES] = {SLICE("bytes"), SLICE("application/octet-stream"), FORMAT_BYTES, false},
    [FORMAT_JSON_VALUES] = {SLICE("json_values"), SLICE("application/json"), FORMAT_JSON, true},
    [FORMAT_LINES_VALUES] = {SLICE("ndjson_values"), SLICE("application/x-ndjson"), FORMAT_LINES, true},
    [FORMAT_EVENTS_VALUES] = {SLICE("events_values"), SLICE("text/event-stream"), FORMAT_EVENTS, true},
};

static enum batch_format shape_of(const struct batch *b)
{
    return formats[b->format].shape;
}

static void add_offset(struct buf *out, struct reused *reused, uint64_t offset)
{
    struct buf *digits = &reused->digits;
    bool next = buf_size(digits) > 0 && offset == reused->offset + 1;
    if (next && digits->data[digits->end - 1] != '9') {
        digits->data[digits->end - 1]++;
    } else {
        buf_clear(digits);
        buf_add_u64(digits, offset);
    }
    reused->offset = offset;
    buf_add_slice(out, buf_slice(digits));
}

void batch_fields_render(struct buf *out, uint64_t epoch, int64_t time_ms)
{
    buf_add_slice(out, SLICE(",\"epoch\":"));
    buf_add_u64(out, epoch);
    buf_add_slice(out, SLICE(",\"time\":\""));
    clock_format(out, time_ms);
    buf_add_char(out, '"');
}

static void add_batch_fields(struct buf *out, struct reused *reused, const struct batch_head *head)
{
    struct buf *text = &reused->batch;
    if (buf_size(text) == 0 || reused->batch_first != head->first) {
        reused->batch_first = head->first;
        buf_clear(text);
        batch_fields_render(text, head->epoch, head->time_ms);
    }
    buf_add_slice(out, buf_slice(text));
}

static void add_base64(struct buf *out, slice name, slice bytes)
{
    buf_add_slice(out, name);
    buf_add_char(out, '"');
    base64_add(out, bytes);
    buf_add_char(out, '"');
}

static bool add_value(struct buf *out, slice payload)
{
    size_t end = buf_size(out);
    buf_add_slice(out, SLICE(",\"json\":"));
    if (json_copy(out, payload))
        return true;
    out->end = out->at + end;
    return false;
}

static void add_payload(struct buf *out, slice payload, bool values)
{
    size_t end = buf_size(out);
    if (values && add_value(out, payload))
        return;
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

void message_render(struct buf *out, const struct message *m, bool values)
{
    if (m->key.p != NULL && utf8_valid(m->key)) {
        buf_add_slice(out, SLICE(",\"key\":"));
        json_string(out, m->key);
    } else if (m->key.p != NULL) {
        add_base64(out, SLICE(",\"key_base64\":"), m->key);
    }
    if (m->headers.n > 0) {
        slice name, value, rest = m->headers;
        buf_add_slice(out, SLICE(",\"headers\":{"));
        while (header_read(&rest, &name, &value)) {
            json_key(out, name);
            json_string(out, value);
        }
        buf_add_char(out, '}');
    }
    add_payload(out, m->payload, values);
}

static void add_message(struct buf *out, const struct cursor *c, const struct message *m, bool values,
                        struct reused *reused)
{
    buf_add_slice(out, SLICE("{\"offset\":"));
    add_offset(out, reused, c->offset);
    add_batch_fields(out, reused, &c->head);
    message_render(out, m, values);
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

/* A line ends in LF, CR or both; each becomes one data line of the event. */
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

/* One event of text/event-stream. */
static void add_event(struct buf *out, const struct batch *b, const struct cursor *c, const struct message *m,
                      struct reused *reused)
{
    buf_add_slice(out, SLICE("id: "));
    token_write(out, c->head.epoch, c->offset, b->headers.id_offset);
    buf_add_char(out, '\n');
    if (shape_of(b) == FORMAT_RAW_EVENTS) {
        add_data_lines(out, m->payload);
    } else {
        buf_add_slice(out, SLICE("data: "));
        add_message(out, c, m, formats[b->format].values, reused);
    }
    buf_add_char(out, '\n');
}

static void add_head(struct buf *out, const struct batch *b)
{
    if (shape_of(b) == FORMAT_JSON) {
        buf_add_slice(out, SLICE("{\"topic\":"));
        json_string(out, slice_from(b->topic));
        buf_add_slice(out, SLICE(",\"messages\":["));
    } else if (shape_of(b) == FORMAT_API) {
        buf_add_slice(out, SLICE("{\"messages\":["));
    } else if (shape_of(b) == FORMAT_ARRAY) {
        buf_add_char(out, '[');
    }
}

static void add_tail(struct buf *out, const struct batch *b)
{
    if (shape_of(b) == FORMAT_JSON) {
        buf_add_slice(out, SLICE("],\"next\":"));
        buf_add_u64(out, b->to);
        buf_add_slice(out, SLICE(",\"epoch\":"));
        buf_add_u64(out, b->epoch);
        buf_add_slice(out, SLICE(",\"next_token\":\""));
        token_write(out, b->headers.epoch, b->to, b->headers.id_offset);
        buf_add_slice(out, SLICE("\"}"));
    } else if (shape_of(b) == FORMAT_API) {
        buf_add_slice(out, SLICE("],\"count\":"));
        buf_add_u64(out, b->count);
        buf_add_char(out, '}');
    } else if (shape_of(b) == FORMAT_ARRAY) {
        buf_add_char(out, ']');
    }
}

void rendering_begin(struct rendering *g, const struct batch *b)
{
    *g = (struct rendering){.batch = b, .cursor = batch_walk(b)};
}

void rendering_end(struct rendering *g)
{
    buf_fini(&g->reused.batch);
    buf_fini(&g->reused.digits);
}

static void add_one(struct buf *out, struct rendering *g, const struct message *m)
{
    const struct batch *b = g->batch;
    switch (shape_of(b)) {
    case FORMAT_RAW:
    case FORMAT_ARRAY:
    case FORMAT_BYTES:
        buf_add_slice(out, m->payload);
        break;
    case FORMAT_API:
        add_api(out, &g->cursor, m);
        break;
    case FORMAT_EVENTS:
    case FORMAT_RAW_EVENTS:
        add_event(out, b, &g->cursor, m, &g->reused);
        break;
    default:
        add_message(out, &g->cursor, m, formats[b->format].values, &g->reused);
        break;
    }
}

bool rendering_next(struct rendering *g, struct buf *out, size_t most)
{
    const struct batch *b = g->batch;
    struct message m;
    size_t start = buf_size(out);
    enum batch_format shape = shape_of(b);
    bool listed = shape == FORMAT_JSON || shape == FORMAT_API || shape == FORMAT_ARRAY;
    if (!g->begun)
        add_head(out, b);
    g->begun = true;
    while (cursor_next(&g->cursor, &m) && g->cursor.offset < b->to) {
        if (g->cursor.offset < b->from)
            continue;
        if (listed && g->count > 0)
            buf_add_char(out, ',');
        add_one(out, g, &m);
        g->count++;
        if (!listed && shape != FORMAT_BYTES)
            buf_add_char(out, '\n');
        if (buf_size(out) - start >= most)
            return true;
    }
    add_tail(out, b);
    return false;
}

void batch_render(struct buf *out, const struct batch *b)
{
    struct rendering g;
    size_t size = buf_size(&b->raw);
    buf_reserve(out, size + size / 8 + (size_t)b->count * PER_MESSAGE + PER_MESSAGE);
    rendering_begin(&g, b);
    rendering_next(&g, out, SIZE_MAX);
    rendering_end(&g);
}

bool batch_format_named(slice name, enum batch_format *out)
{
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
        if (slice_eq(name, formats[i].name)) {
            *out = (enum batch_format)i;
            return true;
        }
    return false;
}

slice batch_format_name(const struct batch *b)
{
    return formats[b->format].name;
}

slice batch_media_type(const struct batch *b)
{
    return formats[b->format].type;
}
