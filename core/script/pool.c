#include "script/pool.h"

#include <stdlib.h>
#include <string.h>

static bool is_full(const struct pool_class *c)
{
#if defined(__SANITIZE_ADDRESS__)
    (void)c;
    return true;   /* the sanitizer shall see each piece come and go */
#else
    return c->kept >= POOL_KEPT_MAX;
#endif
}

static bool is_small(size_t size)
{
    return size - 1 < POOL_SIZE_MAX;   /* not 0 either */
}

static size_t class_of(size_t size)
{
    return (size - 1) / POOL_GRAIN;
}

static void *take(struct pool *pool, size_t size)
{
    if (!is_small(size))
        return malloc(size);
    struct pool_class *c = &pool->classes[class_of(size)];
    size_t whole = (class_of(size) + 1) * POOL_GRAIN;
    void *p = c->first;
    if (p == NULL)
        return malloc(whole);
    memcpy(&c->first, p, sizeof(c->first));
    c->kept -= whole;
    return p;
}

static void give(struct pool *pool, void *p, size_t size)
{
    struct pool_class *c = is_small(size) ? &pool->classes[class_of(size)] : NULL;
    if (c == NULL || is_full(c)) {
        free(p);
        return;
    }
    memcpy(p, &c->first, sizeof(c->first));
    c->first = p;
    c->kept += (class_of(size) + 1) * POOL_GRAIN;
}

void *pool_resize(struct pool *pool, void *p, size_t old, size_t size)
{
    if (!is_small(old) && !is_small(size) && old > 0 && size > 0)
        return realloc(p, size);
    if (is_small(old) && is_small(size) && class_of(old) == class_of(size))
        return p;
    void *q = size == 0 ? NULL : take(pool, size);
    if (size > 0 && q == NULL)
        return size <= old ? p : NULL;   /* Lua counts on it that shrinking never fails */
    if (old > 0 && size > 0)
        memcpy(q, p, old < size ? old : size);
    if (old > 0)
        give(pool, p, old);
    return q;
}

void pool_trim(struct pool *pool)
{
    for (size_t i = 0; i < POOL_CLASSES; i++) {
        struct pool_class *c = &pool->classes[i];
        for (void *p = c->first; p != NULL; p = c->first) {
            memcpy(&c->first, p, sizeof(c->first));
            free(p);
        }
        c->kept = 0;
    }
}
