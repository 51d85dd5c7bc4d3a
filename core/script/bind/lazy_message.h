/*
 * The message that an on_publish hook sees: a table whose `headers` is made only when the hook asks for it.
 *
 * Most hooks look at the payload alone. The table begins with the payload, the topic and a metatable; when the hook
 * reads a field that is absent, iterates over the table, encodes it or gives it a metatable, `headers` is added and the
 * metatable is dropped. From then on the message is an ordinary table.
 */
#ifndef SCRIPT_BIND_LAZY_MESSAGE_H
#define SCRIPT_BIND_LAZY_MESSAGE_H

#include <lua.h>

#include "script/vm/raise.h"

/* Makes the metatable of such messages and leaves it on the stack. Called once for each VM. */
MAY_RAISE void lazy_message_metatable(lua_State *L);

/* Completes the table at `index`, which is positive, if it is such a message. */
MAY_RAISE void lazy_message_complete(lua_State *L, int index);

#endif
