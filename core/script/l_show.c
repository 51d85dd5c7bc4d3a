/*
 * req:show, for on_publish: most messages are a payload and nothing else, and most hooks look at one and leave it as it
 * is. Then the request itself is appended, as without a hook, and nothing is encoded from Lua's tables.
 */
#include "script/arg.h"
#include "script/bind.h"
#include "script/encode.h"
#include "script/request.h"

#define SHOW "req:show(name, hook, topic)"

enum { REQUEST = 1, NAME, HOOK, TOPIC, MESSAGE, REFUSAL };

/* Upvalues: the names of a message's fields, which are then not looked for among all strings, message by message. */
enum { PAYLOAD = 1, HEADERS, TO, KEY, NAMES = KEY };

static int get(lua_State *L, int name)
{
    lua_pushvalue(L, lua_upvalueindex(name));
    return lua_rawget(L, MESSAGE);
}

static void push_bare(lua_State *L, slice payload)
{
    lua_createtable(L, 0, NAMES);
    lua_pushvalue(L, lua_upvalueindex(PAYLOAD));
    lua_pushlstring(L, payload.p, payload.n);
    lua_rawset(L, MESSAGE);
    lua_pushvalue(L, lua_upvalueindex(HEADERS));
    lua_newtable(L);
    lua_rawset(L, MESSAGE);
    lua_pushvalue(L, lua_upvalueindex(TO));
    lua_pushvalue(L, TOPIC);
    lua_rawset(L, MESSAGE);
}

static bool has_payload(lua_State *L, slice want)
{
    slice is = {0};
    if (get(L, PAYLOAD) == LUA_TSTRING)
        is.p = lua_tolstring(L, -1, &is.n);
    return is.p != NULL && slice_eq(is, want);
}

static bool has_no_headers(lua_State *L)
{
    if (get(L, HEADERS) == LUA_TNIL)
        return true;
    if (!lua_istable(L, -1))
        return false;
    lua_pushnil(L);
    return lua_next(L, -2) == 0;
}

/* Is the message still what the request carries, on its way to the same topic? */
static bool is_untouched(lua_State *L, const struct http_request *r)
{
    bool same = lua_isnil(L, REFUSAL) && !lua_getmetatable(L, MESSAGE) && has_payload(L, r->body) && has_no_headers(L);
    same = same && get(L, KEY) == LUA_TNIL;
    get(L, TO);
    return same && lua_rawequal(L, -1, TOPIC);
}

static int shown(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    bool same = is_untouched(L, request_check(L, REQUEST, SHOW));
    if (same)
        task_hook(task_self(L), NULL);
    lua_settop(L, REFUSAL);
    lua_pushboolean(L, same);
    lua_insert(L, MESSAGE);
    return 3;
}

/* req:show(name, hook, topic) -> same, message, refusal | nil.  Nothing for what is more than a payload. */
static int l_show(lua_State *L)
{
    const struct http_request *r = request_check(L, REQUEST, SHOW);
    slice name = arg_text(L, NAME, "name", SHOW);
    luaL_checktype(L, HOOK, LUA_TFUNCTION);
    arg_text(L, TOPIC, "topic", SHOW);
    lua_settop(L, TOPIC);
    if (!request_is_bare(r))
        return 0;
    push_bare(L, r->body);
    task_hook(task_self(L), name.p);
    lua_pushvalue(L, HOOK);
    lua_pushvalue(L, MESSAGE);
    lua_callk(L, 1, 1, 0, shown);
    return shown(L, LUA_OK, 0);
}

void show_open(lua_State *L)
{
    lua_pushliteral(L, "payload");
    lua_pushliteral(L, "headers");
    lua_pushliteral(L, "topic");
    lua_pushliteral(L, "key");
    lua_pushcclosure(L, l_show, NAMES);
    lua_setfield(L, -2, "show");
}
