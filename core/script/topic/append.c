#include "script/topic/append.h"

#include "base/err.h"
#include "broker/topic/publish.h"
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

int append_done_again(lua_State *L, int status, lua_KContext context)
{
    int results = append_done(L, status, context);
    if (lua_isnil(L, -results))
        return results;
    lua_createtable(L, 0, 1);
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, "duplicate");
    return results + 1;
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

/* Pushes nil, message, code, {`name` = number}. */
static int push_sender_fail(lua_State *L, int rc, const struct publish *p, const char *name, const char *why)
{
    const struct origin *o = &p->append->origin;
    push_fail_because(L, rc, "%s %llu of producer %.*s, not %llu", why, (unsigned long long)p->number,
                      SLICE_ARGS(o->name), (unsigned long long)(rc == -ERR_FENCED ? o->epoch : o->sequence));
    lua_createtable(L, 0, 1);
    lua_pushinteger(L, (lua_Integer)p->number);
    lua_setfield(L, -2, name);
    return 4;
}

static int push_publish_fail(lua_State *L, const struct append_options *o, const struct publish *p, int rc)
{
    if (rc == -ERR_PRECONDITION)
        return push_expect_fail(L, o->topic);
    if (rc == -ERR_SEQUENCE_GAP)
        return push_sender_fail(L, rc, p, "expected", "the next is sequence");
    if (rc == -ERR_FENCED)
        return push_sender_fail(L, rc, p, "epoch", "the present one is epoch");
    return push_draft_fail(L, o->draft, rc);
}

static int wait_for(lua_State *L, struct task *self, const struct append_options *o, uint64_t want, lua_KFunction done)
{
    struct topic *t = o->topic;
    struct mark *mark = o->peers ? &t->peers : topic_ack_mark(t);
    if (o->peers && t->lead != NULL && t->lead->ship < want)
        t->lead->ship = want;          /* a `wal` topic ships later; this append waits for its peers now */
    return task_park_on(L, self, mark, want, o->timeout_ms == 0 ? ACK_MS : o->timeout_ms, o->peers, done);
}

/* A duplicate waits for the same mark as what it repeats: that may not be acknowledged yet. */
static int publish_and_wait(lua_State *L, struct task *self, const struct append_options *o)
{
    struct draft *d = o->draft;
    struct publish p = {.append = &d->append, .expect = d->has_expect ? &d->expect : NULL};
    int rc = topics_publish(o->topic, &p);
    draft_done(d);
    if (rc < 0)
        return push_publish_fail(L, o, &p, rc);
    task_appended(self);
    if (p.placed)
        lua_pushinteger(L, (lua_Integer)p.first);
    else
        lua_pushboolean(L, 1);
    lua_pushinteger(L, p.count);
    lua_pushinteger(L, (lua_Integer)p.epoch);
    return wait_for(L, self, o, p.want, p.duplicate ? o->again : o->done);
}

int append_and_wait(lua_State *L, struct task *self, int rc, const struct append_options *o)
{
    struct topic *t = o->topic;
    struct draft *d = o->draft;
    uint64_t first;
    if (rc == 0 && d->asks)
        return publish_and_wait(L, self, o);
    if (rc == 0)
        rc = topics_append(t, &d->append, &first);
    draft_done(d);
    if (rc < 0)
        return push_draft_fail(L, d, rc);
    task_appended(self);
    lua_pushinteger(L, (lua_Integer)first);
    lua_pushinteger(L, d->append.count);
    lua_pushinteger(L, (lua_Integer)d->append.epoch);
    return wait_for(L, self, o, first + d->append.count, o->done);
}
