#include "script/message/json_body.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/base64.h"
#include "base/clock.h"
#include "base/err.h"
#include "broker/group/due.h"
#include "script/message/trace.h"

enum { LOOK_EVERY = 64 };             /* events between two looks at the clock */

static const struct {
    slice name;
    const char *what;
} fields[FIELDS_OF_ENVELOPE] = {
    [FIELD_DATA] = {SLICE("data"), "a JSON value"},
    [FIELD_BASE64] = {SLICE("base64"), "a string"},
    [FIELD_KEY] = {SLICE("key"), "a string"},
    [FIELD_KEY_BASE64] = {SLICE("key_base64"), "a string"},
    [FIELD_HEADERS] = {SLICE("headers"), "an object of strings"},
    [FIELD_DELAY] = {SLICE("delay"), "a number"},
    [FIELD_DELIVER_AT] = {SLICE("deliver_at"), "a string"},
    [FIELD_TTL] = {SLICE("ttl"), "a number"},
};

void envelopes_init(struct envelopes *e, const struct http_request *r, struct vm *vm, bool whole)
{
    *e = (struct envelopes){.reader = {.text = r->body}, .head = &r->head};
    draft_init(&e->draft, vm);
    if (whole)
        return;
    e->draft.own = true;
    e->draft.out = &e->out;
    e->draft.headers = &e->pairs;
    buf_reserve(&e->out, r->body.n);
}

void envelopes_end(struct envelopes *e)
{
    struct buf *all[] = {&e->data, &e->key, &e->word, &e->name};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        buf_fini(all[i]);
    map_fini(&e->names);
}

void envelopes_fini(struct envelopes *e)
{
    envelopes_end(e);
    buf_fini(&e->out);
    buf_fini(&e->pairs);
}

size_t envelopes_hold(const struct envelopes *e)
{
    return e->out.cap + e->pairs.cap + e->data.cap + e->key.cap + e->word.cap + e->name.cap;
}

