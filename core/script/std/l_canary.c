/*
 * core.canary_begin, _end, _state, _show and _report.
 */
#include <lauxlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "script/bind/field.h"
#include "script/bind/result.h"
#include "script/std/canary.h"
#include "script/std/tables.h"
#include "script/vm/carry.h"
#include "script/vm/task.h"

enum { WAITING_MAX = 1000, REPORT_MS = 1000, SHOWN = 3 };

/* A message that the canary is shown. Owned by its task. */
struct shown_message {
    struct canary *canary;
    lua_State *from;                  /* during canary_show: name, message and decision are its arguments */
};

static struct canary *canary_of(lua_State *L)
{
    struct canary *c = vm_services(L)->canary;
    if (c == NULL)
        luaL_error(L, "there are no worlds for a canary");
    return c;
}

/* core.canary_begin() */
static int l_begin(lua_State *L)
{
    canary_begin(canary_of(L), vm_services(L));
    return 0;
}

/* core.canary_end() */
static int l_end(lua_State *L)
{
    canary_end(canary_of(L));
    return 0;
}

/* core.canary_state() -> state, why */
static int l_state(lua_State *L)
{
    static const char *const names[] = {"off", "loading", "on", "aborted", "refused"};
    const struct canary *c = canary_of(L);
    lua_pushstring(L, names[c->state]);
    lua_pushlstring(L, c->why.data == NULL ? "" : c->why.data + c->why.at, buf_size(&c->why));
    return 2;
}

static int push_compare(lua_State *L, void *arg)
{
    const struct shown_message *m = arg;
    vm_push_entry(m->canary->vm, L, "compare");
    for (int i = 1; i <= SHOWN; i++)
        carry(m->from, i, L);
    return SHOWN;
}

/* The results: what differs, and the error where the hook has failed. */
static void on_compared(void *arg, const struct task_result *r)
{
    struct shown_message *m = arg;
    if (r->rc != -ERR_CANCELLED)
        canary_judged(m->canary, r->rc < 0 ? r->message : lua_tostring(r->L, -1));
    mem_free(m);
}

/* core.canary_show(topic, message, decision) -> whether it is on */
static int l_show(lua_State *L)
{
    struct canary *c = canary_of(L);
    lua_settop(L, SHOWN);
    lua_pushboolean(L, c->state == CANARY_ON);
    if (c->state != CANARY_ON)
        return 1;
    if (tasks_stats(vm_tasks(c->vm)).live >= WAITING_MAX) {
        c->skipped++;
        return 1;
    }
    struct shown_message *m = MEM_NEW(struct shown_message);
    *m = (struct shown_message){.canary = c, .from = L};
    struct task_options o = {.where = "the canary", .push = push_compare, .done = on_compared, .arg = m,
                             .operator_code = true};
    task_start(vm_tasks(c->vm), &o, NULL);
    return 1;
}

/* core.canary_report() -> { judged =, failed =, skipped =, kinds = {...}, examples = {...}, undone = {...} } | nil */
static int l_report(lua_State *L)
{
    struct canary *c = canary_of(L);
    if (c->vm == NULL || c->state == CANARY_LOADING)
        return 0;
    lua_State *C = vm_state(c->vm);
    int top = lua_gettop(C);
    vm_push_entry(c->vm, C, "compared");
    if (vm_call(c->vm, 0, 1, REPORT_MS) == 0)
        carry_top(C, 1, L);
    else
        lua_newtable(L);
    lua_settop(C, top);
    set_whole(L, "judged", c->judged);
    set_whole(L, "skipped", c->skipped);
    return 1;
}

void canary_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"canary_begin", l_begin}, {"canary_end", l_end}, {"canary_state", l_state},
                                         {"canary_show", l_show}, {"canary_report", l_report}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
