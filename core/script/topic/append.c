#include "script/topic/append.h"

#include "base/clock.h"
#include "base/err.h"
#include "script/bind/result.h"
#include "script/message/token.h"
#include "script/vm/task.h"

/* The rc is on top of the three results. An append that is in the log may still be committed, so any failure is an
 * unknown outcome, unless the whole topic has been deleted. */
int append_done(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    int rc = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    if (rc == 0)
        return 3;
    return push_fail(L, rc == -ERR_UNKNOWN_TOPIC ? rc : -ERR_UNKNOWN_OUTCOME);
}

int push_expect_fail(lua_State *L, const struct topic *t)
{
    struct buf *token = vm_scratch(vm_of(L));
    if (t == NULL) {
        buf_add_slice(token, SLICE("0:0"));
        push_fail_because(L, -ERR_PRECONDITION, "there is no such topic yet");
    } else {
        token_write(token, topic_last_epoch(t), t->tail.at, t->id.offset);
        push_fail_because(L, -ERR_PRECONDITION, "the next message of the topic goes to %.*s",
                          SLICE_ARGS(buf_slice(token)));
    }
    lua_createtable(L, 0, 1);
    lua_pushlstring(L, token->data + token->at, buf_size(token));
    lua_setfield(L, -2, "token");
    vm_scratch_done(token);
    return 4;
}

int append_and_wait(lua_State *L, struct task *self, int rc, const struct append_options *o)
{
    struct topic *t = o->topic;
    struct draft *d = o->draft;
    uint64_t first;
    if (rc == 0)
        rc = d->has_expect ? topics_append_at(t, &d->append, &d->expect, &first) : topics_append(t, &d->append, &first);
    vm_scratch_done(d->out);
    if (rc == -ERR_PRECONDITION)
        return push_expect_fail(L, t);
    if (rc < 0)
        return push_draft_fail(L, d, rc);
    task_appended(self);
    lua_pushinteger(L, (lua_Integer)first);
    lua_pushinteger(L, d->append.count);
    lua_pushinteger(L, (lua_Integer)d->append.epoch);
    struct mark *mark = o->peers ? &t->peers : topic_ack_mark(t);
    if (o->peers && t->lead.ship < first + d->append.count)
        t->lead.ship = first + d->append.count;   /* a `wal` topic ships later; this append waits for its peers now */
    uint32_t timeout_ms = o->timeout_ms == 0 ? ACK_MS : o->timeout_ms;
    return task_park_on(L, self, mark, first + d->append.count, timeout_ms, o->peers, o->done);
}
