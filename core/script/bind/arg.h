/*
 * Checking of arguments. A wrong call raises an error that begins with the usage line and names the argument:
 * "topic:wait(offset [, timeout]): offset must be a whole number of 0 or more, not nil". It names the line of the
 * operator's file that led to the call, if there is one, also where functions of scripts/ lie between.
 *
 * Slices point into Lua strings and are valid while these are on the stack or in their table.
 */
#ifndef SCRIPT_BIND_ARG_H
#define SCRIPT_BIND_ARG_H

#include <lua.h>

#include "base/slice.h"
#include "script/vm/raise.h"

/* Always raises; the result is for `return arg_fail(...)`. */
MAY_RAISE int arg_fail(lua_State *L, const char *usage, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

MAY_RAISE slice arg_text(lua_State *L, int index, const char *name, const char *usage);
/* From 0 to 2^63-1; a finite number that is not negative; a number of seconds as milliseconds, or `otherwise`. */
MAY_RAISE uint64_t arg_whole(lua_State *L, int index, const char *name, const char *usage);
MAY_RAISE void arg_table(lua_State *L, int index, const char *name, const char *usage);
MAY_RAISE double arg_seconds(lua_State *L, int index, const char *name, const char *usage);   /* finite, not negative */
MAY_RAISE uint32_t arg_wait(lua_State *L, int index, const char *name, const char *usage);     /* seconds, as ms */
MAY_RAISE uint32_t arg_ms(lua_State *L, int index, uint32_t otherwise, const char *usage);

/* A table of named options. An absent one leaves its `out` alone; an unknown name or a wrong type raises. */
enum arg_kind { ARG_END, ARG_TEXT, ARG_WHOLE, ARG_SECONDS, ARG_TABLE, ARG_ANY };
struct arg_field {
    const char *name;
    enum arg_kind kind;
    void *out;                /* slice; uint64_t; double; int: where on the stack the value was pushed */
};
MAY_RAISE void arg_fields(lua_State *L, int index, const struct arg_field *fields, const char *usage);

uint32_t seconds_to_ms(double seconds);   /* rounded up, bounded by UINT32_MAX */

#endif
