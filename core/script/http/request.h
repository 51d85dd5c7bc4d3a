/*
 * Requests as Lua objects (l_request.c), and what becomes of them (answer.c).
 *
 * A serving is one request on its way to its answer. It is pooled; the Lua object keeps its generation and finds it
 * gone once the request has been answered.
 */
#ifndef SCRIPT_HTTP_REQUEST_H
#define SCRIPT_HTTP_REQUEST_H

#include "script/vm/state.h"
#include "script/vm/task.h"

/* The {names} of a route and the parts of a path that they stand for. */
struct params {
    unsigned count;
    const slice *names;
    slice values[ROUTE_NAMES_MAX];
};

struct serving {
    struct vm *vm;                    /* outlives us */
    struct http_request *request;     /* NULL once it is answered */
    struct serving *spare;            /* the next one in the pool */
    unsigned generation;
    bool streaming;
    struct params params;             /* as the request's route has found them */
    struct task_ticket worker;        /* the task that answers it */
    struct task *task;                /* that streams */
    struct task_ticket ticket;        /* of its wait until the client has read */
};

/* Pushes the Lua object of a request. */
void request_push(lua_State *L, struct serving *s);

/* The request at `index`; raises when it is no request, or one that has been answered. */
struct http_request *request_check(lua_State *L, int index, const char *usage);

/* The serving of the request object at `index`; NULL when it has been answered. */
struct serving *request_serving(lua_State *L, int index);

/* Its path, decoded but for %2F; `text` has HTTP_TARGET_MAX bytes, which it may point into. */
slice request_path(const struct http_request *r, char *text);

/* What the route of the request object at 1 has found in the tree at 2, whose names these are. `passing`: the values
 * will not stay. */
void request_found(lua_State *L, const struct params *found, bool passing);

/* Pushes a new table of them. */
void push_params(lua_State *L, const struct params *p);

int l_request_route(lua_State *L);    /* l_route.c */
void publish_open(lua_State *L);      /* l_publish.c: adds req:publish to the table on top */

/* A task's function, for a request object: calls the entry point handle and answers by its results. */
int answer_run(lua_State *L);

/* An error as application/problem+json (RFC 9457). */
struct problem {
    int rc;
    slice detail;                     /* n == 0: the code's own sentence */
    bool appended;                    /* something may have been stored all the same */
};
void problem_render(struct buf *out, const struct problem *p);

/* Answers with an error, or cuts a stream off. */
void answer_error(struct serving *s, const struct problem *p);

/* The answer has been made: the request belongs to the HTTP layer again. */
void serving_answered(struct serving *s);

/* What the query of a read says, where it is as most readers ask: `from` an offset or a token, and nothing else but
 * whole numbers named to, limit, bytes and wait, each at most once and within its bounds. False for any other. */
struct question {
    bool token;                       /* `from` came with an epoch */
    uint64_t epoch;
    uint64_t from, to, limit, bytes;  /* to: UINT64_MAX where it was not said; the others' defaults are filled in */
    uint64_t wait_s;
};
bool request_question(const struct http_request *r, struct question *q);

#endif
