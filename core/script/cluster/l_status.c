/*
 * cluster.status: this node's role, its leader and its followers.
 */
#include "base/clock.h"
#include "script/bind/field.h"
#include "script/cluster/register.h"
#include "script/cluster/tables.h"
#include "script/vm/vm.h"

static void set_member(lua_State *L, const struct member *m)
{
    slice name = member_name(m);
    set_text(L, "member", m->text);
    lua_pushlstring(L, name.p, name.n);
    lua_setfield(L, -2, "name");
}

static void push_self(lua_State *L, const struct role *role, const char *http, const char *replication)
{
    lua_createtable(L, 0, 5);
    set_member(L, &role->self);
    set_id(L, "incarnation", &store_state(role->store)->incarnation);
    set_text(L, "http", http);
    set_text(L, "replication", replication);
}

static void push_leader(lua_State *L, const struct leader_address *leader, const char *forward)
{
    lua_createtable(L, 0, 5);
    set_member(L, &leader->member);
    set_text(L, "http", leader->http);
    set_text(L, "replication", leader->replication);
    if (forward[0] != '\0')
        set_text(L, "forward", forward);
}

static void set_followers(lua_State *L, struct cluster *c)
{
    struct peer_info p;
    lua_newtable(L);
    for (unsigned i = 0; c != NULL && leader_peer(cluster_leader(c), i, &p); i++) {
        lua_createtable(L, 0, 12);
        set_member(L, &p.member);
        set_text(L, "http", p.http);
        set_text(L, "address", p.address);
        set_flag(L, "connected", p.connected);
        set_flag(L, "in_set", p.counted);
        set_flag(L, "caught_up", p.caught_up);
        set_flag(L, "amnesiac", p.amnesiac);
        set_whole(L, "lag_messages", p.lag_messages);
        set_whole(L, "lag_bytes", p.lag_bytes);
        set_number(L, "lag_seconds", p.lag_seconds);
        set_whole(L, "shipped_bytes", p.shipped_bytes);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "followers");
}

static void set_role(lua_State *L, const struct role *role)
{
    const struct state *state = store_state(role->store);
    set_text(L, "role", role_name(role));
    set_whole(L, "epoch", role->epoch);
    set_id(L, "cluster", &state->cluster);
    set_flag(L, "amnesiac", state->amnesiac);
    set_flag(L, "regressed", role->regressed);
    set_flag(L, "behind", role->behind);
    set_flag(L, "full", store_is_full(role->store));
    if (!role->has_seen)
        return;
    register_push(L, &role->seen);
    lua_setfield(L, -2, "register");
    set_whole(L, "index", role->seen_index);
}

static void set_following(lua_State *L, const struct follower_info *f)
{
    set_flag(L, "connected", f->connected);
    set_flag(L, "refused", f->refused);
    set_flag(L, "silent", f->silent);
    if (!f->connected && f->why != NULL)
        set_text(L, "problem", f->why);
    set_whole(L, "diverged", f->diverged_messages);
    set_whole(L, "mended_files", f->refetched_files);
    set_whole(L, "received_bytes", f->received_bytes);
    set_whole(L, "unplaced", f->unplaced);
}

static void push_alone(lua_State *L, const struct services *s)
{
    lua_createtable(L, 0, 10);
    set_role(L, s->role);
    push_self(L, s->role, s->advertise, "");
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "self");
    lua_setfield(L, -2, "leader");
    set_followers(L, NULL);
    set_flag(L, "eligible", true);
    set_whole(L, "shipped_bytes", 0);
    set_whole(L, "elections", 0);
}

/* cluster.follows() -> whether status().role is "follower": cheap, for each write */
int l_follows(lua_State *L)
{
    lua_pushboolean(L, vm_services(L)->role->kind == ROLE_FOLLOWER);
    return 1;
}

/* cluster.status() -> table */
int l_status(lua_State *L)
{
    const struct services *s = vm_services(L);
    struct cluster_info info;
    if (s->cluster == NULL) {
        push_alone(L, s);
        return 1;
    }
    cluster_info(s->cluster, &info);
    lua_createtable(L, 0, 24);
    set_role(L, info.role);
    push_self(L, info.role, info.http, info.replication);
    if (info.role->kind == ROLE_LEADER) {
        lua_pushvalue(L, -1);
        lua_setfield(L, -3, "leader");
    }
    lua_setfield(L, -2, "self");
    if (info.leader != NULL) {
        push_leader(L, info.leader, info.leader_http);
        lua_setfield(L, -2, "leader");
    }
    set_following(L, &info.following);
    if (info.staleness_ms >= 0)
        set_number(L, "staleness", (double)info.staleness_ms / 1000.0);
    set_followers(L, s->cluster);
    lua_createtable(L, 0, 2);
    set_whole(L, "epoch", info.position_epoch);
    set_whole(L, "messages", info.position_messages);
    lua_setfield(L, -2, "position");
    const char *why;
    bool eligible = cluster_eligible(s->cluster, &why);
    set_flag(L, "eligible", eligible);
    if (!eligible)
        set_text(L, "why", why);
    set_flag(L, "empty", info.holdings.empty);
    set_flag(L, "lacks_topics", info.holdings.lacks_topics);
    set_whole(L, "copies", info.holdings.copies_min);
    set_whole(L, "copies_max", info.holdings.copies_max);
    set_flag(L, "suspended", info.suspended);
    set_number(L, "stalled", (double)info.stalled_ns / (double)NS_PER_S);
    set_whole(L, "shipped_bytes", info.shipped_bytes);
    set_whole(L, "elections", info.elections);
    return 1;
}
