/*
 * coroutine.resume, wrap, close and yield for scripts, which differ from Lua's own in two ways.
 *
 * The budget has to know every thread that runs, so each resume is noted. And a binding that waits (topic:append,
 * sleep, ...) may be called in any coroutine: its yield passes through all that resumed it up to the task, and the
 * result comes back down the same way. Meanwhile nothing else can resume such a coroutine.
 */
#ifndef SCRIPT_VM_COROUTINE_H
#define SCRIPT_VM_COROUTINE_H

#include <lua.h>

#include "script/vm/raise.h"

/* Replaces these functions in the library `coroutine`. */
MAY_RAISE void coroutine_open(lua_State *L);

#endif
