/*
 * The Lua table of this room, `cluster`; see bind/tables.h.
 */
#ifndef SCRIPT_CLUSTER_TABLES_H
#define SCRIPT_CLUSTER_TABLES_H

#include <lua.h>

#include "script/vm/raise.h"

MAY_RAISE void cluster_open(lua_State *L);

/* Functions of it, in l_status.c and l_call.c; and the metatable of the latter. */
MAY_RAISE int l_status(lua_State *L);
MAY_RAISE int l_follows(lua_State *L);
MAY_RAISE int l_ask_leader(lua_State *L);
MAY_RAISE void call_open(lua_State *L);

#endif
