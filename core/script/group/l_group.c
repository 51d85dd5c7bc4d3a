/*
 * core.group: creating, changing, deleting and describing groups. scripts/lignum/group.lua turns settings into pairs of
 * text and back, and makes methods of these.
 */
#include <lauxlib.h>

#include "base/err.h"
#include "script/bind/arg.h"
#include "script/bind/field.h"
#include "script/bind/result.h"
#include "script/group/call.h"
#include "script/group/tables.h"
#include "script/topic/topic_handle.h"
#include "script/vm/task.h"
#include "script/vm/vm.h"
#include "store/replication/epochs.h"

#define CREATE "group:create([settings [, from]])"
#define SET "group:set(settings)"
#define DELETE "group:delete()"
#define SEEK "group:seek(offset [, generation])"
#define INFO "group:info()"
#define LIST "core.group.list([topic])"
#define DYING "core.group.dying(topic, group, limit)"
#define DEATHS "core.group.deaths(seen)"
#define BURY "core.group.bury(topic, group, offset)"

/* ---- settings ---- */

/* The pairs of text at index 3, over *s. */
static int read_settings(lua_State *L, struct group_settings *s, const char *usage)
{
    struct buf *why = vm_scratch(vm_of(L));
    if (!lua_istable(L, ARG_MORE))
        arg_fail(L, usage, "settings must be a table, not %s", luaL_typename(L, ARG_MORE));
    for (lua_pushnil(L); lua_next(L, ARG_MORE); lua_pop(L, 1)) {
        slice name = arg_text(L, -2, "the name of a setting", usage);
        slice value = arg_text(L, -1, "the value of a setting", usage);
        if (group_settings_set(s, name, value, why) < 0)
            return push_fail_because(L, -ERR_BAD_VALUE, "%.*s", SLICE_ARGS(buf_slice(why)));
    }
    if (s->retry_min_ms > s->retry_max_ms)
        return push_fail_because(L, -ERR_BAD_VALUE, "retry.min must not be more than retry.max");
    return 0;
}

static void push_pair(void *arg, const char *name, slice text)
{
    lua_pushlstring(arg, text.p, text.n);
    lua_setfield(arg, -2, name);
}

/* ---- changes ---- */

static int changed(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    int rc = call_outcome(L);
    if (rc < 0)
        return push_fail(L, rc);
    lua_pushboolean(L, 1);
    return 1;
}

/* Where a cursor is, with the epoch of the message before it. A message that was removed has none that is known. */
static struct group_place place_at(struct topic *t, uint64_t offset)
{
    struct batch_head head;
    struct group_place place = {offset, EPOCH_UNKNOWN};
    if (offset > 0 && journal_batch_of(t->journal, offset - 1, &head) == 0)
        place.epoch = head.epoch;
    return place;
}

static int create_with_log(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    struct group_call c;
    struct group_settings s = group_settings_default;
    uint64_t want;
    if (context != 0) {                              /* _groups has been created, or not */
        int waited = (int)lua_tointeger(L, -1);
        lua_pop(L, 1);
        if (waited < 0)
            return push_fail(L, waited);
    }
    int rc = call_find_topic(L, &c, CREATE);
    if (rc < 0)
        return call_fail(L, rc);
    int results = read_settings(L, &s, CREATE);
    if (results > 0)
        return results;
    struct held_group *there = groups_find(c.groups, c.topic, arg_text(L, ARG_GROUP, "group", CREATE));
    if (there != NULL && role_leads(topics_role(c.topic->topics))) {
        if (!group_settings_equal(&there->state.settings, &s))
            return push_fail(L, -ERR_GROUP_EXISTS);
        lua_pushboolean(L, 0);
        return 1;
    }
    struct group_place place = place_at(c.topic, arg_whole(L, 4, "from", CREATE));
    rc = groups_create(c.groups, c.topic, arg_text(L, ARG_GROUP, "group", CREATE), &s, &place, &want);
    if (rc == -ERR_BAD_VALUE)
        return push_fail_because(L, rc, "a group's name has the form of a topic's: %s", err_sentence(-ERR_BAD_TOPIC));
    return rc < 0 ? push_fail(L, rc) : call_wait(L, task_self(L), &c, want, changed);
}

