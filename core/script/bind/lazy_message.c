#include "script/bind/lazy_message.h"

#include <lauxlib.h>

#include "script/bind/object.h"

/* Headers that the hook has set are kept. */
static void complete(lua_State *L, int index)
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

/* Not only for the message itself: a hook may have copied its metatable to another table. */
static int index_message(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    complete(L, 1);
    lua_pushvalue(L, 2);
    lua_rawget(L, 1);
    return 1;
}

/* Upvalue: next. */
static int pairs_message(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    complete(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, 1);
    return 2;
}

void lazy_message_metatable(lua_State *L)
{
    lua_createtable(L, 0, 2);
    lua_pushcfunction(L, index_message);
    lua_setfield(L, -2, "__index");
    lua_getglobal(L, "next");
    lua_pushcclosure(L, pairs_message, 1);
    lua_setfield(L, -2, "__pairs");
    kind_keep(L, KIND_MESSAGE);
}

void lazy_message_complete(lua_State *L, int index)
{
    if (!lua_getmetatable(L, index))
        return;
    bool lazy = kind_is_top(L, KIND_MESSAGE);
    lua_pop(L, 1);
    if (lazy)
        complete(L, index);
}
