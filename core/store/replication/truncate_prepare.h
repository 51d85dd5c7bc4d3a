/*
 * What a cut through a large file needs, made ahead on the disk thread.
 */
#ifndef STORE_REPLICATION_TRUNCATE_PREPARE_H
#define STORE_REPLICATION_TRUNCATE_PREPARE_H

#include "store/format/scan.h"
#include "store/log/inner.h"

/* Is that being done for a cut at this offset? */
bool prepare_running(const struct journal *j, uint64_t to);

/* Or for another topic? */
bool prepare_of_another(const struct journal *j);

/* Of a file that is to be cut at a place, when all is on the disk. 0, once it is done: what a scan of what stays came
 * to, and the directory in diverged/ that has, while it is called .part, a synced copy of what goes: the caller's now.
 * -ERR_BUSY: it goes on, or that of another topic does; -ERR_DAMAGED: what stays is; -errno. */
int prepare_take(struct segment *seg, struct hint at, struct scan *scan, struct path *dir);

#endif
