/*
 * spawn, tasks.list and tasks.cancel.
 */
#include <lauxlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/say.h"
#include "script/bind/arg.h"
#include "script/bind/field.h"
#include "script/bind/result.h"
#include "script/std/tables.h"
#include "script/vm/budget.h"
#include "script/vm/task.h"
#include "script/vm/vm.h"

#define SPAWN "spawn(fn, ...)"
#define CANCEL "tasks.cancel(id)"

/* A task that a script has started. Owned by it: freed when it ends. */
struct spawned {
    struct vm *vm;                    /* outlives us */
    lua_State *from;                  /* during spawn: where function and arguments lie, on top */
    int values;
};

/* The console, in the core's world, also sees the tasks of the live operator's world; their ids have this bit. */
#define PEERS ((uint64_t)1 << 56)

static struct vm *peer_seen(lua_State *L)
{
    struct vm *vm = vm_of(L);
    return strcmp(vm_world(vm), "core") == 0 ? vm_peer(vm) : NULL;
}

/* An id is the number of the task and how many its struct has been, so that it is never another task's. */
static lua_Integer id_of(struct task_ticket t)
{
    return (lua_Integer)t.generation << 24 | t.index;
}

static struct task_ticket ticket_of(uint64_t id)
{
    return (struct task_ticket){.index = (unsigned)(id & 0xffffff), .generation = (unsigned)(id >> 24)};
}

/* How many tasks the VM's scripts have started that have not ended. */
static unsigned *spawned_count(struct vm *vm)
{
    struct slots *slots = vm_slots(vm);
    if (slot_get(slots, SLOT_SPAWNED) == NULL)
        slot_set(slots, SLOT_SPAWNED, MEM_NEW(unsigned), mem_free);
    return slot_get(slots, SLOT_SPAWNED);
}

static int push_spawned(lua_State *L, void *arg)
{
    const struct spawned *s = arg;
    lua_checkstack(L, s->values);
    lua_xmove(s->from, L, s->values);
    return s->values - 1;
}

static void on_ended(void *arg, const struct task_result *r)
{
    struct spawned *s = arg;
    if (r->rc < 0 && r->rc != -ERR_CANCELLED && !tasks_stopping(vm_tasks(s->vm)))
        task_say_failure(SAY_ERROR, r, NULL);
    --*spawned_count(s->vm);
    mem_free(s);
}

/* spawn(fn, ...) -> id | nil, message, code */
static int l_spawn(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct task_ticket ticket;
    char place[PLACE_MAX];
    vm_services(L);                   /* raises while loading */
    if (!lua_isfunction(L, 1))
        return arg_fail(L, SPAWN, "fn must be a function, not %s", luaL_typename(L, 1));
    if (lua_gettop(L) > SPAWN_ARGUMENTS_MAX + 1)
        return arg_fail(L, SPAWN, "more than %d arguments", SPAWN_ARGUMENTS_MAX);
    unsigned *count = spawned_count(vm);
    if (*count == SPAWNED_MAX)
        return push_fail_because(L, -ERR_BUSY, "%d tasks of spawn and after are running", SPAWNED_MAX);
    innermost_line(L, place);
    size_t n = strlen(place);
    if (n > 2)
        place[n - 2] = '\0';          /* ": " */
    lua_pushfstring(L, "spawn at %s", n > 2 ? place : "?");
    lua_insert(L, 1);
    struct spawned *s = MEM_NEW(struct spawned);
    *s = (struct spawned){.vm = vm, .from = L, .values = lua_gettop(L) - 1};
    struct task_options o = {
        .where = lua_tostring(L, 1), .push = push_spawned, .done = on_ended, .arg = s, .operator_code = true,
        .background = true};
    ++*count;
    task_start(vm_tasks(vm), &o, &ticket);    /* it is no guest, so there is always room */
    lua_pushinteger(L, id_of(ticket));
    return 1;
}

/* Appends those of one world to the list on top. */
static void add_tasks(lua_State *L, const struct tasks *ts, uint64_t bit)
{
    struct task_view v;
    lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
    uint64_t now = clock_ns();
    for (unsigned at = 0; tasks_view(ts, &at, &v);) {
        if (n == TASKS_LIST_MAX)
            break;
        lua_createtable(L, 0, 5);
        lua_pushinteger(L, id_of(v.ticket) | (lua_Integer)bit);
        lua_setfield(L, -2, "id");
        set_text(L, "where", v.where);
        if (v.hook != NULL)
            set_text(L, "hook", v.hook);
        set_text(L, "state", v.state);
        set_number(L, "age", (double)(now - v.began) / (double)NS_PER_S);
        lua_rawseti(L, -2, ++n);
    }
}

/* tasks.list() -> {{id =, where =, hook =, state =, age =}, ...} */
static int l_list(lua_State *L)
{
    struct vm *peer = peer_seen(L);
    vm_services(L);
    lua_newtable(L);
    add_tasks(L, vm_tasks(vm_of(L)), 0);
    if (peer != NULL)
        add_tasks(L, vm_tasks(peer), PEERS);
    return 1;
}

/* tasks.cancel(id) -> boolean */
static int l_cancel(lua_State *L)
{
    struct vm *peer = peer_seen(L);
    uint64_t id = arg_whole(L, 1, "id", CANCEL);
    struct tasks *ts = vm_tasks(id & PEERS && peer != NULL ? peer : vm_of(L));
    struct task_ticket ticket = ticket_of(id & ~PEERS);
    struct task_view v;
    bool there = false;
    vm_services(L);
    for (unsigned at = 0; !there && tasks_view(ts, &at, &v);)
        there = v.ticket.index == ticket.index && v.ticket.generation == ticket.generation;
    if (there)
        task_cancel(ts, ticket);
    lua_pushboolean(L, there);
    return 1;
}

void tasks_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"list", l_list}, {"cancel", l_cancel}, {NULL, NULL}};
    luaL_newlib(L, functions);
    lua_setfield(L, -2, "tasks");
    lua_pushcfunction(L, l_spawn);
    lua_setfield(L, -2, "spawn");
}
