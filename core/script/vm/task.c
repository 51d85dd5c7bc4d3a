#include "script/vm/task.h"

#include <lauxlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "script/vm/blame.h"
#include "script/vm/run.h"
#include "script/vm/task_state.h"

enum {
    IDLE_MAX = 256,           /* coroutines kept for reuse */
    TURN_MS = 5,              /* for tasks, before the other steps of the turn */
    FIRST_RESERVED = 16,      /* guests beyond their limit that are health checks */
    TRACE_MAX = 16,           /* lines of a trace */
    STACK_RESERVE = 8,        /* slots that push() may count on, besides Lua's own 20 */
};

struct tasks *tasks_new(struct vm *vm)
{
    struct tasks *ts = MEM_NEW(struct tasks);
    ts->vm = vm;
    ts->max = TASKS_MAX;
    ts->lingering_max = TASKS_MAX - TASKS_MAX / TASKS_RESERVED;
    ts->budget_ms = TASK_BUDGET_MS;
    list_init(&ts->ready);
    list_init(&ts->first);
    list_init(&ts->spare);
    return ts;
}

void tasks_set_limits(struct tasks *ts, unsigned max, uint32_t budget_ms)
{
    ts->max = max;
    ts->budget_ms = budget_ms;
}

struct tasks_stats tasks_stats(const struct tasks *ts)
{
    return (struct tasks_stats){.started = ts->started, .live = ts->live, .failed = ts->failed,
                                .guests = ts->guests};
}

/* ---- the pool ---- */

static struct task *task_new(struct tasks *ts)
{
    if (ts->count == ts->cap) {
        ts->cap = ts->cap == 0 ? 64 : ts->cap * 2;
        ts->all = mem_resize(ts->all, ts->cap * sizeof(ts->all[0]));
    }
    struct task *t = MEM_NEW(struct task);
    t->tasks = ts;
    t->index = ts->count;
    list_init(&t->link);
    wait_init(t);
    ts->all[ts->count++] = t;
    return t;
}

static struct task *task_take(struct tasks *ts)
{
    struct task *t;
    if (list_empty(&ts->spare)) {
        t = task_new(ts);
    } else {
        t = list_first(&ts->spare, struct task, link);
        list_remove(&t->link);
    }
    if (t->L == NULL) {
        lua_State *L = ts->vm->L;
        t->L = lua_newthread(L);
        thread_set_ours(t->L, true);
        t->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    } else {
        ts->idle--;
    }
    ts->live++;
    return t;
}

static void coroutine_drop(struct task *t)
{
    luaL_unref(t->tasks->vm->L, LUA_REGISTRYINDEX, t->ref);
    t->L = NULL;
}

/* After a burst only the most recently used coroutines are kept, to be reused first while they are in the cache. */
static void task_give(struct task *t)
{
    struct tasks *ts = t->tasks;
    t->state = TASK_IDLE;
    t->life++;
    ts->live--;
    ts->guests -= t->guest;
    ts->lingering -= t->lingers;
    if (t->lingers && t->client.index != 0)
        quota_waited(ts->quotas, t->client);
    t->client = (struct quota_ref){0, 0};
    t->guest = t->lingers = false;
    t->lingered_ns = 0;
    if (t->L != NULL && ts->idle == IDLE_MAX)
        coroutine_drop(t);
    if (t->L == NULL) {
        list_push(&ts->spare, &t->link);
    } else {
        list_insert_before(ts->spare.next, &t->link);
        ts->idle++;
    }
}

/* ---- for bindings ---- */

/* A wait passes through every thread of the run up to the task's own, so each of them must be able to yield. */
static bool can_yield(const struct vm *vm)
{
    const struct budget_frame *f = vm->budget->top;
    while (f != NULL && lua_isyieldable(f->L))
        f = f->below;
    return f == NULL;
}

