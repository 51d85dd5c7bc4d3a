/*
 * A run: one call from C into Lua, with a budget of CPU time and under the memory cap; and why a run failed.
 */
#ifndef SCRIPT_VM_RUN_H
#define SCRIPT_VM_RUN_H

#include "script/vm/budget.h"
#include "script/vm/state.h"

struct run {
    struct budget_run budget;
    bool capped, closed;              /* whether an outer run is on; and what it had of the reserve */
};

/* Around lua_resume, lua_pcall or lua_resetthread on L. `where` names what runs and outlives the run. run_end returns
 * whether the budget was exceeded. */
void run_begin(struct run *r, struct vm *vm, lua_State *L, uint32_t budget_ms, const char *where);
bool run_end(struct run *r, struct vm *vm);

struct failure {
    int status;                       /* what Lua returned: LUA_ERRRUN, LUA_ERRMEM, ... */
    bool over;                        /* run_end's result, which explains any status */
    uint32_t budget_ms;
    uint32_t late_ms;                 /* not 0: it was stopped because its hook has not ended within this time */
};

/* Appends the message of a failed run of L, whose error value is on top. Never raises. */
void failure_describe(struct buf *out, lua_State *L, const struct vm *vm, struct failure f);
int failure_code(struct failure f);   /* -ERR_SCRIPT, _SCRIPT_TIME, _SCRIPT_MEMORY or -ERR_UNAVAILABLE */

#endif
