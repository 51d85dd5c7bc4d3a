/*
 * topic(name) and topics(pattern), and the queries of a topic. Appending, reading and changing are in l_append.c,
 * l_read.c and l_settings.c.
 */
#include <lauxlib.h>
#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "script/bind/arg.h"
#include "script/bind/field.h"
#include "script/bind/object.h"
#include "script/bind/result.h"
#include "script/topic/l_birth.h"
#include "script/topic/receipt.h"
#include "script/topic/tables.h"
#include "script/topic/topic_handle.h"
#include "script/vm/vm.h"

#define TOPIC "topic(name [, gone])"
#define TOPICS "topics([pattern])"
#define NAMES "topic_names(pattern, most [, after [, own]])"
#define WAIT "topic:wait(offset [, timeout])"
#define OFFSET_AT "topic:offset_at(time)"
#define SHIP "topic:ship(offset)"
#define TRIM "topic:trim(offset)"
#define INFO "topic:info()"
#define PLACE "topic:place()"
#define LABELS "topic:labels()"
#define PRODUCER "topic:producer(id)"
#define CHECK "topic:check(epoch, offset [, topic [, reached]])"
#define ACKNOWLEDGES "topic:acknowledges([next [, ack]])"
#define RECEIPT "topic:receipt(first, count, epoch [, ack [, duplicate [, data]]])"

enum { LOOKED_MAX = 10 * 1000 };   /* topics, in one call: about a millisecond */

/* topic(name [, gone]) -> topic.  The handles of existing topics are kept by name in the upvalue, a weak table. */
static int l_topic(lua_State *L)
{
    slice name = arg_text(L, 1, "name", TOPIC);
    struct topic *t;
    vm_services(L);
    if (lua_toboolean(L, 2)) {
        handle_new(L, name)->gone_too = true;
        return 1;
    }
    lua_pushvalue(L, 1);
    if (lua_rawget(L, lua_upvalueindex(1)) == LUA_TUSERDATA)
        return 1;
    struct topic_handle *h = handle_new(L, name);
    if (handle_find(L, h, &t) < 0)
        return 1;
    lua_pushvalue(L, 1);
    lua_pushvalue(L, -2);
    lua_rawset(L, lua_upvalueindex(1));
    return 1;
}

/* core.internal() -> topic */
static int l_internal(lua_State *L)
{
    handle_new(L, SLICE(STREAMS_LOG_NAME))->internal = true;
    return 1;
}

static int index_topic(lua_State *L)
{
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL)
        return 1;
    const struct topic_handle *h = lua_touserdata(L, 1);
    const char *key = lua_tostring(L, 2);
    if (key == NULL || strcmp(key, "name") != 0)
        return 0;
    lua_pushlstring(L, h->name, h->name_size);
    return 1;
}

static int name_topic(lua_State *L)
{
    const struct topic_handle *h = lua_touserdata(L, 1);
    lua_pushfstring(L, "topic \"%s\"", h->name);
    return 1;
}

/* ---- topics(pattern) and names ---- */

/* topics([pattern]) -> list of topics, by name */
static int l_topics(lua_State *L)
{
    slice pattern = lua_isnoneornil(L, 1) ? SLICE("*") : arg_text(L, 1, "pattern", TOPICS);
    struct topics *ts = vm_services(L)->topics;
    bool internal = pattern.n > 0 && pattern.p[0] == '_';
    lua_Integer count = 0;
    struct topic *t;
    lua_newtable(L);
    for (size_t i = 0; (t = topics_at(ts, i)) != NULL; i++) {
        slice name = slice_from(t->name);
        if ((t->name[0] == '_') != internal || !slice_matches(pattern, name))
            continue;
        push_topic_handle(L, t);
        lua_rawseti(L, -2, ++count);
    }
    return 1;
}

/* Pushes the list of names, and the name after which to go on, or nil at the end. */
struct name_search {
    slice pattern, prefix, after;
    size_t most;
    bool own;                         /* the broker's own topics, too */
};

