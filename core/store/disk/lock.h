/*
 * Taking a data directory: it is ours, or empty and about to be, and nobody else uses it.
 */
#ifndef STORE_DISK_LOCK_H
#define STORE_DISK_LOCK_H

#include "base/buf.h"

/* Makes the directory when absent (not when shared), and locks it for this process; shared is for those who only read.
 * The descriptors of directory and lock are the caller's to close, also after a failure where they are not -1. 0, or
 * an error and a sentence in why. */
int lock_take(const char *root, bool shared, int *root_fd, int *lock_fd, struct buf *why);

#endif