/* Fails with the sentence, and the number of the message where they are in a list. */
static int fail(struct envelopes *e, int rc, const char *fmt, ...)
{
    char why[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(why, sizeof(why), fmt, args);
    va_end(args);
    return e->listed ? draft_fail(&e->draft, rc, "message %u: %s", e->draft.append.count + 1, why)
                     : draft_fail(&e->draft, rc, "%s", why);
}

static int fail_twice(struct envelopes *e, slice name)
{
    return draft_fail(&e->draft, -ERR_BAD_JSON, "an object has the name \"%.*s\" twice",
                      (int)(name.n < 64 ? name.n : 64), name.p);
}

static bool has(const struct envelopes *e, enum envelope_field f)
{
    return e->given >> f & 1;
}

/* ---- the headers of a message ---- */

/* The buffer of a message's headers has room for all that they may be, so that the names in it stay where they are. */
static int headers_begin(struct envelopes *e)
{
    if (e->names.seed == 0)
        map_init(&e->names);
    buf_clear(e->draft.headers);
    buf_reserve(e->draft.headers, HEADERS_SIZE_MAX);
    map_clear(&e->names);
    return 0;
}

static int add_header(struct envelopes *e, slice name, slice value)
{
    struct buf *all = e->draft.headers;
    if (buf_size(all) + HEADER_SIZES + name.n + value.n > HEADERS_SIZE_MAX) {
        e->draft.limit = HEADERS_SIZE_MAX;
        return fail(e, -ERR_TOO_LARGE, "a message's headers are over the limit of %d bytes", HEADERS_SIZE_MAX);
    }
    slice kept = slice_of(all->data + all->end + HEADER_SIZES, name.n);
    if (map_get(&e->names, name) != NULL)
        return fail_twice(e, name);
    int rc = draft_header(&e->draft, name, value);
    if (rc == 0)
        map_put(&e->names, kept, e);
    return rc;
}

static int take_in_headers(struct envelopes *e, enum json_event event)
{
    if (event == JSON_CLOSE) {
        e->state = ENVELOPE_MESSAGE;
    } else if (event == JSON_MEMBER) {
        buf_clear(&e->name);
        buf_add_slice(&e->name, e->reader.string);
    } else if (event == JSON_STRING) {
        return add_header(e, buf_slice(&e->name), e->reader.string);
    } else {
        return fail(e, -ERR_BAD_VALUE, "headers must be an object of strings");
    }
    return 0;
}

/* ---- the fields of a message ---- */

static int take_name(struct envelopes *e)
{
    slice name = e->reader.string;
    for (unsigned f = 0; f < FIELDS_OF_ENVELOPE; f++)
        if (slice_eq(name, fields[f].name)) {
            if (has(e, f))
                return fail_twice(e, name);
            e->field = f;
            e->given |= 1U << f;
            return 0;
        }
    return fail(e, -ERR_BAD_VALUE, "there is no field %.*s, but data, base64, key, key_base64, headers, delay, "
                "deliver_at, ttl: application/json is read as {\"data\": ...}; send other JSON as "
                "application/x-ndjson, which is stored as it is", (int)(name.n < 32 ? name.n : 32), name.p);
}

/* A string, or what it is as base64. An empty key is a key, so its p is not NULL. */
static int take_bytes(struct envelopes *e, bool coded, struct buf *into, slice *out)
{
    slice text = e->reader.string;
    if (coded) {
        buf_clear(into);
        if (base64_decode(into, text) < 0)
            return fail(e, -ERR_BAD_VALUE, "%s must be valid base64 with padding", fields[e->field].name.p);
        text = buf_slice(into);
    }
    *out = text.n == 0 ? SLICE("") : text;
    return 0;
}

/* Ends a payload that is any JSON value but a string: its text, of one line. */
static int end_data(struct envelopes *e)
{
    buf_clear(&e->data);
    json_squeeze(&e->data, slice_of(e->reader.text.p + e->data_from, e->reader.at - e->data_from));
    e->payload = buf_slice(&e->data);
    e->state = ENVELOPE_MESSAGE;
    return 0;
}

static int take_data(struct envelopes *e, enum json_event event)
{
    if (event == JSON_STRING)
        return take_bytes(e, false, &e->data, &e->payload);
    e->data_from = e->reader.from;
    if (event != JSON_OPEN_OBJECT && event != JSON_OPEN_LIST)
        return end_data(e);
    e->data_depth = e->reader.depth - 1;
    e->state = ENVELOPE_DATA;
    return 0;
}

static int take_in_data(struct envelopes *e, enum json_event event)
{
    return event == JSON_CLOSE && e->reader.depth == e->data_depth ? end_data(e) : 0;
}

/* Milliseconds are the unit of these times; a double has them with an error in its last digits. */
static int take_seconds(struct envelopes *e, enum json_event event, bool zero, char text[ENVELOPE_TIME_SIZE])
{
    double s = event == JSON_INTEGER ? (double)e->reader.integer : e->reader.number;
    double ms = s * MS_PER_S;
    if (!(s >= 0 && (zero || ms > 0.5) && ms <= (double)GROUP_DELAY_MS_MAX) || fabs(ms - floor(ms + 0.5)) > 1e-6)
        return fail(e, -ERR_BAD_VALUE, "%s must be seconds from %s to %llu, with at most three decimals",
                    fields[e->field].name.p, zero ? "0" : "0.001", (unsigned long long)GROUP_DELAY_MS_MAX / MS_PER_S);
    snprintf(text, ENVELOPE_TIME_SIZE, "%.3f", s);
    return 0;
}

static int take_deliver_at(struct envelopes *e)
{
    slice at = e->reader.string;
    const char *problem = due_check(DUE_AT, at, draft_date(&e->draft));
    if (problem == NULL && at.n >= sizeof(e->due))
        problem = "must be a time such as 2026-11-30T10:00:00Z";
    if (problem != NULL)
        return fail(e, -ERR_BAD_VALUE, "deliver_at %s", problem);
    snprintf(e->due, sizeof(e->due), "%.*s", SLICE_ARGS(at));
    return 0;
}

/* The value of the field whose name was the last event. */
static int take_value(struct envelopes *e, enum json_event event)
{
    enum envelope_field f = e->field;
    bool right = f == FIELD_HEADERS ? event == JSON_OPEN_OBJECT
                 : f == FIELD_DELAY || f == FIELD_TTL ? event == JSON_INTEGER || event == JSON_NUMBER
                                    : f == FIELD_DATA || event == JSON_STRING;
    if (!right)
        return fail(e, -ERR_BAD_VALUE, "%s must be %s", fields[f].name.p, fields[f].what);
    switch (f) {
    case FIELD_DATA:
        return take_data(e, event);
    case FIELD_BASE64:
        return take_bytes(e, true, &e->data, &e->payload);
    case FIELD_KEY:
    case FIELD_KEY_BASE64:
        return take_bytes(e, f == FIELD_KEY_BASE64, &e->key, &e->key_text);
    case FIELD_HEADERS:
        e->state = ENVELOPE_HEADERS;
        return headers_begin(e);
    case FIELD_DELAY:
        return take_seconds(e, event, true, e->due);
    case FIELD_TTL:
        return take_seconds(e, event, false, e->ttl);
    default:
        return take_deliver_at(e);
    }
}

/* ---- whole messages ---- */

static int message_begin(struct envelopes *e)
{
    e->state = ENVELOPE_MESSAGE;
    e->given = 0;
    e->payload = e->key_text = (slice){0};
    buf_clear(e->draft.headers);
    return 0;
}

/* The headers that say when groups deliver the message. */
static int add_times(struct envelopes *e)
{
    bool due = has(e, FIELD_DELAY) || has(e, FIELD_DELIVER_AT), ttl = has(e, FIELD_TTL);
    int rc = 0;
    if ((due || ttl) && !has(e, FIELD_HEADERS))
        rc = headers_begin(e);
    if (due && rc == 0)
        rc = add_header(e, has(e, FIELD_DELAY) ? DUE_DELAY : DUE_AT, slice_from(e->due));
    return ttl && rc == 0 ? add_header(e, DUE_TTL, slice_from(e->ttl)) : rc;
}

static int message_end(struct envelopes *e)
{
    static const enum envelope_field pairs[][2] = {
        {FIELD_DATA, FIELD_BASE64}, {FIELD_KEY, FIELD_KEY_BASE64}, {FIELD_DELAY, FIELD_DELIVER_AT}};
    if (has(e, FIELD_DATA) == has(e, FIELD_BASE64))
        return fail(e, -ERR_BAD_VALUE, "a message must have either data or base64");
    for (size_t i = 1; i < sizeof(pairs) / sizeof(pairs[0]); i++)
        if (has(e, pairs[i][0]) && has(e, pairs[i][1]))
            return fail(e, -ERR_BAD_VALUE, "a message must not have both %s and %s", fields[pairs[i][0]].name.p,
                        fields[pairs[i][1]].name.p);
    int rc = add_times(e);
    if (rc < 0)
        return rc;
    trace_add(e->draft.headers, e->head);
    e->state = e->listed ? ENVELOPE_LIST : ENVELOPE_OUTSIDE;
    return draft_add(&e->draft, &(struct message){
        .key = e->key_text, .headers = buf_slice(e->draft.headers), .payload = e->payload});
}

static int take_outside(struct envelopes *e, enum json_event event)
{
    if (event == JSON_OPEN_OBJECT)
        return message_begin(e);
    if (event != JSON_OPEN_LIST)
        return draft_fail(&e->draft, -ERR_BAD_VALUE, "the body must be a message or a list of messages");
    e->listed = true;
    e->state = ENVELOPE_LIST;
    return 0;
}

static int take_in_list(struct envelopes *e, enum json_event event)
{
    if (event == JSON_OPEN_OBJECT)
        return message_begin(e);
    if (event != JSON_CLOSE)
        return fail(e, -ERR_BAD_VALUE, "a message must be an object");
    e->state = ENVELOPE_OUTSIDE;
    return 0;
}

static int take(struct envelopes *e, enum json_event event)
{
    switch (e->state) {
    case ENVELOPE_OUTSIDE:
        return take_outside(e, event);
    case ENVELOPE_LIST:
        return take_in_list(e, event);
    case ENVELOPE_HEADERS:
        return take_in_headers(e, event);
    case ENVELOPE_DATA:
        return take_in_data(e, event);
    default:
        return event == JSON_MEMBER ? take_name(e) : event == JSON_CLOSE ? message_end(e) : take_value(e, event);
    }
}

/* A string with escapes goes where it stays until its message is added. */
static struct buf *scratch(struct envelopes *e)
{
    if (e->state == ENVELOPE_MESSAGE && e->reader.state == JSON_VALUE)
        return e->field == FIELD_DATA ? &e->data : e->field == FIELD_KEY ? &e->key : &e->word;
    return &e->word;
}

int envelopes_read(struct envelopes *e, uint64_t until_ns)
{
    for (unsigned n = 1; until_ns == 0 || n % LOOK_EVERY != 0 || clock_ns() < until_ns; n++) {
        enum json_event event = json_next(&e->reader, scratch(e));
        if (event == JSON_END)
            return draft_finish(&e->draft);
        if (event == JSON_BAD) {
            e->draft.limit = e->reader.limit;
            return draft_fail(&e->draft, e->reader.error, "%s", e->reader.why);
        }
        int rc = take(e, event);
        if (rc < 0)
            return rc;
    }
    return 1;
}
