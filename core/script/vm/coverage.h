/*
 * Which lines of the operator's files have run, for `lignum test --coverage`. Kept in memory that forked processes
 * share, so that each of them notes its own without telling anybody.
 */
#ifndef SCRIPT_VM_COVERAGE_H
#define SCRIPT_VM_COVERAGE_H

#include <lua.h>
#include <stdbool.h>

#include "script/vm/raise.h"

struct coverage;

struct coverage *coverage_new(void);
void coverage_free(struct coverage *c);

/* For a hook that is called for a line. Functions of Lignum's own scripts are left out. */
void coverage_note(struct coverage *c, const char *scripts, lua_State *L, lua_Debug *ar);

/* Pushes { [path] = { line, ... }, ... } of all that have run, in order. */
MAY_RAISE void coverage_push(const struct coverage *c, lua_State *L);

#endif
