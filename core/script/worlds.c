#include "script/worlds.h"

#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/say.h"
#include "script/open.h"
#include "script/script.h"
#include "script/std/canary.h"
#include "script/vm/carry.h"

enum {
    OLD_MAX = 4,                      /* worlds; above it the oldest one's grace ends */
    USE_MS = 1000,                    /* the budget of the entry points describe() and use() */
};

/*
 * States of an old world:
 *     finishing  until the grace ends     its tasks go on; the last one's end -> closed
 *     stopping   stopping                 polls and streams have ended (tasks_stop); -> closed after LAST_MS
 *     closed                              vm_free, which cancels what is left
 */
struct old {
    struct vm *vm;                    /* owned */
    uint64_t until;                   /* clock_ns */
    bool stopping;
};

enum { LAST_MS = 500 };

struct worlds {
    struct worlds_options options;
    struct vm *core, *live, *loading; /* owned; loading: NULL unless a reload is on */
    struct old old[OLD_MAX];          /* the oldest first */
    unsigned old_count;
    bool again;                       /* a reload was asked for while one was on */
    bool loaded;                      /* `loading` has ended, with: */
    int rc;
    struct buf why;
    struct services services;         /* valid once attached */
    struct canary canary;
    bool attached, stopping;
    unsigned told;                    /* tasks that tell a world of its part, and have not ended */
    struct watch watch;               /* for the next `until` */
};

/* ---- making them ---- */

static int operator_new(struct worlds *w, struct vm **out)
{
    struct vm_options o = w->options.vm;
    o.init = o.tests == NULL ? "init" : "testing";
    o.world = "operator";
    o.first = w->core;
    o.memory_reserve = VM_MEMORY_RESERVE;
    int rc = script_new(o, out);
    if (rc < 0)
        return rc;
    vm_set_peer(*out, w->core);
    if (w->attached)
        script_attach(*out, &w->services);
    return 0;
}

/* Tells the core's world what the live one declares. */
static void tell_core(struct worlds *w)
{
    lua_State *from = vm_state(w->live), *to = vm_state(w->core);
    vm_set_peer(w->core, w->live);
    vm_push_entry(w->live, from, "describe");
    if (vm_call(w->live, 0, 1, USE_MS) < 0) {
        say_error("script", "describe: %s", lua_tostring(from, -1));
    } else {
        vm_push_entry(w->core, to, "use");
        carry_top(from, 1, to);
        if (vm_call(w->core, 1, 0, USE_MS) < 0) {
            say_error("script", "use: %s", lua_tostring(to, -1));
            lua_pop(to, 1);
        }
    }
    lua_pop(from, 1);
}

struct telling {
    struct worlds *w;
    struct vm *vm;
    const char *entry;
};

static int push_entry(lua_State *L, void *arg)
{
    const struct telling *t = arg;
    vm_push_entry(t->vm, L, t->entry);
    return 0;
}

static void on_told(void *arg, const struct task_result *r)
{
    struct telling *t = arg;
    if (r->rc < 0 && r->rc != -ERR_CANCELLED)
        say_error("script", "%s: %s", t->entry, r->message);
    t->w->told--;
    mem_free(t);
}

/* Runs an entry point of an operator's world in a task: `started` or `unloaded`, which call its hooks. */
static void tell(struct worlds *w, struct vm *vm, const char *entry)
{
    struct telling *t = MEM_NEW(struct telling);
    *t = (struct telling){w, vm, entry};
    w->told++;
    struct task_options o = {.where = entry, .push = push_entry, .done = on_told, .arg = t};
    task_start(vm_tasks(vm), &o, NULL);
}

int worlds_new(const struct worlds_options *o, struct worlds **out, struct buf *why)
{
    struct worlds *w = MEM_NEW(struct worlds);
    struct vm_options core = o->vm;
    core.init = "duties";
    core.world = "core";
    w->options = *o;
    int rc = script_new(core, &w->core);
    struct vm_options canary = o->vm;
    canary.open = scripts_open;
    canary.first = w->core;
    canary_init(&w->canary, &canary);
    if (rc == 0)
        rc = operator_new(w, &w->live);
    if (rc == 0)
        rc = vm_load(w->live, why);
    if (rc < 0) {
        worlds_free(w);
        return rc;
    }
    tell_core(w);
    *out = w;
    return 0;
}

void worlds_free(struct worlds *w)
{
    canary_fini(&w->canary);
    if (w->live != NULL)
        vm_free(w->live);
    if (w->core != NULL)
        vm_free(w->core);             /* last: its budget is everybody's */
    buf_fini(&w->why);
    mem_free(w);
}

static void old_end(struct worlds *w, unsigned i)
{
    vm_free(w->old[i].vm);
    w->old_count--;
    memmove(&w->old[i], &w->old[i + 1], (w->old_count - i) * sizeof(w->old[0]));
}

