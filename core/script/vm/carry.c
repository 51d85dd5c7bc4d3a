#include "script/vm/carry.h"

#include <stdbool.h>

#include "base/ensure.h"
#include "base/slice.h"

enum { SLOTS_PER_TABLE = 4 };         /* the table, its key and value, and one more to look at */

static void carry_value(lua_State *from, int index, lua_State *to, int depth);

static bool can_be_carried(lua_State *L, int index)
{
    int type = lua_type(L, index);
    return type == LUA_TBOOLEAN || type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TTABLE ||
           type == LUA_TLIGHTUSERDATA;
}

static void carry_table(lua_State *from, int index, lua_State *to, int depth)
{
    lua_newtable(to);
    for (lua_pushnil(from); lua_next(from, index); lua_pop(from, 1)) {
        if (!can_be_carried(from, -2) || lua_istable(from, -2) || !can_be_carried(from, -1))
            continue;
        carry_value(from, lua_gettop(from) - 1, to, depth);
        carry_value(from, lua_gettop(from), to, depth);
        lua_rawset(to, -3);
    }
}

static void carry_value(lua_State *from, int index, lua_State *to, int depth)
{
    slice text = {0};
    switch (lua_type(from, index)) {
    case LUA_TBOOLEAN:
        lua_pushboolean(to, lua_toboolean(from, index));
        return;
    case LUA_TNUMBER:
        if (lua_isinteger(from, index))
            lua_pushinteger(to, lua_tointeger(from, index));
        else
            lua_pushnumber(to, lua_tonumber(from, index));
        return;
    case LUA_TSTRING:
        text.p = lua_tolstring(from, index, &text.n);
        lua_pushlstring(to, text.p, text.n);
        return;
    case LUA_TLIGHTUSERDATA:          /* json.null */
        lua_pushlightuserdata(to, lua_touserdata(from, index));
        return;
    case LUA_TTABLE:
        if (depth < CARRY_DEPTH_MAX) {
            carry_table(from, index, to, depth + 1);
            return;
        }
        break;
    default:
        break;
    }
    lua_pushnil(to);
}

void carry(lua_State *from, int index, lua_State *to)
{
    ENSURE(lua_checkstack(from, SLOTS_PER_TABLE * CARRY_DEPTH_MAX));
    ENSURE(lua_checkstack(to, SLOTS_PER_TABLE * CARRY_DEPTH_MAX));
    carry_value(from, lua_absindex(from, index), to, 0);
}

void carry_top(lua_State *from, int n, lua_State *to)
{
    ENSURE(lua_checkstack(to, n));
    for (int i = lua_gettop(from) - n + 1; n > 0; i++, n--)
        carry(from, i, to);
}