static int push_names(lua_State *L, const struct name_search *s)
{
    struct topics *ts = vm_services(L)->topics;
    bool internal = s->pattern.n > 0 && s->pattern.p[0] == '_';
    bool later = slice_compare(s->after, s->prefix) >= 0;
    size_t i = topics_below(ts, later ? s->after : s->prefix, later && s->after.n > 0), found = 0;
    const struct topic *t = NULL;
    lua_createtable(L, (int)(s->most < 1000 ? s->most : 1000), 0);
    for (size_t looked = 0; found < s->most && looked < LOOKED_MAX && (t = topics_at(ts, i)) != NULL; i++, looked++) {
        slice name = slice_from(t->name);
        if (!slice_starts(name, s->prefix)) {
            t = NULL;
            break;
        }
        if ((!s->own && (t->name[0] == '_') != internal) || !slice_matches(s->pattern, name))
            continue;
        lua_pushlstring(L, name.p, name.n);
        lua_rawseti(L, -2, (lua_Integer)++found);
    }
    if (t != NULL && i < topics_count(ts))
        lua_pushstring(L, t->name);
    else
        lua_pushnil(L);
    return 2;
}

/* core.topic_names(pattern, most [, after [, own]]) -> list of names, name | nil.  It looks at LOOKED_MAX topics. */
static int l_topic_names(lua_State *L)
{
    struct name_search s = {.pattern = arg_text(L, 1, "pattern", NAMES), .most = arg_whole(L, 2, "most", NAMES)};
    if (!lua_isnoneornil(L, 3))
        s.after = arg_text(L, 3, "after", NAMES);
    s.own = lua_toboolean(L, 4);
    s.prefix = s.pattern;
    for (s.prefix.n = 0; s.prefix.n < s.pattern.n && s.pattern.p[s.prefix.n] != '*' && s.pattern.p[s.prefix.n] != '?';)
        s.prefix.n++;
    return push_names(L, &s);
}

/* ---- queries ---- */

/* The wait was a use until now. */
static int waited(lua_State *L, int status, lua_KContext context)
{
    struct topic *t;
    if (handle_find(L, handle_check(L, WAIT), &t) == 0)
        topic_used(t);
    return wait_is_over(L, status, context);
}

/* topic:wait(offset [, timeout]) -> true | nil, message, code.  Waits until the offset can be read. */
static int l_wait(lua_State *L)
{
    struct topic_handle *h = handle_check(L, WAIT);
    uint64_t offset = arg_whole(L, 2, "offset", WAIT);
    uint32_t ms = arg_ms(L, 3, WAIT_MS_MAX, WAIT);
    struct topic *t;
    int rc = handle_find(L, h, &t);
    if (rc < 0)
        return handle_fail(L, h, rc);
    if (topic_readable(t) > offset) {
        lua_pushboolean(L, 1);
        return 1;
    }
    if (ms == 0)
        return push_fail(L, -ERR_TIMEOUT);
    return wait_readable(L, t, offset, ms < WAIT_MS_MAX ? ms : WAIT_MS_MAX, waited);
}

/* topic:offset_at(time) -> offset | nil, message, code */
static int l_offset_at(lua_State *L)
{
    struct topic_handle *h = handle_check(L, OFFSET_AT);
    double seconds = arg_seconds(L, 2, "time", OFFSET_AT);
    struct topic *t;
    uint64_t offset;
    int rc = handle_find(L, h, &t);
    if (rc < 0)
        return handle_fail(L, h, rc);
    rc = journal_at_time(t->journal, seconds < 1e14 ? (int64_t)(seconds * 1000.0) : INT64_MAX, &offset);
    if (rc < 0)
        return push_fail(L, rc);
    lua_pushinteger(L, (lua_Integer)offset);
    return 1;
}

