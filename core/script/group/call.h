/*
 * What the functions of core.group share: each takes a topic and the name of a group first, and looks both up again
 * after each wait, because a group is freed when this node ceases to lead.
 */
#ifndef SCRIPT_GROUP_CALL_H
#define SCRIPT_GROUP_CALL_H

#include <lua.h>

#include "broker/group/groups.h"
#include "script/vm/raise.h"
#include "script/vm/wait.h"

enum { ARG_TOPIC = 1, ARG_GROUP, ARG_MORE };   /* where they are on the stack */

enum { GROUP_ACK_MS = 30 * 1000 };      /* how long a record waits for its acknowledgement */

struct group_call {
    struct groups *groups;
    struct topic *topic;
    struct held_group *group;
};

/* The topic, and the group, which may be used now. 0; -ERR_UNKNOWN_TOPIC; -ERR_UNKNOWN_GROUP; or of groups_use. */
MAY_RAISE int call_find_topic(lua_State *L, struct group_call *c, const char *usage);
MAY_RAISE int call_find(lua_State *L, struct group_call *c, const char *usage);

/* As call_find, for a call that is a use of the topic (broker/topic/expiry.h). */
MAY_RAISE int call_use(lua_State *L, struct group_call *c, const char *usage);

/* push_fail for what these returned, with the names. */
MAY_RAISE int call_fail(lua_State *L, int rc);

/* Waits until a record is acknowledged; call as `return call_wait(...)`. With want 0 there is nothing to wait for. */
MAY_RAISE int call_wait(lua_State *L, struct task *self, const struct group_call *c, uint64_t want, lua_KFunction done);

/* How that wait ended, by the rc on top, which it pops: 0, or -ERR_UNKNOWN_OUTCOME. */
MAY_RAISE int call_outcome(lua_State *L);

/* A lease as clients have it: the offset, and the number of the claim. */
void lease_write(struct buf *out, uint64_t offset, uint64_t claim);
bool lease_read(slice text, uint64_t *offset, uint64_t *claim);

MAY_RAISE int l_group_claim(lua_State *L);
MAY_RAISE int l_group_settle(lua_State *L);
MAY_RAISE int l_group_held(lua_State *L);
MAY_RAISE int l_group_give_back(lua_State *L);
MAY_RAISE int l_group_decide_retries(lua_State *L);
MAY_RAISE int l_group_retries(lua_State *L);
MAY_RAISE int l_group_ended(lua_State *L);
MAY_RAISE int l_group_retry(lua_State *L);

#endif
