/*
 * Writing to a journal's active file, through the page cache. A failed write ends the process.
 *
 * A journal is held while some of its `pending` bytes are in the commit log and not in its file: segment.written <
 * segment.synced. They survive kill -9 and power loss there. The file gets them, with those that follow, when somebody
 * reads it, before the log's file that has them retires (commit_log.c), and when memory has more than COMMIT_HELD_MAX.
 */
#ifndef STORE_LOG_WRITE_H
#define STORE_LOG_WRITE_H

#include "store/log/journal_struct.h"

/* Writes the pending bytes. */
void journal_write(struct journal *j);

/* Of a journal with pending bytes of which the commit log has some: it is held until it is written. */
void journal_hold(struct journal *j);

/* It is not held any more, though its file lacks bytes: it is deleted or lost. */
void journal_unhold(struct journal *j);

/* Before its active file is read: has it hold everything below marks.written. */
void journal_write_held(struct journal *j);

/* Writes up to `most` of the journals that are held, the longest held first; old: only those before
 * store.queue.held_mark. Whether none of them is left. */
bool store_write_held(struct store *s, bool old, unsigned most);

/* Writes these, which are of the last batches added; nothing is pending. */
void journal_write_bytes(struct journal *j, slice bytes);

#endif
