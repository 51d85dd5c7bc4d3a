/*
 * Small pieces of memory for Lua, which asks for dozens in each request and gives them back some thousand requests
 * later: freed pieces of a size are kept in a list, the last one first out, where malloc would merge and split them.
 *
 * A piece's size rounded up to the grain is its class. What all classes keep is bounded together: which sizes are
 * wanted is the scripts' affair.
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
    void *first[POOL_CLASSES];                        /* each piece holds the next one of its class */
    size_t kept;                                      /* bytes */
};

/* What malloc, free and realloc do. Sizes are not 0, and those given are what was asked for. */
void *pool_take(struct pool *pool, size_t size);
void pool_give(struct pool *pool, void *p, size_t size);
void *pool_resize(struct pool *pool, void *p, size_t old, size_t size);

/* Gives all that is kept back to malloc. */
void pool_trim(struct pool *pool);

#endif
