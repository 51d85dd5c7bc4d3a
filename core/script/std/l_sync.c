/*
 * lock and signal: how tasks wait for each other, in whatever Lua state they run: those of lignum.lua, of an older one
 * whose requests have not ended, and of the console.
 */
#include <lauxlib.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "broker/topic/mark.h"
#include "script/bind/arg.h"
#include "script/bind/object.h"
#include "script/bind/result.h"
#include "script/std/sync.h"
#include "script/std/tables.h"
#include "script/vm/task.h"
#include "script/vm/vm.h"

#define LOCK "lock(name [, timeout])"
#define RELEASE "held:release()"
#define SIGNAL "signal(name)"
#define WAIT "signal:wait([timeout [, seen]])"
#define SEND "signal:send()"

/* A lock by name. Invariant: it exists while somebody holds it; only then may others wait. */
struct lock {
    struct list waiters;              /* struct hold, the first to get it first */
    size_t name_size;
    char name[];
};

/*
 * One call of lock, and what it returns.
 *
 * States:
 *     waiting    in lock->waiters          a release -> granted; the end of the wait -> over
 *     granted    the lock is its           its task goes on -> held; the end of its task -> over
 *     held       the script has it         release, __close, __gc -> over
 *     over       lock == NULL
 */
struct hold {
    struct list link;
    struct lock *lock;
    struct sync *sync;                /* outlives us */
    struct tasks *tasks;              /* outlives the wait */
    struct task_ticket ticket;        /* the wait */
    enum { WAITING, GRANTED, HELD, OVER } state;
};

/* A signal by name; it lives as long as the process. */
struct signal {
    struct mark sent;                 /* how often it was sent */
    size_t name_size;
    char name[];
};

struct sync {
    struct map locks, signals;        /* owned, and their values */
};

/* What a script has. The signal is looked up when it is used first: while the process starts, there is none yet. */
struct named {
    struct signal *signal;            /* NULL: not looked up yet */
    size_t name_size;
    char name[];
};

struct sync *sync_new(void)
{
    struct sync *sync = MEM_NEW(struct sync);
    map_init(&sync->locks);
    map_init(&sync->signals);
    return sync;
}

void sync_free(struct sync *sync)
{
    struct map *maps[] = {&sync->locks, &sync->signals};
    for (int i = 0; i < 2; i++) {
        size_t at = 0;
        for (void *value; (value = map_next(maps[i], &at)) != NULL;)
            mem_free(value);
        map_fini(maps[i]);
    }
    mem_free(sync);
}

static slice arg_name(lua_State *L, const char *usage)
{
    slice name = arg_text(L, 1, "name", usage);
    if (name.n == 0 || name.n > SYNC_NAME_MAX)
        arg_fail(L, usage, "name must have 1 to %d bytes", SYNC_NAME_MAX);
    return name;
}

/* ---- locks ---- */

static struct lock *lock_new(struct sync *sync, slice name)
{
    struct lock *lock = mem_new(sizeof(*lock) + name.n);
    list_init(&lock->waiters);
    lock->name_size = name.n;
    memcpy(lock->name, name.p, name.n);
    map_put(&sync->locks, slice_of(lock->name, name.n), lock);
    return lock;
}

/* Gives the lock to the first of those that still wait; the last one removes it. */
static void pass_on(struct sync *sync, struct lock *lock)
{
    while (!list_empty(&lock->waiters)) {
        struct hold *next = list_first(&lock->waiters, struct hold, link);
        list_remove(&next->link);
        next->state = GRANTED;
        if (task_wake(next->tasks, next->ticket, 0))
            return;
        next->state = OVER;
        next->lock = NULL;
    }
    map_remove(&sync->locks, slice_of(lock->name, lock->name_size));
    mem_free(lock);
}

static void hold_end(struct hold *h)
{
    struct lock *lock = h->lock;
    int state = h->state;
    h->lock = NULL;
    h->state = OVER;
    if (state == WAITING)
        list_remove(&h->link);
    else if (state != OVER)
        pass_on(h->sync, lock);
}

/* __close and __gc, of a hold. When the Lua state is closed, the kinds of objects are not known any more. */
static int close_hold(lua_State *L)
{
    hold_end(lua_touserdata(L, 1));
    return 0;
}

/* held:release() */
static int l_release(lua_State *L)
{
    hold_end(object_check(L, 1, KIND_HOLD, RELEASE));
    return 0;
}

/* The guard of a call of lock: closed when the call returns, or when its task is cancelled in it. */
static int close_guard(lua_State *L)
{
    lua_getiuservalue(L, 1, 1);
    struct hold *h = lua_touserdata(L, -1);
    if (h != NULL && h->state != HELD)
        hold_end(h);
    return 0;
}

static int locked(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    struct hold *h = lua_touserdata(L, (int)context);
    int rc = (int)lua_tointeger(L, -1);
    if (h->state != GRANTED)
        return push_fail(L, rc < 0 ? rc : -ERR_CANCELLED);
    h->state = HELD;
    lua_pushvalue(L, (int)context);
    return 1;
}

