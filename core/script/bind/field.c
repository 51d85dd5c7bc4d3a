#include "script/bind/field.h"

#include "script/vm/vm.h"

/* ---- to Lua ---- */

void set_text(lua_State *L, const char *name, const char *text)
{
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}

void set_whole(lua_State *L, const char *name, uint64_t value)
{
    lua_pushinteger(L, (lua_Integer)value);
    lua_setfield(L, -2, name);
}

void set_number(lua_State *L, const char *name, double value)
{
    lua_pushnumber(L, value);
    lua_setfield(L, -2, name);
}

void set_flag(lua_State *L, const char *name, bool value)
{
    lua_pushboolean(L, value);
    lua_setfield(L, -2, name);
}

void set_id(lua_State *L, const char *name, const struct id *id)
{
    struct buf *text = vm_scratch_keys(vm_of(L));   /* freed with the VM: the next line may raise */
    id_format(text, id);
    lua_pushlstring(L, text->data, buf_size(text));
    lua_setfield(L, -2, name);
}

/* ---- from Lua ---- */

bool field_is_there(lua_State *L, int table, const char *name)
{
    bool there = lua_getfield(L, table, name) != LUA_TNIL;
    lua_pop(L, 1);
    return there;
}

const char *field_text(lua_State *L, int table, const char *name)
{
    lua_getfield(L, table, name);
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
    lua_pop(L, 1);                   /* the table still holds it */
    return text;
}

bool field_whole(lua_State *L, int table, const char *name, uint64_t *out)
{
    int whole;
    lua_getfield(L, table, name);
    lua_Integer v = lua_tointegerx(L, -1, &whole);
    lua_pop(L, 1);
    *out = (uint64_t)v;
    return whole && v >= 0;
}
