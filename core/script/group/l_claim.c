/*
 * core.group.claim and core.group.settle. Both answer in JSON, which is what an HTTP answer consists of.
 *
 * A claim first settles what it was given, then leases messages, and is answered when the settle is acknowledged. With
 * nothing to lease it waits, for the settle first. The state of a claim across its waits is a userdata on the stack.
 */
#include <lauxlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/least.h"
#include "base/mem.h"
#include "script/bind/arg.h"
#include "script/bind/result.h"
#include "script/group/call.h"
#include "script/message/render.h"
#include "script/vm/task.h"
#include "script/vm/vm.h"

#define CLAIM "group:claim {consumer=, limit=, bytes=, wait=, settle=}"
#define SETTLE "group:settle {ack=, release=, reject=, extend=}"

/* ---- settling ---- */

static const struct {
    const char *name;
    enum settle_what what;
    const char *time;                /* the field with a number of seconds; NULL: none */
    uint64_t ms_min, ms_max;
    const char *text;                /* the field with a text; NULL: none */
} lists[] = {
    {"ack", SETTLE_ACK, NULL, 0, 0, NULL},
    {"release", SETTLE_RELEASE, "delay", 0, GROUP_DELAY_MS_MAX, NULL},
    {"reject", SETTLE_DEAD, NULL, 0, 0, "why"},
    {"extend", SETTLE_EXTEND, "seconds", GROUP_LEASE_MS_MIN, GROUP_LEASE_MS_MAX, NULL},
    {"leave_out", SETTLE_LEAVE_OUT, NULL, 0, 0, NULL},         /* of scripts/lignum/filter.lua */
};
enum { LISTS = sizeof(lists) / sizeof(lists[0]) };

/* What is to be settled; the buffers are the VM's. The leases are strings in the table that they were read from. */
struct settles {
    struct buf *all, *leases;        /* of struct settle, of slice */
    size_t count;
    const char *problem;             /* of -ERR_BAD_VALUE: it ends the name of the list */
    const char *list;
};

/* The seconds of the entry on top. */
static bool read_time(lua_State *L, size_t list, struct settle *s)
{
    int type = lua_getfield(L, -1, lists[list].time);
    double ms = type == LUA_TNUMBER ? lua_tonumber(L, -1) * MS_PER_S + 0.5 : -1;
    lua_pop(L, 1);
    s->has_delay = type != LUA_TNIL;
    if (type == LUA_TNIL)
        return s->what == SETTLE_RELEASE;
    if (!(ms >= (double)lists[list].ms_min && ms < (double)lists[list].ms_max + 1))
        return false;
    s->ms = (uint64_t)ms;
    return true;
}

/* The reason in the entry on top, which stays in the table. */
static bool read_reason(lua_State *L, struct settle *s)
{
    int type = lua_getfield(L, -1, "why");
    if (type == LUA_TSTRING)
        s->reason.p = lua_tolstring(L, -1, &s->reason.n);
    lua_pop(L, 1);
    return type == LUA_TNIL || (type == LUA_TSTRING && s->reason.n <= GROUP_REASON_MAX && utf8_valid(s->reason));
}

/* Does the table on top have no other fields than a lease and those of the list? */
static bool has_only_fields(lua_State *L, size_t list)
{
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        const char *time = lists[list].time, *text = lists[list].text;
        lua_pop(L, 1);
        if (strcmp(name, "lease") != 0 && (time == NULL || strcmp(name, time) != 0) &&
            (text == NULL || strcmp(name, text) != 0)) {
            lua_pop(L, 1);
            return false;
        }
    }
    return true;
}

/* The entry on top: a lease, or a table with one. Leaves one value there. NULL, or what is wrong. */
static const char *read_entry(lua_State *L, size_t list, struct settle *s, slice *lease)
{
    bool table = lua_istable(L, -1);
    if (lists[list].time != NULL && (table ? !read_time(L, list, s) : s->what == SETTLE_EXTEND))
        return s->what == SETTLE_EXTEND ? " needs seconds from 0.1 to 43200"
                                        : ": delay must be seconds from 0 to 31622400";
    if (table && lists[list].text != NULL && !read_reason(L, s))
        return ": why must be a text in UTF-8 of at most 256 bytes";
    if (table && !has_only_fields(L, list))
        return ": an entry has a lease, a release also delay, a reject also why, and extend seconds";
    if (table) {
        lua_getfield(L, -1, "lease");
        lua_replace(L, -2);
    }
    if (lua_type(L, -1) != LUA_TSTRING)
        return " must be a list of leases, or of objects with a lease";
    lease->p = lua_tolstring(L, -1, &lease->n);
    if (!lease_read(*lease, &s->offset, &s->claim))
        s->claim = 0;                /* no lease has this number: it is lost */
    return NULL;
}

