#include "script/bind/json_decode.h"

#include <lauxlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/json_read.h"
#include "script/bind/object.h"
#include "script/bind/result.h"
#include "script/vm/task.h"
#include "script/vm/vm.h"

enum {
    IN_ONE_GO = 16 * KIB,             /* shorter texts take less than a slice */
    LOOK_EVERY = 64,                  /* events between two looks at the clock */
};
#define SLICE_NS (2 * NS_PER_MS)

/* The Lua stack: the text, `decoder`, and then of each open bracket its table, and in an object the name whose value is
 * being read. */
enum { TEXT = 1, DECODER };

struct decoder {
    struct json_reader reader;
    uint32_t counts[JSON_DEPTH_MAX];  /* values of the open lists */
};

static int fail(lua_State *L, int rc, uint32_t limit, const char *why)
{
    int results = push_fail_because(L, rc, "%s", why);
    if (limit == 0)
        return results;
    lua_createtable(L, 0, 1);
    lua_pushinteger(L, limit);
    lua_setfield(L, -2, "limit");
    return results + 1;
}

static int fail_twice(lua_State *L)
{
    return push_fail_because(L, -ERR_BAD_JSON, "an object has the name \"%s\" twice", lua_tostring(L, -1));
}

/* Is the name on top one that the object below it has already? */
static bool is_twice(lua_State *L)
{
    lua_pushvalue(L, -1);
    bool is = lua_rawget(L, -3) != LUA_TNIL;
    lua_pop(L, 1);
    return is;
}

/* Puts the value on top, which is whole, where it belongs. */
static void keep(lua_State *L, struct decoder *d)
{
    if (d->reader.depth == 0)
        return;
    if (json_in_object(&d->reader))
        lua_rawset(L, -3);
    else
        lua_rawseti(L, -2, ++d->counts[d->reader.depth - 1]);
}

/* Pushes what the event has read. */
static void push(lua_State *L, struct decoder *d, enum json_event event)
{
    const struct json_reader *r = &d->reader;
    switch (event) {
    case JSON_OPEN_OBJECT:
    case JSON_OPEN_LIST:
        luaL_checkstack(L, 8, "json");
        lua_newtable(L);
        if (event == JSON_OPEN_LIST)
            kind_set(L, lua_gettop(L), KIND_LIST);
        d->counts[r->depth - 1] = 0;
        break;
    case JSON_MEMBER:
    case JSON_STRING:
        lua_pushlstring(L, r->string.p, r->string.n);
        break;
    case JSON_INTEGER:
        lua_pushinteger(L, r->integer);
        break;
    case JSON_NUMBER:
        lua_pushnumber(L, r->number);
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        lua_pushboolean(L, event == JSON_TRUE);
        break;
    case JSON_NULL:
        lua_pushlightuserdata(L, NULL);
        break;
    default:   /* JSON_CLOSE: the table lies there */
        break;
    }
}

/* Decodes until the text ends, or, when there is an `until_ns`, until then. The number of results; -1: not yet. */
static int decode(lua_State *L, struct decoder *d, uint64_t until_ns)
{
    struct buf *scratch = vm_scratch(vm_of(L));
    for (unsigned n = 1; until_ns == 0 || n % LOOK_EVERY != 0 || clock_ns() < until_ns; n++) {
        enum json_event event = json_next(&d->reader, scratch);
        if (event == JSON_END)
            return 1;
        if (event == JSON_BAD)
            return fail(L, d->reader.error, d->reader.limit, d->reader.why);
        push(L, d, event);
        if (event == JSON_MEMBER && is_twice(L))
            return fail_twice(L);
        if (event != JSON_OPEN_OBJECT && event != JSON_OPEN_LIST && event != JSON_MEMBER)
            keep(L, d);
    }
    return -1;
}

static int decode_more(lua_State *L, int status, lua_KContext context);

/* One slice. The task is looked up each time: a script may go on with a coroutine in another task. */
static int decode_slice(lua_State *L)
{
    struct task *self = task_that_can_wait(L);
    int results = decode(L, lua_touserdata(L, DECODER), self == NULL ? 0 : clock_ns() + SLICE_NS);
    vm_scratch_done(vm_scratch(vm_of(L)));
    return results < 0 ? task_park(L, self, 1, 0, decode_more) : results;
}

static int decode_more(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    lua_pop(L, 1);
    return decode_slice(L);
}

int json_decode(lua_State *L, uint32_t values_max)
{
    struct decoder small;
    slice text;
    text.p = lua_tolstring(L, TEXT, &text.n);
    lua_settop(L, TEXT);
    if (text.n <= IN_ONE_GO) {
        lua_pushnil(L);
        small.reader = (struct json_reader){.text = text, .values_max = values_max};
        return decode(L, &small, 0);
    }
    struct decoder *d = lua_newuserdatauv(L, sizeof(*d), 0);
    d->reader = (struct json_reader){.text = text, .values_max = values_max};
    return decode_slice(L);
}
