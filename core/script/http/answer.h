/*
 * From what a handler returned (status, body, headers) to the answer of its request.
 *
 *     body nil        none                      a batch    rendered from the stored bytes
 *          a string   text/plain by default     records    sent from their file
 *          a table    JSON                      function   called with write(bytes or a batch), which waits for a slow
 *                                                          client
 *
 *     headers         a table; a string, the Content-Type; or a batch or records, for the headers of their read
 *                     (message/read_headers.h)
 */
#ifndef SCRIPT_HTTP_ANSWER_H
#define SCRIPT_HTTP_ANSWER_H

#include "script/http/exchange.h"
#include "script/http/problem.h"
#include "script/vm/raise.h"

/* The function of a request's task; its argument is the request object. Calls the handler of its route, or the entry
 * point handle (route_push_handler), and answers by its results. */
MAY_RAISE int answer_run(lua_State *L);

/* Answers with an error, or cuts off the stream that has begun. */
void answer_error(struct exchange *x, const struct problem *p);

#endif
