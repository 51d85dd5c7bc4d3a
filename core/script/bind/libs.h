/*
 * The standard libraries as scripts get them.
 *
 * Left out is everything that runs other programs, loads machine code by name, writes files, or loads bytecode, which
 * can crash the process. A finaliser (__gc) cannot be stopped by the budget's hook, so scripts have none; <close> does
 * its work. A script that is trusted finds the rest by name: require("lignum.core").unsafe has execute, exit, popen,
 * open, remove, rename, tmpname and loadlib.
 */
#ifndef SCRIPT_BIND_LIBS_H
#define SCRIPT_BIND_LIBS_H

#include <lua.h>

#include "script/vm/raise.h"

/* Opens the libraries as globals. */
MAY_RAISE void libs_open(lua_State *L);

/* Adds `unsafe`, dump, read_file and loader to "lignum.core" on top of the stack. */
MAY_RAISE void unsafe_open(lua_State *L);

#endif
