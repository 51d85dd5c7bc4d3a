/*
 * What the log of a journal says of its senders (store/senders), in memory.
 *
 *   unread     nothing is in memory. A journal without producers stays so, and costs nothing.
 *   read       by origins_read, when a request with an origin is asked about, or batches with an origin are received.
 *              From then on each batch that has an origin is noted. Unread again after a truncation.
 *
 * To read them is to load the newest snapshot (origins.h) that fits the log, and to note the batches after it. Files
 * whose end record says that none of their batches has an origin are not read, nor those in which all batches are too
 * old to matter.
 */
#ifndef STORE_LOG_ORIGINS_READ_H
#define STORE_LOG_ORIGINS_READ_H

#include "store/log/journal_struct.h"

/* How many senders a journal keeps, and for how long. */
struct senders_bounds origins_bounds(const struct journal *j);

/* Of the snapshot of all batches below an offset. */
struct path origins_path(const struct journal *j, uint64_t offset);

/* Reads them, if they are unread. What cannot be read because it is damaged is left out, and logged. 0 or -errno. */
int origins_read(struct journal *j);

/* A batch with an origin is added at the tail. */
void origins_note(struct journal *j, const struct batch_head *head, const struct origin *o);
void origins_note_batch(struct journal *j, const struct batch_head *head, const char *batch);   /* it has one */

/* The journal was truncated to `to`: they are unread, and snapshots beyond are removed. */
void origins_truncated(struct journal *j, uint64_t to);

/* They are unread: the journal is freed, or begins again. */
void origins_drop(struct journal *j);

#endif
