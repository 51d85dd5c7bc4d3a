/*
 * core.errors: the table of all errors (base/err.h) by name.
 */
#include "base/err.h"
#include "script/bind/tables.h"

void errors_open(lua_State *L)
{
    lua_newtable(L);
    for (int code = ERR_NONE + 1; code < ERR_END; code++) {
        lua_createtable(L, 0, 3);
        lua_pushinteger(L, err_status(-code));
        lua_setfield(L, -2, "status");
        lua_pushstring(L, err_sentence(-code));
        lua_setfield(L, -2, "sentence");
        lua_pushboolean(L, err_retryable(-code));
        lua_setfield(L, -2, "retryable");
        lua_setfield(L, -2, err_name(-code));
    }
    lua_setfield(L, -2, "errors");
}
