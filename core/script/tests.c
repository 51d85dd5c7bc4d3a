#include "script/tests.h"

#include <lua.h>

#include "base/say.h"
#include "script/vm/coverage.h"
#include "script/vm/vm.h"

enum { ASK_MS = 1000 };

/* Calls an entry point with a number; its results lie on top. */
static bool ask(struct vm *vm, const char *entry, lua_Integer i, int results)
{
    lua_State *L = vm_state(vm);
    vm_push_entry(vm, L, entry);
    lua_pushinteger(L, i);
    if (vm_call(vm, 1, results, ASK_MS) == 0)
        return true;
    say_error("script", "%s: %s", entry, lua_tostring(L, -1));
    return false;
}

unsigned tests_count(struct vm *vm)
{
    lua_State *L = vm_state(vm);
    unsigned count = ask(vm, "count", 0, 1) ? (unsigned)lua_tointeger(L, -1) : 0;
    lua_settop(L, 0);
    return count;
}

unsigned tests_case(struct vm *vm, unsigned i, struct buf *name)
{
    lua_State *L = vm_state(vm);
    unsigned line = 0;
    if (ask(vm, "case", (lua_Integer)i + 1, 2)) {
        buf_addf(name, "%s", lua_tostring(L, -2));
        line = (unsigned)lua_tointeger(L, -1);
    }
    buf_add_char(name, '\0');
    lua_settop(L, 0);
    return line;
}

void tests_coverage(struct vm *vm, const struct coverage *c,
                    void (*tell)(void *arg, const char *path, const char *text, const char *lcov), void *arg)
{
    lua_State *L = vm_state(vm);
    vm_push_entry(vm, L, "coverage");
    coverage_push(c, L);
    if (vm_call(vm, 1, 1, ASK_MS) < 0)
        say_error("script", "coverage: %s", lua_tostring(L, -1));
    else
        for (lua_Integer i = 1; lua_rawgeti(L, 1, i) == LUA_TTABLE; i++) {
            lua_getfield(L, 2, "path");
            lua_getfield(L, 2, "text");
            lua_getfield(L, 2, "lcov");
            tell(arg, lua_tostring(L, 3), lua_tostring(L, 4), lua_tostring(L, 5));
            lua_settop(L, 1);
        }
    lua_settop(L, 0);
}

static int push_test(lua_State *L, void *arg)
{
    const struct test_call *c = arg;
    vm_push_entry(c->vm, L, "run");
    lua_pushinteger(L, (lua_Integer)c->i + 1);
    return 1;
}

static void on_done(void *arg, const struct task_result *r)
{
    struct test_call *c = arg;
    const char *note = r->rc == 0 ? lua_tostring(r->L, -1) : NULL;
    c->done(c->arg, r->rc, r->rc < 0 ? r->message : note == NULL ? "" : note);
}

void tests_start(struct test_call *c, struct task_ticket *ticket)
{
    struct task_options o = {.where = "", .push = push_test, .done = on_done, .arg = c, .operator_code = true};
    task_start(vm_tasks(c->vm), &o, ticket);
}
