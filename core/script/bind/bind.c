#include "script/bind/bind.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/err.h"
#include "script/bind/arg.h"
#include "script/http/request.h"
#include "script/vm/task.h"

/* ---- objects ---- */

static void push_fields(lua_State *L, const char *const *fields)
{
    lua_newtable(L);
    for (lua_Integer i = 0; fields != NULL && fields[i] != NULL; i++) {
        lua_pushinteger(L, i + 1);
        lua_setfield(L, -2, fields[i]);
    }
}

void kind_open(lua_State *L, const struct kind_options *o)
{
    struct vm *vm = vm_of(L);
    lua_newtable(L);
    if (o->methods != NULL)
        luaL_setfuncs(L, o->methods, 0);
    lua_newtable(L);
    if (o->meta != NULL)
        luaL_setfuncs(L, o->meta, 0);
    lua_pushvalue(L, -2);
    if (o->index != NULL) {
        push_fields(L, o->fields);
        lua_pushcclosure(L, o->index, 2);
    }
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    vm->kind[o->kind] = lua_topointer(L, -1);
    vm->kind_ref[o->kind] = luaL_ref(L, LUA_REGISTRYINDEX);
}

void *object_new(lua_State *L, enum kind kind, size_t size, int user_values)
{
    void *object = lua_newuserdatauv(L, size, user_values);
    memset(object, 0, size);
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm_of_thread(L)->kind_ref[kind]);
    lua_setmetatable(L, -2);
    return object;
}

/* ---- failures ---- */

int push_fail(lua_State *L, int rc)
{
    lua_pushnil(L);
    lua_pushstring(L, err_sentence(rc));
    lua_pushstring(L, err_name(rc));
    return 3;
}

int push_fail_because(lua_State *L, int rc, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    lua_pushnil(L);
    lua_pushstring(L, text);
    lua_pushstring(L, err_name(rc));
    return 3;
}

/* ---- what belongs to no noun ---- */

/* core.where(name): from now on this hook is named when the task fails; nil ends that. */
static int l_where(lua_State *L)
{
    static const char *const hooks[] = {
        "on_publish", "authorize", "may_lead", "on_leader_change", "ship", "replication", NULL,
    };
    struct task *t = task_self(L);
    task_hook(t, lua_isnoneornil(L, 1) ? NULL : hooks[luaL_checkoption(L, 1, NULL, hooks)]);
    return 0;
}

/* core.caller(level) -> "lignum.lua:12" */
static int l_caller(lua_State *L)
{
    size_t n;
    luaL_where(L, (int)luaL_checkinteger(L, 1));
    const char *place = lua_tolstring(L, -1, &n);
    lua_pushlstring(L, place, n >= 2 ? n - 2 : 0);
    return 1;
}

/* core.route("POST /v1/topics/{topic}/messages") -> number, the id of a route */
static int l_route(lua_State *L)
{
    slice pattern = arg_text(L, 1, "pattern", "core.route(pattern)");
    lua_pushinteger(L, vm_route(vm_of(L), pattern));
    return 1;
}

static void push_errors(lua_State *L)
{
    lua_newtable(L);
    for (int code = ERR_NONE + 1; code < ERR_END; code++) {
        lua_createtable(L, 0, 3);
        lua_pushinteger(L, err_status(-code));
        lua_setfield(L, -2, "status");
        lua_pushstring(L, err_sentence(-code));
        lua_setfield(L, -2, "sentence");
        lua_pushboolean(L, err_retryable(-code));
        lua_setfield(L, -2, "retryable");
        lua_setfield(L, -2, err_name(-code));
    }
}

int wait_is_over(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    int rc = (int)lua_tointeger(L, -1);
    if (rc < 0)
        return push_fail(L, rc);
    lua_pushboolean(L, 1);
    return 1;
}

int core_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"where", l_where}, {"caller", l_caller}, {"route", l_route}, {NULL, NULL}};
    luaL_newlib(L, functions);
    topic_open(L);
    batch_open(L);
    request_open(L);
    route_open(L);
    node_open(L);
    time_open(L);
    say_open(L);
    json_open(L);
    fetch_open(L);
    cluster_open(L);
    push_errors(L);
    lua_setfield(L, -2, "errors");
    limits_open(L);
    lua_getfield(L, LUA_REGISTRYINDEX, "lignum.unsafe");
    lua_setfield(L, -2, "unsafe");
    lua_pushliteral(L, LIGNUM_VERSION);
    lua_setfield(L, -2, "version");
    return 1;
}
