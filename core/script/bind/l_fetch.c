/*
 * fetch {url = ...}. The object that holds the request lies on the waiting call's stack and is closed with it, so a
 * cancelled task's request ends at once.
 */
#include <lauxlib.h>
#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "script/bind/arg.h"
#include "script/bind/object.h"
#include "script/bind/result.h"
#include "script/bind/tables.h"
#include "script/vm/task.h"
#include "script/vm/vm.h"

#define USAGE \
    "fetch {url=, method=, headers=, body=, timeout=, redirects=, max=, ca=, cert=, key=, fresh=, farewell=, leader=}"

enum { HEADERS_MAX = 64 };

struct fetching {
    struct tasks *tasks;              /* outlives us */
    struct task_ticket ticket;
    struct fetch *fetch;              /* NULL once it is over */
    struct buf headers, body, detail; /* owned; the answer */
    int error, status;
    bool unsent, farewell;
    const struct cluster *cluster;    /* outlives us; it goes to the leader: ends when that is lost; or NULL */
    unsigned lost;                    /* cluster_leader_losses when it began */
};

static void on_fetched(void *arg, struct fetch_result *r)
{
    struct fetching *f = arg;
    f->fetch = NULL;
    f->error = r->error;
    f->status = r->status;
    f->unsent = r->unsent;
    buf_move(&f->headers, &r->headers);
    buf_move(&f->body, &r->body);
    if (r->detail != NULL)
        buf_add_slice(&f->detail, slice_from(r->detail));
    task_wake(f->tasks, f->ticket, 0);
}

static int close_fetch(lua_State *L)
{
    struct fetching *f = lua_touserdata(L, 1);
    if (f->fetch != NULL)
        fetch_cancel(f->fetch);
    f->fetch = NULL;
    buf_fini(&f->headers);
    buf_fini(&f->body);
    buf_fini(&f->detail);
    return 0;
}

/* ---- the request ---- */

struct wish {
    slice url, method, body, ca, cert, key;
    double timeout;
    uint64_t redirects, max;
    int headers, fresh, farewell, leader;   /* on the stack, 0: none */
    const char *lines[HEADERS_MAX + 1];
};

/* Lines "Name: value", which stay on the stack. */
static void take_headers(lua_State *L, struct wish *w)
{
    int n = 0;
    if (w->headers == 0)
        return;
    luaL_checkstack(L, HEADERS_MAX + 8, USAGE);
    for (lua_pushnil(L); lua_next(L, w->headers);) {
        slice name = arg_text(L, -2, "the name of a header", USAGE);
        slice value = arg_text(L, -1, "the value of a header", USAGE);
        if (n == HEADERS_MAX)
            arg_fail(L, USAGE, "more than %d headers", HEADERS_MAX);
        if (!http_header_ok(name, value))
            arg_fail(L, USAGE, "the header %s cannot be sent", name.p);
        lua_pushfstring(L, "%s: %s", name.p, value.p);
        w->lines[n++] = lua_tostring(L, -1);
        lua_insert(L, -3);
        lua_pop(L, 1);
    }
}

static void check_wish(lua_State *L, struct wish *w)
{
    const struct arg_field fields[] = {
        {"url", ARG_TEXT, &w->url},           {"method", ARG_TEXT, &w->method},      {"body", ARG_TEXT, &w->body},
        {"timeout", ARG_SECONDS, &w->timeout}, {"redirects", ARG_WHOLE, &w->redirects}, {"max", ARG_WHOLE, &w->max},
        {"headers", ARG_TABLE, &w->headers},  {"ca", ARG_TEXT, &w->ca},              {"cert", ARG_TEXT, &w->cert},
        {"key", ARG_TEXT, &w->key},           {"fresh", ARG_ANY, &w->fresh},
        {"farewell", ARG_ANY, &w->farewell},  {"leader", ARG_ANY, &w->leader}, {NULL, ARG_END, NULL}};
    lua_settop(L, 1);
    luaL_checktype(L, 1, LUA_TTABLE);
    arg_fields(L, 1, fields, USAGE);
    if (w->url.p == NULL)
        arg_fail(L, USAGE, "url is missing");
    take_headers(L, w);
}

static bool is_set(lua_State *L, int index)
{
    return index != 0 && lua_toboolean(L, index);
}

static struct fetch_options options_of(lua_State *L, const struct wish *w)
{
    return (struct fetch_options){
        .url = w->url.p,
        .method = w->method.p,
        .body = w->body,
        .headers = w->headers == 0 ? NULL : w->lines,
        .timeout_ms = w->timeout > 0 ? seconds_to_ms(w->timeout) : 0,
        .body_max = (size_t)(w->max < FETCH_BODY_MAX ? w->max : FETCH_BODY_MAX),
        .redirects = (unsigned)(w->redirects < 16 ? w->redirects : 16),
        .ca_file = w->ca.p,
        .cert_file = w->cert.p,
        .key_file = w->key.p,
        .fresh = is_set(L, w->fresh),
    };
}

