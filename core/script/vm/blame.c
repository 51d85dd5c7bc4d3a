#include "script/vm/blame.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "script/vm/budget.h"
#include "script/vm/state.h"

int blame(lua_State *L, const char *fmt, ...)
{
    char text[512] = "";
    va_list args;
    lua_Debug ar;
    if (lua_getstack(L, 1, &ar)) {
        lua_getinfo(L, "Sl", &ar);
        if (is_own_script(vm_of(L)->scripts, &ar))
            innermost_line(L, text);
        else if (ar.currentline > 0)
            snprintf(text, PLACE_MAX, "%s:%d: ", ar.short_src, ar.currentline);
    }
    size_t n = strlen(text);
    va_start(args, fmt);
    vsnprintf(text + n, sizeof(text) - n, fmt, args);
    va_end(args);
    lua_pushstring(L, text);
    return lua_error(L);
}
