#include "script/vm/run.h"

#include <lauxlib.h>

#include "base/err.h"
#include "base/limits.h"

void run_begin(struct run *r, struct vm *vm, lua_State *L, uint32_t budget_ms, const char *where)
{
    budget_begin(vm->budget, &r->budget, L, budget_ms);
    vm->budget->where = where;
    r->capped = vm->memory.capped;
    r->closed = vm->memory.closed;
    vm->memory.capped = true;
    vm->memory.closed = false;
}

bool run_end(struct run *r, struct vm *vm)
{
    vm->memory.capped = r->capped;
    vm->memory.closed = r->closed;
    return budget_end(vm->budget, &r->budget);
}

void failure_describe(struct buf *out, lua_State *L, const struct vm *vm, struct failure f)
{
    if (f.late_ms != 0) {
        char place[PLACE_MAX];
        innermost_line(L, place);
        buf_addf(out, "%shas not answered within %u ms", f.over ? vm->budget->place : place, f.late_ms);
    } else if (f.over) {
        buf_addf(out, "%sover its budget of %u ms", vm->budget->place, f.budget_ms);
    } else if (f.status == LUA_ERRMEM) {
        char place[PLACE_MAX];
        innermost_line(L, place);
        if (memory_is_full(&vm->memory))
            buf_addf(out, "lignum.lua keeps all of its memory (limits.script_memory, %zu MiB), and is not called until "
                          "it keeps less, or is reloaded", vm->memory.max / MIB);
        else
            buf_addf(out, "%sover the limit of %zu MiB for the memory of all scripts", place, vm->memory.max / MIB);
    } else if (lua_type(L, -1) == LUA_TSTRING) {
        buf_addf(out, "%s", lua_tostring(L, -1));
    } else {
        buf_addf(out, "an error value of type %s", luaL_typename(L, -1));
    }
}

int failure_code(struct failure f)
{
    if (f.late_ms != 0)
        return -ERR_UNAVAILABLE;
    return f.over ? -ERR_SCRIPT_TIME : f.status == LUA_ERRMEM ? -ERR_SCRIPT_MEMORY : -ERR_SCRIPT;
}
