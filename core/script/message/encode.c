#include "script/message/encode.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/err.h"
#include "script/bind/arg.h"
#include "script/http/request.h"

enum { HEADER_SIZES = 4 };  /* in front of each pair, see store/format/record.h */

void draft_init(struct draft *d, struct vm *vm)
{
    memset(d, 0, offsetof(struct draft, why));
    d->why[0] = '\0';
    d->out = vm_scratch(vm);
    d->headers = &vm->extra;
}

static int fail(struct draft *d, int rc, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int fail(struct draft *d, int rc, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(d->why, sizeof(d->why), fmt, args);
    va_end(args);
    return rc;
}

static int check_size(struct draft *d, const char *what, size_t n, size_t max)
{
    if (n > max)
        return fail(d, -ERR_TOO_LARGE, "%s of %zu bytes is over the limit of %zu", what, n, max);
    return 0;
}

static int draft_add(struct draft *d, const struct message *m)
{
    int rc = check_size(d, "a payload", m->payload.n, PAYLOAD_SIZE_MAX);
    if (rc == 0)
        rc = check_size(d, "a key", m->key.n, KEY_SIZE_MAX);
    if (rc == 0)
        rc = check_size(d, "a message's headers", m->headers.n, HEADERS_SIZE_MAX);
    if (rc < 0)
        return rc;
    if (d->append.count == BATCH_COUNT_MAX)
        return fail(d, -ERR_TOO_LARGE, "more than %d messages at once", BATCH_COUNT_MAX);
    message_write(d->out, m);
    d->append.count++;
    return check_size(d, "a batch", buf_size(d->out), BATCH_SIZE_MAX);
}

/* Once all are in: the batch as a whole. */
static int draft_finish(struct draft *d)
{
    d->append.messages = buf_slice(d->out);
    if (d->append.count == 0)
        return fail(d, -ERR_BAD_VALUE, "there is no message to append");
    return 0;
}

/* ---- from Lua values ---- */

/* The table's field of that name; p == NULL when it is nil. The string stays in the table. */
static slice field_text(lua_State *L, int table, const char *name, const char *usage)
{
    slice text = {0};
    lua_pushstring(L, name);
    if (lua_rawget(L, table) != LUA_TNIL)
        text = arg_text(L, -1, name, usage);
    lua_pop(L, 1);
    return text;
}

/* Encodes the pairs of the table on top into d->headers. */
static int encode_headers(struct draft *d, lua_State *L, const char *usage)
{
    size_t size = 0;
    if (!lua_istable(L, -1))
        arg_fail(L, usage, "headers must be a table, not %s", luaL_typename(L, -1));
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        slice name = arg_text(L, -2, "the name of a header", usage);
        slice value = arg_text(L, -1, "the value of a header", usage);
        size += name.n + value.n + HEADER_SIZES;
        if (size <= HEADERS_SIZE_MAX)
            header_write(d->headers, name, value);
    }
    return check_size(d, "a message's headers", size, HEADERS_SIZE_MAX);
}

static int take_headers(struct draft *d, lua_State *L, int table, const char *usage)
{
    int rc = 0;
    buf_clear(d->headers);
    lua_pushliteral(L, "headers");
    if (lua_rawget(L, table) != LUA_TNIL)
        rc = encode_headers(d, L, usage);
    lua_pop(L, 1);
    return rc;
}

static int add_table(struct draft *d, lua_State *L, int table, const char *usage)
{
    struct message m = {
        .payload = field_text(L, table, "payload", usage),
        .key = field_text(L, table, "key", usage),
    };
    if (m.payload.p == NULL)
        arg_fail(L, usage, "a message needs a payload");
    int rc = take_headers(d, L, table, usage);
    m.headers = buf_slice(d->headers);
    return rc < 0 ? rc : draft_add(d, &m);
}

/* The value on top: a string or a table with a payload. */
static int add_value(struct draft *d, lua_State *L, const char *usage)
{
    int index = lua_gettop(L);
    if (lua_istable(L, index))
        return add_table(d, L, index, usage);
    struct message m = {.payload = arg_text(L, index, "a message (or its payload)", usage)};
    return draft_add(d, &m);
}

static int add_list(struct draft *d, lua_State *L, int table, const char *usage)
{
    int rc = 0;
    lua_Unsigned n = lua_rawlen(L, table);
    for (lua_Unsigned i = 1; i <= n && rc == 0; i++) {
        lua_rawgeti(L, table, (lua_Integer)i);
        rc = add_value(d, L, usage);
        lua_pop(L, 1);
    }
    return rc;
}

static bool is_message(lua_State *L, int table)
{
    lua_pushliteral(L, "payload");
    bool is = lua_rawget(L, table) != LUA_TNIL || lua_rawlen(L, table) == 0;
    lua_pop(L, 1);
    return is;
}

static bool is_empty(lua_State *L, int table)
{
    lua_pushnil(L);
    if (!lua_next(L, table))
        return true;
    lua_pop(L, 2);
    return false;
}

