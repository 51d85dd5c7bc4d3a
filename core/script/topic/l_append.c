/*
 * topic:append, the hot path: encode into the VM's scratch buffer, move the tail, wait for the mark.
 */
#include "base/clock.h"
#include "base/err.h"
#include "script/bind/arg.h"
#include "script/bind/bind.h"
#include "script/http/request.h"
#include "script/topic/append.h"
#include "script/topic/topic_handle.h"

#define USAGE "topic:append(payload | message | {messages...} | request [, {ack=, timeout=, request=}])"

enum { ACK_MS = 30 * 1000 };

struct options {
    bool peers;
    uint32_t timeout_ms;
    const struct http_request *request;   /* in whose name it is; NULL: none */
};

static void check_options(lua_State *L, int index, struct options *o)
{
    slice ack = {0};
    double timeout = ACK_MS / 1000.0;
    int request = 0;
    const struct arg_field fields[] = {
        {"ack", ARG_TEXT, &ack},
        {"timeout", ARG_SECONDS, &timeout},
        {"request", ARG_ANY, &request},
        {NULL, ARG_END, NULL}};
    arg_fields(L, index, fields, USAGE);
    if (ack.p != NULL && !slice_eq(ack, SLICE("peers")))
        arg_fail(L, USAGE, "ack must be \"peers\"");
    o->peers = ack.p != NULL;
    o->timeout_ms = timeout > 0 ? seconds_to_ms(timeout) : 1;
    if (request != 0)
        o->request = request_check(L, request, USAGE);
}

static int prepare(lua_State *L, struct draft *d, const struct options *o)
{
    draft_init(d, vm_of(L));
    int rc = o->request == NULL ? 0 : draft_take_head(d, o->request);
    return rc < 0 ? rc : draft_encode(d, L, 2, USAGE);
}

/* Below rc lie the three. Once it is in the log nobody can say that it will not appear, unless the whole topic has
 * gone. */
int appended(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    int rc = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    if (rc == 0)
        return 3;
    return push_fail(L, rc == -ERR_UNKNOWN_TOPIC ? rc : -ERR_UNKNOWN_OUTCOME);
}

int append(lua_State *L, struct task *self, int rc, const struct appending *a)
{
    struct topic *t = a->topic;
    struct draft *d = a->draft;
    uint64_t first;
    d->append.time_ms = clock_wall_ms();
    if (rc == 0)
        rc = topic_append(t, &d->append, &first);
    vm_scratch_done(d->out);
    if (rc < 0)
        return d->why[0] == '\0' ? push_fail(L, rc) : push_fail_because(L, rc, "%s", d->why);
    task_appended(self);
    lua_pushinteger(L, (lua_Integer)first);
    lua_pushinteger(L, d->append.count);
    lua_pushinteger(L, (lua_Integer)d->append.epoch);
    struct mark *mark = a->peers ? &t->peers : topic_ack_mark(t);
    if (a->peers && t->ship < first + d->append.count)
        t->ship = first + d->append.count;   /* it cannot wait for the next sync of a `wal` topic */
    uint32_t timeout_ms = a->timeout_ms == 0 ? ACK_MS : a->timeout_ms;
    return task_park_on(L, self, mark, first + d->append.count, timeout_ms, a->peers, a->done);
}

/* topic:append(what [, options]) -> first, count, epoch | nil, message, code.  Waits for the acknowledging mark. */
int l_topic_append(lua_State *L)
{
    struct topic_handle *h = handle_check(L, USAGE);
    struct options o = {0};
    struct draft d;
    struct topic *t;
    if (!lua_isnoneornil(L, 3))
        check_options(L, 3, &o);
    struct task *self = task_self(L);
    int rc = handle_find(L, h, &t);
    if (rc < 0)
        return handle_fail(L, h, rc);
    if (t == topics_log(t->topics))
        return push_fail_because(L, -ERR_FORBIDDEN, "%s is the broker's own", h->name);
    rc = prepare(L, &d, &o);
    return append(L, self, rc, &(struct appending){t, &d, o.peers || d.ack_peers, o.timeout_ms, appended});
}
