/*
 * req:publish, the way of most messages: a request that the core understands is appended in one call, without a Lua
 * table of its message.
 *
 * With an on_publish hook the message is shown to the hook as a table (bind/lazy_message.h). If the hook leaves it as
 * it is, the request is appended directly all the same; otherwise Lua appends what the hook has made of it.
 */
#include <lauxlib.h>

#include "base/err.h"
#include "base/limits.h"
#include "script/bind/arg.h"
#include "script/bind/lazy_message.h"
#include "script/bind/result.h"
#include "script/http/envelopes.h"
#include "script/http/request.h"
#include "script/message/request_body.h"
#include "script/topic/append.h"
#include "script/topic/receipt.h"
#include "script/topic/tables.h"
#include "script/topic/topic_handle.h"
#include "script/vm/task.h"

#define PUBLISH "req:publish([topic [, hook [, payload]]])"

/* The stack: the arguments; with a hook also the payload that it sees, the message, and what the hook returned. While
 * the append waits, TOPIC is a reference (ref_set). */
enum { REQUEST = 1, TOPIC, HOOK, GIVEN, BODY, MESSAGE, REFUSAL };

/* Upvalues: the names of a message's fields, which spares each publish their lookup among all strings; and the
 * metatable of lazy messages. */
enum { PAYLOAD = 1, HEADERS, TO, KEY, METATABLE, UPVALUES = METATABLE };

/* ---- publishing ---- */

/* The argument, or what stands for {topic} in the request's path. */
static slice topic_name(lua_State *L)
{
    if (lua_type(L, TOPIC) != LUA_TSTRING)
        return request_param(L, REQUEST, SLICE("topic"));
    slice name;
    name.p = lua_tolstring(L, TOPIC, &name.n);
    return name;
}

static void ref_set(lua_State *L, const struct topic *t)
{
    struct topic_ref ref = topic_ref(t);
    lua_pushinteger(L, (lua_Integer)((uint64_t)ref.index << 32 | ref.generation));
    lua_replace(L, TOPIC);
}

/* NULL: it has been deleted. */
static struct topic *ref_topic(lua_State *L)
{
    uint64_t packed = (uint64_t)lua_tointeger(L, TOPIC);
    struct topic_ref ref = {(unsigned)(packed >> 32), (unsigned)packed};
    struct topic *t = topic_deref(vm_services(L)->topics, ref);
    return t == NULL || t->gone ? NULL : t;
}

/* The payload that stands for the request's body; p == NULL: none. */
static slice given(lua_State *L)
{
    slice payload = {0};
    payload.p = lua_tolstring(L, GIVEN, &payload.n);
    return payload;
}

/* The rc is on top of the first offset, the count and the epoch. `peers`: the append waited for the peers. */
static int answer(lua_State *L, int status, bool peers, bool duplicate)
{
    struct receipt receipt = {.peers = peers, .duplicate = duplicate, .data = given(L)};
    int results = append_done(L, status, 0);
    if (lua_isnil(L, -results))
        return results;
    receipt.unplaced = lua_isboolean(L, -3);
    receipt.first = (uint64_t)lua_tointeger(L, -3);
    receipt.count = (uint64_t)lua_tointeger(L, -2);
    receipt.epoch = (uint64_t)lua_tointeger(L, -1);
    struct topic *t = ref_topic(L);
    return t == NULL ? push_fail(L, -ERR_UNKNOWN_TOPIC) : push_receipt(L, t, &receipt);
}

static int published(lua_State *L, int status, lua_KContext context)
{
    return answer(L, status, context != 0, false);
}

static int published_again(lua_State *L, int status, lua_KContext context)
{
    return answer(L, status, context != 0, true);
}

/* What the headers ask, and the topic. 0, or the number of results of a failure. */
static int prepare(lua_State *L, struct draft *d, slice name, struct topic **t)
{
    int rc = draft_take_headers(d, request_at(L, REQUEST));
    int found = name_find(L, name, t);
    if (found == -ERR_UNKNOWN_TOPIC && rc == 0 && draft_expects_messages(d))
        return push_expect_fail(L, NULL);
    if (found < 0)
        return name_fail(L, name, found);
    return rc < 0 ? push_draft_fail(L, d, rc) : 0;
}

static int append(lua_State *L, struct draft *d, struct topic *t, int rc)
{
    struct append_options o = {.topic = t, .draft = d, .peers = d->ack_peers, .done = published,
                               .again = published_again};
    ref_set(L, t);
    return append_and_wait(L, task_self(L), rc, &o);
}

static int publish(lua_State *L, slice name, enum body body)
{
    struct draft d;
    struct topic *t;
    draft_init(&d, vm_of(L));
    int failed = prepare(L, &d, name, &t);
    if (failed > 0)
        return failed;
    slice payload = given(L);
    if (payload.p == NULL)
        return append(L, &d, t, draft_encode_body(&d, request_at(L, REQUEST), body));
    int rc = draft_add(&d, &(struct message){.payload = payload});
    return append(L, &d, t, rc < 0 ? rc : draft_finish(&d));
}

