/*
 * Zeros are written where batches will come, ahead of them (doc/why/015).
 *
 * A file's space is allocated before it is used (segment_reserve). A block that is only allocated reads as zeros, and
 * the first write to it makes the filesystem note that it holds data now: a sync that enters a new block then writes
 * the inode or the journal too, and takes about twice as long as one that overwrites a block. So when a small group
 * commit enters such blocks, those that follow are written with zeros in the same sync, and the next group commits
 * overwrite. Databases make their logs of zeros or recycle them for that reason (PostgreSQL's manual: wal_init_zero,
 * wal_recycle). A large group commit gains nothing, and would write everything twice. On a filesystem that copies on
 * write an overwrite takes new space: there nothing is written ahead.
 *
 * The bytes do not tell: what lies behind a file's end is zeros, written or not.
 */
#ifndef STORE_LOG_ZERO_AHEAD_H
#define STORE_LOG_ZERO_AHEAD_H

#include "store/disk/disk.h"

/* For a group commit of `bytes` bytes that end at `end` and are written, in a file of which [0, space) is allocated.
 * *zeroed is the file's, 0 at first: what is below was written, if only with zeros. Writes zeros to whole blocks behind
 * `end` only, so that no byte of a batch changes; does not wait for the disk. Where a write fails, what is allocated
 * stays as it is. On the thread that writes to the file. */
void zero_ahead(const struct disk *d, int fd, uint64_t *zeroed, uint64_t bytes, uint64_t end, uint64_t space);

#endif
