/*
 * A sparse index of one file: where batches begin, with an entry about every INDEX_EVERY bytes. It is derived from the
 * file, kept beside a sealed one in FIRST.index without fsync, and never trusted: the batch at an entry must have
 * exactly that offset. The start of the file is an entry that is not stored.
 */
#ifndef STORE_FORMAT_INDEX_H
#define STORE_FORMAT_INDEX_H

#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"

struct index_entry {
    uint64_t offset, position;
    int64_t time_ms;
};

struct index {
    struct index_entry *entries;   /* owned; rising in all three */
    uint32_t count, cap;
    uint64_t due;                  /* the first batch at or after this position gets an entry */
};

void index_init(struct index *ix);
void index_fini(struct index *ix);

/* Adds an entry, even where none is due. */
void index_put(struct index *ix, struct index_entry e);

/* Adds an entry for a batch if one is due. */
static inline void index_note(struct index *ix, struct index_entry e)
{
    if (e.position >= ix->due)
        index_put(ix, e);
}

/* Removes the entries from this offset on. */
void index_truncate(struct index *ix, uint64_t offset);

/* The last entry at or below an offset, or a position; the last one before a time. NULL: the start of the file. */
const struct index_entry *index_at_offset(const struct index *ix, uint64_t offset);
const struct index_entry *index_at_position(const struct index *ix, uint64_t position);
const struct index_entry *index_before_time(const struct index *ix, int64_t time_ms);

/* To and from a file. 0; -ERR_DAMAGED or -errno, and ix is empty after index_load. */
int index_save(const struct index *ix, const char *path);
int index_load(struct index *ix, const char *path);

#endif
