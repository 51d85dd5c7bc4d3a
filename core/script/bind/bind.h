/*
 * The module "lignum.core": one table of everything that C gives to Lua, made by core_open from the l_NOUN.c files.
 */
#ifndef SCRIPT_BIND_BIND_H
#define SCRIPT_BIND_BIND_H

#include "script/vm/state.h"

int core_open(lua_State *L);

/* Each adds its functions to the table on top of the stack. */
void topic_open(lua_State *L);
void batch_open(lua_State *L);
void request_open(lua_State *L);
void route_open(lua_State *L);
void node_open(lua_State *L);
void time_open(lua_State *L);
void say_open(lua_State *L);
void json_open(lua_State *L);
void fetch_open(lua_State *L);
void cluster_open(lua_State *L);
void limits_open(lua_State *L);

/* Makes the metatable of a kind: `meta` goes into it; __index becomes `methods`, or, when `index` is given, that
 * function with the table of methods as its first upvalue and one of the numbers of `fields`, from 1 on, as its second.
 * Leaves the table of methods on the stack. */
struct kind_options {
    enum kind kind;
    const luaL_Reg *meta, *methods;   /* NULL: none */
    lua_CFunction index;
    const char *const *fields;        /* ended by NULL; NULL: none */
};
void kind_open(lua_State *L, const struct kind_options *o);

/* A new zeroed object of a kind, on the stack. */
void *object_new(lua_State *L, enum kind kind, size_t size, int user_values);

/* nil, the code's sentence (or another one), the code's name. For `return push_fail(...)`. */
int push_fail(lua_State *L, int rc);
int push_fail_because(lua_State *L, int rc, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The continuation of a task_park whose wait comes to true, or to push_fail. */
int wait_is_over(lua_State *L, int status, lua_KContext context);

/* Where the table at `index`, which is positive, is a message of on_publish, makes it a table like any other
 * (l_publish.c). */
void message_make_whole(lua_State *L, int index);

/* Adds the value at `index` as JSON; raises for what JSON has no word for (l_json.c). */
void json_encode(lua_State *L, int index, struct buf *out);

/* Frees what script.c keeps in vm->script. */
void script_close(struct vm *vm);

#endif
