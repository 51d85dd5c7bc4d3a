/*
 * Tables as bytes, for copies outside of a Lua state: strings, numbers and booleans as keys, these and tables as
 * values, to DICT_DEPTH_MAX levels. Lists of json.array stay lists. What two places share is copied twice.
 */
#ifndef SCRIPT_STD_SHARED_TABLE_H
#define SCRIPT_STD_SHARED_TABLE_H

#include <lua.h>

#include "base/buf.h"
#include "script/vm/raise.h"

/* Appends the table at `index`, which is positive. Raises for any other value in it, for one that is deeper or
 * contains itself, and for more than DICT_VALUE_MAX bytes. */
MAY_RAISE void shared_table_encode(lua_State *L, int index, struct buf *out, const char *usage);

/* Pushes the table that the bytes, which were made here, stand for. */
MAY_RAISE void shared_table_push(lua_State *L, slice bytes);

#endif
