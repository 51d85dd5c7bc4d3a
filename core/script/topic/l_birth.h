/*
 * What a topic is born with (broker/topic/birth.h), from and to Lua.
 */
#ifndef SCRIPT_TOPIC_L_BIRTH_H
#define SCRIPT_TOPIC_L_BIRTH_H

#include <lua.h>

#include "base/buf.h"
#include "broker/topic/birth.h"
#include "script/vm/raise.h"

/* Reads {labels = {name = text}, source = id} at `index`, if it is there; labels are encoded into `out`, in the order
 * of their names. 0; -ERR_UNKNOWN_TOPIC: the id is none; -ERR_TOO_LARGE. A wrong type raises with `usage`. */
MAY_RAISE int birth_check(lua_State *L, int index, struct buf *out, struct topic_birth *birth, const char *usage);

/* Is the topic born so? */
bool birth_is(const struct topic *t, const struct topic_birth *birth);

/* Pushes a table of the labels. */
MAY_RAISE void push_labels(lua_State *L, const struct topic *t);

#endif
