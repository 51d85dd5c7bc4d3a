/*
 * core.where and core.caller: which hook, and which line, an error names. core.hook, core.refuse and core.refusal: what
 * the running hook is, and has refused. core.operator_code: whose code runs.
 */
#include <lauxlib.h>

#include "base/limits.h"
#include "script/bind/tables.h"
#include "script/vm/task.h"
#include "script/vm/vm.h"

/* core.where(hook): from now on the message of a failing task begins with this hook; nil: with the task again. Without
 * an answer of authorize the request cannot go on, so it has to come in time. */
static int l_where(lua_State *L)
{
    enum { ON_PUBLISH, AUTHORIZE };
    static const char *const hooks[] = {
        "on_publish", "authorize", "may_lead", "on_leader_change", "ship", "replication", "filter", "on_retry",
        "on_published", NULL,
    };
    struct task *t = task_self(L);
    int hook = lua_isnoneornil(L, 1) ? -1 : luaL_checkoption(L, 1, NULL, hooks);
    if (hook == ON_PUBLISH)
        memory_check(vm_memory(vm_of(L)), L);
    task_hook(t, hook < 0 ? NULL : hooks[hook]);
    if (hook == AUTHORIZE)
        task_hook_within(t, POLICY_MS);
    return 0;
}

/* core.operator_code(closed): from now on the task runs the operator's code, which gives way; closed: without the
 * reserve of memory. */
static int l_operator_code(lua_State *L)
{
    bool closed = lua_toboolean(L, 1);
    struct task *t = task_self(L);
    if (closed)
        memory_check(vm_memory(vm_of(L)), L);
    task_operator_code(t, closed);
    return 0;
}

/* core.hook() -> the name of the hook that runs in this task, or nil */
static int l_hook(lua_State *L)
{
    const struct task *t = task_running(L);
    lua_pushstring(L, t == NULL ? NULL : task_hook_of(t));
    return 1;
}

/* In the registry: by task, what its hook has refused last. A task's struct is used again, so the table stays small. */
static const char refusals;

/* core.refuse(refusal): keeps it for the hook that runs, whose script may forget to return it */
static int l_refuse(lua_State *L)
{
    struct task *t = task_running(L);
    luaL_checkany(L, 1);
    if (t == NULL || task_hook_of(t) == NULL)
        return 0;
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &refusals) == LUA_TNIL) {
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &refusals);
    }
    lua_pushvalue(L, 1);
    lua_rawsetp(L, -2, t);
    *task_refused(t) = true;
    return 0;
}

/* core.refusal() -> what the hook that runs has refused, or nil */
static int l_refusal(lua_State *L)
{
    struct task *t = task_running(L);
    if (t == NULL || !*task_refused(t))
        return 0;
    *task_refused(t) = false;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &refusals);
    lua_rawgetp(L, -1, t);
    lua_pushnil(L);
    lua_rawsetp(L, -3, t);
    return 1;
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

void where_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"where", l_where}, {"caller", l_caller}, {"hook", l_hook}, {"operator_code", l_operator_code},
        {"refuse", l_refuse}, {"refusal", l_refusal}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
