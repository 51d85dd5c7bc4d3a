#include "script/vm/memory.h"

#include <malloc.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/say.h"

enum {
    FOREIGN_MIN = 32 * MIB,       /* below this, foreign memory alone forces no collection */
    FULL_PART = 16,               /* of the cap; full: less than that part of it is free after a collection */
    AGAIN_MS = 10 * 1000,          /* until the operator's code is tried again */
};

void memory_init(struct memory *m, size_t max, size_t reserve)
{
    *m = (struct memory){.foreign_next = FOREIGN_MIN, .reserve = reserve};
    memory_set_max(m, max);
}

void memory_fini(struct memory *m)
{
    pool_trim(&m->pool);
}

void memory_set_max(struct memory *m, size_t max)
{
    m->max = max;
    m->all = max + m->reserve;
    m->guests = m->all - m->all / VM_MEMORY_RESERVED;
    m->relieve_at = max / 4 * 3;
}

static size_t in_use(const struct memory *m)
{
    return m->used + m->foreign;
}

/* The cap for what runs now. */
static size_t cap(const struct memory *m)
{
    return m->closed ? m->max : m->guest ? m->guests : m->all;
}

bool memory_is_full(const struct memory *m)
{
    return m->full_until != 0 && clock_ns() < m->full_until;
}

void memory_check(const struct memory *m, lua_State *L)
{
    if (!memory_is_full(m))
        return;
    lua_pushliteral(L, "not enough memory");       /* lua_error turns this very string into Lua's memory error */
    lua_error(L);
}

/* For a new piece (p == NULL) Lua passes the type of its object in `old`, not a size. */
void *memory_allocate(void *ud, void *p, size_t old, size_t size)
{
    struct memory *m = ud;
    if (size == 0) {
        if (p == NULL)
            return NULL;
        m->used -= old;
        pool_give(&m->pool, p, old);
        return NULL;
    }
    if (p == NULL)
        old = 0;
    if (m->capped && size > old && in_use(m) + (size - old) > cap(m)) {
        m->relieve_at = 0;
        return NULL;
    }
    void *q = p == NULL ? pool_take(&m->pool, size) : pool_resize(&m->pool, p, old, size);
    if (q != NULL)
        m->used += size - old;
    return q;
}

void memory_claim(struct memory *m, lua_State *L, size_t n)
{
    if (m->foreign + n > m->foreign_next || in_use(m) + n > cap(m)) {
        lua_gc(L, LUA_GCCOLLECT);
        m->foreign_next = 2 * m->foreign + n < FOREIGN_MIN ? FOREIGN_MIN : 2 * m->foreign + n;
    }
    if (in_use(m) + n > cap(m)) {
        lua_pushliteral(L, "not enough memory");   /* lua_error turns this very string into Lua's memory error */
        lua_error(L);
    }
    m->foreign += n;
}

void memory_release(struct memory *m, size_t n)
{
    m->foreign -= n;
}

/* The operator's code keeps so much that calling it again makes no sense. */
static void look_whether_full(struct memory *m)
{
    bool was_full = m->full_until != 0;
    m->full_until = m->reserve > 0 && in_use(m) > m->max - m->max / FULL_PART ? clock_ns() + AGAIN_MS * NS_PER_MS : 0;
    if (m->full_until != 0 && !was_full)
        say_error("script", "lignum.lua keeps %zu MiB, of limits.script_memory, which is %zu MiB: its on_publish, "
                            "routes and timers fail until it keeps less, or is reloaded",
                  in_use(m) / MIB, m->max / MIB);
    else if (m->full_until == 0 && was_full)
        say_info("script", "lignum.lua keeps less memory, and is called again");
}

void memory_relieve(struct memory *m, lua_State *L)
{
    if (in_use(m) < m->relieve_at)
        return;
    lua_gc(L, LUA_GCCOLLECT);
    pool_trim(&m->pool);
    malloc_trim(0);
    look_whether_full(m);
    /* Next time half-way between what is in use now and all there is: a heap that is really full is not collected after
     * every task. */
    size_t used = in_use(m), usual = m->max / 4 * 3;
    size_t half_way = used < m->all ? used + (m->all - used) / 2 : used;
    m->relieve_at = half_way > usual ? half_way : usual;
}
