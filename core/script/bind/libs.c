#include "script/bind/libs.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lualib.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/limits.h"
#include "base/say.h"
#include "script/bind/lazy_message.h"
#include "script/bind/object.h"
#include "script/vm/chunks.h"
#include "script/vm/vm.h"

enum {
    SORT_IN_C_MAX = 1000,             /* items: a fraction of a millisecond */
    PIPE_MS = 2000,                   /* for a pipe that holds lignum.lua, or what it names, to be written to */
};

static const char dump_key[] = "lignum.dump";       /* in the registry: string.dump */
static const char unsafe_key[] = "lignum.unsafe";   /* in the registry */

/* "lignum.lua:3: ..." */
static bool has_line(const char *text)
{
    const char *colon = strchr(text, ':');
    size_t digits = colon == NULL ? 0 : strspn(colon + 1, "0123456789");
    return digits > 0 && colon[1 + digits] == ':';
}

/* Raises the error on top. Lua does not know the name of a function that C has called, nor its line: it complains of an
 * argument to '?'. Ours has both. */
static int raise_as_ours(lua_State *L)
{
    int number = 0, end = 0;
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
    if (text == NULL || has_line(text) || strcmp(text, "not enough memory") == 0)
        return lua_error(L);
    if (sscanf(text, "bad argument #%d to '?' (%n", &number, &end) != 1 || end == 0)
        return luaL_error(L, "%s", text);
    lua_pushlstring(L, text + end, strlen(text + end) - 1);
    return luaL_argerror(L, number, lua_tostring(L, -1));
}

/* Calls Lua's own function, which is the upvalue of ours, with the arguments as they are on the stack now. One that
 * calls functions of scripts is not protected, so that a trace of their errors is whole. */
static int call_replaced(lua_State *L)
{
    bool calls = lua_isfunction(L, 1) || lua_isfunction(L, 2);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    if (calls)
        lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    else if (lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0) != LUA_OK)
        return raise_as_ours(L);
    return lua_gettop(L);
}

/* load(chunk, name, mode, env), with mode always "t". Without env, the second upvalue is it, if it is there. */
static int l_load(lua_State *L)
{
    luaL_argexpected(L, lua_isstring(L, 1) || lua_isfunction(L, 1), 1, "string or function");
    if (lua_gettop(L) < 4 && !lua_isnone(L, lua_upvalueindex(2))) {
        lua_settop(L, 3);
        lua_pushvalue(L, lua_upvalueindex(2));
    }
    if (lua_gettop(L) < 3)
        lua_settop(L, 3);
    lua_pushliteral(L, "t");
    lua_replace(L, 3);
    return call_replaced(L);
}

static int l_loadfile(lua_State *L)
{
    luaL_checkstring(L, 1);   /* without one Lua reads standard input */
    if (lua_gettop(L) < 2)
        lua_settop(L, 2);
    lua_pushliteral(L, "t");
    lua_replace(L, 2);
    return call_replaced(L);
}

static int l_dofile(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    lua_settop(L, 1);
    if (luaL_loadfilex(L, path, "t") != LUA_OK)
        return lua_error(L);
    lua_call(L, 0, LUA_MULTRET);
    return lua_gettop(L) - 1;
}

static int l_setmetatable(lua_State *L)
{
    if (lua_type(L, 2) == LUA_TTABLE) {
        lua_pushliteral(L, "__gc");
        if (lua_rawget(L, 2) != LUA_TNIL)
            return luaL_error(L, "finalizers (__gc) are not available in Lignum's scripts; use `local x <close>`");
        lua_pop(L, 1);
    }
    if (lua_istable(L, 1))
        lazy_message_complete(L, 1);
    if (lua_istable(L, 1) && lua_getmetatable(L, 1) && kind_is_top(L, KIND_LIST)) {
        lua_pushnil(L);               /* a list of JSON takes another metatable; its own is protected */
        lua_setmetatable(L, 1);
    }
    lua_settop(L, 2);
    return call_replaced(L);
}

/* Only these: "stop", or an extreme setting of the collector, would let memory grow. */
static int l_collectgarbage(lua_State *L)
{
    static const char *const words[] = {"collect", "count", "step", NULL};
    switch (luaL_checkoption(L, 1, "collect", words)) {
    case 1:
        lua_pushnumber(L, (double)vm_memory(vm_of(L))->used / KIB);
        return 1;
    case 2:
        lua_pushboolean(L, lua_gc(L, LUA_GCSTEP, 0));
        return 1;
    default:
        lua_pushinteger(L, lua_gc(L, LUA_GCCOLLECT));
        return 1;
    }
}

