#include "script/http/judge.h"

#include <lauxlib.h>

#include "base/base64.h"
#include "base/clock.h"
#include "base/err.h"
#include "script/bind/arg.h"
#include "script/bind/result.h"
#include "script/http/request.h"
#include "script/vm/task.h"

#define JUDGE "core.access.judge(req, action, topic, all, asks)"
#define SEES "core.access.sees(name, topic)"

enum { REQUEST = 1, ACTION, TOPIC, ALL, ASKS };

enum { CREDENTIALS_MAX = 1 * KIB };      /* no secret is as long */

/* ---- what a request shows ---- */

/* The rest of `text` after a scheme, which is compared without case. n == 0: it has another one. */
static slice after_scheme(slice text, slice scheme)
{
    if (text.n <= scheme.n || text.p[scheme.n] != ' ' || !slice_ieq(slice_of(text.p, scheme.n), scheme))
        return SLICE("");
    return slice_trim(slice_skip(text, scheme.n));
}

static const struct access_token *of_basic(const struct access *a, slice encoded)
{
    struct buf text = {0};
    slice name, rest;
    const struct access_token *t = NULL;
    if (encoded.n <= CREDENTIALS_MAX && base64_decode(&text, encoded) == 0) {
        rest = buf_slice(&text);
        t = slice_split(&rest, ':', &name) ? access_find(a, rest) : NULL;
        if (t != NULL && !slice_eq(name, slice_from(t->name)))
            t = NULL;
    }
    if (text.data != NULL)
        explicit_bzero(text.data, text.cap);
    buf_fini(&text);
    return t;
}

/* The value of access_token in a query, which secrets have no need to escape. */
static slice in_query(slice query)
{
    slice pair;
    while (slice_split(&query, '&', &pair))
        if (slice_starts(pair, SLICE("access_token=")))
            return slice_skip(pair, sizeof("access_token=") - 1);
    return SLICE("");
}

static slice header_of(const struct http_request *r, slice name)
{
    size_t at = http_head_next(&r->head, name, 0);
    return at < r->head.header_count ? r->head.headers[at].value : SLICE("");
}

void judge_shown(const struct services *s, const struct http_request *r, struct shown *out)
{
    slice authorization = header_of(r, SLICE("Authorization"));
    slice bearer = after_scheme(authorization, SLICE("Bearer")), basic = after_scheme(authorization, SLICE("Basic"));
    bool stream = slice_starts(header_of(r, SLICE("Accept")), SLICE("text/event-stream"));
    if (authorization.n == 0 && stream)
        bearer = in_query(r->head.query);
    *out = (struct shown){.any = authorization.n > 0 || bearer.n > 0};
    if (bearer.n > 0 && bearer.n <= CREDENTIALS_MAX)
        out->token = access_find(s->access, bearer);
    else if (basic.n > 0)
        out->token = of_basic(s->access, basic);
    out->ours = out->token != NULL || access_is_secret(bearer);
}

bool judge_is_stale(const struct services *s)
{
    uint64_t most = access_stale_ms(s->access);
    int64_t stale = s->cluster == NULL || most == 0 ? -1 : cluster_staleness_ms(s->cluster);
    return stale >= 0 && (uint64_t)stale > most;
}

/* ---- the judgement ---- */

static bool is_judged(const struct services *s, const struct http_request *r)
{
    if (access_guarded(s->access) || access_count(s->access) == 0)
        return access_guarded(s->access);
    return http_head_has(&r->head, NAME_AUTHORIZATION) || in_query(r->head.query).n > 0;
}

bool judge_asks(const struct services *s, const struct http_request *r)
{
    return quotas_limit(s->quotas) || is_judged(s, r);
}

int judge_guards(lua_State *L, const struct http_request *r)
{
    const struct services *s = vm_services(L);
    lua_pushboolean(L, is_judged(s, r));
    lua_pushboolean(L, quotas_limit(s->quotas));
    return 2;
}

#define WRONG "these credentials are not those of a token in force: it was revoked, has expired, or never was"
#define HOW "; send Authorization: Bearer SECRET. `lignum token add` on a node, or POST /v1/tokens, makes a token"
#define STALE "this node has heard no leader for longer than access.stale, and does not know which tokens are revoked"

/* For a request without a token: 0, or why it is refused. `asks`: authorize decides on what is no token of ours. */
static int judge_stranger(const struct services *s, const struct shown *shown, bool asks, slice *why)
{
    bool guarded = access_guarded(s->access);
    if (asks ? !shown->ours : !guarded)
        return 0;
    if (shown->any && judge_is_stale(s)) {
        *why = SLICE(STALE);
        return -ERR_UNAVAILABLE;
    }
    *why = shown->any ? SLICE(WRONG HOW) : SLICE("a token is needed here" HOW);
    return -ERR_UNAUTHORIZED;
}

void judge_head(const struct services *s, const struct http_request *r, bool asks, struct http_refusal *out)
{
    struct shown shown;
    if (!asks && !access_guarded(s->access))
        return;
    judge_shown(s, r, &shown);
    if (shown.token != NULL)
        return;
    out->error = judge_stranger(s, &shown, asks, &out->detail);
    if (out->error == -ERR_UNAUTHORIZED)
        out->headers = SLICE(ASK_FOR_BEARER);
}

