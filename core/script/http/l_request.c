/*
 * Requests as scripts see them: fields are read from the head where it lies; tables are made when first asked for.
 */
#include <errno.h>
#include <lauxlib.h>
#include <string.h>

#include "base/json_read.h"
#include "base/mem.h"
#include "net/vouch.h"
#include "script/bind/arg.h"
#include "script/bind/object.h"
#include "script/bind/result.h"
#include "script/http/request.h"
#include "script/http/tables.h"
#include "script/message/request_body.h"

#define HEADER "req:header(name...)"
#define PARAM "req:param(name)"
#define MESSAGES "req:messages()"
#define STRINGS "req:strings(name...)"

enum { STRINGS_MAX = 16 * KIB };          /* a longer body takes too long for one go */

/* ---- fields ---- */

static int push_slice(lua_State *L, slice s)
{
    lua_pushlstring(L, s.p, s.n);
    return 1;
}

static int push_optional(lua_State *L, slice s)
{
    if (s.p == NULL)
        lua_pushnil(L);
    else
        push_slice(L, s);
    return 1;
}

/* The path and the query, not decoded. */
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
    char text[HTTP_TARGET_MAX] UNINIT;
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

/* Names in lower case; the values of a repeated one are joined with ", ". */
static void make_headers(lua_State *L, const struct http_request *r)
{
    lua_createtable(L, 0, (int)r->head.header_count);
    for (size_t i = 0; i < r->head.header_count; i++) {
        const struct http_header *h = &r->head.headers[i];
        luaL_Buffer b;
        char *to = luaL_buffinitsize(L, &b, h->name.n);
        for (size_t k = 0; k < h->name.n; k++) {
            char c = h->name.p[k];
            to[k] = c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
        }
        luaL_pushresultsize(&b, h->name.n);
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

/* Pushes a user value, which `make` makes at the first time. */
static int push_made(lua_State *L, int value, void (*make)(lua_State *L, const struct http_request *r))
{
    if (lua_getiuservalue(L, 1, value) != LUA_TNIL)
        return 1;
    make(L, request_at(L, 1));
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, value);
    return 1;
}

static void make_params(lua_State *L, const struct http_request *r)
{
    (void)r;
    push_params(L, &request_exchange(L, 1)->params);
}

enum field {
    FIELD_PATH = 1, FIELD_TARGET, FIELD_METHOD, FIELD_PARAMS, FIELD_QUERY, FIELD_HEADERS, FIELD_BODY, FIELD_PEER,
    FIELD_ROUTE, FIELD_PRODUCER, FIELD_USER, FIELD_TOKEN, FIELD_TOPIC, FIELD_ACTION,
    FIELD_SECURE,
};
static const char *const field_names[] = {
    "path", "target", "method", "params", "query", "headers", "body", "peer",
    "route", "producer", "user", "token", "topic", "action", "secure", NULL,
};

/* Pushes what the route or authorize has said of the request, or nil. */
static int push_fact(lua_State *L, const char *name)
{
    if (lua_getiuservalue(L, 1, REQUEST_FACTS) == LUA_TTABLE)
        lua_getfield(L, -1, name);
    return 1;
}

static struct vouched vouched_of(const struct http_request *r)
{
    return (struct vouched){.method = r->head.method, .path = r->head.path, .query = r->head.query, .user = r->user};
}

/* Pushes the name in the client's certificate, or nil. A node that forwards a request vouches for it. */
static int push_certified(lua_State *L, const struct http_request *r)
{
    char user[VOUCHED_MAX];
    struct vouched request = vouched_of(r);
    slice text = http_head_join(&r->head, SLICE("Lignum-User"), vm_scratch(vm_of(L)));
    const struct voucher *v = vm_services(L)->voucher;
    int n = text.p == NULL || v == NULL ? -EINVAL : vouch_read(v, &request, text, user);
    return push_optional(L, n > 0 ? slice_of(user, (size_t)n) : r->user);
}

static int push_field(lua_State *L, enum field field)
{
    char text[HTTP_TARGET_MAX] UNINIT;
    switch (field) {
    case FIELD_PATH:
        return push_slice(L, request_path(request_at(L, 1), text));
    case FIELD_TARGET:
        return push_target(L, &request_at(L, 1)->head);
    case FIELD_METHOD:
        return push_slice(L, request_at(L, 1)->head.method);
    case FIELD_PARAMS:
        return push_made(L, REQUEST_PARAMS, make_params);
    case FIELD_QUERY:
        return push_made(L, REQUEST_QUERY, make_query);
    case FIELD_HEADERS:
        return push_made(L, REQUEST_HEADERS, make_headers);
    case FIELD_BODY:
        return push_made(L, REQUEST_BODY, make_body);
    case FIELD_PEER:
        return push_slice(L, request_at(L, 1)->peer);
    case FIELD_ROUTE:
        request_at(L, 1);             /* raises once it is answered */
        lua_pushstring(L, request_exchange(L, 1)->pattern);
        return 1;
    case FIELD_PRODUCER:
        return push_optional(L, http_head_join(&request_at(L, 1)->head, SLICE("Producer-Id"), vm_scratch(vm_of(L))));
    case FIELD_USER:
        if (push_fact(L, "user") == 1 && !lua_isnil(L, -1))
            return 1;
        return push_certified(L, request_at(L, 1));
    case FIELD_SECURE:
        lua_pushboolean(L, request_at(L, 1)->secure);
        return 1;
    case FIELD_TOKEN:
    case FIELD_TOPIC:
    case FIELD_ACTION:
        return push_fact(L, field_names[field - 1]);
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

/* req:param(name) -> value or nil.  From the table of params once a script has asked for it, for it may have changed
 * the table. */
static int l_param(lua_State *L)
{
    request_check(L, 1, PARAM);
    slice name = arg_text(L, 2, "name", PARAM);
    const struct params *p = &request_exchange(L, 1)->params;
    if (lua_getiuservalue(L, 1, REQUEST_PARAMS) == LUA_TTABLE) {
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

/* ---- methods ---- */

/* req:header(name...) -> value or nil, each; of several lines the list of their values */
static int l_header(lua_State *L)
{
    const struct http_request *r = request_check(L, 1, HEADER);
    int names = lua_gettop(L);
    luaL_checkstack(L, names, HEADER);
    for (int i = 2; i <= names || i == 2; i++) {
        slice name = arg_text(L, i, "name", HEADER);
        slice value = http_head_join(&r->head, name, vm_scratch(vm_of(L)));
        if (value.p != NULL)
            push_slice(L, value);
        else
            lua_pushnil(L);
    }
    return lua_gettop(L) - names;
}

/* req:know(facts): sets user, token, topic and action */
static int l_know(lua_State *L)
{
    request_check(L, 1, "req:know(facts)");
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    lua_setiuservalue(L, 1, REQUEST_FACTS);
    return 0;
}

/* req:vouch() -> text or nil: what tells the leader the name in the client's certificate */
static int l_vouch(lua_State *L)
{
    const struct http_request *r = request_check(L, 1, "req:vouch()");
    const struct voucher *v = vm_services(L)->voucher;
    if (v == NULL || !v->set || r->user.n == 0)
        return push_optional(L, (slice){0});
    struct buf *text = vm_scratch(vm_of(L));
    struct vouched request = vouched_of(r);
    vouch(v, &request, text);
    push_slice(L, buf_slice(text));
    vm_scratch_done(text);
    return 1;
}

/* req:messages() -> list of messages | nil, message, code */
static int l_messages(lua_State *L)
{
    const struct http_request *r = request_check(L, 1, MESSAGES);
    struct draft d;
    draft_init(&d, vm_of(L));
    int rc = draft_encode_body(&d, r, body_of(r));
    if (rc == 0) {
        slice rest = d.append.messages;
        struct message m;
        lua_createtable(L, (int)d.append.count, 0);
        for (lua_Integer i = 1; message_read(&rest, &m) == 0; i++) {
            push_message(L, &m);
            lua_rawseti(L, -2, i);
        }
    }
    draft_done(&d);
    return rc < 0 ? push_draft_fail(L, &d, rc) : 1;
}

/* The index of the name among the arguments that `member` is; 0: it is none, or its value has been found. */
static int string_wanted(lua_State *L, int names, slice member)
{
    for (int i = 2; i < 2 + names; i++) {
        slice name;
        name.p = lua_tolstring(L, i, &name.n);
        if (slice_eq(name, member))
            return lua_isnil(L, i + names) ? i : 0;
    }
    return 0;
}

/* Puts each value behind the names, in their order. Is the text an object that has these members, all of them strings,
 * and no others? */
static bool take_strings(lua_State *L, int names, slice text, struct buf *scratch)
{
    struct json_reader r = {.text = text};
    int found = 0;
    if (json_next(&r, scratch) != JSON_OPEN_OBJECT)
        return false;
    while (json_next(&r, scratch) == JSON_MEMBER) {
        int name = string_wanted(L, names, r.string);
        if (name == 0 || json_next(&r, scratch) != JSON_STRING)
            return false;
        push_slice(L, r.string);
        lua_replace(L, name + names);
        found++;
    }
    return found == names && r.error == 0 && json_next(&r, scratch) == JSON_END;
}

/* req:strings(name...) -> string, each; nothing: the body is something else, or long */
static int l_strings(lua_State *L)
{
    const struct http_request *r = request_check(L, 1, STRINGS);
    int names = lua_gettop(L) - 1;
    luaL_checkstack(L, names + 1, STRINGS);
    for (int i = 2; i < 2 + names; i++)
        arg_text(L, i, "name", STRINGS);
    if (r->body.n > STRINGS_MAX)
        return 0;
    lua_settop(L, 1 + 2 * names);
    struct buf *scratch = vm_scratch(vm_of(L));
    bool good = take_strings(L, names, r->body, scratch);
    vm_scratch_done(scratch);
    return good ? names : 0;
}

/* The room above adds publish and read. */
void request_open(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"header", l_header}, {"param", l_param}, {"messages", l_messages}, {"know", l_know},
        {"vouch", l_vouch}, {"strings", l_strings},
        {NULL, NULL}};
    kind_open(L, &(struct kind_options){KIND_REQUEST, NULL, methods, index_request, field_names});
    lua_setfield(L, -2, "Request");
}
