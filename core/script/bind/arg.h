/*
 * Checking of arguments. A call that is wrong raises an error that begins with the usage line and says which argument
 * is wrong: "topic:wait(offset [, timeout]): offset must be a whole number, not nil".
 *
 * Slices point into Lua strings and are valid while these are on the stack or in their table.
 */
#ifndef SCRIPT_BIND_ARG_H
#define SCRIPT_BIND_ARG_H

#include "base/slice.h"
#include "script/vm/state.h"

/* Raises; returns only to please `return arg_fail(...)`. */
int arg_fail(lua_State *L, const char *usage, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The object of that kind at `index`; raises for anything else. arg_test: NULL for anything else. */
void *arg_object(lua_State *L, int index, enum kind kind, const char *usage);
void *arg_test(lua_State *L, int index, enum kind kind);

slice arg_text(lua_State *L, int index, const char *name, const char *usage);
uint64_t arg_whole(lua_State *L, int index, const char *name, const char *usage);      /* 0 ... 2^63-1 */
double arg_seconds(lua_State *L, int index, const char *name, const char *usage);      /* finite, not negative */
uint32_t arg_ms(lua_State *L, int index, uint32_t otherwise, const char *usage);       /* seconds, as milliseconds */

/* A table of named options. What is absent leaves `out` alone; an unknown name, or a wrong type, raises. */
enum arg_kind { ARG_END, ARG_TEXT, ARG_WHOLE, ARG_SECONDS, ARG_TABLE, ARG_ANY };
struct arg_field {
    const char *name;
    enum arg_kind kind;
    void *out;                /* slice; uint64_t; double; int: where on the stack the value was pushed */
};
void arg_fields(lua_State *L, int index, const struct arg_field *fields, const char *usage);

uint32_t seconds_to_ms(double seconds);   /* rounded up, bounded by UINT32_MAX */

#endif
