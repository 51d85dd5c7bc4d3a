/*
 * Replay of the commit log: before a start looks at any topic, what the frames of files in use hold is written to the
 * topics' files, where their bytes differ. A page in the middle of a file may be missing, not only its end.
 *
 * Frames of both files are read in the order of their uses. A frame that is not whole ends a file: its group commit had
 * not ended when the machine stopped. But where a whole one follows, it was damaged later: that is said, and the file
 * is kept as data/commit/N.log.damaged. A record whose topic or file is gone (deleted, removed by retention) counts no
 * more.
 *
 * Everything is synced before the files are removed, so that a crash at any point lets the next start do it again.
 */
#ifndef STORE_RECOVERY_REPLAY_H
#define STORE_RECOVERY_REPLAY_H

#include "base/buf.h"

struct store;

/* 0; -ERR_FORMAT: a file is of a newer version or of another node; -errno. *why gets a sentence. Waits for the disk. */
int commit_log_replay(struct store *s, struct buf *why);

#endif
