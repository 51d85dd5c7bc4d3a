/*
 * cluster.ask, by which a script of a follower has the leader do something, and the leader's side of it: each call
 * (broker/leader/call.h) runs the entry point `called` of the live world in a task of its own.
 */
#include <lauxlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "broker/cluster/cluster.h"
#include "broker/follower/call.h"
#include "broker/wire/wire.h"
#include "script/bind/arg.h"
#include "script/bind/object.h"
#include "script/bind/result.h"
#include "script/cluster/serve_calls.h"
#include "script/cluster/tables.h"
#include "script/vm/task.h"
#include "script/vm/vm.h"

#define ASK "cluster.ask(what, seconds)"

/* ---- a follower's side ---- */

/* A Lua object on the stack of the task that waits, closed with it: then the call is left. */
struct calling {
    struct node_call call;
    struct tasks *tasks;
    struct task_ticket wait;
    unsigned how;                     /* with the answer */
    struct buf answer;                /* owned */
};

enum { WHAT = 1, SECONDS, CALLING };  /* on the stack */

static void on_ended(struct node_call *call, int rc, unsigned how, slice answer)
{
    struct calling *c = LIST_OWNER(call, struct calling, call);
    c->how = how;
    buf_add_slice(&c->answer, answer);
    task_wake(c->tasks, c->wait, rc);
}

static int close_calling(lua_State *L)
{
    struct calling *c = lua_touserdata(L, 1);
    follower_call_leave(&c->call);
    buf_fini(&c->answer);
    return 0;
}

static int asked(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    struct calling *c = lua_touserdata(L, CALLING);
    int rc = (int)lua_tointeger(L, -1);
    slice answer = buf_slice(&c->answer);
    if (rc < 0)
        return push_fail(L, rc);
    if (c->how == RETURN_NOT_BEGUN)
        return push_fail_because(L, -ERR_TOO_MANY, "the leader has too many tasks");
    if (c->how != RETURN_DONE)
        return push_fail_because(L, c->how == RETURN_LOST ? -ERR_UNKNOWN_OUTCOME : -ERR_SCRIPT, "%.*s",
                                 SLICE_ARGS(answer));
    lua_pushlstring(L, answer.p, answer.n);
    buf_fini(&c->answer);             /* the script has a copy, which counts as its memory */
    return 1;
}

/* cluster.ask(what, seconds) -> answer | nil, message, code, unsent.  Waits for the leader's answer. `unsent`: the
 * leader has done nothing. */
int l_ask_leader(lua_State *L)
{
    struct cluster *cluster = vm_services(L)->cluster;
    slice what = arg_text(L, WHAT, "what", ASK);
    uint32_t ms = arg_wait(L, SECONDS, "seconds", ASK);
    struct task *self = task_self(L);
    lua_settop(L, SECONDS);
    struct calling *c = object_new(L, KIND_CALLING, sizeof(*c), 0);
    lua_toclose(L, CALLING);
    c->call.ended = on_ended;
    c->tasks = vm_tasks(vm_of(L));
    c->wait = task_ticket(self);
    int rc = cluster == NULL ? -ERR_NO_LEADER : cluster_call(cluster, what, &c->call);
    if (rc < 0) {
        int results = push_fail(L, rc);
        lua_pushboolean(L, 1);
        return results + 1;
    }
    task_may_stop(self);
    task_may_leave(self);
    return task_park(L, self, ms == 0 ? 1 : ms, 0, asked);
}

void call_open(lua_State *L)
{
    static const luaL_Reg meta[] = {{"__gc", close_calling}, {"__close", close_calling}, {NULL, NULL}};
    kind_open(L, &(struct kind_options){KIND_CALLING, meta, NULL, NULL, NULL});
    lua_pop(L, 1);
}

/* ---- the leader's side ---- */

struct serving {
    struct called *call;
    struct vm *vm;                    /* outlives its tasks */
    struct task_ticket task;
};

static int push_called(lua_State *L, void *arg)
{
    const struct serving *s = arg;
    slice what = buf_slice(&s->call->what);
    vm_push_entry(s->vm, L, "called");
    lua_pushlstring(L, what.p, what.n);
    return 1;
}

static void on_left(void *arg)
{
    const struct serving *s = arg;
    task_left(vm_tasks(s->vm), s->task);
}

static void on_done(void *arg, const struct task_result *r)
{
    struct serving *s = arg;
    slice answer = slice_from(r->rc < 0 ? r->message : "");
    unsigned how = r->rc == 0 ? RETURN_DONE : r->appended ? RETURN_LOST : RETURN_FAILED;
    if (r->rc == 0)
        answer.p = lua_tolstring(r->L, -1, &answer.n);
    if (answer.n > CALL_SIZE_MAX) {
        answer = SLICE("the leader's answer is too large");
        how = RETURN_LOST;
    }
    leader_answer_call(s->call, how, answer);
    mem_free(s);
}

void serve_calls(struct vm *vm)
{
    struct called *call;
    struct cluster *cluster = vm_services(vm_state(vm))->cluster;
    while (cluster != NULL && (call = cluster_take_call(cluster)) != NULL) {
        struct serving *s = MEM_NEW(struct serving);
        *s = (struct serving){.call = call, .vm = vm};
        call->on_left = on_left;
        call->arg = s;
        struct task_options o = {.where = "a follower's call", .push = push_called, .done = on_done, .arg = s,
                                 .guest = true};
        if (task_start(vm_tasks(vm), &o, &s->task) == 0)
            continue;
        leader_answer_call(call, RETURN_NOT_BEGUN, SLICE(""));
        mem_free(s);
    }
}
