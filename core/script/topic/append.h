/*
 * Appending a draft and waiting for its acknowledgement, as topic:append and req:publish share it.
 */
#ifndef SCRIPT_TOPIC_APPEND_H
#define SCRIPT_TOPIC_APPEND_H

#include "broker/topic/topic.h"
#include "script/message/encode.h"
#include "script/vm/wait.h"

struct append_options {
    struct topic *topic;
    struct draft *draft;
    bool peers;                       /* wait for the mark `peers`, whatever the topic acknowledges at */
    uint32_t timeout_ms;              /* 0: ACK_MS */
    lua_KFunction done;               /* as task_park's; its context is `peers` */
    lua_KFunction again;              /* the same, of a duplicate */
};

enum { ACK_MS = 30 * 1000 };          /* how long an append waits for its acknowledgement */

/* Appends the draft, or fails with `rc`, the result of encoding it. Pushes the first offset (true: a duplicate whose
 * place is not known, and then the next two are 0), the count and the epoch, and waits for the acknowledging mark. Call
 * as `return append_and_wait(...)`. */
MAY_RAISE int append_and_wait(lua_State *L, struct task *self, int rc, const struct append_options *o);

/* Pushes nil, message, precondition_failed, {token =}: where the next append goes. NULL: there is no topic, and what is
 * expected is not the begin of one. */
MAY_RAISE int push_expect_fail(lua_State *L, const struct topic *t);

/* A `done` that returns these three, or nil, message, code. */
MAY_RAISE int append_done(lua_State *L, int status, lua_KContext context);

/* An `again` that returns {duplicate = true} after them. */
MAY_RAISE int append_done_again(lua_State *L, int status, lua_KContext context);

#endif
