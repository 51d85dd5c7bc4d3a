/*
 * What a truncation that a crash interrupted has left in data/diverged/ (replication/truncate.h).
 */
#ifndef STORE_RECOVERY_UNFINISHED_H
#define STORE_RECOVERY_UNFINISHED_H

#include "store/log/topic_dir.h"

/* Removes copies that are not complete, called .part: the topic still has what they are copies of. By way of trash/, or
 * at once where diverged/ is on another filesystem. And new directories of topics in trash/, called .new, which their
 * topics have not got. */
void unfinished_remove(struct disk *d);

/* Removes second names that files of the topic have in diverged/: the topic keeps those files, and will write to them.
 * 0 or -errno. */
int unfinished_links_remove(const struct topic_dir *dir);

#endif
