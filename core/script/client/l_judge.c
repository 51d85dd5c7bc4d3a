/*
 * lignum.system.judge: judges the messages of stored batches by the on_publish of two files, side by side, and changes
 * nothing. Each file has a world of its own (scripts/lignum/replaying.lua).
 *
 *     judge = system.judge{new =, present =, topic =, from =, to =, from_time =, to_time =, part =, where =, set =}
 *     judge:batches(bytes, on_difference)   -> messages judged
 *     judge:result()                        -> {present = {...}, new = {...}, messages =, next =, ...}
 *
 * on_difference(what, offset, a, b, c) is called where they differ: what is
 *     "failed"     a: the message of the error
 *     "rejected"   a, b: why and code
 *     "accepted"   a, b: why, and code of the present file's refusal, or "failed"
 *     "rerouted"   a: the topic
 *     "changed"    a, b: the payloads of the present and the new file; c: "key", "headers" or nil, which differ, too
 */
#include <errno.h>
#include <lauxlib.h>
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/limits.h"
#include "script/bind/arg.h"
#include "script/bind/field.h"
#include "script/bind/lazy_message.h"
#include "script/bind/result.h"
#include "script/client/tables.h"
#include "script/vm/carry.h"
#include "script/vm/state.h"
#include "script/vm/vm.h"
#include "store/format/record.h"

#define JUDGE "judge{new=, present=, topic=, from=, to=, from_time=, to_time=, part=, where=}"
#define KIND "lignum.judge"

enum {
    JUDGE_FN = 1, METATABLE, WHERE_FN, MESSAGE,    /* on the stack of a side's world */
    TIMES = 256,                                   /* classes of durations, 4 for each power of 2 */
};

/* One of the two files, or none. */
struct side {
    struct vm *vm;                    /* owned; NULL: none */
    bool hooked;                      /* it has an on_publish; otherwise each message goes on as it is */
    uint64_t accepted, rejected, failed, ns, most_ns;
    uint64_t times[TIMES];
};

struct judge {
    struct side present, new;
    char topic[TOPIC_NAME_MAX + 1];
    uint64_t from, to;                /* offsets */
    int64_t from_ms, to_ms;           /* times */
    double part, share;               /* of the messages that are judged; what has added up for the next one */
    bool has_where;
    uint64_t messages, same, next;    /* judged; offset after the last one seen */
    int64_t first_ms, last_ms;
    uint64_t began;
};

enum outcome { ACCEPTED, REJECTED, FAILED };

/* What a file says of a message. The slices lie on the stack of its world. */
struct decision {
    enum outcome outcome;
    slice to, payload, key;           /* key.p == NULL: none */
    slice why, code;
    lua_State *L;
    int headers;                      /* on that stack; 0: none */
};

/* ---- the worlds ---- */

static int side_open(struct side *s, struct vm *first, const struct vm_options *o, struct buf *why)
{
    struct vm_options options = *o;
    options.init = "replaying";
    options.world = "replay";
    options.first = first;
    options.memory_reserve = 0;
    int rc = vm_new(&options, &s->vm);
    if (rc == 0)
        rc = vm_load(s->vm, why);
    if (rc < 0)
        return rc;
    lua_State *L = vm_state(s->vm);
    lua_settop(L, 0);
    vm_push_entry(s->vm, L, "judge");
    lazy_message_metatable(L);
    vm_push_entry(s->vm, L, "wanted");
    vm_push_entry(s->vm, L, "place");
    s->hooked = vm_call(s->vm, 0, 1, TASK_BUDGET_MS) == 0 && lua_isstring(L, -1);
    lua_settop(L, MESSAGE - 1);
    return 0;
}

static int close_judge(lua_State *L)
{
    struct judge *j = lua_touserdata(L, 1);
    if (j->present.vm != NULL)
        vm_free(j->present.vm);
    if (j->new.vm != NULL)
        vm_free(j->new.vm);
    j->present.vm = j->new.vm = NULL;
    return 0;
}

/* ---- one message ---- */

static void set_slice(lua_State *L, const char *name, slice value)
{
    lua_pushlstring(L, value.p, value.n);
    lua_setfield(L, -2, name);
}

static void push_message(lua_State *L, const struct message *m)
{
    slice rest = m->headers, name, value;
    lua_createtable(L, 0, 4);
    set_slice(L, "payload", m->payload);
    if (m->key.p != NULL)
        set_slice(L, "key", m->key);
    if (m->headers.n == 0) {
        lua_pushvalue(L, METATABLE);
        lua_setmetatable(L, -2);
        return;
    }
    lua_newtable(L);
    while (header_read(&rest, &name, &value)) {
        lua_pushlstring(L, name.p, name.n);
        lua_pushlstring(L, value.p, value.n);
        lua_rawset(L, -3);
    }
    lua_setfield(L, -2, "headers");
}

