/*
 * An exchange: one request on its way to its answer.
 *
 * States:
 *     free        in the pool                      exchange_new -> open
 *     open        request != NULL, !streaming      answer.c -> answered, or streaming
 *     streaming   request != NULL, streaming       the end or failure of the stream -> answered
 *     answered    request == NULL                  the end of its task -> free
 *
 * Once answered, the request belongs to the HTTP layer again. The Lua object of a request outlives the exchange: it
 * keeps the generation, which grows when the exchange is freed, and raises once that differs. So the memory of an
 * exchange stays in the pool until the VM ends.
 */
#ifndef SCRIPT_HTTP_EXCHANGE_H
#define SCRIPT_HTTP_EXCHANGE_H

#include "base/limits.h"
#include "net/http.h"
#include "script/vm/vm.h"
#include "script/vm/wait.h"

/* The {names} of a route, and the parts of a path that they stand for. */
struct params {
    unsigned count;
    const slice *names;               /* the tree's */
    slice values[ROUTE_NAMES_MAX];
};

struct exchange {
    struct vm *vm;                    /* outlives us */
    struct http_request *request;     /* NULL once it is answered */
    struct exchange *spare;           /* the next one in the pool */
    unsigned generation;
    bool streaming;
    struct params params;             /* of the request's route */
    const char *pattern;              /* of its route, which lives as long as the VM; NULL: none is found yet */
    struct task_ticket worker;        /* the task that answers it */
    struct task *task;                /* the task that streams */
    struct task_ticket drained;       /* its wait until the client has read */
};

struct exchange *exchange_new(struct vm *vm, struct http_request *r);
void exchange_free(struct exchange *x);

/* Gives the request up, to be answered by the caller. */
struct http_request *exchange_take_request(struct exchange *x);

#endif
