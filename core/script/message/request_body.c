#include "script/message/request_body.h"

#include <string.h>

#include "base/err.h"

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

/* ---- the headers of an append ---- */

static int take_number(struct draft *d, const struct http_header *h, uint64_t max, uint64_t *out)
{
    uint64_t value;
    if (slice_u64(h->value, &value) < 0 || value > max)
        return draft_fail(d, -ERR_BAD_VALUE, "%.*s must be a whole number up to %llu", SLICE_ARGS(h->name),
                          (unsigned long long)max);
    *out = value;
    return 0;
}

static int take_header(struct draft *d, const struct http_header *h)
{
    uint64_t epoch = 0;
    if (slice_ieq(h->name, SLICE("producer-id")))
        return take_number(d, h, UINT64_MAX, &d->append.producer);
    if (slice_ieq(h->name, SLICE("producer-seq")))
        return take_number(d, h, UINT64_MAX, &d->append.sequence);
    if (slice_ieq(h->name, SLICE("producer-epoch"))) {
        int rc = take_number(d, h, UINT16_MAX, &epoch);
        d->append.producer_epoch = (uint16_t)epoch;
        return rc;
    }
    if (slice_ieq(h->name, SLICE("if-match"))) {
        slice v = h->value;
        bool quoted = v.n >= 2 && v.p[0] == '"' && v.p[v.n - 1] == '"';
        if (!quoted || d->has_expect)
            return draft_fail(d, -ERR_BAD_VALUE, "If-Match must be one token epoch:offset:topic in double quotes");
        return draft_expect(d, "If-Match", slice_of(v.p + 1, v.n - 2));
    }
    if (slice_ieq(h->name, SLICE("lignum-ack"))) {
        if (!slice_ieq(h->value, SLICE("peers")))
            return draft_fail(d, -ERR_BAD_VALUE, "%.*s must be peers", SLICE_ARGS(h->name));
        d->ack_peers = true;
    }
    return 0;
}

int draft_take_headers(struct draft *d, const struct http_request *r)
{
    int rc = 0;
    d->has_expect = false;
    for (size_t i = 0; i < r->head.header_count && rc == 0; i++) {
        const struct http_header *h = &r->head.headers[i];
        char c = lower(h->name.p[0]);
        if (c == 'p' || c == 'l' || c == 'i')
            rc = take_header(d, h);
    }
    return rc;
}

/* ---- what a body is ---- */

static slice media_type(slice type)
{
    slice part = {0};
    slice_split(&type, ';', &part);
    return slice_trim(part);
}

static bool type_is_lines(slice type)
{
    return slice_ieq(type, SLICE("application/x-ndjson")) || slice_ieq(type, SLICE("application/ndjson"));
}

/* As http.media_type in scripts/lignum/http.lua: a blank ends the type, too. */
static bool type_is_json(slice type)
{
    static const slice json = SLICE("application/json");
    return type.n >= json.n && slice_ieq(slice_of(type.p, json.n), json) &&
           (type.n == json.n || type.p[json.n] == ' ' || type.p[json.n] == '\t');
}

static bool type_says_nothing(slice type)
{
    return type.n == 0 || slice_ieq(type, SLICE("application/octet-stream")) ||
           slice_ieq(type, SLICE("application/x-www-form-urlencoded"));
}

/* Lignum-Key, Lignum-Header-NAME. The comparison of the first letter spares most headers the other two. */
static bool has_message_headers(const struct http_head *head)
{
    for (size_t i = 0; i < head->header_count; i++) {
        slice name = head->headers[i].name;
        if (name.n >= 10 && lower(name.p[0]) == 'l' &&
            (slice_ieq(name, SLICE("lignum-key")) || slice_ieq(slice_of(name.p, 10), SLICE("lignum-hea"))))
            return true;
    }
    return false;
}

enum body body_of(const struct http_request *r)
{
    slice type = media_type(r->head.type);
    slice coding = r->head.coding;
    bool encoded = coding.p != NULL && !slice_ieq(coding, SLICE("identity"));
    if (encoded || type_is_json(type))
        return BODY_OTHER;
    if (type_is_lines(type))
        return BODY_LINES;
    return type_says_nothing(type) && !has_message_headers(&r->head) ? BODY_PAYLOAD : BODY_MESSAGE;
}

/* ---- encoding it ---- */

static int add_lines(struct draft *d, slice body)
{
    int rc = 0;
    while (body.n > 0 && rc == 0) {
        const char *end = memchr(body.p, '\n', body.n);
        size_t taken = end == NULL ? body.n : (size_t)(end - body.p) + 1;
        struct message m = {.payload = slice_of(body.p, taken - (end != NULL))};
        if (m.payload.n > 0 && m.payload.p[m.payload.n - 1] == '\r')
            m.payload.n--;
        if (m.payload.n > 0)
            rc = draft_add(d, &m);
        body = slice_skip(body, taken);
    }
    return rc;
}

/* A key or header belongs to a single message. */
static int refuse_message_headers(struct draft *d, const struct http_request *r)
{
    for (size_t i = 0; i < r->head.header_count; i++) {
        slice name = r->head.headers[i].name;
        bool header = name.n >= 14 && slice_ieq(slice_of(name.p, 14), SLICE("lignum-header-"));
        if (header || slice_ieq(name, SLICE("lignum-key")))
            return draft_fail(d, -ERR_BAD_VALUE, "%.*s applies to a single message, not to lines", SLICE_ARGS(name));
    }
    return 0;
}

static void add_named_header(struct draft *d, slice name, slice value)
{
    size_t at = buf_size(d->headers) + 4;
    header_write(d->headers, name, value);
    for (size_t i = 0; i < name.n; i++)
        d->headers->data[at + i] = lower(d->headers->data[at + i]);
}

static int add_message(struct draft *d, const struct http_request *r)
{
    static const slice prefix = SLICE("lignum-header-");
    struct message m = {.payload = r->body};
    buf_clear(d->headers);
    if (!type_says_nothing(media_type(r->head.type)))
        add_named_header(d, SLICE("content-type"), r->head.type);
    for (size_t i = 0; i < r->head.header_count; i++) {
        const struct http_header *h = &r->head.headers[i];
        if (slice_ieq(h->name, SLICE("lignum-key")))
            m.key = h->value.n == 0 ? SLICE("") : h->value;
        else if (h->name.n > prefix.n && slice_ieq(slice_of(h->name.p, prefix.n), prefix))
            add_named_header(d, slice_skip(h->name, prefix.n), h->value);
    }
    m.headers = buf_slice(d->headers);
    return draft_add(d, &m);
}

int draft_encode_body(struct draft *d, const struct http_request *r, enum body body)
{
    int rc;
    if (body == BODY_PAYLOAD) {
        rc = draft_add(d, &(struct message){.payload = r->body});
    } else if (body == BODY_LINES) {
        rc = refuse_message_headers(d, r);
        if (rc == 0)
            rc = add_lines(d, r->body);
    } else {
        rc = add_message(d, r);
    }
    return rc < 0 ? rc : draft_finish(d);
}
