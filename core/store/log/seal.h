/*
 * Sealing, on the disk thread: a file that has its end record, and was fsynced by a group commit, is truncated to its
 * size and renamed .log.
 *
 * Nothing depends on when that reaches the disk, as recovery completes it; only the truncation must not come after the
 * rename there, hence an fsync between the two.
 */
#ifndef STORE_LOG_SEAL_H
#define STORE_LOG_SEAL_H

#include "store/log/segment.h"

/* The segment is ended and pinned; it is unpinned when that is done. */
void seal_submit(struct segment *seg);

#endif
