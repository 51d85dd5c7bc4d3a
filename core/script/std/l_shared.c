/*
 * shared.dict: the dictionaries of shared.h. A table is stored as a copy, encoded by shared_table.h.
 */
#include <lauxlib.h>
#include <math.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/limits.h"
#include "script/bind/arg.h"
#include "script/bind/field.h"
#include "script/bind/object.h"
#include "script/bind/result.h"
#include "script/std/shared.h"
#include "script/std/shared_table.h"
#include "script/std/tables.h"
#include "script/vm/vm.h"

#define DICT "shared.dict(name [, {bytes=}])"
#define GET "dict:get(key)"
#define SET "dict:set(key, value [, ttl])"
#define ADD "dict:add(key, value [, ttl])"
#define INCR "dict:incr(key [, by [, ttl]])"
#define CAS "dict:cas(key, old, new [, ttl])"
#define DELETE "dict:delete(key)"
#define KEYS "dict:keys([prefix [, limit]])"
#define INFO "dict:info()"

enum { KEYS_DEFAULT = 1000 };

/* A dictionary as a script holds it. The first use finds it, so that it can be declared while lignum.lua is loaded. */
struct dict_handle {
    struct dict *dict;                /* outlives us; NULL before the first use */
    size_t bytes_max;
};

/* shared.dict(name [, options]) -> dict */
static int l_dict(lua_State *L)
{
    uint64_t bytes = DICT_SIZE_DEFAULT;
    const struct arg_field fields[] = {{"bytes", ARG_WHOLE, &bytes}, {NULL, ARG_END, NULL}};
    slice name = arg_text(L, 1, "name", DICT);
    arg_fields(L, 2, fields, DICT);
    if (name.n == 0 || name.n > DICT_KEY_MAX)
        return arg_fail(L, DICT, "name must have 1 to %d bytes", DICT_KEY_MAX);
    if (bytes < KIB || bytes > DICTS_SIZE_MAX)
        return arg_fail(L, DICT, "bytes must be from %d to %d", KIB, DICTS_SIZE_MAX);
    struct dict_handle *h = object_new(L, KIND_DICT, sizeof(*h), 1);
    h->bytes_max = (size_t)bytes;
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    return 1;
}

static struct dict *find_dict(lua_State *L, struct dict_handle *h, const char *usage)
{
    lua_getiuservalue(L, 1, 1);
    h->dict = shared_dict(vm_services(L)->shared, arg_text(L, -1, "name", usage), h->bytes_max);
    if (h->dict == NULL)
        arg_fail(L, usage, "there may be at most %d dictionaries, of %d bytes together", DICTS_MAX, DICTS_SIZE_MAX);
    lua_pop(L, 1);
    return h->dict;
}

static struct dict *arg_dict(lua_State *L, const char *usage)
{
    struct dict_handle *h = object_check(L, 1, KIND_DICT, usage);
    return h->dict != NULL ? h->dict : find_dict(L, h, usage);
}

static slice arg_key(lua_State *L, const char *usage)
{
    slice key = arg_text(L, 2, "key", usage);
    if (key.n > DICT_KEY_MAX)
        arg_fail(L, usage, "key has more than %d bytes", DICT_KEY_MAX);
    return key;
}

/* When an entry expires; 0: never. */
static uint64_t arg_until(lua_State *L, int index, const char *usage)
{
    if (lua_isnoneornil(L, index))
        return 0;
    double seconds = arg_seconds(L, index, "ttl", usage);
    if (seconds > (double)AGE_S_MAX)
        arg_fail(L, usage, "ttl must be at most 36,600 days");
    return clock_ns() + (uint64_t)(seconds * (double)NS_PER_S);
}

