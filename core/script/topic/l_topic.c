/*
 * topic(name), topics(pattern), and what a topic can be asked. Appending, reading and changing are in l_append.c,
 * l_read.c and l_settings.c.
 */
#include "script/topic/topic_handle.h"

#include "base/err.h"
#include "script/bind/arg.h"
#include "script/bind/bind.h"
#include "script/bind/field.h"
#include "script/topic/append.h"
#include "script/vm/task.h"

#define TOPIC "topic(name)"
#define TOPICS "topics([pattern])"
#define WAIT "topic:wait(offset [, timeout])"
#define OFFSET_AT "topic:offset_at(time)"
#define SHIP "topic:ship(offset)"
#define INFO "topic:info()"
#define CHECK "topic:check(epoch, offset)"
#define ACKNOWLEDGES "topic:acknowledges([next [, ack]])"
#define RECEIPT "topic:receipt(first, count, epoch [, ack])"

/* ---- handles ---- */

struct topic_handle *handle_check(lua_State *L, const char *usage)
{
    return arg_object(L, 1, KIND_TOPIC, usage);
}

slice handle_name(const struct topic_handle *h)
{
    return slice_of(h->name, h->name_size);
}

int name_find(lua_State *L, slice name, struct topic **out)
{
    struct topic *t = topics_find(vm_services(L)->topics, name);
    if (t == NULL)
        return topic_name_ok(name) ? -ERR_UNKNOWN_TOPIC : -ERR_BAD_TOPIC;
    *out = t;
    return 0;
}

int handle_find(lua_State *L, struct topic_handle *h, struct topic **out)
{
    struct topic *t = h->found ? topic_deref(vm_services(L)->topics, h->ref) : NULL;
    int rc = t != NULL ? 0 : name_find(L, handle_name(h), &t);
    h->found = rc == 0;
    if (rc < 0)
        return rc;
    h->ref = topic_ref(t);
    *out = t;
    return 0;
}

int name_fail(lua_State *L, slice name, int rc)
{
    if (rc == -ERR_UNKNOWN_TOPIC)
        return push_fail_because(L, rc, "there is no topic %.*s", SLICE_ARGS(name));
    return push_fail(L, rc);
}

int handle_fail(lua_State *L, const struct topic_handle *h, int rc)
{
    return name_fail(L, handle_name(h), rc);
}

static struct topic_handle *handle_new(lua_State *L, slice name)
{
    struct topic_handle *h = object_new(L, KIND_TOPIC, sizeof(*h) + name.n + 1, 0);
    h->name_size = name.n;
    memcpy(h->name, name.p, name.n);
    return h;
}

void push_topic_handle(lua_State *L, const struct topic *t)
{
    struct topic_handle *h = handle_new(L, slice_from(t->name));
    h->ref = topic_ref(t);
    h->found = true;
}

/* Handles of topics that exist are kept, by name, in the upvalue, as long as nothing is collected. The name is at 1. */
static int push_handle(lua_State *L, slice name)
{
    struct topic *t;
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

/* topic(name) -> topic */
static int l_topic(lua_State *L)
{
    slice name = arg_text(L, 1, "name", TOPIC);
    vm_services(L);
    return push_handle(L, name);
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

/* ---- topics(pattern) ---- */

/* `*` any characters, `?` one. On a mismatch the last star takes one character more. */
static bool matches(slice pattern, slice name)
{
    size_t p = 0, n = 0, star = SIZE_MAX, from = 0;
    while (n < name.n) {
        if (p < pattern.n && pattern.p[p] == '*') {
            star = p++;
            from = n;
        } else if (p < pattern.n && (pattern.p[p] == '?' || pattern.p[p] == name.p[n])) {
            p++;
            n++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            n = ++from;
        } else {
            return false;
        }
    }
    while (p < pattern.n && pattern.p[p] == '*')
        p++;
    return p == pattern.n;
}

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
        if ((t->name[0] == '_') != internal || !matches(pattern, name))
            continue;
        push_topic_handle(L, t);
        lua_rawseti(L, -2, ++count);
    }
    return 1;
}

/* ---- questions ---- */

int wait_readable(lua_State *L, struct topic *t, uint64_t offset, uint32_t ms, lua_KFunction cont)
{
    struct task *self = task_self(L);
    int rc = task_linger(self);
    if (rc < 0)
        return push_fail_because(L, rc, "too many requests wait at once");
    task_may_stop(self);
    task_may_leave(self);
    return task_park_on(L, self, &t->readable, offset + 1, ms, 0, cont);
}

/* topic:wait(offset [, timeout]) -> true | nil, message, code.  Waits until it can be read. */
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
    return wait_readable(L, t, offset, ms < WAIT_MS_MAX ? ms : WAIT_MS_MAX, wait_is_over);
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
    if (offset > t->ship)
        t->ship = offset;
    topic_settle(t);
    lua_pushboolean(L, 1);
    return 1;
}

/* Where each follower stands, as its leader knows it; none on other nodes. */
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
    set_whole(L, "ship", t->ship);
    set_whole(L, "bytes", info.bytes);
    set_whole(L, "segments", info.segments);
    set_whole(L, "damaged", info.damaged);
    if (info.last_time_ms > 0) {
        lua_pushnumber(L, (double)info.last_time_ms / 1000.0);
        lua_setfield(L, -2, "last_time");
    }
    set_followers(L, t);
    push_settings(L, &t->settings);
}

