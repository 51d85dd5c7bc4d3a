/*
 * Repair replaces a damaged or missing sealed file by the bytes of a peer that has it whole: begun, fed, ended.
 *
 *   fed      repair_begin made TOPIC/repair; repair_add appends to it. Readers still see the damaged file.
 *   ended    repair_end checks the whole new file: header, every batch, end record, the offsets of the old file, and
 *            its checksum if that is left. The damaged file gets a second name in data/torn/, the new one takes its
 *            name by a rename, and the damage is forgotten. After a crash one of the two has the name.
 *   aborted  by repair_abort, or an error of repair_end: everything is as before.
 *
 * One at a time for each journal, which may not be closed meanwhile.
 */
#ifndef STORE_RECOVERY_REPAIR_H
#define STORE_RECOVERY_REPAIR_H

#include "store/log/journal.h"

struct repair;

int repair_begin(struct journal *j, uint64_t first, struct repair **out);   /* 0; -ERR_GONE; -ERR_BUSY; -errno */
int repair_add(struct repair *r, slice bytes);                              /* 0; -ERR_TOO_LARGE; -errno */

/* Waits for the disk. Frees r in any case. 0; -ERR_DAMAGED: the new file is not sound; -ERR_DIVERGED: it is, but it is
 * another file; -errno. */
int repair_end(struct repair *r);
void repair_abort(struct repair *r);

#endif