/* -> true | false: it exists already, with these settings | nil, message, code */
static int l_create(lua_State *L)
{
    struct group_call c;
    uint64_t want;
    struct task *self = task_self(L);
    int rc = call_find_topic(L, &c, CREATE);
    if (rc < 0)
        return call_fail(L, rc);
    if (groups_log(c.groups) != NULL)
        return create_with_log(L, LUA_OK, 0);
    rc = groups_make_log(c.groups, &want);
    if (rc < 0)
        return push_fail(L, rc == -ERR_TOPIC_EXISTS ? -ERR_UNAVAILABLE : rc);
    task_appended(self);
    return task_park_on(L, self, topics_applied(c.topic->topics), want, GROUP_ACK_MS, 1, create_with_log);
}

static int l_set(lua_State *L)
{
    struct group_call c;
    struct task *self = task_self(L);
    uint64_t want;
    int rc = call_use(L, &c, SET);
    if (rc < 0)
        return call_fail(L, rc);
    struct group_settings s = c.group->state.settings;
    int results = read_settings(L, &s, SET);
    if (results > 0)
        return results;
    rc = groups_set(c.groups, c.group, &s, &want);
    if (rc == -ERR_BUSY)
        return push_fail_because(L, -ERR_GROUP_EXISTS, "order cannot be changed while messages are leased");
    return rc < 0 ? push_fail(L, rc) : call_wait(L, self, &c, want, changed);
}

static int l_delete(lua_State *L)
{
    struct group_call c;
    struct task *self = task_self(L);
    uint64_t want;
    int rc = call_use(L, &c, DELETE);
    if (rc == 0)
        rc = groups_delete(c.groups, c.group, &want);
    return rc < 0 ? call_fail(L, rc) : call_wait(L, self, &c, want, changed);
}

/* With a generation, only if that is the present one. -> true | nil, message, code, generation */
static int l_seek(lua_State *L)
{
    struct group_call c;
    struct task *self = task_self(L);
    uint64_t want, offset = arg_whole(L, ARG_MORE, "offset", SEEK);
    int rc = call_use(L, &c, SEEK);
    if (rc < 0)
        return call_fail(L, rc);
    if (!lua_isnoneornil(L, 4) && arg_whole(L, 4, "generation", SEEK) != c.group->state.generation) {
        int results = push_fail_because(L, -ERR_PRECONDITION, "the generation of the group is %llu",
                                        (unsigned long long)c.group->state.generation);
        lua_pushinteger(L, (lua_Integer)c.group->state.generation);
        return results + 1;
    }
    if (offset > topic_readable(c.topic))
        return push_fail(L, -ERR_BEYOND);
    struct group_place place = place_at(c.topic, offset);
    rc = groups_seek(c.groups, c.group, &place, &want);
    if (rc < 0)
        return push_fail(L, rc);
    groups_wake(c.group, c.topic);
    return call_wait(L, self, &c, want, changed);
}

/* ---- descriptions ---- */

static void push_consumers(lua_State *L, const struct group *g)
{
    lua_Integer n = 0;
    lua_newtable(L);
    for (unsigned i = 0; i < g->consumer_count; i++) {
        const struct consumer *c = g->consumers[i];
        if (i == 0 && c->leased == 0)
            continue;
        lua_createtable(L, 0, 3);
        set_text(L, "name", c->name);
        set_whole(L, "leased", c->leased);
        set_number(L, "last", (double)c->last_ms / 1000.0);
        lua_rawseti(L, -2, ++n);
    }
    lua_setfield(L, -2, "consumers");
}

