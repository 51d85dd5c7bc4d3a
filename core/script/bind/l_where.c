/*
 * core.where and core.caller: which hook, and which line, an error names.
 */
#include <lauxlib.h>

#include "script/bind/tables.h"
#include "script/vm/task.h"

/* core.where(hook): from now on the message of a failing task begins with this hook; nil: with the task again. */
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

void where_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"where", l_where}, {"caller", l_caller}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
