/*
 * cluster: this node's part in one (broker/cluster.h). Scripts carry the register between here and Consul.
 */
#include <stdio.h>

#include "base/clock.h"
#include "base/err.h"
#include "script/arg.h"
#include "script/bind.h"
#include "script/task.h"
#include "script/topic_handle.h"

#define STATUS "cluster.status()"
#define SEE "cluster.see(register | nil, index [, asked])"
#define CLAIM "cluster.claim(register | nil [, {unclean=}])"
#define LEAD "cluster.lead(register, index)"
#define FOLLOW "cluster.follow {member=, http=, replication=, epoch=}"
#define RESIGN "cluster.resign(why)"
#define WAIT "cluster.wait([timeout])"
#define DRAIN "cluster.drain(timeout)"
#define PENDING "cluster.pending([timeout])"

enum { PENDING_MAX = 1000 };

static struct cluster *cluster_of(lua_State *L, const char *usage)
{
    struct cluster *c = vm_services(L)->cluster;
    if (c == NULL)
        arg_fail(L, usage, "no Consul is configured: this node is alone");
    return c;
}

/* ---- to Lua ---- */

static void set_text(lua_State *L, const char *name, const char *text)
{
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}

static void set_whole(lua_State *L, const char *name, uint64_t value)
{
    lua_pushinteger(L, (lua_Integer)value);
    lua_setfield(L, -2, name);
}

static void set_number(lua_State *L, const char *name, double value)
{
    lua_pushnumber(L, value);
    lua_setfield(L, -2, name);
}

static void set_flag(lua_State *L, const char *name, bool value)
{
    lua_pushboolean(L, value);
    lua_setfield(L, -2, name);
}

static void set_id(lua_State *L, const char *name, const struct id *id)
{
    struct buf text = {0};
    id_format(&text, id);
    lua_pushlstring(L, text.data, buf_size(&text));
    buf_fini(&text);
    lua_setfield(L, -2, name);
}

static void set_member(lua_State *L, const struct member *m)
{
    slice name = member_name(m);
    set_text(L, "member", m->text);
    lua_pushlstring(L, name.p, name.n);
    lua_setfield(L, -2, "name");
}

static void set_lost(lua_State *L, const struct sighting *lost)
{
    lua_createtable(L, 0, 3);
    set_whole(L, "epoch", lost->epoch);
    set_whole(L, "version", lost->version);
    set_id(L, "leader", &lost->leader);
    lua_setfield(L, -2, "lost");
}

static void push_register(lua_State *L, const struct register_value *v)
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
    if (v->lost.epoch > 0)
        set_lost(L, &v->lost);
}

/* ---- from Lua ---- */

static const char *field_text(lua_State *L, int table, const char *name)
{
    lua_getfield(L, table, name);
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
    lua_pop(L, 1);                   /* the table still holds it */
    return text;
}

static bool field_whole(lua_State *L, int table, const char *name, uint64_t *out)
{
    int whole;
    lua_getfield(L, table, name);
    lua_Integer v = lua_tointegerx(L, -1, &whole);
    lua_pop(L, 1);
    *out = (uint64_t)v;
    return whole && v >= 0;
}

static bool field_member(lua_State *L, int table, const char *name, struct member *out)
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

static bool has_field(lua_State *L, int table, const char *name)
{
    bool there = lua_getfield(L, table, name) != LUA_TNIL;
    lua_pop(L, 1);
    return there;
}

static bool lost_read(lua_State *L, int table, struct sighting *out)
{
    bool ok = lua_getfield(L, table, "lost") == LUA_TTABLE;
    int lost = lua_gettop(L);
    const char *leader = ok ? field_text(L, lost, "leader") : NULL;
    ok = leader != NULL && id_parse(slice_from(leader), &out->leader) == 0 &&
         field_whole(L, lost, "epoch", &out->epoch) && field_whole(L, lost, "version", &out->version) &&
         out->epoch > 0;
    lua_pop(L, 1);
    return ok;
}

