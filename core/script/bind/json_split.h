/*
 * json.split: the elements of a JSON array as they stand in the text, without making values of them.
 */
#ifndef SCRIPT_BIND_JSON_SPLIT_H
#define SCRIPT_BIND_JSON_SPLIT_H

#include <lua.h>

#include "script/vm/raise.h"

/* The text is at index 1. Returns a list of texts; of a text that is no array, it alone. Or nil, message, code, and
 * {limit =} with too_large. Call as `return json_split(L)`: a long text is read in slices. */
MAY_RAISE int json_split(lua_State *L);

#endif
