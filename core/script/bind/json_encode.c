#include "script/bind/json_encode.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/limits.h"
#include "script/bind/lazy_message.h"
#include "script/bind/object.h"
#include "script/vm/task.h"
#include "script/vm/vm.h"

enum { VALUES_A_LOOK = 1024 };        /* until the next look at the budget */

_Static_assert(JSON_TEXT_MAX == 16 * MIB, "messages say so");

struct encoder {
    lua_State *L;
    struct buf *out;
    struct buf *keys;                 /* an array of slices: the keys of the objects that are open */
    slice field;                      /* the last key, for messages */
    int depth;
    unsigned values;                  /* so far */
};

/* Encodes the value on top. Like everything that gets an encoder, it MAY_RAISE. */
static void encode_value(struct encoder *e);

static void fail(struct encoder *e, const char *what)
{
    if (e->field.p == NULL)
        blame(e->L, "json: %s", what);
    blame(e->L, "json: %s (at or below field \"%s\")", what, e->field.p);
}

static void encode_number(struct encoder *e)
{
    if (!lua_isinteger(e->L, -1)) {
        double v = lua_tonumber(e->L, -1);
        if (!isfinite(v))
            fail(e, "a number that is not finite");
        json_number(e->out, v);
        return;
    }
    lua_Integer v = lua_tointeger(e->L, -1);
    if (v < 0)
        buf_add_char(e->out, '-');
    buf_add_u64(e->out, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

static void encode_string(struct encoder *e)
{
    slice s;
    s.p = lua_tolstring(e->L, -1, &s.n);
    if (s.n > JSON_TEXT_MAX)
        fail(e, "more than 16 MiB of text");
    if (!utf8_valid(s))
        fail(e, "a string that is not UTF-8");
    json_string(e->out, s);
}

static void encode_list(struct encoder *e)
{
    lua_Unsigned n = lua_rawlen(e->L, -1);
    buf_add_char(e->out, '[');
    for (lua_Unsigned i = 1; i <= n; i++) {
        if (i > 1)
            buf_add_char(e->out, ',');
        lua_rawgeti(e->L, -1, (lua_Integer)i);
        encode_value(e);
        lua_pop(e->L, 1);
    }
    buf_add_char(e->out, ']');
}

static int compare_keys(const void *a, const void *b)
{
    return slice_compare(*(const slice *)a, *(const slice *)b);
}

/* Appends the keys of the table on top, sorted, to those of the tables around it. Returns how many there are. */
static size_t add_keys(struct encoder *e)
{
    size_t begin = buf_size(e->keys);
    size_t n = 0;
    for (lua_pushnil(e->L); lua_next(e->L, -2); lua_pop(e->L, 1), n++) {
        slice key;
        if (lua_type(e->L, -2) != LUA_TSTRING)
            fail(e, "a table that is neither a list nor has only names as keys");
        key.p = lua_tolstring(e->L, -2, &key.n);
        if (!utf8_valid(key))
            fail(e, "a key that is not UTF-8");
        buf_add(e->keys, &key, sizeof(key));
    }
    if (n > 1)
        qsort(e->keys->data + begin, n, sizeof(slice), compare_keys);
    return n;
}

static void encode_object(struct encoder *e)
{
    size_t begin = buf_size(e->keys);
    size_t n = add_keys(e);
    buf_add_char(e->out, '{');
    for (size_t i = 0; i < n; i++) {
        slice key;
        memcpy(&key, e->keys->data + begin + i * sizeof(key), sizeof(key));
        json_key(e->out, key);
        lua_pushlstring(e->L, key.p, key.n);
        lua_rawget(e->L, -2);
        e->field = key;
        encode_value(e);
        lua_pop(e->L, 1);
    }
    buf_add_char(e->out, '}');
    e->keys->end = e->keys->at + begin;
}

static bool is_marked(lua_State *L)
{
    if (!lua_getmetatable(L, -1))
        return false;
    bool marked = kind_is_top(L, KIND_LIST);
    lua_pop(L, 1);
    return marked;
}

/* Are the keys of the table on top 1 to n? */
static bool counts_up(lua_State *L)
{
    lua_Unsigned n = lua_rawlen(L, -1);
    lua_Unsigned integers = 0;
    lua_Unsigned others = 0;
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
        lua_isinteger(L, -2) ? integers++ : others++;
    return integers == n && others == 0;
}

bool json_is_list(lua_State *L)
{
    return is_marked(L) || (lua_rawlen(L, -1) > 0 && counts_up(L));
}

static void encode_table(struct encoder *e)
{
    if (++e->depth > JSON_DEPTH_MAX)
        fail(e, "a table deeper than 64 levels, or one that contains itself");
    luaL_checkstack(e->L, 8, "json");
    lazy_message_complete(e->L, lua_gettop(e->L));
    bool marked = is_marked(e->L);
    if (marked && !counts_up(e->L))
        fail(e, "a list (of json.array or json.decode) whose keys are not 1 to n");
    if (marked || json_is_list(e->L))
        encode_list(e);
    else
        encode_object(e);
    e->depth--;
}

static void encode_value(struct encoder *e)
{
    if (buf_size(e->out) > JSON_TEXT_MAX)
        fail(e, "more than 16 MiB of text");
    if (++e->values % VALUES_A_LOOK == 0)
        task_look(e->L);
    switch (lua_type(e->L, -1)) {
    case LUA_TNIL:
        buf_add_slice(e->out, SLICE("null"));
        break;
    case LUA_TBOOLEAN:
        buf_add_slice(e->out, lua_toboolean(e->L, -1) ? SLICE("true") : SLICE("false"));
        break;
    case LUA_TNUMBER:
        encode_number(e);
        break;
    case LUA_TSTRING:
        encode_string(e);
        break;
    case LUA_TTABLE:
        encode_table(e);
        break;
    default:   /* json.null is the light userdata NULL */
        if (!lua_islightuserdata(e->L, -1) || lua_touserdata(e->L, -1) != NULL)
            fail(e, lua_isfunction(e->L, -1) ? "a function" : "a userdata or thread");
        buf_add_slice(e->out, SLICE("null"));
    }
}

void json_encode(lua_State *L, int index, struct buf *out)
{
    struct encoder e = {.L = L, .out = out, .keys = vm_scratch_keys(vm_of(L))};
    lua_pushvalue(L, index);
    encode_value(&e);
    lua_pop(L, 1);
}
