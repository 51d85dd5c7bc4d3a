/*
 * The word that Lua keeps in front of each thread (lua_getextraspace): the VM of the thread, and in its lowest bit the
 * mark "only the core may resume this thread", because it is a task's own, or waits in a binding. Lua copies the main
 * thread's word, unmarked, to new threads.
 */
#ifndef SCRIPT_VM_THREAD_H
#define SCRIPT_VM_THREAD_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

struct vm;

static inline uintptr_t *thread_word(lua_State *L)
{
    return (uintptr_t *)lua_getextraspace(L);
}

static inline struct vm *vm_of(lua_State *L)
{
    return (struct vm *)(*thread_word(L) & ~(uintptr_t)1);
}

static inline bool thread_is_ours(lua_State *L)
{
    return *thread_word(L) & 1;
}

static inline void thread_set_ours(lua_State *L, bool ours)
{
    *thread_word(L) = (*thread_word(L) & ~(uintptr_t)1) | ours;
}

#endif
