/*
 * lignum.system: start, next and cancel, HTTP requests of the command line.
 *
 * A transfer is running from `start` until `next` has returned its "done" or "failed", or `cancel`. What has arrived of
 * a streamed body waits in the transfer, and libcurl goes on only while nothing waits, so memory is bounded by what it
 * takes from the sockets in one go.
 */
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/mem.h"
#include "net/fetch_request.h"
#include "script/client/tables.h"

#define START "start{url =, method =, headers =, body =, timeout =, ca =, cert =, key =, stream =, fresh =}"

enum {
    BODY_MAX = 64 * MIB,             /* of an answer that is not streamed: the largest list of topics */
    TRANSFERS_MAX = 1024,            /* at once: connections of a bench */
    HEADERS_MAX = 64,
    POLL_MS = 250,                   /* a signal that another thread takes is noticed within this time */
    CONNECT_MS = 10 * 1000,
};

struct transfers {
    CURLM *multi;                    /* owned; NULL until the first one */
    struct list all;                 /* of struct transfer; the first one is reported first */
    unsigned count;
    lua_Integer last;                /* id */
};

struct transfer {
    struct list link;
    struct transfers *owner;         /* outlives us */
    struct fetch_request request;
    lua_Integer id;
    bool stream, over, oversized;
    CURLcode code;                   /* once it is over */
    struct buf body;                 /* of a streamed one: what `next` has not returned yet */
    char detail[CURL_ERROR_SIZE];
};

static const char transfers_key[] = "lignum.transfers";   /* in the registry: the userdata */

static struct transfers *transfers_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

static void transfer_free(struct transfer *t)
{
    if (t->request.easy != NULL) {
        curl.multi_remove_handle(t->owner->multi, t->request.easy);
        fetch_request_fini(&t->request);
    }
    list_remove(&t->link);
    t->owner->count--;
    buf_fini(&t->body);
    mem_free(t);
}

static int transfers_free(lua_State *L)
{
    struct transfers *all = lua_touserdata(L, 1);
    LIST_EACH(node, &all->all)
        transfer_free(LIST_OWNER(node, struct transfer, link));
    if (all->multi != NULL)
        curl.multi_cleanup(all->multi);
    all->multi = NULL;
    return 0;
}

/* ---- start ---- */

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;
    n *= size;
    if (!t->stream && n > BODY_MAX - buf_size(&t->body)) {
        t->oversized = true;
        return 0;
    }
    buf_add(&t->body, data, n);
    return n;
}

/* The text at `name` of the table at 1, which keeps it; NULL: not there. */
static const char *text_of(lua_State *L, const char *name, size_t *n)
{
    lua_getfield(L, 1, name);
    const char *text = lua_tolstring(L, -1, n);
    lua_pop(L, 1);
    return text;
}

static bool flag_of(lua_State *L, const char *name)
{
    lua_getfield(L, 1, name);
    bool set = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return set;
}

static uint32_t ms_of(lua_State *L, const char *name)
{
    lua_getfield(L, 1, name);
    double s = lua_tonumber(L, -1);
    lua_pop(L, 1);
    return s <= 0 ? 0 : s > 4e6 ? (uint32_t)4e9 : (uint32_t)(s * 1000.0);
}

static void headers_of(lua_State *L, const char **lines)
{
    unsigned n = 0;
    if (lua_getfield(L, 1, "headers") == LUA_TTABLE)
        for (; n < HEADERS_MAX && lua_rawgeti(L, -1, (lua_Integer)n + 1) != LUA_TNIL; n++) {
            lines[n] = lua_tostring(L, -1);
            lua_pop(L, 1);
        }
    lines[n] = NULL;
    lua_settop(L, 1);
}

static int fail(lua_State *L, const char *why, const char *code)
{
    lua_pushnil(L);
    lua_pushstring(L, why);
    lua_pushstring(L, code);
    return 3;
}

