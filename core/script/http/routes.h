/*
 * The route patterns that scripts have registered, numbered from 1 on: what errors and counters call a request by.
 *
 * A pattern is registered once and never forgotten, so its text may name a running task.
 */
#ifndef SCRIPT_HTTP_ROUTES_H
#define SCRIPT_HTTP_ROUTES_H

#include "base/slice.h"
#include "net/http.h"
#include "script/vm/raise.h"
#include "script/vm/vm.h"

struct route {
    char *pattern;                    /* owned */
    unsigned counter;                 /* http_route's number, once attached */
};

/* The number of a pattern. 0: there are too many. */
unsigned route_register(struct vm *vm, slice pattern);

/* NULL: no route has this number. */
const struct route *route_get(struct vm *vm, uint64_t number);

/* Pushes the function that answers the request object at 1, which is alone on the stack, if its route is one of those
 * in the `handlers` of core.serve and nothing is asked of this request before: by access tokens, or limits of one
 * client. False, and nothing pushed: the entry point `handle` decides. */
MAY_RAISE bool route_push_handler(lua_State *L);

/* For http_on_head: an unknown path, or a method that the path does not support (l_route.c). `vm` is a struct vm. */
void route_judge(void *vm, const struct http_request *r, struct http_refusal *out);

/* Gives each pattern a counter of the server, those registered later included. */
void routes_attach(struct vm *vm, struct http_server *http);

#endif
