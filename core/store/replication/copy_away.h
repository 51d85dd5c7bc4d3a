/*
 * Where diverged/ is on another filesystem, the directory of a journal that begins again cannot be moved there: the
 * disk thread copies it to a .part directory, in steps. Meanwhile the journal is as it was, and whoever wants it to
 * begin again asks again.
 *
 *   running    each step copies BACKGROUND_STEP bytes at most, and fsyncs them. Anything appended to the journal, or
 *              truncated, makes it void (background.h): the copy is removed.
 *   ended      waits to be taken; after an error the copy is removed already.
 *   taken      by copy_away_take.
 */
#ifndef STORE_REPLICATION_COPY_AWAY_H
#define STORE_REPLICATION_COPY_AWAY_H

#include "store/log/journal_struct.h"

/* Takes the finished copy of a journal's directory; begins one, for this path in diverged/, if there is none. 0: *kept
 * is the path, whose .part directory has a synced copy, which is the caller's now. -ERR_BUSY: not yet; -errno. */
int copy_away_take(struct journal *j, const struct path *to, struct path *kept);

#endif
