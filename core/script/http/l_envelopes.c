/*
 * req:envelopes(), and the slices in which a body of JSON is read.
 */
#include <lauxlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "script/bind/object.h"
#include "script/http/envelopes.h"
#include "script/http/request.h"
#include "script/http/tables.h"
#include "script/message/json_body.h"
#include "script/vm/task.h"

#define ENVELOPES "req:envelopes()"

enum {
    IN_ONE_GO = 16 * KIB,             /* shorter bodies take less than a slice */
    PUSH_AT_ONCE = 1000,              /* messages as tables, in a slice */
};
#define SLICE_NS (2 * NS_PER_MS)

/* A body that takes several slices. On top of the stack while it is read. */
struct sliced {
    struct envelopes read;
    size_t claimed;                   /* of its memory, by memory_claim */
    envelopes_done *done;
    const char *usage;
    slice rest;                       /* messages that are not in the list yet */
    lua_Integer pushed;
};

/* Counts what it owns now, and no more once it is done. */
static void charge(lua_State *L, struct sliced *s)
{
    size_t holds = envelopes_hold(&s->read);
    struct memory *memory = vm_memory(vm_of(L));
    if (holds > s->claimed)
        memory_claim(memory, L, holds - s->claimed);
    else
        memory_release(memory, s->claimed - holds);
    s->claimed = holds;
}

/* Scripts cannot call it, and when a world is closed its kinds are gone: so nothing is checked. */
static int collect(lua_State *L)
{
    struct sliced *s = lua_touserdata(L, 1);
    envelopes_fini(&s->read);
    charge(L, s);
    return 0;
}

/* ---- reading ---- */

static int read_more(lua_State *L, int status, lua_KContext context);

/* The task is looked up each time: a script may go on with a coroutine in another task. */
static int read_slice(lua_State *L)
{
    struct sliced *s = lua_touserdata(L, -1);
    request_check(L, 1, s->usage);    /* its body is where it was */
    int rc = envelopes_read(&s->read, clock_ns() + SLICE_NS);
    if (rc <= 0)
        envelopes_end(&s->read);
    charge(L, s);
    return rc > 0 ? task_park(L, task_self(L), 1, 0, read_more) : s->done(L, &s->read.draft, rc);
}

static int read_more(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    lua_pop(L, 1);
    return read_slice(L);
}

int envelopes_decode(lua_State *L, envelopes_done *done, const char *usage)
{
    const struct http_request *r = request_check(L, 1, usage);
    if (r->body.n <= IN_ONE_GO) {
        struct envelopes e;
        envelopes_init(&e, r, vm_of(L), true);
        int rc = envelopes_read(&e, 0);
        struct draft d = e.draft;
        envelopes_fini(&e);
        return done(L, &d, rc);
    }
    task_self(L);
    struct sliced *s = object_new(L, KIND_ENVELOPES, sizeof(*s), 0);
    s->done = done;
    s->usage = usage;
    envelopes_init(&s->read, r, vm_of(L), false);
    charge(L, s);
    return read_slice(L);
}

/* ---- as tables ---- */

/* Adds messages of *rest to the list on top, as many as a slice may. False: there are more. */
static bool push_some(lua_State *L, slice *rest, lua_Integer *pushed)
{
    struct message m;
    for (int i = 0; i < PUSH_AT_ONCE; i++) {
        if (message_read(rest, &m) < 0)
            return true;
        push_message(L, &m);
        lua_rawseti(L, -2, ++*pushed);
    }
    return rest->n == 0;
}

/* The stack: ..., the object, the list; after a wait also how it ended. */
static int push_more(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    lua_settop(L, (int)context);
    struct sliced *s = lua_touserdata(L, -2);
    if (!push_some(L, &s->rest, &s->pushed))
        return task_park(L, task_self(L), 1, context, push_more);
    draft_done(&s->read.draft);
    charge(L, s);
    return 1;
}

static int push_list(lua_State *L, struct draft *d, int rc)
{
    if (rc < 0) {
        draft_done(d);
        return push_draft_fail(L, d, rc);
    }
    slice messages = d->append.messages;
    lua_createtable(L, (int)d->append.count, 0);
    if (d->own) {
        ((struct sliced *)lua_touserdata(L, -2))->rest = messages;
        return push_more(L, LUA_OK, lua_gettop(L));
    }
    lua_Integer pushed = 0;
    while (!push_some(L, &messages, &pushed))
        continue;
    return 1;
}

/* req:envelopes() -> list of messages | nil, message, code, {limit =}.  Others run while a long body is read. */
static int l_envelopes(lua_State *L)
{
    lua_settop(L, 1);
    return envelopes_decode(L, push_list, ENVELOPES);
}

void envelopes_open(lua_State *L)
{
    static const luaL_Reg meta[] = {{"__gc", collect}, {NULL, NULL}};
    kind_open(L, &(struct kind_options){KIND_ENVELOPES, meta, NULL, NULL, NULL});
    lua_pop(L, 1);
    lua_getfield(L, -1, "Request");
    lua_pushcfunction(L, l_envelopes);
    lua_setfield(L, -2, "envelopes");
    lua_pop(L, 1);
}
