/*
 * From what a handler returned (status, body, headers) to the answer of its request.
 *
 *     body nil        none                      a batch    rendered from the stored bytes (render.c)
 *          a string   text/plain unless said    a range    sent from its file
 *          a table    JSON                      function   called with write(bytes), which waits for a slow client
 *
 *     headers         a table; a string, the Content-Type; or the batch or range itself: what is to be told of it
 *                     (read_headers.c)
 */
#include "base/err.h"
#include "base/json.h"
#include "script/bind/arg.h"
#include "script/bind/bind.h"
#include "script/http/request.h"
#include "script/message/batch.h"

enum {
    UNSENT_MAX = 256 * KIB,           /* of a stream, before write waits */
    TAKE_MIN = 4 * KIB,               /* smaller bodies are copied, and the buffer is kept */
};

#define RECORDS_TYPE SLICE("application/vnd.lignum.records")

/* ---- headers ---- */

static bool is_framing(slice name)
{
    return slice_ieq(name, SLICE("content-length")) || slice_ieq(name, SLICE("transfer-encoding")) ||
           slice_ieq(name, SLICE("date"));
}

/* The value lies on top. */
static void add_header(lua_State *L, slice name, struct http_answer *a, struct buf *lines)
{
    slice value = {0};
    if (lua_type(L, -1) != LUA_TSTRING && lua_type(L, -1) != LUA_TNUMBER)
        luaL_error(L, "the header %s is a %s, not a string", name.p, luaL_typename(L, -1));
    value.p = lua_tolstring(L, -1, &value.n);
    if (!http_header_ok(name, value) || is_framing(name))
        luaL_error(L, "the header %s cannot be sent", name.p);
    if (slice_ieq(name, SLICE("content-type"))) {
        a->type = value;
    } else if (slice_ieq(name, SLICE("connection"))) {
        a->close = slice_ieq(value, SLICE("close"));
    } else {
        buf_add_slice(lines, name);
        buf_add_slice(lines, SLICE(": "));
        buf_add_slice(lines, value);
        buf_add_slice(lines, SLICE("\r\n"));
    }
}

static void add_header_list(lua_State *L, slice name, struct http_answer *a, struct buf *lines)
{
    lua_Unsigned n = lua_rawlen(L, -1);
    for (lua_Unsigned i = 1; i <= n; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i);
        add_header(L, name, a, lines);
        lua_pop(L, 1);
    }
}

/* Of a batch or a range. */
static void take_facts(lua_State *L, int index, struct http_answer *a, struct buf *lines)
{
    const struct batch *b = arg_test(L, index, KIND_BATCH);
    const struct range *r = b == NULL ? arg_test(L, index, KIND_RANGE) : NULL;
    if (b != NULL) {
        a->type = b->format == FORMAT_RAW ? SLICE("application/x-ndjson") : batch_type(b);
        facts_add_headers(lines, &b->facts, batch_form(b));
    } else if (r != NULL) {
        a->type = RECORDS_TYPE;
        facts_add_headers(lines, &r->facts, SLICE("records"));
    } else {
        luaL_error(L, "the handler returned a userdata instead of headers");
    }
}

static void take_type(lua_State *L, int index, struct http_answer *a)
{
    a->type.p = lua_tolstring(L, index, &a->type.n);
    if (!http_value_ok(a->type))
        luaL_error(L, "the content type %s cannot be sent", a->type.p);
}

/* The table at `index`: name -> string or list of strings. */
static void take_table(lua_State *L, int index, struct http_answer *a, struct buf *lines)
{
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        slice name = {0};
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "the handler returned headers without names");
        name.p = lua_tolstring(L, -2, &name.n);
        if (lua_istable(L, -1))
            add_header_list(L, name, a, lines);
        else
            add_header(L, name, a, lines);
    }
}

