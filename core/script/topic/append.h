/*
 * Appending, as topic:append (l_append.c) and req:publish (l_publish.c) share it.
 */
#ifndef SCRIPT_TOPIC_APPEND_H
#define SCRIPT_TOPIC_APPEND_H

#include "script/message/encode.h"
#include "script/vm/task.h"

struct appending {
    struct topic *topic;
    struct draft *draft;
    bool peers;                       /* wait for what `peers` says, whatever the topic acknowledges at */
    uint32_t timeout_ms;              /* 0: the usual one */
    lua_KFunction done;               /* as task_park's; its context is `peers` */
};

/* Appends a draft, or fails with `rc`, which its making came to. Pushes the first offset, the count and the epoch, and
 * waits for the acknowledging mark. Call as `return append(...)`. */
int append(lua_State *L, struct task *self, int rc, const struct appending *a);

/* A `done`: the three -> first, count, epoch | nil, message, code. */
int appended(lua_State *L, int status, lua_KContext context);

/* What a publish is answered with. */
struct receipt {
    uint64_t first, count, epoch;
    bool peers;                       /* they were waited for */
};

/* Pushes it as JSON. */
int push_receipt(lua_State *L, struct topic *t, const struct receipt *r);

#endif