struct task *task_self(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct task *t = vm->tasks == NULL || vm->loading ? NULL : vm->tasks->running;
    if (t == NULL)
        blame(L, "%s", ONLY_IN_A_TASK);
    if (!can_yield(vm))
        blame(L, "this call waits, which cannot be done inside sort, require, __gc or __close");
    return t;
}

struct task *task_that_can_wait(lua_State *L)
{
    const struct vm *vm = vm_of(L);
    return vm->tasks != NULL && can_yield(vm) ? vm->tasks->running : NULL;
}

bool task_waits(const struct tasks *ts)
{
    return ts != NULL && ts->running != NULL && ts->running->state != TASK_RUNNING;
}

bool task_is_guest(const struct task *t)
{
    return t->guest;
}

void task_where(struct task *t, const char *where)
{
    t->where = where;
    t->tasks->vm->budget->where = where;
}

/* on_publish is called for each message, so it is the hook that may keep something of each. The others decide whether
 * requests, /metrics and elections work, and have the reserve. */
static void close_reserve(const struct task *t)
{
    t->tasks->vm->memory.closed = t->closed || (t->hook != NULL && strcmp(t->hook, "on_publish") == 0);
}

static void count_hook(struct task *t, const char *problem)
{
    const struct services *s = &t->tasks->vm->services;
    if (t->hook != NULL && s->called != NULL)
        s->called(s->meters, "hook", t->hook, clock_ns() - t->hook_began, problem);
}

void task_hook(struct task *t, const char *hook)
{
    count_hook(t, NULL);
    t->hook = hook;
    t->hook_began = hook == NULL ? 0 : clock_ns();
    t->hook_until = 0;
    t->refused = t->refused && hook == NULL;
    close_reserve(t);
}

void task_hook_within(struct task *t, uint32_t ms)
{
    t->hook_until = t->hook_began + ms * NS_PER_MS;
}

const char *task_hook_of(const struct task *t)
{
    return t->hook;
}

bool *task_refused(struct task *t)
{
    return &t->refused;
}

struct task *task_running(lua_State *L)
{
    const struct vm *vm = vm_of(L);
    return vm->tasks == NULL ? NULL : vm->tasks->running;
}

void task_operator_code(struct task *t, bool closed)
{
    t->operator_code = true;
    t->closed = closed;
    close_reserve(t);
}

void task_appended(struct task *t)
{
    t->appended = true;
}

/* To the queue of clients, also when it is a timer's task: in the other queue it would get every second turn. */
bool task_gives_way(struct tasks *ts, lua_State *L)
{
    struct task *t = ts == NULL ? NULL : ts->running;
    if (t == NULL || t->state != TASK_RUNNING || (!t->operator_code && t->hook == NULL) || !can_yield(ts->vm))
        return false;
    t->state = TASK_READY;
    t->used = budget_used(ts->vm->budget);
    list_push(&ts->ready, &t->link);
    thread_set_stopped(L);
    return true;
}

void task_look(lua_State *L)
{
    struct budget *b = vm_of(L)->budget;
    if (b->over)
        budget_stop(b, L);
}

bool task_interrupts(lua_State *L, slice pattern)
{
    const struct vm *vm = vm_of(L);
    struct budget *b = vm->budget;
    if (!b->over && !b->due)
        return false;
    if (b->over)
        budget_place(b, L, pattern);
    return budget_on_hook(b, L) && task_gives_way(vm->tasks, L);
}

/* ---- the end of a task ---- */

/* Runs the pending <close> variables with a budget of their own, then drops the coroutine: in Lua 5.4.4 a thread that
 * was stopped inside xpcall keeps a stale message handler (L->errfunc). */
static void coroutine_close(struct task *t)
{
    struct tasks *ts = t->tasks;
    struct task *outer = ts->running;
    struct run r;
    if (!t->broken) {
        run_begin(&r, ts->vm, t->L, ts->budget_ms, t->where);
        ts->running = t;
        lua_resetthread(t->L);
        ts->running = outer;
        run_end(&r, ts->vm);
    }
    coroutine_drop(t);
}

