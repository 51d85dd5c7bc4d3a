/*
 * The retries that the hook on_retry decides (scripts/lignum/worker.lua).
 */
#include <lauxlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "script/bind/arg.h"
#include "script/bind/field.h"
#include "script/bind/result.h"
#include "script/group/call.h"
#include "script/vm/task.h"
#include "script/vm/vm.h"

#define RETRIES "core.group.retries(seen)"
#define ENDED "core.group.ended(topic, group, limit)"
#define RETRY "core.group.retry(topic, group, offset, deliveries, seconds or \"dead\" or nil)"

/* From now on the hook decides, or no longer. */
int l_group_decide_retries(lua_State *L)
{
    groups_decide_retries(vm_services(L)->groups, lua_toboolean(L, 1));
    return 0;
}

static int retries_done(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    int rc = (int)lua_tointeger(L, -1);
    if (rc < 0)
        return push_fail(L, rc);
    lua_pushinteger(L, (lua_Integer)groups_retries(vm_services(L)->groups)->at);
    return 1;
}

/* Waits until leases have ended since it returned `seen`; at first, 0. -> the next `seen` */
int l_group_retries(lua_State *L)
{
    struct task *self = task_self(L);
    uint64_t seen = arg_whole(L, 1, "seen", RETRIES);
    task_may_stop(self);
    return task_park_on(L, self, groups_retries(vm_services(L)->groups), seen + 1, 0, 0, retries_done);
}

/* -> list of { offset =, deliveries =, why = }, which it takes out; at most `limit` */
int l_group_ended(lua_State *L)
{
    struct group_call c;
    struct ended e;
    uint64_t limit = arg_whole(L, ARG_MORE, "limit", ENDED);
    int rc = call_find(L, &c, ENDED);
    if (rc < 0)
        return call_fail(L, rc);
    lua_newtable(L);
    for (uint64_t n = 0; n < limit && groups_next_ended(c.group, &e);) {
        lua_createtable(L, 0, 3);
        set_whole(L, "offset", e.offset);
        set_whole(L, "deliveries", e.count);
        set_text(L, "why", e.what == SETTLE_EXPIRE ? "expired" : "released");
        lua_rawseti(L, -2, (lua_Integer)++n);
    }
    return 1;
}

/* Does not wait. -> true | nil, message, code */
int l_group_retry(lua_State *L)
{
    struct group_call c;
    uint64_t want;
    struct retry r = {.offset = arg_whole(L, ARG_MORE, "offset", RETRY),
                      .count = (uint32_t)arg_whole(L, 4, "deliveries", RETRY)};
    r.dead = lua_type(L, 5) == LUA_TSTRING;
    r.has_delay = lua_type(L, 5) == LUA_TNUMBER;
    r.ms = r.has_delay ? (uint64_t)(arg_seconds(L, 5, "seconds", RETRY) * MS_PER_S + 0.5) : 0;
    int rc = call_find(L, &c, RETRY);
    if (rc == 0)
        rc = groups_retry(c.groups, c.group, &r, &want);
    if (rc < 0)
        return call_fail(L, rc);
    groups_wake(c.group, c.topic);
    lua_pushboolean(L, 1);
    return 1;
}
