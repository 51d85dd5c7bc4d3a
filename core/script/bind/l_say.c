/*
 * say.debug, say.info, say.warn, say.error: one line each to the log.
 */
#include <lauxlib.h>

#include "base/say.h"
#include "script/bind/arg.h"
#include "script/bind/tables.h"

static int write_line(lua_State *L, enum say_level level, const char *usage)
{
    slice text = arg_text(L, 1, "text", usage);
    say(level, "lua", "%.*s", SLICE_ARGS(text));
    return 0;
}

static int l_debug(lua_State *L)
{
    return write_line(L, SAY_DEBUG, "say.debug(text)");
}

static int l_info(lua_State *L)
{
    return write_line(L, SAY_INFO, "say.info(text)");
}

static int l_warn(lua_State *L)
{
    return write_line(L, SAY_WARN, "say.warn(text)");
}

static int l_error(lua_State *L)
{
    return write_line(L, SAY_ERROR, "say.error(text)");
}

void say_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"debug", l_debug}, {"info", l_info}, {"warn", l_warn}, {"error", l_error}, {NULL, NULL}};
    luaL_newlib(L, functions);
    lua_setfield(L, -2, "say");
}
