#include "script/http/answer.h"

#include <lauxlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "script/bind/arg.h"
#include "script/bind/json_encode.h"
#include "script/bind/object.h"
#include "script/http/request.h"
#include "script/http/routes.h"
#include "script/message/records.h"
#include "script/message/render.h"
#include "script/vm/task.h"

enum {
    UNSENT_MAX = 256 * KIB,           /* of a stream: beyond it write() waits */
    IN_ONE_GO = READ_SIZE_DEFAULT + 64 * KIB,   /* a larger batch is rendered in pieces */
    PIECE = 128 * KIB,
    TAKE_MIN = 4 * KIB,               /* smaller bodies are copied, and the buffer is kept */
};

#define WRITE "write(bytes | batch)"
#define RECORDS_TYPE SLICE("application/vnd.lignum.records")

/* ---- headers ---- */

/* The value lies on top. */
static void add_header(lua_State *L, slice name, struct http_answer *a, struct buf *lines)
{
    slice value = {0};
    if (lua_type(L, -1) != LUA_TSTRING && lua_type(L, -1) != LUA_TNUMBER)
        luaL_error(L, "the header %s is a %s, not a string", name.p, luaL_typename(L, -1));
    value.p = lua_tolstring(L, -1, &value.n);
    bool ours = slice_ieq(name, SLICE("content-length")) || slice_ieq(name, SLICE("transfer-encoding")) ||
                slice_ieq(name, SLICE("date"));
    if (ours || !http_header_ok(name, value))
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

/* The table at `index`: name -> string or list of strings. */
static void add_header_table(lua_State *L, int index, struct http_answer *a, struct buf *lines)
{
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        slice name = {0};
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "the handler returned headers without names");
        name.p = lua_tolstring(L, -2, &name.n);
        if (!lua_istable(L, -1)) {
            add_header(L, name, a, lines);
            continue;
        }
        lua_Unsigned n = lua_rawlen(L, -1);
        for (lua_Unsigned i = 1; i <= n; i++) {
            lua_rawgeti(L, -1, (lua_Integer)i);
            add_header(L, name, a, lines);
            lua_pop(L, 1);
        }
    }
}

/* The batch or records at `index`. */
static void add_read_headers(lua_State *L, int index, struct http_answer *a, struct buf *lines)
{
    const struct batch *b = object_test(L, index, KIND_BATCH);
    const struct records *r = b == NULL ? object_test(L, index, KIND_RECORDS) : NULL;
    if (b != NULL) {
        a->type = b->format == FORMAT_RAW ? SLICE("application/x-ndjson") : batch_media_type(b);
        read_headers_write(lines, &b->headers, batch_format_name(b));
    } else if (r != NULL) {
        a->type = RECORDS_TYPE;
        read_headers_write(lines, &r->headers, SLICE("records"));
    } else {
        luaL_error(L, "the handler returned a userdata instead of headers");
    }
}

static void take_headers(lua_State *L, int index, struct http_answer *a)
{
    struct buf *lines = vm_scratch_headers(vm_of(L));
    switch (lua_type(L, index)) {
    case LUA_TNIL:
        break;
    case LUA_TSTRING:
        a->type.p = lua_tolstring(L, index, &a->type.n);
        if (!http_value_ok(a->type))
            luaL_error(L, "the content type %s cannot be sent", a->type.p);
        break;
    case LUA_TTABLE:
        add_header_table(L, index, a, lines);
        break;
    case LUA_TUSERDATA:
        add_read_headers(L, index, a, lines);
        break;
    default:
        luaL_error(L, "the handler returned a %s instead of headers", luaL_typename(L, index));
    }
    a->headers = buf_slice(lines);
}

/* ---- bodies ---- */

/* Where the task's stack has them. */
enum { REQUEST = 1, STATUS, BODY, HEADERS };

static void default_type(struct http_answer *a, slice type)
{
    if (a->type.n == 0)
        a->type = type;
}

static void send_buf(struct exchange *x, const struct http_answer *a, struct buf *body)
{
    struct http_request *r = exchange_take_request(x);
    if (buf_size(body) < TAKE_MIN)
        http_answer(r, a, buf_slice(body));
    else
        http_answer_take(r, a, body);
}

