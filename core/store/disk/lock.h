/*
 * The lock of a data directory: at most one process writes to it.
 */
#ifndef STORE_DISK_LOCK_H
#define STORE_DISK_LOCK_H

#include "base/buf.h"

/* Locks the data directory for this process. shared: for commands that only read it. Otherwise the directory is made
 * when absent, and refused when it holds files that are not Lignum's. The caller closes both descriptors, also after an
 * error, unless they are -1. 0, or an error and a sentence in why. */
int lock_take(const char *root, bool shared, int *root_fd, int *lock_fd, struct buf *why);

#endif
