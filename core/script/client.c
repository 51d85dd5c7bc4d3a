#include "script/client.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>

#include "base/say.h"
#include "script/client/tables.h"
#include "script/open.h"
#include "script/vm/vm.h"

/* The loader of require("lignum.system"). Its upvalue is standard input as a file of Lua. */
static int system_module(lua_State *L)
{
    lua_newtable(L);
    system_open(L);
    backup_open(L);
    editor_open(L);
    transfer_open(L);
    log_open(L);
    judge_open(L, scripts_open);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_setfield(L, -2, "stdin");
    return 1;
}

/* scripts_open takes standard input away from scripts, so it is fetched before. */
static void client_open(lua_State *L)
{
    luaL_requiref(L, LUA_IOLIBNAME, luaopen_io, 0);
    lua_getfield(L, -1, "stdin");
    scripts_open(L);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushvalue(L, -2);
    lua_pushcclosure(L, system_module, 1);
    lua_setfield(L, -2, "lignum.system");
    lua_settop(L, 0);
}

static int on_error(lua_State *L)
{
    luaL_traceback(L, L, luaL_tolstring(L, 1, NULL), 1);
    return 1;
}

int client_run(const char *scripts, int count, const char *const *words)
{
    struct vm_options o = {.scripts = scripts, .init = "command", .world = "command", .open = client_open};
    struct vm *vm;
    int code = EXIT_SOFTWARE;
    if (vm_new(&o, &vm) < 0) {
        fprintf(stderr, "lignum: the scripts in %s cannot be used (--scripts DIR names others)\n", scripts);
        return EXIT_USAGE;
    }
    interrupts_catch();
    lua_State *L = vm_state(vm);
    lua_pushcfunction(L, on_error);
    vm_push_entry(vm, L, "main");
    lua_createtable(L, count, 0);
    for (int i = 0; i < count; i++) {
        lua_pushstring(L, words[i]);
        lua_rawseti(L, -2, i + 1);
    }
    if (lua_pcall(L, 1, 1, 1) == LUA_OK)
        code = (int)lua_tointeger(L, -1);
    else
        fprintf(stderr, "lignum %s: a defect in Lignum: %s\n", count > 0 ? words[0] : "", lua_tostring(L, -1));
    vm_free(vm);
    return code;
}
