/*
 * What a stream of events (scripts/lignum/events.lua) does with the leases that it has given out.
 */
#include <lauxlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "script/bind/arg.h"
#include "script/bind/result.h"
#include "script/group/call.h"
#include "script/vm/task.h"
#include "script/vm/vm.h"

#define HELD "core.group.held(topic, group, leases, seconds)"
#define GIVE_BACK "core.group.give_back(topic, group, leases)"

/* The leases that still hold their messages. */
static int push_held(lua_State *L, const struct group_call *c)
{
    lua_Integer kept = 0, n = (lua_Integer)lua_rawlen(L, ARG_MORE);
    lua_newtable(L);
    for (lua_Integer i = 1; i <= n; i++) {
        uint64_t offset, claim;
        lua_rawgeti(L, ARG_MORE, i);
        if (lease_read(arg_text(L, -1, "a lease", HELD), &offset, &claim) &&
            group_leased(&c->group->state, offset, claim) != NULL)
            lua_rawseti(L, -2, ++kept);
        else
            lua_pop(L, 1);
    }
    return 1;
}

static int held_waited(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    struct group_call c;
    int rc = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    if (rc < 0 && rc != -ERR_TIMEOUT)
        return push_fail(L, rc);
    rc = call_find(L, &c, HELD);
    return rc < 0 ? call_fail(L, rc) : push_held(L, &c);
}

/* -> list of leases | nil, message, code.  Waits for so long first; with cancelled the client has gone. */
int l_group_held(lua_State *L)
{
    luaL_checktype(L, ARG_MORE, LUA_TTABLE);
    uint32_t ms = arg_wait(L, 4, "seconds", HELD);
    struct task *self = task_self(L);
    lua_settop(L, 4);
    if (ms == 0) {
        lua_pushinteger(L, 0);
        return held_waited(L, LUA_OK, 0);
    }
    int rc = task_linger(self);
    if (rc < 0)
        return push_fail_because(L, rc, TOO_MANY_WAIT);
    task_may_stop(self);
    task_may_leave(self);
    return task_park(L, self, ms, 0, held_waited);
}

/* The messages come again at once, and that does not count as a delivery. Does not wait. */
int l_group_give_back(lua_State *L)
{
    struct group_call c;
    uint64_t want;
    luaL_checktype(L, ARG_MORE, LUA_TTABLE);
    if (call_find(L, &c, GIVE_BACK) < 0)
        return 0;
    struct buf *all = vm_scratch(vm_of(L));
    lua_Integer n = (lua_Integer)lua_rawlen(L, ARG_MORE);
    for (lua_Integer i = 1; i <= n; i++, lua_pop(L, 1)) {
        struct settle s = {.what = SETTLE_RETURN};
        lua_rawgeti(L, ARG_MORE, i);
        if (lease_read(arg_text(L, -1, "a lease", GIVE_BACK), &s.offset, &s.claim))
            buf_add(all, &s, sizeof(s));
    }
    groups_settle(c.groups, c.group, (struct settle *)(void *)all->data, buf_size(all) / sizeof(struct settle), &want);
    vm_scratch_done(all);
    groups_wake(c.group, c.topic);
    return 0;
}
