/*
 * Lua values as JSON: integers exact, keys sorted, and a table is a list when it is marked by json.array or
 * json.decode, or has nothing but the keys 1 to n, n > 0.
 */
#ifndef SCRIPT_BIND_JSON_ENCODE_H
#define SCRIPT_BIND_JSON_ENCODE_H

#include <lua.h>
#include <stdbool.h>

#include "base/buf.h"
#include "script/vm/raise.h"

/* Appends the value at `index`. Raises for a value that JSON cannot represent. */
MAY_RAISE void json_encode(lua_State *L, int index, struct buf *out);

/* Is the table on top a list? */
MAY_RAISE bool json_is_list(lua_State *L);

#endif
