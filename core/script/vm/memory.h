/*
 * The memory of one Lua state, under a cap: Lua's own heap, and what Lua's objects own outside of it.
 *
 * Above the cap there may be a reserve, which is closed to the operator's on_publish, routes and timers: whatever they
 * keep, the broker's own code in the same state goes on. When nearly all of the cap is kept, even after a collection,
 * they are not called for a while (full), because each of their allocations would collect all garbage in vain.
 *
 * A part of all is kept for health checks and duties, so that clients whose requests take all they can get do not end
 * the node's session at Consul.
 *
 * The cap holds during runs only. Between runs the core itself creates Lua values (a task's coroutine, a request
 * object), where a failed allocation would be a panic.
 */
#ifndef SCRIPT_VM_MEMORY_H
#define SCRIPT_VM_MEMORY_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "script/vm/pool.h"
#include "script/vm/raise.h"

struct memory {
    size_t used, max;             /* bytes of Lua's heap; the cap on used + foreign */
    size_t foreign;               /* bytes that Lua's objects own outside of Lua's heap */
    size_t foreign_next;          /* memory_claim collects garbage when `foreign` passes this */
    size_t reserve;               /* bytes above `max` */
    size_t all, guests;           /* both together; what of it runs on behalf of clients may use */
    bool closed;                  /* what runs now may not use the reserve */
    uint64_t full_until;          /* clock_ns; 0: it is not full */
    size_t relieve_at;            /* memory_relieve collects garbage when used + foreign reaches this */
    bool capped;                  /* a run is on: allocations fail at the cap */
    bool guest;                   /* the run is on behalf of a client: then the cap is lower by a reserve */
    struct pool pool;             /* freed small pieces */
};

void memory_init(struct memory *m, size_t max, size_t reserve);
void memory_fini(struct memory *m);
void memory_set_max(struct memory *m, size_t max);

/* Whether the operator's code is not to be called. memory_check raises then. */
bool memory_is_full(const struct memory *m);
MAY_RAISE void memory_check(const struct memory *m, lua_State *L);

/* A lua_Alloc; `ud` is the struct memory. */
void *memory_allocate(void *ud, void *p, size_t old, size_t size);

/* Counts `n` bytes that a Lua object owns outside of Lua's heap, so that garbage is collected in time. Raises a memory
 * error when the cap would be passed even so. memory_release gives them back. */
MAY_RAISE void memory_claim(struct memory *m, lua_State *L, size_t n);
void memory_release(struct memory *m, size_t n);

/* Call after each task: collects all garbage when little is left below the cap. Lua does so by itself when one of its
 * own allocations fails, but not for the buffers of its string functions. */
void memory_relieve(struct memory *m, lua_State *L);

#endif