/* For a failure, tasks.message has been written. */
static void finish(struct task *t, struct task_result result)
{
    result.appended = t->appended;
    t->state = TASK_RUNNING;   /* nothing can wake or cancel it while it closes */
    if (result.rc < 0) {
        t->tasks->failed += result.rc != -ERR_CANCELLED;
        coroutine_close(t);    /* before done(), which may answer the request that the <close> variables use */
        result.message = t->tasks->message.data;
        result.trace = result.trace == NULL ? "" : result.trace;
    }
    t->done(t->arg, &result);
    if (t->L != NULL)
        lua_settop(t->L, 0);
    task_give(t);
    memory_relieve(&t->tasks->vm->memory, t->tasks->vm->L);
}

/* Writes what the task's own thread was running: "a.lua:3 in check < a.lua:9". Allocates nothing in Lua. */
static const char *trace(struct task *t)
{
    struct buf *out = &t->tasks->trace;
    lua_Debug d;
    buf_clear(out);
    for (int level = 0, shown = 0; shown < TRACE_MAX && lua_getstack(t->L, level, &d); level++) {
        lua_getinfo(t->L, "Sln", &d);
        if (d.currentline <= 0)
            continue;
        buf_addf(out, "%s%s:%d", shown++ > 0 ? " < " : "", d.short_src, d.currentline);
        if (d.name != NULL)
            buf_addf(out, " in %s", d.name);
    }
    buf_add_char(out, '\0');
    return out->data;
}

static void finish_failed(struct task *t, struct failure f)
{
    struct buf *message = &t->tasks->message;
    buf_clear(message);
    if (t->where[0] != '\0' || t->hook != NULL)
        buf_addf(message, "%s failed: ", t->hook == NULL ? t->where : t->hook);
    size_t before = buf_size(message);
    failure_describe(message, t->L, t->tasks->vm, f);
    buf_add_char(message, '\0');
    count_hook(t, buf_slice(message).p + before);
    t->broken = f.over && f.status != LUA_YIELD;
    finish(t, (struct task_result){
        .rc = failure_code(f), .what = t->hook == NULL ? t->where : t->hook, .trace = trace(t)});
}

/* ---- running ---- */

static bool is_late(const struct task *t)
{
    return t->hook_until != 0 && clock_ns() >= t->hook_until;
}

static void resume(struct task *t)
{
    struct tasks *ts = t->tasks;
    struct task *outer = ts->running;
    struct memory *memory = &ts->vm->memory;
    bool guest = memory->guest;
    struct run r;
    int values, args = t->args;
    list_remove(&t->link);
    if (is_late(t)) {
        finish_failed(t, (struct failure){.late_ms = POLICY_MS});
        return;
    }
    if (t->begun) {
        args = thread_take_stopped(t->L) ? 0 : 1;
        if (args == 1)
            lua_pushinteger(t->L, t->rc);
    }
    t->begun = true;
    t->state = TASK_RUNNING;

    run_begin(&r, ts->vm, t->L, ts->budget_ms, t->where);
    close_reserve(t);
    budget_charge(ts->vm->budget, t->used);
    t->used = 0;
    ts->running = t;
    memory->guest = t->guest && !t->first;
    int status = lua_resume(t->L, NULL, args, &values);
    memory->guest = guest;
    ts->running = outer;
    bool over = run_end(&r, ts->vm);

    if (status == LUA_OK) {
        finish(t, (struct task_result){.L = t->L, .values = values});
    } else if (status != LUA_YIELD || (t->state == TASK_RUNNING && over)) {
        finish_failed(t, (struct failure){status, over, ts->budget_ms, over && t->hook_until != 0 ? POLICY_MS : 0});
    } else if (t->state == TASK_RUNNING) {
        /* It yielded, but not through task_park: nothing would ever wake it. */
        lua_pushliteral(t->L, "a library in C yielded outside of any coroutine");
        finish_failed(t, (struct failure){.status = LUA_ERRRUN});
    } else if (t->cancelled) {
        task_cancel(ts, (struct task_ticket){t->index, t->life});
    }
}

