/*
 * fetch {url = ...}: an HTTP request to another server, for which the task waits.
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
    "fetch {url=, method=, headers=, body=, timeout=, redirects=, max=, to=, connect=, ca=, cert=, key=, fresh=, " \
    "farewell=, leader=}"

enum { HEADERS_MAX = 64 };

/*
 * One call of fetch: a Lua object on the stack of the waiting call, closed with it, so that the request of a cancelled
 * task ends at once.
 *
 * States:
 *     on the way   fetch != NULL             on_fetched -> over; fetch_woken, when the leader is lost -> over
 *     over         fetch == NULL             error, status, headers, body, detail tell how it ended
 *     closed       buffers freed             close_fetch, from any state
 */
struct fetching {
    struct tasks *tasks;              /* outlives us */
    struct task_ticket ticket;        /* the wait of the call */
    struct fetch *fetch;
    struct buf headers, body, detail; /* owned; detail: why it failed */
    int error, status;
    bool unsent;                      /* it failed before the request was sent */
    bool farewell;                    /* goes on while the broker stops */
    const struct cluster *cluster;    /* outlives us; NULL unless the request goes to the leader and ends with it */
    unsigned losses;                  /* cluster_leader_losses when it began */
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

struct fetch_args {
    slice url, method, body, ca, cert, key;
    double timeout;
    uint64_t redirects, max;
    int headers, fresh, farewell, leader, to, connect;   /* where on the stack they are; 0: absent */
    const char *lines[HEADERS_MAX + 1];
    struct networks networks;
};

/* Makes the lines "Name: value", which stay on the stack. */
static void take_headers(lua_State *L, struct fetch_args *a)
{
    int n = 0;
    if (a->headers == 0)
        return;
    luaL_checkstack(L, HEADERS_MAX + 8, USAGE);
    for (lua_pushnil(L); lua_next(L, a->headers);) {
        slice name = arg_text(L, -2, "the name of a header", USAGE);
        slice value = arg_text(L, -1, "the value of a header", USAGE);
        if (n == HEADERS_MAX)
            arg_fail(L, USAGE, "more than %d headers", HEADERS_MAX);
        if (!http_header_ok(name, value))
            arg_fail(L, USAGE, "the header %s cannot be sent", name.p);
        lua_pushfstring(L, "%s: %s", name.p, value.p);
        a->lines[n++] = lua_tostring(L, -1);
        lua_insert(L, -3);
        lua_pop(L, 1);
    }
}

static bool is_set(lua_State *L, int index)
{
    return index != 0 && lua_toboolean(L, index);
}

static void take_networks(lua_State *L, struct fetch_args *a)
{
    if (a->to == 0)
        return;
    lua_Unsigned n = lua_rawlen(L, a->to);
    if (n == 0 || n > NETWORKS_MAX)
        arg_fail(L, USAGE, "to must be a list of 1 to %d networks", NETWORKS_MAX);
    for (lua_Unsigned i = 1; i <= n; i++) {
        lua_rawgeti(L, a->to, (lua_Integer)i);
        slice text = arg_text(L, -1, "a network in to", USAGE);
        if (networks_add(&a->networks, text) < 0)
            arg_fail(L, USAGE, "to: %s is neither \"public\" nor a network such as 10.0.0.0/8", text.p);
        lua_pop(L, 1);
    }
    if (a->redirects > 0)
        arg_fail(L, USAGE, "redirects and to exclude each other");
}

static void check_args(lua_State *L, struct fetch_args *a)
{
    const struct arg_field fields[] = {
        {"url", ARG_TEXT, &a->url}, {"method", ARG_TEXT, &a->method}, {"body", ARG_TEXT, &a->body},
        {"headers", ARG_TABLE, &a->headers}, {"timeout", ARG_SECONDS, &a->timeout}, {"max", ARG_WHOLE, &a->max},
        {"redirects", ARG_WHOLE, &a->redirects}, {"ca", ARG_TEXT, &a->ca}, {"cert", ARG_TEXT, &a->cert},
        {"key", ARG_TEXT, &a->key}, {"fresh", ARG_ANY, &a->fresh}, {"farewell", ARG_ANY, &a->farewell},
        {"leader", ARG_ANY, &a->leader}, {"to", ARG_TABLE, &a->to}, {"connect", ARG_ANY, &a->connect},
        {NULL, ARG_END, NULL}};
    lua_settop(L, 1);
    luaL_checktype(L, 1, LUA_TTABLE);
    arg_fields(L, 1, fields, USAGE);
    if (a->url.p == NULL)
        arg_fail(L, USAGE, "url is missing");
    if (a->connect != 0 && a->to == 0)
        arg_fail(L, USAGE, "connect is for a fetch with to");
    take_headers(L, a);
    take_networks(L, a);
}

static struct fetch_options options_of(lua_State *L, const struct fetch_args *a)
{
    return (struct fetch_options){
        .url = a->url.p,
        .method = a->method.p,
        .body = a->body,
        .headers = a->headers == 0 ? NULL : a->lines,
        .timeout_ms = a->timeout > 0 ? seconds_to_ms(a->timeout) : 0,
        .body_max = (size_t)(a->max < FETCH_BODY_MAX ? a->max : FETCH_BODY_MAX),
        .redirects = (unsigned)(a->redirects < 16 ? a->redirects : 16),
        .ca_file = a->ca.p,
        .cert_file = a->cert.p,
        .key_file = a->key.p,
        .fresh = is_set(L, a->fresh),
        .to = a->to == 0 ? NULL : &a->networks,
        .dry = a->connect != 0 && !lua_toboolean(L, a->connect),
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
    struct fetching *f = lua_touserdata(L, (int)context);
    int rc = (int)lua_tointeger(L, -1);
    if (rc == 0)
        rc = f->error;
    if (rc == 0) {
        push_answer(L, f);
        buf_fini(&f->body);            /* the script has a copy, which counts as its memory */
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

/* The continuation of a request to the leader: woken by its end, like fetch_done, or by a change of the cluster. */
static int fetch_woken(lua_State *L, int status, lua_KContext context)
{
    struct fetching *f = lua_touserdata(L, (int)context);
    if (lua_tointeger(L, -1) < 0 || f->fetch == NULL)
        return fetch_done(L, status, context);
    if (cluster_leader_losses(f->cluster) == f->losses) {
        lua_pop(L, 1);
        return fetch_wait(L, task_self(L), f, (int)context);
    }
    f->unsent = fetch_unsent(f->fetch);
    fetch_cancel(f->fetch);
    f->fetch = NULL;
    f->error = -ERR_FETCH;
    buf_add_slice(&f->detail, SLICE("the leader is silent, or no longer leads"));
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

/* fetch(request) -> {status, headers, body} | nil, message, code [, unsent].  Waits for the answer. A farewell is a
 * request that a node still sends while it shuts down. */
static int l_fetch(lua_State *L)
{
    struct fetch_args a = {.max = FETCH_BODY_MAX};
    check_args(L, &a);
    struct task *self = task_self(L);
    struct fetcher *fetcher = vm_services(L)->fetcher;
    struct fetch_options o = options_of(L, &a);
    o.guest = task_is_guest(self);
    struct fetching *f = object_new(L, KIND_FETCH, sizeof(*f), 0);
    int index = lua_gettop(L);
    lua_toclose(L, index);
    f->tasks = vm_tasks(vm_of(L));
    f->farewell = is_set(L, a.farewell);
    f->cluster = is_set(L, a.leader) ? vm_services(L)->cluster : NULL;
    f->losses = f->cluster == NULL ? 0 : cluster_leader_losses(f->cluster);
    int rc = fetch_start(fetcher, &o, on_fetched, f, &f->fetch);
    if (rc < 0)
        return push_fail(L, rc);
    return fetch_wait(L, self, f, index);
}

/* core.is_network(text) -> boolean */
static int l_is_network(lua_State *L)
{
    struct networks n = {0};
    lua_pushboolean(L, networks_add(&n, arg_text(L, 1, "text", "core.is_network(text)")) == 0);
    return 1;
}

void fetch_open(lua_State *L)
{
    static const luaL_Reg meta[] = {{"__gc", close_fetch}, {"__close", close_fetch}, {NULL, NULL}};
    kind_open(L, &(struct kind_options){KIND_FETCH, meta, NULL, NULL, NULL});
    lua_pop(L, 1);
    lua_pushcfunction(L, l_fetch);
    lua_setfield(L, -2, "fetch");
    lua_pushcfunction(L, l_is_network);
    lua_setfield(L, -2, "is_network");
}
