/*
 * The inside of tasks, for task.c, wait.c and coroutine.c only.
 *
 *     state     where it is                     left by
 *     idle      in tasks.spare                  task_start -> ready
 *     ready     in tasks.ready or tasks.first   tasks_run -> running; task_cancel -> running (it closes)
 *     running   on the C stack of tasks_run     task_park -> parked; task_give_way -> ready; the end of its function,
 *               or task_cancel                  or an error -> idle
 *     parked    in a mark's list, or its        a mark, task_wake, a timeout, tasks_stop, task_left -> ready;
 *               ticket is with whoever wakes    task_cancel -> running (it closes)
 *
 * A task that ends is `running` while its pending <close> variables run, so that nothing can wake or cancel it, and
 * then calls done() exactly once.
 *
 * Two numbers make late calls harmless. `wait` numbers the waits: it grows when one ends, and a wake-up with an older
 * number is ignored. `life` numbers the uses of the struct: it grows when the task ends, and a ticket of task_start
 * with an older number is ignored.
 */
#ifndef SCRIPT_VM_TASK_STATE_H
#define SCRIPT_VM_TASK_STATE_H

#include "base/list.h"
#include "broker/topic/mark.h"
#include "script/vm/state.h"
#include "script/vm/timeout.h"

enum { WHERE_MAX = 128 };

enum task_state { TASK_IDLE, TASK_READY, TASK_RUNNING, TASK_PARKED };

struct task_result;

struct task {
    struct tasks *tasks;
    lua_State *L;             /* anchored in the registry by ref; NULL: no coroutine at the moment */
    int ref;
    unsigned index;           /* in tasks.all */
    unsigned life, wait;
    enum task_state state;
    bool begun;               /* its function has been called; until then the function and `args` lie on L */
    bool cancelled;           /* while running: it ends when it next waits */
    bool left;                /* task_left: the client has gone */
    bool told;                /* a wait has ended because it left, or with -ERR_STOPPING: the next one ends the task */
    bool background;
    bool closed;              /* it may not use the reserve of memory.h */
    bool operator_code;       /* its code is the operator's, which gives way after each slice */
    unsigned used;            /* ticks of the slices since its last wait, see budget.h */
    bool may_stop, may_leave; /* tasks_stop, task_left may end the wait that is on or comes next */
    bool appended;
    bool broken;              /* an error raised in a hook ended it: its hooks are off, so it must not run again */
    bool guest, lingers;      /* counted in tasks.guests, in tasks.lingering */
    struct quota_ref client;  /* for whom it waits; index 0: nobody counts */
    uint64_t parked_ns;       /* when its wait began, while it lingers; 0: it does not wait, or not so */
    uint64_t lingered_ns;     /* task_lingered_ns */
    bool refused;             /* task_refused */
    bool first;               /* it is made ready in tasks.first */
    int args;
    int rc;                   /* how the last wait ended */
    struct list link;         /* in tasks.ready, tasks.first or tasks.spare */
    struct timeout timeout;   /* of the wait */
    struct waiter waiter;     /* for a mark */
    const char *where, *hook; /* for messages; hook: NULL, or the hook that runs */
    uint64_t began, hook_began;               /* in clock_ns */
    uint64_t hook_until;      /* clock_ns at which the task fails if its hook has not ended; 0: never */
    char where_text[WHERE_MAX];
    void (*done)(void *arg, const struct task_result *result);
    void *arg;
};

struct tasks {
    struct vm *vm;            /* outlives us */
    struct task **all;        /* owned; never shrinks, so an index stays valid */
    unsigned count, cap;      /* of `all` */
    unsigned live, idle;      /* tasks that are not idle; idle ones that keep a coroutine */
    unsigned guests, max;     /* and how many there may be */
    struct quotas *quotas;    /* outlives us; NULL: nobody counts the waits of clients */
    unsigned lingering, lingering_max;
    uint32_t budget_ms;
    struct list ready, first; /* first: those of the broker itself, and health checks */
    bool first_ran;           /* the last one that ran was of `first` */
    struct list spare;        /* idle tasks, those with a coroutine first */
    struct task *running;     /* the innermost; NULL: none */
    struct timeouts timeouts; /* once `timing` */
    bool timing, stopping;
    struct buf message, trace;    /* of the task that failed last */
    uint64_t started, failed;
};

/* The task of a ticket of task_start; NULL once it has ended. */
static inline struct task *task_of(const struct tasks *ts, unsigned index, unsigned life)
{
    if (index >= ts->count || ts->all[index]->life != life || ts->all[index]->state == TASK_IDLE)
        return NULL;
    return ts->all[index];
}

static inline void task_make_ready(struct task *t)
{
    t->state = TASK_READY;
    list_push(t->first ? &t->tasks->first : &t->tasks->ready, &t->link);
}

/* wait.c: makes a new task's waiter ready for use. */
void wait_init(struct task *t);

/* wait.c: ends the wait, if one is on, with `rc`; the caller decides what becomes of the task. */
void wait_end(struct task *t, int rc);

#endif