static int push_forbidden(lua_State *L, const struct access_token *t, slice action, slice topic, bool all)
{
    struct buf *may = vm_scratch(vm_of(L));
    access_actions_write(may, t->may);
    return push_fail_because(L, -ERR_FORBIDDEN, "the token %s may not %.*s%s%.*s: it may %.*s on %s; a token that may "
                             "is made by `lignum token add`, or by POST /v1/tokens with a token that may admin *",
                             t->name, SLICE_ARGS(action), topic.p != NULL ? " on " : all ? " on *" : "",
                             SLICE_ARGS(topic), SLICE_ARGS(buf_slice(may)), t->topics);
}

/* -> name of the token | nil | nil, message, code.  action nil: there is no such path. asks: authorize decides on those
 * who show no token. */
int l_access_judge(lua_State *L)
{
    const struct services *s = vm_services(L);
    const struct http_request *r = request_check(L, REQUEST, JUDGE);
    struct shown shown;
    slice why = SLICE(""), topic = {0};
    lua_settop(L, ASKS);
    judge_shown(s, r, &shown);
    if (shown.token == NULL) {
        int rc = judge_stranger(s, &shown, lua_toboolean(L, ASKS), &why);
        if (rc < 0)
            return push_fail_because(L, rc, "%.*s", SLICE_ARGS(why));
        lua_pushnil(L);
        return 1;
    }
    if (access_guarded(s->access) && !shown.token->declared && judge_is_stale(s))
        return push_fail_because(L, -ERR_UNAVAILABLE, STALE);
    bool all = lua_toboolean(L, ALL);
    if (!lua_isnil(L, TOPIC))
        topic = arg_text(L, TOPIC, "topic", JUDGE);
    if (!lua_isnil(L, ACTION)) {
        slice action = arg_text(L, ACTION, "action", JUDGE);
        unsigned what = access_action_parse(action);
        if (what != 0 && !access_may(shown.token, (enum access_action)what, topic, all))
            return push_forbidden(L, shown.token, action, topic, all);
    }
    lua_pushstring(L, shown.token->name);
    return 1;
}

/* -> whether a list that this token asks for shows the topic */
int l_access_sees(lua_State *L)
{
    const struct access_token *t = access_named(vm_services(L)->access, arg_text(L, 1, "name", SEES));
    lua_pushboolean(L, t != NULL && access_covers(t, arg_text(L, 2, "topic", SEES)));
    return 1;
}

/* ---- limits for one client ---- */

static struct quota_ref client_of(const struct services *s, const struct http_request *r)
{
    struct shown shown;
    judge_shown(s, r, &shown);
    return shown.token != NULL ? quota_client(s->quotas, QUOTA_TOKEN, slice_from(shown.token->name), clock_ns())
                               : quota_client(s->quotas, QUOTA_ADDRESS, http_address(r), clock_ns());
}

/* -> nothing | nil, message, code, seconds.  Counts the request as its client's. */
int l_access_admit(lua_State *L)
{
    static const char *const names[] = {"requests", "bytes"};
    const struct services *s = vm_services(L);
    struct http_request *r = request_check(L, REQUEST, "core.access.admit(req)");
    struct quota_ref client = client_of(s, r);
    enum quota_limit limit;
    uint64_t after_ns;
    size_t bytes = http_bill(r, client);
    task_bill(task_self(L), s->quotas, client);
    if (quota_request(s->quotas, client, bytes, clock_ns(), &limit, &after_ns) == 0)
        return 0;
    int results = push_fail_because(L, -ERR_TOO_MANY, "this client is over limits.client.%s of lignum.lua, which "
                                    "counts by token, or by address without one", names[limit]);
    lua_pushinteger(L, (lua_Integer)(after_ns / NS_PER_S + 1));
    return results + 1;
}

/* -> seconds until the bytes that the request's client has been sent are within its limit; 0: they are */
int l_access_owes(lua_State *L)
{
    const struct services *s = vm_services(L);
    struct http_request *r = request_check(L, REQUEST, "core.access.owes(req)");
    struct quota_ref client = client_of(s, r);
    lua_pushnumber(L, (double)quota_overdrawn_ns(s->quotas, client, clock_ns()) / (double)NS_PER_S);
    return 1;
}

/* ---- the log of requests ---- */

/* What it says of a request: the user, or else the token that it shows, which may be refused; and the topic, or nil. */
int l_access_log(lua_State *L)
{
    struct http_request *r = request_check(L, REQUEST, "core.access.log(req, user, topic)");
    struct shown shown = {0};
    slice user = {0}, topic = {0};
    user.p = lua_tolstring(L, 2, &user.n);
    topic.p = lua_tolstring(L, 3, &topic.n);
    if (user.p == NULL)
        judge_shown(vm_services(L), r, &shown);
    http_note(r, shown.token == NULL ? user : slice_from(shown.token->name), topic);
    return 0;
}
