#include "script/vm/wait.h"

#include "base/clock.h"
#include "base/err.h"
#include "script/vm/task_state.h"

static void wake(struct task *t, int rc)
{
    wait_end(t, rc);
    task_make_ready(t);
}

static void on_mark(struct waiter *w, int rc)
{
    wake(LIST_OWNER(w, struct task, waiter), rc);
}

static void on_due(void *arg)
{
    struct tasks *ts = arg;
    struct timeout *due;
    uint64_t now = clock_ns();
    while ((due = timeouts_next(&ts->timeouts, now)) != NULL)
        wake(LIST_OWNER(due, struct task, timeout), -ERR_TIMEOUT);
}

void wait_init(struct task *t)
{
    t->waiter = (struct waiter){.wake = on_mark};
}

void wait_end(struct task *t, int rc)
{
    t->rc = rc;
    t->told |= rc == -ERR_STOPPING || (rc == -ERR_CANCELLED && t->left);
    t->wait++;
    t->may_stop = t->may_leave = false;
    if (t->parked_ns > 0)
        t->lingered_ns += clock_ns() - t->parked_ns;
    t->parked_ns = 0;
    timeout_clear(&t->timeout);
    waiter_cancel(&t->waiter);
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

int task_park(lua_State *L, struct task *t, uint32_t timeout_ms, lua_KContext ctx, lua_KFunction cont)
{
    struct tasks *ts = t->tasks;
    t->state = TASK_PARKED;
    t->parked_ns = t->lingers ? clock_ns() : 0;
    uint64_t until = timeout_ms == 0 ? UINT64_MAX : clock_ns() + timeout_ms * NS_PER_MS;
    if (t->hook_until != 0 && t->hook_until < until)
        until = t->hook_until;    /* then the task fails instead of going on */
    if (until != UINT64_MAX) {
        if (!ts->timing) {
            timeouts_init(&ts->timeouts, ts->vm->services.loop, on_due, ts);
            ts->timing = true;
        }
        timeout_set(&ts->timeouts, &t->timeout, until);
    }
    bool stops = t->may_stop && ts->stopping, leaves = t->left && (t->may_leave || t->operator_code);
    /* The operator's code has been told once; whatever it does, it cannot go on without end. */
    t->cancelled |= t->operator_code && t->told && (stops || leaves);
    if (stops)
        wake(t, -ERR_STOPPING);
    else if (leaves)
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

void task_bill(struct task *t, struct quotas *quotas, struct quota_ref client)
{
    if (t->lingers)
        return;
    t->tasks->quotas = quotas;
    t->client = client;
}

int task_linger(struct task *t)
{
    struct tasks *ts = t->tasks;
    if (!t->guest || t->lingers)
        return 0;
    if (ts->lingering >= ts->lingering_max)
        return -ERR_TOO_MANY;
    if (t->client.index != 0 && !quota_wait(ts->quotas, t->client))
        return -ERR_TOO_MANY;
    ts->lingering++;
    t->lingers = true;
    return 0;
}

uint64_t task_lingered_ns(const struct task *t)
{
    return t->lingered_ns;
}

void tasks_set_lingering(struct tasks *ts, unsigned max)
{
    ts->lingering_max = max;
}

void tasks_stop(struct tasks *ts)
{
    ts->stopping = true;
    for (unsigned i = 0; i < ts->count; i++)
        if (ts->all[i]->state == TASK_PARKED && ts->all[i]->may_stop)
            wake(ts->all[i], -ERR_STOPPING);
}

bool tasks_stopping(const struct tasks *ts)
{
    return ts->stopping;
}

bool task_has_left(const struct task *t)
{
    return t->left;
}

bool task_must_leave(const struct task *t)
{
    return t->left && t->operator_code;
}

void task_left(struct tasks *ts, struct task_ticket ticket)
{
    struct task *t = task_of(ts, ticket.index, ticket.generation);
    if (t == NULL)
        return;
    t->left = true;
    if (t->state == TASK_PARKED && (t->may_leave || t->operator_code))
        wake(t, -ERR_CANCELLED);
}