/* The register at `index`; raises for what is none. */
static void register_check(lua_State *L, int index, struct register_value *out, const char *usage)
{
    *out = (struct register_value){.epoch = 0};
    if (!lua_istable(L, index))
        arg_fail(L, usage, "the register must be a table, not %s", luaL_typename(L, index));
    const char *cluster = field_text(L, index, "cluster");
    if (cluster == NULL || id_parse(slice_from(cluster), &out->cluster) < 0)
        arg_fail(L, usage, "cluster must be 32 hexadecimal digits");
    if (!field_whole(L, index, "epoch", &out->epoch) || !field_whole(L, index, "version", &out->version))
        arg_fail(L, usage, "epoch and version must be whole numbers");
    if (!field_member(L, index, "leader", &out->leader))
        arg_fail(L, usage, "leader must be name:incarnation");
    if (!members_read(L, index, &out->set))
        arg_fail(L, usage, "members must be a list of 1 to %d different name:incarnation", MEMBERS_MAX);
    if (has_field(L, index, "unclean") && (!field_whole(L, index, "unclean", &out->unclean) ||
                                           out->unclean > out->epoch))
        arg_fail(L, usage, "unclean must be an epoch, at most the register's");
    if (has_field(L, index, "lost") && !lost_read(L, index, &out->lost))
        arg_fail(L, usage, "lost must be an epoch, a version and the incarnation of a leader");
}

/* ---- status ---- */

static void push_self(lua_State *L, const struct role *role, const char *http, const char *replication)
{
    lua_createtable(L, 0, 5);
    set_member(L, &role->self);
    set_id(L, "incarnation", &store_state(role->store)->incarnation);
    set_text(L, "http", http);
    set_text(L, "replication", replication);
}

static void push_leader(lua_State *L, const struct leader_address *leader)
{
    lua_createtable(L, 0, 4);
    set_member(L, &leader->member);
    set_text(L, "http", leader->http);
    set_text(L, "replication", leader->replication);
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
    set_flag(L, "behind", role_behind(role));
    if (!role->has_seen)
        return;
    push_register(L, &role->seen);
    lua_setfield(L, -2, "register");
    set_whole(L, "index", role->seen_index);
}

static void set_following(lua_State *L, const struct follower_info *f)
{
    set_flag(L, "connected", f->connected);
    set_flag(L, "refused", f->refused);
    set_whole(L, "diverged", f->diverged_messages);
    set_whole(L, "mended_files", f->mended_files);
    set_whole(L, "received_bytes", f->received_bytes);
    set_whole(L, "unplaced", f->unplaced);
    if (f->staleness >= 0)
        set_number(L, "staleness", f->staleness);
}

static void set_position(lua_State *L, const struct cluster_info *info)
{
    lua_createtable(L, 0, 2);
    set_whole(L, "epoch", info->position_epoch);
    set_whole(L, "messages", info->position_messages);
    lua_setfield(L, -2, "position");
}

static void set_eligible(lua_State *L, struct cluster *c)
{
    const char *why;
    bool eligible = cluster_eligible(c, &why);
    set_flag(L, "eligible", eligible);
    if (!eligible)
        set_text(L, "why", why);
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

/* cluster.status() -> table */
static int l_status(lua_State *L)
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
        push_leader(L, info.leader);
        lua_setfield(L, -2, "leader");
    }
    set_following(L, &info.following);
    set_followers(L, s->cluster);
    set_position(L, &info);
    set_eligible(L, s->cluster);
    set_flag(L, "empty", info.holdings.empty);
    set_flag(L, "suspended", info.suspended);
    set_number(L, "stalled", (double)info.stalled_ns / (double)NS_PER_S);
    set_whole(L, "shipped_bytes", info.shipped_bytes);
    set_whole(L, "elections", info.elections);
    return 1;
}