static void send_text(struct exchange *x, struct http_answer *a, slice text)
{
    default_type(a, text.p == NULL ? SLICE("") : SLICE("text/plain; charset=utf-8"));
    http_answer(exchange_take_request(x), a, text);
}

static void send_table(lua_State *L, struct exchange *x, struct http_answer *a)
{
    struct buf *out = vm_scratch(x->vm);
    default_type(a, SLICE("application/json"));
    json_encode(L, BODY, out);
    send_buf(x, a, out);
}

/* ---- large batches, which are rendered as the client takes them ---- */

struct pieces {
    struct batch batch;               /* with the raw bytes of the one that the handler returned */
    struct rendering rendering;
};

static bool pieces_more(void *source, struct buf *out)
{
    struct pieces *p = source;
    return rendering_next(&p->rendering, out, PIECE);
}

static void pieces_free(void *source)
{
    struct pieces *p = source;
    rendering_end(&p->rendering);
    buf_fini(&p->batch.raw);
    buf_fini(&p->batch.filter);
    mem_free(p);
}

/* From here on the bytes are the answer's and not the scripts': they count as unsent. */
static struct http_source in_pieces(struct exchange *x, struct batch *b)
{
    struct pieces *p = MEM_NEW(struct pieces);
    p->batch = *b;
    p->batch.index = p->batch.raw = p->batch.filter = (struct buf){0};
    buf_move(&p->batch.raw, &b->raw);
    buf_move(&p->batch.filter, &b->filter);
    batch_release(vm_memory(x->vm), b);
    rendering_begin(&p->rendering, &p->batch);
    return (struct http_source){pieces_more, pieces_free, p, p->batch.raw.cap};
}

static void send_batch(lua_State *L, struct exchange *x, struct http_answer *a, struct batch *b)
{
    struct buf *out = vm_scratch(x->vm);
    if (b->sent)
        luaL_error(L, "this batch has been sent as an answer already");
    default_type(a, batch_media_type(b));
    b->sent = true;
    if (buf_size(&b->raw) > IN_ONE_GO) {
        struct http_source source = in_pieces(x, b);
        http_answer_source(exchange_take_request(x), a, &source);
        return;
    }
    batch_render(out, b);
    batch_release(vm_memory(x->vm), b);
    send_buf(x, a, out);
}

static void send_records(lua_State *L, struct exchange *x, struct http_answer *a, struct records *records)
{
    int fd = records->fd;
    if (records->sent)
        luaL_error(L, "this range has been sent as an answer already");
    default_type(a, RECORDS_TYPE);
    records->sent = true;
    records->fd = -1;
    if (fd < 0)
        http_answer_take(exchange_take_request(x), a, &records->bytes);
    else
        http_answer_file(exchange_take_request(x), a, fd, records->position, records->size);
    records_release(vm_memory(x->vm), records);
}

static void send_object(lua_State *L, struct exchange *x, struct http_answer *a)
{
    void *object;
    if ((object = object_test(L, BODY, KIND_BATCH)) != NULL)
        send_batch(L, x, a, object);
    else if ((object = object_test(L, BODY, KIND_RECORDS)) != NULL)
        send_records(L, x, a, object);
    else
        luaL_error(L, "the handler returned an object that cannot be a body");
}

/* ---- streams ---- */

static void on_drained(void *arg)
{
    struct exchange *x = arg;
    task_wake(vm_tasks(x->vm), x->drained, 0);
}

static int write_done(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    struct exchange *x = request_exchange(L, lua_upvalueindex(1));
    lua_pushboolean(L, x != NULL && !http_gone(x->request));
    return 1;
}

/* The bytes that are unsent; of a large batch, which the client takes in pieces, more than may be. */
static size_t write_batch(struct exchange *x, struct batch *b)
{
    struct buf *out = vm_scratch(x->vm);
    b->sent = true;
    if (buf_size(&b->raw) > IN_ONE_GO) {
        struct http_source source = in_pieces(x, b);
        http_chunk_source(x->request, &source);
        return SIZE_MAX;
    }
    batch_render(out, b);
    batch_release(vm_memory(x->vm), b);
    size_t unsent = http_chunk(x->request, buf_slice(out));
    vm_scratch_done(out);
    return unsent;
}

