/*
 * The life of a task is one circle: task_start or a wake makes it ready, run() resumes it, and the resumed function
 * parks it again (task_park) or ends it (finish). Everything that says "from now on somebody else's" to a wait is
 * t->wait, a number that grows when a wait ends; t->life grows when a task ends.
 */
#include "script/vm/task.h"

#include "base/clock.h"
#include "base/ensure.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "script/vm/state.h"
#include "script/vm/timeout.h"

enum {
    WHERE_MAX = 128,
    IDLE_MAX = 256,           /* coroutines kept for reuse */
    TURN_MS = 10,             /* of tasks, before others get their turn */
    LOOK_EVERY = 32,          /* tasks between two looks at the clock */
    STACK_RESERVE = 8,        /* slots that push() may count on, besides Lua's own 20 */
};

enum task_state { TASK_IDLE, TASK_READY, TASK_RUNNING, TASK_PARKED };

struct task {
    struct tasks *tasks;
    lua_State *L;             /* anchored in the registry by ref; NULL: none at the moment */
    int ref;
    unsigned index, life, wait;
    enum task_state state;
    bool begun, cancelled, left, may_stop, may_leave, appended, broken, guest, lingers;
    int args;                 /* of the function that lies on L, until it has begun */
    int rc;                   /* what the wait came to */
    struct list link;         /* in ready or idle */
    struct timeout timeout;
    struct waiter waiter;     /* of a mark */
    const char *where, *hook; /* hook: NULL, or that which runs */
    char where_text[WHERE_MAX];
    void (*done)(void *arg, const struct task_result *result);
    void *arg;
};

struct tasks {
    struct vm *vm;            /* outlives us */
    struct task **all;        /* owned */
    unsigned count, cap, max, live, idle;
    unsigned guests, lingering, lingering_max;
    uint32_t budget_ms;
    struct list ready, spare; /* spare: TASK_IDLE ones, those with a coroutine first */
    struct task *running;
    struct timeouts timeouts;
    bool timing, stopping;
    struct buf message;       /* of the task that just failed */
    uint64_t started, failed;
};

/* As much of it as fits. The last byte is never touched, so the watchdog's signal always finds an end. */
static void copy_text(char *to, size_t size, const char *text)
{
    size_t n = strnlen(text, size - 1);
    memcpy(to, text, n);
    to[n] = '\0';
}

/* ---- the pool ---- */

struct tasks *tasks_new(struct vm *vm)
{
    struct tasks *ts = MEM_NEW(struct tasks);
    ts->vm = vm;
    ts->max = TASKS_MAX;
    ts->lingering_max = TASKS_MAX - TASKS_MAX / TASKS_RESERVED;
    ts->budget_ms = TASK_BUDGET_MS;
    list_init(&ts->ready);
    list_init(&ts->spare);
    return ts;
}

void tasks_set_limits(struct tasks *ts, unsigned max, uint32_t budget_ms)
{
    ts->max = max;
    ts->budget_ms = budget_ms;
}

void tasks_set_lingering(struct tasks *ts, unsigned max)
{
    ts->lingering_max = max;
}

size_t tasks_live(const struct tasks *ts)
{
    return ts->live;
}

bool tasks_stopping(const struct tasks *ts)
{
    return ts->stopping;
}

void tasks_count(const struct tasks *ts, struct vm_stats *out)
{
    out->tasks_started = ts->started;
    out->tasks_live = ts->live;
    out->tasks_failed = ts->failed;
}

static void on_mark(struct waiter *w, int rc);

static struct task *task_new(struct tasks *ts)
{
    if (ts->count == ts->cap) {
        ts->cap = ts->cap == 0 ? 64 : ts->cap * 2;
        ts->all = mem_resize(ts->all, ts->cap * sizeof(ts->all[0]));
    }
    struct task *t = MEM_NEW(struct task);
    t->tasks = ts;
    t->index = ts->count;
    t->waiter.wake = on_mark;
    list_init(&t->link);
    list_init(&t->waiter.link);
    ts->all[ts->count++] = t;
    return t;
}