/* ---- Consul's words ---- */

static const char *const verdicts[] = {"empty", "ours", "other", "foreign", "regressed"};

/* cluster.asked() -> integer: for cluster.see, before a read is begun */
static int l_asked(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)clock_ns());
    return 1;
}

/* cluster.see(register | nil, index [, asked]) -> "empty" | "ours" | "other" | "foreign" | "regressed" | "stale" */
static int l_see(lua_State *L)
{
    struct cluster *c = cluster_of(L, SEE);
    struct register_value v;
    bool there = !lua_isnoneornil(L, 1), stale;
    if (there)
        register_check(L, 1, &v, SEE);
    uint64_t index = lua_isnoneornil(L, 2) ? 0 : arg_whole(L, 2, "index", SEE);
    uint64_t asked = lua_isnoneornil(L, 3) ? clock_ns() : arg_whole(L, 3, "asked", SEE);
    enum verdict verdict = cluster_see(c, there ? &v : NULL, index, asked, &stale);
    lua_pushstring(L, stale ? "stale" : verdicts[verdict]);
    return 1;
}

/* cluster.claim(register | nil [, {unclean=}]) -> register | nil, message, code.  Of what was last seen. */
static int l_claim(lua_State *L)
{
    struct cluster *c = cluster_of(L, CLAIM);
    struct register_value v;
    const char *why;
    bool unclean = false;
    if (lua_istable(L, 2)) {
        lua_getfield(L, 2, "unclean");
        unclean = lua_toboolean(L, -1);
    }
    int rc = cluster_claim(c, unclean ? CLAIM_UNCLEAN : CLAIM_CLEAN, &v, &why);
    if (rc < 0)
        return push_fail_because(L, rc, "%s", why);
    push_register(L, &v);
    return 1;
}

/* cluster.lead(register, index) -> true | nil, message, code */
static int l_lead(lua_State *L)
{
    struct cluster *c = cluster_of(L, LEAD);
    struct register_value v;
    register_check(L, 1, &v, LEAD);
    int rc = cluster_lead(c, &v, arg_whole(L, 2, "index", LEAD));
    if (rc < 0)
        return push_fail(L, rc);
    lua_pushboolean(L, 1);
    return 1;
}

static bool take_text(lua_State *L, const char *name, char out[128])
{
    const char *text = field_text(L, 1, name);
    return text != NULL && strlen(text) < 128 && snprintf(out, 128, "%s", text) > 0;
}

/* cluster.follow {member=, http=, replication=, epoch=} -> true */
static int l_follow(lua_State *L)
{
    struct cluster *c = cluster_of(L, FOLLOW);
    struct leader_address a = {.epoch = 0};
    luaL_checktype(L, 1, LUA_TTABLE);
    if (!field_member(L, 1, "member", &a.member) || !take_text(L, "http", a.http) ||
        !take_text(L, "replication", a.replication) || !field_whole(L, 1, "epoch", &a.epoch))
        return arg_fail(L, FOLLOW, "member, http, replication and epoch must be there");
    cluster_follow(c, &a);
    lua_pushboolean(L, 1);
    return 1;
}

/* cluster.unfollow() */
static int l_unfollow(lua_State *L)
{
    cluster_follow(cluster_of(L, "cluster.unfollow()"), NULL);
    return 0;
}

/* cluster.resign(why) */
static int l_resign(lua_State *L)
{
    struct cluster *c = cluster_of(L, RESIGN);
    arg_text(L, 1, "why", RESIGN);
    cluster_resign(c, lua_tostring(L, 1));
    return 0;
}

/* cluster.change() -> register, index | nil */
static int l_change(lua_State *L)
{
    struct cluster *c = cluster_of(L, "cluster.change()");
    const struct register_value *v = cluster_change(c);
    struct cluster_info info;
    if (v == NULL)
        return 0;
    cluster_info(c, &info);
    push_register(L, v);
    lua_pushinteger(L, (lua_Integer)info.role->seen_index);
    return 2;
}

