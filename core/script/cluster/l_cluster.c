/*
 * cluster: this node's part in one (broker/cluster/cluster.h). Scripts carry the register between the core and Consul.
 */
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "script/bind/arg.h"
#include "script/bind/field.h"
#include "script/bind/result.h"
#include "script/cluster/register.h"
#include "script/cluster/tables.h"
#include "script/topic/topic_handle.h"
#include "script/vm/task.h"
#include "script/vm/vm.h"

#define SEE "cluster.see(register | nil, index [, asked])"
#define CLAIM "cluster.claim(register | nil [, {unclean=}])"
#define LEAD "cluster.lead(register, index)"
#define FOLLOW "cluster.follow {member=, http=, replication=, epoch=}"
#define RESIGN "cluster.resign(why)"
#define WAIT "cluster.wait([timeout])"
#define DRAIN "cluster.drain(timeout [, stopping])"
#define PENDING "cluster.pending([timeout])"

enum { PENDING_MAX = 1000 };

static struct cluster *cluster_of(lua_State *L, const char *usage)
{
    struct cluster *c = vm_services(L)->cluster;
    if (c == NULL)
        arg_fail(L, usage, "no Consul is configured: this node is alone");
    return c;
}

/* ---- what Consul says ---- */

static const char *const verdicts[] = {"empty", "ours", "other", "foreign", "regressed", "out_of_range"};

/* cluster.asked() -> integer: the present time for cluster.see; taken before the read from Consul begins */
static int l_asked(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)clock_ns());
    return 1;
}

/* cluster.see(register | nil, index [, asked]) -> "empty" | "ours" | "other" | "foreign" | "regressed" |
 * "out_of_range" | "stale" */
static int l_see(lua_State *L)
{
    struct cluster *c = cluster_of(L, SEE);
    struct synced_register v;
    bool there = !lua_isnoneornil(L, 1), stale;
    if (there)
        register_check(L, 1, &v, SEE);
    uint64_t index = lua_isnoneornil(L, 2) ? 0 : arg_whole(L, 2, "index", SEE);
    uint64_t asked = lua_isnoneornil(L, 3) ? clock_ns() : arg_whole(L, 3, "asked", SEE);
    enum verdict verdict = cluster_see(c, there ? &v : NULL, index, asked, &stale);
    lua_pushstring(L, stale ? "stale" : verdicts[verdict]);
    return 1;
}

/* cluster.claim(register | nil [, {unclean=}]) -> register | nil, message, code.  The claim follows from the register
 * that was last seen, not from the argument. */
static int l_claim(lua_State *L)
{
    struct cluster *c = cluster_of(L, CLAIM);
    struct synced_register v;
    const char *why;
    bool unclean = false;
    if (lua_istable(L, 2)) {
        lua_getfield(L, 2, "unclean");
        unclean = lua_toboolean(L, -1);
    }
    int rc = cluster_claim(c, unclean ? CLAIM_UNCLEAN : CLAIM_CLEAN, &v, &why);
    if (rc < 0)
        return push_fail_because(L, rc, "%s", why);
    register_push(L, &v);
    return 1;
}

/* cluster.lead(register, index) -> true | nil, message, code */
static int l_lead(lua_State *L)
{
    struct cluster *c = cluster_of(L, LEAD);
    struct synced_register v;
    register_check(L, 1, &v, LEAD);
    int rc = cluster_lead(c, &v, arg_whole(L, 2, "index", LEAD));
    if (rc < 0)
        return push_fail(L, rc);
    lua_pushboolean(L, 1);
    return 1;
}

static bool take_address(lua_State *L, const char *name, char out[NODE_ADDRESS_MAX + 1])
{
    const char *text = field_text(L, 1, name);
    return text != NULL && strlen(text) <= NODE_ADDRESS_MAX && snprintf(out, NODE_ADDRESS_MAX + 1, "%s", text) > 0;
}

/* cluster.follow {member=, http=, replication=, epoch=} -> true */
static int l_follow(lua_State *L)
{
    struct cluster *c = cluster_of(L, FOLLOW);
    struct leader_address a = {.epoch = 0};
    luaL_checktype(L, 1, LUA_TTABLE);
    if (!field_member(L, 1, "member", &a.member) || !take_address(L, "http", a.http) ||
        !take_address(L, "replication", a.replication) || !field_whole(L, 1, "epoch", &a.epoch))
        return arg_fail(L, FOLLOW, "member, http, replication and epoch are required");
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
    const struct synced_register *v = cluster_pending_write(c);
    struct cluster_info info;
    if (v == NULL)
        return 0;
    cluster_info(c, &info);
    register_push(L, v);
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

/* cluster.wait([timeout]) -> integer | nil, message, code.  Waits until something that this table shows changes. */
static int l_wait(lua_State *L)
{
    struct mark *changes = cluster_changes(cluster_of(L, WAIT));
    uint32_t ms = arg_ms(L, 1, WAIT_MS_MAX, WAIT);
    struct task *self = task_self(L);
    task_may_stop(self);
    return task_park_on(L, self, changes, changes->at + 1, ms ? ms : 1, 0, wait_done);
}

/* cluster.drain(timeout [, stopping]) -> true | nil, message, code.  Refuses appends while this node leads, or from now
 * on, and waits until every member has everything; one that has been gone for long is not waited for. */
static int l_drain(lua_State *L)
{
    struct cluster *c = cluster_of(L, DRAIN);
    uint32_t ms = arg_ms(L, 1, WAIT_MS_MAX, DRAIN);
    struct task *self = task_self(L);
    struct mark *drains = cluster_drain(c, lua_toboolean(L, 2));
    if (!cluster_draining(c)) {
        lua_pushboolean(L, 1);
        return 1;
    }
    return task_park_on(L, self, drains, drains->at + 1, ms ? ms : 1, 0, wait_is_over);
}

static void push_pending(lua_State *L, struct topic *t)
{
    uint64_t own = topic_own_mark(t)->at;
    lua_createtable(L, 0, 5);
    push_topic_handle(L, t);
    lua_setfield(L, -2, "topic");
    set_whole(L, "tail", t->tail.at);
    set_whole(L, "disk", own);
    set_whole(L, "sealed", t->lead->sealed < own ? t->lead->sealed : own);
    set_whole(L, "shipped", t->lead->ship);
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

/* cluster.pending([timeout]) -> list | nil, message, code.  The topics with messages that are not shipped yet. Waits
 * until one of them has sealed a file, or there is the first, or for the timeout. */
static int l_pending(lua_State *L)
{
    struct cluster *c = cluster_of(L, PENDING);
    struct mark *news = cluster_ship_news(c);
    uint32_t ms = arg_ms(L, 1, WAIT_MS_MAX, PENDING);
    struct task *self = task_self(L);
    if (leader_has_ship_news(cluster_leader(c)) || ms == 0)
        return push_all_pending(L);
    task_may_stop(self);
    return task_park_on(L, self, news, news->at + 1, ms, 0, pending_done);
}

void cluster_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"status", l_status}, {"follows", l_follows}, {"asked", l_asked}, {"see", l_see}, {"claim", l_claim},
        {"lead", l_lead}, {"follow", l_follow}, {"unfollow", l_unfollow}, {"resign", l_resign},
        {"change", l_change}, {"wait", l_wait}, {"pending", l_pending}, {"drain", l_drain}, {"ask", l_ask_leader},
        {NULL, NULL}};
    call_open(L);
    luaL_newlib(L, functions);
    lua_setfield(L, -2, "cluster");
}
