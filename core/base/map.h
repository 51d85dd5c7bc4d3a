/*
 * A hash map from bytes to a pointer. Keys are borrowed: they are part of the value, which outlives its entry. The hash
 * has a random seed, so that a client that chooses names cannot choose collisions.
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include "base/slice.h"

struct map_slot;

struct map {
    struct map_slot *slots;  /* owned */
    size_t count, cap;
    uint64_t seed;
};

void map_init(struct map *m);
void map_fini(struct map *m);
void map_clear(struct map *m);                           /* empties it, and keeps no more memory than a small one has */

void *map_get(const struct map *m, slice key);           /* NULL when absent */
void map_put(struct map *m, slice key, void *value);     /* the key must be absent */
void *map_remove(struct map *m, slice key);              /* the value, or NULL */

/* Visits all entries in no order: start with *at = 0; NULL at the end. The map must not change meanwhile. */
void *map_next(const struct map *m, size_t *at);

#endif
