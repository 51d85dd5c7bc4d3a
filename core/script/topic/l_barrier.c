/*
 * topic:barrier: waits until this node shows its readers all that any node had acknowledged when it was called.
 *
 *   asked      a leader waits until its set has confirmed it (broker/leader/barrier.h), a follower for its leader's
 *              answer; a node without a cluster has nothing to ask
 *   applying   the records of _topics that the leader had applied take effect here
 *   reading    the topic becomes readable as far as it was there
 */
#include "base/err.h"
#include "script/bind/arg.h"
#include "script/bind/result.h"
#include "script/topic/tables.h"
#include "script/topic/topic_handle.h"
#include "script/vm/task.h"
#include "script/vm/vm.h"

#define BARRIER "topic:barrier([timeout])"

enum { HANDLE = 1, TIMEOUT, REACHED };    /* on the Lua stack; the last one from `asked` on */
enum { DEFAULT_MS = 5000 };

struct waiting {
    uint64_t number;                      /* of a follower's barrier; 0: this node leads */
    struct reached reached;
};

static int park(lua_State *L, struct mark *m, uint64_t want, lua_KFunction then)
{
    struct task *self = task_self(L);
    task_may_stop(self);
    task_may_leave(self);
    return task_park_on(L, self, m, want, arg_ms(L, TIMEOUT, DEFAULT_MS, BARRIER), 0, then);
}

static int applying_done(lua_State *L, int status, lua_KContext context)
{
    struct topic_handle *h = handle_check(L, BARRIER);
    const struct waiting *w = lua_touserdata(L, REACHED);
    struct reached r = w->reached;
    struct topic *t;
    (void)status;
    (void)context;
    int rc = (int)lua_tointeger(L, -1);
    lua_settop(L, REACHED);
    if (rc < 0)
        return push_fail(L, rc);
    if (w->number == 0 && !cluster_reached_here(vm_services(L)->cluster, handle_name(h), &r))
        return push_fail(L, -ERR_UNAVAILABLE);
    if (!r.known)
        return handle_fail(L, h, -ERR_UNKNOWN_TOPIC);
    rc = handle_find(L, h, &t);
    if (rc == -ERR_FORBIDDEN) {       /* nobody reads it; but scripts wait for it, whose effect here they show */
        t = topics_find(vm_services(L)->topics, handle_name(h));
        rc = t == NULL ? -ERR_UNKNOWN_TOPIC : 0;
    }
    if (rc < 0)
        return handle_fail(L, h, rc);
    if (t->id.epoch != r.id.epoch || t->id.offset != r.id.offset)     /* deleted, and created again, meanwhile */
        return push_fail(L, -ERR_UNAVAILABLE);
    return park(L, &t->readable, r.readable, wait_is_over);
}

static int asked_done(lua_State *L, int status, lua_KContext context)
{
    struct waiting *w = lua_touserdata(L, REACHED);
    struct cluster *c = vm_services(L)->cluster;
    (void)status;
    (void)context;
    int rc = (int)lua_tointeger(L, -1);
    lua_settop(L, REACHED);
    if (rc < 0)
        return push_fail(L, rc == -ERR_NOT_LEADER ? -ERR_UNAVAILABLE : rc);
    if (w->number > 0 && !cluster_reached(c, w->number, &w->reached))
        return push_fail(L, -ERR_UNAVAILABLE);
    struct topics *ts = vm_services(L)->topics;
    uint64_t want = w->number > 0 ? w->reached.applied : topics_log(ts)->lead->begun;
    return park(L, topics_applied(ts), want, applying_done);
}

/* topic:barrier([timeout]) -> true | nil, message, code */
int l_topic_barrier(lua_State *L)
{
    struct topic_handle *h = handle_check(L, BARRIER);
    struct cluster *c = vm_services(L)->cluster;
    struct topic *t;
    struct mark *mark;
    uint64_t want;
    lua_settop(L, TIMEOUT);
    if (c == NULL) {
        int rc = handle_find(L, h, &t);
        lua_pushboolean(L, 1);
        return rc < 0 ? handle_fail(L, h, rc) : 1;
    }
    struct waiting *w = lua_newuserdatauv(L, sizeof(*w), 0);
    *w = (struct waiting){0};
    int rc = cluster_barrier(c, handle_name(h), &mark, &want, &w->number);
    return rc < 0 ? push_fail(L, rc) : park(L, mark, want, asked_done);
}
