/*
 * core.profile and core.unfold: where the time of all scripts goes, and the variables that a function has kept.
 */
#include <lauxlib.h>

#include "base/err.h"
#include "script/bind/result.h"
#include "script/std/tables.h"
#include "script/vm/profile.h"
#include "script/vm/state.h"
#include "script/vm/vm.h"

enum { UPVALUES_MAX = 255 };

/* -> true | nil, message, code */
static int start(lua_State *L, struct budget *b)
{
    if (b->profile != NULL)
        return push_fail_because(L, -ERR_BUSY, "a profile is being taken");
    b->profile = profile_new();
    b->sampling = 1;
    lua_pushboolean(L, 1);
    return 1;
}

/* -> { [stack] = samples } | nil: none is being taken */
static int stop(lua_State *L, struct budget *b)
{
    if (b->profile == NULL)
        return 0;
    b->sampling = 0;
    profile_push(b->profile, L);
    profile_free(b->profile);
    b->profile = NULL;
    return 1;
}

/* core.profile(on): begins one, or ends it and returns it */
static int l_profile(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TBOOLEAN);
    return lua_toboolean(L, 1) ? start(L, vm_of(L)->budget) : stop(L, vm_of(L)->budget);
}

/* core.unfold(fn) -> { [name] = value } of its upvalues */
static int l_unfold(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    lua_newtable(L);
    for (int i = 1; i <= UPVALUES_MAX; i++) {
        const char *name = lua_getupvalue(L, 1, i);
        if (name == NULL)
            break;
        lua_setfield(L, 2, name);
    }
    return 1;
}

void profile_open(lua_State *L)
{
    lua_pushcfunction(L, l_profile);
    lua_setfield(L, -2, "profile");
    lua_pushcfunction(L, l_unfold);
    lua_setfield(L, -2, "unfold");
}