static slice text_at(lua_State *L, int index)
{
    slice s = {0};
    s.p = lua_tolstring(L, index, &s.n);
    return s;
}

static slice field_of_message(lua_State *L, const char *name)
{
    lua_pushstring(L, name);
    return lua_rawget(L, MESSAGE) == LUA_TSTRING ? text_at(L, -1) : (slice){0};
}

static void note_time(struct side *s, uint64_t ns)
{
    unsigned log = 63 - (unsigned)__builtin_clzll(ns | 4);
    s->times[log * 4 + ((ns >> (log - 2)) & 3)]++;
    s->ns += ns;
    s->most_ns = ns > s->most_ns ? ns : s->most_ns;
}

static void decide(struct side *s, const char *topic, const struct message *m, struct decision *d)
{
    *d = (struct decision){.outcome = ACCEPTED, .to = slice_from(topic), .payload = m->payload, .key = m->key};
    if (!s->hooked) {
        s->accepted++;
        return;
    }
    lua_State *L = d->L = vm_state(s->vm);
    lua_settop(L, MESSAGE - 1);
    push_message(L, m);
    lua_pushvalue(L, JUDGE_FN);
    lua_pushvalue(L, MESSAGE);
    lua_pushstring(L, topic);
    uint64_t began = clock_real_ns();
    int rc = vm_call(s->vm, 2, 3, TASK_BUDGET_MS);
    note_time(s, clock_real_ns() - began);
    if (rc < 0) {
        *d = (struct decision){.outcome = FAILED, .why = text_at(L, -1), .L = L};
        s->failed++;
    } else if (lua_isnil(L, MESSAGE + 1)) {
        *d = (struct decision){.outcome = REJECTED, .why = text_at(L, MESSAGE + 2), .code = text_at(L, MESSAGE + 3),
                               .L = L};
        s->rejected++;
    } else {
        d->to = text_at(L, MESSAGE + 1);
        d->payload = field_of_message(L, "payload");
        d->key = field_of_message(L, "key");
        lua_pushliteral(L, "headers");
        if (lua_rawget(L, MESSAGE) == LUA_TTABLE)
            d->headers = lua_gettop(L);
        s->accepted++;
    }
}

/* ---- the difference ---- */

static unsigned headers_count(const struct decision *d)
{
    unsigned n = 0;
    if (d->headers == 0)
        return 0;
    for (lua_pushnil(d->L); lua_next(d->L, d->headers); lua_pop(d->L, 1))
        n++;
    return n;
}

/* Both are tables of texts. */
static bool headers_same(const struct decision *a, const struct decision *b)
{
    bool same = headers_count(a) == headers_count(b);
    if (a->headers == 0 || b->headers == 0)
        return same;
    for (lua_pushnil(a->L); same && lua_next(a->L, a->headers); lua_pop(a->L, 1)) {
        slice name = text_at(a->L, -2);
        lua_pushlstring(b->L, name.p, name.n);
        same = lua_rawget(b->L, b->headers) == LUA_TSTRING && slice_eq(text_at(a->L, -1), text_at(b->L, -1));
        lua_pop(b->L, 1);
    }
    return same;
}

static bool key_same(const struct decision *a, const struct decision *b)
{
    return (a->key.p == NULL) == (b->key.p == NULL) && slice_eq(a->key, b->key);
}

static void push_slice(lua_State *L, slice s)
{
    if (s.p == NULL)
        lua_pushnil(L);
    else
        lua_pushlstring(L, s.p, s.n);
}

/* Calls on_difference, which lies at `fn`. */
static void tell(lua_State *L, int fn, const char *what, uint64_t offset, slice a, slice b, const char *c)
{
    lua_pushvalue(L, fn);
    lua_pushstring(L, what);
    lua_pushinteger(L, (lua_Integer)offset);
    push_slice(L, a);
    push_slice(L, b);
    lua_pushstring(L, c);
    lua_call(L, 5, 0);
}

static void compare(lua_State *L, int fn, struct judge *j, uint64_t offset, const struct decision *p,
                    const struct decision *n)
{
    slice none = {0};
    if (n->outcome == p->outcome && n->outcome != ACCEPTED) {
        j->same++;
    } else if (n->outcome == FAILED) {
        tell(L, fn, "failed", offset, n->why, none, NULL);
    } else if (n->outcome == REJECTED) {
        tell(L, fn, "rejected", offset, n->why, n->code, NULL);
    } else if (p->outcome != ACCEPTED) {
        tell(L, fn, "accepted", offset, p->why, p->outcome == FAILED ? SLICE("failed") : p->code, NULL);
    } else if (!slice_eq(n->to, p->to)) {
        tell(L, fn, "rerouted", offset, n->to, none, NULL);
    } else {
        bool key = key_same(p, n), headers = headers_same(p, n);
        if (key && headers && slice_eq(p->payload, n->payload))
            j->same++;
        else
            tell(L, fn, "changed", offset, p->payload, n->payload, !key ? "key" : !headers ? "headers" : NULL);
    }
}

