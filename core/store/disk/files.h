/*
 * Log files that are open, at most `max` of them: opening another one closes the one used longest ago. Its owner then
 * finds fd == -1, and opens the file again when it needs it.
 *
 * A struct file is embedded in its owner. Its states:
 *
 *   closed    fd == -1, and in no list.
 *   open      fd >= 0, and in files.used. files_open opens it; files_close or an eviction closes it.
 *   pinned    open with pins > 0: a job of the disk thread uses the descriptor, so that it stays open.
 *
 * Only the loop thread calls these functions, unless stated.
 */
#ifndef STORE_DISK_FILES_H
#define STORE_DISK_FILES_H

#include "base/list.h"

struct file {
    struct list link;         /* in files.used while open */
    int fd;                   /* -1 while closed */
    unsigned pins;            /* jobs of the disk thread that use fd */
    bool dirty;               /* written since a sync of it was last submitted */
};

struct files {
    struct list used;         /* open files, the most recently used last */
    unsigned open, max;
    bool dirty_closed;        /* a dirty file was closed: only syncfs is sure to reach its bytes */
    void (*on_evict)(struct file *f);   /* called once f is closed to make room; may free its owner */
};

void files_init(struct files *s, unsigned max, void (*on_evict)(struct file *f));
void file_init(struct file *f);

/* Opens path, after evictions where `max` or the process's limit demands them. 0 or -errno. */
int files_open(struct files *s, struct file *f, const char *path, int flags);

/* Closes the file used longest ago, to free a descriptor for another use. False: no open file can be closed. */
bool files_evict(struct files *s);

/* Whether the file has no name any more: somebody has removed it. On any thread. */
bool file_is_lost(int fd);

/* Makes f the most recently used file. */
void files_touch(struct files *s, struct file *f);

/* Closes f if it is open. on_evict is not called. */
void files_close(struct files *s, struct file *f);

#endif