static int l_print(lua_State *L)
{
    luaL_Buffer b;
    int n = lua_gettop(L);
    luaL_buffinit(L, &b);
    for (int i = 1; i <= n; i++) {
        if (i > 1)
            luaL_addchar(&b, ' ');
        luaL_tolstring(L, i, NULL);
        luaL_addvalue(&b);
    }
    luaL_pushresult(&b);
    slice text;
    text.p = lua_tolstring(L, -1, &text.n);
    say_text(SAY_INFO, "print", text, SLICE(""));
    return 0;
}

/* Opening or reading what is no file may block the whole broker: a FIFO, a terminal. */
static bool may_block(const char *path)
{
    struct stat file;
    return stat(path, &file) == 0 && !S_ISREG(file.st_mode) && !S_ISDIR(file.st_mode);
}

static const char *check_open(lua_State *L)
{
    const char *mode = luaL_optstring(L, 2, "r");
    const char *path = luaL_checkstring(L, 1);
    if (strcmp(mode, "r") != 0 && strcmp(mode, "rb") != 0)
        luaL_error(L, "io.open(path [, \"r\" | \"rb\"]): scripts only read files");
    return path;
}

static int l_open(lua_State *L)
{
    const char *path = check_open(L);
    if (may_block(path)) {
        lua_pushnil(L);
        lua_pushfstring(L, "%s: not a regular file", path);
        return 2;
    }
    lua_settop(L, 2);
    return call_replaced(L);
}

/* Waits until a pipe has something to read. False: nobody has written for too long. */
static bool wait_for_writer(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, PIPE_MS) > 0;
}

/* Reads all that there is. 0, or a negative errno. */
static int read_all(int fd, bool pipe, struct buf *out)
{
    enum { PIECE = 64 * KIB };
    for (;;) {
        if (pipe && !wait_for_writer(fd))
            return -ETIMEDOUT;
        ssize_t n = read(fd, buf_reserve(out, PIECE), PIECE);
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return -errno;
        if (n == 0)
            return 0;
        if (n > 0)
            out->end += (size_t)n;
        if (buf_size(out) > SCRIPT_STRING_MAX)
            return -EFBIG;
    }
}

/* core.read_file(path) -> text | nil, message: lignum.lua itself and what it names. At the start that may be a pipe,
 * for whose writer it waits a limited time; a broker that runs waits for nobody. */
static int l_read_file(lua_State *L)
{
    struct stat file;
    const char *path = luaL_checkstring(L, 1);
    struct buf *text = vm_scratch(vm_of(L));
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int rc = fd < 0 || fstat(fd, &file) < 0 ? -errno : 0;
    bool pipe = rc == 0 && !S_ISREG(file.st_mode) && !S_ISDIR(file.st_mode);
    bool refused = pipe && vm_is_attached(vm_of(L));
    if (rc == 0 && !refused)
        rc = read_all(fd, pipe, text);
    if (fd >= 0)
        close(fd);
    if (rc == 0 && !refused) {
        lua_pushlstring(L, text->data, buf_size(text));
        vm_scratch_done(text);
        return 1;
    }
    lua_pushnil(L);
    lua_pushfstring(L, "%s: %s", path, refused ? "not a regular file" :
                    rc == -ETIMEDOUT ? "a pipe to which nobody writes" : strerror(-rc));
    return 2;
}

/* core.load_script(path, env) -> function | nil, message: one of Lignum's own scripts, or of a rock */
static int l_load_script(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    if (chunks_load(vm_chunks(vm_of(L)), L, path) != LUA_OK) {
        lua_pushnil(L);
        lua_insert(L, -2);
        return 2;
    }
    lua_pushvalue(L, 2);
    if (lua_setupvalue(L, -2, 1) == NULL)        /* it uses no global */
        lua_pop(L, 1);
    return 1;
}

/* core.loader(env) -> load, whose chunks see these globals */
static int l_loader(lua_State *L)
{
    lua_settop(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_pushcclosure(L, l_load, 2);
    return 1;
}

static int l_lines(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);   /* without one Lua reads standard input */
    if (may_block(path))
        return luaL_error(L, "%s: not a regular file", path);
    return call_replaced(L);
}