static int read_list(lua_State *L, size_t list, struct settles *out)
{
    lua_Integer n = lua_istable(L, -1) ? (lua_Integer)lua_rawlen(L, -1) : 0;
    out->list = lists[list].name;
    if (out->count + (size_t)n > CLAIM_COUNT_MAX)
        return -ERR_TOO_LARGE;
    if (!lua_istable(L, -1))
        out->problem = " must be a list";
    for (lua_Integer k = 1; k <= n && out->problem == NULL; k++, lua_pop(L, 1)) {
        struct settle s = {.what = lists[list].what};
        slice lease = {0};
        lua_rawgeti(L, -1, k);
        out->problem = read_entry(L, list, &s, &lease);
        buf_add(out->all, &s, sizeof(s));
        buf_add(out->leases, &lease, sizeof(lease));
        out->count++;
    }
    return out->problem != NULL ? -ERR_BAD_VALUE : 0;
}

/* The name of a list that there is not, in the table at `index`; NULL: there is none such. */
static const char *find_unknown(lua_State *L, int index)
{
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
        size_t i = 0;
        while (i < LISTS && strcmp(name, lists[i].name) != 0)
            i++;
        if (i == LISTS) {
            lua_pop(L, 2);
            return name;             /* a key of the table keeps it */
        }
    }
    return NULL;
}

/* Reads the lists of the table at `index`; nothing there is no list. */
static int read_settles(lua_State *L, int index, struct settles *out)
{
    int rc = 0;
    *out = (struct settles){vm_scratch(vm_of(L)), vm_scratch_headers(vm_of(L)), 0, NULL, NULL};
    luaL_checkstack(L, 8, SETTLE);
    out->list = lua_istable(L, index) ? find_unknown(L, index) : NULL;
    if (out->list != NULL) {
        out->problem = " is none of ack, release, reject and extend";
        return -ERR_BAD_VALUE;
    }
    for (size_t i = 0; i < LISTS && rc == 0 && lua_istable(L, index); i++) {
        if (lua_getfield(L, index, lists[i].name) != LUA_TNIL)
            rc = read_list(L, i, out);
        lua_pop(L, 1);
    }
    return rc;
}

/* Settles them and writes the results, a list in JSON, into `out`. *want: as groups_settle. */
static int settle(const struct group_call *c, const struct settles *s, struct buf *out, uint64_t *want)
{
    struct settle *all = (struct settle *)(void *)s->all->data;
    const slice *leases = (const slice *)(const void *)s->leases->data;
    int rc = topics_may_append(c->topic);
    if (rc == 0)
        rc = groups_settle(c->groups, c->group, all, s->count, want);
    if (rc < 0)
        return rc;
    groups_wake(c->group, c->topic);
    buf_add_char(out, '[');
    for (size_t i = 0; i < s->count; i++) {
        buf_add_slice(out, i == 0 ? SLICE("{\"lease\":") : SLICE(",{\"lease\":"));
        json_string(out, leases[i]);
        buf_add_slice(out, all[i].lost ? SLICE(",\"result\":\"lease_lost\"}") : SLICE(",\"result\":\"ok\"}"));
    }
    buf_add_char(out, ']');
    return 0;
}

static int settles_fail(lua_State *L, int rc, const struct settles *s)
{
    if (rc == -ERR_TOO_LARGE)
        return push_fail_because(L, rc, "more than %d leases in one settle", CLAIM_COUNT_MAX);
    return push_fail_because(L, rc, "%s%s", s->list, s->problem);
}

static int settle_done(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    int rc = call_outcome(L);
    return rc < 0 ? push_fail(L, rc) : 1;
}

/* -> the results in JSON | nil, message, code.  Waits until they are acknowledged. */
int l_group_settle(lua_State *L)
{
    struct group_call c;
    struct settles s;
    uint64_t want = 0;
    struct task *self = task_self(L);
    arg_table(L, ARG_MORE, "the argument", SETTLE);
    int rc = read_settles(L, ARG_MORE, &s);
    if (rc < 0)
        return settles_fail(L, rc, &s);
    rc = call_use(L, &c, SETTLE);
    if (rc < 0)
        return call_fail(L, rc);
    struct buf *text = vm_scratch_keys(vm_of(L));
    rc = settle(&c, &s, text, &want);
    if (rc < 0)
        return call_fail(L, rc);
    lua_pushlstring(L, buf_slice(text).p, buf_size(text));
    return call_wait(L, self, &c, want, settle_done);
}

/* ---- claiming ---- */

/* On the stack after the arguments: this, and the results of the settle. */
enum { CALL = ARG_MORE + 1, SETTLED };

