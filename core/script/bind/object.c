#include "script/bind/object.h"

#include <string.h>

#include "base/mem.h"
#include "script/bind/arg.h"
#include "script/vm/vm.h"

struct kinds {
    const void *metatable[KINDS];     /* by identity; NULL: not made yet */
    int ref[KINDS];                   /* and in the registry */
};

static struct kinds *kinds_of(lua_State *L)
{
    struct slots *slots = vm_slots(vm_of(L));
    if (slot_get(slots, SLOT_KINDS) == NULL)
        slot_set(slots, SLOT_KINDS, MEM_NEW(struct kinds), mem_free);
    return slot_get(slots, SLOT_KINDS);
}

void kind_keep(lua_State *L, enum kind kind)
{
    struct kinds *kinds = kinds_of(L);
    lua_pushvalue(L, -1);
    kinds->ref[kind] = luaL_ref(L, LUA_REGISTRYINDEX);
    kinds->metatable[kind] = lua_topointer(L, -1);
}

bool kind_is_top(lua_State *L, enum kind kind)
{
    return lua_topointer(L, -1) == kinds_of(L)->metatable[kind];
}

void kind_set(lua_State *L, int index, enum kind kind)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, kinds_of(L)->ref[kind]);
    lua_setmetatable(L, index);
}

void kind_open(lua_State *L, const struct kind_options *o)
{
    lua_newtable(L);
    if (o->methods != NULL)
        luaL_setfuncs(L, o->methods, 0);
    lua_newtable(L);
    if (o->meta != NULL)
        luaL_setfuncs(L, o->meta, 0);
    lua_pushvalue(L, -2);
    if (o->index != NULL) {
        lua_newtable(L);
        for (lua_Integer i = 0; o->fields != NULL && o->fields[i] != NULL; i++) {
            lua_pushinteger(L, i + 1);
            lua_setfield(L, -2, o->fields[i]);
        }
        lua_pushcclosure(L, o->index, 2);
    }
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    kind_keep(L, o->kind);
    lua_pop(L, 1);
}

void *object_new(lua_State *L, enum kind kind, size_t size, int user_values)
{
    void *object = lua_newuserdatauv(L, size, user_values);
    memset(object, 0, size);
    lua_rawgeti(L, LUA_REGISTRYINDEX, kinds_of(L)->ref[kind]);
    lua_setmetatable(L, -2);
    return object;
}

void *object_test(lua_State *L, int index, enum kind kind)
{
    void *object = lua_touserdata(L, index);
    if (object == NULL || !lua_getmetatable(L, index))
        return NULL;
    bool same = kind_is_top(L, kind);
    lua_pop(L, 1);
    return same ? object : NULL;
}

void *object_check(lua_State *L, int index, enum kind kind, const char *usage)
{
    static const char *const names[KINDS] = {
        [KIND_TOPIC] = "a topic",     [KIND_BATCH] = "a batch", [KIND_RECORDS] = "a range of records",
        [KIND_REQUEST] = "a request", [KIND_FETCH] = "a fetch", [KIND_LIST] = "a list",
        [KIND_TREE] = "a tree of routes", [KIND_MESSAGE] = "a message", [KIND_KEY] = "a key",
        [KIND_ASKING] = "a call of core.ask", [KIND_ENVELOPES] = "a body of JSON",
        [KIND_DICT] = "a dictionary", [KIND_METER] = "a metric",
        [KIND_HOLD] = "a lock that is held", [KIND_HOLD_GUARD] = "a guard", [KIND_SIGNAL] = "a signal",
    };
    void *object = object_test(L, index, kind);
    if (object == NULL)
        arg_fail(L, usage, "it must be called on %s, not on %s (a colon, not a dot, before the name?)", names[kind],
                 luaL_typename(L, index));
    return object;
}
