#include "script/message/request_body.h"

#include <string.h>

#include "base/err.h"
#include "broker/group/due.h"
#include "script/message/trace.h"

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

/* ---- the headers of an append ---- */

static int take_number(struct draft *d, const struct http_header *h, uint64_t *out)
{
    uint64_t value;
    if (slice_u64(h->value, &value) < 0 || value > JSON_INTEGER_MAX)
        return draft_fail(d, -ERR_BAD_VALUE, "%.*s must be a whole number up to %lld", SLICE_ARGS(h->name),
                          (long long)JSON_INTEGER_MAX);
    *out = value;
    return 0;
}

static int take_name(struct draft *d, const struct http_header *h, enum origin_kind kind, size_t max)
{
    if (h->value.n == 0 || h->value.n > max)
        return draft_fail(d, -ERR_BAD_VALUE, "%.*s must have 1 to %zu bytes", SLICE_ARGS(h->name), max);
    d->append.origin.kind = kind;
    d->append.origin.name = h->value;
    return 0;
}

static int take_match(struct draft *d, slice v)
{
    if (v.n < 2 || v.p[0] != '"' || v.p[v.n - 1] != '"' || d->has_expect)
        return draft_fail(d, -ERR_BAD_VALUE, "If-Match must be one token epoch:offset:topic in double quotes");
    return draft_expect(d, "If-Match", slice_of(v.p + 1, v.n - 2));
}

static int take_header(struct draft *d, const struct http_header *h)
{
    struct origin *o = &d->append.origin;
    switch (h->known) {
    case NAME_PRODUCER_ID:
        return take_name(d, h, ORIGIN_PRODUCER, PRODUCER_ID_MAX);
    case NAME_PRODUCER_EPOCH:
        return take_number(d, h, &o->epoch);
    case NAME_PRODUCER_SEQ:
        return take_number(d, h, &o->sequence);
    case NAME_IDEMPOTENCY_KEY:
        return take_name(d, h, ORIGIN_KEY, IDEMPOTENCY_KEY_MAX);
    case NAME_IF_MATCH:
        return take_match(d, h->value);
    case NAME_LIGNUM_ACK:
        d->ack_peers = true;
        return slice_ieq(h->value, SLICE("peers"))
            ? 0 : draft_fail(d, -ERR_BAD_VALUE, "%.*s must be peers", SLICE_ARGS(h->name));
    default:
        return 0;
    }
}

static const uint64_t producer = NAME_BIT(NAME_PRODUCER_ID) | NAME_BIT(NAME_PRODUCER_EPOCH) |
                                 NAME_BIT(NAME_PRODUCER_SEQ);
static const uint64_t key = NAME_BIT(NAME_IDEMPOTENCY_KEY);
static const uint64_t asks = producer | key | NAME_BIT(NAME_IF_MATCH);

int draft_take_headers(struct draft *d, const struct http_request *r)
{
    const struct http_head *head = &r->head;
    d->asks = (head->names & asks) != 0;
    d->has_expect = false;
    d->append.origin.kind = ORIGIN_NONE;
    if ((head->names & (asks | NAME_BIT(NAME_LIGNUM_ACK))) == 0)
        return 0;
    for (size_t i = 0; i < head->header_count; i++) {
        int rc = take_header(d, &head->headers[i]);
        if (rc < 0)
            return rc;
    }
    if ((head->names & producer) && (head->names & key))
        return draft_fail(d, -ERR_BAD_VALUE, "Idempotency-Key and Producer-Id exclude each other");
    if ((head->names & producer) && !(http_head_has(head, NAME_PRODUCER_ID) && http_head_has(head, NAME_PRODUCER_SEQ)))
        return draft_fail(d, -ERR_BAD_VALUE, "Producer-Id and Producer-Seq belong together");
    return 0;
}

/* ---- what a body is ---- */

/* Without parameters. A blank ends it, too, as in http.media_type of scripts/lignum/http.lua. */
static slice media_type(slice type)
{
    static const char ends[] = {';', ' ', '\t'};
    for (size_t i = 0; i < sizeof ends && type.n > 0; i++) {
        const char *end = memchr(type.p, ends[i], type.n);
        type.n = end == NULL ? type.n : (size_t)(end - type.p);
    }
    return type;
}

static bool type_is_lines(slice type)
{
    return slice_ieq(type, SLICE("application/x-ndjson")) || slice_ieq(type, SLICE("application/ndjson"));
}

static bool type_says_nothing(slice type)
{
    return type.n == 0 || slice_ieq(type, SLICE("application/octet-stream")) ||
           slice_ieq(type, SLICE("application/x-www-form-urlencoded"));
}

static const uint64_t due_names = NAME_BIT(NAME_LIGNUM_DELAY) | NAME_BIT(NAME_LIGNUM_DELIVER_AT) |
                                  NAME_BIT(NAME_LIGNUM_TTL);
static const uint64_t message_names = NAME_BIT(NAME_LIGNUM_KEY) | NAME_BIT(NAME_LIGNUM_HEADER) |
                                      NAME_BIT(NAME_LIGNUM_HEADER_CONTENT_TYPE);
static const uint64_t trace = NAME_BIT(NAME_TRACEPARENT);

bool body_is_bare(const struct http_request *r)
{
    return !r->head.coded && !(r->head.names & (asks | NAME_BIT(NAME_LIGNUM_ACK) | message_names | due_names | trace));
}

