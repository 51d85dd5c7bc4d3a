/*
 * json: encode, decode, split, array and null.
 */
#include <lauxlib.h>

#include "base/limits.h"
#include "script/bind/arg.h"
#include "script/bind/json_decode.h"
#include "script/bind/json_encode.h"
#include "script/bind/json_split.h"
#include "script/bind/object.h"
#include "script/bind/tables.h"
#include "script/vm/vm.h"

#define DECODE "json.decode(text [, values])"
#define SPLIT "json.split(text)"
#define ARRAY "json.array(list)"

/* json.encode(value) -> string */
static int l_encode(lua_State *L)
{
    struct buf *out = vm_scratch(vm_of(L));
    luaL_checkany(L, 1);
    json_encode(L, 1, out);
    lua_pushlstring(L, out->data, buf_size(out));
    vm_scratch_done(out);
    return 1;
}

/* json.decode(text [, values]) -> value | nil, message, code, {limit =} | nil */
static int l_decode(lua_State *L)
{
    arg_text(L, 1, "text", DECODE);
    lua_Integer most = luaL_optinteger(L, 2, JSON_VALUES_MAX);
    if (most < 1 || most > JSON_VALUES_MAX)
        return arg_fail(L, DECODE, "values must be from 1 to %d", JSON_VALUES_MAX);
    return json_decode(L, (uint32_t)most);
}

/* json.split(text) -> {text...} | nil, message, code, {limit =} | nil */
static int l_split(lua_State *L)
{
    arg_text(L, 1, "text", SPLIT);
    return json_split(L);
}

/* json.array(list) -> list, marked */
static int l_array(lua_State *L)
{
    if (!lua_istable(L, 1))
        return arg_fail(L, ARRAY, "list must be a table, not %s", luaL_typename(L, 1));
    lua_settop(L, 1);
    kind_set(L, 1, KIND_LIST);
    return 1;
}

/* json.is_array(value) -> boolean */
static int l_is_array(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_settop(L, 1);
    lua_pushboolean(L, lua_istable(L, 1) && json_is_list(L));
    return 1;
}

void json_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"encode", l_encode}, {"decode", l_decode}, {"split", l_split}, {"array", l_array}, {"is_array", l_is_array},
        {NULL, NULL}};
    kind_open(L, &(struct kind_options){KIND_LIST, NULL, NULL, NULL, NULL});
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    lua_setfield(L, -2, "json");
}
