/*
 * How a task waits: a binding parks it, and something wakes it later. Nothing here runs Lua; a woken task is queued and
 * runs in tasks_run.
 *
 * A wait ends by exactly one of: its mark, task_wake, its timeout, tasks_stop, task_left, task_cancel. Whichever comes
 * first counts; the others find the wait's number outdated.
 */
#ifndef SCRIPT_VM_WAIT_H
#define SCRIPT_VM_WAIT_H

#include <lua.h>

#include "broker/topic/mark.h"
#include "net/quota.h"
#include "script/vm/raise.h"

#define TOO_MANY_WAIT \
    "too many requests wait at once: all together (limits.tasks), or those of this client (limits.client.waiting)"

struct task;
struct tasks;

/* Names a task (task_start) or one wait of a task (task_ticket); either is refused once that is over. */
struct task_ticket {
    unsigned index, generation;
};

/* Parks the running task until task_wake; call as `return task_park(...)`. `cont` then finds how the wait ended on top
 * of the stack, as an integer: 0 or what task_wake was given, -ERR_TIMEOUT, -ERR_STOPPING, -ERR_CANCELLED.
 * timeout_ms 0: no timeout. */
MAY_RAISE int task_park(lua_State *L, struct task *t, uint32_t timeout_ms, lua_KContext ctx, lua_KFunction cont);

/* As task_park, until the mark reaches `want`: no allocation. Where it has already, calls `cont` at once. */
MAY_RAISE int task_park_on(lua_State *L, struct task *t, struct mark *m, uint64_t want, uint32_t timeout_ms,
                           lua_KContext ctx, lua_KFunction cont);

/* For task_wake: the wait that the next task_park begins. task_wake returns false when that wait is over. */
struct task_ticket task_ticket(const struct task *t);
bool task_wake(struct tasks *ts, struct task_ticket ticket, int rc);

/* Before task_park: what may end this wait early. */
void task_may_stop(struct task *t);    /* tasks_stop, with -ERR_STOPPING */
void task_may_leave(struct task *t);   /* task_left, with -ERR_CANCELLED */

/* Call before an unbounded wait: takes one of the limited places for guests that wait so, until the task ends. 0, also
 * for a task that is no guest; -ERR_TOO_MANY: it may not wait. The other places for tasks, and the connections, thus
 * stay free for short requests: publishes, and the health check that a leader's session depends on. */
int task_linger(struct task *t);

/* The client that the task works for: its waits count as this client's, from task_linger to the end of the task. */
void task_bill(struct task *t, struct quotas *quotas, struct quota_ref client);
void tasks_set_lingering(struct tasks *ts, unsigned max);

/* How long the task has waited since it called task_linger: for something that others do, such as a publish. */
uint64_t task_lingered_ns(const struct task *t);

/* Orderly end: waits marked by task_may_stop (sleeps, long-polls, fetches) end with -ERR_STOPPING, now and from now on.
 * A wait for the acknowledgement of an append goes on. */
void tasks_stop(struct tasks *ts);
bool tasks_stopping(const struct tasks *ts);

/* The client that a task works for has gone: waits marked by task_may_leave end, now and from now on, and all waits of
 * the operator's code; others go on. The ticket is task_start's.
 *
 * A task of the operator's code that has been told once, by the end of a wait, that its client has gone or that the
 * broker stops, is cancelled at the next wait that would end so. */
void task_left(struct tasks *ts, struct task_ticket ticket);

/* Whether any wait of this task would end so: for calls that need not wait when the client has gone, and do. */
bool task_must_leave(const struct task *t);
bool task_has_left(const struct task *t);

#endif
