/*
 * Open files are bounded: past `max`, the one used longest ago is closed. Whoever wants to use a file again
 * finds fd at -1 and opens it anew.
 *
 * A file is embedded in its owner. While the disk thread works on one it is pinned, and stays open. Only the loop
 * thread calls these.
 */
#ifndef STORE_DISK_FILES_H
#define STORE_DISK_FILES_H

#include "base/list.h"

struct file {
    struct list link;         /* in files.used while open */
    int fd;                   /* -1 while closed */
    unsigned pins;
    bool dirty;               /* written since a sync of it was last begun */
};

struct files {
    struct list used;         /* the most recent last */
    unsigned open, max;
    bool dirty_closed;        /* a dirty one was closed: only syncfs is sure to reach it now */
    void (*on_evict)(struct file *f);   /* it was closed to make room; may free its owner */
};

void files_init(struct files *s, unsigned max, void (*on_evict)(struct file *f));
void file_init(struct file *f);

/* Opens path with room made for it. 0 or -errno. */
int files_open(struct files *s, struct file *f, const char *path, int flags);

/* Closes the one used longest ago, for somebody else who wants its descriptor. False: there is none. */
bool files_evict(struct files *s);

/* Says that it was used just now. */
void files_touch(struct files *s, struct file *f);

/* Closes it, if it is open, at its owner's wish: on_evict is not called. */
void files_close(struct files *s, struct file *f);

#endif
