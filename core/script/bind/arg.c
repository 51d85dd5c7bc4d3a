#include "script/bind/arg.h"

#include <lauxlib.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "script/vm/vm.h"

#define SECONDS_MAX (UINT32_MAX / 1000.0)      /* 49 days: waits are in milliseconds */

int arg_fail(lua_State *L, const char *usage, const char *fmt, ...)
{
    char text[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    return blame(L, "%s: %s", usage, text);
}

slice arg_text(lua_State *L, int index, const char *name, const char *usage)
{
    slice text;
    if (lua_type(L, index) != LUA_TSTRING)
        arg_fail(L, usage, "%s must be a string, not %s", name, luaL_typename(L, index));
    text.p = lua_tolstring(L, index, &text.n);
    return text;
}

uint64_t arg_whole(lua_State *L, int index, const char *name, const char *usage)
{
    int whole = 0;
    lua_Integer value = 0;
    if (lua_type(L, index) == LUA_TNUMBER)
        value = lua_tointegerx(L, index, &whole);
    if (!whole || value < 0)
        arg_fail(L, usage, "%s must be a whole number of 0 or more, not %s", name, luaL_tolstring(L, index, NULL));
    return (uint64_t)value;
}

void arg_table(lua_State *L, int index, const char *name, const char *usage)
{
    if (!lua_istable(L, index))
        arg_fail(L, usage, "%s must be a table, not %s", name, luaL_typename(L, index));
}

double arg_seconds(lua_State *L, int index, const char *name, const char *usage)
{
    double value = -1;
    if (lua_type(L, index) == LUA_TNUMBER)
        value = lua_tonumber(L, index);
    if (!isfinite(value) || value < 0)
        arg_fail(L, usage, "%s must be a number of seconds, not %s", name, luaL_tolstring(L, index, NULL));
    return value;
}

uint32_t arg_wait(lua_State *L, int index, const char *name, const char *usage)
{
    double value = arg_seconds(L, index, name, usage);
    if (value > SECONDS_MAX)
        arg_fail(L, usage, "%s must be at most %.0f seconds, not %g", name, SECONDS_MAX, value);
    return seconds_to_ms(value);
}

uint32_t seconds_to_ms(double seconds)
{
    double ms = ceil(seconds * 1000.0);
    return ms < (double)UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
}

uint32_t arg_ms(lua_State *L, int index, uint32_t otherwise, const char *usage)
{
    if (lua_isnoneornil(L, index))
        return otherwise;
    return arg_wait(L, index, "timeout", usage);
}

/* Takes the value on top. It is popped, or moved below the key that lua_next needs. */
static void field_take(lua_State *L, const struct arg_field *f, const char *usage)
{
    switch (f->kind) {
    case ARG_TEXT:
        *(slice *)f->out = arg_text(L, -1, f->name, usage);
        break;
    case ARG_WHOLE:
        *(uint64_t *)f->out = arg_whole(L, -1, f->name, usage);
        break;
    case ARG_SECONDS:
        *(double *)f->out = arg_seconds(L, -1, f->name, usage);
        break;
    case ARG_TABLE:
        if (!lua_istable(L, -1))
            arg_fail(L, usage, "%s must be a table, not %s", f->name, luaL_typename(L, -1));
        /* fall through */
    case ARG_ANY:
        lua_insert(L, -2);
        *(int *)f->out = lua_gettop(L) - 1;
        return;
    case ARG_END:
        break;
    }
    lua_pop(L, 1);
}

void arg_fields(lua_State *L, int index, const struct arg_field *fields, const char *usage)
{
    if (lua_isnoneornil(L, index))
        return;
    if (!lua_istable(L, index))
        arg_fail(L, usage, "argument %d must be a table, not %s", index - 1, luaL_typename(L, index));
    luaL_checkstack(L, 16, usage);
    lua_pushnil(L);
    while (lua_next(L, index)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        const struct arg_field *f = fields;
        while (f->kind != ARG_END && !slice_eq(slice_from(name), slice_from(f->name)))
            f++;
        if (f->kind == ARG_END)
            arg_fail(L, usage, "there is no field %s", luaL_tolstring(L, -2, NULL));
        field_take(L, f, usage);
    }
}
