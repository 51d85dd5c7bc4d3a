/*
 * say.debug, say.info, say.warn, say.error: one line each to the log.
 */
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/say.h"
#include "script/bind/arg.h"
#include "script/bind/tables.h"
#include "script/vm/vm.h"

enum { FIELDS_MAX = 32 };

/* Of an operator's world the log takes SCRIPT_LINES_MAX lines a second; the others are counted. */
struct saying {
    uint64_t second;
    unsigned said, left_out;          /* in that second */
};

static void say_left_out(struct saying *s)
{
    if (s->left_out > 0)
        say_warn("lua", "left out %u more lines of lignum.lua in a second", s->left_out);
    s->left_out = 0;
}

static void saying_free(void *state)
{
    say_left_out(state);
    mem_free(state);
}

static bool may_say(struct vm *vm)
{
    if (strcmp(vm_world(vm), "operator") != 0)
        return true;
    struct slots *slots = vm_slots(vm);
    if (slot_get(slots, SLOT_SAYING) == NULL)
        slot_set(slots, SLOT_SAYING, MEM_NEW(struct saying), saying_free);
    struct saying *s = slot_get(slots, SLOT_SAYING);
    uint64_t second = clock_ns() / NS_PER_S;
    if (s->second != second) {
        say_left_out(s);
        *s = (struct saying){.second = second};
    }
    if (s->said == SCRIPT_LINES_MAX)
        s->left_out++;
    else
        s->said++;
    return s->left_out == 0;
}

static int compare_names(const void *a, const void *b)
{
    const char *const *x = a;
    const char *const *y = b;
    return strcmp(*x, *y);
}

/* Appends ` name=value` for each field of the table at 2, in the order of their names. */
static void add_fields(lua_State *L, struct buf *out, const char *usage)
{
    const char *names[FIELDS_MAX];
    size_t count = 0;
    for (lua_pushnil(L); lua_next(L, 2); lua_pop(L, 1)) {
        slice name = arg_text(L, -2, "the name of a field", usage);
        if (count == FIELDS_MAX)
            arg_fail(L, usage, "more than %d fields", FIELDS_MAX);
        if (strspn(name.p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.") != name.n || name.n == 0)
            arg_fail(L, usage, "a field cannot be named %s", name.p);
        names[count++] = name.p;
    }
    qsort(names, count, sizeof(names[0]), compare_names);
    for (size_t i = 0; i < count; i++) {
        slice value;
        lua_getfield(L, 2, names[i]);
        value.p = luaL_tolstring(L, -1, &value.n);
        say_field(out, names[i], value);
        lua_pop(L, 2);
    }
}

static int write_line(lua_State *L, enum say_level level, const char *usage)
{
    slice text = arg_text(L, 1, "text", usage);
    lua_settop(L, 2);
    if (!lua_isnil(L, 2) && !lua_istable(L, 2))
        return arg_fail(L, usage, "fields must be a table, not %s", luaL_typename(L, 2));
    struct buf *fields = vm_scratch(vm_of(L));
    if (lua_istable(L, 2))
        add_fields(L, fields, usage);
    if (may_say(vm_of(L)))
        say_text(level, "lua", text, buf_slice(fields));
    return 0;
}

static int l_debug(lua_State *L)
{
    return write_line(L, SAY_DEBUG, "say.debug(text [, fields])");
}

static int l_info(lua_State *L)
{
    return write_line(L, SAY_INFO, "say.info(text [, fields])");
}

static int l_warn(lua_State *L)
{
    return write_line(L, SAY_WARN, "say.warn(text [, fields])");
}

static int l_error(lua_State *L)
{
    return write_line(L, SAY_ERROR, "say.error(text [, fields])");
}

void say_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"debug", l_debug}, {"info", l_info}, {"warn", l_warn}, {"error", l_error}, {NULL, NULL}};
    luaL_newlib(L, functions);
    lua_setfield(L, -2, "say");
}
