/*
 * Everything that scripts see of C: the standard libraries, and the module "lignum.core".
 */
#ifndef SCRIPT_OPEN_H
#define SCRIPT_OPEN_H

#include <lua.h>

#include "script/vm/raise.h"

/* The `open` of struct vm_options. */
MAY_RAISE void scripts_open(lua_State *L);

#endif
