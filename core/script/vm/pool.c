#include "script/vm/pool.h"

#include <stdlib.h>
#include <string.h>

static bool is_full(const struct pool *pool)
{
#if defined(__SANITIZE_ADDRESS__)
    (void)pool;
    return true;   /* so that the sanitizer sees each piece allocated and freed */
#else
    return pool->kept >= POOL_KEPT_MAX;
#endif
}

static bool is_small(size_t size)
{
    return size - 1 < POOL_SIZE_MAX;   /* false for 0, too */
}

static size_t class_of(size_t size)
{
    return (size - 1) / POOL_GRAIN;
}

void *pool_take(struct pool *pool, size_t size)
{
    if (!is_small(size))
        return malloc(size);
    void **first = &pool->first[class_of(size)];
    size_t whole = (class_of(size) + 1) * POOL_GRAIN;
    void *p = *first;
    if (p == NULL)
        return malloc(whole);
    memcpy(first, p, sizeof(*first));
    pool->kept -= whole;
    return p;
}

void pool_give(struct pool *pool, void *p, size_t size)
{
    if (!is_small(size) || is_full(pool)) {
        free(p);
        return;
    }
    void **first = &pool->first[class_of(size)];
    memcpy(p, first, sizeof(*first));
    *first = p;
    pool->kept += (class_of(size) + 1) * POOL_GRAIN;
}

/* Shrinking never fails, which Lua relies on. */
void *pool_resize(struct pool *pool, void *p, size_t old, size_t size)
{
    if (!is_small(old) && !is_small(size))
        return realloc(p, size);
    if (is_small(old) && is_small(size) && class_of(old) == class_of(size))
        return p;
    void *q = pool_take(pool, size);
    if (q == NULL)
        return size <= old ? p : NULL;
    memcpy(q, p, old < size ? old : size);
    pool_give(pool, p, old);
    return q;
}

void pool_trim(struct pool *pool)
{
    for (size_t i = 0; i < POOL_CLASSES; i++) {
        void **first = &pool->first[i];
        for (void *p = *first; p != NULL; p = *first) {
            memcpy(first, p, sizeof(*first));
            free(p);
        }
    }
    pool->kept = 0;
}
