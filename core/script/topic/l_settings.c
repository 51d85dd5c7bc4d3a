/*
 * topic:create, topic:set and topic:delete; settings from Lua tables and back. All three wait until the change has
 * taken effect here, which is after its record in _topics is committed.
 */
#include <errno.h>
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "script/bind/arg.h"
#include "script/bind/result.h"
#include "script/topic/l_birth.h"
#include "script/topic/tables.h"
#include "script/topic/topic_handle.h"
#include "script/vm/task.h"
#include "script/vm/vm.h"

#define CREATE "topic:create([settings [, {labels=, source=}]])"
#define SET "topic:set(settings)"
#define DELETE "topic:delete()"
#define DELETE_ALL "topics_delete(names)"

enum { CHANGE_MS = 30 * 1000 };

/* ---- from Lua ---- */

struct settings_reader {
    lua_State *L;
    struct topic_settings *settings;
    struct buf *why;
    char text[32];                    /* the number that is being set */
};

static bool is_time(const char *name)
{
    size_t n = strlen(name);
    return strcmp(name, "expire") == 0 || (n >= 4 && strcmp(name + n - 4, ".age") == 0);
}

/* Times are seconds in Lua, milliseconds in settings. One that would have to be rounded is refused: 0.0004 would become
 * 0, which means for ever. */
static int number_text(struct settings_reader *r, const char *name, slice *text)
{
    int whole = 1;
    lua_Integer value;
    if (is_time(name)) {
        double seconds = lua_tonumber(r->L, -1);
        value = seconds >= 0 && seconds < 1e12 ? (lua_Integer)(seconds * 1000.0 + 0.5) : -1;
        whole = value >= 0 && (double)value / 1000.0 == seconds;
    } else {
        value = lua_tointegerx(r->L, -1, &whole);
    }
    if (!whole) {
        buf_addf(r->why, "%s must be %s of 0 or more", name,
                 is_time(name) ? "seconds, in whole milliseconds," : "a whole number");
        return -ERR_BAD_VALUE;
    }
    int n = snprintf(r->text, sizeof(r->text), "%lld", (long long)value);
    *text = slice_of(r->text, (size_t)n);
    return 0;
}

/* Sets `name` to the value on top. A value that is no number, string or boolean is passed as "", which no setting
 * accepts, so that settings_set names the values it accepts, or says that there is no such setting. */
static int read_value(struct settings_reader *r, const char *name)
{
    slice text = SLICE("");
    int rc = 0;
    if (lua_type(r->L, -1) == LUA_TNUMBER)
        rc = number_text(r, name, &text);
    else if (lua_type(r->L, -1) == LUA_TBOOLEAN)
        text = lua_toboolean(r->L, -1) ? SLICE("true") : SLICE("false");
    else if (lua_type(r->L, -1) == LUA_TSTRING)
        text.p = lua_tolstring(r->L, -1, &text.n);
    return rc < 0 ? rc : settings_set(r->settings, slice_from(name), text, r->why);
}

/* The table on top is the value of a group: retain = {...}, segment = {...}. */
static int read_group(struct settings_reader *r, const char *group)
{
    int rc = 0;
    char name[64];
    lua_pushnil(r->L);
    while (rc == 0 && lua_next(r->L, -2)) {
        lua_pushvalue(r->L, -2);      /* lua_tostring would change a number in place, and confuse lua_next */
        snprintf(name, sizeof(name), "%s.%s", group, lua_type(r->L, -1) == LUA_TSTRING ? lua_tostring(r->L, -1) : "?");
        lua_pop(r->L, 1);
        rc = read_value(r, name);
        lua_pop(r->L, 1);
    }
    if (rc < 0)
        lua_pop(r->L, 1);
    return rc;
}

static int read_field(struct settings_reader *r)
{
    if (lua_type(r->L, -2) != LUA_TSTRING) {
        buf_add_slice(r->why, SLICE("settings must have names"));
        return -ERR_BAD_VALUE;
    }
    const char *name = lua_tostring(r->L, -2);
    bool group = strcmp(name, "retain") == 0 || strcmp(name, "segment") == 0 ||
                 strcmp(name, "dedupe") == 0;
    if (!group)
        return read_value(r, name);
    if (lua_istable(r->L, -1))
        return read_group(r, name);
    buf_addf(r->why, "%s must be a table", name);
    return -ERR_BAD_VALUE;
}