/* What is wrong with a token, and where the histories part: true | nil, message, code, {epoch, offset}. */
static int push_truncated(lua_State *L, uint64_t found, uint64_t end)
{
    push_fail_because(L, -ERR_TRUNCATED,
                      "the token is of a history that was cut off; this one agrees up to %llu:%llu at most",
                      (unsigned long long)found, (unsigned long long)end);
    lua_createtable(L, 0, 2);
    set_whole(L, "epoch", found);
    set_whole(L, "offset", end);
    return 4;
}

/* topic:check(epoch, offset) -> true | nil, message, code [, {epoch=, offset=}] */
static int l_check(lua_State *L)
{
    struct topic_handle *h = handle_check(L, CHECK);
    uint64_t epoch = arg_whole(L, 2, "epoch", CHECK), offset = arg_whole(L, 3, "offset", CHECK);
    uint64_t found = 0, end = 0;
    struct topic *t;
    int rc = handle_find(L, h, &t);
    if (rc == 0)
        rc = topic_check(t, epoch, offset, &found, &end);
    if (rc == -ERR_TRUNCATED)
        return push_truncated(L, found, end);
    if (rc == -ERR_UNAVAILABLE)
        return push_fail_because(L, rc, "this node has nothing of epoch %llu yet, and what it has at %llu is older",
                                 (unsigned long long)epoch, (unsigned long long)offset);
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

static const char *durability_name(const struct topic *t)
{
    static const char *const names[] = {"commit", "interval", "os"};
    return names[t->settings.durability];
}

/* In the words of the HTTP interface. */
static const char *mark_name(const struct topic *t, const struct mark *mark)
{
    return mark == &t->peers ? "peers" : mark == &t->disk ? "disk" : "written";
}

static uint32_t mark_copies(const struct topic *t, const struct mark *mark)
{
    return mark == &t->peers ? role_copies(topics_role(t->topics)) : 1;
}

/* What had the batch when it was answered. A topic that became live meanwhile has not made more of it. */
static const struct mark *mark_reached(struct topic *t, uint64_t next, bool peers)
{
    const struct mark *mark = peers ? &t->peers : topic_ack_mark(t);
    return mark->at >= next ? mark : topic_own_mark(t);
}

/* topic:acknowledges([next [, ack]]) -> durability, committed, copies | nil, message, code.  In general, or of what was
 * appended up to an offset. */
static int l_acknowledges(lua_State *L)
{
    struct topic_handle *h = handle_check(L, ACKNOWLEDGES);
    struct topic *t;
    int rc = handle_find(L, h, &t);
    if (rc < 0)
        return handle_fail(L, h, rc);
    uint64_t next = lua_isnoneornil(L, 2) ? 0 : arg_whole(L, 2, "next", ACKNOWLEDGES);
    const struct mark *mark = mark_reached(t, next, !lua_isnoneornil(L, 3));
    lua_pushstring(L, durability_name(t));
    lua_pushstring(L, mark_name(t, mark));
    lua_pushinteger(L, mark_copies(t, mark));
    return 3;
}

static void add_word(struct buf *out, slice key, const char *word)
{
    buf_add_slice(out, key);
    buf_add_slice(out, slice_from(word));
}

static void add_number(struct buf *out, slice key, uint64_t v)
{
    buf_add_slice(out, key);
    buf_add_u64(out, v);
}

/* Each publish is answered by one, so it is written here, not by a table and the encoder; no name or word in it needs
 * an escape. */
int push_receipt(lua_State *L, struct topic *t, const struct receipt *r)
{
    const struct mark *mark = mark_reached(t, r->first + r->count, r->peers);
    struct buf *out = vm_scratch(vm_of(L));
    add_word(out, SLICE("{\"topic\":\""), t->name);
    add_number(out, SLICE("\",\"first\":"), r->first);
    add_number(out, SLICE(",\"next\":"), r->first + r->count);
    add_number(out, SLICE(",\"count\":"), r->count);
    add_number(out, SLICE(",\"epoch\":"), r->epoch);
    add_word(out, SLICE(",\"durability\":\""), durability_name(t));
    add_word(out, SLICE("\",\"committed\":\""), mark_name(t, mark));
    add_number(out, SLICE("\",\"copies\":"), mark_copies(t, mark));
    buf_add_slice(out, SLICE("}\n"));
    lua_pushlstring(L, buf_slice(out).p, buf_size(out));
    vm_scratch_done(out);
    return 1;
}

/* topic:receipt(first, count, epoch [, ack]) -> text | nil, message, code */
static int l_receipt(lua_State *L)
{
    struct topic_handle *h = handle_check(L, RECEIPT);
    struct receipt r = {
        .first = arg_whole(L, 2, "first", RECEIPT),
        .count = arg_whole(L, 3, "count", RECEIPT),
        .epoch = arg_whole(L, 4, "epoch", RECEIPT),
        .peers = !lua_isnoneornil(L, 5),
    };
    struct topic *t;
    int rc = handle_find(L, h, &t);
    return rc < 0 ? handle_fail(L, h, rc) : push_receipt(L, t, &r);
}

void topic_open(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"append", l_topic_append}, {"read", l_topic_read}, {"wait", l_wait}, {"offset_at", l_offset_at},
        {"ship", l_ship}, {"info", l_info}, {"check", l_check}, {"acknowledges", l_acknowledges},
        {"receipt", l_receipt}, {"create", l_topic_create}, {"set", l_topic_set}, {"delete", l_topic_delete},
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
}
