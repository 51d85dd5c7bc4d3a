/*
 * The data directory in use: its path and lock, the node's state, the open log files, and the disk thread. Everything
 * in the store that touches the disk is given one of these; it knows no segment, journal or store.
 *
 * The owner zeroes and initialises it by disk_init, fills in the descriptors (lock_take), the state and the worker as
 * the store opens, and gives all of it back by disk_fini, also after an opening that failed half-way.
 */
#ifndef STORE_DISK_DISK_H
#define STORE_DISK_DISK_H

#include "base/buf.h"
#include "store/disk/files.h"
#include "store/disk/path.h"
#include "store/disk/state.h"
#include "store/disk/worker.h"

struct disk {
    char *root;               /* owned; the path of the data directory */
    int root_fd, lock_fd;     /* -1 until the directory is locked */
    bool copies_on_write;     /* the filesystem: overwriting allocated bytes takes new space */
    struct state state;
    struct files files;
    struct worker *worker;    /* owned; NULL until the store is open */
    struct buf scratch;       /* bytes of the last read on the loop thread that needed a buffer for a moment */
};

void disk_init(struct disk *d, const char *root, unsigned files_max, void (*on_evict)(struct file *f));
void disk_fini(struct disk *d);

/* Asks what filesystem root_fd is on. */
void disk_note_filesystem(struct disk *d);

/* Writes the state and fsyncs it: waits about a millisecond. 0 or -errno. */
int disk_save_state(struct disk *d);

/* Removes the files of a directory and the directory, if it exists. A file that cannot be removed ends the process.
 * Evicts open files where no descriptor is left to list the directory with. */
void disk_remove_dir(struct disk *d, const char *path);

/* Ends the process (EXIT_IO): after a failed write or sync the page cache cannot be trusted. Leaves data/io-failed, so
 * that the next start reads from the disk itself. */
_Noreturn void disk_failed(const struct disk *d, const char *what, const char *path, int rc);

#endif
