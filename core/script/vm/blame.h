/*
 * Errors that name the operator's line.
 */
#ifndef SCRIPT_VM_BLAME_H
#define SCRIPT_VM_BLAME_H

#include <lua.h>

#include "script/vm/raise.h"

/* luaL_error, which names the line that called the C function; when that is one of Lignum's own scripts, the operator's
 * line that called those. */
MAY_RAISE int blame(lua_State *L, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
