#include "script/vm/memory.h"

#include <malloc.h>

#include "base/limits.h"

enum { FOREIGN_MIN = 32 * MIB };  /* below this, foreign memory alone forces no collection */

void memory_init(struct memory *m, size_t max)
{
    *m = (struct memory){.foreign_next = FOREIGN_MIN};
    memory_set_max(m, max);
}

void memory_fini(struct memory *m)
{
    pool_trim(&m->pool);
}

void memory_set_max(struct memory *m, size_t max)
{
    m->max = max;
    m->relieve_at = max / 4 * 3;
}

static size_t cap(const struct memory *m)
{
    return m->guest ? m->max - m->max / VM_MEMORY_RESERVED : m->max;
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
    if (m->capped && size > old && m->used + m->foreign + (size - old) > cap(m))
        return NULL;
    void *q = p == NULL ? pool_take(&m->pool, size) : pool_resize(&m->pool, p, old, size);
    if (q != NULL)
        m->used += size - old;
    return q;
}

void memory_claim(struct memory *m, lua_State *L, size_t n)
{
    if (m->foreign + n > m->foreign_next || m->used + m->foreign + n > cap(m)) {
        lua_gc(L, LUA_GCCOLLECT);
        m->foreign_next = 2 * m->foreign + n < FOREIGN_MIN ? FOREIGN_MIN : 2 * m->foreign + n;
    }
    if (m->used + m->foreign + n > cap(m)) {
        lua_pushliteral(L, "not enough memory");   /* lua_error turns this very string into Lua's memory error */
        lua_error(L);
    }
    m->foreign += n;
}

void memory_release(struct memory *m, size_t n)
{
    m->foreign -= n;
}

void memory_relieve(struct memory *m, lua_State *L)
{
    size_t used = m->used + m->foreign;
    if (used < m->relieve_at)
        return;
    lua_gc(L, LUA_GCCOLLECT);
    pool_trim(&m->pool);
    malloc_trim(0);
    /* Next time half-way between what is in use now and the cap: a heap that is really full is not collected after
     * every task. */
    used = m->used + m->foreign;
    size_t usual = m->max / 4 * 3;
    size_t half_way = used < m->max ? used + (m->max - used) / 2 : used;
    m->relieve_at = half_way > usual ? half_way : usual;
}
