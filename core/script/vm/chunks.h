/*
 * Lignum's own scripts as Lua has compiled them. Each world loads some sixty files; a reload makes a world, and nearly
 * always finds them as they were. A file is read each time, and compiled only where its text has changed.
 *
 * All Lua states of a process share one, so code passes from one to another as bytes, and nothing else does.
 */
#ifndef SCRIPT_VM_CHUNKS_H
#define SCRIPT_VM_CHUNKS_H

#include <lua.h>

#include "script/vm/raise.h"

struct chunks;

struct chunks *chunks_new(void);
void chunks_free(struct chunks *c);

/* As luaL_loadfilex(L, path, "t"): pushes the function, or a message. Call it with trusted paths only: those of scripts
 * and rocks. */
MAY_RAISE int chunks_load(struct chunks *c, lua_State *L, const char *path);

#endif
