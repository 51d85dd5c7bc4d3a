/*
 * lignum.system.editor: lines from the terminal, with editing, history and completion (line_edit.h).
 *
 *     editor = system.editor(complete)     nil: the terminal does not support it
 *     editor:read(prompt) -> line          without its newline
 *                         |  false         Ctrl-C
 *                         |  nil           the end: Ctrl-D
 *
 * complete(text up to the cursor) returns the completions of its last name, one a line. An error in it is none.
 */
#include <errno.h>
#include <lauxlib.h>
#include <signal.h>

#include "script/client/line_edit.h"
#include "script/client/tables.h"

#define KIND "lignum.editor"

struct editor {
    struct edit *edit;                /* owned; NULL: closed */
    lua_State *L;                     /* while it reads */
};

/* Called while editor:read runs, which has the editor at 1. */
static void complete(void *arg, slice before, struct buf *names)
{
    lua_State *L = ((struct editor *)arg)->L;
    slice found;
    lua_getiuservalue(L, 1, 1);
    lua_pushlstring(L, before.p, before.n);
    if (lua_pcall(L, 1, 1, 0) == LUA_OK && lua_isstring(L, -1)) {
        found.p = lua_tolstring(L, -1, &found.n);
        buf_add_slice(names, found);
    }
    lua_pop(L, 1);
}

/* Meanwhile SIGTERM ends the process, as if nothing caught it: libedit gives the terminal back before. */
static int l_read(lua_State *L)
{
    struct editor *e = luaL_checkudata(L, 1, KIND);
    const char *prompt = luaL_checkstring(L, 2);
    struct sigaction before, end = {.sa_handler = SIG_DFL};
    slice line;
    luaL_argcheck(L, e->edit != NULL, 1, "closed");
    e->L = L;
    sigemptyset(&end.sa_mask);
    sigaction(SIGTERM, &end, &before);
    int rc = edit_read(e->edit, prompt, &line);
    sigaction(SIGTERM, &before, NULL);
    if (rc == 0)
        lua_pushlstring(L, line.p, line.n);
    else if (rc == -EINTR)
        lua_pushboolean(L, false);
    else
        lua_pushnil(L);
    return 1;
}

static int l_close(lua_State *L)
{
    struct editor *e = luaL_checkudata(L, 1, KIND);
    if (e->edit != NULL)
        edit_free(e->edit);
    e->edit = NULL;
    return 0;
}

static int l_editor(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    struct editor *e = lua_newuserdatauv(L, sizeof(*e), 1);
    *e = (struct editor){0};
    luaL_setmetatable(L, KIND);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    e->edit = edit_new(&(struct edit_options){complete, e});
    if (e->edit == NULL)
        lua_pushnil(L);
    return 1;
}

void editor_open(lua_State *L)
{
    static const luaL_Reg methods[] = {{"read", l_read}, {"__gc", l_close}, {"__close", l_close}, {NULL, NULL}};
    luaL_newmetatable(L, KIND);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    lua_pushcfunction(L, l_editor);
    lua_setfield(L, -2, "editor");
}
