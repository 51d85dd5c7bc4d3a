#include "script/cluster/register.h"

#include <lauxlib.h>

#include "script/bind/arg.h"
#include "script/bind/field.h"

/* ---- to Lua ---- */

void register_push(lua_State *L, const struct synced_register *v)
{
    lua_createtable(L, 0, 7);
    set_id(L, "cluster", &v->cluster);
    set_whole(L, "epoch", v->epoch);
    set_whole(L, "version", v->version);
    set_text(L, "leader", v->leader.text);
    lua_createtable(L, (int)v->set.count, 0);
    for (unsigned i = 0; i < v->set.count; i++) {
        lua_pushstring(L, v->set.at[i].text);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "members");
    set_whole(L, "unclean", v->unclean);
    if (v->lost.epoch > 0) {
        lua_createtable(L, 0, 3);
        set_whole(L, "epoch", v->lost.epoch);
        set_whole(L, "version", v->lost.version);
        set_id(L, "leader", &v->lost.leader);
        lua_setfield(L, -2, "lost");
    }
}

/* ---- from Lua ---- */

bool field_member(lua_State *L, int table, const char *name, struct member *out)
{
    const char *text = field_text(L, table, name);
    return text != NULL && member_parse(slice_from(text), out) == 0;
}

static bool members_read(lua_State *L, int table, struct members *out)
{
    bool ok = lua_getfield(L, table, "members") == LUA_TTABLE;
    lua_Integer n = ok ? (lua_Integer)lua_rawlen(L, -1) : 0;
    ok = ok && n >= 1 && n <= MEMBERS_MAX;
    for (lua_Integer i = 1; ok && i <= n; i++) {
        struct member m;
        lua_rawgeti(L, -1, i);
        ok = lua_type(L, -1) == LUA_TSTRING && member_parse(slice_from(lua_tostring(L, -1)), &m) == 0 &&
             members_add(out, &m);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return ok;
}

static bool lost_read(lua_State *L, int table, struct register_stamp *out)
{
    bool ok = lua_getfield(L, table, "lost") == LUA_TTABLE;
    int lost = lua_gettop(L);
    const char *leader = ok ? field_text(L, lost, "leader") : NULL;
    ok = leader != NULL && id_parse(slice_from(leader), &out->leader) == 0 &&
         field_whole(L, lost, "epoch", &out->epoch) && field_whole(L, lost, "version", &out->version) &&
         out->epoch > 0 && out->epoch <= NUMBER_MAX && out->version <= NUMBER_MAX;
    lua_pop(L, 1);
    return ok;
}

void register_check(lua_State *L, int index, struct synced_register *out, const char *usage)
{
    *out = (struct synced_register){.epoch = 0};
    if (!lua_istable(L, index))
        arg_fail(L, usage, "the register must be a table, not %s", luaL_typename(L, index));
    const char *cluster = field_text(L, index, "cluster");
    if (cluster == NULL || id_parse(slice_from(cluster), &out->cluster) < 0)
        arg_fail(L, usage, "cluster must be 32 hexadecimal digits");
    if (!field_whole(L, index, "epoch", &out->epoch) || !field_whole(L, index, "version", &out->version))
        arg_fail(L, usage, "epoch and version must be whole numbers");
    if (out->epoch > NUMBER_MAX || out->version > NUMBER_MAX)
        arg_fail(L, usage, "epoch and version may be %lld at most", (long long)NUMBER_MAX);
    if (!field_member(L, index, "leader", &out->leader))
        arg_fail(L, usage, "leader must be name:incarnation");
    if (!members_read(L, index, &out->set))
        arg_fail(L, usage, "members must be a list of 1 to %d different name:incarnation", MEMBERS_MAX);
    if (field_is_there(L, index, "unclean") && (!field_whole(L, index, "unclean", &out->unclean) ||
                                           out->unclean > out->epoch))
        arg_fail(L, usage, "unclean must be an epoch, at most the register's");
    if (field_is_there(L, index, "lost") && !lost_read(L, index, &out->lost))
        arg_fail(L, usage, "lost must be an epoch, a version and the incarnation of a leader");
}