/* ---- the answer ---- */

static void push_answer_headers(lua_State *L, const struct fetching *f)
{
    slice rest = buf_slice(&f->headers);
    slice line;
    lua_newtable(L);
    while (slice_split(&rest, '\n', &line)) {
        const char *colon = line.n == 0 ? NULL : memchr(line.p, ':', line.n);
        if (colon == NULL)
            continue;
        slice value = slice_trim(slice_skip(line, (size_t)(colon - line.p) + 1));
        lua_pushlstring(L, line.p, (size_t)(colon - line.p));
        lua_pushvalue(L, -1);
        if (lua_rawget(L, -3) == LUA_TNIL) {
            lua_pop(L, 1);
            lua_pushlstring(L, value.p, value.n);
        } else {
            lua_pushliteral(L, ", ");
            lua_pushlstring(L, value.p, value.n);
            lua_concat(L, 3);
        }
        lua_rawset(L, -3);
    }
}

static void push_answer(lua_State *L, const struct fetching *f)
{
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, f->status);
    lua_setfield(L, -2, "status");
    lua_pushlstring(L, f->body.data == NULL ? "" : f->body.data + f->body.at, buf_size(&f->body));
    lua_setfield(L, -2, "body");
    push_answer_headers(L, f);
    lua_setfield(L, -2, "headers");
}

static int fetch_done(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    const struct fetching *f = lua_touserdata(L, (int)context);
    int rc = (int)lua_tointeger(L, -1);
    if (rc == 0)
        rc = f->error;
    if (rc == 0) {
        push_answer(L, f);
        return 1;
    }
    if (buf_size(&f->detail) == 0)
        return push_fail(L, rc);
    int values = push_fail_because(L, rc, "%.*s", (int)buf_size(&f->detail), f->detail.data + f->detail.at);
    if (!f->unsent)
        return values;
    lua_pushboolean(L, true);
    return values + 1;
}

static int fetch_wait(lua_State *L, struct task *self, struct fetching *f, int index);

/* The cluster has changed, or one of the other things that end the wait has come. */
static int fetch_woken(lua_State *L, int status, lua_KContext context)
{
    struct fetching *f = lua_touserdata(L, (int)context);
    if (lua_tointeger(L, -1) < 0 || f->fetch == NULL)
        return fetch_done(L, status, context);
    if (cluster_leader_losses(f->cluster) == f->lost) {
        lua_pop(L, 1);
        return fetch_wait(L, task_self(L), f, (int)context);
    }
    f->unsent = fetch_unsent(f->fetch);
    fetch_cancel(f->fetch);
    f->fetch = NULL;
    f->error = -ERR_FETCH;
    buf_add_slice(&f->detail, SLICE("it is silent, or leads no longer"));
    return fetch_done(L, status, context);
}

static int fetch_wait(lua_State *L, struct task *self, struct fetching *f, int index)
{
    f->ticket = task_ticket(self);
    if (!f->farewell)
        task_may_stop(self);
    if (f->cluster == NULL)
        return task_park(L, self, 0, index, fetch_done);
    struct mark *changes = cluster_changes(vm_services(L)->cluster);
    return task_park_on(L, self, changes, changes->at + 1, 0, index, fetch_woken);
}

/* fetch(request) -> {status, headers, body} | nil, message, code [, unsent].  Waits for the answer. A farewell is what
 * a node that is shutting down has yet to say: that does not end it. */
static int l_fetch(lua_State *L)
{
    struct wish w = {.max = FETCH_BODY_MAX};
    check_wish(L, &w);
    struct task *self = task_self(L);
    struct fetcher *fetcher = vm_services(L)->fetcher;
    struct fetch_options o = options_of(L, &w);
    o.guest = task_is_guest(self);
    struct fetching *f = object_new(L, KIND_FETCH, sizeof(*f), 0);
    int index = lua_gettop(L);
    lua_toclose(L, index);
    f->tasks = vm_tasks(vm_of(L));
    f->farewell = is_set(L, w.farewell);
    f->cluster = is_set(L, w.leader) ? vm_services(L)->cluster : NULL;
    f->lost = f->cluster == NULL ? 0 : cluster_leader_losses(f->cluster);
    int rc = fetch_start(fetcher, &o, on_fetched, f, &f->fetch);
    if (rc < 0)
        return push_fail(L, rc);
    return fetch_wait(L, self, f, index);
}

void fetch_open(lua_State *L)
{
    static const luaL_Reg meta[] = {{"__gc", close_fetch}, {"__close", close_fetch}, {NULL, NULL}};
    kind_open(L, &(struct kind_options){KIND_FETCH, meta, NULL, NULL, NULL});
    lua_pop(L, 1);
    lua_pushcfunction(L, l_fetch);
    lua_setfield(L, -2, "fetch");
}