/* Reads the table at index 2 over *s, and checks the whole. 0, or -ERR_BAD_VALUE with a sentence in `why`. */
static int read_settings(lua_State *L, struct topic_settings *s, struct buf *why, const char *usage)
{
    struct settings_reader r = {.L = L, .settings = s, .why = why};
    int rc = 0;
    if (!lua_istable(L, 2))
        arg_fail(L, usage, "settings must be a table, not %s", luaL_typename(L, 2));
    luaL_checkstack(L, 16, usage);
    lua_pushnil(L);
    while (rc == 0 && lua_next(L, 2)) {
        rc = read_field(&r);
        lua_pop(L, 1);
    }
    return rc < 0 ? rc : settings_check(s, why);
}

static int fail_settings(lua_State *L, int rc, const struct buf *why)
{
    return push_fail_because(L, rc, "%.*s", (int)buf_size(why), why->data);
}

/* ---- to Lua ---- */

static void push_pair(void *arg, const char *name, slice text)
{
    lua_State *L = arg;
    uint64_t number;
    const char *dot = strchr(name, '.');
    if (dot != NULL) {
        lua_pushlstring(L, name, (size_t)(dot - name));
        luaL_getsubtable(L, -2, lua_tostring(L, -1));
    }
    if (slice_eq(text, SLICE("true")) || slice_eq(text, SLICE("false")))
        lua_pushboolean(L, slice_eq(text, SLICE("true")));
    else if (slice_u64(text, &number) < 0)
        lua_pushlstring(L, text.p, text.n);
    else if (is_time(name))
        lua_pushnumber(L, (double)number / 1000.0);
    else
        lua_pushinteger(L, (lua_Integer)number);
    lua_setfield(L, -2, dot == NULL ? name : dot + 1);
    if (dot != NULL)
        lua_pop(L, 2);
}

void push_settings(lua_State *L, const struct topic_settings *s)
{
    luaL_checkstack(L, 8, NULL);
    settings_each(s, NULL, push_pair, L);
}

/* ---- changes ---- */

static int change_done(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    int rc = (int)lua_tointeger(L, -1);
    if (rc < 0)
        return push_fail(L, -ERR_UNKNOWN_OUTCOME);
    lua_pushboolean(L, 1);
    return 1;
}

static int change_wait(lua_State *L, struct task *self, uint64_t want, lua_KFunction done)
{
    task_appended(self);
    return task_park_on(L, self, topics_applied(vm_services(L)->topics), want, CHANGE_MS, 0, done);
}

static int create_done(lua_State *L, int status, lua_KContext context)
{
    struct topic *t;
    struct topic_handle *h = handle_check(L, CREATE);
    struct topic_birth birth = {0};
    int rc = lua_tointeger(L, -1) == 0 ? handle_find(L, h, &t) : 1;
    if (rc < 0)
        return handle_fail(L, h, rc);
    if (rc > 0 || lua_isnoneornil(L, 3))
        return change_done(L, status, context);
    struct buf *labels = vm_scratch(vm_of(L));
    rc = birth_check(L, 3, labels, &birth, CREATE);
    bool ours = rc == 0 && birth_is(t, &birth);   /* another creation of the name may have come first */
    vm_scratch_done(labels);
    return ours ? change_done(L, status, context) : push_fail(L, -ERR_TOPIC_EXISTS);
}

