#include "script/vm/coroutine.h"

#include <lauxlib.h>

#include "script/vm/budget.h"
#include "script/vm/state.h"
#include "script/vm/task.h"

enum { FAILED = -1, WAITS = -2, OVER = -3 };

static lua_State *check_coroutine(lua_State *L)
{
    lua_State *co = lua_tothread(L, 1);
    luaL_argexpected(L, co, 1, "coroutine");
    return co;
}

static int move_values(lua_State *from, lua_State *to, int n)
{
    if (!lua_checkstack(to, n + 1)) {
        lua_pop(from, n);
        lua_pushliteral(to, "too many values to pass");
        return FAILED;
    }
    lua_xmove(from, to, n);
    return n;
}

/* Resumes `co` with the `args` values on top of L. Returns the number of results on L; FAILED: the error value is on L;
 * WAITS: a binding in `co` waits, or the task gives way; OVER: the budget is used up and the hook has stopped `co`. */
static int resume(lua_State *L, lua_State *co, int args)
{
    struct vm *vm = vm_of(L);
    struct budget_frame frame;
    int results;
    if (thread_is_ours(co)) {
        lua_pushliteral(L, "cannot resume a coroutine that waits, or that belongs to a task");
        return FAILED;
    }
    if (move_values(L, co, args) < 0)
        return FAILED;
    budget_push(vm->budget, &frame, co);
    int status = lua_resume(co, L, args, &results);
    budget_pop(vm->budget, &frame);
    if (status == LUA_YIELD && task_waits(vm->tasks)) {
        thread_set_ours(co, true);
        return WAITS;
    }
    if (status == LUA_YIELD && vm->budget->over)
        return OVER;
    if (status == LUA_OK || status == LUA_YIELD)
        return move_values(co, L, results);
    lua_xmove(co, L, 1);
    return FAILED;
}

/* ---- resume ---- */

static int after_wait(lua_State *L, int status, lua_KContext context);

static int resume_results(lua_State *L, int n)
{
    if (n == WAITS)
        return lua_yieldk(L, 0, 0, after_wait);
    if (n == OVER)
        return budget_stop(vm_of(L)->budget, L);
    lua_pushboolean(L, n >= 0);
    lua_insert(L, n >= 0 ? -(n + 1) : -2);
    return n >= 0 ? n + 1 : 2;
}

/* Goes on with `co` after a wait. On top lies how that ended, for the binding in `co`. */
static int resume_again(lua_State *L, lua_State *co)
{
    thread_set_ours(co, false);
    if (!thread_take_stopped(co))
        return resume(L, co, 1);
    lua_pop(L, 1);
    return resume(L, co, 0);
}

static int after_wait(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    lua_State *co = lua_tothread(L, 1);
    return resume_results(L, resume_again(L, co));
}

static int l_resume(lua_State *L)
{
    lua_State *co = check_coroutine(L);
    return resume_results(L, resume(L, co, lua_gettop(L) - 1));
}

/* ---- wrap ---- */

static int close_thread(lua_State *L, lua_State *co)
{
    struct budget_frame frame;
    struct budget *budget = vm_of(L)->budget;
    budget_push(budget, &frame, co);
    int status = lua_resetthread(co);
    budget_pop(budget, &frame);
    return status;
}

/* Passes the error on with the line of the call in front, as Lua's own wrap does. */
static int wrap_error(lua_State *L, lua_State *co)
{
    int status = lua_status(co);
    if (status != LUA_OK && status != LUA_YIELD) {
        status = close_thread(L, co);
        lua_xmove(co, L, 1);
    }
    if (status != LUA_ERRMEM && lua_type(L, -1) == LUA_TSTRING) {
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
    }
    return lua_error(L);
}

static int wrap_after_wait(lua_State *L, int status, lua_KContext context);

static int wrap_results(lua_State *L, lua_State *co, int n)
{
    if (n == WAITS)
        return lua_yieldk(L, 0, 0, wrap_after_wait);
    if (n == OVER)
        return budget_stop(vm_of(L)->budget, L);
    return n == FAILED ? wrap_error(L, co) : n;
}

static int wrap_after_wait(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));
    return wrap_results(L, co, resume_again(L, co));
}

static int call_wrapped(lua_State *L)
{
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));
    return wrap_results(L, co, resume(L, co, lua_gettop(L)));
}

static int l_wrap(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_State *co = lua_newthread(L);
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 1);
    lua_pushcclosure(L, call_wrapped, 1);
    return 1;
}

/* ---- close and yield ---- */

/* Only a suspended or dead coroutine can be closed: not one that runs, nor one that has resumed another. */
static bool is_closable(lua_State *L, lua_State *co)
{
    lua_Debug ar;
    if (co == L || thread_is_ours(co))
        return false;
    return lua_status(co) != LUA_OK || lua_getstack(co, 0, &ar) == 0;
}

static int l_close(lua_State *L)
{
    lua_State *co = check_coroutine(L);
    if (!is_closable(L, co))
        return luaL_error(L, "cannot close a coroutine that runs or waits");
    if (close_thread(L, co) == LUA_OK) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushboolean(L, 0);
    lua_xmove(co, L, 1);
    return 2;
}

/* The thread of a task is only resumed when its wait ends, so a bare yield would never return. */
static int l_yield(lua_State *L)
{
    if (thread_is_ours(L))
        return luaL_error(L, "coroutine.yield outside of any coroutine");
    return lua_yield(L, lua_gettop(L));
}

void coroutine_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"resume", l_resume}, {"wrap", l_wrap}, {"close", l_close}, {"yield", l_yield}, {NULL, NULL}};
    lua_getglobal(L, "coroutine");
    luaL_setfuncs(L, functions, 0);
    lua_pop(L, 1);
}