void worlds_end_tasks(struct worlds *w)
{
    while (w->old_count > 0)
        old_end(w, 0);
    if (w->loading != NULL)
        vm_free(w->loading);
    w->loading = NULL;
    canary_end(&w->canary);
    tasks_free(vm_tasks(w->live));
    tasks_free(vm_tasks(w->core));
    watch_fini(&w->watch);
}

static void on_due(void *arg)
{
    (void)arg;                        /* the turn that follows looks at the clock */
}

void worlds_attach(struct worlds *w, const struct services *services)
{
    w->services = *services;
    w->services.canary = &w->canary;
    w->attached = true;
    script_attach(w->core, &w->services);
    script_attach(w->live, &w->services);
    script_serve(w->live);
    watch_timer(services->loop, &w->watch, on_due, w);
    tell(w, w->live, "started");
}

struct vm *worlds_core(const struct worlds *w)
{
    return w->core;
}

struct vm *worlds_live(const struct worlds *w)
{
    return w->live;
}

/* ---- reloads ---- */

static void on_loaded(void *arg, int rc, slice why)
{
    struct worlds *w = arg;
    w->loaded = true;                 /* its task is still on the way out: the turn goes on from here */
    w->rc = rc;
    buf_clear(&w->why);
    buf_add_slice(&w->why, why);
}

void worlds_reload(struct worlds *w)
{
    if (w->stopping)
        return;
    w->again = w->loading != NULL;
    if (w->again)
        return;
    if (operator_new(w, &w->loading) < 0)
        w->options.reloaded(w->options.arg, -ERR_BAD_VALUE, SLICE("the scripts of Lignum cannot be loaded"));
    else
        vm_load_begin(w->loading, on_loaded, w);
}

bool worlds_reloading(const struct worlds *w)
{
    return w->loading != NULL;
}

/* The live world becomes an old one, and the loaded one becomes live. */
static void swap(struct worlds *w)
{
    if (w->old_count == OLD_MAX)
        old_end(w, 0);
    uint64_t grace = (uint64_t)(vm_config_number(w->loading, "limits.reload_grace", RELOAD_GRACE_MS / 1000.0) * 1e9);
    w->old[w->old_count++] = (struct old){.vm = w->live, .until = clock_ns() + grace};
    timers_stop(w->live);
    tasks_end_background(vm_tasks(w->live));
    tell(w, w->live, "unloaded");
    w->live = w->loading;
    w->loading = NULL;
    canary_end(&w->canary);           /* it was compared with the one before */
    script_serve(w->live);
    tell_core(w);
}

static void reload_end(struct worlds *w)
{
    w->loaded = false;
    if (w->rc == 0) {
        swap(w);
        tell(w, w->live, "started");
    } else {
        vm_free(w->loading);
        w->loading = NULL;
    }
    w->options.reloaded(w->options.arg, w->rc, buf_slice(&w->why));
    if (w->again)
        worlds_reload(w);
}

/* ---- old worlds ---- */

static bool is_idle(struct vm *vm)
{
    return tasks_stats(vm_tasks(vm)).live == 0;
}

static void old_look(struct worlds *w)
{
    uint64_t now = clock_ns(), next = UINT64_MAX;
    for (unsigned i = 0; i < w->old_count;) {
        struct old *old = &w->old[i];
        if (is_idle(old->vm) || (old->stopping && now >= old->until)) {
            old_end(w, i);
            continue;
        }
        if (now >= old->until) {
            old->stopping = true;
            old->until = now + LAST_MS * NS_PER_MS;
            tasks_stop(vm_tasks(old->vm));
        }
        next = old->until < next ? old->until : next;
        i++;
    }
    if (next != UINT64_MAX)
        watch_arm(&w->watch, next - now);
}

/* ---- the turn ---- */

void worlds_run(struct worlds *w)
{
    tasks_run(vm_tasks(w->core));
    for (unsigned i = 0; i < w->old_count; i++)
        tasks_run(vm_tasks(w->old[i].vm));        /* before the live one: their requests came earlier */
    tasks_run(vm_tasks(w->live));
    if (w->loading != NULL)
        tasks_run(vm_tasks(w->loading));
    canary_run(&w->canary);
    if (w->loaded)
        reload_end(w);
    if (w->old_count > 0)
        old_look(w);
}

bool worlds_ready(const struct worlds *w)
{
    bool ready = canary_ready(&w->canary) || tasks_ready(vm_tasks(w->core)) || tasks_ready(vm_tasks(w->live)) ||
                 (w->loading != NULL && tasks_ready(vm_tasks(w->loading)));
    for (unsigned i = 0; i < w->old_count; i++)
        ready |= tasks_ready(vm_tasks(w->old[i].vm));
    return ready;
}

bool worlds_unloading(const struct worlds *w)
{
    return w->told > 0;
}

void worlds_stop(struct worlds *w)
{
    w->stopping = true;
    tell(w, w->live, "unloaded");
    tasks_stop(vm_tasks(w->core));
    tasks_stop(vm_tasks(w->live));
    for (unsigned i = 0; i < w->old_count; i++)
        tasks_stop(vm_tasks(w->old[i].vm));
}