int draft_encode(struct draft *d, lua_State *L, int index, const char *usage)
{
    int rc = 0;
    if (lua_type(L, index) == LUA_TUSERDATA) {
        const struct http_request *r = request_check(L, index, usage);
        return draft_take_request(d, r, body_of(r));
    }
    if (!lua_istable(L, index)) {
        struct message m = {.payload = arg_text(L, index, "what is appended", usage)};
        rc = draft_add(d, &m);
    } else if (is_message(L, index)) {
        rc = is_empty(L, index) ? 0 : add_table(d, L, index, usage);
    } else {
        rc = add_list(d, L, index, usage);
    }
    return rc < 0 ? rc : draft_finish(d);
}

/* ---- from a request ---- */

static int take_number(struct draft *d, const struct http_header *h, uint64_t max, uint64_t *out)
{
    uint64_t value;
    if (slice_u64(h->value, &value) < 0 || value > max)
        return fail(d, -ERR_BAD_VALUE, "%.*s must be a whole number up to %llu", SLICE_ARGS(h->name),
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
    if (slice_ieq(h->name, SLICE("lignum-ack"))) {
        if (!slice_ieq(h->value, SLICE("peers")))
            return fail(d, -ERR_BAD_VALUE, "%.*s must be peers", SLICE_ARGS(h->name));
        d->ack_peers = true;
    }
    return 0;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

int draft_take_head(struct draft *d, const struct http_request *r)
{
    int rc = 0;
    for (size_t i = 0; i < r->head.header_count && rc == 0; i++) {
        const struct http_header *h = &r->head.headers[i];
        char c = lower(h->name.p[0]);
        if (c == 'p' || c == 'l')
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

/* As http.media_type sees it: a blank ends the type, too. */
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

static bool is_encoded(const struct http_request *r)
{
    slice coding = r->head.coding;
    return coding.p != NULL && !slice_ieq(coding, SLICE("identity"));
}

static bool is_of_message(slice name)
{
    return name.n >= 10 && lower(name.p[0]) == 'l' &&
           (slice_ieq(name, SLICE("lignum-key")) || slice_ieq(slice_of(name.p, 10), SLICE("lignum-hea")));
}

static bool has_message_headers(const struct http_head *head)
{
    for (size_t i = 0; i < head->header_count; i++)
        if (is_of_message(head->headers[i].name))
            return true;
    return false;
}

enum body body_of(const struct http_request *r)
{
    slice type = media_type(r->head.type);
    if (is_encoded(r) || type_is_json(type))
        return BODY_OTHER;
    if (type_is_lines(type))
        return BODY_LINES;
    return type_says_nothing(type) && !has_message_headers(&r->head) ? BODY_PAYLOAD : BODY_MESSAGE;
}

/* ---- encoding it ---- */

static int encode_lines(struct draft *d, slice body)
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

/* Only what is one message can have a key of its own. */
static int refuse_lines_head(struct draft *d, const struct http_request *r)
{
    for (size_t i = 0; i < r->head.header_count; i++) {
        slice name = r->head.headers[i].name;
        bool header = name.n >= 14 && slice_ieq(slice_of(name.p, 14), SLICE("lignum-header-"));
        if (header || slice_ieq(name, SLICE("lignum-key")))
            return fail(d, -ERR_BAD_VALUE, "%.*s goes with a single message, not with lines", SLICE_ARGS(name));
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

static int encode_message(struct draft *d, const struct http_request *r)
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

int draft_encode_request(struct draft *d, const struct http_request *r, enum body body)
{
    int rc;
    if (body == BODY_PAYLOAD) {
        rc = draft_add(d, &(struct message){.payload = r->body});
    } else if (body == BODY_LINES) {
        rc = refuse_lines_head(d, r);
        if (rc == 0)
            rc = encode_lines(d, r->body);
    } else {
        rc = encode_message(d, r);
    }
    return rc < 0 ? rc : draft_finish(d);
}

int draft_take_request(struct draft *d, const struct http_request *r, enum body body)
{
    int rc = draft_take_head(d, r);
    return rc < 0 ? rc : draft_encode_request(d, r, body);
}

/* ---- back to Lua ---- */

static void push_headers(lua_State *L, slice rest)
{
    slice name;
    slice value;
    lua_newtable(L);
    while (header_read(&rest, &name, &value)) {
        lua_pushlstring(L, name.p, name.n);
        lua_pushlstring(L, value.p, value.n);
        lua_rawset(L, -3);
    }
}

void push_message(lua_State *L, const struct message *m)
{
    lua_createtable(L, 0, 6);
    lua_pushlstring(L, m->payload.p, m->payload.n);
    lua_setfield(L, -2, "payload");
    if (m->key.p != NULL) {
        lua_pushlstring(L, m->key.p, m->key.n);
        lua_setfield(L, -2, "key");
    }
    if (m->headers.n > 0) {
        push_headers(L, m->headers);
        lua_setfield(L, -2, "headers");
    }
}