/* The stored headers as a table, for a decision that no hook has made and the other one has, in `L`. */
static void stored_headers(struct decision *d, lua_State *L, const struct message *m)
{
    if (d->L != NULL || L == NULL || m->headers.n == 0)
        return;
    push_message(L, m);
    lua_getfield(L, -1, "headers");
    d->L = L;
    d->headers = lua_gettop(L);
}

/* --where; an error of it ends the command. */
static bool is_wanted(lua_State *L, struct judge *j, uint64_t offset, const struct message *m)
{
    lua_State *W = vm_state(j->new.vm);
    lua_settop(W, MESSAGE - 1);
    lua_pushvalue(W, WHERE_FN);
    push_message(W, m);
    lua_pushinteger(W, (lua_Integer)offset);
    if (vm_call(j->new.vm, 2, 1, TASK_BUDGET_MS) < 0)
        luaL_error(L, "--where at offset %I: %s", (lua_Integer)offset, lua_tostring(W, -1));
    return lua_toboolean(W, -1);
}

static void judge_message(lua_State *L, struct judge *j, uint64_t offset, const struct message *m)
{
    struct decision present, new;
    j->share += j->part;
    if (j->share < 1)
        return;
    j->share -= 1;
    if (j->has_where && !is_wanted(L, j, offset, m))
        return;
    decide(&j->present, j->topic, m, &present);
    decide(&j->new, j->topic, m, &new);
    stored_headers(&present, new.L, m);
    stored_headers(&new, present.L, m);
    j->messages++;
    compare(L, 3, j, offset, &present, &new);
}

static bool is_in_range(const struct judge *j, const struct batch_head *h)
{
    return h->first < j->to && h->first + h->count > j->from && h->time_ms >= j->from_ms && h->time_ms < j->to_ms;
}

/* judge:batches(bytes, on_difference) -> bytes that were whole batches.  It ends before one that is damaged. */
static int l_batches(lua_State *L)
{
    struct judge *j = luaL_checkudata(L, 1, KIND);
    slice bytes = arg_text(L, 2, "bytes", "judge:batches(bytes, on_difference)"), rest = bytes;
    struct batch_head head;
    luaL_checktype(L, 3, LUA_TFUNCTION);
    lua_settop(L, 3);
    while (rest.n >= BATCH_HEAD_SIZE && batch_head_read(rest.p, &head) == 0 && head.size <= rest.n) {
        if (!batch_valid(rest.p, &head, head.first))
            break;
        slice messages = batch_messages(rest.p, &head);
        struct message m;
        rest = slice_skip(rest, head.size);
        j->next = head.first + head.count;
        if (!is_in_range(j, &head))
            continue;
        if (j->messages == 0)
            j->first_ms = head.time_ms;
        j->last_ms = head.time_ms;
        clock_hold(head.time_ms);
        for (uint64_t at = head.first; at < head.first + head.count && message_read(&messages, &m) == 0; at++)
            if (at >= j->from && at < j->to)
                judge_message(L, j, at, &m);
    }
    clock_release();
    lua_pushinteger(L, (lua_Integer)(bytes.n - rest.n));
    return 1;
}

/* ---- results ---- */

static double quantile(const struct side *s, double share)
{
    uint64_t all = s->accepted + s->rejected + s->failed, seen = 0;
    for (unsigned i = 0; i < TIMES; i++) {
        seen += s->times[i];
        if ((double)seen >= share * (double)all && seen > 0)
            return ldexp(4.0 + (double)(i & 3) + 0.5, (int)(i / 4) - 2);
    }
    return 0;
}

static void push_side(lua_State *L, struct side *s)
{
    lua_createtable(L, 0, 8);
    set_whole(L, "accepted", s->accepted);
    set_whole(L, "rejected", s->rejected);
    set_whole(L, "failed", s->failed);
    if (!s->hooked)
        return;
    lua_State *S = vm_state(s->vm);
    set_whole(L, "total_ns", s->ns);
    set_whole(L, "max_ns", s->most_ns);
    set_number(L, "p50_ns", quantile(s, 0.5));
    set_number(L, "p99_ns", quantile(s, 0.99));
    vm_push_entry(s->vm, S, "place");
    if (vm_call(s->vm, 0, 1, TASK_BUDGET_MS) == 0)
        carry_top(S, 1, L);
    else
        lua_pushnil(L);
    lua_setfield(L, -2, "hook");
    vm_push_entry(s->vm, S, "recorded");
    if (vm_call(s->vm, 0, 1, TASK_BUDGET_MS) == 0)
        carry_top(S, 1, L);
    else
        lua_newtable(L);
    lua_setfield(L, -2, "undone");
    lua_settop(S, MESSAGE - 1);
}