/* How the delivery of a message stands. */
static void push_delivery(lua_State *L, const struct group *g, uint64_t offset)
{
    static const char *const states[] = {
        [DELIVERY_LEASED] = "leased", [DELIVERY_DELAYED] = "delayed", [DELIVERY_READY] = "ready",
        [DELIVERY_HELD] = "held"};
    const struct delivery *e = deliveries_find(&g->out, offset);
    set_text(L, "state", e == NULL ? "new" : states[e->state]);
    set_whole(L, "deliveries", e == NULL ? 0 : e->count);
    if (e != NULL && e->state == DELIVERY_LEASED && g->consumers[e->consumer]->name[0] != '\0')
        set_text(L, "consumer", g->consumers[e->consumer]->name);
}

/* The lowest message that is not settled. */
static void push_oldest(lua_State *L, const struct group_call *c)
{
    struct batch_head head;
    uint64_t cursor = c->group->state.settled.cursor;
    if (cursor >= topic_readable(c->topic) || journal_batch_of(c->topic->journal, cursor, &head) < 0)
        return;
    double age = (double)(groups_now_ms(c->groups) - head.time_ms) / 1000.0;
    lua_createtable(L, 0, 5);
    set_whole(L, "offset", cursor);
    set_number(L, "age", age > 0 ? age : 0);
    push_delivery(L, &c->group->state, cursor);
    lua_setfield(L, -2, "oldest");
}

/* What stands in the way of the others, where the group is blocked. */
static void push_blocked(lua_State *L, const struct group_call *c)
{
    struct blocked b;
    if (!groups_blocked(c->group, c->topic, &b))
        return;
    lua_createtable(L, 0, 6);
    set_whole(L, "offset", b.offset);
    set_text(L, "reason", b.reason);
    set_whole(L, "held", b.held);
    if (b.until_ms > 0)
        set_number(L, "until", (double)b.until_ms / 1000.0);
    if (b.consumer[0] != '\0')
        set_text(L, "consumer", b.consumer);
    if (b.key.p != NULL) {
        lua_pushlstring(L, b.key.p, b.key.n);
        lua_setfield(L, -2, "key");
    }
    lua_setfield(L, -2, "blocked");
}

static void push_counts(lua_State *L, const struct group *g)
{
    set_whole(L, "claims", g->count.claims);
    set_whole(L, "acks", g->count.acks);
    set_whole(L, "releases", g->count.releases);
    set_whole(L, "rejects", g->count.rejects);
    set_whole(L, "expired", g->count.expired);
    set_whole(L, "redelivered", g->count.redelivered);
    set_whole(L, "dead", g->count.dead);
    set_whole(L, "removed", g->count.removed);
    set_whole(L, "outdated", g->count.outdated);
}

static int push_info(lua_State *L, const struct group_call *c)
{
    const struct group *g = &c->group->state;
    uint64_t readable = topic_readable(c->topic), cursor = g->settled.cursor;
    struct group_place place = place_at(c->topic, cursor);
    lua_createtable(L, 0, 24);
    set_text(L, "topic", c->topic->name);
    set_text(L, "group", c->group->name);
    lua_newtable(L);
    group_settings_each(&g->settings, push_pair, L);
    lua_setfield(L, -2, "settings");
    set_whole(L, "generation", g->generation);
    set_whole(L, "cursor", cursor);
    set_whole(L, "epoch", cursor == 0 ? topics_role(c->topic->topics)->epoch : place.epoch);
    set_whole(L, "topic_id", c->topic->id.offset);
    set_whole(L, "lag", readable > cursor + g->settled.above ? readable - cursor - g->settled.above : 0);
    set_whole(L, "leased", g->out.leased);
    set_whole(L, "scheduled", g->out.delayed - g->dying);
    set_whole(L, "dying", g->dying);
    push_blocked(L, c);
    push_counts(L, g);
    push_consumers(L, g);
    push_oldest(L, c);
    return 1;
}

static int l_info(lua_State *L)
{
    struct group_call c;
    int rc = call_find(L, &c, INFO);
    return rc < 0 ? call_fail(L, rc) : push_info(L, &c);
}

