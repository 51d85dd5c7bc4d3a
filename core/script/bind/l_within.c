/*
 * core.within: a function as a task of its own, for which the caller waits a limited time. The broker's duties ask the
 * operator's policies that way, so that one which waits or computes costs them no more than that.
 */
#include <lauxlib.h>

#include "base/err.h"
#include "script/bind/arg.h"
#include "script/bind/object.h"
#include "script/bind/result.h"
#include "script/bind/tables.h"
#include "script/vm/task.h"
#include "script/vm/vm.h"

#define USAGE "core.within(seconds, where, fn)"

/*
 * One call: a Lua object on the stack of the waiting task, closed with it.
 *
 * States:
 *     runs      rc == RUNS               on_ended -> over
 *     over      rc <= 0                  the function's end; `message` says why it failed
 *     closed                             close_within, from any state: a function that runs is cancelled
 */
struct within {
    struct tasks *tasks;              /* outlives us */
    lua_State *caller;                /* the thread that waits */
    struct task_ticket task, wait;    /* of the function; of the caller's wait */
    int rc;
    struct buf message;               /* owned */
};

enum { RUNS = 1, SECONDS = 1, WHERE, FN, WITHIN };

static int push_function(lua_State *L, void *arg)
{
    const struct within *w = arg;
    lua_pushvalue(w->caller, FN);
    lua_xmove(w->caller, L, 1);
    return 0;
}

static void on_ended(void *arg, const struct task_result *r)
{
    struct within *w = arg;
    w->rc = r->rc;
    if (r->rc < 0)
        buf_add_slice(&w->message, slice_from(r->message));
    task_wake(w->tasks, w->wait, 0);
}

static int close_within(lua_State *L)
{
    struct within *w = lua_touserdata(L, 1);
    if (w->rc == RUNS)
        task_cancel(w->tasks, w->task);
    buf_fini(&w->message);
    return 0;
}

static int within_done(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    const struct within *w = lua_touserdata(L, WITHIN);
    int rc = (int)lua_tointeger(L, -1);
    if (rc < 0)
        return push_fail(L, rc);
    if (w->rc < 0)
        return push_fail_because(L, w->rc, "%.*s", SLICE_ARGS(buf_slice(&w->message)));
    lua_pushboolean(L, 1);
    return 1;
}

/* core.within(seconds, where, fn) -> true | nil, message, code.  Waits for the function. After that time it is
 * cancelled, and the code is timeout. */
static int l_within(lua_State *L)
{
    uint32_t ms = seconds_to_ms(arg_seconds(L, SECONDS, "seconds", USAGE));
    slice where = arg_text(L, WHERE, "where", USAGE);
    luaL_checktype(L, FN, LUA_TFUNCTION);
    struct task *self = task_self(L);
    lua_settop(L, FN);
    struct within *w = object_new(L, KIND_WITHIN, sizeof(*w), 0);
    lua_toclose(L, WITHIN);
    w->tasks = vm_tasks(vm_of(L));
    w->wait = task_ticket(self);
    w->caller = L;
    w->rc = RUNS;
    struct task_options o = {
        .where = where.p, .push = push_function, .done = on_ended, .arg = w, .yours = true};
    task_start(w->tasks, &o, &w->task);
    return task_park(L, self, ms == 0 ? 1 : ms, 0, within_done);
}

void within_open(lua_State *L)
{
    static const luaL_Reg meta[] = {{"__gc", close_within}, {"__close", close_within}, {NULL, NULL}};
    kind_open(L, &(struct kind_options){KIND_WITHIN, meta, NULL, NULL, NULL});
    lua_pop(L, 1);
    lua_pushcfunction(L, l_within);
    lua_setfield(L, -2, "within");
}
