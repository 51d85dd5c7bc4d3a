/*
 * Snapshots of what the log of a journal says of its senders.
 *
 * A snapshot is the file OFFSET.senders in the topic's directory: what all batches below that offset say. It is written
 * when a file is sealed, at its end, and in a file after each SENDERS_EVERY bytes, unless less was logged since the
 * last one than SNAPSHOT_PART times what it takes; and at a clean close. So no more than about that much is read back.
 * Snapshots are derived: one that is damaged, missing or of another history only makes more of the log be read.
 *
 * A snapshot where the log begins says what is not in the log: retention writes it, and a follower that begins there
 * gets its leader's. It is on the disk before the files go.
 */
#ifndef STORE_LOG_ORIGINS_H
#define STORE_LOG_ORIGINS_H

#include "store/log/origins_read.h"

/* The journal's file ends at the tail: has the disk thread write a snapshot, if it is worth it. */
void origins_sealed(struct journal *j);

/* The active file has grown, and has a new checkpoint: the same. */
void origins_grown(struct journal *j);

/* The journal is about to be closed in order: writes a snapshot. */
void origins_close(struct journal *j);

/* Retention is about to remove files, and has removed them: what they alone say is kept, as a snapshot where the log
 * begins then. */
void origins_removing(struct journal *j);
void origins_removed(struct journal *j);

#endif
