/*
 * Tasks: pooled coroutines that may wait as if they blocked. Each request, timer tick and console line is one.
 *
 * Only tasks_run resumes a task, and task_cancel ends one; everything else queues it (wait.h). While a task runs it has
 * a budget of CPU time (budget.h), which neither pcall nor a coroutine can hide and which costs nothing as long as it
 * is kept. A wait may begin in any coroutine of the task: it passes through all that resumed it (coroutine.c).
 */
#ifndef SCRIPT_VM_TASK_H
#define SCRIPT_VM_TASK_H

#include "base/say.h"
#include "base/slice.h"
#include "script/vm/wait.h"

struct vm;

struct task_result {
    int rc;                       /* 0; -ERR_SCRIPT, _SCRIPT_TIME, _SCRIPT_MEMORY; -ERR_UNAVAILABLE, -ERR_CANCELLED */
    const char *what;             /* that failed: a hook, or the task's `where` */
    const char *message;          /* with the script's file and line; valid during the call, as is: */
    const char *trace;            /* the lines that were being run, the innermost first; "": not known */
    lua_State *L;                 /* with `values` results on top, when rc is 0 */
    int values;
    bool appended;                /* it has appended something, whatever rc is */
};

/* Says that a task has failed, why and where. `id`: of the request; NULL: none. */
void task_say_failure(enum say_level level, const struct task_result *r, const char *id);

struct task_options {
    const char *where;            /* "POST /v1/topics/{topic}/messages", "every 5 s at lignum.lua:12"; copied */
    int (*push)(lua_State *L, void *arg);     /* pushes the function and its arguments; returns how many arguments */
    void (*done)(void *arg, const struct task_result *result);   /* exactly once */
    void *arg;
    bool operator_code;           /* the operator's code, which gives way after each slice */
    bool background;              /* a timer, or spawned: tasks_end_background ends it; no reserve of memory */
    bool guest;                   /* on behalf of a client: their number is limited. The broker's own tasks are few */
    bool first;                   /* a guest with what the broker's own tasks have: a health check */
};

struct tasks *tasks_new(struct vm *vm);
void tasks_free(struct tasks *ts);             /* cancels all */
void tasks_set_limits(struct tasks *ts, unsigned max, uint32_t budget_ms);   /* max: guests */

struct tasks_stats {
    uint64_t started, live, failed, guests;
};
struct tasks_stats tasks_stats(const struct tasks *ts);

/* Makes a task ready; it runs in tasks_run. `ticket`: NULL, or for task_cancel and task_left. -ERR_TOO_MANY: one guest
 * too many, and done is not called. */
int task_start(struct tasks *ts, const struct task_options *o, struct task_ticket *ticket);

/* Ends a task wherever it waits: its pending <close> variables run, and done gets -ERR_CANCELLED. A
 * running task (the caller's own, say) ends when it next waits. */
void task_cancel(struct tasks *ts, struct task_ticket ticket);

/* Cancels those of `background`, when their world is no longer the live one. */
void tasks_end_background(struct tasks *ts);

/* Step 2 of the turn: resumes ready tasks, including those that become ready meanwhile, for a bounded time. The
 * broker's own tasks and health checks take turns with those of clients, so they do not wait until a crowd has been
 * served. */
void tasks_run(struct tasks *ts);
bool tasks_ready(const struct tasks *ts);

/* Visits requests, timers and what was spawned: start with *at = 0; false at the end. */
struct task_view {
    struct task_ticket ticket;
    const char *where, *hook, *state;         /* hook: NULL, or the one that runs */
    uint64_t began;                           /* in clock_ns */
};
bool tasks_view(const struct tasks *ts, unsigned *at, struct task_view *out);

/* For bindings. task_self: the running task; raises when there is none (while loading), or when the call cannot yield.
 * The texts outlive the task. */
MAY_RAISE struct task *task_self(lua_State *L);
struct task *task_that_can_wait(lua_State *L);        /* the same, but NULL where task_self raises */
bool task_is_guest(const struct task *t);
void task_where(struct task *t, const char *where);   /* names the task in messages from now on */
void task_hook(struct task *t, const char *hook);     /* the hook that runs now, for messages; NULL: none */
const char *task_hook_of(const struct task *t);
void task_hook_within(struct task *t, uint32_t ms);   /* it fails with -ERR_UNAVAILABLE when that hook takes longer */
bool *task_refused(struct task *t);                   /* the hook has refused; false when a hook begins */
void task_operator_code(struct task *t, bool closed); /* runs the operator's code; closed: without reserve */
void task_appended(struct task *t);                   /* for task_result */

/* The running task; NULL outside of any. Unlike task_self it never raises. */
struct task *task_running(lua_State *L);

/* For coroutine.c: the running task has called task_park, or gives way, and is yielding. */
bool task_waits(const struct tasks *ts);

/* For the hook, at the end of a slice: queues the running task again, if it runs the operator's code and can yield.
 * True: the caller now yields, with no values. `ts` may be NULL. */
bool task_gives_way(struct tasks *ts, lua_State *L);

/* For a binding that loops for long and cannot yield: ends the run when its budget is used up. */
MAY_RAISE void task_look(lua_State *L);

/* For a binding that loops for long, to be called several times in a slice. True: `return lua_yieldk(L, 0, ...)`, and
 * its continuation goes on. Ends the run when its budget is used up; the message then names the pattern. */
MAY_RAISE bool task_interrupts(lua_State *L, slice pattern);

#endif
