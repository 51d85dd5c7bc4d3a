/*
 * Tasks: pooled coroutines that may wait as if they blocked. Every request, timer tick and console line is one.
 *
 * A task is idle (pooled), running, parked (waiting for one thing) or ready (its thing has come). Only tasks_run
 * resumes. Whoever completes a wait does so with the wait's ticket; a late completion (cancelled, timed out) is refused
 * and wakes nobody.
 *
 * While a task runs it has a budget of CPU time without waiting (script/vm/budget.h), which neither pcall nor a
 * coroutine can hide, and which costs nothing as long as it is kept. A wait may begin in any coroutine of the
 * task: it passes through all that resumed it (coroutine.c).
 */
#ifndef SCRIPT_VM_TASK_H
#define SCRIPT_VM_TASK_H

#include "script/vm/vm.h"

struct task;

struct task_ticket {
    unsigned index, generation;
};

struct task_result {
    int rc;                       /* 0; -ERR_SCRIPT, -ERR_SCRIPT_TIME, -ERR_SCRIPT_MEMORY, -ERR_CANCELLED */
    const char *message;          /* with the script's file and line; valid during the call */
    lua_State *L;                 /* with `values` results on top, when rc is 0 */
    int values;
    bool appended;                /* it has appended something, whatever rc says */
};

struct task_options {
    const char *where;            /* "POST /v1/topics/{topic}/messages", "every 5 s at lignum.lua:12"; copied */
    int (*push)(lua_State *L, void *arg);     /* pushes the function and its arguments; the number of these */
    void (*done)(void *arg, const struct task_result *result);   /* exactly once */
    void *arg;
    bool guest;                   /* in a client's name; there are only so many. The broker's own tasks are few */
};

struct tasks *tasks_new(struct vm *vm);
void tasks_free(struct tasks *ts);             /* cancels all */
void tasks_set_limits(struct tasks *ts, unsigned max, uint32_t budget_ms);   /* max: guests */
void tasks_set_lingering(struct tasks *ts, unsigned max);   /* guests that may call task_linger */
size_t tasks_live(const struct tasks *ts);

/* Orderly end: whoever sleeps, long-polls or fetches is woken with -ERR_STOPPING, now and from now on; who waits for an
 * append to be acknowledged still gets that. */
void tasks_stop(struct tasks *ts);

/* Makes it ready; it runs in tasks_run. -ERR_TOO_MANY: it would be one guest too many (done is not called). */
int task_start(struct tasks *ts, const struct task_options *o, struct task_ticket *ticket);   /* ticket: or NULL */

/* Ends a task wherever it waits; its pending <close> variables run; done gets -ERR_CANCELLED. */
void task_cancel(struct tasks *ts, struct task_ticket ticket);   /* the ticket of task_start */
bool tasks_stopping(const struct tasks *ts);

/* Whoever the task works for has gone: a wait that task_may_leave has marked ends with -ERR_CANCELLED, now and from now
 * on; others go on. The ticket is task_start's. */
void task_left(struct tasks *ts, struct task_ticket ticket);

/* Step 2 of the turn: resumes ready tasks, those that become ready meanwhile included, for a bounded time. */
void tasks_run(struct tasks *ts);
bool tasks_ready(const struct tasks *ts);   /* is there one left, or woken since? */

/* For bindings: the running task; raises where there is none (while loading) or where it cannot yield. */
struct task *task_self(lua_State *L);
bool task_waits(const struct tasks *ts);              /* the running one has called task_park and is yielding */
void task_where(struct task *t, const char *where);   /* what it is, from now on; outlives the task */
void task_hook(struct task *t, const char *hook);     /* which hook runs now; outlives the task. NULL: none */
void task_appended(struct task *t);                   /* for task_result */
void task_may_stop(struct task *t);                   /* tasks_stop ends the wait that begins next */
void task_may_leave(struct task *t);                  /* nor when task_left has been called */
bool task_is_guest(const struct task *t);

/* Before a wait for what may never come: takes one of the places for such guests, until the task ends. 0, also for who
 * is no guest; -ERR_TOO_MANY: it may not wait. The rest of the tasks and connections is so always for those who are
 * soon done: publishes, and the health check that a leader's session depends on. */
int task_linger(struct task *t);

/* For bindings: give up the processor until task_wake; `cont` gets the rc (0, what task_wake said, -ERR_TIMEOUT) as
 * integer on top of the stack. timeout_ms 0 = none. Call as `return task_park(...)`. */
int task_park(lua_State *L, struct task *t, uint32_t timeout_ms, lua_KContext ctx, lua_KFunction cont);
struct task_ticket task_ticket(const struct task *t);   /* of the wait that task_park will begin; for task_wake only */
bool task_wake(struct tasks *ts, struct task_ticket ticket, int rc);   /* false: too late */

/* Like task_park, on a mark: O(1), no allocation. */
int task_park_on(lua_State *L, struct task *t, struct mark *m, uint64_t want, uint32_t timeout_ms, lua_KContext ctx,
                 lua_KFunction cont);

#endif
