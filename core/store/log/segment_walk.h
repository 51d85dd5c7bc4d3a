/*
 * A walk over the batch headers of a segment, which does not look at checksums. What is read goes through the disk's
 * scratch buffer, so that one walk at a time reads from it; nothing else does between walk_head and the use of its
 * result.
 */
#ifndef STORE_LOG_SEGMENT_WALK_H
#define STORE_LOG_SEGMENT_WALK_H

#include "store/log/segment.h"

struct walk {
    struct segment *seg;
    struct place at;              /* of the next batch */
    uint64_t window_at;           /* position of the bytes in the scratch buffer, */
    size_t n;                     /* their number, */
    size_t window;                /* and how many are read at once */
};

/* Where the first batch of a segment begins, and the place that an index entry states (NULL: that of the first
 * batch). */
struct place segment_start(const struct segment *seg);
struct place segment_entry(const struct segment *seg, const struct index_entry *e);

struct walk walk_begin(struct segment *seg, struct place from);

/* Reads the header at the walk's place, which must be of the batch with that offset: 1; 0 at the end of what is
 * written; -ERR_DAMAGED; -errno. */
int walk_head(struct walk *w, struct batch_head *head);

/* Goes past this batch. */
void walk_skip(struct walk *w, const struct batch_head *head);

#endif
