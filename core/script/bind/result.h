/*
 * What a binding returns when it fails: nil, a message, and the name of the code.
 */
#ifndef SCRIPT_BIND_RESULT_H
#define SCRIPT_BIND_RESULT_H

#include <lua.h>

#include "script/vm/raise.h"

/* With the code's own sentence, or another one. For `return push_fail(L, rc)`. */
MAY_RAISE int push_fail(lua_State *L, int rc);
MAY_RAISE int push_fail_because(lua_State *L, int rc, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* A continuation for task_park: true, or push_fail. */
MAY_RAISE int wait_is_over(lua_State *L, int status, lua_KContext context);

#endif
