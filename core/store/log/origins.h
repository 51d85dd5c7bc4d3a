/*
 * What the log of a journal says of its senders (store/senders): kept in step with it, and read back from it.
 *
 *   unread     nothing is in memory. A journal without producers stays so, and costs nothing.
 *   read       by origins_read, when a request with an origin is asked about, or batches with an origin are received.
 *              From then on each batch that has an origin is noted. Unread again after a truncation.
 *
 * To read them is to load the newest snapshot that fits the log, and to note the batches after it. A snapshot is the
 * file OFFSET.senders in the topic's directory: what all batches below that offset say. It is written when a file is
 * sealed, at its end, and in a file after each SENDERS_EVERY bytes, unless less was logged since the last one than
 * SNAPSHOT_PART times what it takes; and at a clean close. So no more than about that much is read back. Snapshots are
 * derived: one that is damaged, missing or of another history only makes more of the log be read. Files whose end
 * record says that none of their batches has an origin are not read, nor those in which all batches are too old to
 * matter. A snapshot where the log begins says what is not in the log: retention writes it, and a follower that begins
 * there gets its leader's. It is on the disk before the files go.
 */
#ifndef STORE_LOG_ORIGINS_H
#define STORE_LOG_ORIGINS_H

#include "store/log/journal_struct.h"

/* How many senders a journal keeps, and for how long. */
struct senders_bounds origins_bounds(const struct journal *j);

/* Of the snapshot of all batches below an offset. */
struct path origins_path(const struct journal *j, uint64_t offset);

/* Reads them, if they are unread. What cannot be read because it is damaged is left out, and logged. 0 or -errno. */
int origins_read(struct journal *j);

/* A batch with an origin is added at the tail. */
void origins_note(struct journal *j, const struct batch_head *head, const char *batch);

/* The journal's file ends at the tail: has the disk thread write a snapshot, if it is worth it. */
void origins_sealed(struct journal *j);

/* The active file has grown, and has a new checkpoint: the same. */
void origins_grown(struct journal *j);

/* The journal is about to be closed in order: writes a snapshot. */
void origins_close(struct journal *j);

/* The journal was truncated to `to`: they are unread, and snapshots beyond are removed. */
void origins_truncated(struct journal *j, uint64_t to);

/* Retention is about to remove files, and has removed them: what they alone say is kept, as a snapshot where the log
 * begins then. */
void origins_removing(struct journal *j);
void origins_removed(struct journal *j);

/* They are unread: the journal is freed, or begins again. */
void origins_drop(struct journal *j);

#endif
