/*
 * The fields of a table: those that C sets for Lua, and those that C reads from Lua.
 */
#ifndef SCRIPT_BIND_FIELD_H
#define SCRIPT_BIND_FIELD_H

#include <lua.h>

#include "base/id.h"
#include "script/vm/raise.h"

/* Each sets a field of the table on top of the stack. */
MAY_RAISE void set_text(lua_State *L, const char *name, const char *text);
MAY_RAISE void set_whole(lua_State *L, const char *name, uint64_t value);
MAY_RAISE void set_number(lua_State *L, const char *name, double value);
MAY_RAISE void set_flag(lua_State *L, const char *name, bool value);
MAY_RAISE void set_id(lua_State *L, const char *name, const struct id *id);

/* Each reads a field of the table at that index, which is positive. */
MAY_RAISE bool field_is_there(lua_State *L, int table, const char *name);
MAY_RAISE const char *field_text(lua_State *L, int table, const char *name);   /* the table's; NULL: no text */
MAY_RAISE bool field_whole(lua_State *L, int table, const char *name, uint64_t *out);   /* false: none, or negative */

#endif