bool tasks_ready(const struct tasks *ts)
{
    return !list_empty(&ts->ready) || !list_empty(&ts->first);
}

/* The clock is looked at after each task: a few that use their whole budget would otherwise hold up the loop. */
void tasks_run(struct tasks *ts)
{
    if (!tasks_ready(ts))
        return;
    uint64_t until = clock_ns() + TURN_MS * NS_PER_MS;
    do {
        ts->first_ran = list_empty(&ts->ready) || (!ts->first_ran && !list_empty(&ts->first));
        resume(list_first(ts->first_ran ? &ts->first : &ts->ready, struct task, link));
        if (ts->vm->attached && clock_ns() >= until) {
            loop_again(ts->vm->services.loop);
            return;
        }
    } while (tasks_ready(ts));
}

/* ---- start and end ---- */

int task_start(struct tasks *ts, const struct task_options *o, struct task_ticket *ticket)
{
    if (o->guest && ts->guests >= ts->max + (o->first ? FIRST_RESERVED : 0))
        return -ERR_TOO_MANY;
    bool capped = ts->vm->memory.capped;
    ts->vm->memory.capped = false;   /* a task may start another one: what fails here would end the process */
    struct task *t = task_take(ts);
    t->refused = t->begun = t->cancelled = t->left = false;
    t->told = t->may_stop = t->may_leave = t->appended = t->broken = false;
    t->guest = o->guest;
    t->operator_code = o->operator_code;
    t->background = o->background;
    t->closed = o->background && o->operator_code;
    t->used = 0;
    t->first = o->first || !o->guest;
    ts->guests += t->guest;
    t->done = o->done;
    t->arg = o->arg;
    t->hook = NULL;
    t->hook_until = 0;
    t->began = clock_ns();
    t->where = t->where_text;
    /* As much as fits. The last byte is never written, so the watchdog's signal handler always finds an end. */
    size_t n = strnlen(o->where, WHERE_MAX - 1);
    memcpy(t->where_text, o->where, n);
    t->where_text[n] = '\0';
    lua_checkstack(t->L, STACK_RESERVE);
    t->args = o->push(t->L, o->arg);
    ts->vm->memory.capped = capped;
    ts->started++;
    task_make_ready(t);
    if (ticket != NULL)
        *ticket = (struct task_ticket){t->index, t->life};
    return 0;
}

void task_cancel(struct tasks *ts, struct task_ticket ticket)
{
    struct task *t = task_of(ts, ticket.index, ticket.generation);
    if (t == NULL)
        return;
    if (t->state == TASK_RUNNING) {
        t->cancelled = true;
        return;
    }
    list_remove(&t->link);
    wait_end(t, -ERR_CANCELLED);
    buf_clear(&ts->message);
    buf_addf(&ts->message, "%s was cancelled", t->where);
    buf_add_char(&ts->message, '\0');
    finish(t, (struct task_result){.rc = -ERR_CANCELLED});
}

void tasks_end_background(struct tasks *ts)
{
    for (unsigned i = 0; i < ts->count; i++)
        if (ts->all[i]->background)
            task_cancel(ts, (struct task_ticket){i, ts->all[i]->life});
}

void tasks_free(struct tasks *ts)
{
    for (unsigned i = 0; i < ts->count; i++)
        task_cancel(ts, (struct task_ticket){i, ts->all[i]->life});
    for (unsigned i = 0; i < ts->count; i++) {
        if (ts->all[i]->L != NULL)
            coroutine_drop(ts->all[i]);
        mem_free(ts->all[i]);
    }
    if (ts->timing)
        timeouts_fini(&ts->timeouts);
    ts->vm->tasks = NULL;
    buf_fini(&ts->message);
    buf_fini(&ts->trace);
    mem_free(ts->all);
    mem_free(ts);
}