/* ---- waiting ---- */

static int wait_done(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    int rc = (int)lua_tointeger(L, -1);
    if (rc < 0 && rc != -ERR_TIMEOUT)
        return push_fail(L, rc);
    lua_pushinteger(L, (lua_Integer)cluster_changes(cluster_of(L, WAIT))->at);
    return 1;
}

/* cluster.wait([timeout]) -> integer | nil, message, code.  Waits until something that can be asked here changes. */
static int l_wait(lua_State *L)
{
    struct mark *changes = cluster_changes(cluster_of(L, WAIT));
    uint32_t ms = arg_ms(L, 1, WAIT_MS_MAX, WAIT);
    struct task *self = task_self(L);
    task_may_stop(self);
    return task_park_on(L, self, changes, changes->at + 1, ms ? ms : 1, 0, wait_done);
}

static int drain_done(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    int rc = (int)lua_tointeger(L, -1);
    if (rc < 0)
        return push_fail(L, rc);
    lua_pushboolean(L, 1);
    return 1;
}

/* cluster.drain(timeout) -> true | nil, message, code.  Appends nothing any more, and waits until followers have all.
 * */
static int l_drain(lua_State *L)
{
    struct cluster *c = cluster_of(L, DRAIN);
    uint32_t ms = arg_ms(L, 1, WAIT_MS_MAX, DRAIN);
    struct task *self = task_self(L);
    struct mark *drains = cluster_drain(c);
    struct cluster_info info;
    cluster_info(c, &info);
    if (drains->at > 0 || info.role->kind != ROLE_LEADER || ms == 0) {
        lua_pushboolean(L, 1);
        return 1;
    }
    return task_park_on(L, self, drains, 1, ms, 0, drain_done);
}

static void push_pending(lua_State *L, struct topic *t)
{
    uint64_t own = topic_own_mark(t)->at;
    lua_createtable(L, 0, 5);
    push_topic_handle(L, t);
    lua_setfield(L, -2, "topic");
    set_whole(L, "tail", t->tail.at);
    set_whole(L, "disk", own);
    set_whole(L, "sealed", t->sealed < own ? t->sealed : own);
    set_whole(L, "shipped", t->ship);
}

static int push_all_pending(lua_State *L)
{
    struct topic *topics[PENDING_MAX];
    unsigned n = leader_unshipped(cluster_leader(cluster_of(L, PENDING)), topics, PENDING_MAX);
    lua_createtable(L, (int)n, 0);
    for (unsigned i = 0; i < n; i++) {
        push_pending(L, topics[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static int pending_done(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    int rc = (int)lua_tointeger(L, -1);
    if (rc < 0 && rc != -ERR_TIMEOUT)
        return push_fail(L, rc);
    return push_all_pending(L);
}

/* cluster.pending([timeout]) -> list | nil, message, code.  Waits until one has sealed a file, or for the timeout. */
static int l_pending(lua_State *L)
{
    struct cluster *c = cluster_of(L, PENDING);
    struct mark *seals = cluster_seals(c);
    uint32_t ms = arg_ms(L, 1, WAIT_MS_MAX, PENDING);
    struct task *self = task_self(L);
    if (leader_sealed(cluster_leader(c)) || ms == 0)
        return push_all_pending(L);
    task_may_stop(self);
    return task_park_on(L, self, seals, seals->at + 1, ms, 0, pending_done);
}

void cluster_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"status", l_status}, {"asked", l_asked}, {"see", l_see}, {"claim", l_claim}, {"lead", l_lead},
        {"follow", l_follow}, {"unfollow", l_unfollow}, {"resign", l_resign}, {"change", l_change}, {"wait", l_wait},
        {"pending", l_pending}, {"drain", l_drain}, {NULL, NULL}};
    luaL_newlib(L, functions);
    lua_setfield(L, -2, "cluster");
}
