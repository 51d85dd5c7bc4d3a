/*
 * Truncation: a follower's journal loses what the leader's history does not have.
 *
 * After a crash at any point the journal is the old one, the truncated one, or the old one without some whole files at
 * its end, which is a history too. For that, the steps are:
 *
 *   1. What goes is copied or linked to data/diverged/, and fsynced (set_aside.h).
 *   2. The checkpoint is removed, because it claims more than will be there; or replaced by one that claims nothing,
 *      if data/ends may claim it, too.
 *   3. Files are removed from the end backwards, each from the disk before the next.
 *   4. The file that is truncated in the middle is called .qwal again, so that no end record is missed in it, and is
 *      truncated, in steps from the end if it is large (truncate_shorten.h): a crash between them leaves some of the
 *      batches that go. One that loses all of its batches is kept as it is, by its name in diverged/, and is replaced
 *      by an empty file.
 *
 * Before step 3 an error leaves everything as it was. From there on an error ends the process: the next start finds one
 * of the above, and removes the names in diverged/ of files that are still in the topic (recovery/unfinished.h).
 *
 * All of this runs on the loop thread, but for the scan, the copy and the shortening of a large file
 * (truncate_prepare.h, truncate_shorten.h).
 */
#ifndef STORE_REPLICATION_TRUNCATE_H
#define STORE_REPLICATION_TRUNCATE_H

#include "store/log/journal.h"

/* Removes everything from `to` on (a batch boundary, first <= to <= tail), and keeps it in
 * data/diverged/NAME-TO-MILLISECONDS/. A sealed file that becomes the last one loses its end record, and is the active
 * one again. All marks fall to `to`; the owner is not told. Waits for the disk. *messages: how many were set aside. 0;
 * -ERR_BUSY: what was appended is being synced, or a large file read and copied on the disk thread, so ask again;
 * -ERR_BAD_RANGE: not a boundary; -ERR_DAMAGED: the file that holds `to` is damaged below it; -ENOSPC or -errno: what
 * goes could not be kept. After an error nothing is truncated. After 0 the file may still be shortened: see below. */
int journal_truncate(struct journal *j, uint64_t to, uint64_t *messages);

/* Whether the disk thread is still shortening the file of a truncation. Meanwhile a crash brings back some of what was
 * truncated, and whatever is appended is refused with -ERR_BUSY. */
bool journal_shortening(const struct journal *j);

/* Empties the journal, so that it continues at offset `first`, where a file of the leader begins. What it held is moved
 * to data/diverged/ if `keep`, and otherwise deleted. Marks as above. Waits for the disk. 0; -ERR_BUSY: as above, or it
 * is being copied to another filesystem; or -errno, and nothing has changed. */
int journal_restart(struct journal *j, uint64_t first, bool keep);

/* Moves topics/<name>, of which no journal is open, to diverged/<name>-<milliseconds>. Waits for the disk. 0 or
 * -errno. */
int store_set_aside(struct store *s, slice name);

/* Makes the file that ends at the tail the active one again. It is not read: its end record has the checksum. Waits for
 * the disk. 0 or as journal_truncate. */
int journal_reopen(struct journal *j);

#endif
