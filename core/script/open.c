#include "script/open.h"

#include <lauxlib.h>

#include "script/bind/libs.h"
#include "script/bind/tables.h"
#include "script/cluster/tables.h"
#include "script/group/tables.h"
#include "script/http/tables.h"
#include "script/std/tables.h"
#include "script/topic/tables.h"
#include "script/vm/coroutine.h"

/* Each adds a table, or functions, to the table on top of the stack.
 *
 * To add a Lua table: write l_NOUN.c in the room that has what it needs, declare its function in that room's tables.h,
 * add it here, and describe it in scripts/lignum/api.lua. */
static void (*const tables[])(lua_State *L) = {
    unsafe_open, errors_open, limits_open, where_open, say_open, time_open, json_open, base64_open, node_open,
    fetch_open, ask_open,
    certificates_open, crypto_open, metrics_open, shared_open, sync_open, tasks_open, profile_open,
    canary_open,   /* std */
    request_open, envelopes_open, route_open, access_tables_open,   /* http */
    topic_open, batch_open, publish_open, append_open, read_open,  /* topic; the last three extend request_open's */
    group_open, cluster_open,
};

/* The loader of require("lignum.core"). */
static int core_open(lua_State *L)
{
    lua_newtable(L);
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
        tables[i](L);
    lua_pushliteral(L, LIGNUM_VERSION);
    lua_setfield(L, -2, "version");
    return 1;
}

void scripts_open(lua_State *L)
{
    libs_open(L);
    string_open(L);
    coroutine_open(L);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushcfunction(L, core_open);
    lua_setfield(L, -2, "lignum.core");
    lua_pop(L, 1);
}
