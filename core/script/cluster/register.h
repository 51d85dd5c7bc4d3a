/* What the bindings of `cluster` share: l_cluster.c, register.c and l_status.c. */
#ifndef SCRIPT_CLUSTER_REGISTER_H
#define SCRIPT_CLUSTER_REGISTER_H

#include <lua.h>

#include "broker/cluster/cluster.h"

void register_push(lua_State *L, const struct synced_register *v);

/* The register at `index`; raises for what is none. */
void register_check(lua_State *L, int index, struct synced_register *out, const char *usage);

/* A field "name:incarnation" of the table at that index; false: there is none. */
bool field_member(lua_State *L, int table, const char *name, struct member *out);

int l_status(lua_State *L);

#endif