enum body body_of(const struct http_request *r)
{
    slice type = media_type(r->head.type);
    if (r->head.coded)
        return BODY_CODED;
    if (slice_ieq(type, SLICE("application/json")))
        return BODY_JSON;
    if (type_is_lines(type))
        return BODY_LINES;
    bool bare = type_says_nothing(type) && !(r->head.names & (message_names | due_names | trace));
    return bare ? BODY_PAYLOAD : BODY_MESSAGE;
}

/* ---- encoding it ---- */

/* Lignum-Delay or Lignum-Deliver-At, and Lignum-TTL, become headers of the message, or of each. 0 or -ERR_BAD_VALUE. */
static int add_due(struct draft *d, const struct http_head *head)
{
    bool has_due = false;
    int rc = 0;
    for (size_t i = 0; i < head->header_count && rc == 0 && (head->names & due_names); i++) {
        const struct http_header *h = &head->headers[i];
        bool ttl = h->known == NAME_LIGNUM_TTL;
        if (!(NAME_BIT(h->known) & due_names))
            continue;
        if (!ttl && has_due)
            return draft_fail(d, -ERR_BAD_VALUE, "only one of Lignum-Delay and Lignum-Deliver-At can be given, once");
        const char *problem = due_check(h->name, h->value, draft_date(d));
        if (problem != NULL)
            return draft_fail(d, -ERR_BAD_VALUE, "%.*s %s", SLICE_ARGS(h->name), problem);
        has_due = has_due || !ttl;
        rc = draft_header(d, ttl ? DUE_TTL : h->known == NAME_LIGNUM_DELAY ? DUE_DELAY : DUE_AT, h->value);
    }
    return rc;
}

static int add_lines(struct draft *d, slice body)
{
    int rc = 0;
    slice headers = buf_slice(d->headers);
    while (body.n > 0 && rc == 0) {
        const char *end = memchr(body.p, '\n', body.n);
        size_t taken = end == NULL ? body.n : (size_t)(end - body.p) + 1;
        struct message m = {.headers = headers, .payload = slice_of(body.p, taken - (end != NULL))};
        if (m.payload.n > 0 && m.payload.p[m.payload.n - 1] == '\r')
            m.payload.n--;
        if (m.payload.n > 0)
            rc = draft_add(d, &m);
        body = slice_skip(body, taken);
    }
    return rc;
}

int draft_refuse_message_headers(struct draft *d, const struct http_request *r, const char *what, bool may_be_due)
{
    uint64_t refused = message_names | (may_be_due ? 0 : due_names);
    size_t i = 0;
    if (!(r->head.names & refused))
        return 0;
    while (!(NAME_BIT(r->head.headers[i].known) & refused))
        i++;
    return draft_fail(d, -ERR_BAD_VALUE, "%.*s applies to a single message, not to %s",
                      SLICE_ARGS(r->head.headers[i].name), what);
}

/* Several lines of a name are a list. Only the first of them adds it. 0 or -ERR_BAD_VALUE. */
static int add_named_header(struct draft *d, const struct http_head *head, size_t line, slice name)
{
    struct buf list = {0};
    const struct http_header *h = &head->headers[line];
    if (http_head_next(head, h->name, 0) < line)
        return 0;
    size_t at = buf_size(d->headers) + HEADER_SIZES;
    int rc = draft_header(d, name, http_head_join(head, h->name, &list));
    for (size_t i = 0; i < name.n && rc == 0; i++)
        d->headers->data[at + i] = lower(d->headers->data[at + i]);
    buf_fini(&list);
    return rc;
}

static int add_message(struct draft *d, const struct http_request *r)
{
    static const slice prefix = SLICE("lignum-header-");
    const struct http_head *head = &r->head;
    struct message m = {.payload = r->body};
    bool typed = !type_says_nothing(media_type(head->type));
    int rc = 0;
    buf_clear(d->headers);
    for (size_t i = 0; i < head->header_count && rc == 0; i++) {
        const struct http_header *h = &head->headers[i];
        bool own = h->known == NAME_LIGNUM_HEADER || h->known == NAME_LIGNUM_HEADER_CONTENT_TYPE;
        if (typed && h->known == NAME_LIGNUM_HEADER_CONTENT_TYPE)
            return draft_fail(d, -ERR_BAD_VALUE, "Content-Type and %.*s are both given", SLICE_ARGS(h->name));
        if (h->known == NAME_LIGNUM_KEY)
            m.key = h->value.n == 0 ? SLICE("") : h->value;
        else if (own && h->name.n == prefix.n)
            rc = draft_fail(d, -ERR_BAD_VALUE, "%.*s must be followed by a name", SLICE_ARGS(h->name));
        else if (own)
            rc = add_named_header(d, head, i, slice_skip(h->name, prefix.n));
        else if (typed && h->known == NAME_CONTENT_TYPE)
            rc = add_named_header(d, head, i, h->name);
    }
    if (rc == 0)
        rc = add_due(d, head);
    trace_add(d->headers, head);
    m.headers = buf_slice(d->headers);
    return rc < 0 ? rc : draft_add(d, &m);
}

int draft_encode_body(struct draft *d, const struct http_request *r, enum body body)
{
    int rc;
    if (body == BODY_PAYLOAD) {
        rc = draft_add(d, &(struct message){.payload = r->body});
    } else if (body == BODY_LINES) {
        rc = draft_refuse_message_headers(d, r, "lines", true);
        buf_clear(d->headers);
        if (rc == 0)
            rc = add_due(d, &r->head);
        trace_add(d->headers, &r->head);
        if (rc == 0)
            rc = add_lines(d, r->body);
    } else {
        rc = add_message(d, r);
    }
    return rc < 0 ? rc : draft_finish(d);
}