/* The topic is looked up when the body has been read: Lua creates a missing one only for a body that is valid. */
static int publish_envelopes(lua_State *L, struct draft *d, int rc)
{
    struct topic *t;
    int failed = rc < 0 ? 0 : prepare(L, d, topic_name(L), &t);
    if (failed == 0 && rc == 0)
        return append(L, d, t, 0);
    draft_done(d);
    return rc < 0 ? push_draft_fail(L, d, rc) : failed;
}

/* ---- with a hook ---- */

static void set(lua_State *L, int name, int value)
{
    lua_pushvalue(L, lua_upvalueindex(name));
    lua_pushvalue(L, value);
    lua_rawset(L, MESSAGE);
}

static int get(lua_State *L, int name)
{
    lua_pushvalue(L, lua_upvalueindex(name));
    return lua_rawget(L, MESSAGE);
}

static bool is_still(lua_State *L, int name, int value)
{
    get(L, name);
    return lua_rawequal(L, -1, value);
}

static bool has_no_headers(lua_State *L)
{
    if (get(L, HEADERS) == LUA_TNIL)
        return true;
    if (!lua_istable(L, -1))
        return false;
    lua_pushnil(L);
    return lua_next(L, -2) == 0;
}

/* The hook has returned. Its message is published as the request if it still says the same, else Lua decides. */
static int shown(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    struct task *now = task_running(L);
    bool refused = !lua_isnil(L, REFUSAL) || (now != NULL && *task_refused(now));
    bool untouched = !refused && is_still(L, PAYLOAD, BODY) && is_still(L, TO, TOPIC) && get(L, KEY) == LUA_TNIL &&
                     has_no_headers(L);
    if (!untouched) {
        lua_pushboolean(L, 0);
        lua_pushvalue(L, MESSAGE);
        lua_pushvalue(L, REFUSAL);
        return 3;
    }
    /* Task and request are looked up again: a script may publish the request of another task, or in a coroutine that
     * its hook leaves; by now the request may be answered, and this may be another task. */
    struct task *self = task_self(L);
    task_hook(self, NULL);
    return publish(L, topic_name(L), BODY_PAYLOAD);
}

/* req:publish([topic [, hook [, payload]]]) -> receipt | nil, message, code, more | false [, message, refusal].  Waits
 * for the acknowledging mark. false: Lua has to publish it. A node that follows fails with not_leader before it looks
 * at anything. */
static int l_publish(lua_State *L)
{
    const struct http_request *r = request_check(L, REQUEST, PUBLISH);
    struct task *self = task_self(L);
    if (!lua_isnoneornil(L, TOPIC))
        arg_text(L, TOPIC, "topic", PUBLISH);
    if (vm_services(L)->role->kind == ROLE_FOLLOWER)
        return push_fail(L, -ERR_NOT_LEADER);
    bool instead = !lua_isnoneornil(L, GIVEN);
    if (instead)
        arg_text(L, GIVEN, "payload", PUBLISH);
    enum body body = instead ? BODY_PAYLOAD : body_of(r);
    bool hooked = !lua_isnoneornil(L, HOOK);
    if (hooked)
        luaL_checktype(L, HOOK, LUA_TFUNCTION);
    lua_settop(L, GIVEN);
    slice name = topic_name(L);
    if (slice_starts(name, SLICE("_")))
        return push_fail_because(L, -ERR_FORBIDDEN, "topics that begin with _ are reserved for the broker");
    if (body == BODY_JSON) {
        struct draft d;
        draft_init(&d, vm_of(L));
        int rc = draft_refuse_message_headers(&d, r, "a body of JSON", false);
        if (rc < 0)
            return push_draft_fail(L, &d, rc);
    }
    if (!hooked && body != BODY_CODED)
        return body == BODY_JSON ? envelopes_decode(L, publish_envelopes, PUBLISH) : publish(L, name, body);
    if (!hooked || body != BODY_PAYLOAD || (instead ? given(L) : r->body).n > PAYLOAD_SIZE_MAX) {
        lua_pushboolean(L, 0);
        return 1;
    }
    memory_check(vm_memory(vm_of(L)), L);
    lua_pushlstring(L, name.p, name.n);
    lua_replace(L, TOPIC);
    if (instead)
        lua_pushvalue(L, GIVEN);
    else
        lua_pushlstring(L, r->body.p, r->body.n);
    lua_createtable(L, 0, 2);
    set(L, PAYLOAD, BODY);
    set(L, TO, TOPIC);
    lua_pushvalue(L, lua_upvalueindex(METATABLE));
    lua_setmetatable(L, MESSAGE);
    task_hook(self, "on_publish");
    lua_pushvalue(L, HOOK);
    lua_pushvalue(L, MESSAGE);
    lua_pushvalue(L, REQUEST);
    lua_callk(L, 2, 1, 0, shown);
    return shown(L, LUA_OK, 0);
}

void publish_open(lua_State *L)
{
    lua_getfield(L, -1, "Request");
    lua_pushliteral(L, "payload");
    lua_pushliteral(L, "headers");
    lua_pushliteral(L, "topic");
    lua_pushliteral(L, "key");
    lazy_message_metatable(L);
    lua_pushcclosure(L, l_publish, UPVALUES);
    lua_setfield(L, -2, "publish");
    lua_pop(L, 1);
}