static void take_headers(lua_State *L, int index, struct http_answer *a)
{
    struct buf *lines = &vm_of(L)->extra;
    buf_clear(lines);
    switch (lua_type(L, index)) {
    case LUA_TNIL:
        break;
    case LUA_TSTRING:
        take_type(L, index, a);
        break;
    case LUA_TTABLE:
        take_table(L, index, a, lines);
        break;
    case LUA_TUSERDATA:
        take_facts(L, index, a, lines);
        break;
    default:
        luaL_error(L, "the handler returned a %s instead of headers", luaL_typename(L, index));
    }
    a->headers = buf_slice(lines);
}

/* ---- bodies ---- */

enum { REQUEST = 1, STATUS, BODY, HEADERS };

static void default_type(struct http_answer *a, slice type)
{
    if (a->type.n == 0)
        a->type = type;
}

static void send_buf(struct serving *s, const struct http_answer *a, struct buf *body)
{
    struct http_request *r = s->request;
    serving_answered(s);
    if (buf_size(body) < TAKE_MIN)
        http_answer(r, a, buf_slice(body));
    else
        http_answer_take(r, a, body);
}

static void send_text(struct serving *s, struct http_answer *a, slice text)
{
    struct http_request *r = s->request;
    default_type(a, text.p == NULL ? SLICE("") : SLICE("text/plain; charset=utf-8"));
    serving_answered(s);
    http_answer(r, a, text);
}

static void send_batch(struct serving *s, struct http_answer *a, struct batch *b, lua_State *L)
{
    struct buf *out = vm_scratch(s->vm);
    if (b->sent)
        luaL_error(L, "this batch has been answered with already");
    default_type(a, batch_type(b));
    batch_render(out, b);
    b->sent = true;
    batch_release(s->vm, b);
    send_buf(s, a, out);
}

static void send_range(struct serving *s, struct http_answer *a, struct range *range, lua_State *L)
{
    struct http_request *r = s->request;
    int fd = range->fd;
    if (range->sent)
        luaL_error(L, "this range has been answered with already");
    default_type(a, RECORDS_TYPE);
    range->sent = true;
    range->fd = -1;
    serving_answered(s);
    if (fd < 0)
        http_answer_take(r, a, &range->bytes);
    else
        http_answer_file(r, a, fd, range->position, range->size);
    range_release(s->vm, range);
}

static void send_object(lua_State *L, struct serving *s, struct http_answer *a)
{
    void *object;
    if ((object = arg_test(L, BODY, KIND_BATCH)) != NULL)
        send_batch(s, a, object, L);
    else if ((object = arg_test(L, BODY, KIND_RANGE)) != NULL)
        send_range(s, a, object, L);
    else
        luaL_error(L, "the handler returned an object that cannot be a body");
}

static void send_table(lua_State *L, struct serving *s, struct http_answer *a)
{
    struct buf *out = vm_scratch(s->vm);
    default_type(a, SLICE("application/json"));
    json_encode(L, BODY, out);
    send_buf(s, a, out);
}

/* ---- streams ---- */

static void on_drained(void *arg)
{
    struct serving *s = arg;
    task_wake(s->vm->tasks, s->ticket, 0);
}

static int write_done(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    struct serving *s = request_serving(L, lua_upvalueindex(1));
    lua_pushboolean(L, s != NULL && !http_gone(s->request));
    return 1;
}

/* write(bytes) -> true; false once the client has gone.  Waits while much is unsent. */
static int l_write(lua_State *L)
{
    slice bytes = arg_text(L, 1, "what is written", "write(bytes)");
    struct serving *s = request_serving(L, lua_upvalueindex(1));
    struct task *self = task_self(L);
    if (s == NULL || s->task != self)
        return luaL_error(L, "write(bytes): this answer has ended, or is another task's");
    if (http_gone(s->request) || http_chunk(s->request, bytes) <= UNSENT_MAX)
        return write_done(L, LUA_OK, 0);
    s->ticket = task_ticket(self);
    http_on_drained(s->request, on_drained, s);
    return task_park(L, self, 0, 0, write_done);
}

static int stream_done(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    struct serving *s = request_serving(L, REQUEST);
    struct http_request *r = s->request;
    serving_answered(s);
    http_end(r);
    return 0;
}

