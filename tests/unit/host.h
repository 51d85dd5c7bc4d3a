/*
 * A whole script layer for tests: a Lua state, tasks, a real store and topics in the current directory, an HTTP server
 * and a loop. init.lua is a few lines here, and makes the names of lignum.core globals.
 */
#ifndef UNIT_HOST_H
#define UNIT_HOST_H

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/err.h"
#include "broker/access/access.h"
#include "net/quota.h"
#include "script/script.h"
#include "store/recovery/open.h"

static const char host_init[] =
    "for name, value in pairs(require 'lignum.core') do _G[name] = value end\n"
    "local M = {}\n"
    "function M.load(options) if LOAD then LOAD(options) end end\n"
    "function M.config(path) return CONFIG and CONFIG[path] end\n"
    "function M.handle(req) return HANDLE(req) end\n"
    "function M.timers() return TIMERS or {} end\n"
    "function M.repl_eval(...) return EVAL(...) end\n"
    "function M.repl_complete(...) return COMPLETE(...) end\n"
    "function M.repl_close() end\n"
    "return M\n";

struct host {
    struct loop loop;
    struct vm *vm;
    struct store *store;
    struct role role;
    struct topics *topics;
    struct http_server *http;
    struct fetcher *fetcher;
    struct shared *shared;
    struct meters *meters;
    struct sync *sync;
    struct watch synced, guard;
    struct access *access;
    struct quotas *quotas;
    bool (*until)(struct host *h);    /* host_turns ends when it returns true */
    int running;                      /* tasks of host_start that have not ended */
    int rc;                           /* of the task that ended last, */
    char text[512];                   /* its first result or its message */
    bool appended;
    struct task_ticket ticket;        /* of the last one started */
    bool operator_code;               /* those started from now on run the operator's code */
};

static inline void host_write(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    ENSURE(file != NULL);
    fputs(text, file);
    fclose(file);
}

static inline void host_on_synced(void *arg)
{
    store_collect(((struct host *)arg)->store);
}

static inline void host_open_vm(struct host *h, size_t memory_max)
{
    struct vm_options o = {.scripts = "scripts", .memory_max = memory_max};
    mkdir("scripts", 0777);
    mkdir("scripts/lignum", 0777);
    host_write("scripts/lignum/init.lua", host_init);
    ENSURE(script_new(o, &h->vm) == 0);
}

static inline void host_open_store(struct host *h)
{
    struct buf why = {0};
    struct store_options o = {
        .path = "data", .node_name = "n1", .files_max = 16, .sync_interval_ms = 1000, .moved = topic_moved};
    ENSURE(store_open(&o, &h->store, &why) == 0);
    ENSURE(role_init_alone(&h->role, h->store) == 0);
    ENSURE(topics_open(h->store, &h->role, &h->topics, &why) == 0);
    buf_fini(&why);
}

/* memory_max 0: the usual cap. */
static inline void host_open(struct host *h, size_t memory_max)
{
    struct http_limits limits = {
        .connections = 64, .body = HTTP_BODY_MAX, .bodies = HTTP_BODIES_MAX, .head_ms = 5000, .body_ms = 5000,
        .idle_ms = 5000, .write_ms = 5000};
    *h = (struct host){0};
    ENSURE(loop_init(&h->loop) == 0);
    host_open_vm(h, memory_max);
    host_open_store(h);
    h->http = http_server_new(&h->loop, &limits);
    http_on_error(h->http, script_render_error);
    h->fetcher = fetcher_new(&h->loop);
    h->shared = shared_new();
    h->meters = meters_new();
    h->sync = sync_new();
    h->quotas = quotas_new();
    struct buf why = {0};
    ENSURE(access_open(h->topics, &h->access, &why) == 0);
    watch_readable(&h->loop, &h->synced, store_event_fd(h->store), host_on_synced, h);
    struct services services = {.loop = &h->loop, .http = h->http, .topics = h->topics, .store = h->store,
                                .role = &h->role, .fetcher = h->fetcher, .shared = h->shared,
                                .meters = h->meters, .called = meters_called, .sync = h->sync,
                                .access = h->access, .quotas = h->quotas,
                                .advertise = "127.0.0.1:1"};
    script_attach(h->vm, &services);
    script_serve(h->vm);
}

static inline void host_close(struct host *h)
{
    tasks_free(vm_tasks(h->vm));
    shared_free(h->shared);
    meters_free(h->meters);
    watch_fini(&h->synced);
    watch_fini(&h->guard);
    http_server_free(h->http);
    fetcher_free(h->fetcher);
    access_close(h->access);
    quotas_free(h->quotas);
    topics_close(h->topics);
    store_close(h->store);
    vm_free(h->vm);
    sync_free(h->sync);
    loop_fini(&h->loop);
}

static inline void host_turn(void *arg)
{
    struct host *h = arg;
    topics_apply(h->topics);
    serve_accept(h->vm);
    tasks_run(vm_tasks(h->vm));
    store_flush(h->store);
    store_sync(h->store);
    http_flush(h->http);
    if (h->until(h))
        loop_stop(&h->loop);
    else if (store_deadline_ns(h->store) != 0)
        loop_again(&h->loop);
}

static inline void host_turns(struct host *h, bool (*until)(struct host *h))
{
    h->until = until;
    loop_again(&h->loop);
    loop_run(&h->loop, host_turn, h);
}

/* ---- tasks ---- */

struct host_task {
    struct host *host;
    const char *code;
};

static inline int host_push(lua_State *L, void *arg)
{
    const struct host_task *t = arg;
    if (luaL_loadbufferx(L, t->code, strlen(t->code), "=test", "t") != LUA_OK) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        abort();
    }
    return 0;
}

static inline void host_done(void *arg, const struct task_result *r)
{
    struct host_task *t = arg;
    struct host *h = t->host;
    const char *text = r->rc < 0 ? r->message : r->values > 0 ? luaL_tolstring(r->L, -r->values, NULL) : "";
    snprintf(h->text, sizeof(h->text), "%s", text);
    h->rc = r->rc;
    h->appended = r->appended;
    h->running--;
    free(t);
}

static inline int host_start(struct host *h, const char *code)
{
    struct host_task *t = malloc(sizeof(*t));
    *t = (struct host_task){h, code};
    struct task_options o = {
        .where = "a test", .push = host_push, .done = host_done, .arg = t, .guest = true,
        .operator_code = h->operator_code};
    int rc = task_start(vm_tasks(h->vm), &o, &h->ticket);
    if (rc < 0)
        free(t);
    else
        h->running++;
    return rc;
}

static inline bool host_idle(struct host *h)
{
    return h->running == 0;
}

/* Runs code as a task, until all tasks have ended. Its first result, or the error, as text. */
static inline slice host_eval(struct host *h, const char *code)
{
    ENSURE(host_start(h, code) == 0);
    host_turns(h, host_idle);
    return slice_from(h->text);
}

#endif
