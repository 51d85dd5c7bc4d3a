/*
 * Requests as Lua sees them: fields read from the head as it came, tables made when they are first asked for.
 */
#include "script/http/request.h"

#include "base/err.h"
#include "script/bind/arg.h"
#include "script/bind/bind.h"
#include "script/message/encode.h"
#include "script/topic/topic_handle.h"

#define HEADER "req:header(name...)"
#define PARAM "req:param(name)"
#define MESSAGES "req:messages()"


struct object {
    struct serving *serving;          /* of this request while the generations are equal */
    unsigned generation;
};

/* User values of the object: what has been made once. */
enum { PARAMS = 1, HEADERS, QUERY, BODY, TREE, VALUES = TREE };

void request_push(lua_State *L, struct serving *s)
{
    struct object *o = object_new(L, KIND_REQUEST, sizeof(*o), VALUES);
    o->serving = s;
    o->generation = s->generation;
}

struct serving *request_serving(lua_State *L, int index)
{
    const struct object *o = lua_touserdata(L, index);
    return o->generation == o->serving->generation && o->serving->request != NULL ? o->serving : NULL;
}

static struct http_request *request_at(lua_State *L, int index)
{
    struct serving *s = request_serving(L, index);
    if (s == NULL)
        luaL_error(L, "this request has been answered; what is needed of it later must be kept before");
    return s->request;
}

struct http_request *request_check(lua_State *L, int index, const char *usage)
{
    arg_object(L, index, KIND_REQUEST, usage);
    return request_at(L, index);
}

/* ---- fields ---- */

static int push_slice(lua_State *L, slice s)
{
    lua_pushlstring(L, s.p, s.n);
    return 1;
}

/* The end of the part before the next %2F, which stays as it is written: decoded it would look like a separator. */
static size_t part_size(slice path)
{
    size_t i = 0;
    while (i < path.n && !(path.n - i >= 3 && slice_ieq(slice_of(path.p + i, 3), SLICE("%2f"))))
        i++;
    return i;
}

slice request_path(const struct http_request *r, char *text)
{
    slice path = r->head.path;
    size_t size = 0;
    if (memchr(path.p, '%', path.n) == NULL || path.n > HTTP_TARGET_MAX)
        return path;
    while (path.n > 0) {
        size_t n = part_size(path);
        long decoded = http_unescape(slice_of(path.p, n), text + size, false);
        size += decoded < 0 ? 0 : (size_t)decoded;   /* the parser has checked the escapes */
        path = slice_skip(path, n);
        size_t kept = path.n > 0 ? 3 : 0;
        memcpy(text + size, path.p, kept);
        size += kept;
        path = slice_skip(path, kept);
    }
    return slice_of(text, size);
}

static int push_path(lua_State *L)
{
    char text[HTTP_TARGET_MAX];
    return push_slice(L, request_path(request_at(L, 1), text));
}

/* The path and the query as they came. */
static int push_target(lua_State *L, const struct http_head *head)
{
    push_slice(L, head->path);
    if (head->query.n == 0)
        return 1;
    lua_pushliteral(L, "?");
    push_slice(L, head->query);
    lua_concat(L, 3);
    return 1;
}

static void push_unescaped(lua_State *L, slice s)
{
    char text[HTTP_TARGET_MAX];
    long n = s.n > sizeof(text) ? HTTP_BAD : http_unescape(s, text, true);
    lua_pushlstring(L, n < 0 ? s.p : text, n < 0 ? s.n : (size_t)n);
}

static void make_query(lua_State *L, const struct http_request *r)
{
    slice rest = r->head.query;
    slice pair;
    lua_newtable(L);
    while (slice_split(&rest, '&', &pair)) {
        const char *equal = pair.n == 0 ? NULL : memchr(pair.p, '=', pair.n);
        size_t n = equal == NULL ? pair.n : (size_t)(equal - pair.p);
        if (pair.n == 0)
            continue;
        push_unescaped(L, slice_of(pair.p, n));
        push_unescaped(L, equal == NULL ? SLICE("") : slice_skip(pair, n + 1));
        lua_rawset(L, -3);
    }
}

static void push_lower(lua_State *L, slice name)
{
    luaL_Buffer b;
    char *to = luaL_buffinitsize(L, &b, name.n);
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        to[i] = c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
    }
    luaL_pushresultsize(&b, name.n);
}

