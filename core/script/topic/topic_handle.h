/*
 * Topics as Lua objects: a name, and a reference to the topic that had it when it was last looked up.
 */
#ifndef SCRIPT_TOPIC_TOPIC_HANDLE_H
#define SCRIPT_TOPIC_TOPIC_HANDLE_H

#include "script/vm/state.h"

struct topic_handle {
    struct topic_ref ref;
    bool found;                       /* ref has been set */
    size_t name_size;
    char name[];                      /* and a NUL */
};

/* The handle at index 1. */
struct topic_handle *handle_check(lua_State *L, const char *usage);
slice handle_name(const struct topic_handle *h);

/* The topic that has the name now. 0; -ERR_UNKNOWN_TOPIC; -ERR_BAD_TOPIC: no topic can have it. */
int name_find(lua_State *L, slice name, struct topic **out);
int handle_find(lua_State *L, struct topic_handle *h, struct topic **out);

/* A handle of that topic, on the stack. */
void push_topic_handle(lua_State *L, const struct topic *t);

/* push_fail for what these said, with the name. */
int name_fail(lua_State *L, slice name, int rc);
int handle_fail(lua_State *L, const struct topic_handle *h, int rc);

/* Parks the running task until `offset` of t can be read, or ms have passed; call it as `return wait_readable(...)`.
 * `cont` finds the rc on top of the stack, as of task_park. -ERR_TOO_MANY, where it may not wait, is pushed as by
 * push_fail. */
int wait_readable(lua_State *L, struct topic *t, uint64_t offset, uint32_t ms, lua_KFunction cont);

/* In l_append.c, l_read.c, l_settings.c. */
int l_topic_append(lua_State *L);
int l_topic_read(lua_State *L);
int l_request_read(lua_State *L);
int l_topic_create(lua_State *L);
int l_topic_set(lua_State *L);
int l_topic_delete(lua_State *L);
void push_settings(lua_State *L, const struct topic_settings *s);  /* into the table on top */

#endif
