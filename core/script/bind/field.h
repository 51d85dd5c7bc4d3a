/* The fields of a table: those that C makes for Lua, and those that Lua gives to C. */
#ifndef SCRIPT_BIND_FIELD_H
#define SCRIPT_BIND_FIELD_H

#include <lua.h>

#include "base/id.h"

/* Each sets a field of the table on top of the stack. */
void set_text(lua_State *L, const char *name, const char *text);
void set_whole(lua_State *L, const char *name, uint64_t value);
void set_number(lua_State *L, const char *name, double value);
void set_flag(lua_State *L, const char *name, bool value);
void set_id(lua_State *L, const char *name, const struct id *id);

/* Each reads a field of the table at that index, which is positive. */
bool field_is_there(lua_State *L, int table, const char *name);
const char *field_text(lua_State *L, int table, const char *name);                   /* the table's; NULL: no text */
bool field_whole(lua_State *L, int table, const char *name, uint64_t *out);          /* false: none, or negative */

#endif