static int stream(lua_State *L, struct serving *s, struct http_answer *a)
{
    default_type(a, SLICE("application/octet-stream"));
    s->task = task_self(L);
    s->streaming = true;
    http_begin(s->request, a);
    if (slice_eq(s->request->head.method, SLICE("HEAD")))
        return stream_done(L, LUA_OK, 0);
    lua_pushvalue(L, BODY);
    lua_pushvalue(L, REQUEST);
    lua_pushcclosure(L, l_write, 1);
    lua_callk(L, 1, 0, 0, stream_done);
    return stream_done(L, LUA_OK, 0);
}

/* ---- the task of a request ---- */

static int take_status(lua_State *L)
{
    int whole;
    lua_Integer status = lua_tointegerx(L, STATUS, &whole);
    if (lua_type(L, STATUS) != LUA_TNUMBER || !whole || status < 200 || status > 599)
        luaL_error(L, "the handler returned %s instead of a status from 200 to 599", luaL_tolstring(L, STATUS, NULL));
    return (int)status;
}

static int answer(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    struct serving *s = request_serving(L, REQUEST);
    struct http_answer a = {.status = take_status(L)};
    slice text = {0};
    take_headers(L, HEADERS, &a);
    switch (lua_type(L, BODY)) {
    case LUA_TSTRING:
        text.p = lua_tolstring(L, BODY, &text.n);
        send_text(s, &a, text);
        return 0;
    case LUA_TNIL:
        send_text(s, &a, text);
        return 0;
    case LUA_TTABLE:
        send_table(L, s, &a);
        return 0;
    case LUA_TUSERDATA:
        send_object(L, s, &a);
        return 0;
    case LUA_TFUNCTION:
        return stream(L, s, &a);
    default:
        return luaL_error(L, "the handler returned a %s as a body", luaL_typename(L, BODY));
    }
}

int answer_run(lua_State *L)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm_of(L)->handle_ref);
    lua_pushvalue(L, REQUEST);
    lua_callk(L, 1, 3, 0, answer);
    return answer(L, LUA_OK, 0);
}

/* ---- errors ---- */

/* A sentence of the core that names a limit says "limit of N" (publish.lua reads it too): programs get a field. */
static void add_limit(struct buf *out, slice detail)
{
    static const char words[] = "limit of ";
    const char *at = detail.n > 0 ? memmem(detail.p, detail.n, words, sizeof(words) - 1) : NULL;
    if (at == NULL)
        return;
    slice rest = slice_skip(detail, (size_t)(at - detail.p) + sizeof(words) - 1);
    size_t n = 0;
    while (n < rest.n && rest.p[n] >= '0' && rest.p[n] <= '9')
        n++;
    if (n == 0)
        return;
    json_key(out, SLICE("limit"));
    buf_add(out, rest.p, n);
}

void problem_render(struct buf *out, const struct problem *p)
{
    buf_add_slice(out, SLICE("{\"type\":\"about:blank\""));
    json_key(out, SLICE("title"));
    json_string(out, slice_from(err_sentence(p->rc)));
    buf_addf(out, ",\"status\":%d", err_status(p->rc));
    json_key(out, SLICE("code"));
    json_string(out, slice_from(err_name(p->rc)));
    json_key(out, SLICE("detail"));
    json_string(out, p->detail.n > 0 ? p->detail : slice_from(err_sentence(p->rc)));
    if (p->rc == -ERR_TOO_LARGE)
        add_limit(out, p->detail);
    if (!p->appended)
        buf_add_slice(out, SLICE(",\"appended\":false"));
    buf_addf(out, ",\"retryable\":%s}\n", err_retryable(p->rc) ? "true" : "false");
}

void answer_error(struct serving *s, const struct problem *p)
{
    struct http_request *r = s->request;
    bool streaming = s->streaming;
    struct buf body = {0};
    struct http_answer a = {.status = err_status(p->rc), .type = SLICE("application/problem+json")};
    serving_answered(s);
    if (streaming) {
        http_abort(r);
        return;
    }
    if (a.status == 429 || a.status == 503)
        a.headers = SLICE("Retry-After: 1\r\n");
    problem_render(&body, p);
    http_answer_take(r, &a, &body);
}
