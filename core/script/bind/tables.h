/*
 * The Lua tables of this room, one l_NOUN.c each. Each function adds its table, or its functions, to "lignum.core" on
 * top of the stack; script/open.c calls them all.
 */
#ifndef SCRIPT_BIND_TABLES_H
#define SCRIPT_BIND_TABLES_H

#include <lua.h>

#include "script/vm/raise.h"

MAY_RAISE void ask_open(lua_State *L);
MAY_RAISE void base64_open(lua_State *L);
MAY_RAISE void errors_open(lua_State *L);
MAY_RAISE void fetch_open(lua_State *L);
MAY_RAISE void json_open(lua_State *L);
MAY_RAISE void limits_open(lua_State *L);
MAY_RAISE void node_open(lua_State *L);
MAY_RAISE void say_open(lua_State *L);
MAY_RAISE void string_open(lua_State *L);    /* changes the global table `string` only */
MAY_RAISE void time_open(lua_State *L);
MAY_RAISE void where_open(lua_State *L);

#endif