/* topic:ship(offset) -> true | nil, message, code */
static int l_ship(lua_State *L)
{
    struct topic_handle *h = handle_check(L, SHIP);
    uint64_t offset = arg_whole(L, 2, "offset", SHIP);
    struct topic *t;
    int rc = handle_find(L, h, &t);
    if (rc < 0)
        return handle_fail(L, h, rc);
    if (offset > t->tail.at)
        return push_fail_because(L, -ERR_BAD_RANGE, "the topic ends at %llu", (unsigned long long)t->tail.at);
    topic_ship(t, offset);
    lua_pushboolean(L, 1);
    return 1;
}

/* topic:trim(offset) -> first | nil, message, code.  As retention by a number of messages does, once. */
static int l_trim(lua_State *L)
{
    struct topic_handle *h = handle_check(L, TRIM);
    uint64_t offset = arg_whole(L, 2, "offset", TRIM);
    struct topic *t;
    int rc = handle_find(L, h, &t);
    if (rc < 0)
        return handle_fail(L, h, rc);
    if (topic_is_internal(t))
        return push_fail_because(L, -ERR_FORBIDDEN, "%s is reserved for the broker", h->name);
    uint64_t readable = topic_readable(t);
    if (offset > readable)
        return push_fail_because(L, -ERR_BAD_RANGE, "the topic ends at %llu", (unsigned long long)readable);
    uint64_t kept = t->tail.at - offset;
    struct retain keep = {.messages = kept > 0 ? kept : 1};    /* 0 would be no bound; the active file stays anyway */
    journal_apply_retention(t->journal, &keep, 0, readable);
    lua_pushinteger(L, (lua_Integer)topic_first(t));
    return 1;
}

/* How far each follower is, on a leader; an empty list on other nodes. */
static void set_followers(lua_State *L, const struct topic *t)
{
    struct feed_info f;
    lua_newtable(L);
    for (unsigned i = 0; leader_feed(t, i, &f); i++) {
        slice name = member_name(&f.member);
        lua_createtable(L, 0, 4);
        lua_pushlstring(L, name.p, name.n);
        lua_setfield(L, -2, "name");
        lua_pushstring(L, f.member.text);
        lua_setfield(L, -2, "member");
        set_whole(L, "acked", f.acked);
        lua_pushboolean(L, f.counted);
        lua_setfield(L, -2, "in_set");
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "followers");
}

static void push_info(lua_State *L, struct topic *t)
{
    struct journal_info info;
    journal_info(t->journal, &info);
    lua_createtable(L, 0, 20);
    lua_pushstring(L, t->name);
    lua_setfield(L, -2, "name");
    lua_pushfstring(L, "%I:%I", (LUAI_UACINT)t->id.epoch, (LUAI_UACINT)t->id.offset);
    lua_setfield(L, -2, "id");
    set_whole(L, "first", info.first);
    set_whole(L, "next", topic_readable(t));
    set_whole(L, "tail", t->tail.at);
    set_whole(L, "written", t->written.at);
    set_whole(L, "disk", t->disk.at);
    set_whole(L, "peers", t->peers.at);
    set_whole(L, "ship", topic_shipped(t));
    set_whole(L, "bytes", info.bytes);
    set_whole(L, "segments", info.segments);
    set_whole(L, "damaged", info.damaged);
    if (info.last_time_ms > 0) {
        lua_pushnumber(L, (double)info.last_time_ms / 1000.0);
        lua_setfield(L, -2, "last_time");
    }
    if (topic_has_source(t)) {
        lua_pushfstring(L, "%I:%I", (LUAI_UACINT)t->birth->source.epoch,
                        (LUAI_UACINT)t->birth->source.offset);
        lua_setfield(L, -2, "source");
    }
    if (t->gone)
        set_flag(L, "gone", true);
    push_labels(L, t);
    lua_setfield(L, -2, "labels");
    set_followers(L, t);
    push_settings(L, t->settings);
}

