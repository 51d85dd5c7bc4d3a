/*
 * core.access: access tokens at run time, and the judgement of requests by them (judge.c). scripts/lignum/access.lua
 * makes `tokens` of it.
 */
#include <lauxlib.h>

#include "base/err.h"
#include "script/bind/arg.h"
#include "script/bind/result.h"
#include "script/http/judge.h"
#include "script/http/tables.h"
#include "script/vm/task.h"
#include "script/vm/vm.h"
#include "script/vm/wait.h"

#define ADD "core.access.add(name, topics, may, expires_ms)"
#define REVOKE "core.access.revoke(name)"

enum { ACK_MS = 30 * 1000 };              /* how long a record waits for its acknowledgement */
enum { NAME = 1, TOPICS, MAY, EXPIRES, SECRET };   /* where they are on the stack */

static struct access *access_of(lua_State *L)
{
    return vm_services(L)->access;
}

/* The grant that the arguments describe. 0, or the number of results after a failure. */
static int grant_of(lua_State *L, struct access_grant *g)
{
    struct buf *why = vm_scratch(vm_of(L));
    slice words = arg_text(L, MAY, "may", ADD), word;
    *g = (struct access_grant){.name = arg_text(L, NAME, "name", ADD), .topics = arg_text(L, TOPICS, "topics", ADD),
                               .expires_ms = (int64_t)arg_whole(L, EXPIRES, "expires_ms", ADD)};
    while (slice_split(&words, ' ', &word)) {
        unsigned what = access_action_parse(word);
        if (what == 0)
            return push_fail_because(L, -ERR_BAD_VALUE, "may: there is no action %.*s: read, publish, consume, admin, "
                                     "observe, own", SLICE_ARGS(word));
        g->may |= what;
    }
    if (access_grant_check(access_of(L), g, why) < 0)
        return push_fail_because(L, -ERR_BAD_VALUE, "%.*s", SLICE_ARGS(buf_slice(why)));
    return 0;
}

static int change_fail(lua_State *L, int rc)
{
    if (rc == -ERR_CONFLICT)
        return push_fail_because(L, rc, "the token is declared in lignum.lua: change it there");
    if (rc == -ERR_TOO_MANY)
        return push_fail_because(L, rc, "there are %d tokens already: revoke some", ACCESS_TOKENS_MAX);
    return push_fail(L, rc == -ERR_TOPIC_EXISTS ? -ERR_UNAVAILABLE : rc);
}

/* How the wait for a record ended. */
static int outcome(lua_State *L)
{
    int rc = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    return rc == 0 ? 0 : -ERR_UNKNOWN_OUTCOME;
}

/* ---- add ---- */

static slice secret_at(lua_State *L, int index)
{
    slice secret;
    secret.p = lua_tolstring(L, index, &secret.n);
    return secret;
}

/* The secret is the result. Another record of that name may have been appended at the same time. */
static int added(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    int rc = outcome(L);
    if (rc < 0)
        return push_fail(L, rc);
    const struct access_token *t = access_find(access_of(L), secret_at(L, SECRET));
    if (t == NULL || !slice_eq(slice_from(t->name), arg_text(L, NAME, "name", ADD)))
        return push_fail(L, -ERR_TOKEN_EXISTS);
    lua_pushvalue(L, SECRET);
    return 1;
}

static int add_with_log(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    struct access_grant g;
    struct access *a = access_of(L);
    uint64_t want;
    int rc = context == 0 ? 0 : outcome(L);     /* _tokens has been created, or not */
    if (rc < 0)
        return push_fail(L, rc);
    int results = grant_of(L, &g);
    if (results > 0)
        return results;
    struct buf *text = vm_scratch(vm_of(L));
    access_mint(text);
    lua_pushlstring(L, text->data, buf_size(text));
    explicit_bzero(text->data, buf_size(text));
    rc = access_hash(secret_at(L, SECRET), g.hash);
    if (rc < 0)
        return push_fail_because(L, rc, "OpenSSL (libcrypto.so.3) is not installed");
    rc = access_add(a, &g, &want);
    if (rc < 0)
        return change_fail(L, rc);
    task_appended(task_self(L));
    return task_park_on(L, task_self(L), topic_ack_mark(access_log(a)), want, ACK_MS, 0, added);
}

/* -> the secret | nil, message, code */
static int l_add(lua_State *L)
{
    struct access_grant g;
    struct access *a = access_of(L);
    uint64_t want;
    struct task *self = task_self(L);
    lua_settop(L, EXPIRES);
    int results = grant_of(L, &g);
    if (results > 0)
        return results;
    if (access_log(a) != NULL)
        return add_with_log(L, LUA_OK, 0);
    int rc = access_make_log(a, &want);
    if (rc < 0)
        return change_fail(L, rc);
    task_appended(self);
    return task_park_on(L, self, topics_applied(vm_services(L)->topics), want, ACK_MS, 1, add_with_log);
}

