/*
 * The next file of a journal, allocated ahead of time on the disk thread, so that beginning it is only a rename. Made
 * for topics that fill files of some size: TOPIC/spare.
 *
 *   none       there is no such file. preallocate_want orders one when the active file is half full.
 *   running    the disk thread makes it.
 *   ready      it exists; preallocate_take renames it, and there is none again.
 *
 * It is also none again where making it failed: then the next file is allocated when it is begun.
 */
#ifndef STORE_LOG_PREALLOCATE_H
#define STORE_LOG_PREALLOCATE_H

#include "store/log/topic_dir.h"

enum preallocation { PREALLOCATED_NONE, PREALLOCATING, PREALLOCATED_READY };

/* Makes the file on the disk thread, of `space` bytes. *state is none, and outlives the job. */
void preallocate_begin(struct topic_dir *dir, uint64_t space, enum preallocation *state);

/* Renames it to `path`. 0; -ENOENT: there is none; -errno. */
int preallocate_take(const struct topic_dir *dir, enum preallocation *state, const char *path);

/* Removes it where it is ready. */
void preallocate_drop(const struct topic_dir *dir, enum preallocation *state);

#endif
