/*
 * Topics as Lua objects: a name, and a reference to the topic that last had it. A handle may outlive its topic; each
 * use looks the topic up again, by reference, then by name.
 */
#ifndef SCRIPT_TOPIC_TOPIC_HANDLE_H
#define SCRIPT_TOPIC_TOPIC_HANDLE_H

#include <lua.h>

#include "broker/topic/topics.h"
#include "script/vm/raise.h"

#define STREAMS_LOG_NAME "_streams"      /* of core.internal: scripts/routes/durable_streams/subscriptions.lua */

struct topic_handle {
    struct topic_ref ref;
    bool found;                       /* ref has been set */
    bool gone_too;                    /* it finds a topic that is gone; for all others there is none of the name */
    bool internal;                    /* of core.internal: it reads and appends to an internal topic of scripts */
    size_t name_size;
    char name[];                      /* and a NUL */
};

/* The handle at index 1. */
MAY_RAISE struct topic_handle *handle_check(lua_State *L, const char *usage);
slice handle_name(const struct topic_handle *h);

/* Pushes a new handle of a name, or of a topic. */
MAY_RAISE struct topic_handle *handle_new(lua_State *L, slice name);
MAY_RAISE void push_topic_handle(lua_State *L, const struct topic *t);

/* The topic that has the name now. 0; -ERR_UNKNOWN_TOPIC; -ERR_BAD_TOPIC: no topic can have this name; -ERR_FORBIDDEN:
 * it is _tokens, or _streams without handle.internal. */
MAY_RAISE int name_find(lua_State *L, slice name, struct topic **out);
MAY_RAISE int handle_find(lua_State *L, struct topic_handle *h, struct topic **out);

/* push_fail for what these returned, with the name. */
MAY_RAISE int name_fail(lua_State *L, slice name, int rc);
MAY_RAISE int handle_fail(lua_State *L, const struct topic_handle *h, int rc);

/* Parks the running task until `offset` of t can be read, or ms have passed; call as `return wait_readable(...)`.
 * `cont` finds the rc on top of the stack, as after task_park. Where the task may not wait, it pushes -ERR_TOO_MANY by
 * push_fail instead. */
MAY_RAISE int wait_readable(lua_State *L, struct topic *t, uint64_t offset, uint32_t ms, lua_KFunction cont);

#endif
