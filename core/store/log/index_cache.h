/*
 * The indexes of sealed files that are in memory. What a node has in memory must grow neither with what it stores nor
 * with what has been read of it: together they take at most bytes_max. When a lookup brings in one more, those used
 * longest ago are dropped, and are read from their files when they are needed again.
 *
 * The index of an active file is not counted here. Nor is that of a file that was scanned because of damage: it is kept
 * as long as its segment, because the stored one may be what was wrong.
 */
#ifndef STORE_LOG_INDEX_CACHE_H
#define STORE_LOG_INDEX_CACHE_H

#include "base/list.h"
#include "store/format/index.h"

struct index_cache {
    struct list used;             /* cached indexes, the most recently used last */
    size_t bytes, bytes_max;      /* bytes: of their entries */
};

/* Embedded in a segment. */
struct cached_index {
    struct list link;             /* in index_cache.used, or alone */
    struct index index;           /* does not change while it is in the cache */
    bool complete;                /* it covers the whole file; otherwise it is to be read or made before use */
};

void index_cache_init(struct index_cache *c, size_t bytes_max);
void cached_index_init(struct cached_index *ci);

/* Counts an index, as the most recently used one, and drops others until the bound holds. */
void index_cache_use(struct index_cache *c, struct cached_index *ci);

/* No longer counts it. Its entries stay. */
void index_cache_remove(struct index_cache *c, struct cached_index *ci);

/* Removes it and frees its entries. */
void index_cache_drop(struct index_cache *c, struct cached_index *ci);

#endif