/* Repeated ones are joined with ", ". */
static void make_headers(lua_State *L, const struct http_request *r)
{
    lua_createtable(L, 0, (int)r->head.header_count);
    for (size_t i = 0; i < r->head.header_count; i++) {
        const struct http_header *h = &r->head.headers[i];
        push_lower(L, h->name);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, -3) == LUA_TNIL) {
            lua_pop(L, 1);
            push_slice(L, h->value);
        } else {
            lua_pushliteral(L, ", ");
            push_slice(L, h->value);
            lua_concat(L, 3);
        }
        lua_rawset(L, -3);
    }
}

static void make_body(lua_State *L, const struct http_request *r)
{
    push_slice(L, r->body);
}

/* Pushes what `make` makes, once. */
static int push_made(lua_State *L, int value, void (*make)(lua_State *L, const struct http_request *r))
{
    if (lua_getiuservalue(L, 1, value) != LUA_TNIL)
        return 1;
    make(L, request_at(L, 1));
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, value);
    return 1;
}

void push_params(lua_State *L, const struct params *p)
{
    lua_createtable(L, 0, (int)p->count);
    for (unsigned i = 0; i < p->count; i++) {
        push_slice(L, p->names[i]);
        push_slice(L, p->values[i]);
        lua_rawset(L, -3);
    }
}

void request_found(lua_State *L, const struct params *found, bool passing)
{
    struct params *p = &request_serving(L, 1)->params;
    p->count = found->count;
    p->names = found->names;
    memcpy(p->values, found->values, found->count * sizeof(found->values[0]));
    lua_pushvalue(L, 2);
    lua_setiuservalue(L, 1, TREE);
    if (passing)
        push_params(L, p);
    else
        lua_pushnil(L);
    lua_setiuservalue(L, 1, PARAMS);
}

static void make_params(lua_State *L, const struct http_request *r)
{
    (void)r;
    push_params(L, &request_serving(L, 1)->params);
}

enum field {
    FIELD_PATH = 1, FIELD_TARGET, FIELD_METHOD, FIELD_PARAMS, FIELD_QUERY, FIELD_HEADERS, FIELD_BODY, FIELD_PEER,
};
static const char *const field_names[] = {
    "path", "target", "method", "params", "query", "headers", "body", "peer", NULL,
};

static int push_field(lua_State *L, enum field field)
{
    switch (field) {
    case FIELD_PATH:
        return push_path(L);
    case FIELD_TARGET:
        return push_target(L, &request_at(L, 1)->head);
    case FIELD_METHOD:
        return push_slice(L, request_at(L, 1)->head.method);
    case FIELD_PARAMS:
        return push_made(L, PARAMS, make_params);
    case FIELD_QUERY:
        return push_made(L, QUERY, make_query);
    case FIELD_HEADERS:
        return push_made(L, HEADERS, make_headers);
    case FIELD_BODY:
        return push_made(L, BODY, make_body);
    case FIELD_PEER:
        return push_slice(L, request_at(L, 1)->peer);
    default:
        return 0;
    }
}

static int index_request(lua_State *L)
{
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL)
        return 1;
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(2));
    return push_field(L, (enum field)lua_tointeger(L, -1));
}

/* req:param(name) -> value or nil: that of the table of params where a script has asked for it, and may have changed
 * it. */
static int l_param(lua_State *L)
{
    request_check(L, 1, PARAM);
    slice name = arg_text(L, 2, "name", PARAM);
    const struct params *p = &request_serving(L, 1)->params;
    if (lua_getiuservalue(L, 1, PARAMS) == LUA_TTABLE) {
        lua_pushvalue(L, 2);
        lua_rawget(L, -2);
        return 1;
    }
    for (unsigned i = 0; i < p->count; i++)
        if (slice_eq(p->names[i], name))
            return push_slice(L, p->values[i]);
    lua_pushnil(L);
    return 1;
}

/* ---- what most readers ask ---- */

#define UNSAID UINT64_MAX

static bool take_number(slice text, size_t digits, uint64_t *out)
{
    return text.n <= digits && slice_u64(text, out) == 0;
}

