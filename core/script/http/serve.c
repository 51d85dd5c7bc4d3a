#include "script/http/serve.h"

#include <stdio.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "script/http/answer.h"
#include "script/http/request.h"
#include "script/vm/task.h"

enum {
    SAID_PER_S = 20,                  /* failed requests in the log */
    FAILURE_ID = 9,                   /* of a failure: 8 digits and a NUL */
};

struct said {
    uint64_t second;
    unsigned count;                   /* in that second */
};

/* A limited number of lines a second: a client that makes a script fail again and again must not fill the disk. False:
 * it is one too many. */
static bool say_failure(struct vm *vm, const struct task_result *r, const char *id)
{
    struct slots *slots = vm_slots(vm);
    if (slot_get(slots, SLOT_SAID) == NULL)
        slot_set(slots, SLOT_SAID, MEM_NEW(struct said), mem_free);
    struct said *said = slot_get(slots, SLOT_SAID);
    uint64_t second = clock_ns() / NS_PER_S;
    if (said->second != second) {
        if (said->count > SAID_PER_S)
            say_warn("script", "%u more failed requests of one second are left out", said->count - SAID_PER_S);
        *said = (struct said){.second = second};
    }
    if (said->count++ >= SAID_PER_S)
        return false;
    task_say_failure(SAY_WARN, r, id);
    return true;
}

static int push_request(lua_State *L, void *arg)
{
    lua_pushcfunction(L, answer_run);
    request_push(L, arg);
    return 1;
}

/* `stopping` promises that nothing was done: a follower that gets it sends the request to the next leader. */
static int answer_code(const struct vm *vm, const struct task_result *r)
{
    bool stopping = r->rc == -ERR_CANCELLED || (r->rc < 0 && tasks_stopping(vm_tasks(vm)));
    if (!stopping)
        return r->rc;
    return r->appended ? -ERR_UNKNOWN_OUTCOME : -ERR_STOPPING;
}

/* What finds the log's line of a failure, from the answer that its client has. */
static void make_id(char id[FAILURE_ID])
{
    uint32_t number;
    ENSURE(getrandom(&number, sizeof(number), 0) == sizeof(number));
    snprintf(id, FAILURE_ID, "%08x", number);
}

/* What clients need not know, such as the paths of files, is in the log alone. */
static void on_served(void *arg, const struct task_result *r)
{
    struct exchange *x = arg;
    char id[FAILURE_ID];
    bool failed = r->rc < 0 && r->rc != -ERR_CANCELLED, said = false;
    if (failed) {
        make_id(id);
        said = say_failure(x->vm, r, id);
    }
    if (x->request != NULL) {
        struct buf detail = {0};
        if (failed)
            buf_addf(&detail, "%s failed%s", r->what, said ? "; the node's log says more under this id" : "");
        else if (r->rc < 0)
            buf_addf(&detail, "%s", r->message);
        struct problem p = {.rc = answer_code(x->vm, r), .detail = buf_slice(&detail), .appended = r->appended,
                            .id = said ? id : NULL};
        answer_error(x, &p);
        buf_fini(&detail);
    }
    exchange_free(x);
}

static void on_left(void *arg)
{
    struct exchange *x = arg;
    task_left(vm_tasks(x->vm), x->worker);
}

/* What tells others that this node lives, and how, must not wait for a crowd: without it a node loses the leadership,
 * and its operator does not see why. */
bool serve_is_reserved(slice path)
{
    return slice_eq(path, SLICE("/healthz")) || slice_eq(path, SLICE("/readyz")) || slice_eq(path, SLICE("/metrics"));
}

void serve_accept(struct vm *vm)
{
    struct http_request *r;
    struct http_server *http = vm_services(vm_state(vm))->http;
    while ((r = http_next(http)) != NULL) {
        struct exchange *x = exchange_new(vm, r);
        struct task_options o = {
            .where = "a request", .push = push_request, .done = on_served, .arg = x, .guest = true,
            .first = serve_is_reserved(r->head.path)};
        int rc = task_start(vm_tasks(vm), &o, &x->worker);
        if (rc == 0) {
            http_on_left(r, on_left, x);
        } else {
            answer_error(x, &(struct problem){.rc = rc, .detail = SLICE("too many requests at once")});
            exchange_free(x);
        }
    }
}
