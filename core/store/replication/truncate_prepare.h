/*
 * A truncation in the middle of a large file is prepared in steps on the disk thread: what stays of the file is
 * scanned, and what goes of it is copied to a .part directory in diverged/. Meanwhile the journal is as it was, and
 * whoever wants the truncation asks again. One preparation runs at a time in a store, as each has files open and a
 * buffer.
 *
 *   running    steps scan, then copy. Anything appended to the journal, or truncated, makes it void (background.h): the
 *              copy is removed.
 *   ended      waits to be taken; after an error the copy is removed already.
 *   taken      by truncate_prepare_take.
 */
#ifndef STORE_REPLICATION_TRUNCATE_PREPARE_H
#define STORE_REPLICATION_TRUNCATE_PREPARE_H

#include "store/log/journal_struct.h"

struct scan;

/* True while the truncation of j at offset `to` is being prepared. */
bool truncate_prepare_running(const struct journal *j, uint64_t to);

/* True while a truncation of another journal is being prepared. */
bool truncate_prepare_elsewhere(const struct journal *j);

/* Takes the finished preparation of a truncation of this segment at a place; begins one if there is none. Everything in
 * the journal is synced. 0: *scan is that of what stays, and *kept a path in diverged/ whose .part directory has a
 * synced copy of what goes, which is the caller's now. -ERR_BUSY: not yet; -ERR_DAMAGED: what stays is damaged;
 * -errno. */
int truncate_prepare_take(struct journal *j, struct segment *seg, struct place at, struct scan *scan,
                          struct path *kept);

#endif
