/*
 * Requests as Lua objects: what bindings need of them. l_request.c has the fields and methods that scripts see.
 */
#ifndef SCRIPT_HTTP_REQUEST_H
#define SCRIPT_HTTP_REQUEST_H

#include "script/http/exchange.h"
#include "script/vm/raise.h"

/* User values of the object: tables and strings that have been made once; FACTS: what the route and authorize say. */
enum { REQUEST_PARAMS = 1, REQUEST_HEADERS, REQUEST_QUERY, REQUEST_BODY, REQUEST_TREE, REQUEST_FACTS,
       REQUEST_VALUES = REQUEST_FACTS };

/* Pushes the object of a request. */
MAY_RAISE void request_push(lua_State *L, struct exchange *x);

/* The request at `index`. Raises when it is no request, or has been answered. */
MAY_RAISE struct http_request *request_check(lua_State *L, int index, const char *usage);

/* The same where `index` is known to be a request object. */
MAY_RAISE struct http_request *request_at(lua_State *L, int index);

/* The exchange of the request object at `index`; NULL once it has been answered. */
struct exchange *request_exchange(lua_State *L, int index);

/* The path, decoded except for %2F. `text` has HTTP_TARGET_MAX bytes; the result may point into it. */
slice request_path(const struct http_request *r, char *text);

/* The part of its path that a {name} of its route stands for; n == 0: its route has no such name. From the table of
 * params once a script has asked for it, for it may have changed the table. Valid until the request is answered, or a
 * script changes that table. Raises when it has been answered. */
MAY_RAISE slice request_param(lua_State *L, int index, slice name);

/* Keeps what the request object at 1 has found in the tree at 2, which owns the names. `copied`: the values point into
 * a buffer of the caller's, so their table is made at once. */
MAY_RAISE void request_set_params(lua_State *L, const struct params *found, bool copied);

/* Pushes a new table of them. */
MAY_RAISE void push_params(lua_State *L, const struct params *p);

#endif
