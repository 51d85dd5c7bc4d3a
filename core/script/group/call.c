#include "script/group/call.h"

#include "base/err.h"
#include "script/bind/arg.h"
#include "script/bind/result.h"
#include "script/topic/topic_handle.h"
#include "script/vm/task.h"
#include "script/vm/vm.h"

int call_find_topic(lua_State *L, struct group_call *c, const char *usage)
{
    slice topic = arg_text(L, ARG_TOPIC, "topic", usage);
    arg_text(L, ARG_GROUP, "group", usage);
    c->groups = vm_services(L)->groups;
    c->group = NULL;
    return name_find(L, topic, &c->topic);
}

int call_find(lua_State *L, struct group_call *c, const char *usage)
{
    int rc = call_find_topic(L, c, usage);
    if (rc < 0)
        return rc;
    if (!role_leads(topics_role(c->topic->topics)))
        return -ERR_NOT_LEADER;
    c->group = groups_find(c->groups, c->topic, arg_text(L, ARG_GROUP, "group", usage));
    if (c->group == NULL)
        return -ERR_UNKNOWN_GROUP;
    return groups_use(c->groups, c->group, c->topic);
}

int call_use(lua_State *L, struct group_call *c, const char *usage)
{
    int rc = call_find(L, c, usage);
    if (rc == 0)
        topic_used(c->topic);
    return rc;
}

int call_fail(lua_State *L, int rc)
{
    slice topic = {0};
    topic.p = lua_tolstring(L, ARG_TOPIC, &topic.n);
    if (rc == -ERR_UNKNOWN_GROUP)
        return push_fail_because(L, rc, "topic %s has no group %s", topic.p, lua_tostring(L, ARG_GROUP));
    return name_fail(L, topic, rc);
}

int call_wait(lua_State *L, struct task *self, const struct group_call *c, uint64_t want, lua_KFunction done)
{
    if (want == 0) {
        lua_pushinteger(L, 0);
        return done(L, LUA_OK, 0);
    }
    task_appended(self);
    return task_park_on(L, self, groups_mark(c->groups, c->topic), want, GROUP_ACK_MS, 0, done);
}

/* A record may be on every member of a set that has become smaller than the topic's `copies` meanwhile. */
int call_outcome(lua_State *L)
{
    struct topic *t;
    slice topic = {0};
    int rc = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    topic.p = lua_tolstring(L, ARG_TOPIC, &topic.n);
    if (rc == 0)
        rc = name_find(L, topic, &t);
    bool live = rc == 0 && t->settings->replication == REPLICATION_LIVE;
    if (live && t->settings->copies > role_copies(topics_role(t->topics)))
        rc = -ERR_NO_COPIES;
    return rc == 0 ? 0 : -ERR_UNKNOWN_OUTCOME;
}

enum { CLAIM_DIGITS = 16 };

void lease_write(struct buf *out, uint64_t offset, uint64_t claim)
{
    static const char digits[] = "0123456789abcdef";
    buf_add_u64(out, offset);
    char *to = buf_reserve(out, 1 + CLAIM_DIGITS);
    *to = '-';
    for (int i = CLAIM_DIGITS; i > 0; i--, claim >>= 4)
        to[i] = digits[claim & 15];
    out->end += 1 + CLAIM_DIGITS;
}

bool lease_read(slice text, uint64_t *offset, uint64_t *claim)
{
    static const unsigned char more[256] = {         /* one more than the digit; 0: it is none */
        ['0'] = 1, ['1'] = 2, ['2'] = 3, ['3'] = 4, ['4'] = 5, ['5'] = 6, ['6'] = 7, ['7'] = 8, ['8'] = 9, ['9'] = 10,
        ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16};
    slice digits;
    if (!slice_split(&text, '-', &digits) || slice_u64(digits, offset) < 0 || text.n != CLAIM_DIGITS)
        return false;
    uint64_t number = 0;
    for (size_t i = 0; i < CLAIM_DIGITS; i++) {
        unsigned above = more[(unsigned char)text.p[i]];
        if (above == 0)
            return false;
        number = number << 4 | (above - 1);
    }
    *claim = number;
    return true;
}
