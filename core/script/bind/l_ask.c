/*
 * core.ask, core.call and core.within: one function calls another in a task of its own, or in the other world.
 *
 * The core's world asks policies of the operator's, and the operator's world asks the core's what it knows. Values are
 * carried by copy (vm/carry.h). A function that may wait or compute is called in a task, for which the caller waits a
 * limited time: one that takes longer costs the caller no more than that.
 */
#include <lauxlib.h>

#include "base/err.h"
#include "script/bind/arg.h"
#include "script/bind/object.h"
#include "script/bind/result.h"
#include "script/bind/tables.h"
#include "script/vm/carry.h"
#include "script/vm/task.h"
#include "script/vm/vm.h"

#define ASK "core.ask(seconds, entry, ...)"
#define CALL "core.call(entry, ...)"
#define WITHIN "core.within(seconds, where, fn)"

enum { CALL_MS = 100 };               /* the budget of core.call */

/*
 * One call that waits: a Lua object on the stack of the waiting task, closed with it.
 *
 * States:
 *     runs      rc == RUNS               on_ended -> over
 *     over      rc <= 0                  the function's end; `results` has what it returned, `message` why it failed
 *     closed                             close_asking, from any state: a function that runs is cancelled
 */
struct asking {
    struct vm *vm, *callee;           /* outlive us: a VM ends after its tasks, and the callee's end wakes the caller */
    struct tasks *tasks;              /* the callee's, in which the function runs */
    lua_State *caller;                /* the thread that waits: its stack begins with the arguments */
    struct task_ticket task, wait;    /* of the function; of the caller's wait */
    int rc;
    int results, count;               /* a table in the registry, LUA_NOREF: none; how many are in it */
    struct buf message;               /* owned */
};

enum { RUNS = 1, SECONDS = 1, ENTRY, WHERE = ENTRY, FN };   /* where the arguments are */

static int push_function(lua_State *L, void *arg)
{
    const struct asking *a = arg;
    lua_pushvalue(a->caller, FN);
    lua_xmove(a->caller, L, 1);
    return 0;
}

static int push_entry(lua_State *L, void *arg)
{
    const struct asking *a = arg;
    int args = lua_gettop(a->caller) - ENTRY - 1;   /* below the object */
    vm_push_entry(a->callee, L, lua_tostring(a->caller, ENTRY));
    for (int i = 1; i <= args; i++)
        carry(a->caller, ENTRY + i, L);
    return args;
}

/* Keeps the results in a table, because the caller's stack is not ours: it waits. */
static void keep_results(struct asking *a, const struct task_result *r)
{
    lua_State *L = vm_state(a->vm);
    lua_createtable(L, r->values, 0);
    for (int i = 1; i <= r->values; i++) {
        carry(r->L, i - r->values - 1, L);
        lua_rawseti(L, -2, i);
    }
    a->results = luaL_ref(L, LUA_REGISTRYINDEX);
    a->count = r->values;
}

static void on_ended(void *arg, const struct task_result *r)
{
    struct asking *a = arg;
    a->rc = r->rc;
    if (r->rc < 0)
        buf_add_slice(&a->message, slice_from(r->message));
    else if (a->callee != a->vm)
        keep_results(a, r);
    task_wake(vm_tasks(a->vm), a->wait, 0);
}

static int close_asking(lua_State *L)
{
    struct asking *a = lua_touserdata(L, 1);
    if (a->rc == RUNS)
        task_cancel(a->tasks, a->task);
    luaL_unref(L, LUA_REGISTRYINDEX, a->results);
    a->results = LUA_NOREF;
    buf_fini(&a->message);
    return 0;
}