/* judge:result() */
static int l_result(lua_State *L)
{
    struct judge *j = luaL_checkudata(L, 1, KIND);
    lua_createtable(L, 0, 8);
    set_whole(L, "messages", j->messages);
    set_whole(L, "same", j->same);
    set_whole(L, "next", j->next);
    set_number(L, "first_time", (double)j->first_ms / 1000.0);
    set_number(L, "last_time", (double)j->last_ms / 1000.0);
    push_side(L, &j->present);
    lua_setfield(L, -2, "present");
    push_side(L, &j->new);
    lua_setfield(L, -2, "new");
    return 1;
}

/* ---- making one ---- */

struct judge_args {
    slice new, present, topic, where;
    double from_time, to_time, part;
    uint64_t from, to;
};

static int compile_where(lua_State *L, struct judge *j, slice text)
{
    lua_State *W = vm_state(j->new.vm);
    if (text.p == NULL)
        return 0;
    vm_push_entry(j->new.vm, W, "where");
    lua_pushlstring(W, text.p, text.n);
    if (vm_call(j->new.vm, 1, 2, TASK_BUDGET_MS) < 0 || !lua_toboolean(W, -2))
        return push_fail_because(L, -ERR_BAD_VALUE, "%s", lua_tostring(W, -1));
    lua_settop(W, MESSAGE - 1);
    j->has_where = true;
    return 0;
}

static int l_judge(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct judge_args a = {.to = UINT64_MAX, .from_time = -1e12, .to_time = 1e12, .part = 1};
    const struct arg_field fields[] = {
        {"new", ARG_TEXT, &a.new}, {"present", ARG_TEXT, &a.present}, {"topic", ARG_TEXT, &a.topic},
        {"where", ARG_TEXT, &a.where}, {"from", ARG_WHOLE, &a.from}, {"to", ARG_WHOLE, &a.to},
        {"from_time", ARG_SECONDS, &a.from_time}, {"to_time", ARG_SECONDS, &a.to_time},
        {"part", ARG_SECONDS, &a.part}, {NULL, ARG_END, NULL}};
    luaL_checktype(L, 1, LUA_TTABLE);
    arg_fields(L, 1, fields, JUDGE);
    if (a.new.p == NULL || a.topic.p == NULL || a.topic.n > TOPIC_NAME_MAX)
        return arg_fail(L, JUDGE, "new and topic are needed");
    struct judge *j = lua_newuserdatauv(L, sizeof(*j), 0);
    *j = (struct judge){.from = a.from, .to = a.to, .part = a.part, .share = a.part < 1 ? 1 - a.part : 0,
                        .from_ms = (int64_t)(a.from_time * 1000), .to_ms = (int64_t)(a.to_time * 1000)};
    memcpy(j->topic, a.topic.p, a.topic.n);
    luaL_setmetatable(L, KIND);
    struct buf why = {0};
    struct vm_options o = {.scripts = vm->scripts, .config = a.present.p};
    memcpy(&o.open, lua_touserdata(L, lua_upvalueindex(1)), sizeof(o.open));
    int rc = a.present.p == NULL ? 0 : side_open(&j->present, vm, &o, &why);
    o.config = a.new.p;
    if (rc == 0)
        rc = side_open(&j->new, vm, &o, &why);
    if (rc < 0) {
        buf_add_char(&why, '\0');
        int results = push_fail_because(L, -ERR_BAD_VALUE, "%s", why.data);
        buf_fini(&why);
        return results;
    }
    buf_fini(&why);
    int failed = compile_where(L, j, a.where);
    if (failed > 0)
        return failed;
    lua_settop(L, 2);
    return 1;
}

void judge_open(lua_State *L, void (*open)(lua_State *L))
{
    static const luaL_Reg methods[] = {
        {"batches", l_batches}, {"result", l_result}, {"__gc", close_judge}, {"__close", close_judge}, {NULL, NULL}};
    luaL_newmetatable(L, KIND);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    memcpy(lua_newuserdatauv(L, sizeof(open), 0), &open, sizeof(open));
    lua_pushcclosure(L, l_judge, 1);
    lua_setfield(L, -2, "judge");
}
