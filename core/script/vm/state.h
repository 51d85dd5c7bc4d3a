/*
 * struct vm as the files of this folder see it, and nobody else.
 */
#ifndef SCRIPT_VM_STATE_H
#define SCRIPT_VM_STATE_H

#include <lauxlib.h>

#include "base/buf.h"
#include "script/vm/budget.h"
#include "script/vm/pool.h"
#include "script/vm/vm.h"

/* Kinds of objects that C gives to Lua. Lists and messages are tables; a message is one of them until it is whole. */
enum kind {
    KIND_TOPIC, KIND_BATCH, KIND_RANGE, KIND_REQUEST, KIND_FETCH, KIND_LIST, KIND_TREE, KIND_MESSAGE, KINDS
};

struct vm_route {
    char *pattern;                    /* owned; never freed before the VM, so tasks may name it */
    unsigned counter;                 /* what http_route returned */
};

struct vm {
    lua_State *L;
    size_t used, used_max;            /* bytes of Lua's heap; the cap */
    struct pool pool;                 /* of Lua's small pieces */
    size_t memory_default;            /* the cap where limits.script_memory says nothing */
    size_t foreign, foreign_next;     /* bytes that Lua's objects own outside of it; when to collect next */
    size_t relieve_at;                /* when vm_relieve collects */
    bool capped;                      /* scripts are running */
    bool attached, loading;
    struct budget budget;
    struct services services;
    struct tasks *tasks;              /* owned; NULL once freed */
    struct script *script;            /* owned by script.c */
    struct vm_route *routes;          /* owned; number 1 is at 1 */
    unsigned route_count, route_cap;
    const void *kind[KINDS];          /* the metatables, by identity */
    int kind_ref[KINDS];              /* and in the registry */
    int entries_ref, handle_ref;      /* the entry points; that of requests */
    /* For the bindings, one call at a time: what they hold here leaks nothing when a call raises. */
    struct buf scratch, extra, keys;
    char *scripts, *config, **set;    /* owned copies of the options */
};

/* Lua keeps one pointer in front of each thread. Its lowest bit says that only the core may resume the thread: it is a
 * task's own, or it waits in a call of ours. */
static inline uintptr_t *vm_word(lua_State *L)
{
    return (uintptr_t *)lua_getextraspace(L);
}

static inline struct vm *vm_of_thread(lua_State *L)
{
    return (struct vm *)(*vm_word(L) & ~(uintptr_t)1);
}

static inline bool thread_is_ours(lua_State *co)
{
    return *vm_word(co) & 1;
}

static inline void thread_set_ours(lua_State *co, bool ours)
{
    *vm_word(co) = (*vm_word(co) & ~(uintptr_t)1) | ours;
}

/* An empty buffer for the call that runs now. */
struct buf *vm_scratch(struct vm *vm);

/* Gives a buffer's memory back when one large call has grown it. */
void vm_scratch_done(struct buf *b);

/* Counts memory that a Lua object owns outside of Lua's heap, so that it is collected in time and within the cap.
 * Raises a memory error past it. */
void vm_claim(lua_State *L, size_t n);
void vm_release(struct vm *vm, size_t n);

/* Why a run ended with an error, for its message and code. */
struct error_cause {
    int status;                       /* LUA_ERRRUN, ... */
    bool over;                        /* its budget */
    uint32_t budget_ms;
};
void error_describe(struct buf *out, lua_State *L, const struct vm *vm, struct error_cause cause);
int error_code(struct error_cause cause);
void tasks_count(const struct tasks *ts, struct vm_stats *out);   /* task.c */

/* Calls what lies below `nargs` arguments with a budget and the cap, outside of a task. 0, or -ERR_SCRIPT... with the
 * message (instead of results) on the stack. */
int vm_call(struct vm *vm, int nargs, int nresults, uint32_t budget_ms);

/* After a task: collects all garbage where little is left below the cap. Lua does so by itself when an allocation of
 * its own fails, but not for the buffers of its string functions. */
void vm_relieve(struct vm *vm);

/* Registers a route pattern: its number, from 1 on. 0 past VM_ROUTES_MAX. */
unsigned vm_route(struct vm *vm, slice pattern);

/* Opens the standard libraries as far as scripts may have them (libs.c), and coroutine (coroutine.c). */
void libs_open(lua_State *L, const struct vm *vm);
void coroutine_open(lua_State *L);

#endif