/* write(bytes | batch) -> true; false once the client has gone.  Waits while much is unsent.  A batch is rendered into
 * the connection, and what waits holds no memory of scripts: neither the batch's nor the argument. */
static int l_write(lua_State *L)
{
    struct batch *b = object_test(L, 1, KIND_BATCH);
    slice bytes = b == NULL ? arg_text(L, 1, "bytes", WRITE) : (slice){0};
    struct exchange *x = request_exchange(L, lua_upvalueindex(1));
    struct task *self = task_self(L);
    if (x == NULL || x->task != self)
        return luaL_error(L, WRITE ": this answer has ended, or is another task's");
    if (b != NULL && b->sent)
        return luaL_error(L, WRITE ": this batch has been sent already");
    if (http_gone(x->request))
        return task_must_leave(self) ? task_park(L, self, 0, 0, write_done) : write_done(L, LUA_OK, 0);
    if ((b == NULL ? http_chunk(x->request, bytes) : write_batch(x, b)) <= UNSENT_MAX)
        return write_done(L, LUA_OK, 0);
    lua_settop(L, 0);
    x->drained = task_ticket(self);
    http_on_drained(x->request, on_drained, x);
    return task_park(L, self, 0, 0, write_done);
}

static int stream_done(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    http_end(exchange_take_request(request_exchange(L, REQUEST)));
    return 0;
}

static int stream(lua_State *L, struct exchange *x, struct http_answer *a)
{
    default_type(a, SLICE("application/octet-stream"));
    x->task = task_self(L);
    x->streaming = true;
    http_begin(x->request, a);
    if (slice_eq(x->request->head.method, SLICE("HEAD")))
        return stream_done(L, LUA_OK, 0);
    lua_pushvalue(L, BODY);
    lua_pushvalue(L, REQUEST);
    lua_pushcclosure(L, l_write, 1);
    lua_callk(L, 1, 0, 0, stream_done);
    return stream_done(L, LUA_OK, 0);
}

/* ---- the task of a request ---- */

/* The continuation of answer_run: the results of the handler lie above the request. */
static int answer(lua_State *L, int unused, lua_KContext context)
{
    (void)unused;
    (void)context;
    int whole;
    lua_Integer status = lua_tointegerx(L, STATUS, &whole);
    if (lua_type(L, STATUS) != LUA_TNUMBER || !whole || status < 200 || status > 599)
        luaL_error(L, "the handler returned %s instead of a status from 200 to 599", luaL_tolstring(L, STATUS, NULL));
    struct exchange *x = request_exchange(L, REQUEST);
    struct http_answer a = {.status = (int)status};
    x->request->waited_ns = task_lingered_ns(task_self(L));
    slice text = {0};
    take_headers(L, HEADERS, &a);
    switch (lua_type(L, BODY)) {
    case LUA_TSTRING:
        text.p = lua_tolstring(L, BODY, &text.n);
        send_text(x, &a, text);
        return 0;
    case LUA_TNIL:
        send_text(x, &a, text);
        return 0;
    case LUA_TTABLE:
        send_table(L, x, &a);
        return 0;
    case LUA_TUSERDATA:
        send_object(L, x, &a);
        return 0;
    case LUA_TFUNCTION:
        return stream(L, x, &a);
    default:
        return luaL_error(L, "the handler returned a %s as a body", luaL_typename(L, BODY));
    }
}

int answer_run(lua_State *L)
{
    if (!route_push_handler(L))
        vm_push_handle(L);
    lua_pushvalue(L, REQUEST);
    lua_callk(L, 1, 3, 0, answer);
    return answer(L, LUA_OK, 0);
}

/* ---- errors ---- */

void answer_error(struct exchange *x, const struct problem *p)
{
    struct buf body = {0};
    struct http_answer a = {.status = err_status(p->rc), .type = SLICE("application/problem+json")};
    bool streaming = x->streaming;
    struct http_request *r = exchange_take_request(x);
    if (streaming) {
        http_abort(r);
        return;
    }
    a.headers = a.status == 429 || a.status == 503 ? SLICE("X-Content-Type-Options: nosniff\r\nRetry-After: 1\r\n")
                                                   : SLICE("X-Content-Type-Options: nosniff\r\n");
    problem_render(&body, p);
    http_answer_take(r, &a, &body);
}
