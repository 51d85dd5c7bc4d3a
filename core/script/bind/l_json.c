/*
 * json: encode is json_encode.h, decode is lua-cjson, strict, with whole numbers made integers.
 */
#include <lauxlib.h>
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "base/limits.h"
#include "script/bind/arg.h"
#include "script/bind/json_encode.h"
#include "script/bind/object.h"
#include "script/bind/tables.h"
#include "script/vm/vm.h"

#define DECODE "json.decode(text)"
#define ARRAY "json.array(list)"

int luaopen_cjson_safe(lua_State *L);   /* Debian's header does not declare it */

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

/* ---- decoding ---- */

/* cjson makes every number a float. */
static bool is_whole(double v)
{
    return fabs(v) <= (double)JSON_INTEGER_MAX && v == floor(v);
}

/* Makes the whole numbers in the table on top integers. cjson has bounded the depth. */
static void make_integers(lua_State *L)
{
    luaL_checkstack(L, 8, "json");
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        int type = lua_type(L, -1);
        if (type == LUA_TTABLE) {
            make_integers(L);
        } else if (type == LUA_TNUMBER && is_whole(lua_tonumber(L, -1))) {
            lua_pushvalue(L, -2);
            lua_pushinteger(L, (lua_Integer)lua_tonumber(L, -2));
            lua_rawset(L, -5);
        }
    }
}

static int fail_decode(lua_State *L, const char *why)
{
    lua_pushnil(L);
    lua_pushstring(L, why);
    lua_pushstring(L, err_name(-ERR_BAD_JSON));
    return 3;
}

/* Eight bytes at a time: subtracting 0x20 sets the highest bit of each byte below it. A borrow from the byte below may
 * set it, too, but only if that byte is a control character itself. */
static bool has_control(slice text)
{
    const char *p = text.p;
    size_t left = text.n;
    for (; left >= 8; left -= 8, p += 8) {
        uint64_t v;
        memcpy(&v, p, sizeof(v));
        if (((v - UINT64_C(0x2020202020202020)) & ~v & UINT64_C(0x8080808080808080)) != 0)
            return true;
    }
    for (; left > 0; left--, p++)
        if ((unsigned char)*p < 0x20)
            return true;
    return false;
}

/* RFC 8259 requires control characters in strings to be escaped, which lua-cjson does not check. A text on one line has
 * none, so the first look usually decides. */
static bool has_bare_control(slice text)
{
    bool quoted = false;
    if (!has_control(text))
        return false;
    for (size_t i = 0; i < text.n; i++) {
        if (quoted && (unsigned char)text.p[i] < 0x20)
            return true;
        if (quoted && text.p[i] == '\\')
            i++;
        else if (text.p[i] == '"')
            quoted = !quoted;
    }
    return false;
}

/* json.decode(text) -> value | nil, message, code */
static int l_decode(lua_State *L)
{
    slice text = arg_text(L, 1, "text", DECODE);
    if (!utf8_valid(text))
        return fail_decode(L, "the text is not UTF-8");
    if (has_bare_control(text))
        return fail_decode(L, "a string holds a control character that is not escaped");
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, 1);
    lua_call(L, 1, 2);
    if (lua_isnil(L, -2))
        return fail_decode(L, lua_tostring(L, -1));
    lua_pop(L, 1);
    if (lua_istable(L, -1))
        make_integers(L);
    else if (lua_type(L, -1) == LUA_TNUMBER && is_whole(lua_tonumber(L, -1)))
        lua_pushinteger(L, (lua_Integer)lua_tonumber(L, -1));
    return 1;
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

/* Pushes cjson's decoder, strict: no nan, inf or hexadecimal numbers, and a bounded depth. */
static void push_decoder(lua_State *L)
{
    lua_pushcfunction(L, luaopen_cjson_safe);
    lua_call(L, 0, 1);
    lua_getfield(L, -1, "decode_invalid_numbers");
    lua_pushboolean(L, 0);
    lua_call(L, 1, 0);
    lua_getfield(L, -1, "decode_max_depth");
    lua_pushinteger(L, JSON_DEPTH_MAX);
    lua_call(L, 1, 0);
    lua_getfield(L, -1, "decode");
    lua_remove(L, -2);
}

void json_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"encode", l_encode}, {"array", l_array}, {NULL, NULL}};
    kind_open(L, &(struct kind_options){KIND_LIST, NULL, NULL, NULL, NULL});
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    push_decoder(L);
    lua_pushcclosure(L, l_decode, 1);
    lua_setfield(L, -2, "decode");
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    lua_setfield(L, -2, "json");
}