/* Fails a check: nil, message, code, and the {epoch, offset} up to which the two histories can agree. */
static int push_truncated(lua_State *L, int rc, const char *why, uint64_t found, uint64_t end)
{
    push_fail_because(L, rc, "%s; this one agrees with it up to %llu:%llu at most", why, (unsigned long long)found,
                      (unsigned long long)end);
    lua_createtable(L, 0, 2);
    set_whole(L, "epoch", found);
    set_whole(L, "offset", end);
    return 4;
}

/* topic:check(epoch, offset [, topic [, reached]]) -> true | nil, message, code [, {epoch=, offset=}] */
static int l_check(lua_State *L)
{
    struct topic_handle *h = handle_check(L, CHECK);
    struct topic_token token = {
        .epoch = arg_whole(L, 2, "epoch", CHECK),
        .offset = arg_whole(L, 3, "offset", CHECK),
        .names_topic = !lua_isnoneornil(L, 4),
        .reached = lua_toboolean(L, 5),
    };
    uint64_t found = 0, end = 0;
    struct topic *t = NULL;
    if (token.names_topic)
        token.topic = arg_whole(L, 4, "topic", CHECK);
    int rc = handle_find(L, h, &t);
    if (rc == 0 && token.epoch == EPOCH_UNKNOWN && !token.names_topic && topic_is_beyond(t, token.offset))
        return push_fail_because(L, -ERR_BEYOND, "the topic ends at %llu", (unsigned long long)t->tail.at);
    if (rc == 0)
        rc = topic_check(t, &token, &found, &end);
    else if (rc == -ERR_UNKNOWN_TOPIC && topics_check_unknown(vm_services(L)->topics, &token) < 0)
        return push_fail_because(L, -ERR_UNAVAILABLE, "there is no topic %s on this node yet", h->name);
    if (rc == -ERR_TRUNCATED && token.names_topic && token.topic != t->id.offset)
        return push_truncated(L, rc, "the token belongs to a deleted topic of this name", 0, 0);
    if (rc == -ERR_TRUNCATED)
        return push_truncated(L, rc, "the token belongs to a history that was truncated", found, end);
    if (rc == -ERR_UNAVAILABLE)
        return push_fail_because(L, rc, "this node does not have what the token %llu:%llu speaks of yet",
                                 (unsigned long long)token.epoch, (unsigned long long)token.offset);
    if (rc < 0)
        return handle_fail(L, h, rc);
    lua_pushboolean(L, 1);
    return 1;
}

/* topic:info() -> table | nil, message, code */
static int l_info(lua_State *L)
{
    struct topic_handle *h = handle_check(L, INFO);
    struct topic *t;
    int rc = handle_find(L, h, &t);
    if (rc < 0)
        return handle_fail(L, h, rc);
    push_info(L, t);
    return 1;
}

/* topic:place() -> next, tail, epoch, id, gone, cuts | nil, message, code */
static int l_place(lua_State *L)
{
    struct topic_handle *h = handle_check(L, PLACE);
    struct topic *t;
    int rc = handle_find(L, h, &t);
    if (rc < 0)
        return handle_fail(L, h, rc);
    lua_pushinteger(L, (lua_Integer)topic_readable(t));
    lua_pushinteger(L, (lua_Integer)t->tail.at);
    lua_pushinteger(L, (lua_Integer)topic_last_epoch(t));
    lua_pushfstring(L, "%I:%I", (LUAI_UACINT)t->id.epoch, (LUAI_UACINT)t->id.offset);
    lua_pushboolean(L, t->gone);
    lua_pushinteger(L, (lua_Integer)t->cuts);
    return 6;
}

/* topic:labels() -> {name = text} | nil, message, code */
static int l_labels(lua_State *L)
{
    struct topic_handle *h = handle_check(L, LABELS);
    struct topic *t;
    int rc = handle_find(L, h, &t);
    if (rc < 0)
        return handle_fail(L, h, rc);
    push_labels(L, t);
    return 1;
}