/* `context` is where the object lies. */
static int asked(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    const struct asking *a = lua_touserdata(L, (int)context);
    int rc = (int)lua_tointeger(L, -1);
    if (rc < 0)
        return push_fail(L, rc);
    if (a->rc < 0)
        return push_fail_because(L, a->rc, "%.*s", SLICE_ARGS(buf_slice(&a->message)));
    if (a->callee == a->vm) {
        lua_pushboolean(L, 1);
        return 1;
    }
    luaL_checkstack(L, a->count + 1, ASK);
    lua_rawgeti(L, LUA_REGISTRYINDEX, a->results);
    int results = lua_gettop(L);
    for (int i = 1; i <= a->count; i++)
        lua_rawgeti(L, results, i);
    return a->count;
}

/* The arguments are the whole stack of L. */
static int ask(lua_State *L, struct vm *callee, const struct task_options *options, const char *usage)
{
    uint32_t ms = arg_wait(L, SECONDS, "seconds", usage);
    struct task *self = task_self(L);
    struct asking *a = object_new(L, KIND_ASKING, sizeof(*a), 0);
    int index = lua_gettop(L);
    a->results = LUA_NOREF;
    lua_toclose(L, index);
    a->vm = vm_of(L);
    a->callee = callee;
    a->tasks = vm_tasks(callee);
    a->caller = L;
    a->wait = task_ticket(self);
    a->rc = RUNS;
    struct task_options o = *options;
    o.done = on_ended;
    o.arg = a;
    task_start(a->tasks, &o, &a->task);
    return task_park(L, self, ms == 0 ? 1 : ms, index, asked);
}

static struct vm *check_peer(lua_State *L, const char *usage)
{
    struct vm *peer = vm_peer(vm_of(L));
    if (peer == NULL || vm_tasks(peer) == NULL)
        arg_fail(L, usage, "there is no other world");
    return peer;
}

/* core.ask(seconds, entry, ...) -> what the entry point of the other world returns | nil, message, code.  Waits for it.
 * After that time it is cancelled, and the code is timeout. */
static int l_ask(lua_State *L)
{
    slice entry = arg_text(L, ENTRY, "entry", ASK);
    struct task_options o = {.where = entry.p, .push = push_entry, .operator_code = true};
    return ask(L, check_peer(L, ASK), &o, ASK);
}

/* core.within(seconds, where, fn) -> true | nil, message, code.  Waits for the function. After that time it is
 * cancelled, and the code is timeout. */
static int l_within(lua_State *L)
{
    slice where = arg_text(L, WHERE, "where", WITHIN);
    luaL_checktype(L, FN, LUA_TFUNCTION);
    lua_settop(L, FN);
    struct task_options o = {.where = where.p, .push = push_function, .operator_code = true};
    return ask(L, vm_of(L), &o, WITHIN);
}

/* core.call(entry, ...) -> what the entry point of the other world returns. Raises its error. It cannot wait. */
static int l_call(lua_State *L)
{
    slice entry = arg_text(L, 1, "entry", CALL);
    struct vm *peer = check_peer(L, CALL);
    struct memory *memory = vm_memory(vm_of(L));
    lua_State *other = vm_state(peer);
    int args = lua_gettop(L) - 1, top = lua_gettop(other);
    vm_push_entry(peer, other, entry.p);
    carry_top(L, args, other);
    int rc = vm_call(peer, args, LUA_MULTRET, CALL_MS);
    int values = rc < 0 ? 1 : lua_gettop(other) - top;
    bool capped = memory->capped;
    memory->capped = false;           /* an error here would leave the other stack as it is */
    carry_top(other, values, L);
    memory->capped = capped;
    lua_settop(other, top);
    return rc < 0 ? lua_error(L) : values;
}

void ask_open(lua_State *L)
{
    static const luaL_Reg meta[] = {{"__gc", close_asking}, {"__close", close_asking}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"ask", l_ask}, {"call", l_call}, {"within", l_within}, {NULL, NULL}};
    kind_open(L, &(struct kind_options){KIND_ASKING, meta, NULL, NULL, NULL});
    lua_pop(L, 1);
    luaL_setfuncs(L, functions, 0);
    lua_pushstring(L, vm_world(vm_of(L)));
    lua_setfield(L, -2, "world");
}
