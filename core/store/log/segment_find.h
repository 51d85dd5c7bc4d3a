/*
 * Finding batches in a segment: by hints, which readers leave behind, else by the sparse index and a walk from there.
 *
 * -ERR_DAMAGED means that the index or the file is wrong. The caller then has the file scanned (journal_scan), which
 * makes the index again, and looks once more.
 */
#ifndef STORE_LOG_SEGMENT_FIND_H
#define STORE_LOG_SEGMENT_FIND_H

#include "store/log/segment_walk.h"

/* Opens the file, and reads its index or makes one by a walk. 0; -ERR_DAMAGED; -errno. */
int segment_want_index(struct segment *seg);

/* The batch that holds this offset, which must be below seg->next and written. 0; -ERR_DAMAGED; -errno. */
int segment_find(struct segment *seg, uint64_t offset, struct place *at);

/* Remembers where a batch begins, for the next reader. */
void segment_hint(struct segment *seg, struct place at);

#endif
