/*
 * The functions of "lignum.system". Each function adds its own to the table on top of the stack.
 */
#ifndef SCRIPT_CLIENT_TABLES_H
#define SCRIPT_CLIENT_TABLES_H

#include <lua.h>
#include <stdbool.h>

#include "script/vm/raise.h"

MAY_RAISE void backup_open(lua_State *L);
MAY_RAISE void editor_open(lua_State *L);
MAY_RAISE void system_open(lua_State *L);
MAY_RAISE void transfer_open(lua_State *L);
MAY_RAISE void log_open(lua_State *L);
MAY_RAISE void judge_open(lua_State *L, void (*open)(lua_State *L));   /* what opens the libraries of its worlds */

/* SIGINT and SIGTERM only set a mark, and end the call that waits; a second one ends the process with 130. */
void interrupts_catch(void);
bool interrupts_pending(void);

#endif
