/*
 * Small pieces of memory for Lua, which takes dozens in each request and frees them some thousand requests later: the
 * freed pieces of a size are kept in a list, last in, first out, where malloc would merge and split them.
 *
 * A piece's class is its size rounded up to the grain. One bound covers what all classes keep together, because which
 * sizes are in demand depends on the scripts.
 */
#ifndef SCRIPT_VM_POOL_H
#define SCRIPT_VM_POOL_H

#include <stdbool.h>
#include <stddef.h>

enum {
    POOL_GRAIN = 16,
    POOL_SIZE_MAX = 256,                              /* larger pieces are malloc's */
    POOL_CLASSES = POOL_SIZE_MAX / POOL_GRAIN,
    POOL_KEPT_MAX = 1024 * 1024,                      /* bytes */
};

struct pool {
    void *first[POOL_CLASSES];                        /* each freed piece holds the address of the next one */
    size_t kept;                                      /* bytes in all lists */
};

/* As malloc, free and realloc. Sizes are never 0; pool_give and pool_resize get the size that was asked for. */
void *pool_take(struct pool *pool, size_t size);
void pool_give(struct pool *pool, void *p, size_t size);
void *pool_resize(struct pool *pool, void *p, size_t old, size_t size);

/* Returns all kept pieces to malloc. */
void pool_trim(struct pool *pool);

#endif
