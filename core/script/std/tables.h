/*
 * The Lua tables of this room; see bind/tables.h. They are what scripts need beside the broker: cryptography, and
 * data and counters that outlive a Lua state.
 */
#ifndef SCRIPT_STD_TABLES_H
#define SCRIPT_STD_TABLES_H

#include <lua.h>

#include "script/vm/raise.h"

MAY_RAISE void certificates_open(lua_State *L);
MAY_RAISE void crypto_open(lua_State *L);
MAY_RAISE void metrics_open(lua_State *L);
MAY_RAISE void shared_open(lua_State *L);
MAY_RAISE void sync_open(lua_State *L);
MAY_RAISE void tasks_open(lua_State *L);
MAY_RAISE void profile_open(lua_State *L);
MAY_RAISE void canary_open(lua_State *L);

#endif