static void coroutine_make(struct task *t)
{
    lua_State *L = t->tasks->vm->L;
    t->L = lua_newthread(L);
    thread_set_ours(t->L, true);
    t->ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

static void coroutine_drop(struct task *t)
{
    luaL_unref(t->tasks->vm->L, LUA_REGISTRYINDEX, t->ref);
    t->L = NULL;
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
    if (t->L == NULL)
        coroutine_make(t);
    else
        ts->idle--;
    ts->live++;
    return t;
}

/* The coroutines of a burst are given back; the few most recently used are kept, the warmest first. */
static void task_give(struct task *t)
{
    struct tasks *ts = t->tasks;
    t->state = TASK_IDLE;
    t->life++;
    ts->live--;
    ts->guests -= t->guest;
    ts->lingering -= t->lingers;
    t->guest = t->lingers = false;
    if (t->L != NULL && ts->idle == IDLE_MAX)
        coroutine_drop(t);
    if (t->L == NULL) {
        list_push(&ts->spare, &t->link);
    } else {
        list_insert_before(ts->spare.next, &t->link);
        ts->idle++;
    }
}

/* ---- waiting and waking ---- */

static void make_ready(struct task *t)
{
    t->state = TASK_READY;
    list_push(&t->tasks->ready, &t->link);
}

static void wait_end(struct task *t, int rc)
{
    t->rc = rc;
    t->wait++;
    t->may_stop = t->may_leave = false;
    timeout_clear(&t->timeout);
    waiter_cancel(&t->waiter);
}

static void wake(struct task *t, int rc)
{
    wait_end(t, rc);
    make_ready(t);
}

static void on_mark(struct waiter *w, int rc)
{
    wake(LIST_OWNER(w, struct task, waiter), rc);
}

struct task_ticket task_ticket(const struct task *t)
{
    return (struct task_ticket){t->index, t->wait};
}

bool task_wake(struct tasks *ts, struct task_ticket ticket, int rc)
{
    if (ticket.index >= ts->count)
        return false;
    struct task *t = ts->all[ticket.index];
    if (t->state != TASK_PARKED || t->wait != ticket.generation)
        return false;
    wake(t, rc);
    return true;
}

static void on_due(void *arg)
{
    struct tasks *ts = arg;
    struct timeout *due;
    uint64_t now = clock_ns();
    while ((due = timeouts_next(&ts->timeouts, now)) != NULL)
        wake(LIST_OWNER(due, struct task, timeout), -ERR_TIMEOUT);
}

static void timeout_begin(struct task *t, uint32_t timeout_ms)
{
    struct tasks *ts = t->tasks;
    if (!ts->timing) {
        timeouts_init(&ts->timeouts, ts->vm->services.loop, on_due, ts);
        ts->timing = true;
    }
    timeout_set(&ts->timeouts, &t->timeout, clock_ns() + timeout_ms * NS_PER_MS);
}

int task_park(lua_State *L, struct task *t, uint32_t timeout_ms, lua_KContext ctx, lua_KFunction cont)
{
    t->state = TASK_PARKED;
    if (timeout_ms != 0)
        timeout_begin(t, timeout_ms);
    if (t->may_stop && t->tasks->stopping)
        wake(t, -ERR_STOPPING);
    else if (t->may_leave && t->left)
        wake(t, -ERR_CANCELLED);
    return lua_yieldk(L, 0, ctx, cont);
}

int task_park_on(lua_State *L, struct task *t, struct mark *m, uint64_t want, uint32_t timeout_ms, lua_KContext ctx,
                 lua_KFunction cont)
{
    if (m->at >= want) {
        lua_pushinteger(L, 0);
        return cont(L, LUA_OK, ctx);
    }
    mark_wait(m, &t->waiter, want);
    return task_park(L, t, timeout_ms, ctx, cont);
}

void task_may_stop(struct task *t)
{
    t->may_stop = true;
}

void task_may_leave(struct task *t)
{
    t->may_leave = true;
}

bool task_is_guest(const struct task *t)
{
    return t->guest;
}

int task_linger(struct task *t)
{
    struct tasks *ts = t->tasks;
    if (!t->guest || t->lingers)
        return 0;
    if (ts->lingering >= ts->lingering_max)
        return -ERR_TOO_MANY;
    ts->lingering++;
    t->lingers = true;
    return 0;
}

void tasks_stop(struct tasks *ts)
{
    ts->stopping = true;
    for (unsigned i = 0; i < ts->count; i++)
        if (ts->all[i]->state == TASK_PARKED && ts->all[i]->may_stop)
            wake(ts->all[i], -ERR_STOPPING);
}

/* ---- for bindings ---- */

/* All threads of the run up to the task's own have to be able to yield, for the wait passes through each. */
struct task *task_self(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct task *t = vm->tasks == NULL ? NULL : vm->tasks->running;
    if (t == NULL)
        luaL_error(L, "this may be called in a task only (a handler, hook, timer or the console), not while loading");
    for (struct budget_frame *f = vm->budget.top; f != NULL; f = f->below)
        if (!lua_isyieldable(f->L))
            luaL_error(L, "this call waits, which cannot be done inside sort, gsub, require, __gc or __close");
    return t;
}

bool task_waits(const struct tasks *ts)
{
    return ts != NULL && ts->running != NULL && ts->running->state != TASK_RUNNING;
}

void task_where(struct task *t, const char *where)
{
    t->where = where;
    t->tasks->vm->budget.where = where;
}

void task_hook(struct task *t, const char *hook)
{
    t->hook = hook;
}

void task_appended(struct task *t)
{
    t->appended = true;
}

/* ---- failures ---- */

static slice describe(struct task *t, struct error_cause cause)
{
    struct buf *out = &t->tasks->message;
    buf_clear(out);
    if (t->where[0] != '\0' || t->hook != NULL)
        buf_addf(out, "%s failed: ", t->hook == NULL ? t->where : t->hook);
    error_describe(out, t->L, t->tasks->vm, cause);
    buf_add_char(out, '\0');
    return buf_slice(out);
}

/* ---- running ---- */

struct run {
    struct budget_run budget;
    struct task *outer;
    bool capped;
};

static void run_begin(struct run *r, struct task *t)
{
    struct tasks *ts = t->tasks;
    budget_begin(&ts->vm->budget, &r->budget, t->L, ts->budget_ms);
    ts->vm->budget.where = t->where;
    r->outer = ts->running;
    r->capped = ts->vm->capped;
    ts->running = t;
    ts->vm->capped = true;
}

/* Whether it went over its budget. */
static bool run_end(struct run *r, struct task *t)
{
    struct tasks *ts = t->tasks;
    ts->vm->capped = r->capped;
    ts->running = r->outer;
    return budget_end(&ts->vm->budget, &r->budget);
}

/* Runs what is left to be closed, with a budget of its own, and lets go of the coroutine: in Lua 5.4.4 one that was
 * stopped inside xpcall keeps a stale message handler (L->errfunc). One that died by an error raised in a hook has its
 * hooks off for good: what it would still close could not be stopped. */
static void coroutine_end(struct task *t)
{
    struct run r;
    if (!t->broken) {
        run_begin(&r, t);
        lua_resetthread(t->L);
        run_end(&r, t);
    }
    coroutine_drop(t);
}

/* Ends it. What is to be closed is closed before `done` hears of a failure, for that may still use the request. */
static void finish(struct task *t, struct task_result result)
{
    result.appended = t->appended;
    t->state = TASK_RUNNING;   /* for who looks while it closes; nothing can wake or cancel it */
    if (result.rc < 0) {
        t->tasks->failed += result.rc != -ERR_CANCELLED;
        coroutine_end(t);
        result.message = t->tasks->message.data;
    }
    t->done(t->arg, &result);
    if (t->L != NULL)
        lua_settop(t->L, 0);
    task_give(t);
    vm_relieve(t->tasks->vm);
}

static void finish_failed(struct task *t, struct error_cause cause)
{
    t->broken = cause.over && cause.status != LUA_YIELD;
    describe(t, cause);
    finish(t, (struct task_result){.rc = error_code(cause)});
}

static void finish_cancelled(struct task *t)
{
    buf_clear(&t->tasks->message);
    buf_addf(&t->tasks->message, "%s was cancelled", t->where);
    buf_add_char(&t->tasks->message, '\0');
    finish(t, (struct task_result){.rc = -ERR_CANCELLED});
}

/* It yielded, but not through task_park, so nothing would ever wake it. */
static void finish_strange(struct task *t)
{
    lua_pushliteral(t->L, "a library in C yielded outside of any coroutine");
    finish_failed(t, (struct error_cause){.status = LUA_ERRRUN});
}

static int resume(struct task *t, int *values, bool *over)
{
    struct run r;
    int args = t->args;
    if (t->begun) {
        lua_pushinteger(t->L, t->rc);
        args = 1;
    }
    t->begun = true;
    t->state = TASK_RUNNING;
    run_begin(&r, t);
    int status = lua_resume(t->L, NULL, args, values);
    *over = run_end(&r, t);
    return status;
}

static void run(struct task *t)
{
    int values;
    bool over;
    list_remove(&t->link);
    int status = resume(t, &values, &over);
    if (status == LUA_OK)
        finish(t, (struct task_result){.L = t->L, .values = values});
    else if (status != LUA_YIELD)
        finish_failed(t, (struct error_cause){status, over, t->tasks->budget_ms});
    else if (t->state == TASK_RUNNING && over)
        finish_failed(t, (struct error_cause){status, over, t->tasks->budget_ms});
    else if (t->state == TASK_RUNNING)
        finish_strange(t);
    else if (t->cancelled)
        task_cancel(t->tasks, (struct task_ticket){t->index, t->life});
}

bool tasks_ready(const struct tasks *ts)
{
    return !list_empty(&ts->ready);
}

void tasks_run(struct tasks *ts)
{
    uint64_t until = 0;
    for (unsigned n = 1; !list_empty(&ts->ready); n++) {
        run(list_first(&ts->ready, struct task, link));
        if (n % LOOK_EVERY != 0)
            continue;
        uint64_t now = clock_ns();
        if (until == 0)
            until = now + TURN_MS * NS_PER_MS;
        if (now >= until && ts->vm->attached) {
            loop_again(ts->vm->services.loop);
            return;
        }
    }
}

/* ---- start and end ---- */

int task_start(struct tasks *ts, const struct task_options *o, struct task_ticket *ticket)
{
    if (o->guest && ts->guests >= ts->max)
        return -ERR_TOO_MANY;
    struct task *t = task_take(ts);
    t->begun = t->cancelled = t->left = t->may_stop = t->may_leave = t->appended = t->broken = false;
    t->guest = o->guest;
    ts->guests += t->guest;
    t->done = o->done;
    t->arg = o->arg;
    t->hook = NULL;
    t->where = t->where_text;
    copy_text(t->where_text, sizeof(t->where_text), o->where);
    lua_checkstack(t->L, STACK_RESERVE);
    t->args = o->push(t->L, o->arg);
    ts->started++;
    make_ready(t);
    if (ticket != NULL)
        *ticket = (struct task_ticket){t->index, t->life};
    return 0;
}

static struct task *task_of(const struct tasks *ts, struct task_ticket ticket)
{
    if (ticket.index >= ts->count)
        return NULL;
    struct task *t = ts->all[ticket.index];
    return t->life == ticket.generation && t->state != TASK_IDLE ? t : NULL;
}

void task_left(struct tasks *ts, struct task_ticket ticket)
{
    struct task *t = task_of(ts, ticket);
    if (t == NULL)
        return;
    t->left = true;
    if (t->state == TASK_PARKED && t->may_leave)
        wake(t, -ERR_CANCELLED);
}

void task_cancel(struct tasks *ts, struct task_ticket ticket)
{
    struct task *t = task_of(ts, ticket);
    if (t == NULL)
        return;
    if (t->state == TASK_RUNNING) {
        t->cancelled = true;   /* ends when it next waits */
        return;
    }
    list_remove(&t->link);
    wait_end(t, -ERR_CANCELLED);
    finish_cancelled(t);
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
    mem_free(ts->all);
    mem_free(ts);
}
