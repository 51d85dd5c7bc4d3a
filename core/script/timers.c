#include "script/timers.h"

#include <lauxlib.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/say.h"
#include "script/vm/task.h"

enum { TIMERS_MS = 100 };             /* the budget of the entry point timers() */

/*
 * States:
 *     waiting    !running                 its watch is armed; on_tick -> running; timers_stop frees it
 *     running    running                  its task is on; the end of that -> waiting
 *     stopped    running, stopped         timers_stop cancels its task; the end of that frees it
 */
struct timer {
    struct list link;
    struct vm *vm;                    /* outlives us */
    struct watch watch;
    uint64_t delay_ns;                /* from the end of one run to the next */
    int fn_ref;
    uint64_t began;                   /* its latest run, in clock_ns */
    struct task_ticket task;          /* while running */
    bool running, stopped;
    bool once;                        /* it ends with its first run */
    bool uncounted;                   /* its script counts its calls */
    bool duty;                        /* the core's own code; runs at once, and again after the delay if it ends */
    char where[128];
};

static void timer_free(struct timer *t)
{
    watch_fini(&t->watch);
    luaL_unref(vm_state(t->vm), LUA_REGISTRYINDEX, t->fn_ref);
    list_remove(&t->link);
    mem_free(t);
}

static int push_timer(lua_State *L, void *arg)
{
    const struct timer *t = arg;
    lua_rawgeti(L, LUA_REGISTRYINDEX, t->fn_ref);
    return 0;
}

static void on_ticked(void *arg, const struct task_result *r)
{
    struct timer *t = arg;
    const struct services *s = vm_services(vm_state(t->vm));
    t->running = false;
    if (!t->duty && !t->uncounted && s->called != NULL && r->rc != -ERR_CANCELLED)
        s->called(s->meters, "timer", t->where, clock_ns() - t->began, r->rc < 0 ? r->message : NULL);
    if (r->rc < 0 && r->rc != -ERR_CANCELLED && !tasks_stopping(vm_tasks(t->vm)))
        task_say_failure(SAY_ERROR, r, NULL);
    if (t->stopped || t->once)
        timer_free(t);
    else
        watch_arm(&t->watch, t->delay_ns);
}

static void on_tick(void *arg)
{
    struct timer *t = arg;
    struct task_options o = {
        .where = t->where, .push = push_timer, .done = on_ticked, .arg = t, .operator_code = !t->duty,
        .background = true};
    if (tasks_stopping(vm_tasks(t->vm)))
        return;
    if (!t->duty && memory_is_full(vm_memory(t->vm))) {
        watch_arm(&t->watch, t->delay_ns);
        return;
    }
    t->began = clock_ns();
    t->running = task_start(vm_tasks(t->vm), &o, &t->task) == 0;
}

/* The declaration {seconds =, fn =, where =} lies on top. */
static void timer_new(struct vm *vm, struct list *timers)
{
    lua_State *L = vm_state(vm);
    struct timer *t = MEM_NEW(struct timer);
    t->vm = vm;
    lua_getfield(L, -1, "seconds");
    t->delay_ns = (uint64_t)(lua_tonumber(L, -1) * (double)NS_PER_S);
    lua_getfield(L, -2, "where");
    snprintf(t->where, sizeof(t->where), "%s", lua_isstring(L, -1) ? lua_tostring(L, -1) : "a timer");
    lua_getfield(L, -3, "duty");
    t->duty = lua_toboolean(L, -1);
    lua_getfield(L, -4, "once");
    t->once = lua_toboolean(L, -1);
    lua_getfield(L, -5, "uncounted");
    t->uncounted = lua_toboolean(L, -1);
    lua_pop(L, 5);
    lua_getfield(L, -1, "fn");
    t->fn_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    list_push(timers, &t->link);
    watch_timer(vm_services(L)->loop, &t->watch, on_tick, t);
    watch_arm(&t->watch, t->duty ? 1 : t->delay_ns);
}

static void free_all(void *state)
{
    struct list *timers = state;
    LIST_EACH(link, timers)
        timer_free(LIST_OWNER(link, struct timer, link));
    mem_free(timers);
}

void timers_start(struct vm *vm)
{
    lua_State *L = vm_state(vm);
    if (slot_get(vm_slots(vm), SLOT_TIMERS) != NULL)
        return;
    struct list *timers = MEM_NEW(struct list);
    list_init(timers);
    slot_set(vm_slots(vm), SLOT_TIMERS, timers, free_all);
    int top = lua_gettop(L);
    vm_push_entry(vm, L, "timers");
    if (vm_call(vm, 0, 1, TIMERS_MS) < 0)
        say_error("script", "timers: %s", lua_tostring(L, -1));
    else if (lua_istable(L, -1))
        for (lua_Integer i = 1; lua_rawgeti(L, top + 1, i) == LUA_TTABLE; i++) {
            timer_new(vm, timers);
            lua_settop(L, top + 1);
        }
    lua_settop(L, top);
}

void timers_stop(struct vm *vm)
{
    struct list *timers = slot_get(vm_slots(vm), SLOT_TIMERS);
    if (timers == NULL)
        return;
    LIST_EACH(link, timers) {
        struct timer *t = LIST_OWNER(link, struct timer, link);
        t->stopped = true;
        if (t->running)
            task_cancel(vm_tasks(vm), t->task);
        else
            timer_free(t);
    }
}