/* topic:create([settings [, birth]]) -> true | false: it exists already, as asked for | nil, message, code */
int l_topic_create(lua_State *L)
{
    struct topic_handle *h = handle_check(L, CREATE);
    struct task *self = task_self(L);
    struct topics *ts = vm_services(L)->topics;
    struct topic_settings s = settings_default;
    struct topic *t;
    uint64_t want;
    struct topic_plan plan = {.name = handle_name(h), .settings = &s};
    struct buf *why = vm_scratch(vm_of(L));
    lua_settop(L, 3);
    int rc = lua_isnil(L, 2) ? 0 : read_settings(L, &s, why, CREATE);
    if (rc < 0)
        return fail_settings(L, rc, why);
    rc = birth_check(L, 3, why, &plan.birth, CREATE);
    if (rc < 0)
        return push_fail_because(L, rc, "source is not the id of a topic");
    lua_settop(L, 3);
    rc = handle_find(L, h, &t);
    if (rc < 0 && rc != -ERR_UNKNOWN_TOPIC)
        return handle_fail(L, h, rc);
    if (rc == 0 && !t->deleting) {
        if (t->gone || !settings_equal(t->settings, &s) || !birth_is(t, &plan.birth))
            return push_fail(L, -ERR_TOPIC_EXISTS);
        lua_pushboolean(L, 0);
        return 1;
    }
    rc = h->internal ? topics_create_internal(ts, plan.name, &s, &want) : topics_create_born(ts, &plan, &want);
    vm_scratch_done(why);
    if (rc < 0)
        return push_fail(L, rc);
    return change_wait(L, self, want, create_done);
}

/* A topic that may be changed and deleted, also one whose directory cannot be opened here. */
static int find_any(lua_State *L, struct topic_handle *h, struct topic **out)
{
    int rc = handle_find(L, h, out);
    if (rc == -ERR_STORAGE || rc == -ENOSPC)
        topics_find_unopened(vm_services(L)->topics, handle_name(h), out);
    return rc == -ERR_STORAGE || rc == -ENOSPC ? 0 : rc;
}

/* topic:set(settings) -> true | nil, message, code */
int l_topic_set(lua_State *L)
{
    struct topic_handle *h = handle_check(L, SET);
    struct task *self = task_self(L);
    struct topic *t;
    uint64_t want;
    int rc = find_any(L, h, &t);
    if (rc < 0)
        return handle_fail(L, h, rc);
    struct topic_settings s = topics_settings_to_be(t->topics, t);
    struct buf *why = vm_scratch(vm_of(L));
    rc = read_settings(L, &s, why, SET);
    if (rc < 0)
        return fail_settings(L, rc, why);
    rc = topics_set(t->topics, t, &s, &want);
    return rc < 0 ? push_fail(L, rc) : change_wait(L, self, want, change_done);
}

/* topic:delete() -> true | nil, message, code */
int l_topic_delete(lua_State *L)
{
    struct topic_handle *h = handle_check(L, DELETE);
    struct task *self = task_self(L);
    struct topic *t;
    uint64_t want;
    int rc = find_any(L, h, &t);
    if (rc < 0)
        return handle_fail(L, h, rc);
    rc = topics_delete(t->topics, t, &want);
    return rc < 0 ? push_fail(L, rc) : change_wait(L, self, want, change_done);
}

static int delete_all_done(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    if (lua_tointeger(L, -1) < 0)
        return push_fail(L, -ERR_UNKNOWN_OUTCOME);
    lua_pushinteger(L, (lua_Integer)context);
    return 1;
}

/* core.topics_delete(names) -> count | nil, message, code.  After an error some may be gone. */
int l_topics_delete(lua_State *L)
{
    struct task *self = task_self(L);
    struct topics *ts = vm_services(L)->topics;
    uint64_t want = 0;
    lua_Integer count = 0;
    int rc = 0;
    luaL_checktype(L, 1, LUA_TTABLE);
    for (lua_Integer i = 1; rc == 0 && lua_rawgeti(L, 1, i) == LUA_TSTRING; i++, lua_pop(L, 1)) {
        struct topic *t;
        slice name = arg_text(L, -1, "names", DELETE_ALL);
        rc = name_find(L, name, &t);
        if (rc == -ERR_STORAGE || rc == -ENOSPC)
            rc = topics_find_unopened(ts, name, &t) == -ERR_UNKNOWN_TOPIC ? -ERR_UNKNOWN_TOPIC : 0;
        if (rc == 0)
            rc = topics_delete(ts, t, &want);
        count += rc == 0;
        rc = rc == -ERR_UNKNOWN_TOPIC ? 0 : rc;
    }
    if (rc < 0)
        return push_fail(L, rc);
    if (count == 0) {
        lua_pushinteger(L, 0);
        return 1;
    }
    task_appended(self);
    return task_park_on(L, self, topics_applied(ts), want, CHANGE_MS, count, delete_all_done);
}
