/*
 * core.limits: the bounds of base/limits.h that scripts need, with their names in lower case.
 */
#include <ctype.h>

#include "base/limits.h"
#include "script/bind/tables.h"

void limits_open(lua_State *L)
{
    static const struct {
        const char *name;
        int64_t value;
    } limits[] = {
#define LIMIT(name) {#name, name},
        LIMITS_OF_SCRIPTS(LIMIT)
#undef LIMIT
    };
    lua_newtable(L);
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        char name[64] = "";
        for (size_t at = 0; limits[i].name[at] != '\0' && at < sizeof(name) - 1; at++)
            name[at] = (char)tolower((unsigned char)limits[i].name[at]);
        lua_pushinteger(L, limits[i].value);
        lua_setfield(L, -2, name);
    }
    lua_setfield(L, -2, "limits");
}
