#include "script/std/shared_table.h"

#include <lauxlib.h>
#include <string.h>

#include "base/limits.h"
#include "script/bind/arg.h"
#include "script/bind/object.h"

/*
 * One byte says what follows: 'b' a byte, 'i' an int64, 'n' a double, 's' a uint32 and so many bytes, '{' or '[' pairs
 * of values up to '}'. Numbers have the machine's order: the bytes never leave the process.
 */

static void encode(lua_State *L, int index, struct buf *out, const char *usage, int depth);

static void encode_table(lua_State *L, int index, struct buf *out, const char *usage, int depth)
{
    if (depth == DICT_DEPTH_MAX)
        arg_fail(L, usage, "value is deeper than %d tables, or contains itself", DICT_DEPTH_MAX);
    luaL_checkstack(L, 8, usage);
    int top = lua_gettop(L);
    bool list = lua_getmetatable(L, index) && kind_is_top(L, KIND_LIST);
    lua_settop(L, top);
    buf_add_char(out, list ? '[' : '{');
    for (lua_pushnil(L); lua_next(L, index); lua_settop(L, top + 1)) {
        if (lua_istable(L, top + 1))
            arg_fail(L, usage, "value has a table as a key");
        encode(L, top + 1, out, usage, depth + 1);
        encode(L, top + 2, out, usage, depth + 1);
    }
    buf_add_char(out, '}');
}

static void encode(lua_State *L, int index, struct buf *out, const char *usage, int depth)
{
    if (buf_size(out) > DICT_VALUE_MAX)
        arg_fail(L, usage, "value has more than %d bytes", DICT_VALUE_MAX);
    int type = lua_type(L, index);
    if (type == LUA_TBOOLEAN) {
        buf_add(out, (char[]){'b', (char)lua_toboolean(L, index)}, 2);
    } else if (type == LUA_TNUMBER && lua_isinteger(L, index)) {
        lua_Integer whole = lua_tointeger(L, index);
        buf_add_char(out, 'i');
        buf_add(out, &whole, sizeof(whole));
    } else if (type == LUA_TNUMBER) {
        lua_Number number = lua_tonumber(L, index);
        buf_add_char(out, 'n');
        buf_add(out, &number, sizeof(number));
    } else if (type == LUA_TSTRING) {
        size_t n;
        const char *text = lua_tolstring(L, index, &n);
        uint32_t size = (uint32_t)n;
        if (n > DICT_VALUE_MAX)
            arg_fail(L, usage, "value has more than %d bytes", DICT_VALUE_MAX);
        buf_add_char(out, 's');
        buf_add(out, &size, sizeof(size));
        buf_add(out, text, n);
    } else if (type == LUA_TTABLE) {
        encode_table(L, index, out, usage, depth);
    } else {
        arg_fail(L, usage, "value contains a %s; only strings, numbers, booleans and tables can be stored",
                 luaL_typename(L, index));
    }
}

void shared_table_encode(lua_State *L, int index, struct buf *out, const char *usage)
{
    int top = lua_gettop(L);
    encode(L, index, out, usage, 0);
    lua_settop(L, top);
}

static void take(const char **p, void *to, size_t n)
{
    memcpy(to, *p, n);
    *p += n;
}

static const char *push(lua_State *L, const char *p)
{
    lua_Integer whole;
    lua_Number number;
    uint32_t size;
    char tag = *p++;
    luaL_checkstack(L, 4, "shared.dict");
    switch (tag) {
    case 'b':
        lua_pushboolean(L, *p++);
        break;
    case 'i':
        take(&p, &whole, sizeof(whole));
        lua_pushinteger(L, whole);
        break;
    case 'n':
        take(&p, &number, sizeof(number));
        lua_pushnumber(L, number);
        break;
    case 's':
        take(&p, &size, sizeof(size));
        lua_pushlstring(L, p, size);
        p += size;
        break;
    default:
        lua_newtable(L);
        if (tag == '[')
            kind_set(L, lua_gettop(L), KIND_LIST);
        while (*p != '}') {
            p = push(L, p);
            p = push(L, p);
            lua_rawset(L, -3);
        }
        p++;
    }
    return p;
}

void shared_table_push(lua_State *L, slice bytes)
{
    push(L, bytes.p);
}
