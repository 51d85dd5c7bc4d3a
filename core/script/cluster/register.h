/*
 * The register (broker/election/synced_register.h) as a Lua table.
 */
#ifndef SCRIPT_CLUSTER_REGISTER_H
#define SCRIPT_CLUSTER_REGISTER_H

#include <lua.h>

#include "broker/election/synced_register.h"
#include "script/vm/raise.h"

MAY_RAISE void register_push(lua_State *L, const struct synced_register *v);

/* The register at `index`; raises when it is not one. */
MAY_RAISE void register_check(lua_State *L, int index, struct synced_register *out, const char *usage);

/* The field of the table at that index, a text "name:incarnation". False: it is absent or something else. */
MAY_RAISE bool field_member(lua_State *L, int table, const char *name, struct member *out);

#endif