/* ---- bounds of what one call of C does: no hook can interrupt it ---- */

/* string.rep(s, n [, separator]) */
static int l_rep(lua_State *L)
{
    size_t size, between = 0;
    luaL_checklstring(L, 1, &size);
    lua_Integer n = luaL_checkinteger(L, 2);
    luaL_optlstring(L, 3, "", &between);
    if (size + between == 0) {
        lua_pushliteral(L, "");
        return 1;
    }
    lua_Integer most = SCRIPT_STRING_MAX / (lua_Integer)(size + between);
    if (n > most + 1)
        return luaL_error(L, "string.rep: the result would have more than %d bytes", SCRIPT_STRING_MAX);
    return call_replaced(L);
}

static void check_items(lua_State *L, lua_Integer first, lua_Integer last)
{
    if (last >= first && (lua_Unsigned)last - (lua_Unsigned)first >= SCRIPT_ITEMS_MAX)
        luaL_error(L, "more than %d items in one call", SCRIPT_ITEMS_MAX);
}

/* table.move(from, first, last, to [, other]) */
static int l_move(lua_State *L)
{
    check_items(L, luaL_checkinteger(L, 2), luaL_checkinteger(L, 3));
    return call_replaced(L);
}

/* table.concat(list [, separator [, first [, last]]]) */
static int l_concat(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_Integer first = luaL_optinteger(L, 3, 1);
    check_items(L, first, lua_isnoneornil(L, 4) ? luaL_len(L, 1) : luaL_checkinteger(L, 4));
    return call_replaced(L);
}

/* table.insert and table.remove: their length may be what __len says */
static int l_shift(lua_State *L)
{
    luaL_checkany(L, 1);
    if (lua_istable(L, 1) && luaL_getmetafield(L, 1, "__len") != LUA_TNIL) {
        lua_pop(L, 1);
        check_items(L, 1, luaL_len(L, 1));
    }
    return call_replaced(L);
}

/* table.sort(list [, less]). Without a function it is one call of C; of many items each comparison is Lua, which the
 * budget can end. */
static int l_sort(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_Integer n = luaL_len(L, 1);
    check_items(L, 1, n);
    if (lua_isnoneornil(L, 2) && n > SORT_IN_C_MAX) {
        lua_settop(L, 1);
        lua_pushvalue(L, lua_upvalueindex(2));
    }
    return call_replaced(L);
}

static int add_bytecode(lua_State *L, const void *p, size_t n, void *code)
{
    (void)L;
    buf_add(code, p, n);
    return 0;
}

/* Pushes a function that compares as sort does, without the numbers of its lines: errors name the caller's. */
static void push_less(lua_State *L)
{
    struct buf code = {0};
    ENSURE(luaL_loadstring(L, "local a, b = ... return a < b") == LUA_OK);
    ENSURE(lua_dump(L, add_bytecode, &code, true) == 0);
    lua_pop(L, 1);
    ENSURE(luaL_loadbufferx(L, code.data, buf_size(&code), "=sort", "b") == LUA_OK);
    buf_fini(&code);
}

/* os.time and os.date show the clock of base/clock.h, which is held while tests run. */
static int l_os_time(lua_State *L)
{
    if (!lua_isnoneornil(L, 1))
        return call_replaced(L);
    lua_pushinteger(L, clock_wall_ms() / MS_PER_S);
    return 1;
}

static int l_os_date(lua_State *L)
{
    if (lua_gettop(L) == 0)
        lua_pushliteral(L, "%c");
    lua_settop(L, 2);
    if (lua_isnil(L, 2)) {
        lua_pop(L, 1);
        lua_pushinteger(L, clock_wall_ms() / MS_PER_S);
    }
    return call_replaced(L);
}

/* The searcher of require for modules in Lua; it loads no bytecode. */
static int search_lua(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "searchpath");
    lua_pushstring(L, name);
    lua_getfield(L, -3, "path");
    lua_call(L, 2, 2);
    if (lua_isnil(L, -2))
        return 1;
    lua_pop(L, 1);
    if (chunks_load(vm_chunks(vm_of(L)), L, lua_tostring(L, -1)) != LUA_OK)
        return luaL_error(L, "%s", lua_tostring(L, -1));
    lua_insert(L, -2);
    return 2;
}

