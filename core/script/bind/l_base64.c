/*
 * core.base64, for Consul's keys and for messages in JSON; core.crc32c.
 */
#include <lauxlib.h>

#include "base/base64.h"
#include "base/crc32c.h"
#include "script/bind/arg.h"
#include "script/bind/tables.h"
#include "script/vm/vm.h"

/* base64.encode(bytes) -> string */
static int l_encode(lua_State *L)
{
    slice bytes = arg_text(L, 1, "what is encoded", "base64.encode(bytes)");
    struct buf *out = vm_scratch(vm_of(L));
    base64_add(out, bytes);
    lua_pushlstring(L, out->data, buf_size(out));
    vm_scratch_done(out);
    return 1;
}

/* base64.decode(text) -> string; nil when the text is not valid */
static int l_decode(lua_State *L)
{
    slice text = arg_text(L, 1, "what is decoded", "base64.decode(text)");
    struct buf *out = vm_scratch(vm_of(L));
    if (base64_decode(out, text) == 0)
        lua_pushlstring(L, out->data, buf_size(out));
    else
        lua_pushnil(L);
    vm_scratch_done(out);
    return 1;
}

/* core.crc32c(bytes) -> integer */
static int l_crc32c(lua_State *L)
{
    slice bytes = arg_text(L, 1, "what is summed up", "crc32c(bytes)");
    lua_pushinteger(L, crc32c(0, bytes.p, bytes.n));
    return 1;
}

void base64_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"encode", l_encode}, {"decode", l_decode}, {NULL, NULL}};
    luaL_newlib(L, functions);
    lua_setfield(L, -2, "base64");
    lua_pushcfunction(L, l_crc32c);
    lua_setfield(L, -2, "crc32c");
}