/* -> list of { topic =, group = }, in no order; of a topic, or of all. What this node knows. */
static int l_list(lua_State *L)
{
    struct groups *gs = vm_services(L)->groups;
    struct topic *t = NULL;
    lua_Integer n = 0;
    if (!lua_isnoneornil(L, 1)) {
        slice name = arg_text(L, 1, "topic", LIST);
        int rc = name_find(L, name, &t);
        if (rc < 0)
            return name_fail(L, name, rc);
    }
    lua_newtable(L);
    const struct held_group *g;
    for (size_t at = 0; (g = groups_next(gs, t, &at)) != NULL;) {
        lua_createtable(L, 0, 2);
        set_text(L, "topic", g->topic_name);
        set_text(L, "group", g->name);
        set_whole(L, "dying", g->state.dying);
        set_whole(L, "ended", buf_size(&g->ended));
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

/* ---- dead letters ---- */

static int deaths_done(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    int rc = (int)lua_tointeger(L, -1);
    if (rc < 0)
        return push_fail(L, rc);
    lua_pushinteger(L, (lua_Integer)groups_deaths(vm_services(L)->groups)->at);
    return 1;
}

/* Waits until messages have begun to die since it returned `seen`; at first, 0. -> the next `seen` */
static int l_deaths(lua_State *L)
{
    struct task *self = task_self(L);
    uint64_t seen = arg_whole(L, 1, "seen", DEATHS);
    task_may_stop(self);
    return task_park_on(L, self, groups_deaths(vm_services(L)->groups), seen + 1, 0, 0, deaths_done);
}

static void push_why(lua_State *L, const struct group *g, const struct delivery *e)
{
    slice reason = group_reason(g, e);
    if (reason.n == 0)
        reason = e->claim == DYING_REJECTED ? SLICE("rejected") :
                 e->claim == DYING_OUTDATED ? SLICE("expired") :
                 e->claim == DYING_DECIDED ? SLICE("on_retry") : SLICE("deliveries");
    lua_pushlstring(L, reason.p, reason.n);
}

/* -> list of { offset =, deliveries =, why = }, of at most `limit` dying messages; and the id of their letters */
static int l_dying(lua_State *L)
{
    struct group_call c;
    uint64_t limit = arg_whole(L, ARG_MORE, "limit", DYING);
    int rc = call_find(L, &c, DYING);
    if (rc < 0)
        return call_fail(L, rc);
    const struct group *g = &c.group->state;
    const struct delivery *e;
    uint64_t n = 0;
    lua_newtable(L);
    for (uint32_t at = 0; n < limit && n < g->dying && (e = deliveries_each(&g->out, &at)) != NULL;) {
        if (!is_dying(e))
            continue;
        lua_createtable(L, 0, 3);
        set_whole(L, "offset", e->offset);
        set_whole(L, "deliveries", e->count);
        push_why(L, g, e);
        lua_setfield(L, -2, "why");
        lua_rawseti(L, -2, (lua_Integer)++n);
    }
    lua_pushfstring(L, "%s.%I", c.group->key, (lua_Integer)g->generation);
    return 2;
}

static int l_bury(lua_State *L)
{
    struct group_call c;
    struct task *self = task_self(L);
    uint64_t want, offset = arg_whole(L, ARG_MORE, "offset", BURY);
    int rc = call_find(L, &c, BURY);
    if (rc == 0)
        rc = groups_bury(c.groups, c.group, offset, &want);
    return rc < 0 ? call_fail(L, rc) : call_wait(L, self, &c, want, changed);
}

void group_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"create", l_create}, {"set", l_set}, {"delete", l_delete}, {"seek", l_seek}, {"info", l_info},
        {"list", l_list}, {"claim", l_group_claim}, {"settle", l_group_settle}, {"dying", l_dying},
        {"deaths", l_deaths}, {"bury", l_bury},
        {"decide_retries", l_group_decide_retries}, {"retries", l_group_retries}, {"ended", l_group_ended},
        {"retry", l_group_retry},
        {"held", l_group_held}, {"give_back", l_group_give_back}, {NULL, NULL}};
    luaL_newlib(L, functions);
    lua_setfield(L, -2, "group");
}
