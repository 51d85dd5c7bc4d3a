/*
 * Requests become tasks here, and every() becomes a task again and again.
 */
#include "script/script.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/say.h"
#include "script/bind/bind.h"
#include "script/http/request.h"

enum {
    TIMERS_MS = 100,                  /* for the entry point timers() */
    COMPLAINTS_PER_S = 20,            /* lines of failed requests in the log */
};

struct script {
    struct serving *spare;
    struct list tickers;
    uint64_t complaint_second;
    unsigned complaints;
};

static struct script *script_of(struct vm *vm)
{
    if (vm->script == NULL) {
        vm->script = MEM_NEW(struct script);
        list_init(&vm->script->tickers);
    }
    return vm->script;
}

/* ---- servings ---- */

static struct serving *serving_new(struct vm *vm, struct http_request *r)
{
    struct script *script = script_of(vm);
    struct serving *s = script->spare;
    if (s == NULL) {
        s = MEM_NEW(struct serving);
        s->vm = vm;
    } else {
        script->spare = s->spare;
    }
    s->request = r;
    s->streaming = false;
    s->params.count = 0;
    return s;
}

/* Lua objects may still point to it, so its memory stays; the generation tells them. */
static void serving_free(struct serving *s)
{
    struct script *script = script_of(s->vm);
    s->generation++;
    s->spare = script->spare;
    script->spare = s;
}

void serving_answered(struct serving *s)
{
    s->request = NULL;
    s->streaming = false;
}

/* ---- requests ---- */

/* A client who makes a script fail again and again does not fill the disk with its complaints. */
static void complain(struct vm *vm, const char *message)
{
    struct script *script = script_of(vm);
    uint64_t second = clock_ns() / NS_PER_S;
    if (script->complaint_second != second) {
        script->complaint_second = second;
        script->complaints = 0;
    }
    if (script->complaints++ < COMPLAINTS_PER_S)
        say_warn("script", "%s", message);
}

static int push_request(lua_State *L, void *arg)
{
    lua_pushcfunction(L, answer_run);
    request_push(L, arg);
    return 1;
}

/* To say that we are stopping is to say that nothing was done: a follower asks the next leader then. */
static int answer_code(const struct vm *vm, const struct task_result *r)
{
    bool stopping = r->rc == -ERR_CANCELLED || (r->rc < 0 && tasks_stopping(vm->tasks));
    if (!stopping)
        return r->rc;
    return r->appended ? -ERR_UNKNOWN_OUTCOME : -ERR_STOPPING;
}

static void on_served(void *arg, const struct task_result *r)
{
    struct serving *s = arg;
    if (r->rc < 0 && r->rc != -ERR_CANCELLED)
        complain(s->vm, r->message);
    if (s->request != NULL) {
        struct problem p = {.rc = answer_code(s->vm, r), .appended = r->appended};
        if (r->rc < 0)
            p.detail = slice_from(r->message);
        answer_error(s, &p);
    }
    serving_free(s);
}

static void on_left(void *arg)
{
    struct serving *s = arg;
    task_left(s->vm->tasks, s->worker);
}

static void serve(struct vm *vm, struct http_request *r)
{
    struct serving *s = serving_new(vm, r);
    struct task_options o = {.where = "a request", .push = push_request, .done = on_served, .arg = s, .guest = true};
    int rc = task_start(vm->tasks, &o, &s->worker);
    if (rc == 0) {
        http_on_left(r, on_left, s);
        return;
    }
    answer_error(s, &(struct problem){.rc = rc, .detail = SLICE("too many requests at once")});
    serving_free(s);
}

void script_accept(struct vm *vm)
{
    struct http_request *r;
    while ((r = http_next(vm->services.http)) != NULL)
        serve(vm, r);
}

void script_render_error(struct buf *out, int error, slice detail, struct http_answer *answer)
{
    answer->status = err_status(error);
    answer->type = SLICE("application/problem+json");
    problem_render(out, &(struct problem){.rc = error, .detail = detail});
}