struct claim_call {
    struct claim_options o;          /* the consumer's name is in the table of options */
    uint64_t deadline_ns;            /* 0: it does not wait */
    uint64_t want;                   /* of the settle; 0: it is acknowledged, or there was none */
    uint64_t number;                 /* of the claim that waits for the settle */
    bool settled;                    /* something was appended: another node cannot do it again */
    bool sifts;                      /* the caller asks the function of the group's filter */
};

static void check_claim(lua_State *L, struct claim_call *k)
{
    uint64_t limit = 1, bytes = READ_SIZE_DEFAULT;
    double wait = 0;
    int settle_at = 0, sifts = 0;
    slice consumer = SLICE("");
    const struct arg_field fields[] = {
        {"consumer", ARG_TEXT, &consumer}, {"limit", ARG_WHOLE, &limit}, {"bytes", ARG_WHOLE, &bytes},
        {"wait", ARG_SECONDS, &wait}, {"settle", ARG_TABLE, &settle_at},
        {"sifts", ARG_ANY, &sifts}, {NULL, ARG_END, NULL}};
    arg_fields(L, ARG_MORE, fields, CLAIM);
    if (consumer.n > GROUP_CONSUMER_NAME_MAX)
        arg_fail(L, CLAIM, "consumer must have at most %d bytes", GROUP_CONSUMER_NAME_MAX);
    if (memchr(consumer.p, 0, consumer.n) != NULL)
        arg_fail(L, CLAIM, "consumer must not have a NUL");
    k->o = (struct claim_options){
        .consumer = consumer, .limit = (uint32_t)least(limit, CLAIM_COUNT_MAX),
        .bytes = (size_t)least(bytes, READ_SIZE_MAX)};
    k->sifts = sifts != 0;
    if (wait > 0)
        k->deadline_ns = clock_ns() + least(seconds_to_ms(wait), WAIT_MS_MAX) * NS_PER_MS;
    lua_settop(L, ARG_MORE);
}

static void add_claimed(struct buf *out, const struct claim *claim, slice rest)
{
    struct claimed_message head, before = {0};
    struct buf batch = {0};
    for (uint32_t i = 0; i < claim->count; i++, before = head) {
        struct message m;
        memcpy(&head, rest.p, sizeof(head));
        slice body = slice_of(rest.p + sizeof(head), head.size);
        rest = slice_skip(rest, sizeof(head) + head.size);
        if (message_read(&body, &m) < 0)
            break;
        if (i == 0 || head.time_ms != before.time_ms || head.epoch != before.epoch) {
            buf_clear(&batch);
            batch_fields_render(&batch, head.epoch, head.time_ms);
        }
        buf_add_slice(out, i == 0 ? SLICE("{\"lease\":\"") : SLICE(",{\"lease\":\""));
        lease_write(out, head.offset, claim->number);
        buf_add_slice(out, SLICE("\",\"delivery\":"));
        buf_add_u64(out, head.delivery);
        buf_add_slice(out, SLICE(",\"offset\":"));
        buf_add_u64(out, head.offset);
        buf_add_slice(out, buf_slice(&batch));
        message_render(out, &m, false);
        buf_add_char(out, '}');
    }
    buf_fini(&batch);
}

/* Pushes the answer: the messages in `taken`, and the results of the settle. */
static void push_answer(lua_State *L, const struct claim *claim, slice taken)
{
    struct buf *out = vm_scratch_headers(vm_of(L));
    slice part;
    for (int i = ARG_TOPIC; i <= ARG_GROUP; i++) {
        part.p = lua_tolstring(L, i, &part.n);
        buf_add_slice(out, i == ARG_TOPIC ? SLICE("{\"topic\":") : SLICE(",\"group\":"));
        json_string(out, part);
    }
    buf_add_slice(out, SLICE(",\"messages\":["));
    add_claimed(out, claim, taken);
    buf_add_char(out, ']');
    if (lua_type(L, SETTLED) == LUA_TSTRING) {
        part.p = lua_tolstring(L, SETTLED, &part.n);
        buf_add_slice(out, SLICE(",\"settled\":"));
        buf_add_slice(out, part);
    }
    buf_add_slice(out, SLICE("}\n"));
    lua_pushlstring(L, buf_slice(out).p, buf_size(out));
    vm_scratch_done(out);
}

static int push_nothing(lua_State *L)
{
    struct claim none = {0};
    push_answer(L, &none, SLICE(""));
    return 1;
}

static int claim_step(lua_State *L, int status, lua_KContext context);

/* The answer is on top and its settle acknowledged, or not. A client that has gone gets nothing: its leases are given
 * back, and do not count as deliveries. */