/* ---- revoke ---- */

static int revoked(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    int rc = outcome(L);
    if (rc < 0)
        return push_fail(L, rc);
    lua_pushboolean(L, 1);
    return 1;
}

/* -> true | nil, message, code */
static int l_revoke(lua_State *L)
{
    struct access *a = access_of(L);
    uint64_t want;
    struct task *self = task_self(L);
    lua_settop(L, NAME);
    int rc = access_revoke(a, arg_text(L, NAME, "name", REVOKE), &want);
    if (rc < 0)
        return change_fail(L, rc);
    task_appended(self);
    return task_park_on(L, self, topic_ack_mark(access_log(a)), want, ACK_MS, 0, revoked);
}

/* ---- list ---- */

static void set_text(lua_State *L, const char *name, const char *text)
{
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}

static void push_token(lua_State *L, const struct access_token *t)
{
    struct buf *may = vm_scratch(vm_of(L));
    access_actions_write(may, t->may);
    buf_add_char(may, '\0');
    lua_createtable(L, 0, 6);
    set_text(L, "name", t->name);
    set_text(L, "topics", t->topics);
    set_text(L, "may", may->data);
    lua_pushinteger(L, t->made_ms);
    lua_setfield(L, -2, "made_ms");
    lua_pushinteger(L, t->expires_ms);
    lua_setfield(L, -2, "expires_ms");
    lua_pushboolean(L, t->declared);
    lua_setfield(L, -2, "declared");
}

/* -> list of tokens without what their secrets are, in no order */
static int l_list(lua_State *L)
{
    const struct access_token *t;
    lua_Integer count = 0;
    lua_newtable(L);
    for (size_t at = 0; (t = access_next(access_of(L), &at)) != NULL;) {
        push_token(L, t);
        lua_rawseti(L, -2, ++count);
    }
    return 1;
}

/* -> { unaudited =, clients =, requests = { token =, address = }, refused = { token = { requests = ... }, address = } }
 * unaudited: entries of the audit that could not be stored */
static int l_quotas(lua_State *L)
{
    static const char *const classes[] = {"token", "address"};
    static const char *const names[] = {"requests", "bytes", "waiting", "connections"};
    struct quota_stats stats;
    quotas_stats(vm_services(L)->quotas, &stats);
    lua_createtable(L, 0, 4);
    lua_pushinteger(L, (lua_Integer)trail_failed(vm_services(L)->trail));
    lua_setfield(L, -2, "unaudited");
    lua_pushinteger(L, stats.clients);
    lua_setfield(L, -2, "clients");
    lua_createtable(L, 0, QUOTA_CLASSES);
    lua_createtable(L, 0, QUOTA_CLASSES);
    for (size_t i = 0; i < QUOTA_CLASSES; i++) {
        lua_pushinteger(L, (lua_Integer)stats.requests[i]);
        lua_setfield(L, -3, classes[i]);
        lua_createtable(L, 0, QUOTA_LIMITS);
        for (size_t k = 0; k < QUOTA_LIMITS; k++) {
            lua_pushinteger(L, (lua_Integer)stats.refused[i][k]);
            lua_setfield(L, -2, names[k]);
        }
        lua_setfield(L, -2, classes[i]);
    }
    lua_setfield(L, -3, "refused");
    lua_setfield(L, -2, "requests");
    return 1;
}

/* core.access.note(entry): adds a JSON object to the audit */
static int l_note(lua_State *L)
{
    trail_note(vm_services(L)->trail, arg_text(L, 1, "entry", "core.access.note(entry)"));
    return 0;
}

/* -> a number that differs once a token has come or gone */
static int l_changes(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)access_changes(access_of(L)));
    return 1;
}

static int l_guarded(lua_State *L)
{
    lua_pushboolean(L, access_guarded(vm_services(L)->access));
    return 1;
}

/* After request_open. */
void access_tables_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"add", l_add},         {"revoke", l_revoke},      {"list", l_list},        {"guarded", l_guarded},
        {"changes", l_changes}, {"judge", l_access_judge}, {"sees", l_access_sees}, {"admit", l_access_admit},
        {"owes", l_access_owes}, {"quotas", l_quotas},     {"note", l_note},        {"log", l_access_log},
        {NULL, NULL}};
    luaL_newlib(L, functions);
    lua_setfield(L, -2, "access");
}