/* A value to store. Strings stay on the stack; a table is encoded into `scratch`. */
static struct shared_value arg_value(lua_State *L, int index, struct buf *scratch, const char *usage)
{
    struct shared_value v = {0};
    int whole;
    switch (lua_type(L, index)) {
    case LUA_TBOOLEAN:
        v.type = SHARED_FLAG;
        v.flag = lua_toboolean(L, index);
        return v;
    case LUA_TNUMBER:
        v.whole = lua_isinteger(L, index) ? lua_tointegerx(L, index, &whole) : 0;
        v.type = lua_isinteger(L, index) ? SHARED_WHOLE : SHARED_NUMBER;
        if (v.type == SHARED_NUMBER)
            v.number = lua_tonumber(L, index);
        return v;
    case LUA_TSTRING:
        v.type = SHARED_TEXT;
        v.bytes.p = lua_tolstring(L, index, &v.bytes.n);
        break;
    case LUA_TTABLE:
        v.type = SHARED_TABLE;
        shared_table_encode(L, index, scratch, usage);
        v.bytes = buf_slice(scratch);
        break;
    default:
        arg_fail(L, usage, "value must be a string, number, boolean or table, not %s", luaL_typename(L, index));
    }
    if (v.bytes.n > DICT_VALUE_MAX)
        arg_fail(L, usage, "value has more than %d bytes", DICT_VALUE_MAX);
    return v;
}

static void push_value(lua_State *L, const struct shared_value *v)
{
    switch (v->type) {
    case SHARED_FLAG:
        lua_pushboolean(L, v->flag);
        return;
    case SHARED_WHOLE:
        lua_pushinteger(L, v->whole);
        return;
    case SHARED_NUMBER:
        lua_pushnumber(L, v->number);
        return;
    case SHARED_TEXT:
        lua_pushlstring(L, v->bytes.p, v->bytes.n);
        return;
    case SHARED_TABLE:
        shared_table_push(L, v->bytes);
        return;
    }
}

/* Stores the value at `index`; nil deletes. Returns how many results: true, or nil, message, code. */
static int store(lua_State *L, struct dict *d, int index, const char *usage)
{
    slice key = arg_key(L, usage);
    uint64_t until = arg_until(L, index + 1, usage);
    if (lua_isnoneornil(L, index)) {
        dict_delete(d, key);
    } else if (dict_set(d, key, arg_value(L, index, vm_scratch(vm_of(L)), usage), until) < 0) {
        struct dict_stats s = dict_stats(d);
        return push_fail_because(L, -ERR_TOO_LARGE, "the dictionary is full: %zu of %zu bytes are taken", s.bytes,
                                 s.bytes_max);
    }
    lua_pushboolean(L, true);
    return 1;
}

/* dict:get(key) -> value | nil */
static int l_get(lua_State *L)
{
    struct dict *d = arg_dict(L, GET);
    const struct dict_entry *e = dict_find(d, arg_key(L, GET));
    if (e == NULL)
        lua_pushnil(L);
    else
        push_value(L, &e->value);
    return 1;
}

/* dict:set(key, value [, ttl]) -> true | nil, message, code */
static int l_set(lua_State *L)
{
    return store(L, arg_dict(L, SET), 3, SET);
}

/* dict:add(key, value [, ttl]) -> true | false | nil, message, code */
static int l_add(lua_State *L)
{
    struct dict *d = arg_dict(L, ADD);
    if (dict_find(d, arg_key(L, ADD)) == NULL)
        return store(L, d, 3, ADD);
    lua_pushboolean(L, false);
    return 1;
}

/* dict:cas(key, old, new [, ttl]) -> boolean | nil, message, code */
static int l_cas(lua_State *L)
{
    struct dict *d = arg_dict(L, CAS);
    const struct dict_entry *e = dict_find(d, arg_key(L, CAS));
    if (lua_istable(L, 3))
        return arg_fail(L, CAS, "old must not be a table");
    if (lua_gettop(L) < 5)
        lua_settop(L, 5);
    if (e == NULL || e->value.type == SHARED_TABLE)
        lua_pushnil(L);
    else
        push_value(L, &e->value);
    bool same = (e == NULL || e->value.type != SHARED_TABLE) && lua_rawequal(L, -1, 3);
    lua_pop(L, 1);
    if (same)
        return store(L, d, 4, CAS);
    lua_pushboolean(L, false);
    return 1;
}

