/*
 * The last step of a truncation: the active file is made shorter. A file system takes the longer the more it frees
 * (0.1 s for 500 MiB), so the disk thread does that in steps of BACKGROUND_STEP from the end, with time between them
 * for group commits. In memory the truncation is complete before.
 *
 *   shortening   journal.shortening: the file ends with batches that were truncated. Nothing is appended before them:
 *                journal_append and journal_receive answer -ERR_BUSY. A crash leaves a longer prefix of the old
 *                journal, or one with a torn last batch, which recovery cuts off: no batch states a disk mark above
 *                its own first offset. The next start has to truncate again.
 *   done         the file is as long as what stays, and fsynced. A failure ends the process.
 *
 * The journal counts it as a job: it is closed, deleted, truncated and begun again only when it has ended.
 */
#ifndef STORE_REPLICATION_TRUNCATE_SHORTEN_H
#define STORE_REPLICATION_TRUNCATE_SHORTEN_H

#include "store/log/journal_struct.h"

/* Makes the segment's file `size` bytes long: what one step frees at once, and fsynced; more on the disk thread. 0 or
 * -errno. */
int truncate_shorten(struct journal *j, struct segment *seg, uint64_t size);

#endif
