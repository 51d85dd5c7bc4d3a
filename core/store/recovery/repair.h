/*
 * Repair replaces a damaged sealed file by the bytes of a peer that has it whole, or puts one back that is missing,
 * between others or before them (journal_lacks): begun, fed, ended.
 *
 *   fed      repair_begin made TOPIC/repair; repair_add appends to it. Readers still see the damaged file.
 *   checking repair_end has the disk thread check the whole new file, in steps: header, every batch, end record. The
 *            loop thread compares it with the offsets of the old file, and with its checksum if that is left;
 *            not if that file is refused (journal_refuse_file).
 *   replacing the damaged file gets a second name in data/torn/, the new one takes its name by a rename, and the damage
 *            is forgotten. After a crash one of the two has the name. While a job of the disk thread uses the damaged
 *            file, this waits.
 *   ended    the next repair_end tells the result and frees it. After an error everything is as before.
 *
 * repair_abort ends it in any state. A change of the journal's files (background.h) ends a check with -ERR_CANCELLED.
 * One at a time for each journal, which may be closed or deleted only after repair_abort.
 */
#ifndef STORE_RECOVERY_REPAIR_H
#define STORE_RECOVERY_REPAIR_H

#include "store/log/journal.h"

struct repair;

int repair_begin(struct journal *j, uint64_t first, struct repair **out);   /* 0; -ERR_GONE; -ERR_BUSY; -errno */
int repair_add(struct repair *r, slice bytes);                              /* 0; -ERR_TOO_LARGE; -errno */

/* -ERR_BUSY: not yet, so call it again in a later turn. Otherwise frees r. 0; -ERR_DAMAGED: the new file is not sound;
 * -ERR_DIVERGED: it is, but it is another file; -ERR_CANCELLED; -ERR_GONE: its place is gone; -errno. */
int repair_end(struct repair *r);
void repair_abort(struct repair *r);

#endif