/* dict:incr(key [, by [, ttl]]) -> number | nil, message, code.  An absent entry counts as 0. */
static int l_incr(lua_State *L)
{
    struct dict *d = arg_dict(L, INCR);
    slice key = arg_key(L, INCR);
    struct shared_value by = {.type = SHARED_WHOLE, .whole = 1};
    if (!lua_isnoneornil(L, 3) && lua_type(L, 3) != LUA_TNUMBER)
        return arg_fail(L, INCR, "by must be a number, not %s", luaL_typename(L, 3));
    if (!lua_isnoneornil(L, 3))
        by = arg_value(L, 3, NULL, INCR);
    struct dict_entry *e = dict_find(d, key);
    if (e == NULL) {
        lua_settop(L, 4);
        if (by.type == SHARED_WHOLE)
            lua_pushinteger(L, by.whole);
        else
            lua_pushnumber(L, by.number);
        lua_replace(L, 3);
        int values = store(L, d, 3, INCR);
        if (values == 1)
            lua_pushvalue(L, 3);
        return values;
    }
    struct shared_value *v = &e->value;
    if (v->type != SHARED_WHOLE && v->type != SHARED_NUMBER)
        return push_fail_because(L, -ERR_BAD_VALUE, "the entry is no number");
    if (v->type == SHARED_WHOLE && by.type == SHARED_WHOLE) {
        v->whole = (int64_t)((uint64_t)v->whole + (uint64_t)by.whole);    /* wraps around, as Lua's integers do */
    } else {
        v->number = (v->type == SHARED_WHOLE ? (double)v->whole : v->number) +
                    (by.type == SHARED_WHOLE ? (double)by.whole : by.number);
        v->type = SHARED_NUMBER;
    }
    push_value(L, v);
    return 1;
}

/* dict:delete(key) -> boolean */
static int l_delete(lua_State *L)
{
    struct dict *d = arg_dict(L, DELETE);
    lua_pushboolean(L, dict_delete(d, arg_key(L, DELETE)));
    return 1;
}

/* dict:keys([prefix [, limit]]) -> list */
static int l_keys(lua_State *L)
{
    struct dict *d = arg_dict(L, KEYS);
    slice prefix = lua_isnoneornil(L, 2) ? SLICE("") : arg_text(L, 2, "prefix", KEYS);
    uint64_t limit = lua_isnoneornil(L, 3) ? KEYS_DEFAULT : arg_whole(L, 3, "limit", KEYS);
    lua_Integer n = 0;
    size_t at = 0;
    lua_newtable(L);
    for (const struct dict_entry *e; (uint64_t)n < limit && (e = dict_next(d, &at)) != NULL;) {
        if (!slice_starts(slice_of(e->key, e->key_size), prefix))
            continue;
        lua_pushlstring(L, e->key, e->key_size);
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

/* dict:info() -> {count =, bytes =, bytes_max =} */
static int l_info(lua_State *L)
{
    struct dict_stats s = dict_stats(arg_dict(L, INFO));
    lua_createtable(L, 0, 3);
    set_whole(L, "count", s.count);
    set_whole(L, "bytes", s.bytes);
    set_whole(L, "bytes_max", s.bytes_max);
    return 1;
}

void shared_open(lua_State *L)
{
    static const luaL_Reg methods[] = {{"get", l_get},   {"set", l_set},       {"add", l_add},   {"cas", l_cas},
                                       {"incr", l_incr}, {"delete", l_delete}, {"keys", l_keys}, {"info", l_info},
                                       {NULL, NULL}};
    static const luaL_Reg functions[] = {{"dict", l_dict}, {NULL, NULL}};
    kind_open(L, &(struct kind_options){KIND_DICT, NULL, methods, NULL, NULL});
    lua_setfield(L, -2, "Dict");
    luaL_newlib(L, functions);
    lua_setfield(L, -2, "shared");
}
