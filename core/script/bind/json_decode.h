/*
 * JSON text as Lua values: objects and lists become tables, null json.null, and whole numbers integers. A name that an
 * object gives twice is refused, because a table keeps one value only.
 *
 * A long text is decoded in slices of a few milliseconds, between which other tasks run, if the caller is a task that
 * can wait. How much there can be in one text is bounded by base/json_read.h.
 */
#ifndef SCRIPT_BIND_JSON_DECODE_H
#define SCRIPT_BIND_JSON_DECODE_H

#include <lua.h>
#include <stdint.h>

#include "script/vm/raise.h"

/* The text is at index 1; it may have values_max values. The results: the value; or nil, a message, a code and, with
 * too_large, a table with the limit. For `return json_decode(...)`. */
MAY_RAISE int json_decode(lua_State *L, uint32_t values_max);

#endif