/* An offset, or epoch:offset, whose colon many clients escape. */
static bool take_from(slice text, struct question *q)
{
    char plain[EPOCH_DIGITS_MAX + OFFSET_DIGITS_MAX + 3];
    slice epoch;
    if (text.n > sizeof(plain))
        return false;
    long n = http_unescape(text, plain, true);
    slice offset = slice_of(plain, n < 0 ? 0 : (size_t)n);
    q->token = memchr(plain, ':', offset.n) != NULL;
    if (q->token && !(slice_split(&offset, ':', &epoch) && take_number(epoch, EPOCH_DIGITS_MAX, &q->epoch)))
        return false;
    return take_number(offset, OFFSET_DIGITS_MAX, &q->from);
}

static bool question_take(struct question *q, slice name, slice value)
{
    const struct {
        slice name;
        uint64_t *value;
    } numbers[] = {{SLICE("to"), &q->to}, {SLICE("limit"), &q->limit}, {SLICE("bytes"), &q->bytes},
                   {SLICE("wait"), &q->wait_s}};
    if (slice_eq(name, SLICE("from")))
        return q->from == UNSAID && take_from(value, q);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        if (slice_eq(name, numbers[i].name))
            return *numbers[i].value == UNSAID && take_number(value, OFFSET_DIGITS_MAX, numbers[i].value);
    return false;
}

/* Whether a number lies within [least, most]; one that was not said is `otherwise`. */
static bool settle(uint64_t *value, uint64_t least, uint64_t most, uint64_t otherwise)
{
    if (*value == UNSAID)
        *value = otherwise;
    return *value == otherwise || (*value >= least && *value <= most);
}

bool request_question(const struct http_request *r, struct question *q)
{
    slice rest = r->head.query;
    slice value;
    slice name;
    *q = (struct question){.from = UNSAID, .to = UNSAID, .limit = UNSAID, .bytes = UNSAID, .wait_s = UNSAID};
    while (slice_split(&rest, '&', &value))
        if (!slice_split(&value, '=', &name) || !question_take(q, name, value))
            return false;
    return q->from <= JSON_INTEGER_MAX && settle(&q->to, q->from + 1, JSON_INTEGER_MAX, UINT64_MAX) &&
           settle(&q->limit, 1, READ_COUNT_MAX, READ_COUNT_DEFAULT) &&
           settle(&q->bytes, 1, READ_SIZE_MAX, READ_SIZE_DEFAULT) && settle(&q->wait_s, 0, WAIT_MS_MAX / 1000, 0);
}

/* ---- methods ---- */

static void push_header(lua_State *L, const struct http_head *head, slice name)
{
    for (size_t i = 0; i < head->header_count; i++)
        if (slice_ieq(head->headers[i].name, name)) {
            push_slice(L, head->headers[i].value);
            return;
        }
    lua_pushnil(L);
}

/* req:header(name...) -> value or nil, each; of a repeated one the first */
static int l_header(lua_State *L)
{
    const struct http_request *r = request_check(L, 1, HEADER);
    int names = lua_gettop(L);
    luaL_checkstack(L, names, HEADER);
    for (int i = 2; i <= names || i == 2; i++)
        push_header(L, &r->head, arg_text(L, i, "name", HEADER));
    return lua_gettop(L) - names;
}

/* Copies, because making tables may raise, and is followed by whatever else uses the scratch buffer. */
static void push_messages(lua_State *L, const struct draft *d)
{
    slice rest = d->append.messages;
    struct message m;
    lua_createtable(L, (int)d->append.count, 0);
    for (lua_Integer i = 1; message_read(&rest, &m) == 0; i++) {
        push_message(L, &m);
        lua_rawseti(L, -2, i);
    }
}

/* req:messages() -> list of messages | nil, message, code */
static int l_messages(lua_State *L)
{
    const struct http_request *r = request_check(L, 1, MESSAGES);
    struct draft d;
    draft_init(&d, vm_of(L));
    int rc = draft_encode_request(&d, r, body_of(r));
    if (rc == 0)
        push_messages(L, &d);
    vm_scratch_done(d.out);
    return rc < 0 ? push_fail_because(L, rc, "%s", d.why) : 1;
}

void request_open(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"header", l_header}, {"param", l_param}, {"messages", l_messages}, {"route", l_request_route},
        {"read", l_request_read}, {NULL, NULL}};
    kind_open(L, &(struct kind_options){KIND_REQUEST, NULL, methods, index_request, field_names});
    publish_open(L);
    lua_setfield(L, -2, "Request");
}
