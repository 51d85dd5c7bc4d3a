/*
 * The Lua tables of this room (see bind/tables.h).
 */
#ifndef SCRIPT_GROUP_TABLES_H
#define SCRIPT_GROUP_TABLES_H

#include <lua.h>

#include "script/vm/raise.h"

/* core.group: what scripts/lignum/group.lua makes the methods of groups of. */
MAY_RAISE void group_open(lua_State *L);

#endif