/* topic:producer(id) -> epoch, sequence | false | nil, message, code */
static int l_producer(lua_State *L)
{
    struct topic_handle *h = handle_check(L, PRODUCER);
    struct origin o = {.kind = ORIGIN_PRODUCER, .name = arg_text(L, 2, "id", PRODUCER)};
    struct topic *t;
    if (o.name.n > PRODUCER_ID_MAX)
        return arg_fail(L, PRODUCER, "id has at most %d bytes", PRODUCER_ID_MAX);
    int rc = handle_find(L, h, &t);
    if (rc == 0)
        rc = journal_last_sent(t->journal, &o, topics_date(t->topics));
    if (rc < 0)
        return handle_fail(L, h, rc);
    lua_pushboolean(L, 0);
    if (rc == 0)
        return 1;
    lua_pushinteger(L, (lua_Integer)o.epoch);
    lua_pushinteger(L, (lua_Integer)o.sequence);
    return 2;
}

/* topic:acknowledges([next [, ack]]) -> durability, committed, copies | nil, message, code.  In general, or for the
 * messages below the offset `next`. */
static int l_acknowledges(lua_State *L)
{
    struct topic_handle *h = handle_check(L, ACKNOWLEDGES);
    struct topic *t;
    int rc = handle_find(L, h, &t);
    if (rc < 0)
        return handle_fail(L, h, rc);
    uint64_t next = lua_isnoneornil(L, 2) ? 0 : arg_whole(L, 2, "next", ACKNOWLEDGES);
    return push_acknowledgement(L, t, next, !lua_isnoneornil(L, 3));
}

/* topic:receipt(first, count, epoch [, ack [, duplicate [, data]]]) -> text | nil, message, code */
static int l_receipt(lua_State *L)
{
    struct topic_handle *h = handle_check(L, RECEIPT);
    bool unplaced = lua_isboolean(L, 2) && lua_toboolean(L, 2);
    struct receipt r = {
        .first = unplaced ? 0 : arg_whole(L, 2, "first", RECEIPT),
        .count = arg_whole(L, 3, "count", RECEIPT),
        .epoch = arg_whole(L, 4, "epoch", RECEIPT),
        .peers = !lua_isnoneornil(L, 5),
        .duplicate = lua_toboolean(L, 6),
        .unplaced = unplaced,
        .data = lua_isnoneornil(L, 7) ? (slice){0} : arg_text(L, 7, "data", RECEIPT),
    };
    struct topic *t;
    int rc = handle_find(L, h, &t);
    return rc < 0 ? handle_fail(L, h, rc) : push_receipt(L, t, &r);
}

void topic_open(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"append", l_topic_append}, {"read", l_topic_read}, {"wait", l_wait}, {"offset_at", l_offset_at},
        {"ship", l_ship}, {"trim", l_trim}, {"info", l_info}, {"place", l_place}, {"labels", l_labels},
        {"producer", l_producer}, {"check", l_check}, {"acknowledges", l_acknowledges}, {"receipt", l_receipt},
        {"barrier", l_topic_barrier}, {"create", l_topic_create}, {"set", l_topic_set}, {"delete", l_topic_delete},
        {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__tostring", name_topic}, {NULL, NULL}};
    kind_open(L, &(struct kind_options){KIND_TOPIC, meta, methods, index_topic, NULL});
    lua_setfield(L, -2, "Topic");
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "v");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_pushcclosure(L, l_topic, 1);
    lua_setfield(L, -2, "topic");
    lua_pushcfunction(L, l_topics);
    lua_setfield(L, -2, "topics");
    lua_pushcfunction(L, l_topic_names);
    lua_setfield(L, -2, "topic_names");
    lua_pushcfunction(L, l_topics_delete);
    lua_setfield(L, -2, "topics_delete");
    lua_pushcfunction(L, l_internal);
    lua_setfield(L, -2, "internal");
}
