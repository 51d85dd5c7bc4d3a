/*
 * The Lua tables of this room (see bind/tables.h), and the functions of the topic object that have files of their own.
 */
#ifndef SCRIPT_TOPIC_TABLES_H
#define SCRIPT_TOPIC_TABLES_H

#include <lua.h>

#include "broker/topic/settings.h"
#include "script/vm/raise.h"

MAY_RAISE void batch_open(lua_State *L);
MAY_RAISE void topic_open(lua_State *L);

/* These add a method to the object of requests: call them after request_open. */
MAY_RAISE void publish_open(lua_State *L);
MAY_RAISE void append_open(lua_State *L);
MAY_RAISE void read_open(lua_State *L);

MAY_RAISE int l_topic_append(lua_State *L);
MAY_RAISE int l_topic_read(lua_State *L);
MAY_RAISE int l_topic_barrier(lua_State *L);
MAY_RAISE int l_topic_create(lua_State *L);
MAY_RAISE int l_topic_set(lua_State *L);
MAY_RAISE int l_topic_delete(lua_State *L);
MAY_RAISE int l_topics_delete(lua_State *L);

/* Sets the settings as fields of the table on top. */
MAY_RAISE void push_settings(lua_State *L, const struct topic_settings *s);

#endif