/* start(options) -> id | nil, why, code.  `headers` is a list of "Name: value"; `stream`: the body comes in parts. */
static int l_start(lua_State *L)
{
    struct transfers *all = transfers_of(L);
    const char *lines[HEADERS_MAX + 1];
    struct fetch_options o = {.headers = lines, .fresh = false};
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    headers_of(L, lines);
    o.url = text_of(L, "url", NULL);
    luaL_argcheck(L, o.url != NULL, 1, START);
    o.method = text_of(L, "method", NULL);
    o.body.p = text_of(L, "body", &o.body.n);
    o.body.n = o.body.p == NULL ? 0 : o.body.n;
    o.ca_file = text_of(L, "ca", NULL);
    o.cert_file = text_of(L, "cert", NULL);
    o.key_file = text_of(L, "key", NULL);
    o.fresh = flag_of(L, "fresh");
    uint32_t timeout_ms = ms_of(L, "timeout"), idle_ms = ms_of(L, "idle");
    const char *why = libcurl_load();
    if (why != NULL)
        return fail(L, why, "no_libcurl");
    if (all->multi == NULL)
        all->multi = curl.multi_init();
    if (!fetch_request_ok(&o))
        return fail(L, "the URL, the method or a header cannot be used", "bad_value");
    if (all->multi == NULL || all->count >= TRANSFERS_MAX)
        return fail(L, "too many requests at once", "busy");
    struct transfer *t = MEM_NEW(struct transfer);
    t->owner = all;
    t->id = ++all->last;
    t->stream = flag_of(L, "stream");
    all->count++;
    list_push(&all->all, &t->link);
    fetch_request_set(&t->request, &o);
    fetch_option(&t->request, CURLOPT_PRIVATE, t);
    fetch_option(&t->request, CURLOPT_ERRORBUFFER, t->detail);
    fetch_option(&t->request, CURLOPT_WRITEDATA, t);
    curl.easy_setopt(t->request.easy, CURLOPT_WRITEFUNCTION, on_body);
    curl.easy_setopt(t->request.easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms);   /* 0: none */
    curl.easy_setopt(t->request.easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    if (idle_ms > 0) {
        curl.easy_setopt(t->request.easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl.easy_setopt(t->request.easy, CURLOPT_LOW_SPEED_TIME, (long)(idle_ms / 1000));
    }
    if (t->request.rc != CURLE_OK || curl.multi_add_handle(all->multi, t->request.easy) != CURLM_OK) {
        transfer_free(t);
        return fail(L, "libcurl refuses the request", "bad_value");
    }
    lua_pushinteger(L, t->id);
    return 1;
}

/* cancel(id) */
static int l_cancel(lua_State *L)
{
    struct transfers *all = transfers_of(L);
    lua_Integer id = luaL_checkinteger(L, 1);
    LIST_EACH(node, &all->all) {
        struct transfer *t = LIST_OWNER(node, struct transfer, link);
        if (t->id == id)
            transfer_free(t);
    }
    return 0;
}

/* ---- next ---- */

static long status_of(const struct transfer *t)
{
    long status = 0;
    curl.easy_getinfo(t->request.easy, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

/* Names in lower case; the last of several values wins. */
static void push_headers(lua_State *L, const struct transfer *t)
{
    char name[128];
    struct curl_header *h = NULL;
    lua_newtable(L);
    while ((h = curl.easy_nextheader(t->request.easy, CURLH_HEADER, -1, h)) != NULL) {
        size_t n = 0;
        for (; h->name[n] != '\0' && n < sizeof(name); n++)
            name[n] = (char)(h->name[n] >= 'A' && h->name[n] <= 'Z' ? h->name[n] | 0x20 : h->name[n]);
        lua_pushlstring(L, name, n);
        lua_pushlstring(L, h->value, strcspn(h->value, "\r"));
        lua_rawset(L, -3);
    }
}

static const char *code_of(const struct transfer *t)
{
    curl_off_t connected = 0;
    curl.easy_getinfo(t->request.easy, CURLINFO_CONNECT_TIME_T, &connected);
    switch (t->code) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CONNECT_ERROR:
        return "tls";
    default:
        return t->oversized ? "too_large" : connected == 0 ? "unreachable" :
               t->code == CURLE_OPERATION_TIMEDOUT ? "timeout" : "broken";
    }
}

/* id, "data", bytes, status */
static int report_data(lua_State *L, struct transfer *t)
{
    lua_pushinteger(L, t->id);
    lua_pushliteral(L, "data");
    lua_pushlstring(L, t->body.data + t->body.at, buf_size(&t->body));
    lua_pushinteger(L, status_of(t));
    buf_clear(&t->body);
    list_remove(&t->link);           /* the others come first now */
    list_push(&t->owner->all, &t->link);
    return 4;
}

/* id, "done", {status =, headers =, body =, seconds =} or id, "failed", why, code */
static int report_end(lua_State *L, struct transfer *t)
{
    curl_off_t us = 0;
    lua_pushinteger(L, t->id);
    if (t->code != CURLE_OK) {
        lua_pushliteral(L, "failed");
        lua_pushstring(L, t->detail[0] != '\0' ? t->detail : curl.easy_strerror(t->code));
        lua_pushstring(L, code_of(t));
        transfer_free(t);
        return 4;
    }
    lua_pushliteral(L, "done");
    lua_createtable(L, 0, 4);
    lua_pushinteger(L, status_of(t));
    lua_setfield(L, -2, "status");
    push_headers(L, t);
    lua_setfield(L, -2, "headers");
    lua_pushlstring(L, t->body.data + t->body.at, buf_size(&t->body));
    lua_setfield(L, -2, "body");
    curl.easy_getinfo(t->request.easy, CURLINFO_TOTAL_TIME_T, &us);
    lua_pushnumber(L, (double)us / 1e6);
    lua_setfield(L, -2, "seconds");
    transfer_free(t);
    return 3;
}

static int report(lua_State *L, struct transfers *all)
{
    LIST_EACH(node, &all->all) {
        struct transfer *t = LIST_OWNER(node, struct transfer, link);
        if (t->stream && buf_size(&t->body) > 0)
            return report_data(L, t);
        if (t->over)
            return report_end(L, t);
    }
    return 0;
}

static void note_ended(struct transfers *all)
{
    int left;
    for (CURLMsg *m; (m = curl.multi_info_read(all->multi, &left)) != NULL;) {
        struct transfer *t;
        curl.easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&t);
        t->over = true;
        t->code = m->data.result;
    }
}

/* next([seconds [, shielded]]) -> id, what, ... | nothing when the time is over | nil, why, "interrupted" after Ctrl-C.
 * Without `seconds` it waits for ever; a shielded one goes on after Ctrl-C. */
static int l_next(lua_State *L)
{
    struct transfers *all = transfers_of(L);
    double seconds = luaL_optnumber(L, 1, 1e9);
    uint64_t end = clock_ns() + (uint64_t)((seconds < 1e9 ? seconds > 0 ? seconds : 0 : 1e9) * (double)NS_PER_S);
    bool shielded = lua_toboolean(L, 2);
    int running;
    for (;;) {
        int results = report(L, all);
        if (results > 0)
            return results;
        if (!shielded && interrupts_pending())
            return fail(L, "interrupted", "interrupted");
        if (all->multi == NULL)
            return 0;
        curl.multi_perform(all->multi, &running);
        note_ended(all);
        results = report(L, all);
        uint64_t now = clock_ns();
        if (results > 0 || now >= end)
            return results;
        uint64_t ms = (end - now) / NS_PER_MS + 1;
        curl.multi_poll(all->multi, NULL, 0, ms < POLL_MS ? (int)ms : POLL_MS, NULL);
    }
}

void transfer_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"start", l_start}, {"next", l_next}, {"cancel", l_cancel}, {NULL, NULL}};
    struct transfers *all = lua_newuserdatauv(L, sizeof(*all), 0);
    memset(all, 0, sizeof(*all));
    list_init(&all->all);
    if (luaL_newmetatable(L, transfers_key)) {
        lua_pushcfunction(L, transfers_free);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    luaL_setfuncs(L, functions, 1);
}
