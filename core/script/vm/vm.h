/*
 * The Lua state: memory cap, loading of scripts, and the swap of a draft configuration for the live one.
 *
 * scripts/lignum/init.lua is the only script that C loads by name. It returns the entry points that C calls:
 *
 *     load(options)              reads lignum.lua into a draft, checks it, makes it live, or raises a list of errors;
 *                                start and reload are this same call
 *     config(path)               the live value at "store.segment.messages", or nil
 *     handle(request)            answers one request: status, body, headers
 *     timers()                   the declared every(): a list of {seconds =, fn =, where =}; the first time also the
 *                                duties (duty = true), which outlive reloads
 *     repl_eval(id, text, write) | repl_complete(id, text) | repl_close(id)
 */
#ifndef SCRIPT_VM_VM_H
#define SCRIPT_VM_VM_H

#include <lua.h>

#include "broker/cluster/cluster.h"
#include "net/fetch.h"
#include "net/http.h"

struct vm;
struct tasks;

struct vm_options {
    const char *scripts;          /* directory that holds lignum/ and routes/ */
    const char *config;           /* path of lignum.lua; NULL = defaults only */
    const char *const *set;       /* "store.segment.messages=10", ..., NULL-terminated: they win over the file */
    size_t memory_max;            /* where limits.script_memory says nothing; 0 = VM_MEMORY_MAX */
};

/* What bindings act on. Set once everything is open; before that, only what works at load time may be called. */
struct services {
    struct loop *loop;
    struct http_server *http;
    struct topics *topics;
    struct store *store;
    struct role *role;
    struct cluster *cluster;      /* NULL: this node is alone */
    struct fetcher *fetcher;
    const char *advertise;        /* address that others are told */
    void (*reload)(void *arg);    /* asks main for a reload in the next turn */
    bool (*ready)(void *arg, const char **why);
    void *arg;
};

int vm_new(const struct vm_options *o, struct vm **out);
void vm_free(struct vm *vm);

/* load(options) for the first time or again. 0, or -ERR_BAD_VALUE with one error a line in `why`: nothing has changed
 * then. */
int vm_load(struct vm *vm, struct buf *why);

void vm_attach(struct vm *vm, const struct services *services);
const struct services *vm_services(lua_State *L);    /* raises "not while loading" before vm_attach */
struct tasks *vm_tasks(struct vm *vm);
struct vm *vm_of(lua_State *L);
lua_State *vm_state(struct vm *vm);

/* Live configuration. The text is copied into `out`, which is left alone when there is no such key. */
bool vm_config_text(struct vm *vm, const char *path, struct buf *out);
double vm_config_number(struct vm *vm, const char *path, double otherwise);
bool vm_config_flag(struct vm *vm, const char *path, bool otherwise);

/* Pushes an entry point. */
void vm_push_entry(struct vm *vm, lua_State *L, const char *name);

struct vm_stats {
    size_t memory, memory_max;
    uint64_t cpu_ns;              /* in Lua */
    uint64_t tasks_started, tasks_live, tasks_failed, budget_exceeded;
};
void vm_stats(const struct vm *vm, struct vm_stats *out);

#endif
