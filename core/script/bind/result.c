#include "script/bind/result.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/err.h"

int push_fail(lua_State *L, int rc)
{
    lua_pushnil(L);
    lua_pushstring(L, err_sentence(rc));
    lua_pushstring(L, err_name(rc));
    return 3;
}

int push_fail_because(lua_State *L, int rc, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    lua_pushnil(L);
    lua_pushstring(L, text);
    lua_pushstring(L, err_name(rc));
    return 3;
}

int wait_is_over(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    int rc = (int)lua_tointeger(L, -1);
    if (rc < 0)
        return push_fail(L, rc);
    lua_pushboolean(L, 1);
    return 1;
}
