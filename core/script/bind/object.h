/*
 * The kinds of objects that C gives to Lua, and how a binding recognises them: a kind is the identity of its metatable.
 */
#ifndef SCRIPT_BIND_OBJECT_H
#define SCRIPT_BIND_OBJECT_H

#include <lauxlib.h>
#include <stdbool.h>
#include <stddef.h>

#include "script/vm/raise.h"

/* Lists and messages are tables, the others userdata. */
enum kind {
    KIND_TOPIC, KIND_BATCH, KIND_RECORDS, KIND_REQUEST, KIND_FETCH, KIND_LIST, KIND_TREE, KIND_MESSAGE, KIND_KEY,
    KIND_ASKING, KIND_CALLING, KIND_ENVELOPES,
    KIND_DICT, KIND_METER, KIND_HOLD, KIND_HOLD_GUARD, KIND_SIGNAL,
    KINDS
};

/* Makes the metatable of a kind from `meta`. Its __index is the table of methods, or, when `index` is given, that
 * function with two upvalues: the table of methods, and one of the numbers of `fields`, from 1 on. Leaves the table of
 * methods on the stack. */
struct kind_options {
    enum kind kind;
    const luaL_Reg *meta, *methods;   /* NULL: none */
    lua_CFunction index;
    const char *const *fields;        /* NULL-terminated; NULL: none */
};
MAY_RAISE void kind_open(lua_State *L, const struct kind_options *o);

/* The table on top becomes the metatable of a kind; it stays on the stack. */
MAY_RAISE void kind_keep(lua_State *L, enum kind kind);

/* Is the table on top the metatable of that kind? */
bool kind_is_top(lua_State *L, enum kind kind);

/* Gives the value at `index`, which is positive, the metatable of a kind. */
MAY_RAISE void kind_set(lua_State *L, int index, enum kind kind);

/* A new zeroed object of a kind, on the stack. */
MAY_RAISE void *object_new(lua_State *L, enum kind kind, size_t size, int user_values);

/* The object of that kind at `index`. For anything else object_check raises and object_test returns NULL. */
MAY_RAISE void *object_check(lua_State *L, int index, enum kind kind, const char *usage);
void *object_test(lua_State *L, int index, enum kind kind);

#endif
