/*
 * now, sleep, and time.now, time.clock, time.format, time.parse.
 */
#include <lauxlib.h>
#include <math.h>

#include "base/clock.h"
#include "base/err.h"
#include "script/bind/arg.h"
#include "script/bind/result.h"
#include "script/bind/tables.h"
#include "script/vm/task.h"
#include "script/vm/vm.h"

#define SLEEP "sleep(seconds)"
#define FORMAT "time.format(seconds)"
#define PARSE "time.parse(text)"

/* now() -> seconds since 1970, with milliseconds */
static int l_now(lua_State *L)
{
    lua_pushnumber(L, (double)clock_wall_ms() / 1000.0);
    return 1;
}

/* time.clock() -> seconds on the monotonic clock */
static int l_clock(lua_State *L)
{
    lua_pushnumber(L, (double)clock_ns() / (double)NS_PER_S);
    return 1;
}

/* time.format(seconds) -> RFC 3339 */
static int l_format(lua_State *L)
{
    struct buf *out = vm_scratch(vm_of(L));
    if (lua_type(L, 1) != LUA_TNUMBER || !isfinite(lua_tonumber(L, 1)) || fabs(lua_tonumber(L, 1)) > 1e12)
        return arg_fail(L, FORMAT, "seconds must be a number, not %s", luaL_tolstring(L, 1, NULL));
    clock_format(out, (int64_t)floor(lua_tonumber(L, 1) * 1000.0 + 0.5));
    lua_pushlstring(L, out->data, buf_size(out));
    return 1;
}

/* time.parse(text) -> seconds | nil, message, code */
static int l_parse(lua_State *L)
{
    int64_t ms;
    slice text = arg_text(L, 1, "text", PARSE);
    if (clock_parse(text, &ms) < 0)
        return push_fail_because(L, -ERR_BAD_VALUE, "not a time such as 2026-11-23T10:00:00Z");
    lua_pushnumber(L, (double)ms / 1000.0);
    return 1;
}

static int sleep_done(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    if (lua_tointeger(L, -1) == -ERR_STOPPING)
        return blame(L, "the broker is shutting down");
    if (lua_tointeger(L, -1) == -ERR_CANCELLED)
        return blame(L, "the client of this request has gone");
    return 0;
}

/* sleep(seconds).  Waits for that long; 0 lets other tasks run. */
static int l_sleep(lua_State *L)
{
    uint32_t ms = arg_wait(L, 1, "seconds", SLEEP);
    struct task *self = task_self(L);
    task_may_stop(self);
    return task_park(L, self, ms == 0 ? 1 : ms, 0, sleep_done);
}

void time_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"now", l_now}, {"clock", l_clock}, {"format", l_format}, {"parse", l_parse}, {NULL, NULL}};
    luaL_newlib(L, functions);
    lua_setfield(L, -2, "time");
    lua_pushcfunction(L, l_now);
    lua_setfield(L, -2, "now");
    lua_pushcfunction(L, l_sleep);
    lua_setfield(L, -2, "sleep");
}
