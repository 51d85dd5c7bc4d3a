/*
 * The inside of a VM, for the files of this folder only. Everyone else uses vm.h, wait.h and task.h.
 */
#ifndef SCRIPT_VM_STATE_H
#define SCRIPT_VM_STATE_H

#include <lua.h>

#include "base/buf.h"
#include "script/vm/memory.h"
#include "script/vm/services.h"
#include "script/vm/slot.h"
#include "script/vm/thread.h"

struct budget;

/*
 * States:
 *     opening    !attached               vm_new: libraries and lignum/init.lua are loaded
 *     loading    loading                 vm_load at the start; at a reload from vm_load_begin to `done`
 *     serving    attached, !loading      tasks run, bindings may act
 *     closing    tasks == NULL           tasks_free has cancelled everything; only vm_free follows
 *
 * Only vm.c moves it from one to the next (task.c: closing). Lua runs inside run_begin ... run_end only (run.h), except
 * for the opening of the libraries; memory.capped is true exactly then.
 */
struct vm {
    lua_State *L;                     /* the main thread; tasks have their own */
    struct memory memory;
    struct chunks *chunks;               /* owned by the first VM, as is: */
    struct budget *budget;            /* of all VMs of the process: the first one's, which outlives the others */
    bool is_first;
    struct vm *peer;                  /* vm_set_peer */
    struct services services;         /* valid once attached */
    bool attached, loading;
    bool apart;                       /* vm_attach_apart */
    bool check;                       /* of the options */
    struct tasks *tasks;              /* owned */
    struct slots slots;               /* what other rooms keep */
    int entries_ref, handle_ref;      /* in the registry: the entry points of init.lua, and the one of requests */
    struct buf scratch, scratch_headers, scratch_keys;   /* vm.h */
    size_t memory_default;            /* the cap when limits.script_memory is not set */
    char *scripts, *config, *tests, **set;    /* owned copies of the options */
    struct coverage *coverage;        /* from the options; NULL in the core's world */
    const char *init, *world;         /* constants, from the options */
    void (*loaded)(void *arg, int rc, slice why);   /* vm_load_begin's, while loading */
    void *loaded_arg;
};

/* What a binding says when it is called outside of a task. */
#define ONLY_IN_A_TASK "this may be called in a task only (a handler, hook, timer or the console), not while loading"

#endif