/* lock(name [, timeout]) -> held | nil, message, code.  Waits until no other task holds it. */
static int l_lock(lua_State *L)
{
    slice name = arg_name(L, LOCK);
    uint32_t ms = arg_ms(L, 2, WAIT_MS_MAX, LOCK);
    struct task *self = task_self(L);
    struct sync *sync = vm_services(L)->sync;
    lua_settop(L, 2);
    struct hold *h = object_new(L, KIND_HOLD, sizeof(*h), 0);
    list_init(&h->link);
    h->state = OVER;
    h->sync = sync;
    h->lock = map_get(&sync->locks, name);
    if (h->lock == NULL) {
        h->lock = lock_new(sync, name);
        h->state = HELD;
        return 1;
    }
    object_new(L, KIND_HOLD_GUARD, 1, 1);
    lua_pushvalue(L, 3);
    lua_setiuservalue(L, 4, 1);
    lua_toclose(L, 4);
    h->tasks = vm_tasks(vm_of(L));
    h->ticket = task_ticket(self);
    h->state = WAITING;
    list_push(&h->lock->waiters, &h->link);
    task_may_stop(self);
    task_may_leave(self);
    return task_park(L, self, ms == 0 ? 1 : ms < WAIT_MS_MAX ? ms : WAIT_MS_MAX, 3, locked);
}

/* ---- signals ---- */

/* signal(name) -> signal */
static int l_signal(lua_State *L)
{
    slice name = arg_name(L, SIGNAL);
    struct named *object = object_new(L, KIND_SIGNAL, sizeof(*object) + name.n, 0);
    object->name_size = name.n;
    memcpy(object->name, name.p, name.n);
    return 1;
}

static struct signal *check_signal(lua_State *L, const char *usage)
{
    struct named *object = object_check(L, 1, KIND_SIGNAL, usage);
    if (object->signal != NULL)
        return object->signal;
    struct sync *sync = vm_services(L)->sync;
    struct signal *s = map_get(&sync->signals, slice_of(object->name, object->name_size));
    if (s == NULL && sync->signals.count == SIGNALS_MAX)
        blame(L, "%s: there are %d signals", SIGNAL, SIGNALS_MAX);
    if (s == NULL) {
        s = mem_new(sizeof(*s) + object->name_size);
        mark_init(&s->sent, 0);
        s->name_size = object->name_size;
        memcpy(s->name, object->name, s->name_size);
        map_put(&sync->signals, slice_of(s->name, s->name_size), s);
    }
    return object->signal = s;
}

static int signalled(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    int rc = (int)lua_tointeger(L, -1);
    if (rc < 0)
        return push_fail(L, rc);
    lua_pushinteger(L, (lua_Integer)check_signal(L, WAIT)->sent.at);
    return 1;
}

/* signal:wait([timeout [, seen]]) -> count | nil, message, code.  Waits until it has been sent more often than seen. */
static int l_wait(lua_State *L)
{
    struct signal *s = check_signal(L, WAIT);
    uint32_t ms = arg_ms(L, 2, WAIT_MS_MAX, WAIT);
    uint64_t seen = lua_isnoneornil(L, 3) ? s->sent.at : arg_whole(L, 3, "seen", WAIT);
    struct task *self = task_self(L);
    task_may_stop(self);
    task_may_leave(self);
    ms = ms == 0 ? 1 : ms < WAIT_MS_MAX ? ms : WAIT_MS_MAX;
    return task_park_on(L, self, &s->sent, seen + 1, ms, 0, signalled);
}

/* signal:send() -> count */
static int l_send(lua_State *L)
{
    struct signal *s = check_signal(L, SEND);
    vm_services(L);
    mark_advance(&s->sent, s->sent.at + 1);
    lua_pushinteger(L, (lua_Integer)s->sent.at);
    return 1;
}

void sync_open(lua_State *L)
{
    static const luaL_Reg hold_meta[] = {{"__gc", close_hold}, {"__close", close_hold}, {NULL, NULL}};
    static const luaL_Reg hold_methods[] = {{"release", l_release}, {NULL, NULL}};
    static const luaL_Reg guard_meta[] = {{"__gc", close_guard}, {"__close", close_guard}, {NULL, NULL}};
    static const luaL_Reg signal_methods[] = {{"wait", l_wait}, {"send", l_send}, {NULL, NULL}};
    kind_open(L, &(struct kind_options){KIND_HOLD, hold_meta, hold_methods, NULL, NULL});
    lua_setfield(L, -2, "Held");
    kind_open(L, &(struct kind_options){KIND_HOLD_GUARD, guard_meta, NULL, NULL, NULL});
    lua_pop(L, 1);
    kind_open(L, &(struct kind_options){KIND_SIGNAL, NULL, signal_methods, NULL, NULL});
    lua_setfield(L, -2, "Signal");
    lua_pushcfunction(L, l_lock);
    lua_setfield(L, -2, "lock");
    lua_pushcfunction(L, l_signal);
    lua_setfield(L, -2, "signal");
}
