/*
 * Deleting files, which may take long, on the disk thread. Journals are deleted in delete_later.c, too (journal_delete,
 * store_finish_deletes).
 */
#ifndef STORE_LOG_DELETE_LATER_H
#define STORE_LOG_DELETE_LATER_H

#include "store/log/topic_dir.h"

/* Deletes files of a topic: NUL-terminated paths, oldest first. Takes `paths`. */
void delete_later_files(struct topic_dir *dir, struct buf *paths);

/* Deletes everything in trash/. */
void delete_later_trash(struct disk *disk);

#endif
