/*
 * A profile of all Lua code of the process: at each tick of CPU time (budget.h) the stack of what runs is counted, in
 * the folded form that flame graph tools read: "outermost;...;innermost". Kept in memory of its own, because it is
 * noted inside of a hook, where no Lua value may be made.
 */
#ifndef SCRIPT_VM_PROFILE_H
#define SCRIPT_VM_PROFILE_H

#include <lua.h>

#include "script/vm/budget.h"
#include "script/vm/raise.h"

struct profile;

struct profile *profile_new(void);
void profile_free(struct profile *p);

/* Counts the stack of these frames, the innermost first. */
void profile_note(struct profile *p, const struct budget_frame *frames);

/* Pushes { [stack] = count }. */
MAY_RAISE void profile_push(const struct profile *p, lua_State *L);

#endif
