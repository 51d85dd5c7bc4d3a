/*
 * A Lua state: its start and end, calls from C and from another state. The broker has several (script/worlds.h).
 *
 * Of each one C loads a single script by name. It returns the entry points that C calls. scripts/lignum/init.lua is
 * that of an operator's world:
 *
 *     load(options)              reads lignum.lua, checks it, or raises a list of errors; called once
 *     config(path)               the value at "store.segment.messages", or nil
 *     handle(request)            answers one request: status, body, headers
 *     timers()                   the declared every(): a list of {seconds =, fn =, where =}
 *     describe(), policy(), ...  what the core's world asks of it
 *
 * and scripts/lignum/duties.lua that of the core's:
 *
 *     use(description)           there is a new operator's world
 *     timers()                   the duties, as above, with duty = true
 *     repl_eval(id, text, write) | repl_complete(id, text) | repl_close(id)
 *     roster(), adopt(), ...     what the operator's world asks of it
 */
#ifndef SCRIPT_VM_VM_H
#define SCRIPT_VM_VM_H

#include <lua.h>

#include "base/buf.h"
#include "script/vm/blame.h"
#include "script/vm/memory.h"
#include "script/vm/services.h"
#include "script/vm/slot.h"
#include "script/vm/thread.h"   /* vm_of(L) */

struct vm;
struct tasks;
struct coverage;

struct vm_options {
    const char *scripts;          /* directory that holds lignum/ and routes/ */
    const char *config;           /* path of lignum.lua; NULL = defaults only */
    const char *const *set;       /* "store.segment.messages=10", ..., NULL-terminated: they win over the file */
    size_t memory_reserve;        /* above the cap, for the broker's own code (memory.h) */
    size_t memory_max;            /* the cap when limits.script_memory is not set; 0 = VM_MEMORY_MAX */
    const char *tests;            /* a file of tests (scripts/lignum/testing.lua); NULL: none */
    struct coverage *coverage;    /* notes the lines that run (coverage.h); NULL: nobody does */
    bool check;                   /* lignum.lua is only checked: it changes nothing outside of this process */
    const char *init;             /* the script to load: "init", "duties" */
    const char *world;            /* core.world: "operator", "core" */
    struct vm *first;             /* whose budget and chunks it shares, and which outlives it; NULL: it is the first */
    void (*open)(lua_State *L);   /* opens the libraries that scripts see; script_new sets it */
};

/* Opens the libraries and loads init.lua. 0; -ERR_SCRIPT..., which has been said, or -errno. Called by script_new. */
int vm_new(const struct vm_options *o, struct vm **out);
void vm_free(struct vm *vm);

/* Calls load(options). 0, or -ERR_BAD_VALUE with one error a line in `why`. */
int vm_load(struct vm *vm, struct buf *why);

/* The same in a task, which gives way: the broker goes on meanwhile. After vm_attach; `done` is called once. */
void vm_load_begin(struct vm *vm, void (*done)(void *arg, int rc, slice why), void *arg);

/* From now on bindings may act on the services. Called by script_attach. */
void vm_attach(struct vm *vm, const struct services *services);
/* For a world that has none (script/std/canary.h): its tasks run, and vm_services raises. */
void vm_attach_apart(struct vm *vm, const struct services *services);
MAY_RAISE const struct services *vm_services(lua_State *L);    /* raises before vm_attach, and while loading */

bool vm_is_attached(const struct vm *vm);

/* The VM that core.call and core.ask (bind/l_ask.c) call entry points of; NULL: none. */
void vm_set_peer(struct vm *vm, struct vm *peer);
struct vm *vm_peer(const struct vm *vm);
const char *vm_world(const struct vm *vm);

/* Of all VMs: see budget_begin_again. */
int vm_begin_again(struct vm *vm);

/* Of all VMs: see budget_set_stall. */
void vm_set_stall(struct vm *vm, uint32_t ms);

struct tasks *vm_tasks(const struct vm *vm);
struct chunks *vm_chunks(const struct vm *vm);
lua_State *vm_state(const struct vm *vm);
struct memory *vm_memory(struct vm *vm);
struct slots *vm_slots(struct vm *vm);

/* Live configuration. vm_config_text appends the value to `out`; false, and nothing appended: there is no such key.
 * vm_config_flag: every value but false and nil is true, because `authorize` is a function. */
bool vm_config_text(struct vm *vm, const char *path, struct buf *out);
double vm_config_number(struct vm *vm, const char *path, double otherwise);
bool vm_config_flag(struct vm *vm, const char *path, bool otherwise);

/* Pushes an entry point; vm_push_handle: handle, by a reference instead of its name. */
MAY_RAISE void vm_push_entry(struct vm *vm, lua_State *L, const char *name);
void vm_push_handle(lua_State *L);

/* Calls the function below `nargs` arguments on the main thread, outside of any task, with a budget and the cap. 0, or
 * -ERR_SCRIPT... with the message instead of results on the stack. */
int vm_call(struct vm *vm, int nargs, int nresults, uint32_t budget_ms);

/* Buffers for the binding that runs now, empty; a call that raises leaks nothing through them. They are different
 * ones, so that a body, its headers and the keys of a table can be written at the same time. */
struct buf *vm_scratch(struct vm *vm);
struct buf *vm_scratch_headers(struct vm *vm);
struct buf *vm_scratch_keys(struct vm *vm);

/* Frees the memory of a scratch buffer that one large call has grown. */
void vm_scratch_done(struct buf *b);

struct vm_stats {
    size_t memory, memory_max;
    uint64_t cpu_ns;              /* in Lua */
    uint64_t tasks_started, tasks_live, tasks_failed, budget_exceeded;
};
void vm_stats(const struct vm *vm, struct vm_stats *out);

#endif
