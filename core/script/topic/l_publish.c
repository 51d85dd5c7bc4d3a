/*
 * req:publish, the way of most messages: what the core understands as it came is appended as it came, in one call.
 *
 * So is a message that on_publish has seen and left as it is; nothing is encoded from Lua's tables then. Most hooks
 * look at a payload, and most messages are nothing else.
 */
#include "base/err.h"
#include "script/bind/arg.h"
#include "script/bind/bind.h"
#include "script/http/request.h"
#include "script/topic/append.h"
#include "script/topic/topic_handle.h"

#define PUBLISH "req:publish(topic [, hook])"

enum { REQUEST = 1, TOPIC, HOOK, BODY, MESSAGE, REFUSAL };

/* Upvalues: the names of a message's fields, which are then not looked for among all strings, message by message; and
 * the metatable of a message whose headers are yet to be made. */
enum { PAYLOAD = 1, HEADERS, TO, KEY, BARE, UPVALUES = BARE };

/* ---- showing a message ----
 *
 * A hook may count on a table of headers. It is made when the hook first asks for it, or for anything else that the
 * message does not have, looks through it or gives it a metatable; from then on the message is a table like any other.
 */

static void set(lua_State *L, int name, int value)
{
    lua_pushvalue(L, lua_upvalueindex(name));
    lua_pushvalue(L, value);
    lua_rawset(L, MESSAGE);
}

static void push_bare(lua_State *L)
{
    lua_createtable(L, 0, 2);
    set(L, PAYLOAD, BODY);
    set(L, TO, TOPIC);
    lua_pushvalue(L, lua_upvalueindex(BARE));
    lua_setmetatable(L, MESSAGE);
}

/* Headers that the hook has set stay. */
static void make_whole(lua_State *L, int index)
{
    lua_pushnil(L);
    lua_setmetatable(L, index);
    lua_pushliteral(L, "headers");
    if (lua_rawget(L, index) == LUA_TNIL) {
        lua_pushliteral(L, "headers");
        lua_newtable(L);
        lua_rawset(L, index);
    }
    lua_pop(L, 1);
}

void message_make_whole(lua_State *L, int index)
{
    if (!lua_getmetatable(L, index))
        return;
    bool bare = lua_topointer(L, -1) == vm_of_thread(L)->kind[KIND_MESSAGE];
    lua_pop(L, 1);
    if (bare)
        make_whole(L, index);
}

/* A hook's copy of the message may have a copy of its metatable. */
static int index_bare(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    make_whole(L, 1);
    lua_pushvalue(L, 2);
    lua_rawget(L, 1);
    return 1;
}

/* Upvalue: next. */
static int pairs_bare(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    make_whole(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, 1);
    return 2;
}

/* ---- what the hook has made of it ---- */

static int get(lua_State *L, int name)
{
    lua_pushvalue(L, lua_upvalueindex(name));
    return lua_rawget(L, MESSAGE);
}

static bool has_still(lua_State *L, int name, int value)
{
    get(L, name);
    return lua_rawequal(L, -1, value);
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
static bool is_untouched(lua_State *L)
{
    return lua_isnil(L, REFUSAL) && has_still(L, PAYLOAD, BODY) && has_still(L, TO, TOPIC) &&
           get(L, KEY) == LUA_TNIL && has_no_headers(L);
}

/* ---- publishing ---- */

static slice topic_name(lua_State *L)
{
    slice name;
    name.p = lua_tolstring(L, TOPIC, &name.n);
    return name;
}

/* Below rc lie the first offset, the count and the epoch. The context says whether the request asked for peers. */
static int published(lua_State *L, int status, lua_KContext context)
{
    struct receipt receipt = {.peers = context != 0};
    int results = appended(L, status, 0);
    if (lua_isnil(L, -results))
        return results;
    receipt.first = (uint64_t)lua_tointeger(L, -3);
    receipt.count = (uint64_t)lua_tointeger(L, -2);
    receipt.epoch = (uint64_t)lua_tointeger(L, -1);
    struct topic *t;
    slice name = topic_name(L);
    int rc = name_find(L, name, &t);
    return rc < 0 ? name_fail(L, name, rc) : push_receipt(L, t, &receipt);
}

static int publish(lua_State *L, struct task *self, const struct http_request *r, enum body body)
{
    struct draft d;
    struct topic *t;
    slice name = topic_name(L);
    if (slice_starts(name, SLICE("_")))
        return push_fail_because(L, -ERR_FORBIDDEN, "topics that begin with _ are the broker's own");
    int rc = name_find(L, name, &t);
    if (rc < 0)
        return name_fail(L, name, rc);
    draft_init(&d, vm_of(L));
    rc = draft_take_request(&d, r, body);
    return append(L, self, rc, &(struct appending){.topic = t, .draft = &d, .peers = d.ack_peers, .done = published});
}

static int not_published(lua_State *L)
{
    lua_pushboolean(L, 0);
    lua_pushvalue(L, MESSAGE);
    lua_pushvalue(L, REFUSAL);
    return 3;
}

/* A script may publish a request that is another task's, or in a coroutine that the hook leaves: then it may have been
 * answered meanwhile, and the task may be another one. */
static int shown(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    if (!is_untouched(L))
        return not_published(L);
    struct task *self = task_self(L);
    task_hook(self, NULL);
    return publish(L, self, request_check(L, REQUEST, PUBLISH), BODY_PAYLOAD);
}

static int show(lua_State *L, struct task *self, const struct http_request *r)
{
    lua_pushlstring(L, r->body.p, r->body.n);
    push_bare(L);
    task_hook(self, "on_publish");
    lua_pushvalue(L, HOOK);
    lua_pushvalue(L, MESSAGE);
    lua_callk(L, 1, 1, 0, shown);
    return shown(L, LUA_OK, 0);
}

/* req:publish(topic [, hook]) -> receipt | nil, message, code | false [, message, refusal].  Waits for the
 * acknowledging mark. */
static int l_publish(lua_State *L)
{
    const struct http_request *r = request_check(L, REQUEST, PUBLISH);
    arg_text(L, TOPIC, "topic", PUBLISH);
    struct task *self = task_self(L);
    enum body body = body_of(r);
    bool hooked = !lua_isnoneornil(L, HOOK);
    if (hooked)
        luaL_checktype(L, HOOK, LUA_TFUNCTION);
    lua_settop(L, HOOK);
    if (hooked && body == BODY_PAYLOAD && r->body.n <= PAYLOAD_SIZE_MAX)
        return show(L, self, r);
    if (!hooked && body != BODY_OTHER)
        return publish(L, self, r, body);
    lua_pushboolean(L, 0);
    return 1;
}

/* ---- opening ---- */

static void push_metatable(lua_State *L)
{
    lua_createtable(L, 0, 2);
    lua_pushcfunction(L, index_bare);
    lua_setfield(L, -2, "__index");
    lua_getglobal(L, "next");
    lua_pushcclosure(L, pairs_bare, 1);
    lua_setfield(L, -2, "__pairs");
    vm_of(L)->kind[KIND_MESSAGE] = lua_topointer(L, -1);
}

void publish_open(lua_State *L)
{
    lua_pushliteral(L, "payload");
    lua_pushliteral(L, "headers");
    lua_pushliteral(L, "topic");
    lua_pushliteral(L, "key");
    push_metatable(L);
    lua_pushcclosure(L, l_publish, UPVALUES);
    lua_setfield(L, -2, "publish");
}