/* ---- every(), and duties ---- */

struct ticker {
    struct list link;
    struct vm *vm;                    /* outlives us */
    struct watch watch;
    uint64_t delay_ns;
    int fn_ref;
    bool running, retired;            /* retired: of an old configuration; it ends with its run */
    bool duty;                        /* outlives reloads; begins at once, and again after `delay` should it fail */
    char where[128];
};

static void ticker_free(struct ticker *t)
{
    watch_fini(&t->watch);
    luaL_unref(t->vm->L, LUA_REGISTRYINDEX, t->fn_ref);
    list_remove(&t->link);
    mem_free(t);
}

static int push_ticker(lua_State *L, void *arg)
{
    const struct ticker *t = arg;
    lua_rawgeti(L, LUA_REGISTRYINDEX, t->fn_ref);
    return 0;
}

static void on_ticked(void *arg, const struct task_result *r)
{
    struct ticker *t = arg;
    t->running = false;
    if (r->rc < 0 && r->rc != -ERR_CANCELLED && !tasks_stopping(t->vm->tasks))
        say_error("script", "%s", r->message);
    if (t->retired)
        ticker_free(t);
    else
        watch_arm(&t->watch, t->delay_ns);
}

static void on_tick(void *arg)
{
    struct ticker *t = arg;
    struct task_options o = {.where = t->where, .push = push_ticker, .done = on_ticked, .arg = t};
    if (tasks_stopping(t->vm->tasks))
        return;
    t->running = task_start(t->vm->tasks, &o, NULL) == 0;
}

/* The declaration {seconds =, fn =, where =} lies on top. */
static void ticker_new(struct vm *vm)
{
    lua_State *L = vm->L;
    struct ticker *t = MEM_NEW(struct ticker);
    t->vm = vm;
    lua_getfield(L, -1, "seconds");
    t->delay_ns = (uint64_t)(lua_tonumber(L, -1) * (double)NS_PER_S);
    lua_getfield(L, -2, "where");
    snprintf(t->where, sizeof(t->where), "%s", lua_isstring(L, -1) ? lua_tostring(L, -1) : "a timer");
    lua_getfield(L, -3, "duty");
    t->duty = lua_toboolean(L, -1);
    lua_pop(L, 3);
    lua_getfield(L, -1, "fn");
    t->fn_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    list_push(&script_of(vm)->tickers, &t->link);
    watch_timer(vm->services.loop, &t->watch, on_tick, t);
    watch_arm(&t->watch, t->duty ? 1 : t->delay_ns);
}

static void tickers_retire(struct vm *vm)
{
    LIST_EACH(link, &script_of(vm)->tickers) {
        struct ticker *t = LIST_OWNER(link, struct ticker, link);
        if (t->duty)
            continue;
        t->retired = true;
        if (!t->running)
            ticker_free(t);
    }
}

void script_start_timers(struct vm *vm)
{
    lua_State *L = vm->L;
    int top = lua_gettop(L);
    tickers_retire(vm);
    vm_push_entry(vm, L, "timers");
    if (vm_call(vm, 0, 1, TIMERS_MS) < 0)
        say_error("script", "timers: %s", lua_tostring(L, -1));
    else if (lua_istable(L, -1))
        for (lua_Integer i = 1; lua_rawgeti(L, top + 1, i) == LUA_TTABLE; i++) {
            ticker_new(vm);
            lua_settop(L, top + 1);
        }
    lua_settop(L, top);
}

void script_close(struct vm *vm)
{
    struct script *script = vm->script;
    if (script == NULL)
        return;
    LIST_EACH(link, &script->tickers)
        ticker_free(LIST_OWNER(link, struct ticker, link));
    while (script->spare != NULL) {
        struct serving *s = script->spare;
        script->spare = s->spare;
        mem_free(s);
    }
    mem_free(script);
    vm->script = NULL;
}
