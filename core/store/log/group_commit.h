/*
 * A group commit is one job of the disk thread that syncs all journals that were written since the last one.
 *
 *   idle      group_commit_submit fixes what it covers: a mark rises at its end only as far as was written then. Files
 *             that it syncs are pinned.
 *   running   on the disk thread. A few files are fdatasynced one by one, and the directories with new entries fsynced.
 *             From COMMIT_LOG_MIN journals on, what they were given goes by the commit log (commit_log.h), but for new
 *             and ended files and large batches, and need not be in their files yet. Many of those go by one syncfs,
 *             which is also the only way to reach a file whose descriptor had to be closed.
 *   done      on the loop thread: disk marks rise (but not of journals whose bytes the commit log refused: they
 *             wait for the next group commit, which writes and syncs their files), checkpoints are written where
 *             they are due, ended files are sealed. It is idle again. A sync that failed ends the process; where a
 *             file had been removed, nothing of this happens (store_is_lost).
 */
#ifndef STORE_LOG_GROUP_COMMIT_H
#define STORE_LOG_GROUP_COMMIT_H

#include <stdbool.h>

#include "base/list.h"

struct store;
struct group_commit;

struct group_commit *group_commit_new(struct store *s);
void group_commit_free(struct group_commit *c);
bool group_commit_running(const struct group_commit *c);

/* Takes the journals off these lists (by sync.unsynced; `later` may be NULL), and submits the job. */
void group_commit_submit(struct group_commit *c, struct list *journals, struct list *later);

#endif
