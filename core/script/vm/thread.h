/*
 * The word that Lua keeps in front of each thread (lua_getextraspace): the VM of the thread, and in its lowest bits two
 * marks. "Only the core may resume this thread": it is a task's own, or waits in a binding. "The hook stopped it": it
 * yielded between two instructions and takes no values when it is resumed. Lua copies the main thread's word, unmarked,
 * to new threads.
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
    return (struct vm *)(*thread_word(L) & ~(uintptr_t)3);
}

static inline bool thread_is_ours(lua_State *L)
{
    return *thread_word(L) & 1;
}

static inline void thread_set_stopped(lua_State *L)
{
    *thread_word(L) |= 2;
}

/* Whether the hook stopped it; from now on it has not. */
static inline bool thread_take_stopped(lua_State *L)
{
    bool stopped = *thread_word(L) & 2;
    *thread_word(L) &= ~(uintptr_t)2;
    return stopped;
}

static inline void thread_set_ours(lua_State *L, bool ours)
{
    *thread_word(L) = (*thread_word(L) & ~(uintptr_t)1) | ours;
}

#endif
