/*
 * Values from one Lua state to another: by copy. Tables go without their metatables.
 */
#ifndef SCRIPT_VM_CARRY_H
#define SCRIPT_VM_CARRY_H

#include <lua.h>

/* Pushes a copy of the value at `index` of `from` to `to`: nil, a boolean, a number, a string, or a table of these.
 * Whatever else, and what lies deeper than CARRY_DEPTH_MAX tables, becomes nil, or is left out of its table. Reads
 * without calling metamethods. May fail only for want of memory: to be called while the cap of `to` is off. */
enum { CARRY_DEPTH_MAX = 16 };
void carry(lua_State *from, int index, lua_State *to);

/* The same for the `n` values on top of `from`, which stay there. */
void carry_top(lua_State *from, int n, lua_State *to);

#endif