static int claim_answer(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    struct claim_call *k = lua_touserdata(L, CALL);
    struct group_call c;
    int rc = call_outcome(L);
    if (task_has_left(task_self(L)) && call_find(L, &c, CLAIM) == 0) {
        groups_return(c.groups, c.group, k->number);
        groups_wake(c.group, c.topic);
    }
    return rc < 0 ? push_fail(L, rc) : 1;
}

/* The settle is acknowledged: from now on the claim waits for messages. */
static int claim_settled(lua_State *L, int status, lua_KContext context)
{
    struct claim_call *k = lua_touserdata(L, CALL);
    int rc = call_outcome(L);
    if (rc < 0)
        return push_fail(L, rc);
    k->want = 0;
    lua_pushinteger(L, 0);
    return claim_step(L, status, context);
}

/* There is nothing to lease. */
static int claim_wait(lua_State *L, struct task *self, const struct group_call *c, bool unfinished)
{
    struct claim_call *k = lua_touserdata(L, CALL);
    uint64_t now = clock_ns();
    if (unfinished) {                /* it goes on in a later turn */
        task_may_leave(self);
        return task_park(L, self, 1, 1, claim_step);
    }
    if (k->want != 0)
        return call_wait(L, self, c, k->want, claim_settled);
    if (k->deadline_ns <= now)
        return push_nothing(L);
    int rc = task_linger(self);
    if (rc < 0)
        return push_fail_because(L, rc, TOO_MANY_WAIT);
    task_may_stop(self);
    task_may_leave(self);
    uint32_t ms = (uint32_t)((k->deadline_ns - now) / NS_PER_MS) + 1;
    return task_park_on(L, self, &c->group->wakes, groups_wait(c->group, c->topic), ms, 0, claim_step);
}

/* Claims, after a wait of which the rc is on top. `context` 1: that was a pause, and a timeout is its end. */
static int claim_step(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    struct claim_call *k = lua_touserdata(L, CALL);
    struct task *self = task_self(L);
    struct group_call c;
    struct claim claim;
    int waited = (int)lua_tointeger(L, -1);
    lua_settop(L, SETTLED);
    int rc = waited == -ERR_TIMEOUT && context == 1 ? 0 : waited;
    bool over = rc == -ERR_TIMEOUT || rc == -ERR_STOPPING || rc == -ERR_CANCELLED || task_has_left(self);
    if (rc == 0 || over)
        rc = call_use(L, &c, CLAIM);            /* which also wakes the next one that waits */
    if (rc < 0 && (k->settled || over))
        return push_nothing(L);                  /* what was settled stands */
    if (rc < 0)
        return call_fail(L, rc);
    if (over) {
        groups_wake(c.group, c.topic);
        return push_nothing(L);
    }
    struct buf *taken = vm_scratch(vm_of(L));
    rc = groups_claim(c.groups, c.group, c.topic, &k->o, taken, &claim);
    if (rc == 0 && claim.count > 0)
        groups_wake(c.group, c.topic);
    if (rc < 0)
        return k->settled ? push_nothing(L) : call_fail(L, rc);
    if (claim.count == 0)
        return claim_wait(L, self, &c, claim.unfinished);
    task_appended(self);
    k->number = claim.number;
    push_answer(L, &claim, buf_slice(taken));
    vm_scratch_done(taken);
    return call_wait(L, self, &c, k->want, claim_answer);
}

/* -> the answer in JSON | nil, message, code | false, name.  false: the group's filter has this function, and the
 * caller does not say that it `sifts` */
int l_group_claim(lua_State *L)
{
    struct group_call c;
    struct settles s;
    struct claim_call call = {0};
    arg_table(L, ARG_MORE, "the argument", CLAIM);
    task_self(L);
    check_claim(L, &call);
    struct claim_call *k = lua_newuserdatauv(L, sizeof(*k), 0);
    *k = call;
    lua_getfield(L, ARG_MORE, "settle");
    int rc = read_settles(L, SETTLED, &s);
    if (rc < 0)
        return settles_fail(L, rc, &s);
    rc = call_use(L, &c, CLAIM);
    if (rc < 0)
        return call_fail(L, rc);
    slice function = filter_function(group_filter(&c.group->state.settings));
    if (function.n > 0 && !call.sifts) {
        lua_pushboolean(L, 0);
        lua_pushlstring(L, function.p, function.n);
        return 2;
    }
    if (lua_istable(L, SETTLED)) {
        struct buf *text = vm_scratch_keys(vm_of(L));
        rc = settle(&c, &s, text, &k->want);
        if (rc < 0)
            return call_fail(L, rc);
        k->settled = k->want != 0;
        lua_pushlstring(L, buf_slice(text).p, buf_size(text));
        lua_replace(L, SETTLED);
    }
    lua_pushinteger(L, 0);
    return claim_step(L, LUA_OK, 0);
}