/* ---- leaving out and replacing ---- */

/* Puts our function in place of field `name` of the table on top, with the old one as its upvalue. */
static void wrap(lua_State *L, const char *name, lua_CFunction fn)
{
    lua_getfield(L, -1, name);
    lua_pushcclosure(L, fn, 1);
    lua_setfield(L, -2, name);
}

/* Removes field `name` of the table on top. */
static void drop(lua_State *L, const char *name)
{
    lua_pushnil(L);
    lua_setfield(L, -2, name);
}

/* Replaces the library by a table of these of its fields. */
static void keep(lua_State *L, const char *library, const char *const *names)
{
    lua_getglobal(L, library);
    lua_newtable(L);
    for (; *names != NULL; names++) {
        lua_getfield(L, -2, *names);
        lua_setfield(L, -2, *names);
    }
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, library);
    lua_pop(L, 1);
    lua_setglobal(L, library);
    lua_pop(L, 1);
}

/* Copies these fields of the library into the table on top. */
static void copy(lua_State *L, const char *library, const char *const *names)
{
    lua_getglobal(L, library);
    for (; *names != NULL; names++) {
        lua_getfield(L, -1, *names);
        lua_setfield(L, -3, *names);
    }
    lua_pop(L, 1);
}

void libs_open(lua_State *L)
{
    luaL_openlibs(L);

    lua_newtable(L);
    copy(L, "os", (const char *const[]){"execute", "exit", "remove", "rename", "tmpname", NULL});
    copy(L, "io", (const char *const[]){"popen", "open", NULL});
    copy(L, "package", (const char *const[]){"loadlib", NULL});
    lua_setfield(L, LUA_REGISTRYINDEX, unsafe_key);

    keep(L, "os", (const char *const[]){"time", "date", "clock", "getenv", "difftime", NULL});
    keep(L, "io", (const char *const[]){"open", "lines", "type", NULL});
    keep(L, "debug", (const char *const[]){"traceback", NULL});

    lua_pushglobaltable(L);
    wrap(L, "load", l_load);
    wrap(L, "loadfile", l_loadfile);
    wrap(L, "dofile", l_dofile);
    wrap(L, "setmetatable", l_setmetatable);
    wrap(L, "collectgarbage", l_collectgarbage);
    wrap(L, "print", l_print);
    lua_pop(L, 1);

    lua_getglobal(L, "package");
    drop(L, "loadlib");
    lua_getfield(L, -1, "searchers");
    lua_pushcfunction(L, search_lua);
    lua_rawseti(L, -2, 2);
    lua_pop(L, 2);

    lua_getglobal(L, "os");
    wrap(L, "time", l_os_time);
    wrap(L, "date", l_os_date);
    lua_pop(L, 1);

    lua_getglobal(L, "io");
    wrap(L, "open", l_open);
    wrap(L, "lines", l_lines);
    lua_pop(L, 1);

    lua_getglobal(L, "string");
    lua_getfield(L, -1, "dump");
    lua_setfield(L, LUA_REGISTRYINDEX, dump_key);
    drop(L, "dump");
    wrap(L, "rep", l_rep);
    lua_pop(L, 1);

    lua_getglobal(L, "table");
    wrap(L, "move", l_move);
    wrap(L, "concat", l_concat);
    wrap(L, "insert", l_shift);
    wrap(L, "remove", l_shift);
    lua_getfield(L, -1, "sort");
    push_less(L);
    lua_pushcclosure(L, l_sort, 2);
    lua_setfield(L, -2, "sort");
    lua_pop(L, 1);
}

void unsafe_open(lua_State *L)
{
    lua_getfield(L, LUA_REGISTRYINDEX, unsafe_key);
    lua_setfield(L, -2, "unsafe");
    lua_getfield(L, LUA_REGISTRYINDEX, dump_key);
    lua_setfield(L, -2, "dump");
    lua_pushcfunction(L, l_read_file);
    lua_setfield(L, -2, "read_file");
    lua_pushcfunction(L, l_load_script);
    lua_setfield(L, -2, "load_script");
    lua_getglobal(L, "load");
    lua_getupvalue(L, -1, 1);
    lua_pushcclosure(L, l_loader, 1);
    lua_setfield(L, -3, "loader");
    lua_pop(L, 1);
}
