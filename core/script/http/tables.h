/*
 * The Lua tables of this room; see bind/tables.h.
 */
#ifndef SCRIPT_HTTP_TABLES_H
#define SCRIPT_HTTP_TABLES_H

#include <lua.h>

#include "script/vm/raise.h"

MAY_RAISE void request_open(lua_State *L);
MAY_RAISE void envelopes_open(lua_State *L);      /* adds a method to the object of requests: after request_open */
MAY_RAISE void route_open(lua_State *L);
MAY_RAISE void access_tables_open(lua_State *L);

#endif
